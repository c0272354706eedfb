//! Budgets: how much may still be spent, as one row for each that only ever holds less than its cap (P8).
//!
//! A row counts what is reserved together with what is spent, and a call adds to it before it is made, by a statement
//! that does nothing where the cap would be passed. So no interleaving of workers can pass it, and a worker that dies
//! leaves it as high as the worst that its call can have cost. Several budgets are taken in one transaction: all of
//! them, or none.

use std::collections::BTreeMap;

use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use crate::domain::{Budget, Micros, Money};

/// How long a day's row is kept after its last call.
const KEPT: std::time::Duration = std::time::Duration::from_secs(40 * 24 * 3_600);

/// What a budget has given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Spent, and reserved for calls under way.
    pub amount: Money,
    /// Calls, those under way included.
    pub calls: i64,
}

/// What was spent on one model in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpend {
    /// The model's configured name.
    pub model: String,
    /// Who serves it.
    pub provider: Option<String>,
    /// The currency of its costs.
    pub currency: Option<String>,
    /// Calls by how they ended: `answered`, `open`, or the word of a failure.
    pub calls: BTreeMap<String, i64>,
    /// Tokens read, written and read from cache.
    pub tokens: [i64; 3],
    /// What is known to have been spent, calls that are charged in full included.
    pub cost: Money,
    /// What is reserved for calls under way.
    pub reserved: Money,
    /// Calls that have ended and whose cost nobody knows.
    pub unpriced: i64,
}

impl Store {
    /// What was spent since a moment, for each model and currency.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn spend(&self, since: Micros) -> Result<Vec<ModelSpend>, StoreError> {
        let sql = "SELECT model, provider, currency, COALESCE(error, state) AS ended, COUNT(*) AS calls, \
                     CAST(COALESCE(SUM(tokens_in), 0) AS bigint) AS read, \
                     CAST(COALESCE(SUM(tokens_out), 0) AS bigint) AS written, \
                     CAST(COALESCE(SUM(tokens_cached), 0) AS bigint) AS cached, \
                     CAST(COALESCE(SUM(cost), 0) AS bigint) AS cost, \
                     CAST(COALESCE(SUM(CASE WHEN held_until IS NULL THEN 0 ELSE reserved END), 0) AS bigint) AS reserved, \
                     CAST(COALESCE(SUM(CASE WHEN held_until IS NULL AND cost IS NULL THEN 1 ELSE 0 END), 0) AS bigint) \
                       AS unpriced \
                   FROM attempt WHERE started_at >= $1 GROUP BY model, provider, currency, COALESCE(error, state) \
                   ORDER BY model, provider, currency";
        let mut spends: Vec<ModelSpend> = Vec::new();
        for row in self.main.read(sql, args![since]).await? {
            add_up(&mut spends, &row)?;
        }
        Ok(spends)
    }

    /// What a budget has given out so far.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn given(&self, budget: &Budget) -> Result<Given, StoreError> {
        let sql = "SELECT amount, calls FROM budget WHERE scope = $1";
        let Some(row) = self.main.read_maybe(sql, args![budget.scope()]).await? else { return Ok(Given::default()) };
        Ok(Given { amount: Money(row.get("amount")?), calls: row.get("calls")? })
    }

    /// Forgets the days that are long over. How many rows there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_budgets(&self) -> Result<u64, StoreError> {
        let before =
            Micros(self.main.now().await?.0.saturating_sub(i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX)));
        let sql = "DELETE FROM budget WHERE last_at < $1 AND scope NOT LIKE 'conversation/%'";
        self.main.write(sql, args![before]).await
    }
}

/// Makes room in every budget, or says which has none; then the caller rolls back.
pub(super) async fn reserve(tx: &mut Tx, budgets: &[Budget], most: Money) -> Result<Option<usize>, StoreError> {
    // Where the row is new the cap is compared with what it begins with; where it is not, with what it comes to.
    let sql = "INSERT INTO budget (scope, amount, calls, last_at) SELECT $1, $2, 1, $3 WHERE $2 <= $4 AND 1 <= $5 \
               ON CONFLICT (scope) DO UPDATE SET amount = budget.amount + $2, calls = budget.calls + 1, last_at = $3 \
               WHERE budget.amount + $2 <= $4 AND budget.calls + 1 <= $5";
    for (at, budget) in budgets.iter().enumerate() {
        let amount = budget.amount.map_or(i64::MAX, |amount| amount.0);
        let values = args![budget.scope(), most.0, tx.now(), amount, budget.calls.unwrap_or(i64::MAX)];
        if tx.run(sql, values).await? != 1 {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Adds what a call cost beyond what was reserved for it, or less than it; one that was not sent is not counted either.
pub(super) async fn settle(tx: &mut Tx, scopes: &str, more: Money, unsent: bool) -> Result<(), StoreError> {
    if more == Money::ZERO && !unsent {
        return Ok(());
    }
    let sql = "UPDATE budget SET amount = amount + $2, calls = calls - $3 WHERE scope = $1";
    for scope in scopes.split_whitespace() {
        tx.run(sql, args![scope, more.0, i64::from(unsent)]).await?;
    }
    Ok(())
}

/// The budgets of a call, as its row names them; `None` for none.
pub(super) fn scopes(budgets: &[Budget]) -> Option<String> {
    let scopes: Vec<&str> = budgets.iter().map(|budget| budget.scope()).collect();
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

fn add_up(spends: &mut Vec<ModelSpend>, row: &Row) -> Result<(), StoreError> {
    let (model, provider, currency): (String, Option<String>, Option<String>) =
        (row.get("model")?, row.get("provider")?, row.get("currency")?);
    let same = |spend: &ModelSpend| spend.model == model && spend.provider == provider && spend.currency == currency;
    if !spends.last().is_some_and(same) {
        let (calls, tokens, unpriced) = (BTreeMap::new(), [0; 3], 0);
        let (cost, reserved) = (Money::ZERO, Money::ZERO);
        spends.push(ModelSpend { model, provider, currency, calls, tokens, cost, reserved, unpriced });
    }
    let Some(spend) = spends.last_mut() else { return Ok(()) };
    spend.calls.insert(row.get("ended")?, row.get("calls")?);
    for (sum, column) in spend.tokens.iter_mut().zip(["read", "written", "cached"]) {
        *sum += row.get::<i64>(column)?;
    }
    spend.cost.0 += row.get::<i64>("cost")?;
    spend.reserved.0 += row.get::<i64>("reserved")?;
    spend.unpriced += row.get::<i64>("unpriced")?;
    Ok(())
}
