//! Model calls: a row before the call, its end after it, and the answer kept before anything uses it.

use super::claim::Claimed;
use super::sql::args;
use super::{Store, StoreError};
use crate::domain::AttemptId;

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

impl Store {
    /// Writes the row that must precede a call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: do not call.
    pub async fn begin_attempt(&self, claim: &Claimed, model: &str, prompt: &str) -> Result<AttemptId, StoreError> {
        let id = AttemptId::random();
        let now = self.main.now().await?;
        let sql = "INSERT INTO attempt (id, conversation_id, fence, model, prompt_hash, state, started_at) \
                   VALUES ($1, $2, $3, $4, $5, 'open', $6)";
        let values = args![id.uuid(), claim.conversation.uuid(), claim.fence, model, prompt, now];
        self.main.write(sql, values).await?;
        Ok(id)
    }

    /// Closes a call's row.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn end_attempt(&self, claim: &Claimed, id: AttemptId, end: AttemptEnd<'_>) -> Result<(), StoreError> {
        let now = self.main.now().await?;
        match end {
            AttemptEnd::Answered { text, tokens } => {
                let sealed = self.key_of(claim).await?.seal(&context(id), text.as_bytes());
                let [read, written, cached] = tokens.map(|count| count.map(i64::from));
                let sql = "UPDATE attempt SET state = 'answered', answer = $2, tokens_in = $3, tokens_out = $4, \
                             tokens_cached = $5, ended_at = $6 WHERE id = $1";
                self.main.write(sql, args![id.uuid(), &sealed, read, written, cached, now]).await?;
            }
            AttemptEnd::Failed(word) => {
                let sql = "UPDATE attempt SET state = 'failed', error = $2, ended_at = $3 WHERE id = $1";
                self.main.write(sql, args![id.uuid(), word, now]).await?;
            }
        }
        Ok(())
    }

    /// The answer that an earlier claim paid for and did not live to use, for exactly this prompt.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn paid_answer(&self, claim: &Claimed, model: &str, prompt: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT id, answer FROM attempt WHERE conversation_id = $1 AND prompt_hash = $2 AND model = $3 \
                     AND state = 'answered' AND fence < $4 AND started_at >= $5 ORDER BY started_at DESC LIMIT 1";
        let values = args![claim.conversation.uuid(), prompt, model, claim.fence, claim.waiting_since];
        let Some(row) = self.main.read_maybe(sql, values).await? else { return Ok(None) };
        let id = AttemptId::from_uuid(row.get("id")?);
        let sealed: Option<Vec<u8>> = row.get("answer")?;
        let Some(sealed) = sealed else { return Ok(None) };
        let plain = self.key_of(claim).await?.open(&context(id), &sealed)?;
        Ok(String::from_utf8(plain).ok())
    }
}

pub(super) fn context(id: AttemptId) -> Vec<u8> {
    format!("attempt/{id}").into_bytes()
}
