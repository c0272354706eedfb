//! Replays: a selection of letters, frozen with count and hash before anything runs, dispatched in order, and counted
//! by what the workers made of it.

use serde::Serialize;

use super::super::sql::{Row, args};
use super::super::{Store, StoreError};
use super::DeadFilter;
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

/// A rate is stored in letters per thousand seconds.
pub(super) const PER_THOUSAND: f64 = 1_000.0;

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

macro_rules! select_replays {
    ($tail:literal) => {
        concat!(
            "SELECT id, who, why, mode, filter, rate, ladder, letters, hash, state, created_at, ended_at FROM replay ",
            $tail
        )
    };
}

impl Store {
    /// A replay with its progress.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn replay_of(&self, id: ReplayId) -> Result<Replay, StoreError> {
        let row = self.main.read_maybe(select_replays!("WHERE id = $1"), args![id.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("replay", id.to_string()))?;
        replay(&row, self.replay_progress(id).await?)
    }

    /// Replays, newest first; `open_only` leaves out what is done or cancelled.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replays(&self, open_only: bool) -> Result<Vec<Replay>, StoreError> {
        let sql = if open_only {
            select_replays!("WHERE state IN ('running', 'halted') ORDER BY created_at DESC, id")
        } else {
            select_replays!("ORDER BY created_at DESC, id LIMIT 1000")
        };
        let mut replays = Vec::new();
        for row in self.main.read(sql, &[]).await? {
            let progress = self.replay_progress(ReplayId::from_uuid(row.get("id")?)).await?;
            replays.push(replay(&row, progress)?);
        }
        Ok(replays)
    }

    /// A replay's letters by state. It looks first whether intake has what was handed back to the queue.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replay_progress(&self, id: ReplayId) -> Result<Progress, StoreError> {
        self.confirm_taken_in().await?;
        let sql = "SELECT state, count(*) AS n FROM replay_item WHERE replay_id = $1 GROUP BY state";
        progress(&self.main.read(sql, args![id.uuid()]).await?)
    }

    /// A replay's letters in order, from after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replay_items(&self, id: ReplayId, after: i64, limit: i64) -> Result<Vec<ReplayItem>, StoreError> {
        let sql = "SELECT dead_id, conversation_id, ordinal, state, result, dispatched_at, ended_at FROM replay_item \
                   WHERE replay_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3";
        self.main.read(sql, args![id.uuid(), after, limit]).await?.iter().map(item).collect()
    }

    /// Ends a replay, with its results in the audit. `Halted` keeps its claims, to be joined; `Cancelled` gives up
    /// what was not dispatched; `Done` is refused while anything waits or runs. False: it had ended already.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Refused`], [`StoreError::Unavailable`].
    pub async fn end_replay(&self, id: ReplayId, state: ReplayState, who: &str) -> Result<bool, StoreError> {
        let action = match state {
            ReplayState::Running => {
                return Err(StoreError::Refused("a replay ends done, halted or cancelled".to_owned()));
            }
            ReplayState::Halted => "dead.replay.halt",
            ReplayState::Done => "dead.replay.done",
            ReplayState::Cancelled => "dead.replay.cancel",
        };
        self.replay_of(id).await?;
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = "UPDATE replay SET state = $2, ended_at = $3 WHERE id = $1 AND state IN ('running', 'halted') \
                     AND state <> $2";
        let ended_at = (state != ReplayState::Halted).then_some(now);
        if tx.run(sql, args![id.uuid(), state.as_str(), ended_at]).await? != 1 {
            return Ok(false);
        }
        if state == ReplayState::Cancelled {
            // What only the caller could have ended is nobody's now: it is open again.
            let sql = "UPDATE dead SET state = 'open', updated_at = $2 \
                       WHERE state = 'replaying' AND class IN ('unparsed', 'undeliverable') \
                         AND id IN (SELECT dead_id FROM replay_item WHERE replay_id = $1 AND state = 'running') \
                       RETURNING id";
            for row in tx.all(sql, args![id.uuid(), now]).await? {
                let dead = DeadId::from_uuid(row.get("id")?);
                super::outcome::settle_item(&mut tx, dead, ItemState::Left, None).await?;
            }
            let sql = "UPDATE replay_item SET state = 'left', ended_at = $2 WHERE replay_id = $1 AND state = 'waiting'";
            tx.run(sql, args![id.uuid(), now]).await?;
        }
        let sql = "SELECT state, count(*) AS n FROM replay_item WHERE replay_id = $1 GROUP BY state";
        let progress = progress(&tx.all(sql, args![id.uuid()]).await?)?;
        if state == ReplayState::Done && progress.ended() < progress.total {
            let left = progress.total - progress.ended();
            return Err(StoreError::Refused(format!("replay {id} is not done: {left} letters have no result yet")));
        }
        super::super::floor::audit(&mut tx, who, action, &id.to_string(), Some(&progress.to_string())).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// How many letters are in each state.
pub(super) fn progress(rows: &[Row]) -> Result<Progress, StoreError> {
    let mut sum = Progress::default();
    for row in rows {
        let n: i64 = row.get("n")?;
        sum.total += n;
        match row.word::<ItemState>("state")? {
            ItemState::Waiting => sum.waiting += n,
            ItemState::Running => sum.running += n,
            ItemState::Succeeded => sum.succeeded += n,
            ItemState::Failed => sum.failed += n,
            ItemState::Superseded => sum.superseded += n,
            ItemState::Refused => sum.refused += n,
            ItemState::Left => sum.left += n,
        }
    }
    Ok(sum)
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "of {}: {} succeeded, {} failed, {} superseded, {} refused, {} left, {} running, {} waiting",
            self.total,
            self.succeeded,
            self.failed,
            self.superseded,
            self.refused,
            self.left,
            self.running,
            self.waiting
        )
    }
}

fn replay(row: &Row, progress: Progress) -> Result<Replay, StoreError> {
    let filter: String = row.get("filter")?;
    Ok(Replay {
        id: ReplayId::from_uuid(row.get("id")?),
        who: row.get("who")?,
        why: row.get("why")?,
        mode: row.word("mode")?,
        filter: serde_json::from_str(&filter).map_err(|error| StoreError::Broken(error.to_string()))?,
        rate_per_second: row.get::<Option<i64>>("rate")?.map(|rate| rate as f64 / PER_THOUSAND),
        ladder: row.get("ladder")?,
        count: row.get("letters")?,
        hash: row.get("hash")?,
        state: row.word("state")?,
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
        progress,
    })
}

fn item(row: &Row) -> Result<ReplayItem, StoreError> {
    let conversation: Option<uuid::Uuid> = row.get("conversation_id")?;
    Ok(ReplayItem {
        dead: DeadId::from_uuid(row.get("dead_id")?),
        conversation: conversation.map(ConversationId::from_uuid),
        ordinal: row.get("ordinal")?,
        state: row.word("state")?,
        result: row.get("result")?,
        dispatched_at: row.get("dispatched_at")?,
        ended_at: row.get("ended_at")?,
    })
}
