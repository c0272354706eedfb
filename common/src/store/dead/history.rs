//! History: every failed attempt, written when it happens and in the commit that hands its work back. What is held for
//! hours is one line that counts; what ended well is forgotten after a week.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::claim::Claimed;
use super::super::sql::{Row, Tx, args};
use super::super::{Store, StoreError};
use super::{DeadLetter, NewDead};
use crate::digest::hex_digest;
use crate::domain::{DeadId, EventId, Micros, SendId, WorkerId};

/// How long the failed attempts of what ended well are kept.
const KEPT: Duration = Duration::from_hours(7 * 24);
/// Rows forgotten at once.
const ROUND: i64 = 1_000;

/// One failed attempt, or a run of equal ones while something was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadAttempt {
    /// When it failed (first).
    pub at: Micros,
    /// When it failed last; the same moment unless it was held.
    pub last_at: Micros,
    /// How often.
    pub times: i64,
    /// The worker that failed at it; `None` where nobody knows.
    pub worker: Option<WorkerId>,
    /// The build that failed.
    pub build: String,
    /// The stage.
    pub stage: String,
    /// The class that recovery gave it.
    pub class: String,
    /// The normalised error.
    pub error: String,
    /// What was decided: `retried`, `held`, `crashed` or `dead`.
    pub outcome: String,
}

/// A failure that recovery has judged and that no letter speaks of yet.
#[derive(Clone, Copy, Debug)]
pub struct NewFailure<'a> {
    /// The messages tried.
    pub events: &'a [EventId],
    /// The class that recovery gave it.
    pub class: &'a str,
    /// What was wrong, normalised: no digits, ids or content.
    pub error: &'a str,
}

/// When a turn is tried again, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// When.
    pub at: Micros,
    /// How many failures to count: 0 while something is held.
    pub counted: i64,
    /// From now on try messages singly.
    pub one_by_one: bool,
}

/// What a line of history says.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) worker: Option<WorkerId>,
    pub(super) build: &'a str,
    pub(super) stage: &'a str,
    pub(super) class: &'a str,
    pub(super) error: &'a str,
    pub(super) outcome: &'a str,
}

impl Store {
    /// Hands a claim back after a failure, and writes the failure down in the same commit. False: the claim was no
    /// longer ours, and nothing was written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn retry(&self, claim: &Claimed, retry: Retry, failure: NewFailure<'_>) -> Result<bool, StoreError> {
        let mut tx = self.main.begin().await?;
        let values = args![
            claim.conversation.uuid(),
            claim.worker.uuid(),
            claim.fence,
            retry.at,
            retry.counted,
            retry.one_by_one,
        ];
        if tx.run(super::super::claim::RETRY, values).await? != 1 {
            return Ok(false);
        }
        let line = Line {
            worker: Some(claim.worker),
            build: crate::build(),
            stage: "turn",
            class: failure.class,
            error: failure.error,
            outcome: if retry.counted == 0 { "held" } else { "retried" },
        };
        for event in failure.events {
            write(&mut tx, event.uuid(), None, line).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Writes down that an earlier claim of these messages ended without a word; once for each such claim, however
    /// often it is told.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_crash(&self, claim: &Claimed, events: &[EventId], error: &str) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = "INSERT INTO failure (id, subject, at, last_at, times, worker, build, stage, class, error, outcome) \
                   VALUES ($1, $2, $3, $3, 1, $4, $5, 'turn', 'crash', $6, 'crashed') ON CONFLICT (id) DO NOTHING";
        let owner = claim.crashed_owner.map(WorkerId::uuid);
        for event in events {
            let told = format!("{event} {owner:?} {} {}", claim.done, claim.claims);
            let id = Uuid::parse_str(&hex_digest(told.as_bytes(), 32)).unwrap_or_else(|_| Uuid::new_v4());
            tx.run(sql, args![id, event.uuid(), now, owner, crate::build(), error]).await?;
        }
        tx.commit().await
    }

