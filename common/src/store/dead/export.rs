//! Export and import: letters in a file. Redacted, it names nobody and says nothing; revealed, every body is sealed
//! under the deployment's key. Its seal proves whose it is and that nothing in it was changed.

use serde::{Deserialize, Serialize};

use super::super::{Store, StoreError};
use super::DeadFilter;
use super::history::{DeadAttempt, unbuilt};
use crate::domain::{ContactId, ConversationId, DeadId, DeadState, EventId, Micros};

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

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The new letters.
    pub letters: Vec<DeadId>,
    /// Letters that this store has already.
    pub known: i64,
    /// Letters of people who were erased here: left out.
    pub erased: i64,
}

/// Why nothing was imported. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefused {
    /// Not a file of ours, or a newer one.
    #[error("this is no export that this build reads: its format is '{0}'")]
    Format(String),
    /// Another deployment's.
    #[error("this export was sealed with the key '{0}' of another deployment: import it there")]
    OtherKey(String),
    /// Changed or cut.
    #[error("this export was changed after it was made, or cut: make it again")]
    Changed,
    /// Nothing in it.
    #[error("this export holds no letter: nothing to import")]
    Empty,
    /// One of its letters does not open to an event of ours.
    #[error("letter {0} of this export is not valid: {1}; nothing was imported")]
    Letter(DeadId, String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Letters for a file, at most the filter's limit. Audited.
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn export_dead(&self, filter: &DeadFilter, reveal: bool, who: &str) -> Result<DeadExport, StoreError> {
        filter.check()?;
        let _ = (reveal, who);
        Err(unbuilt())
    }

    /// Takes an export in, all of it or nothing; what is here already is left as it is. Audited.
    ///
    /// # Errors
    /// [`ImportRefused`]; nothing changed.
    pub async fn import_dead(&self, export: &DeadExport, who: &str) -> Result<Imported, ImportRefused> {
        let _ = (export, who);
        Err(unbuilt().into())
    }
}
