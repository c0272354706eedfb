//! Replays: a selection of letters, frozen with count and hash before anything runs, dispatched in order, and counted
//! by what the workers made of it.

use serde::Serialize;

use super::super::{Store, StoreError};
use super::DeadFilter;
use super::history::unbuilt;
use crate::domain::{ConversationId, DeadId, DeadState, ItemState, Micros, ReplayId, ReplayMode, ReplayState};

/// A replay about to be frozen.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// Who asks for it.
    pub who: String,
    /// Why; the audit keeps it.
    pub why: String,
    /// How the letters are run.
    pub mode: ReplayMode,
    /// The note that closes them, for [`ReplayMode::Note`]; kept sealed.
    pub note: Option<String>,
    /// Letters a second; `None` for as fast as it goes.
    pub rate_per_second: Option<f64>,
    /// In growing steps, halting when too many fail.
    pub ladder: bool,
}

/// A frozen selection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frozen {
    /// The replay.
    pub id: ReplayId,
    /// How many letters.
    pub count: i64,
    /// SHA-256 over their ids in order, in hexadecimal.
    pub hash: String,
    /// Whether it was under way already: this call goes on with it.
    pub joined: bool,
}

/// Why letters were not replayed. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayRefused {
    /// It is not open.
    #[error("dead letter {0} is {1}: only an open one can be replayed")]
    NotOpen(DeadId, DeadState),
    /// Its message is no longer dead.
    #[error("dead letter {0} has no message left to replay: it has been answered or erased meanwhile")]
    NothingLeft(DeadId),
    /// The filter matches nothing that could be replayed.
    #[error("no open dead letter matches: nothing to replay")]
    Empty,
    /// Some of the selection cannot be replayed; the first of them by name.
    #[error("{}; nothing was replayed", told(.0))]
    Letters(Vec<(DeadId, String)>),
    /// What was asked for cannot be.
    #[error("{0}")]
    Impossible(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many refused letters a refusal names.
const NAMED: usize = 5;

fn told(letters: &[(DeadId, String)]) -> String {
    let mut words: Vec<String> =
        letters.iter().take(NAMED).map(|(id, why)| format!("dead letter {id} {why}")).collect();
    if letters.len() > NAMED {
        words.push(format!("and {} more", letters.len() - NAMED));
    }
    words.join("; ")
}

/// A replay as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Who asked for it.
    pub who: String,
    /// Why.
    pub why: String,
    /// How the letters are run.
    pub mode: ReplayMode,
    /// What was asked for.
    pub filter: DeadFilter,
    /// Letters a second.
    pub rate_per_second: Option<f64>,
    /// In growing steps.
    pub ladder: bool,
    /// How many letters.
    pub count: i64,
    /// SHA-256 over their ids in order.
    pub hash: String,
    /// Where it stands.
    pub state: ReplayState,
    /// When it was frozen.
    pub created_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Its letters by state.
    pub progress: Progress,
}

/// A replay's letters by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// All of them.
    pub total: i64,
    /// Not dispatched yet.
    pub waiting: i64,
    /// Dispatched; a worker's outcome is awaited.
    pub running: i64,
    /// Ended well.
    pub succeeded: i64,
    /// Died again.
    pub failed: i64,
    /// A person took the floor first.
    pub superseded: i64,
    /// Nothing was left to run.
    pub refused: i64,
    /// Left undone by a cancelled replay.
    pub left: i64,
}

impl Progress {
    /// Letters with a result.
    #[must_use]
    pub const fn ended(&self) -> i64 {
        self.succeeded + self.failed + self.superseded + self.refused + self.left
    }
}

/// One letter of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayItem {
    /// The letter.
    pub dead: DeadId,
    /// Its conversation.
    pub conversation: Option<ConversationId>,
    /// Its place in the replay, from 1.
    pub ordinal: i64,
    /// What became of it.
    pub state: ItemState,
    /// A word more: the class that it died of, or why it was refused.
    pub result: Option<String>,
    /// When it was dispatched.
    pub dispatched_at: Option<Micros>,
    /// When it had its result.
    pub ended_at: Option<Micros>,
}

impl Store {
    /// Freezes a selection: in one transaction its letters are marked as this replay's, and nothing that dies later
    /// joins. Asked again for the same while it is under way, it joins what is there.
    ///
    /// # Errors
    /// [`ReplayRefused`]; nothing changed.
    pub async fn freeze_replay(&self, filter: &DeadFilter, new: &NewReplay) -> Result<Frozen, ReplayRefused> {
        filter.check()?;
        let _ = new;
        Err(unbuilt().into())
    }

    /// A replay with its progress.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn replay_of(&self, id: ReplayId) -> Result<Replay, StoreError> {
        let _ = id;
        Err(unbuilt())
    }

    /// Replays, newest first; `open_only` leaves out what is done or cancelled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replays(&self, open_only: bool) -> Result<Vec<Replay>, StoreError> {
        let _ = open_only;
        Err(unbuilt())
    }

    /// A replay's letters by state. It looks first whether intake has what was handed back to the queue.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replay_progress(&self, id: ReplayId) -> Result<Progress, StoreError> {
        let _ = id;
        Err(unbuilt())
    }

    /// A replay's letters in order, from after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replay_items(&self, id: ReplayId, after: i64, limit: i64) -> Result<Vec<ReplayItem>, StoreError> {
        let _ = (id, after, limit);
        Err(unbuilt())
    }

    /// Ends a replay, with its results in the audit. `Halted` keeps its claims, to be joined; `Cancelled` gives up
    /// what was not dispatched; `Done` is refused while anything waits or runs. False: it had ended already.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Refused`], [`StoreError::Unavailable`].
    pub async fn end_replay(&self, id: ReplayId, state: ReplayState, who: &str) -> Result<bool, StoreError> {
        let _ = (id, state, who);
        Err(unbuilt())
    }
}
