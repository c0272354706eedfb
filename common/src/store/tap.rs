//! A tap on the store's door: where the model test of the protocol sees, delays and spoils what passes.
//!
//! Every statement and transaction goes through `sql.rs`, and there asks its tap, if it has one: before it begins, for
//! the text to run, and when it is over. A store has one only if it was opened by
//! [`Store::in_memory`](super::Store::in_memory), which tests alone do; to every other store this is one `None`.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;

/// What is about to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// A statement that reads, outside any transaction.
    Read(&'static str),
    /// A statement that writes, a transaction of its own.
    Write(&'static str),
    /// A transaction begins; nothing is asked again until it is over.
    Transaction,
}

/// What a test may do with everything that passes the store's door.
#[async_trait]
pub trait Tap: Send + Sync + std::fmt::Debug {
    /// Before it begins. May take as long as it likes, or for ever: then nothing happened.
    ///
    /// # Errors
    /// Whatever the caller is to be told instead; nothing happened.
    async fn before(&self, passing: Passing) -> Result<(), StoreError>;

    /// The text that runs in place of `sql`: a protocol broken on purpose is made so. Placeholders must stay as many.
    fn instead(&self, sql: &'static str) -> &'static str {
        sql
    }

    /// When it is over; `done` unless it failed or was rolled back.
    ///
    /// # Errors
    /// What the caller is told instead of success: it happened, and the caller cannot know.
    fn after(&self, done: bool) -> Result<(), StoreError>;
}

/// A passage through a tap, from before to after. Dropped without a word, it was not done.
pub(super) struct Passage(Option<Arc<dyn Tap>>);

impl Passage {
    /// Asks the tap, if there is one, and waits for its leave.
    pub(super) async fn begin(tap: Option<&Arc<dyn Tap>>, passing: Passing) -> Result<Self, StoreError> {
        let Some(tap) = tap else { return Ok(Self(None)) };
        tap.before(passing).await?;
        Ok(Self(Some(tap.clone())))
    }

    /// The text to run for `sql`.
    pub(super) fn instead(&self, sql: &'static str) -> &'static str {
        self.0.as_ref().map_or(sql, |tap| tap.instead(sql))
    }

    /// Ends the passage with what came of it, as the tap lets the caller know.
    pub(super) fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match self.0.take() {
            None => result,
            Some(tap) => {
                let told = tap.after(result.is_ok());
                result.and_then(|value| told.map(|()| value))
            }
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some(tap) = self.0.take() {
            // Nobody is there to be told.
            let _untold = tap.after(false);
        }
    }
}
