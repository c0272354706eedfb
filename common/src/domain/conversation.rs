//! Conversations: who holds the floor, and what was said in turn order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Micros, UnknownState};

/// Who may answer the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// The assistant.
    Assistant,
    /// A person was asked for and has not come yet; the assistant keeps quiet.
    Queued,
    /// A person.
    Human,
}

impl Floor {
    /// Its word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Queued => "queued",
            Self::Human => "human",
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Floor {
    type Err = UnknownState;
    fn from_str(word: &str) -> Result<Self, UnknownState> {
        [Self::Assistant, Self::Queued, Self::Human]
            .into_iter()
            .find(|floor| floor.as_str() == word)
            .ok_or_else(|| UnknownState::of(word))
    }
}

/// Who wrote a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The assistant: a model's draft, approved.
    Assistant,
    /// The policy: a fixed text for a block, a failure, an outage or a handoff.
    Policy,
    /// A person of the business.
    Person,
}

impl Author {
    /// Its word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Policy => "policy",
            Self::Person => "person",
        }
    }
}

impl FromStr for Author {
    type Err = UnknownState;
    fn from_str(word: &str) -> Result<Self, UnknownState> {
        [Self::Assistant, Self::Policy, Self::Person]
            .into_iter()
            .find(|author| author.as_str() == word)
            .ok_or_else(|| UnknownState::of(word))
    }
}

/// Who said a line of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The customer.
    Customer,
    /// The business, by this author.
    Business(Author),
    /// Nobody: a record of what happened, in our own words.
    Record,
}

/// One line of a conversation, opened for a turn or for a person. Holds personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Who said it.
    pub speaker: Speaker,
    /// When we took it in or committed it, by the store's clock.
    pub at: Micros,
    /// What was said.
    pub text: String,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?} {})", self.speaker, self.at)
    }
}
