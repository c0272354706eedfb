//! Model calls: a row before the call, with the most it may cost reserved; its end after it, with what it did cost; and
//! the answer kept before anything uses it.
//!
//! Reserving and writing the row are one transaction, and so are settling and closing it: whoever dies in between leaves
//! a row whose reservation stands. Since the call may have left, that is also what it is [charged](Store::expire_attempts).

use std::time::Duration;

use super::budget;
use super::claim::Claimed;
use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use crate::domain::{AttemptId, Budget, Charge, ConversationId, Micros, Money};

/// A call about to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewAttempt<'a> {
    /// The model's configured name.
    pub model: &'a str,
    /// Who serves it.
    pub provider: &'a str,
    /// The prompt's hash.
    pub prompt: &'a str,
    /// The policy's version.
    pub policy: &'a str,
    /// What it may cost; `None` where the price is unknown.
    pub price: Option<Reserve<'a>>,
    /// What has to have room for it, in the order of [`Budget`]'s documentation.
    pub budgets: &'a [Budget],
    /// After how long nobody can be waiting for its answer any more.
    pub held_for: Duration,
}

/// The most that a call may cost, and by which prices.
#[derive(Clone, Copy, Debug)]
pub struct Reserve<'a> {
    /// The version of the price table.
    pub prices: &'a str,
    /// Its currency; `None` for what is free in any.
    pub currency: Option<&'a str>,
    /// The amount.
    pub most: Money,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Its row is written and what it may cost is reserved.
    Yes(AttemptId),
    /// This budget, by its place in the list, has no room for it. Nothing was written.
    Spent(usize),
}

/// How a model call ended.
#[derive(Clone, Copy, Debug)]
pub enum AttemptEnd<'a> {
    /// It answered.
    Answered {
        /// The text, to be sealed.
        text: &'a str,
        /// Tokens read, written and read from cache.
        tokens: [Option<u32>; 3],
    },
    /// It did not; a constant word.
    Failed(&'a str),
}

/// An answer that was paid for and not used.
#[derive(Clone, PartialEq, Eq)]
pub struct PaidAnswer {
    /// Which call it was.
    pub attempt: AttemptId,
    /// Which model gave it.
    pub model: String,
    /// The text.
    pub text: String,
}

/// One call, for a listing.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// Its id.
    pub id: AttemptId,
    /// The claim's fence.
    pub fence: i64,
    /// The model's configured name.
    pub model: String,
    /// Who serves it; `None` for a call from before this was kept, like everything below that may be absent.
    pub provider: Option<String>,
    /// `open`, `answered` or `failed`.
    pub state: String,
    /// Why it failed, in a word.
    pub error: Option<String>,
    /// The prompt's hash.
    pub prompt: String,
    /// The policy's version.
    pub policy: Option<String>,
    /// Tokens read, written and read from cache, as the provider counts them.
    pub tokens: [Option<i64>; 3],
    /// The version of the price table.
    pub prices: Option<String>,
    /// Its currency.
    pub currency: Option<String>,
    /// What was reserved.
    pub reserved: Option<Money>,
    /// What was charged; `None` while it is under way, or where the price is unknown.
    pub cost: Option<Money>,
    /// How long the model took.
    pub millis: Option<i64>,
    /// When it began.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
}

impl Store {
    /// Reserves what a call may cost at most and writes the row that must precede it, or neither.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: do not call.
    pub async fn begin_attempt(&self, claim: &Claimed, new: &NewAttempt<'_>) -> Result<Begun, StoreError> {
        let id = AttemptId::random();
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let most = new.price.map_or(Money::ZERO, |price| price.most);
        if let Some(spent) = budget::reserve(&mut tx, new.budgets, most).await? {
            tx.rollback().await?;
            return Ok(Begun::Spent(spent));
        }
        let scopes = budget::scopes(new.budgets);
        let sql = "INSERT INTO attempt (id, conversation_id, fence, model, provider, prompt_hash, policy, prices, currency, \
                     reserved, budgets, state, started_at, held_until) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'open', $12, $13)";
        let values = args![
            id.uuid(),
            claim.conversation.uuid(),
            claim.fence,
            new.model,
            new.provider,
            new.prompt,
            new.policy,
            new.price.map(|price| price.prices),
            new.price.and_then(|price| price.currency),
            new.price.map(|price| price.most.0),
            scopes.as_deref(),
            now,
            now + new.held_for,
        ];
        tx.run(sql, values).await?;
        tx.commit().await?;
        Ok(Begun::Yes(id))
    }

