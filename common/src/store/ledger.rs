//! The ledger: every accepted event in exactly one state, every committed send in exactly one state, added up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sql::{Tx, args};
use super::{Store, StoreError};
use crate::domain::{End, Micros, SendState};

/// What was accepted and how it ended (P2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Distinct events taken in; duplicates are not counted.
    pub accepted: i64,
    /// How they ended; every state is named, with zero where there is none.
    pub ended: BTreeMap<&'static str, i64>,
    /// Awaiting their turn.
    pub pending: i64,
    /// Surfaced after their successor was answered.
    pub late: i64,
    /// Vouched for by an ingress, yet never arrived.
    pub lost: i64,
    /// Gaps in an ingress's numbers that nobody has vouched for: refused to the provider, or still on their way.
    pub unvouched: i64,
    /// Sends whose outcome nobody knows and no policy has closed.
    pub unknown_sends: i64,
    /// The outbox's own equation.
    pub sends: SendsLedger,
    /// Every imbalance found, in words; empty when all adds up.
    pub imbalances: Vec<String>,
}

/// What was committed to the outbox and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SendsLedger {
    /// Rows ever committed.
    pub committed: i64,
    /// The provider has them.
    pub accepted: i64,
    /// A person took the floor first.
    pub superseded: i64,
    /// Nobody can say.
    pub unknown: i64,
    /// Refused for good.
    pub dead: i64,
    /// Queued or under way.
    pub open: i64,
}

impl Ledger {
    /// Whether everything adds up.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.imbalances.is_empty() && self.lost == 0
    }
}

impl Store {
    /// Adds up everything accepted and committed since a moment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ledger(&self, since: Option<Micros>) -> Result<Ledger, StoreError> {
        let since = since.unwrap_or(Micros(0));
        // One moment for every sum: what comes in meanwhile must not look like an imbalance.
        let tx = &mut self.main.snapshot().await?;
        let (accepted, mut by_state) = counts_by_state(tx, since).await?;
        let pending = by_state.remove("pending").unwrap_or(0);
        let ended: BTreeMap<_, _> =
            End::ALL.iter().map(|end| (end.as_str(), by_state.remove(end.as_str()).unwrap_or(0))).collect();
        let sends = sends_ledger(tx, since).await?;
        let late = "SELECT count(*) AS n FROM inbox WHERE late AND accepted_at >= $1";
        let unknown =
            "SELECT count(*) AS n FROM outbox WHERE state = 'unknown' AND closed_at IS NULL AND created_at >= $1";
        let mut ledger = Ledger {
            accepted,
            pending,
            late: count(tx, late, since).await?,
            lost: 0,
            unvouched: gaps(tx).await?,
            unknown_sends: count(tx, unknown, since).await?,
            imbalances: Vec::new(),
            ended,
            sends,
        };
        ledger.imbalances = imbalances(&ledger, &by_state);
        ledger.imbalances.extend(miscounted_conversations(tx).await?);
        Ok(ledger)
    }
}

async fn counts_by_state(tx: &mut Tx, since: Micros) -> Result<(i64, BTreeMap<String, i64>), StoreError> {
    let accepted = count(tx, "SELECT count(*) AS n FROM inbox WHERE accepted_at >= $1", since).await?;
    let sql = "SELECT state, count(*) AS n FROM inbox WHERE accepted_at >= $1 GROUP BY state";
    let rows = tx.all(sql, args![since]).await?;
    let states = rows.iter().map(|row| Ok((row.get("state")?, row.get("n")?))).collect::<Result<_, StoreError>>()?;
    Ok((accepted, states))
}

async fn sends_ledger(tx: &mut Tx, since: Micros) -> Result<SendsLedger, StoreError> {
    let committed = count(tx, "SELECT count(*) AS n FROM outbox WHERE created_at >= $1", since).await?;
    let sql = "SELECT state, count(*) AS n FROM outbox WHERE created_at >= $1 GROUP BY state";
    let mut sends = SendsLedger { committed, ..SendsLedger::default() };
    for row in tx.all(sql, args![since]).await? {
        let n: i64 = row.get("n")?;
        match row.word::<SendState>("state")? {
            SendState::Queued | SendState::Sending => sends.open += n,
            SendState::Accepted => sends.accepted += n,
            SendState::Unknown => sends.unknown += n,
            SendState::Superseded => sends.superseded += n,
            SendState::Dead => sends.dead += n,
        }
    }
    Ok(sends)
}

/// Numbers below each ingress's highest that neither the inbox nor the duplicates know.
async fn gaps(tx: &mut Tx) -> Result<i64, StoreError> {
    let sql = "SELECT CAST(COALESCE(sum(top - seen), 0) AS bigint) AS n FROM \
                 (SELECT max(sequence) AS top, count(*) AS seen FROM \
                    (SELECT instance, sequence FROM inbox UNION SELECT instance, sequence FROM duplicate) arrived \
                  GROUP BY instance) numbers";
    tx.one(sql, &[]).await?.get("n")
}

/// Conversations whose counters disagree with their rows: must never be.
async fn miscounted_conversations(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT c.id AS id FROM conversation c WHERE c.tail - c.done <> \
                 (SELECT count(*) FROM inbox i WHERE i.conversation_id = c.id AND i.state = 'pending') LIMIT 20";
    let rows = tx.all(sql, &[]).await?;
    let name = |row: &super::sql::Row| {
        let id = crate::domain::ConversationId::from_uuid(row.get("id")?);
        Ok(format!("conversation {id}: its counters disagree with its messages"))
    };
    rows.iter().map(name).collect()
}

async fn count(tx: &mut Tx, sql: &'static str, since: Micros) -> Result<i64, StoreError> {
    tx.one(sql, args![since]).await?.get("n")
}

fn imbalances(ledger: &Ledger, unknown_states: &BTreeMap<String, i64>) -> Vec<String> {
    let mut found: Vec<String> =
        unknown_states.iter().map(|(state, n)| format!("{n} events are in the unknown state '{state}'")).collect();
    let ended: i64 = ledger.ended.values().sum();
    if ledger.accepted != ended + ledger.pending {
        found.push(format!("accepted {} is not ended {ended} + pending {}", ledger.accepted, ledger.pending));
    }
    let sends = &ledger.sends;
    let states = sends.accepted + sends.superseded + sends.unknown + sends.dead + sends.open;
    if sends.committed != states {
        found.push(format!("committed sends {} are not the sum of their states {states}", sends.committed));
    }
    found
}
