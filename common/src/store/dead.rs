//! Dead letters: what could not be answered, sent or read, kept until a person resolves it.

use super::intake::{Admission, inbox_context};
use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use crate::digest::hex_digest;
use crate::domain::{ConversationId, DeadId, DeadState, EventId, Inbound, Micros, SendId, SourceName};

/// A dead letter about to be written. Its error names no content.
#[derive(Clone, Debug)]
pub struct NewDead {
    /// Its id.
    pub id: DeadId,
    /// The event that died.
    pub event_id: Option<EventId>,
    /// The send that was refused.
    pub send_id: Option<SendId>,
    /// Where it happened.
    pub conversation: Option<ConversationId>,
    /// Whose it is.
    pub contact: Option<crate::domain::ContactId>,
    /// The source it came in by.
    pub source: String,
    /// The stage that failed: `parse`, `intake`, `turn`, `send`.
    pub stage: &'static str,
    /// The class that recovery gave it.
    pub class: String,
    /// What was wrong, normalised: no digits, ids or content.
    pub error: String,
    /// Failed tries before it was given up.
    pub attempts: i64,
    /// The policy's version.
    pub policy: String,
    /// The build that gave it up.
    pub build: String,
    /// What has no row elsewhere, sealed with the deployment's key for `dead/<id>`.
    pub body: Option<Vec<u8>>,
}

impl NewDead {
    /// A webhook that this build cannot read.
    pub(super) fn unparsed(id: DeadId, admission: Admission<'_>, problem: &str) -> Self {
        Self {
            id,
            event_id: Some(admission.inbound.event_id),
            send_id: None,
            conversation: None,
            contact: None,
            source: admission.header.source.to_string(),
            stage: "parse",
            class: "unparsed".to_owned(),
            error: problem.to_owned(),
            attempts: 1,
            policy: String::new(),
            build: admission.build.to_owned(),
            body: None,
        }
    }

    /// A send that will never arrive, from its outbox row.
    pub(super) fn of_send(id: SendId, row: &Row, class: &str, error: &str) -> Result<Self, StoreError> {
        Ok(Self {
            id: DeadId::random(),
            event_id: None,
            send_id: Some(id),
            conversation: Some(ConversationId::from_uuid(row.get("conversation_id")?)),
            contact: Some(crate::domain::ContactId::from_uuid(row.get("contact_id")?)),
            source: row.get("source")?,
            stage: "send",
            class: class.to_owned(),
            error: error.to_owned(),
            attempts: row.get("attempts")?,
            policy: String::new(),
            build: crate::build().to_owned(),
            body: None,
        })
    }

    /// What groups letters of one cause: class, stage and normalised error.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex_digest(format!("{}\n{}\n{}", self.class, self.stage, self.error).as_bytes(), 16)
    }
}

/// A dead letter as it stands.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadId,
    /// The event that died.
    pub event_id: Option<EventId>,
    /// The send that was refused.
    pub send_id: Option<SendId>,
    /// Where it happened.
    pub conversation: Option<ConversationId>,
    /// The source.
    pub source: String,
    /// The stage.
    pub stage: String,
    /// The class.
    pub class: String,
    /// The normalised error.
    pub error: String,
    /// What groups it.
    pub fingerprint: String,
    /// Failed tries.
    pub attempts: i64,
    /// The policy's version.
    pub policy: String,
    /// The build.
    pub build: String,
    /// Where it stands.
    pub state: DeadState,
    /// Why it was discarded.
    pub why: Option<String>,
    /// When it died first.
    pub created_at: Micros,
    /// When it last changed.
    pub updated_at: Micros,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default)]
pub struct DeadFilter {
    /// Only of this state.
    pub state: Option<DeadState>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only of this source.
    pub source: Option<SourceName>,
    /// At most so many, newest first; 0 for 1,000.
    pub limit: i64,
}

/// Why a dead letter was not replayed. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayRefused {
    /// It is not open.
    #[error("dead letter {0} is {1}: only an open one can be replayed")]
    NotOpen(DeadId, DeadState),
    /// Its message is no longer dead.
    #[error("dead letter {0} has no message left to replay: it has been answered or erased meanwhile")]
    NothingLeft(DeadId),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The columns of a letter, for the two queries that read them.
macro_rules! select_letters {
    ($tail:literal) => {
        concat!(
            "SELECT id, event_id, send_id, conversation_id, source, stage, class, error, fingerprint, attempts, \
               policy, build, state, why, created_at, updated_at FROM dead ",
            $tail
        )
    };
}

