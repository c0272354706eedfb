//! The store door: the truth about every conversation, on SQLite or PostgreSQL.
//!
//! The protocol in one breath: [`intake`](Store::admit) gives a message its place behind its conversation's tail;
//! a [claim](Store::claim) raises the fence; a [commit](Store::commit) ends messages and queues a reply in one
//! transaction, only if fence, `done` and floor are unchanged; a [delivery](Store::claim_delivery) marks a row
//! `sending` before the first byte leaves. Everything a person said is sealed with that person's own key.

mod answers;
mod attempts;
mod budget;
mod circumstances;
mod claim;
mod contacts;
mod dead;
mod delivery;
mod floor;
mod handoff;
mod hold;
mod intake;
mod ledger;
mod notes;
mod notice;
mod outbox;
mod past;
mod read;
mod scene;
mod schema;
mod snapshot;
mod sql;
mod status;
mod tally;
mod tap;
mod turn;
mod wake;

use std::sync::Arc;
use std::time::Duration;

pub use attempts::{AttemptEnd, AttemptView, Begun as BegunAttempt, NewAttempt, PaidAnswer, Reserve};
pub use budget::{Given, ModelSpend};
pub use claim::{ClaimKey, Claimed, HandBack};
pub use dead::{
    Change, DeadAttempt, DeadBody, DeadDiff, DeadEdit, DeadExport, DeadFilter, DeadGroup, DeadLetter, DiscardRefused,
    Dispatch, Dispatched, EditRefused, ExportedLetter, Frozen, ImportRefused, Imported, NewDead, NewFailure, NewReplay,
    Progress, Replay, ReplayItem, ReplayRefused, Retry,
};
pub use delivery::{Begun, BegunSend, DeliveryClaim, Finished, NextSend, OpenUnknown};
pub use floor::{ExpiredFloor, Returned, TakeOver, WaitingConversation};
pub use handoff::{HandoffCounts, HandoffView, NewHandoff, OverdueHandoff, Story};
pub use intake::{Admission, Admitted};
pub use ledger::{DayLedger, Imbalance, InstanceLedger, Ledger, LedgerSigns, SendsLedger, SourceLedger, Sums};
pub use notes::{NewHit, NewNote, NoteView};
pub use notice::{BegunNotice, NewNotice, NoticeView, Told};
pub use outbox::NewSend;
pub use past::{PastMessage, PastScene, PastTurn, Period};
pub use read::{CalledHandoff, ConversationSummary, ConversationView, InboxView, OutboxView, TurnView};
pub use scene::{Scene, SceneMessage};
pub use snapshot::{Latency, ModelCalls, RuleHits, Snapshot};
pub use sql::Clock;
pub use tap::{Passing, Tap};
pub use turn::{Commit, CommitOutcome, Committed, Pending, Position};

use crate::config::{Keys, StoreUrl, Timing};
use crate::domain::Micros;
use crate::seal::{Keyring, Pseudonyms, SealError};
use sql::Sql;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Out of reach, busy beyond patience, or full: worth trying again; never the message's fault.
    #[error("the store is out of reach: {0}")]
    Unavailable(String),
    /// What configuration asks for does not fit what is there; trying again does not help.
    #[error("{0}")]
    Configuration(String),
    /// The store answered with something that this build does not understand.
    #[error("the store holds something unexpected: {0}")]
    Broken(String),
    /// A sealed column does not open.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The person was erased; what was sealed for them cannot be opened again.
    #[error("this contact was erased")]
    Erased,
    /// What was asked for cannot be: the text names the thing and the fix.
    #[error("{0}")]
    Refused(String),
    /// No row of that id.
    #[error("no {0} with the id {1}")]
    Absent(&'static str, String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(text),
            sqlx::Error::Database(inner) if passes(inner.code().as_deref().unwrap_or_default()) => {
                Self::Unavailable(text)
            }
            _ => Self::Broken(text),
        }
    }
}

/// Whether an engine's code speaks of a passing state: PostgreSQL's connection, resource, shutdown and conflict
/// classes; SQLite's BUSY, LOCKED, IOERR and FULL (primary codes 5, 6, 10, 13).
fn passes(code: &str) -> bool {
    if let Ok(number) = code.parse::<i64>()
        && code.len() < 5
    {
        return matches!(number & 0xff, 5 | 6 | 10 | 13);
    }
    ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class))
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    main: Sql,
    keys: Sql,
    renewal: Sql,
    wrapping: Keyring,
    pseudonyms: Pseudonyms,
    timing: Timing,
    met: tally::Met,
    holds: hold::Holds,
}

impl Store {
    /// Opens the store. SQLite files are made and migrated; an unmigrated PostgreSQL is refused by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be reached, [`StoreError::Configuration`] when it does not fit.
    pub async fn open(url: &StoreUrl, keys: &Keys, timing: &Timing, clock: Clock) -> Result<Self, StoreError> {
        Self::with(url, keys, timing, clock, schema::Migrating::Embedded).await
    }

    /// Opens the store and brings its schema up to date: `handrail migrate`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn migrate(url: &StoreUrl, keys: &Keys, timing: &Timing) -> Result<Self, StoreError> {
        Self::with(url, keys, timing, Clock::Engine, schema::Migrating::All).await
    }

    async fn with(
        url: &StoreUrl,
        keys: &Keys,
        timing: &Timing,
        clock: Clock,
        migrating: schema::Migrating,
    ) -> Result<Self, StoreError> {
        Ok(Self::over(schema::open(url, clock, migrating).await?, keys, timing))
    }

    /// A store that lives in this process's memory under `name` and whose every statement passes `tap`: the protocol's
    /// model test plays its schedules on it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn in_memory(
        name: &str,
        keys: &Keys,
        timing: &Timing,
        clock: Clock,
        tap: Option<Arc<dyn Tap>>,
    ) -> Result<Self, StoreError> {
        Ok(Self::over(schema::open_in_memory(name, clock, tap).await?, keys, timing))
    }

    fn over(databases: schema::Databases, keys: &Keys, timing: &Timing) -> Self {
        Self {
            main: databases.main,
            keys: databases.keys,
            renewal: databases.renewal,
            wrapping: keys.store.clone(),
            pseudonyms: keys.shared.pseudonyms.clone(),
            timing: timing.clone(),
            met: tally::Met::default(),
            holds: hold::Holds::default(),
        }
    }

    /// The store's clock.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn now(&self) -> Result<Micros, StoreError> {
        self.main.now().await
    }

    /// Whether the store answers, within `patience`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn probe(&self, patience: Duration) -> Result<(), StoreError> {
        let ask = self.main.read_one("SELECT 1 AS one", &[]);
        match tokio::time::timeout(patience, ask).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {patience:?}"))),
        }
    }

    /// The deployment's own key: seals what belongs to no contact.
    #[must_use]
    pub const fn deployment_key(&self) -> &Keyring {
        &self.wrapping
    }

    /// Ends every connection.
    pub async fn close(&self) {
        self.renewal.close().await;
        self.main.close().await;
        self.keys.close().await;
    }
}
