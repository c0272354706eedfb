//! History: every failed attempt, written when it happens and in the commit that hands its work back. What holds for
//! hours is one line that counts; what ended well is forgotten after a week.

use serde::{Deserialize, Serialize};

use super::super::{Store, StoreError};
use super::DeadLetter;
use crate::domain::{Micros, WorkerId};

/// One failed attempt, or a run of equal ones while something was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadAttempt {
    /// When it failed (first).
    pub at: Micros,
    /// When it failed last; the same moment unless it was held.
    pub last_at: Micros,
    /// How often in a row.
    pub times: i64,
    /// The worker that failed at it; `None` where nobody lived to say.
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

impl Store {
    /// Every failed attempt behind a letter, oldest first, those before its replays included.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn dead_attempts(&self, letter: &DeadLetter) -> Result<Vec<DeadAttempt>, StoreError> {
        let _ = letter;
        Err(unbuilt())
    }
}

pub(super) fn unbuilt() -> StoreError {
    StoreError::Broken("this is not built yet".to_owned())
}