/// Writes a letter. An event has one: if it was replayed and dies again, even after a good end, that one reopens with its
/// history counted on.
pub(super) async fn insert(tx: &mut Tx, letter: &NewDead) -> Result<(), StoreError> {
    let now = tx.now();
    let fingerprint = letter.fingerprint();
    let event = letter.event_id.map(EventId::uuid);
    let reopen = "UPDATE dead SET state = 'open', stage = $2, class = $3, error = $4, fingerprint = $5, \
                    attempts = attempts + $6, policy = $7, build = $8, send_id = $9, updated_at = $10 \
                  WHERE event_id = $1 AND state IN ('replaying', 'resolved')";
    let send = letter.send_id.map(SendId::uuid);
    let values = args![
        event,
        letter.stage,
        &letter.class,
        &letter.error,
        &fingerprint,
        letter.attempts,
        &letter.policy,
        &letter.build,
        send,
        now,
    ];
    if event.is_some() && tx.run(reopen, values).await? > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO dead (id, event_id, send_id, conversation_id, contact_id, source, stage, class, error, \
                 fingerprint, attempts, policy, build, state, body, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'open', $14, $15, $15)";
    let values = args![
        letter.id.uuid(),
        event,
        send,
        letter.conversation.map(ConversationId::uuid),
        letter.contact.map(crate::domain::ContactId::uuid),
        &letter.source,
        letter.stage,
        &letter.class,
        &letter.error,
        &fingerprint,
        letter.attempts,
        &letter.policy,
        &letter.build,
        letter.body.as_deref(),
        now,
    ];
    tx.run(sql, values).await.map(drop)
}

impl Store {
    /// Keeps what the dead queue brought and nobody can take in, sealed under the deployment's key. A message the
    /// store already has is dropped. True: it was kept.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn keep_undeliverable(
        &self,
        event: Option<EventId>,
        source: &str,
        bytes: &[u8],
        error: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.main.begin().await?;
        if let Some(event) = event {
            let known = tx.maybe("SELECT 1 AS found FROM inbox WHERE id = $1", args![event.uuid()]).await?;
            let kept = tx.maybe("SELECT 1 AS found FROM dead WHERE event_id = $1", args![event.uuid()]).await?;
            if known.is_some() || kept.is_some() {
                return Ok(false);
            }
        }
        let id = DeadId::random();
        let letter = NewDead {
            id,
            event_id: event,
            send_id: None,
            conversation: None,
            contact: None,
            source: source.to_owned(),
            stage: "intake",
            class: "undeliverable".to_owned(),
            error: error.to_owned(),
            attempts: 1,
            policy: String::new(),
            build: crate::build().to_owned(),
            body: Some(self.wrapping.seal(&body_context(id), bytes)),
        };
        insert(&mut tx, &letter).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = select_letters!(
            "WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR class = $2) AND ($3 IS NULL OR source = $3) \
             ORDER BY created_at DESC, id LIMIT $4"
        );
        let state = filter.state.map(DeadState::as_str);
        let source = filter.source.as_ref().map(SourceName::as_str);
        let limit = if filter.limit > 0 { filter.limit } else { 1_000 };
        let rows = self.main.read(sql, args![state, filter.class.as_deref(), source, limit]).await?;
        rows.iter().map(letter).collect()
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn dead_letter(&self, id: DeadId) -> Result<DeadLetter, StoreError> {
        let row = self.main.read_maybe(select_letters!("WHERE id = $1"), args![id.uuid()]).await?;
        letter(&row.ok_or_else(|| StoreError::Absent("dead letter", id.to_string()))?)
    }

