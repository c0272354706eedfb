//! Editing: a letter is never changed. Its edited form is an event and a letter of its own with a link back, and the
//! original is closed only when a worker has answered the edited one.

use serde::{Deserialize, Serialize};

use super::super::{Store, StoreError};
use super::history::unbuilt;
use crate::domain::{DeadId, DeadState, Inbound, Micros};

/// What a person wants a letter to say.
pub enum DeadEdit {
    /// The message's text.
    Text(String),
    /// The bytes of a webhook that could not be read.
    Raw(Vec<u8>),
    /// The whole event; only what it says may differ.
    Event(Box<Inbound>),
}

/// Why a letter was not edited. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum EditRefused {
    /// It is not open.
    #[error("dead letter {0} is {1}: only an open one can be edited")]
    NotOpen(DeadId, DeadState),
    /// An edit of it is waiting already.
    #[error("dead letter {0} has been edited as {1}: replay, edit or discard that one")]
    Edited(DeadId, DeadId),
    /// A replay holds it.
    #[error("dead letter {0} is part of a replay: let it end, or cancel it")]
    Held(DeadId),
    /// It has nothing that could be edited.
    #[error("dead letter {0} cannot be edited: {1}")]
    NotEditable(DeadId, &'static str),
    /// The edited form is no event of ours.
    #[error("the edited letter is not valid: {0}")]
    Schema(String),
    /// It says what it said.
    #[error("the edited letter says what dead letter {0} says: nothing to do")]
    Unchanged(DeadId),
    /// Nobody said why.
    #[error("an edit needs a reason: say why")]
    NoReason,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One part of an event that an edit changed. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which part: a JSON pointer into the event.
    pub part: String,
    /// What it was.
    pub before: serde_json::Value,
    /// What it is.
    pub after: serde_json::Value,
}

/// An edit, opened. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct DeadDiff {
    /// The letter that was edited.
    pub from: DeadId,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Micros,
    /// What.
    pub changes: Vec<Change>,
}

impl Store {
    /// Makes a new letter that says something else, and a new event behind it. The original stays open until the new
    /// one has been answered.
    ///
    /// # Errors
    /// [`EditRefused`]; nothing changed.
    pub async fn edit_dead(&self, id: DeadId, edit: DeadEdit, who: &str, why: &str) -> Result<DeadId, EditRefused> {
        let _ = (id, edit, who, why);
        Err(unbuilt().into())
    }

    /// What an edited letter changed; `None` when it is no edit.
    ///
    /// # Errors
    /// [`StoreError::Erased`], [`StoreError::Sealed`], [`StoreError::Unavailable`].
    pub async fn dead_diff(&self, id: DeadId) -> Result<Option<DeadDiff>, StoreError> {
        let _ = id;
        Err(unbuilt())
    }
}
