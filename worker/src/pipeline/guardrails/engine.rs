//! Runs the rules of one stage over one text and weighs what they found.

use std::time::Instant;

use aho_corasick::BuildError;
use serde::{Deserialize, Serialize};

use super::GuardrailError;
use super::length::Length;
use super::normalise::{Span, View};
use super::person::Person;
use super::words::Words;
use crate::policy::{Action, KindName, Rule, RuleKind, RuleMode, RuleStage};

/// What a redaction leaves in place of what it took.
const REDACTED: &str = "***";
/// The most places that a result names; the rest is counted by nobody.
const MOST_SPANS: usize = 16;

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
    /// A person is spoken of, and not wanted.
    Negated,
}

/// What one rule found in one text, for the trace. Holds places, never text.
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
    /// How long it took.
    pub micros: u64,
}

/// What a matcher found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) hit: bool,
    pub(super) reason: Reason,
    pub(super) spans: Vec<Span>,
}

impl Found {
    pub(super) const fn nothing(reason: Reason) -> Self {
        Self { hit: false, reason, spans: Vec::new() }
    }
}

#[derive(Debug)]
enum Matcher {
    Length(Length),
    Words(Words),
    Person(Person),
}

impl Matcher {
    fn new(rule: &Rule) -> Result<Self, BuildError> {
        Ok(match &rule.kind {
            RuleKind::Length(length) => Self::Length(Length {
                most: usize::try_from(length.max_characters).unwrap_or(usize::MAX),
                stage: rule.stage,
            }),
            RuleKind::Words(words) => Self::Words(Words::new(words)?),
            RuleKind::Person(person) => Self::Person(Person::new(person)?),
        })
    }

    fn judge(&self, view: &View<'_>) -> Found {
        match self {
            Self::Length(length) => length.judge(view),
            Self::Words(words) => words.judge(view),
            Self::Person(person) => person.judge(view),
        }
    }
}

#[derive(Debug)]
struct Ready {
    name: String,
    kind: KindName,
    stage: RuleStage,
    action: Action,
    mode: RuleMode,
    matcher: Matcher,
}

impl Ready {
    fn new(rule: &Rule) -> Result<Self, GuardrailError> {
        let matcher = Matcher::new(rule).map_err(|_| GuardrailError { rule: rule.name.clone() })?;
        let (stage, action, mode) = (rule.stage, rule.action, rule.mode);
        Ok(Self { name: rule.name.clone(), kind: rule.kind.name(), stage, action, mode, matcher })
    }

    fn result(&self, found: &Found, micros: u64) -> RuleResult {
        RuleResult {
            rule: self.name.clone(),
            kind: self.kind,
            stage: self.stage,
            action: self.action,
            mode: self.mode,
            hit: found.hit,
            reason: found.reason,
            spans: found.spans.iter().take(MOST_SPANS).copied().collect(),
            micros,
        }
    }

    /// Its place in the order of precedence.
    const fn weight(&self) -> u8 {
        match (self.action, self.kind) {
            (Action::Handoff, KindName::Person) => 5,
            (Action::Block, _) => 4,
            (Action::Handoff, KindName::Length | KindName::Words) => 3,
            (Action::Redact, _) => 2,
            (Action::Annotate, _) => 1,
            (Action::Allow, _) => 0,
        }
    }
}

/// What the rules together say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Block { rule: String },
    Handoff { rule: String, asked: bool },
}

/// The verdict, the text as far as it may go on, and what every rule found.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) edited: String,
    pub(super) results: Vec<RuleResult>,
}

impl Judgement {
    /// Whether any enforced rule blocks, even where a handoff outranked it.
    pub(super) fn blocked(&self) -> bool {
        let enforced = |r: &&RuleResult| r.hit && r.mode == RuleMode::Enforce;
        self.results.iter().filter(enforced).any(|r| r.action == Action::Block)
    }
}

/// The rules of one stage.
#[derive(Debug)]
pub(super) struct Engine(Vec<Ready>);

impl Engine {
    pub(super) fn new(rules: &[Rule], stage: RuleStage) -> Result<Self, GuardrailError> {
        let on = rules.iter().filter(|rule| rule.stage == stage && rule.mode != RuleMode::Off);
        on.map(Ready::new).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn judge(&self, text: &str) -> Judgement {
        let view = View::of(text);
        let mut results = Vec::with_capacity(self.0.len());
        let mut edits: Vec<(Span, &str)> = Vec::new();
        let mut decided: Option<&Ready> = None;
        for rule in &self.0 {
            let begun = Instant::now();
            let found = rule.matcher.judge(&view);
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            results.push(rule.result(&found, micros));
            if !found.hit || rule.mode != RuleMode::Enforce {
                continue;
            }
            edits.extend(found.spans.iter().filter_map(|span| edit(rule, *span)));
            if decided.is_none_or(|strongest| rule.weight() > strongest.weight()) {
                decided = Some(rule);
            }
        }
        Judgement { verdict: verdict(decided), edited: apply(text, edits), results }
    }
}

/// What an enforced hit changes in the text that goes on.
fn edit(rule: &Ready, span: Span) -> Option<(Span, &'static str)> {
    match (rule.action, rule.kind) {
        (Action::Annotate, KindName::Length) => Some((span, "")),
        (Action::Redact, _) => Some((span, REDACTED)),
        (Action::Annotate, KindName::Words | KindName::Person) => None,
        (Action::Allow | Action::Block | Action::Handoff, _) => None,
    }
}

fn verdict(decided: Option<&Ready>) -> Verdict {
    let Some(rule) = decided else { return Verdict::Pass };
    match rule.action {
        Action::Allow | Action::Annotate | Action::Redact => Verdict::Pass,
        Action::Block => Verdict::Block { rule: rule.name.clone() },
        Action::Handoff => Verdict::Handoff { rule: rule.name.clone(), asked: rule.kind == KindName::Person },
    }
}

/// The text with every span replaced; spans that overlap are taken away together, and what the first leaves stands.
fn apply(text: &str, mut edits: Vec<(Span, &str)>) -> String {
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for (span, instead) in edits {
        if span.start >= done {
            edited.push_str(&text[done..span.start]);
            edited.push_str(instead);
        }
        done = done.max(span.end);
    }
    edited.push_str(&text[done..]);
    edited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_edits_take_all_they_cover_and_no_more() {
        let span = |start, end| Span { start, end };
        let edits = vec![(span(4, 9), "***"), (span(0, 2), "***"), (span(6, 12), "***"), (span(14, 16), "")];
        assert_eq!(apply("ab, cdefghij, kl", edits), "***, ***, ");
        assert_eq!(apply("whole", Vec::new()), "whole");
    }
}
