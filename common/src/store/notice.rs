//! Notices: what teams are told, an outbox of its own. A notice is committed with its handoff and told at least once,
//! under one id that the receiver can know a second one by: whoever begins it has it until a deadline, and one whose
//! worker is gone by then is begun again.

use std::time::Duration;

use serde::Serialize;

use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use crate::domain::{ContactId, ConversationId, HandoffId, Micros, NoticeId, NoticeKind, NoticeState, WorkerId};
use crate::seal::{Keyring, SealError};

/// A word to a team, about to be queued. Holds personal data.
#[derive(Clone)]
pub struct NewNotice {
    /// Its id, the same however often it is told.
    pub id: NoticeId,
    /// The configured destination's name.
    pub destination: String,
    /// Why.
    pub kind: NoticeKind,
    /// What to say; sealed with the contact's key.
    pub body: String,
}

/// A notice that is ours to tell until its deadline. Holds personal data.
#[derive(Clone)]
pub struct BegunNotice {
    /// Its id.
    pub id: NoticeId,
    /// The conversation it is about.
    pub conversation: ConversationId,
    /// The configured destination's name.
    pub destination: String,
    /// Why.
    pub kind: NoticeKind,
    /// What to say.
    pub body: String,
    /// Which try this is, from 1.
    pub attempts: i64,
    /// When it was committed.
    pub created_at: Micros,
}

/// How telling ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The destination has it.
    Accepted,
    /// Try again from then on; the error is a constant word or a code.
    Again(Micros, String),
    /// The destination will not take it.
    Refused(String),
    /// Tried as often as makes sense; nobody knows whether it arrived.
    Unknown(String),
}

/// A notice as it is shown. Names nobody.
#[derive(Clone, Debug, Serialize)]
pub struct NoticeView {
    /// Its id.
    pub id: NoticeId,
    /// The configured destination's name.
    pub destination: String,
    /// Why.
    pub kind: NoticeKind,
    /// Where it stands.
    pub state: NoticeState,
    /// Tries so far.
    pub attempts: i64,
    /// The last error.
    pub error: Option<String>,
    /// When it was committed.
    pub created_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
}

