//! The ledger's signs: what workers measure every few seconds, whatever the store holds.

use super::{checks, numbers};
use crate::domain::Micros;
use crate::store::sql::{Tx, args};
use crate::store::{Store, StoreError};

/// Upper bounds of the ages by which what is pending is counted, in seconds; the last has none.
const PENDING_AGES: [(i64, &str); 4] = [(10, "10s"), (60, "1m"), (600, "10m"), (i64::MAX, "more")];

/// At most so many pending messages are counted.
const COUNTED: i64 = 50_000;
/// A day in microseconds: how far back the signs look among the lives of ingresses.
const LATELY: i64 = 24 * 3_600 * 1_000_000;

/// What a graph of the ledger shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerSigns {
    /// As [`super::Ledger::lost`].
    pub lost: i64,
    /// As [`super::Ledger::stuck`].
    pub stuck: i64,
    /// As [`super::Ledger::unvouched`].
    pub unvouched: i64,
    /// As [`super::Ledger::unknown_sends`].
    pub unknown_sends: i64,
    /// As [`super::Ledger::duplicates`].
    pub duplicates: i64,
    /// Imbalances that are not settling, so far as can be seen without adding up everything.
    pub imbalances: i64,
    /// Pending messages by how long ago they were taken in: up to ten seconds, a minute, ten minutes, and more. At
    /// most 50,000 are counted.
    pub pending: Vec<(&'static str, i64)>,
    /// Since when the oldest open dead letter waits for a person.
    pub oldest_dead_at: Option<Micros>,
    /// The store's clock.
    pub now: Micros,
}

impl Store {
    /// The ledger's signs. Costs by what is open and by what is wrong.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ledger_signs(&self) -> Result<LedgerSigns, StoreError> {
        let tx = &mut self.main.snapshot().await?;
        // Of lives that ended long ago only those of which something is missing: the others have nothing new to show.
        let since = Micros(tx.now().0.saturating_sub(LATELY));
        let numbers = numbers::instances(tx, since, self.timing.lost_after).await?;
        let mut imbalances = checks::quick(tx, self.timing.lost_after).await?;
        imbalances.extend(numbers.imbalances);
        let pending = pending(tx).await?;
        // In a great backlog only the whole ledger compares counters: comparing must not add to the load.
        if pending.iter().map(|(_, n)| n).sum::<i64>() < COUNTED {
            imbalances.extend(checks::counters(tx, self.timing.lost_after).await?);
        }
        let unknown = "SELECT count(*) AS n FROM outbox WHERE state = 'unknown' AND closed_at IS NULL";
        let dead = "SELECT min(created_at) AS at FROM dead WHERE state = 'open'";
        Ok(LedgerSigns {
            lost: numbers.lost,
            stuck: numbers.stuck,
            unvouched: numbers.unvouched,
            unknown_sends: tx.one(unknown, &[]).await?.get("n")?,
            duplicates: tx.one("SELECT count(*) AS n FROM duplicate", &[]).await?.get("n")?,
            imbalances: i64::try_from(imbalances.iter().filter(|imbalance| !imbalance.settling).count()).unwrap_or(0),
            pending,
            oldest_dead_at: tx.one(dead, &[]).await?.get("at")?,
            now: tx.now(),
        })
    }
}

async fn pending(tx: &mut Tx) -> Result<Vec<(&'static str, i64)>, StoreError> {
    let sql = "SELECT CASE WHEN accepted_at > $1 THEN 0 WHEN accepted_at > $2 THEN 1 WHEN accepted_at > $3 THEN 2 \
                 ELSE 3 END AS age, count(*) AS n FROM \
                 (SELECT accepted_at FROM inbox WHERE state = 'pending' LIMIT $4) counted GROUP BY 1";
    let ago = |(seconds, _): (i64, &str)| Micros(tx.now().0.saturating_sub(seconds.saturating_mul(1_000_000)));
    let [a, b, c] = [PENDING_AGES[0], PENDING_AGES[1], PENDING_AGES[2]].map(ago);
    let mut ages: Vec<_> = PENDING_AGES.iter().map(|(_, name)| (*name, 0)).collect();
    for row in tx.all(sql, args![a, b, c, COUNTED]).await? {
        let age: i64 = i64::from(row.get::<i32>("age")?);
        if let Some(of) = usize::try_from(age).ok().and_then(|age| ages.get_mut(age)) {
            of.1 = row.get("n")?;
        }
    }
    Ok(ages)
}
