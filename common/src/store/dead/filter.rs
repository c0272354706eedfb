//! Which dead letters are meant: what an operator may ask for, and why some questions have no answer.

use serde::{Deserialize, Serialize};

use crate::domain::{ContactId, ConversationId, DeadId, DeadState, Micros, SourceName};
use crate::store::StoreError;

/// How many letters a list holds when nobody says.
const DEFAULT_LIMIT: i64 = 1_000;
/// Letters that can be named one by one.
const MOST_IDS: usize = 10_000;
/// Characters of a text to look for.
const TEXT: std::ops::RangeInclusive<usize> = 2..=200;

/// Which dead letters are meant. Every part that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadFilter {
    /// Only these; one that does not exist is an error.
    pub ids: Vec<DeadId>,
    /// Only of this state.
    pub state: Option<DeadState>,
    /// Only of this group: its fingerprint, or the beginning of it if it means one group.
    pub group: Option<String>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only of this stage.
    pub stage: Option<String>,
    /// Only of this source.
    pub source: Option<SourceName>,
    /// Only of this person.
    pub contact: Option<ContactId>,
    /// Only of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only what died first at this moment or later.
    pub since: Option<Micros>,
    /// Only what died first before this moment.
    pub until: Option<Micros>,
    /// Only where error, class or tags hold this text.
    pub text: Option<String>,
    /// At most so many, newest first; 0 for 1,000. Lists only: counts, groups and replays mean all.
    pub limit: i64,
    /// Only what stands after this letter in the list: the next page.
    pub after: Option<(Micros, DeadId)>,
}

impl DeadFilter {
    /// Only these letters.
    #[must_use]
    pub fn of(ids: impl IntoIterator<Item = DeadId>) -> Self {
        Self { ids: ids.into_iter().collect(), ..Self::default() }
    }

    /// Whether this can match anything at all; asked by everything that takes a filter.
    ///
    /// # Errors
    /// [`StoreError::Refused`] says which part cannot be.
    pub fn check(&self) -> Result<(), StoreError> {
        let refused = |text: String| Err(StoreError::Refused(text));
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return refused(format!("no letter can match: it would have died since {since} and before {until}"));
        }
        if self.limit < 0 {
            return refused(format!("a list of {} letters cannot be: the limit is 1 or more", self.limit));
        }
        if self.ids.len() > MOST_IDS {
            return refused(format!("{} letters are named: name at most {MOST_IDS}, or filter", self.ids.len()));
        }
        if let Some(group) = &self.group
            && (group.is_empty() || !group.chars().all(|c| c.is_ascii_hexdigit()))
        {
            return refused(format!("'{group}' is no group: a fingerprint is 16 hexadecimal digits, or its beginning"));
        }
        if let Some(text) = &self.text
            && !TEXT.contains(&text.trim().chars().count())
        {
            return refused(format!("a text to look for has {} to {} characters", TEXT.start(), TEXT.end()));
        }
        Ok(())
    }

    /// How many letters a list holds.
    pub(super) const fn page(&self) -> i64 {
        if self.limit > 0 { self.limit } else { DEFAULT_LIMIT }
    }

    /// Whether it asks for something that a letter's cause says.
    pub(super) const fn names_causes(&self) -> bool {
        self.group.is_some()
            || self.class.is_some()
            || self.stage.is_some()
            || self.source.is_some()
            || self.text.is_some()
    }
}
