//! Export: letters in a file. Redacted, it names nobody and says nothing; revealed, every body is sealed under the
//! deployment's key. Its seal proves whose it is and that nothing in it was changed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::super::{Store, StoreError};
use super::history::DeadAttempt;
use super::{DeadBody, DeadFilter, DeadLetter, looked};
use crate::digest::hex_digest;
use crate::domain::{ContactId, ConversationId, DeadId, DeadState, EventId, Inbound, Micros};

/// Letters in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadExport {
    /// The format's name and version.
    pub format: String,
    /// This export.
    pub id: uuid::Uuid,
    /// When it was made.
    pub at: Micros,
    /// The id of the key that sealed it.
    pub key: String,
    /// Whether it holds bodies, sealed.
    pub revealed: bool,
    /// The letters.
    pub letters: Vec<ExportedLetter>,
    /// A digest of the letters under the deployment's key, in base64.
    pub seal: String,
}

/// A letter in a file. Names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedLetter {
    /// Its id where it comes from.
    pub id: DeadId,
    /// The event behind it there.
    pub event_id: Option<EventId>,
    /// Whose it is, as a random id.
    pub contact: Option<ContactId>,
    /// Where it happened there.
    pub conversation: Option<ConversationId>,
    /// The message's first place in it.
    pub place: Option<i64>,
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
    /// The last prompt's digest.
    pub prompt: Option<String>,
    /// The build.
    pub build: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it stood.
    pub state: DeadState,
    /// When it died first.
    pub created_at: Micros,
    /// When it last changed.
    pub updated_at: Micros,
    /// Its history.
    pub history: Vec<DeadAttempt>,
    /// Its body, sealed, in base64.
    pub body: Option<String>,
}

/// The format's name and version.
pub(super) const FORMAT: &str = "handrail dead letters 1";

/// A body as a revealed export seals it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum SealedBody {
    /// An event.
    Event {
        /// It.
        inbound: Box<Inbound>,
    },
    /// A refused reply.
    Send {
        /// Its parts.
        parts: Vec<String>,
        /// What it answered.
        answers: Vec<Inbound>,
    },
    /// What could not be taken in, in base64.
    Envelope {
        /// The bytes.
        bytes: String,
    },
}

impl Store {
    /// Letters for a file, at most the filter's limit. Audited.
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn export_dead(&self, filter: &DeadFilter, reveal: bool, who: &str) -> Result<DeadExport, StoreError> {
        let id = uuid::Uuid::new_v4();
        let mut letters = Vec::new();
        for letter in self.dead_letters(filter).await? {
            let history = self.dead_attempts(&letter).await?;
            let body = if reveal { self.sealed_body(id, &letter).await? } else { None };
            letters.push(exported(letter, history, body));
        }
        if letters.is_empty() {
            return Err(StoreError::Refused("no dead letter matches: nothing to export".to_owned()));
        }
        let action = if reveal { "dead.export.reveal" } else { "dead.export" };
        let ids: Vec<DeadId> = letters.iter().map(|letter: &ExportedLetter| letter.id).collect();
        let what = format!("{id}: {}", looked::told(&ids, filter)?);
        self.audit(who, action, &what, None).await?;
        let seal = STANDARD.encode(self.wrapping.seal(&seal_context(id), digest_of(&letters)?.as_bytes()));
        let key = self.wrapping.sealing_id().to_owned();
        Ok(DeadExport { format: FORMAT.to_owned(), id, at: self.now().await?, key, revealed: reveal, letters, seal })
    }

    async fn sealed_body(&self, export: uuid::Uuid, letter: &DeadLetter) -> Result<Option<String>, StoreError> {
        let body = match self.dead_body(letter).await? {
            DeadBody::Event(inbound) => SealedBody::Event { inbound },
            DeadBody::Send { parts, answers } => SealedBody::Send { parts, answers },
            DeadBody::Envelope(bytes) => SealedBody::Envelope { bytes: STANDARD.encode(bytes) },
            DeadBody::Nothing | DeadBody::Closed(_) => return Ok(None),
        };
        let plain = serde_json::to_vec(&body).map_err(|error| StoreError::Broken(error.to_string()))?;
        Ok(Some(STANDARD.encode(self.wrapping.seal(&letter_context(export, letter.id), &plain))))
    }
}

fn exported(letter: DeadLetter, history: Vec<DeadAttempt>, body: Option<String>) -> ExportedLetter {
    ExportedLetter {
        id: letter.id,
        event_id: letter.event_id,
        contact: letter.contact,
        conversation: letter.conversation,
        place: letter.place,
        source: letter.source,
        stage: letter.stage,
        class: letter.class,
        error: letter.error,
        fingerprint: letter.fingerprint,
        attempts: letter.attempts,
        policy: letter.policy,
        prompt: letter.prompt,
        build: letter.build,
        tags: letter.tags,
        state: letter.state,
        created_at: letter.created_at,
        updated_at: letter.updated_at,
        history,
        body,
    }
}

pub(super) fn digest_of(letters: &[ExportedLetter]) -> Result<String, StoreError> {
    let told = serde_json::to_vec(letters).map_err(|error| StoreError::Broken(error.to_string()))?;
    Ok(hex_digest(&told, 64))
}

pub(super) fn seal_context(export: uuid::Uuid) -> Vec<u8> {
    format!("export/{export}").into_bytes()
}

pub(super) fn letter_context(export: uuid::Uuid, letter: DeadId) -> Vec<u8> {
    format!("export/{export}/{letter}").into_bytes()
}