    /// The event behind a dead letter, opened: for `dead show --reveal` and for replaying what could not be parsed.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Erased`], [`StoreError::Sealed`], [`StoreError::Unavailable`].
    pub async fn dead_event(&self, letter: &DeadLetter) -> Result<Inbound, StoreError> {
        let event = letter.event_id.ok_or_else(|| StoreError::Absent("event of dead letter", letter.id.to_string()))?;
        let row = self.main.read_maybe("SELECT body, contact_id FROM inbox WHERE id = $1", args![event.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("event", event.to_string()))?;
        let contact: Option<uuid::Uuid> = row.get("contact_id")?;
        let sealed: Vec<u8> = row.get::<Option<Vec<u8>>>("body")?.ok_or(StoreError::Erased)?;
        let plain = match contact {
            Some(contact) => {
                let key = self.contact_key(crate::domain::ContactId::from_uuid(contact)).await?;
                key.open(&inbox_context(event), &sealed)?
            }
            None => self.wrapping.open(&inbox_context(event), &sealed)?,
        };
        serde_json::from_slice(&plain).map_err(|_| StoreError::Broken(format!("event {event} has another shape")))
    }

    /// Hands a dead letter's messages back to their conversation: each gets a new place at the tail and keeps its
    /// first. Idempotent: a second call finds it `replaying` and is refused.
    ///
    /// # Errors
    /// [`ReplayRefused`]; nothing changed.
    pub async fn replay(&self, id: DeadId, who: &str) -> Result<ConversationId, ReplayRefused> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let claim = "UPDATE dead SET state = 'replaying', updated_at = $2 WHERE id = $1 AND state = 'open' \
                     RETURNING event_id, send_id, conversation_id";
        let Some(row) = tx.maybe(claim, args![id.uuid(), now]).await? else {
            let letter = self.dead_letter(id).await?;
            return Err(ReplayRefused::NotOpen(id, letter.state));
        };
        let conversation: Option<uuid::Uuid> = row.get("conversation_id")?;
        let Some(conversation) = conversation else { return Err(ReplayRefused::NothingLeft(id)) };
        let events = dead_events(&mut tx, &row).await?;
        if events.is_empty() {
            return Err(ReplayRefused::NothingLeft(id));
        }
        for event in &events {
            let sql = "UPDATE conversation SET tail = tail + 1, settle_at = NULL, next_at = NULL, \
                         waiting_since = CASE WHEN done = tail THEN $2 ELSE waiting_since END \
                       WHERE id = $1 RETURNING tail";
            let seq: i64 = tx.one(sql, args![conversation, now]).await?.get("tail")?;
            let sql = "UPDATE inbox SET state = 'pending', seq = $2, reason = NULL, ended_at = NULL, turn_id = NULL, \
                         position = NULL WHERE id = $1 AND state = 'dead'";
            if tx.run(sql, args![event.uuid(), seq]).await? != 1 {
                // Another letter of the same turn handed it back first.
                return Err(ReplayRefused::NothingLeft(id));
            }
        }
        super::hold::release(&mut tx, id).await?;
        super::floor::audit(&mut tx, who, "dead.replay", &id.to_string(), None).await?;
        tx.commit().await?;
        Ok(ConversationId::from_uuid(conversation))
    }

    /// Closes an `unparsed` letter whose bytes were read after all and whose events have been queued anew.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn resolve_unparsed(&self, letter: &DeadLetter, who: &str) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        if let Some(event) = letter.event_id {
            let sql = "UPDATE inbox SET state = 'recorded', reason = 'reparsed' WHERE id = $1 AND state = 'dead'";
            tx.run(sql, args![event.uuid()]).await?;
        }
        let sql = "UPDATE dead SET state = 'resolved', updated_at = $2 WHERE id = $1 AND state = 'open'";
        tx.run(sql, args![letter.id.uuid(), now]).await?;
        super::floor::audit(&mut tx, who, "dead.replay", &letter.id.to_string(), None).await?;
        tx.commit().await
    }
}

/// The dead messages behind a letter: its own event, or all that its refused send had answered.
async fn dead_events(tx: &mut Tx, row: &Row) -> Result<Vec<EventId>, StoreError> {
    let (event, send): (Option<uuid::Uuid>, Option<uuid::Uuid>) = (row.get("event_id")?, row.get("send_id")?);
    let sql = "SELECT id FROM inbox WHERE state = 'dead' AND kind = 'message' \
                 AND (id = $1 OR turn_id = (SELECT turn_id FROM outbox WHERE id = $2)) \
               ORDER BY received_at, instance, sequence";
    let rows = tx.all(sql, args![event, send]).await?;
    rows.iter().map(|row| row.get("id").map(EventId::from_uuid)).collect()
}

fn body_context(id: DeadId) -> Vec<u8> {
    format!("dead/{id}").into_bytes()
}

fn letter(row: &Row) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        id: DeadId::from_uuid(row.get("id")?),
        event_id: row.get::<Option<uuid::Uuid>>("event_id")?.map(EventId::from_uuid),
        send_id: row.get::<Option<uuid::Uuid>>("send_id")?.map(SendId::from_uuid),
        conversation: row.get::<Option<uuid::Uuid>>("conversation_id")?.map(ConversationId::from_uuid),
        source: row.get("source")?,
        stage: row.get("stage")?,
        class: row.get("class")?,
        error: row.get("error")?,
        fingerprint: row.get("fingerprint")?,
        attempts: row.get("attempts")?,
        policy: row.get("policy")?,
        build: row.get("build")?,
        state: row.word("state")?,
        why: row.get("why")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
