//! A letter: what is known of a failure, without a word of what was said.

use uuid::Uuid;

use super::super::intake::Admission;
use super::super::sql::{Row, args};
use super::super::{Store, StoreError};
use crate::digest::hex_digest;
use crate::domain::{ContactId, ConversationId, DeadId, DeadState, EventId, Micros, ReplayId, SendId};

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
    pub contact: Option<ContactId>,
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
    pub(in crate::store) fn unparsed(id: DeadId, admission: Admission<'_>, problem: &str) -> Self {
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
    pub(in crate::store) fn of_send(id: SendId, row: &Row, class: &str, error: &str) -> Result<Self, StoreError> {
        Ok(Self {
            id: DeadId::random(),
            event_id: None,
            send_id: Some(id),
            conversation: Some(ConversationId::from_uuid(row.get("conversation_id")?)),
            contact: Some(ContactId::from_uuid(row.get("contact_id")?)),
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
    /// Whose it is.
    pub contact: Option<ContactId>,
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
    /// The digest of the last prompt, where a model was asked.
    pub prompt: Option<String>,
    /// The build.
    pub build: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it stands.
    pub state: DeadState,
    /// Why it was discarded.
    pub why: Option<String>,
    /// The letter that this one is an edit of.
    pub edited_from: Option<DeadId>,
    /// The edit that was answered in its place.
    pub replaced_by: Option<DeadId>,
    /// Its message's first place in the conversation.
    pub place: Option<i64>,
    /// When the ingress had its event.
    pub received_at: Option<Micros>,
    /// The replay that holds it.
    pub replay: Option<ReplayId>,
    /// When it died first.
    pub created_at: Micros,
    /// When it last changed.
    pub updated_at: Micros,
    /// What it shares with others: see `dead_cause`.
    pub(super) cause: String,
    /// The ingress that numbered its event, and the number.
    pub(super) numbered: Option<(Uuid, i64)>,
}

/// The columns of a letter's own row.
macro_rules! columns {
    () => {
        "id, event_id, send_id, conversation_id, contact_id, source, stage, class, error, fingerprint, attempts, \
         policy, prompt, build, tags, state, why, edited_from, place, received_at, instance, sequence, created_at, \
         updated_at, cause"
    };
}
pub(super) use columns;

/// Letters from `d`, whatever that is.
macro_rules! select_letters {
    ($($from:tt)+) => {
        concat!(
            "SELECT d.*, \
               (SELECT e.id FROM dead e WHERE e.edited_from = d.id AND e.state = 'resolved' LIMIT 1) AS replaced_by, \
               (SELECT r.replay_id FROM replay_item r WHERE r.dead_id = d.id AND r.state IN ('waiting', 'running') \
                  LIMIT 1) AS replay_id \
             FROM ",
            $($from)+
        )
    };
}
pub(super) use select_letters;

impl Store {
    /// One dead letter.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn dead_letter(&self, id: DeadId) -> Result<DeadLetter, StoreError> {
        const SQL: &str = select_letters!("(SELECT ", columns!(), " FROM dead WHERE id = $1) d");
        let row = self.main.read_maybe(SQL, args![id.uuid()]).await?;
        letter(&row.ok_or_else(|| StoreError::Absent("dead letter", id.to_string()))?)
    }
}

pub(super) fn letter(row: &Row) -> Result<DeadLetter, StoreError> {
    let id = |column: &str| row.get::<Option<Uuid>>(column);
    let tags: String = row.get("tags")?;
    Ok(DeadLetter {
        id: DeadId::from_uuid(row.get("id")?),
        event_id: id("event_id")?.map(EventId::from_uuid),
        send_id: id("send_id")?.map(SendId::from_uuid),
        conversation: id("conversation_id")?.map(ConversationId::from_uuid),
        contact: id("contact_id")?.map(ContactId::from_uuid),
        source: row.get("source")?,
        stage: row.get("stage")?,
        class: row.get("class")?,
        error: row.get("error")?,
        fingerprint: row.get("fingerprint")?,
        attempts: row.get("attempts")?,
        policy: row.get("policy")?,
        prompt: row.get("prompt")?,
        build: row.get("build")?,
        tags: tags.split_whitespace().map(str::to_owned).collect(),
        state: row.word("state")?,
        why: row.get("why")?,
        edited_from: id("edited_from")?.map(DeadId::from_uuid),
        replaced_by: id("replaced_by")?.map(DeadId::from_uuid),
        place: row.get("place")?,
        received_at: row.get("received_at")?,
        replay: id("replay_id")?.map(ReplayId::from_uuid),
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        cause: row.get("cause")?,
        numbered: id("instance")?.zip(row.get::<Option<i64>>("sequence")?),
    })
}
