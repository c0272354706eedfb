//! What each kind of rule looks for, as it is written in the policy.

use std::collections::BTreeMap;

use lens::pii::PiiKind;
use serde::{Deserialize, Serialize};

use super::rule::{KindName, PerLocale};
use super::triggers::{AngerRule, HoursRule, MentionRule, RateRule, TroubleRule, ValueRule};

/// What a rule looks for.
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// See [`KindName::Length`].
    Length(LengthRule),
    /// See [`KindName::Words`].
    Words(WordsRule),
    /// See [`KindName::Person`].
    Person(Box<PersonRule>),
    /// See [`KindName::Topic`].
    Topic(Box<TopicRule>),
    /// See [`KindName::Injection`].
    Injection(InjectionRule),
    /// See [`KindName::Pii`].
    Pii(PiiRule),
    /// See [`KindName::Secrets`].
    Secrets,
    /// See [`KindName::Url`].
    Url(UrlRule),
    /// See [`KindName::Language`].
    Language(LanguageRule),
    /// See [`KindName::Repeat`].
    Repeat(RepeatRule),
    /// See [`KindName::Grounding`].
    Grounding(GroundingRule),
    /// See [`KindName::Leak`].
    Leak(LeakRule),
    /// See [`KindName::Promise`].
    Promise(PromiseRule),
    /// See [`KindName::Schema`].
    Schema(SchemaRule),
    /// See [`KindName::Mention`].
    Mention(Box<MentionRule>),
    /// See [`KindName::Anger`].
    Anger(Box<AngerRule>),
    /// See [`KindName::Trouble`].
    Trouble(TroubleRule),
    /// See [`KindName::Hours`].
    Hours(HoursRule),
    /// See [`KindName::Value`].
    Value(ValueRule),
    /// See [`KindName::Rate`].
    Rate(RateRule),
    /// See [`KindName::Request`].
    Request,
}

impl RuleKind {
    /// Which kind it is.
    #[must_use]
    pub const fn name(&self) -> KindName {
        match self {
            Self::Length(_) => KindName::Length,
            Self::Words(_) => KindName::Words,
            Self::Person(_) => KindName::Person,
            Self::Topic(_) => KindName::Topic,
            Self::Injection(_) => KindName::Injection,
            Self::Pii(_) => KindName::Pii,
            Self::Secrets => KindName::Secrets,
            Self::Url(_) => KindName::Url,
            Self::Language(_) => KindName::Language,
            Self::Repeat(_) => KindName::Repeat,
            Self::Grounding(_) => KindName::Grounding,
            Self::Leak(_) => KindName::Leak,
            Self::Promise(_) => KindName::Promise,
            Self::Schema(_) => KindName::Schema,
            Self::Mention(_) => KindName::Mention,
            Self::Anger(_) => KindName::Anger,
            Self::Trouble(_) => KindName::Trouble,
            Self::Hours(_) => KindName::Hours,
            Self::Value(_) => KindName::Value,
            Self::Rate(_) => KindName::Rate,
            Self::Request => KindName::Request,
        }
    }
}

/// The longest text that goes on whole. At least one limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthRule {
    /// In characters (Unicode scalar values).
    #[serde(default)]
    pub max_characters: Option<u32>,
    /// In bytes of UTF-8.
    #[serde(default)]
    pub max_bytes: Option<u32>,
    /// In tokens, estimated as for prompts.
    #[serde(default)]
    pub max_tokens: Option<u32>,
}

/// Words and phrases that must not be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordsRule {
    /// Matched whole, without regard to case, accents and punctuation; one that ends in `*` is a stem.
    #[serde(default)]
    pub words: PerLocale<Vec<String>>,
    /// Regular expressions, for what is no word. They run in linear time.
    #[serde(default)]
    pub patterns: Vec<String>,
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

/// What the business is about, taught by examples. What is neither near nor far is left to the model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicRule {
    /// From this distance on a message is about something else.
    #[serde(default = "TopicRule::off_at")]
    pub off_at: f64,
    /// From this distance on it is noted as unsure.
    #[serde(default = "TopicRule::unsure_at")]
    pub unsure_at: f64,
    /// Words and stems that speak for the business.
    pub about: PerLocale<Vec<String>>,
    /// Words and stems that speak against it.
    pub besides: PerLocale<Vec<String>>,
    /// Messages about the business.
    pub on: PerLocale<Vec<String>>,
    /// Messages about something else.
    pub off: PerLocale<Vec<String>>,
}

impl TopicRule {
    const fn off_at() -> f64 {
        0.6
    }

    const fn unsure_at() -> f64 {
        0.4
    }
}

/// From which score on a text is taken for a command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectionRule {
    /// 0.5 is the threshold that the shipped weights were chosen for.
    #[serde(default = "InjectionRule::threshold")]
    pub threshold: f64,
}

impl InjectionRule {
    const fn threshold() -> f64 {
        0.5
    }
}

/// Which personal data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiiRule {
    /// All kinds without it.
    #[serde(default = "PiiRule::kinds")]
    pub kinds: Vec<PiiKind>,
}

impl PiiRule {
    fn kinds() -> Vec<PiiKind> {
        PiiKind::ALL.to_vec()
    }
}

/// Where links may lead.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlRule {
    /// Hosts; what lies below one is allowed with it.
    pub allow: Vec<String>,
}

/// Which languages are served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageRule {
    /// Two-letter codes. A text that does not tell its language is let pass.
    pub allow: Vec<String>,
}

/// How often the same may be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatRule {
    /// From this time on it hits, counted over the conversation's recent lines.
    pub times: u32,
}

/// What a draft may state only as the facts do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroundingRule {
    /// What the customer has written in this conversation may be said back to them.
    #[serde(default = "GroundingRule::customer_may")]
    pub customer_may: bool,
}

impl GroundingRule {
    const fn customer_may() -> bool {
        true
    }
}

/// How much of the instructions may be repeated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakRule {
    /// So many words in a row are too many.
    #[serde(default = "LeakRule::words")]
    pub words: u32,
    /// A mark that stands in the instructions and must never be seen outside.
    #[serde(default)]
    pub canary: Option<String>,
}

impl LeakRule {
    const fn words() -> u32 {
        8
    }
}

/// What must not be promised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromiseRule {
    /// Words, phrases and stems.
    pub phrases: PerLocale<Vec<String>>,
    /// One of these shortly before, in the same clause, turns it around.
    pub negation: PerLocale<Vec<String>>,
}

/// The form that a draft must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaFormat {
    /// Text as people write it: no JSON, no markup, no code.
    Plain,
    /// One JSON object with the keys that are named.
    Json,
}

/// The form that a draft must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaRule {
    /// Which.
    pub format: SchemaFormat,
    /// For JSON: every key and the type of its value (string, number, boolean, array, object).
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
}
