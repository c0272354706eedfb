//! Searching: lists, counts and groups, quick among a million letters.

use serde::Serialize;

use super::super::{Store, StoreError};
use super::history::unbuilt;
use super::{DeadFilter, DeadLetter};
use crate::domain::Micros;

/// Letters of one cause: the same class at the same stage with the same normalised error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    /// What groups them.
    pub fingerprint: String,
    /// The class.
    pub class: String,
    /// The stage.
    pub stage: String,
    /// The normalised error.
    pub error: String,
    /// Letters.
    pub count: i64,
    /// Letters that wait for a person.
    pub open: i64,
    /// When the first died.
    pub first_at: Micros,
    /// When the last died first.
    pub last_at: Micros,
    /// The builds that gave them up.
    pub builds: Vec<String>,
    /// People affected.
    pub contacts: i64,
    /// Whether nothing like it had died before the build asked about.
    pub new: bool,
}

impl Store {
    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, StoreError> {
        filter.check()?;
        Err(unbuilt())
    }

    /// How many letters a filter means, its limit and page apart.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub async fn dead_count(&self, filter: &DeadFilter) -> Result<i64, StoreError> {
        filter.check()?;
        Err(unbuilt())
    }

    /// Letters by cause, the last to have struck first. With a build, a group is new when its first letter died no
    /// earlier than that build's first.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub async fn dead_groups(
        &self,
        filter: &DeadFilter,
        new_since_build: Option<&str>,
    ) -> Result<Vec<DeadGroup>, StoreError> {
        filter.check()?;
        let _ = new_since_build;
        Err(unbuilt())
    }
}
