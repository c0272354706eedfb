//! Dispatching: the next letters of a replay go back to where they can end, in the order of their first places. A
//! conversation's next letter waits until a worker has ended the one before it.

use super::super::{Store, StoreError};
use super::DeadLetter;
use super::history::unbuilt;
use crate::domain::{ConversationId, DeadId, ReplayId};

/// A letter that was dispatched, and what the caller has left to do for it.
#[derive(Clone, Debug)]
pub struct Dispatched {
    /// The letter.
    pub dead: DeadId,
    /// Its place in the replay.
    pub ordinal: i64,
    /// What was done.
    pub how: Dispatch,
}

/// What became of a letter at its dispatch.
#[derive(Clone, Debug)]
pub enum Dispatch {
    /// Its messages are pending again; a worker answers them.
    Pending(ConversationId),
    /// Its stored reply is queued again; a worker sends it.
    Queued(ConversationId),
    /// Hand these bytes to the queue; it resolves when intake has them. Safe to do twice.
    Publish(Vec<u8>),
    /// Read the webhook of this letter again and queue its events, then say [`resolve_unparsed`](Store::resolve_unparsed)
    /// or [`reopen_unparsed`](Store::reopen_unparsed). Safe to do twice.
    ReadAgain(Box<DeadLetter>),
    /// It is closed with the replay's note.
    Noted,
    /// Nothing was left to do; why.
    Refused(String),
}

impl Store {
    /// Dispatches the next letters, at most `room`. What was dispatched as [`Dispatch::Publish`] or
    /// [`Dispatch::ReadAgain`] and has no result is given again by [`redispatch`](Self::redispatch), for a caller who
    /// was interrupted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn replay_dispatch(&self, id: ReplayId, room: i64) -> Result<Vec<Dispatched>, StoreError> {
        let _ = (id, room);
        Err(unbuilt())
    }

    /// What an interrupted caller may not have done: letters to publish or to read again that still run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn redispatch(&self, id: ReplayId) -> Result<Vec<Dispatched>, StoreError> {
        let _ = id;
        Err(unbuilt())
    }

    /// A webhook that could not be read again: its letter is open as before, with one more failed attempt.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reopen_unparsed(&self, letter: &DeadLetter, error: &str, who: &str) -> Result<(), StoreError> {
        let _ = (letter, error, who);
        Err(unbuilt())
    }
}
