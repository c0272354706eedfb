//! The ledger: every accepted event in exactly one state, every committed send in exactly one state, every number that
//! an ingress vouched for here; added up in one snapshot.
//!
//! Accepted are the distinct events of the inbox; a second envelope of one is a duplicate, counted apart. Everything is
//! added up per day (of acceptance or commit, UTC) and per source, and the whole is the sum of the days. An imbalance is
//! told in words that name its rows. It is settling as long as the newest trace of what it speaks of is younger than
//! `lost_after`; what is older is for a person to look at.

mod checks;
mod numbers;
mod signs;
mod sums;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub use signs::LedgerSigns;

use super::{Store, StoreError};
use crate::domain::{End, InstanceId, Micros, Span};

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
    /// Vouched for by an ingress, yet absent after intake has run for `lost_after`.
    pub lost: i64,
    /// Numbers that never came and that no tally speaks for: refused to the provider, or still on their way.
    pub unvouched: i64,
    /// Sends whose outcome nobody knows and no policy has closed.
    pub unknown_sends: i64,
    /// The outbox's own equation.
    pub sends: SendsLedger,
    /// Second envelopes of accepted events.
    pub duplicates: i64,
    /// What intake sent back into the broker, overdue.
    pub stuck: i64,
    /// The same by day, oldest first.
    pub days: Vec<DayLedger>,
    /// The same by source.
    pub sources: Vec<SourceLedger>,
    /// Ingresses with something to tell, and those heard of last.
    pub instances: Vec<InstanceLedger>,
    /// Every imbalance found; empty when all adds up.
    pub imbalances: Vec<Imbalance>,
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

/// What is added up for the whole, a day or a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// As [`Ledger::accepted`].
    pub accepted: i64,
    /// As [`Ledger::ended`].
    pub ended: BTreeMap<&'static str, i64>,
    /// As [`Ledger::pending`].
    pub pending: i64,
    /// As [`Ledger::late`].
    pub late: i64,
    /// As [`Ledger::duplicates`].
    pub duplicates: i64,
    /// As [`Ledger::unknown_sends`].
    pub unknown_sends: i64,
    /// As [`Ledger::sends`].
    pub sends: SendsLedger,
}

/// One day, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayLedger {
    /// The date.
    pub day: String,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceLedger {
    /// Its name.
    pub source: String,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One life of an ingress: what it vouched for and what of it is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceLedger {
    /// Which.
    pub instance: InstanceId,
    /// When the store first heard of it.
    pub first_at: Micros,
    /// When its last tally came in.
    pub heard_at: Option<Micros>,
    /// `running`, `finished` (it said so) or `silent` (nothing was heard for ten minutes).
    pub state: &'static str,
    /// Its low-water mark: every number up to here was decided.
    pub upto: i64,
    /// How far its numbers have been looked for.
    pub verified: i64,
    /// Numbers that it gave up and that stayed so.
    pub given_up: i64,
    /// Vouched for and absent, for less than `lost_after` of running intake.
    pub waiting: i64,
    /// As [`Ledger::lost`].
    pub lost: i64,
    /// The first of the lost numbers, as spans.
    pub lost_numbers: Vec<Span>,
    /// As [`Ledger::stuck`].
    pub stuck: i64,
    /// As [`Ledger::unvouched`].
    pub unvouched: i64,
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imbalance {
    /// What, naming the rows.
    pub what: String,
    /// For how long nothing of it has moved.
    pub age_seconds: u64,
    /// Younger than `lost_after`: it may be gone at the next look.
    pub settling: bool,
}

impl Ledger {
    /// Whether everything adds up, to the last row.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.imbalances.is_empty()
    }

    /// The imbalances that will not settle by themselves.
    pub fn broken(&self) -> impl Iterator<Item = &Imbalance> {
        self.imbalances.iter().filter(|imbalance| !imbalance.settling)
    }
}

impl Sums {
    fn none() -> Self {
        let ended = End::ALL.iter().map(|end| (end.as_str(), 0)).collect();
        let sends = SendsLedger::default();
        Self { accepted: 0, ended, pending: 0, late: 0, duplicates: 0, unknown_sends: 0, sends }
    }

    fn add(&mut self, other: &Self) {
        for (end, n) in &other.ended {
            *self.ended.entry(end).or_default() += n;
        }
        let (mine, theirs) = (self.counters(), other.counters_of());
        mine.into_iter().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
    }

    fn counters(&mut self) -> [&mut i64; 11] {
        let Self { accepted, pending, late, duplicates, unknown_sends, sends, ended: _ } = self;
        let SendsLedger { committed, accepted: sent, superseded, unknown, dead, open } = sends;
        [accepted, pending, late, duplicates, unknown_sends, committed, sent, superseded, unknown, dead, open]
    }

    fn counters_of(&self) -> [i64; 11] {
        self.clone().counters().map(|counter| *counter)
    }
}

impl Store {
    /// Adds up everything accepted and committed since a moment, and the numbers of ingresses heard of since then or missing something (what
    /// was lost has no moment of its own). Broken rows are told whenever they are from.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ledger(&self, since: Option<Micros>) -> Result<Ledger, StoreError> {
        // One moment for every sum: what comes in meanwhile must not look like an imbalance.
        let tx = &mut self.main.snapshot().await?;
        let added = sums::add_up(tx, since).await?;
        let instances = numbers::instances(tx, since.unwrap_or(Micros(0)), self.timing.lost_after).await?;
        let mut imbalances = instances.imbalances;
        imbalances.extend(checks::find(tx, self.timing.lost_after).await?);
        imbalances.extend(added.imbalances);
        let Sums { accepted, ended, pending, late, duplicates, unknown_sends, sends } = added.whole;
        Ok(Ledger {
            accepted,
            ended,
            pending,
            late,
            lost: instances.lost,
            unvouched: instances.unvouched,
            unknown_sends,
            sends,
            duplicates,
            stuck: instances.stuck,
            days: added.days,
            sources: added.sources,
            instances: instances.told,
            imbalances,
        })
    }
}

impl Imbalance {
    fn new(what: String, age: Duration, patience: Duration) -> Self {
        Self { what, age_seconds: age.as_secs(), settling: age < patience }
    }
}
