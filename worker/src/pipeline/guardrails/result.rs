//! What a rule found: for the trace it holds places, never text.

use std::time::Duration;

use lens::pii::PiiKind;
use lens::{Span, ViewKind};
use serde::{Deserialize, Serialize};

use crate::policy::{Action, KindName, RuleMode, RuleStage};

/// Why a rule found what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing of its kind is there.
    Clean,
    /// The text is longer than it may be.
    TooLong,
    /// A listed word is there.
    Word,
    /// The customer asks for a person.
    Asked,
    /// A person is spoken of, and not wanted; or a commitment, and not made.
    Negated,
    /// It is about something else than the business.
    OffTopic,
    /// It may be about something else; the model is left to see.
    Unsure,
    /// It tries to command the assistant.
    Injection,
    /// It holds personal data.
    Personal,
    /// It holds a credential.
    Secret,
    /// It holds a link that leads elsewhere.
    Link,
    /// It is in a language that is not served.
    Language,
    /// The same was said before, too often.
    Repeated,
    /// It states what no fact states.
    Ungrounded,
    /// It repeats the instructions.
    Leaked,
    /// It commits the business.
    Promised,
    /// It does not have its form.
    Malformed,
    /// It speaks of what the rule looks for.
    Mentioned,
    /// The customer is angry.
    Angry,
    /// Messages were left without an answer, too often.
    Failures,
    /// The same was asked before, too often, in whatever words.
    AskedAgain,
    /// The business is closed.
    Closed,
    /// The business is open, but not for conversations that begin so late.
    AfterCutoff,
    /// It speaks of much money or of a large quantity.
    Valuable,
    /// Its contact writes faster than anybody can be answered.
    TooFast,
    /// The model asks for a person.
    Requested,
    /// It would hit, but people have just given the conversation back.
    CoolingDown,
    /// The rule itself failed.
    Failed,
    /// The rule took too long.
    Overran,
}

impl Reason {
    /// Its word, as traces have it.
    #[must_use]
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A score from 0 to 1, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Score(u16);

impl From<f64> for Score {
    fn from(score: f64) -> Self {
        // Clamped first, so that nothing is cut off.
        Self((score.clamp(0.0, 1.0) * 1000.0).round() as u16)
    }
}

impl From<Score> for f64 {
    fn from(score: Score) -> Self {
        Self::from(score.0) / 1000.0
    }
}

/// What one rule found in one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleResult {
    /// The rule's name.
    pub rule: String,
    /// Its kind.
    pub kind: KindName,
    /// What it looked at.
    pub stage: RuleStage,
    /// What follows if it is enforced.
    pub action: Action,
    /// Whether it was.
    pub mode: RuleMode,
    /// Whether it hit.
    pub hit: bool,
    /// Why.
    pub reason: Reason,
    /// Where, in bytes of the original; the first few.
    pub spans: Vec<Span>,
    /// How sure it is, where its kind can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// The view of the text that it was found in, where that is not the text as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewKind>,
    /// How long it took.
    pub micros: u64,
}

/// What a matcher found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) hit: bool,
    pub(super) reason: Reason,
    pub(super) spans: Vec<Span>,
    pub(super) score: Option<Score>,
    pub(super) view: Option<ViewKind>,
    /// What each span is, where it is personal data.
    pub(super) personal: Vec<PiiKind>,
    /// For how long the turn is better put off.
    pub(super) defer: Option<Duration>,
}

impl Found {
    pub(super) const fn nothing(reason: Reason) -> Self {
        Self { hit: false, reason, spans: Vec::new(), score: None, view: None, personal: Vec::new(), defer: None }
    }

    pub(super) const fn at(reason: Reason, spans: Vec<Span>) -> Self {
        Self { hit: true, reason, spans, score: None, view: None, personal: Vec::new(), defer: None }
    }

    /// A hit at these places, if there are any.
    pub(super) fn any(reason: Reason, spans: Vec<Span>) -> Self {
        if spans.is_empty() { Self::nothing(Reason::Clean) } else { Self::at(reason, spans) }
    }

    pub(super) fn scored(mut self, score: f64) -> Self {
        self.score = Some(Score::from(score));
        self
    }

    pub(super) fn seen_in(mut self, view: ViewKind) -> Self {
        self.view = (view != ViewKind::Plain).then_some(view);
        self
    }
}
