//! Rules as data: what every rule has, whatever it looks for. When it runs and what follows belong here; what it looks
//! for belongs to its kind.

use std::collections::BTreeMap;

use common::domain::Priority;
use serde::{Deserialize, Serialize};

pub use super::kinds::{
    GroundingRule, InjectionRule, LanguageRule, LeakRule, LengthRule, PersonRule, PiiRule, PromiseRule, RepeatRule,
    RuleKind, SchemaFormat, SchemaRule, TopicRule, UrlRule, WordsRule,
};
pub use super::triggers::{AngerRule, HoursRule, MentionRule, RateRule, TroubleRule, ValueRule};

/// Words, phrases or texts for each locale of the policy.
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
    /// Where it runs.
    pub scope: Scope,
    /// What follows when it fails.
    pub on_error: OnError,
    /// What the customer is told when it stops their message; the policy's own text without it.
    pub reply: Option<PerLocale<String>>,
    /// What the model is told where it lets a text go on, by locale; a fixed sentence without it.
    pub note: Option<PerLocale<String>>,
    /// Whom it calls when it hands off; `None` for whoever takes calls that name no team.
    pub team: Option<String>,
    /// How soon they should answer.
    pub priority: Priority,
    /// What they are told; may hold `{rule}`, `{reason}`, `{team}` and `{priority}`.
    pub summary: Option<PerLocale<String>>,
    /// What it looks for.
    pub kind: RuleKind,
}

/// Where a rule runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// The sources, by name; all of them when empty.
    pub channels: Vec<String>,
    /// Texts in these locales, and texts that do not tell theirs; all when empty.
    pub locales: Vec<String>,
    /// The share of texts that it looks at, up to 1; which ones, their words decide.
    pub sample: f64,
}

impl Default for Scope {
    fn default() -> Self {
        Self { channels: Vec::new(), locales: Vec::new(), sample: 1.0 }
    }
}

impl Scope {
    /// Whether some text falls into both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let meet = |one: &[String], other: &[String]| {
            one.is_empty() || other.is_empty() || one.iter().any(|each| other.contains(each))
        };
        meet(&self.channels, &other.channels) && meet(&self.locales, &other.locales)
    }
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleStage {
    /// What a customer wrote.
    #[default]
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
    /// The turn is put off, unless it hands off: nothing is lost, and nothing answered out of order.
    Defer,
    /// The text stops here, and the customer is told.
    Block,
    /// A person takes over.
    Handoff,
}

/// What follows when a rule fails or takes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The text goes on as if the rule had found nothing.
    Allow,
    /// The text stops, and the customer is told.
    Block,
    /// A person takes over: what could not be judged is not answered by a machine.
    #[default]
    Handoff,
}

impl OnError {
    /// The action that it stands for.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Allow => Action::Allow,
            Self::Block => Action::Block,
            Self::Handoff => Action::Handoff,
        }
    }
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
    /// A message that is not about the business.
    Topic,
    /// A text that tries to command the assistant.
    Injection,
    /// Personal data.
    Pii,
    /// Credentials.
    Secrets,
    /// Links to elsewhere.
    Url,
    /// A language that is not served.
    Language,
    /// The same again and again.
    Repeat,
    /// A price, hour, telephone or address that is no fact.
    Grounding,
    /// The assistant's own instructions.
    Leak,
    /// A commitment that nobody may make.
    Promise,
    /// A draft of the wrong form.
    Schema,
    /// Something is spoken of.
    Mention,
    /// The customer is angry.
    Anger,
    /// Failures, or the same question again and again.
    Trouble,
    /// The business is closed.
    Hours,
    /// Much money, or a large quantity.
    Value,
    /// Too many messages in a minute.
    Rate,
    /// The model asks for a person.
    Request,
}

impl KindName {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 21] = [
        Self::Length,
        Self::Words,
        Self::Person,
        Self::Topic,
        Self::Injection,
        Self::Pii,
        Self::Secrets,
        Self::Url,
        Self::Language,
        Self::Repeat,
        Self::Grounding,
        Self::Leak,
        Self::Promise,
        Self::Schema,
        Self::Mention,
        Self::Anger,
        Self::Trouble,
        Self::Hours,
        Self::Value,
        Self::Rate,
        Self::Request,
    ];

    /// Whether it is a trigger: what happens in a conversation, and no fault of a text, so that people who have dealt
    /// with it need not be called for it again at once.
    #[must_use]
    pub const fn is_trigger(self) -> bool {
        matches!(self, Self::Mention | Self::Anger | Self::Trouble | Self::Hours | Self::Value)
    }

    /// Whether what it finds is in the text: the others find the hour, how often somebody writes, or how it went before.
    #[must_use]
    pub const fn reads(self) -> bool {
        !matches!(self, Self::Hours | Self::Rate | Self::Trouble)
    }

    /// The actions that make sense for the kind at a stage; none where the kind has no place there.
    #[must_use]
    pub const fn actions(self, stage: RuleStage) -> &'static [Action] {
        use RuleStage::{Input, Output};
        const STOP: &[Action] = &[Action::Allow, Action::Annotate, Action::Block, Action::Handoff];
        const EDIT: &[Action] = &[Action::Allow, Action::Annotate, Action::Redact, Action::Block, Action::Handoff];
        match (self, stage) {
            (Self::Words | Self::Pii | Self::Secrets | Self::Url, Input | Output) | (Self::Promise, Output) => EDIT,
            (Self::Length | Self::Language | Self::Repeat, Input | Output) => STOP,
            (Self::Topic | Self::Injection, Input) => STOP,
            (Self::Mention | Self::Anger | Self::Trouble | Self::Hours | Self::Value, Input) => STOP,
            (Self::Rate, Input) => &[Action::Allow, Action::Defer, Action::Block, Action::Handoff],
            (Self::Request, Output) => &[Action::Allow, Action::Annotate, Action::Handoff],
            (Self::Grounding | Self::Leak | Self::Schema, Output) => STOP,
            (Self::Person, Input) => &[Action::Allow, Action::Annotate, Action::Handoff],
            (Self::Person | Self::Topic | Self::Injection, Output) => &[],
            (Self::Mention | Self::Anger | Self::Trouble | Self::Hours | Self::Value | Self::Rate, Output) => &[],
            (Self::Grounding | Self::Leak | Self::Promise | Self::Schema | Self::Request, Input) => &[],
        }
    }
}