    /// Closes a call's row and settles what it cost. One that was [charged](Self::expire_attempts) already stays so.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn end_attempt(
        &self,
        claim: &Claimed,
        id: AttemptId,
        (end, charge): (AttemptEnd<'_>, Charge),
        taken: Duration,
    ) -> Result<(), StoreError> {
        let key = self.key_of(claim).await?;
        let mut tx = self.main.begin().await?;
        settle(&mut tx, id, charge).await?;
        let now = tx.now();
        let millis = i64::try_from(taken.as_millis()).unwrap_or(i64::MAX);
        match end {
            AttemptEnd::Answered { text, tokens } => {
                let sealed = key.seal(&context(id), text.as_bytes());
                let [read, written, cached] = tokens.map(|count| count.map(i64::from));
                let sql = "UPDATE attempt SET state = 'answered', answer = $2, tokens_in = $3, tokens_out = $4, \
                             tokens_cached = $5, ended_at = $6, millis = $7, error = NULL WHERE id = $1";
                tx.run(sql, args![id.uuid(), &sealed, read, written, cached, now, millis]).await?;
            }
            AttemptEnd::Failed(word) => {
                let sql = "UPDATE attempt SET state = 'failed', error = $2, ended_at = $3, millis = $4 WHERE id = $1";
                tx.run(sql, args![id.uuid(), word, now, millis]).await?;
            }
        }
        tx.commit().await
    }

    /// Charges calls whose worker died, or has slept longer than anybody waits for an answer: they may have left, so
    /// what was reserved for them is what they cost. How many there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn expire_attempts(&self) -> Result<u64, StoreError> {
        let now = self.main.now().await?;
        let sql = "UPDATE attempt SET state = 'failed', error = 'expired', cost = reserved, ended_at = $1, held_until = NULL \
                   WHERE held_until <= $1";
        self.main.write(sql, args![now]).await
    }

    /// The answer that an earlier claim paid for and did not live to use, for exactly this prompt, by one of these
    /// models.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn paid_answer(
        &self,
        claim: &Claimed,
        models: &[&str],
        prompt: &str,
    ) -> Result<Option<PaidAnswer>, StoreError> {
        let sql = "SELECT id, model, answer FROM attempt WHERE conversation_id = $1 AND prompt_hash = $2 \
                     AND state = 'answered' AND answer IS NOT NULL AND fence < $3 AND started_at >= $4 \
                   ORDER BY started_at DESC";
        let values = args![claim.conversation.uuid(), prompt, claim.fence, claim.waiting_since];
        for row in self.main.read(sql, values).await? {
            if let Some(answer) = paid(&row, models, self.key_of(claim).await?)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// A conversation's calls, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn attempts(&self, conversation: ConversationId) -> Result<Vec<AttemptView>, StoreError> {
        let sql = "SELECT id, fence, model, provider, state, error, prompt_hash, policy, tokens_in, tokens_out, \
                     tokens_cached, prices, currency, reserved, cost, millis, started_at, ended_at \
                   FROM attempt WHERE conversation_id = $1 ORDER BY started_at, id";
        self.main.read(sql, args![conversation.uuid()]).await?.iter().map(view).collect()
    }
}

/// Makes a reservation what was spent, once.
async fn settle(tx: &mut Tx, id: AttemptId, charge: Charge) -> Result<(), StoreError> {
    let sql = "UPDATE attempt SET held_until = NULL, cost = CASE WHEN $2 THEN reserved ELSE $3 END \
               WHERE id = $1 AND held_until IS NOT NULL RETURNING reserved, cost, budgets";
    let cost = match charge {
        Charge::Cost(cost) => Some(cost.0),
        Charge::Reserved => None,
        Charge::Nothing => Some(0),
    };
    let Some(row) = tx.maybe(sql, args![id.uuid(), cost.is_none(), cost]).await? else { return Ok(()) };
    let amount = |column| row.get::<Option<i64>>(column).map(Option::unwrap_or_default);
    let more = Money(amount("cost")?.saturating_sub(amount("reserved")?));
    let scopes: Option<String> = row.get("budgets")?;
    budget::settle(tx, scopes.as_deref().unwrap_or_default(), more, charge == Charge::Nothing).await
}

/// The answer in a row, if it is one of these models'.
pub(super) fn paid(row: &Row, models: &[&str], key: &crate::seal::Keyring) -> Result<Option<PaidAnswer>, StoreError> {
    let model: String = row.get("model")?;
    if !models.contains(&model.as_str()) {
        return Ok(None);
    }
    let attempt = AttemptId::from_uuid(row.get("id")?);
    let plain = key.open(&context(attempt), &row.get::<Vec<u8>>("answer")?)?;
    Ok(String::from_utf8(plain).ok().map(|text| PaidAnswer { attempt, model, text }))
}

fn view(row: &Row) -> Result<AttemptView, StoreError> {
    let money = |column| row.get::<Option<i64>>(column).map(|amount| amount.map(Money));
    Ok(AttemptView {
        id: AttemptId::from_uuid(row.get("id")?),
        fence: row.get("fence")?,
        model: row.get("model")?,
        provider: row.get("provider")?,
        state: row.get("state")?,
        error: row.get("error")?,
        prompt: row.get("prompt_hash")?,
        policy: row.get("policy")?,
        tokens: [row.get("tokens_in")?, row.get("tokens_out")?, row.get("tokens_cached")?],
        prices: row.get("prices")?,
        currency: row.get("currency")?,
        reserved: money("reserved")?,
        cost: money("cost")?,
        millis: row.get("millis")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
    })
}

pub(super) fn context(id: AttemptId) -> Vec<u8> {
    format!("attempt/{id}").into_bytes()
}
