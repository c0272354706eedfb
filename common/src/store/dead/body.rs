//! Opening: what a letter is about, under whichever key it lies.

use super::super::{Store, StoreError};
use super::DeadLetter;
use super::history::unbuilt;
use crate::domain::Inbound;

/// What a letter is about, opened. Personal data.
pub enum DeadBody {
    /// An event: a message, or the bytes of a webhook that could not be read.
    Event(Box<Inbound>),
    /// A reply that was refused: its parts in order, and the messages that it answered.
    Send {
        /// What would have been said.
        parts: Vec<String>,
        /// What it answers.
        answers: Vec<Inbound>,
    },
    /// What the broker could not deliver: the bytes as they came.
    Envelope(Vec<u8>),
    /// Nothing: it came in without its body, or its person was erased.
    Nothing,
}

impl Store {
    /// What a letter is about.
    ///
    /// # Errors
    /// [`StoreError::Sealed`], [`StoreError::Unavailable`].
    pub async fn dead_body(&self, letter: &DeadLetter) -> Result<DeadBody, StoreError> {
        let _ = letter;
        Err(unbuilt())
    }
}
