//! Why a person is called, who of them, and how soon.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{EventId, UnknownState};

/// How soon a person should answer, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When there is time.
    Low,
    /// In turn.
    #[default]
    Medium,
    /// Before the others.
    High,
    /// At once.
    Urgent,
}

impl Priority {
    /// All of them, from least to most.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Urgent];

    /// Its word, in the policy, the store and every listing.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

impl FromStr for Priority {
    type Err = UnknownState;
    fn from_str(word: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word).ok_or_else(|| UnknownState::of(word))
    }
}

/// A person is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The rule that called, or the cause where no rule did.
    pub rule: String,
    /// Whether the customer asked for it.
    pub asked: bool,
    /// Which team; `None` for whoever takes calls that name none.
    pub team: Option<String>,
    /// How soon.
    pub priority: Priority,
    /// What to tell whoever comes, by locale; empty where the rule says nothing.
    pub summary: BTreeMap<String, String>,
    /// What speaks for it, the deciding one first.
    pub evidence: Vec<Evidence>,
}

/// What speaks for a call. Names rules and events, never text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The message, where one was the reason.
    pub event: Option<EventId>,
    /// The rule.
    pub rule: String,
    /// Why it hit, in the rules' own words.
    pub reason: String,
}

impl Call {
    /// A call that the customer did not ask for, to nobody in particular.
    #[must_use]
    pub fn because(cause: &str) -> Self {
        Self {
            rule: cause.to_owned(),
            asked: false,
            team: None,
            priority: Priority::default(),
            summary: BTreeMap::new(),
            evidence: Vec::new(),
        }
    }
}