impl Store {
    /// Notices that are due, or whose worker is gone, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn due_notices(&self, limit: usize) -> Result<Vec<NoticeId>, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT id FROM notice WHERE state IN ('queued', 'sending') \
                     AND ((state = 'queued' AND (next_at IS NULL OR next_at <= $1)) \
                       OR (state = 'sending' AND deadline <= $1)) ORDER BY created_at LIMIT $2";
        let rows = self.main.read(sql, args![now, i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        rows.iter().map(|row| row.get("id").map(NoticeId::from_uuid)).collect()
    }

    /// Begins a notice, if it is still due and nobody else has begun it; it is ours for `patience`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn begin_notice(
        &self,
        id: NoticeId,
        worker: WorkerId,
        patience: Duration,
    ) -> Result<Option<BegunNotice>, StoreError> {
        let now = self.main.now().await?;
        let sql = "UPDATE notice SET state = 'sending', sender = $2, deadline = $4, next_at = NULL, \
                     attempts = attempts + 1 \
                   WHERE id = $1 AND ((state = 'queued' AND (next_at IS NULL OR next_at <= $3)) \
                       OR (state = 'sending' AND deadline <= $3)) \
                   RETURNING conversation_id, contact_id, destination, kind, body, attempts, created_at";
        let values = args![id.uuid(), worker.uuid(), now, now + patience];
        let rows = self.main.write_returning(sql, values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let attempts = row.get("attempts")?;
        let Some(body) = self.notice_body(id, row).await? else {
            self.finish_notice(id, worker, attempts, Told::Refused("unreadable".to_owned())).await?;
            return Ok(None);
        };
        Ok(Some(BegunNotice {
            id,
            conversation: ConversationId::from_uuid(row.get("conversation_id")?),
            destination: row.get("destination")?,
            kind: row.word("kind")?,
            body,
            attempts,
            created_at: row.get("created_at")?,
        }))
    }

    /// What a notice says; `None` when its customer was erased or it does not open.
    async fn notice_body(&self, id: NoticeId, row: &Row) -> Result<Option<String>, StoreError> {
        let key = match self.contact_key(ContactId::from_uuid(row.get("contact_id")?)).await {
            Ok(key) => key,
            Err(StoreError::Erased | StoreError::Sealed(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let opened: Result<Vec<u8>, SealError> = key.open(&context(id), &row.get::<Vec<u8>>("body")?);
        Ok(opened.ok().and_then(|plain| String::from_utf8(plain).ok()))
    }

    /// Records how a try ended, if it is still the last one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the notice is begun again after its deadline.
    pub async fn finish_notice(
        &self,
        id: NoticeId,
        worker: WorkerId,
        attempt: i64,
        told: Told,
    ) -> Result<bool, StoreError> {
        let now = self.main.now().await?;
        let (state, next, error) = match told {
            Told::Accepted => (NoticeState::Accepted, None, None),
            Told::Again(at, error) => (NoticeState::Queued, Some(at), Some(error)),
            Told::Refused(error) => (NoticeState::Refused, None, Some(error)),
            Told::Unknown(error) => (NoticeState::Unknown, None, Some(error)),
        };
        let ended = (state != NoticeState::Queued).then_some(now);
        let sql = "UPDATE notice SET state = $4, next_at = $5, error = $6, ended_at = $7, deadline = NULL \
                   WHERE id = $1 AND sender = $2 AND attempts = $3 AND state = 'sending'";
        let values = args![id.uuid(), worker.uuid(), attempt, state.as_str(), next, error.as_deref(), ended];
        Ok(self.main.write(sql, values).await? == 1)
    }

    /// How many notices are on their way, and how many of the last day never arrived for all we know.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn notice_counts(&self) -> Result<(i64, i64), StoreError> {
        let sql = "SELECT count(*) AS open FROM notice WHERE state IN ('queued', 'sending')";
        let open = self.main.read_one(sql, &[]).await?.get("open")?;
        let since = self.main.now().await? - Duration::from_hours(24);
        let sql = "SELECT count(*) AS failed FROM notice WHERE state IN ('refused', 'unknown') AND ended_at > $1";
        Ok((open, self.main.read_one(sql, args![since]).await?.get("failed")?))
    }

    /// A conversation's notices with their handoffs, oldest first.
    pub(super) async fn notices_of(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<(HandoffId, NoticeView)>, StoreError> {
        let sql = "SELECT id, handoff_id, destination, kind, state, attempts, error, created_at, ended_at FROM notice \
                   WHERE conversation_id = $1 ORDER BY created_at, destination";
        self.main.read(sql, args![conversation.uuid()]).await?.iter().map(view).collect()
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    key: &Keyring,
    (handoff, conversation, contact): (HandoffId, ConversationId, ContactId),
    notice: &NewNotice,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO notice (id, handoff_id, conversation_id, contact_id, destination, kind, state, body, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8)";
    let (sealed, now) = (key.seal(&context(notice.id), notice.body.as_bytes()), tx.now());
    let values = args![
        notice.id.uuid(),
        handoff.uuid(),
        conversation.uuid(),
        contact.uuid(),
        &notice.destination,
        notice.kind.as_str(),
        &sealed,
        now,
    ];
    tx.run(sql, values).await.map(drop)
}

/// What a closed handoff has not told need not be told any more.
pub(super) async fn withdraw(tx: &mut Tx, handoff: HandoffId) -> Result<(), StoreError> {
    let now = tx.now();
    let sql = "UPDATE notice SET state = 'withdrawn', ended_at = $2 WHERE handoff_id = $1 AND state = 'queued'";
    tx.run(sql, args![handoff.uuid(), now]).await.map(drop)
}

/// A provider says of a notice that it failed after all. False: it is no notice of ours.
pub(super) async fn failed_after_all(tx: &mut Tx, id: uuid::Uuid, error: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let sql = "UPDATE notice SET state = 'refused', error = $2, ended_at = $3 WHERE id = $1 AND state = 'accepted'";
    Ok(tx.run(sql, args![id, error, now]).await? == 1)
}

fn context(id: NoticeId) -> Vec<u8> {
    format!("notice/{id}").into_bytes()
}

fn view(row: &Row) -> Result<(HandoffId, NoticeView), StoreError> {
    let view = NoticeView {
        id: NoticeId::from_uuid(row.get("id")?),
        destination: row.get("destination")?,
        kind: row.word("kind")?,
        state: row.word("state")?,
        attempts: row.get("attempts")?,
        error: row.get("error")?,
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
    };
    Ok((HandoffId::from_uuid(row.get("handoff_id")?), view))
}
