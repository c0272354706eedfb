//! Rules as data. What a rule looks for belongs to its kind; when it runs and what follows belongs to every rule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Words or phrases for each locale of the policy.
pub type PerLocale<T> = BTreeMap<String, T>;

/// One rule of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// What it looks at.
    pub stage: RuleStage,
    /// What follows when it hits.
    pub action: Action,
    /// Whether it counts.
    pub mode: RuleMode,
    /// What it looks for.
    pub kind: RuleKind,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleStage {
    /// What a customer wrote.
    Input,
    /// What a model drafted.
    Output,
}

/// What follows when a rule hits, from weakest to strongest but for one thing: a block outranks a handoff, unless
/// the handoff is one the customer asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: the hit is in the trace.
    Allow,
    /// The text goes on, noted; of a text too long, what fits.
    Annotate,
    /// The text goes on without what was found.
    Redact,
    /// The text stops here, and the customer is told.
    Block,
    /// A person takes over.
    Handoff,
}

/// Whether a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleMode {
    /// It does not run.
    Off,
    /// It runs and is traced; nothing follows.
    Shadow,
    /// It runs and its action follows.
    Enforce,
}

/// The kinds of rules, without what each looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    /// A text too long.
    Length,
    /// Forbidden words.
    Words,
    /// The customer asks for a person.
    Person,
}

/// What a rule looks for.
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// See [`KindName::Length`].
    Length(LengthRule),
    /// See [`KindName::Words`].
    Words(WordsRule),
    /// See [`KindName::Person`].
    Person(Box<PersonRule>),
}

/// The longest text that goes on whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthRule {
    /// In characters (Unicode scalar values).
    pub max_characters: u32,
}

/// Words and phrases that must not be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordsRule {
    /// Matched whole, without regard to case, accents and punctuation.
    pub words: PerLocale<Vec<String>>,
}

/// How a customer asks for a person, and how it sounds when they do not.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonRule {
    /// A message that says only this asks.
    pub alone: PerLocale<Vec<String>>,
    /// A message that holds this asks.
    pub phrases: PerLocale<Vec<String>>,
    /// So does one that holds this, followed soon …
    pub ask: PerLocale<Vec<String>>,
    /// … by this.
    pub who: PerLocale<Vec<String>>,
    /// Unless this stands shortly before.
    pub negation: PerLocale<Vec<String>>,
    /// And is not part of this.
    pub rhetorical: PerLocale<Vec<String>>,
}

impl RuleKind {
    /// Which kind it is.
    #[must_use]
    pub const fn name(&self) -> KindName {
        match self {
            Self::Length(_) => KindName::Length,
            Self::Words(_) => KindName::Words,
            Self::Person(_) => KindName::Person,
        }
    }
}

impl KindName {
    /// The actions that make sense for the kind at a stage; none where the kind has no place there.
    #[must_use]
    pub const fn actions(self, stage: RuleStage) -> &'static [Action] {
        match (self, stage) {
            (Self::Length, RuleStage::Input | RuleStage::Output) => {
                &[Action::Allow, Action::Annotate, Action::Block, Action::Handoff]
            }
            (Self::Words, RuleStage::Input | RuleStage::Output) => {
                &[Action::Allow, Action::Annotate, Action::Redact, Action::Block, Action::Handoff]
            }
            (Self::Person, RuleStage::Input) => &[Action::Allow, Action::Annotate, Action::Handoff],
            (Self::Person, RuleStage::Output) => &[],
        }
    }
}