    /// Every failed attempt behind a letter, oldest first, those before its replays included.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn dead_attempts(&self, letter: &DeadLetter) -> Result<Vec<DeadAttempt>, StoreError> {
        let sql = "SELECT at, last_at, times, worker, build, stage, class, error, outcome FROM failure \
                   WHERE dead_id = $1 OR (dead_id IS NULL AND (subject = $2 OR subject = $3)) \
                   ORDER BY last_at, CASE WHEN outcome = 'dead' THEN 1 ELSE 0 END, at";
        let (event, send) = (letter.event_id.map(EventId::uuid), letter.send_id.map(SendId::uuid));
        let rows = self.main.read(sql, args![letter.id.uuid(), event, send]).await?;
        rows.iter().map(attempt).collect()
    }

    /// Forgets the failed attempts of what ended well a week ago.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_failures(&self) -> Result<u64, StoreError> {
        let before = self.main.now().await? - KEPT;
        let sql = "DELETE FROM failure WHERE id IN \
                     (SELECT id FROM failure WHERE dead_id IS NULL AND last_at < $1 LIMIT $2)";
        self.main.write(sql, args![before, ROUND]).await
    }
}

/// A send that is tried again, from its own sender's word.
pub(in crate::store) async fn of_send(
    tx: &mut Tx,
    id: SendId,
    worker: WorkerId,
    (class, error, held): (&str, &str, bool),
) -> Result<(), StoreError> {
    let outcome = if held { "held" } else { "retried" };
    let line = Line { worker: Some(worker), build: crate::build(), stage: "send", class, error, outcome };
    write(tx, id.uuid(), None, line).await
}

/// Notes a refused notice on the letter of the message that its turn had parked. False: it had parked none, or that one
/// has been handed back since.
pub(in crate::store) async fn note_on_parked(
    tx: &mut Tx,
    turn: Uuid,
    refused: &NewDead,
    worker: Option<WorkerId>,
) -> Result<bool, StoreError> {
    let sql = "SELECT d.id AS id FROM inbox i JOIN dead d ON d.event_id = i.id \
               WHERE i.turn_id = $1 AND i.state IN ('dead', 'discarded', 'recorded') \
               ORDER BY d.created_at DESC, d.id LIMIT 1";
    let Some(row) = tx.maybe(sql, args![turn]).await? else { return Ok(false) };
    let (parked, send) = (DeadId::from_uuid(row.get("id")?), refused.send_id.map(SendId::uuid));
    adopt(tx, parked, [None, send]).await?;
    let line = Line {
        worker,
        build: &refused.build,
        stage: refused.stage,
        class: &refused.class,
        error: &refused.error,
        outcome: "dead",
    };
    write(tx, send.unwrap_or_else(|| parked.uuid()), Some(parked), line).await?;
    Ok(true)
}

/// Writes a line; what is held like before counts on the line that is there.
pub(super) async fn write(
    tx: &mut Tx,
    subject: Uuid,
    letter: Option<DeadId>,
    line: Line<'_>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO failure (id, subject, dead_id, at, last_at, times, worker, build, stage, class, error, \
                 outcome) VALUES ($1, $2, $3, $4, $4, 1, $5, $6, $7, $8, $9, $10) \
               ON CONFLICT (subject, worker, build, stage, class, error) WHERE outcome = 'held' AND dead_id IS NULL \
               DO UPDATE SET times = failure.times + 1, last_at = excluded.last_at";
    let now = tx.now();
    let values = args![
        Uuid::new_v4(),
        subject,
        letter.map(DeadId::uuid),
        now,
        line.worker.map(WorkerId::uuid),
        line.build,
        line.stage,
        line.class,
        line.error,
        line.outcome,
    ];
    tx.run(sql, values).await.map(drop)
}

/// Gives what failed before to the letter that came of it.
pub(super) async fn adopt(tx: &mut Tx, letter: DeadId, subjects: [Option<Uuid>; 2]) -> Result<(), StoreError> {
    let sql = "UPDATE failure SET dead_id = $1 WHERE (subject = $2 OR subject = $3) AND dead_id IS NULL";
    let [event, send] = subjects;
    tx.run(sql, args![letter.uuid(), event, send]).await.map(drop)
}

fn attempt(row: &Row) -> Result<DeadAttempt, StoreError> {
    Ok(DeadAttempt {
        at: row.get("at")?,
        last_at: row.get("last_at")?,
        times: row.get("times")?,
        worker: row.get::<Option<Uuid>>("worker")?.map(WorkerId::from_uuid),
        build: row.get("build")?,
        stage: row.get("stage")?,
        class: row.get("class")?,
        error: row.get("error")?,
        outcome: row.get("outcome")?,
    })
}
