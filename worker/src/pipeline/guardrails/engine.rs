//! Runs the rules of one stage over one text and weighs what they found.
//!
//! A rule that panics or takes too long decides nothing by accident: its `on_error` follows, and the trace says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::domain::Priority;
use lens::{Span, Views};
use nix::time::{ClockId, clock_gettime};

use super::GuardrailError;
use super::matcher::{Matcher, Subject};
use super::result::{Found, Reason, RuleResult};
use super::talk::Talk;
use crate::policy::{Action, KindName, Policy, Rule, RuleKind, RuleMode, RuleStage};

/// What a redaction leaves in place of what it took.
const REDACTED: &str = "***";
/// The most places that a result names; the rest is counted by nobody.
const MOST_SPANS: usize = 16;
/// Rules take microseconds; one that works this long has met something that it was not made for.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long this thread has worked: a machine that lets it wait is no fault of a rule's.
pub(super) fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Whether a rule that took so long also worked so long since the text's first rule began.
fn overran(taken: Duration, since: Duration) -> bool {
    taken >= PATIENCE && worked().saturating_sub(since) >= PATIENCE
}
/// The weight of a person who was asked for.
const ASKED: u8 = 5;

#[derive(Debug)]
struct Ready {
    rule: Rule,
    matcher: Matcher,
}

impl Ready {
    fn new(rule: &Rule, policy: &Policy) -> Result<Self, GuardrailError> {
        let too_large = |_| GuardrailError::TooLarge { rule: rule.name.clone() };
        let matcher = Matcher::new(rule, policy).map_err(too_large)?;
        Ok(Self { rule: rule.clone(), matcher })
    }

    /// Whether it looks at this text at all.
    fn looks(&self, text: &str, locale: Option<&str>, channel: &str) -> bool {
        let scope = &self.rule.scope;
        let here = scope.channels.is_empty() || scope.channels.iter().any(|known| known == channel);
        let spoken = scope.locales.is_empty() || locale.is_none_or(|locale| scope.locales.iter().any(|l| l == locale));
        here && spoken && (scope.sample >= 1.0 || share(&self.rule.name, text) < scope.sample)
    }

    /// Whether it calls people who need not come for the same thing again at once.
    fn cools_down(&self) -> bool {
        self.rule.kind.name().is_trigger() && self.rule.action == Action::Handoff
    }

    /// Whether people have just given the conversation back and were called as urgently then; a more urgent call is
    /// heard, and so is one of its own failing.
    fn is_cooling(&self, found: &Found, talk: &Talk, cooldown: Duration) -> bool {
        let known = talk.circumstances();
        found.hit
            && self.cools_down()
            && !matches!(found.reason, Reason::Failed | Reason::Overran)
            && known.returned.is_some_and(|ago| ago < cooldown)
            && known.returned_from.is_none_or(|before| self.rule.priority <= before)
    }

    /// What it finds, and what follows from that.
    fn judge(&self, subject: &Subject<'_>, since: Duration) -> (Found, Action, u64) {
        let begun = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| self.matcher.judge(subject)));
        let taken = begun.elapsed();
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        match found {
            Ok(found) if !overran(taken, since) => (found, self.rule.action, micros),
            Ok(_) => (Found::at(Reason::Overran, Vec::new()), self.rule.on_error.action(), micros),
            Err(_) => (Found::at(Reason::Failed, Vec::new()), self.rule.on_error.action(), micros),
        }
    }

    fn result(&self, found: &Found, action: Action, micros: u64) -> RuleResult {
        RuleResult {
            rule: self.rule.name.clone(),
            kind: self.rule.kind.name(),
            stage: self.rule.stage,
            action,
            mode: self.rule.mode,
            hit: found.hit,
            reason: found.reason,
            spans: found.spans.iter().take(MOST_SPANS).copied().collect(),
            score: found.score,
            view: found.view,
            micros,
        }
    }

    /// What an enforced hit changes in the text that goes on.
    fn edits(&self, found: &Found, action: Action, text: &str, talk: &mut Talk) -> Vec<(Span, String)> {
        let kind = self.rule.kind.name();
        let instead = |at: usize, span: Span, talk: &mut Talk| match (action, kind) {
            (Action::Annotate, KindName::Length) => Some(String::new()),
            // What a draft knows of people that this customer did not say comes back to nobody.
            (Action::Redact, KindName::Pii) if self.rule.stage == RuleStage::Input => {
                let of = found.personal.get(at)?;
                Some(talk.vault().placeholder(*of, &text[span.start..span.end]))
            }
            (Action::Redact, _) => Some(REDACTED.to_owned()),
            (Action::Allow | Action::Annotate | Action::Defer | Action::Block | Action::Handoff, _) => None,
        };
        let each = found.spans.iter().enumerate();
        each.filter_map(|(at, span)| instead(at, *span, talk).map(|instead| (*span, instead))).collect()
    }
}

/// Its place in the order of precedence; of several calls, the more urgent one.
fn weight(action: Action, rule: &Rule, reason: Reason) -> (u8, Priority) {
    match action {
        // One that was asked for, and not one that follows from a failure.
        Action::Handoff if matches!((rule.kind.name(), reason), (KindName::Person, Reason::Asked)) => {
            (ASKED, rule.priority)
        }
        Action::Block => (4, Priority::Low),
        Action::Handoff => (3, rule.priority),
        Action::Redact => (2, Priority::Low),
        Action::Annotate => (1, Priority::Low),
        // Putting off is no verdict about a text.
        Action::Allow | Action::Defer => (0, Priority::Low),
    }
}

/// Where between 0 and 1 a text falls for a rule: always the same place, so that a replay samples alike.
fn share(rule: &str, text: &str) -> f64 {
    let bytes = rule.bytes().chain([0]).chain(text.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The last bytes have not reached the upper bits yet.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from((mixed >> 40) as u32) / f64::from(1_u32 << 24)
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
    /// For how long the turn is put off, unless it hands off.
    pub(super) defer: Option<Duration>,
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
pub(super) struct Engine {
    stage: RuleStage,
    rules: Vec<Ready>,
    cooldown: Duration,
}

impl Engine {
    pub(super) fn new(policy: &Policy, stage: RuleStage) -> Result<Self, GuardrailError> {
        let on = policy.rules().iter().filter(|rule| rule.stage == stage && rule.mode != RuleMode::Off);
        let rules = on.map(|rule| Ready::new(rule, policy)).collect::<Result<_, _>>()?;
        Ok(Self { stage, rules, cooldown: policy.floor().cooldown() })
    }

    /// Whether any of its rules compares a text with earlier ones.
    pub(super) fn looks_back(&self) -> bool {
        self.rules.iter().any(|ready| match &ready.rule.kind {
            RuleKind::Repeat(_) => true,
            RuleKind::Mention(rule) => rule.window > 0,
            RuleKind::Anger(rule) => rule.window > 0,
            RuleKind::Trouble(rule) => rule.repeats.is_some(),
            _ => false,
        })
    }

    /// Whether any of its rules asks what else is known of a turn.
    pub(super) fn looks_around(&self) -> bool {
        self.rules.iter().any(|ready| !ready.rule.kind.name().reads() || ready.cools_down())
    }

    /// Judges a text; `requested` is whether the model that drafted it asks for a person.
    pub(super) fn judge(&self, views: &Views<'_>, locale: Option<&str>, requested: bool, talk: &mut Talk) -> Judgement {
        let text = views.original();
        let mut results = Vec::with_capacity(self.rules.len());
        let mut edits: Vec<(Span, String)> = Vec::new();
        let mut decided: Option<(&Ready, Action, (u8, Priority))> = None;
        let mut defer: Option<Duration> = None;
        let since = worked();
        for ready in &self.rules {
            if !ready.looks(text, locale, talk.channel()) {
                continue;
            }
            let (mut found, action, micros) =
                ready.judge(&Subject { views, talk, stage: self.stage, requested }, since);
            if ready.is_cooling(&found, talk, self.cooldown) {
                found = Found::nothing(Reason::CoolingDown);
            }
            results.push(ready.result(&found, action, micros));
            if !found.hit || ready.rule.mode != RuleMode::Enforce {
                continue;
            }
            edits.extend(ready.edits(&found, action, text, talk));
            if action == Action::Defer {
                defer = defer.max(found.defer);
            }
            let weight = weight(action, &ready.rule, found.reason);
            if decided.is_none_or(|(_, _, strongest)| weight > strongest) {
                decided = Some((ready, action, weight));
            }
        }
        Judgement { verdict: verdict(decided), edited: apply(text, edits), results, defer }
    }
}

fn verdict(decided: Option<(&Ready, Action, (u8, Priority))>) -> Verdict {
    let Some((ready, action, (weight, _))) = decided else { return Verdict::Pass };
    let rule = ready.rule.name.clone();
    match action {
        Action::Allow | Action::Annotate | Action::Redact | Action::Defer => Verdict::Pass,
        Action::Block => Verdict::Block { rule },
        Action::Handoff => Verdict::Handoff { rule, asked: weight == ASKED },
    }
}

/// The text with every span replaced; spans that overlap are taken away together, and what the first leaves stands.
fn apply(text: &str, mut edits: Vec<(Span, String)>) -> String {
    edits.sort_by_key(|(span, _)| *span);
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for (span, instead) in edits {
        if span.start >= done {
            edited.push_str(&text[done..span.start]);
            edited.push_str(&instead);
        }
        done = done.max(span.end);
    }
    edited.push_str(&text[done..]);
    edited
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::OnError;

    #[test]
    fn overlapping_edits_take_all_they_cover_and_no_more() {
        let edit = |start, end, instead: &str| (Span { start, end }, instead.to_owned());
        let edits = vec![edit(4, 9, "***"), edit(0, 2, "***"), edit(6, 12, "***"), edit(14, 16, "")];
        assert_eq!(apply("ab, cdefghij, kl", edits), "***, ***, ");
        assert_eq!(apply("whole", Vec::new()), "whole");
    }

    fn failing(matcher: Matcher, on_error: OnError, mode: RuleMode) -> Judgement {
        let policy = Policy::starter().unwrap();
        let mut rule = policy.rules()[0].clone();
        (rule.on_error, rule.mode) = (on_error, mode);
        let rules = vec![Ready { rule, matcher }];
        let engine = Engine { stage: RuleStage::Input, rules, cooldown: Duration::ZERO };
        engine.judge(&Views::of("hello"), None, false, &mut Talk::default())
    }

    #[test]
    fn a_rule_that_panics_or_overruns_follows_its_on_error_and_says_so() {
        let makers: [(fn() -> Matcher, Reason); 2] =
            [(|| Matcher::Panics, Reason::Failed), (|| Matcher::Dawdles(PATIENCE), Reason::Overran)];
        for (make, reason) in makers {
            for (on_error, action, stops) in [
                (OnError::Allow, Action::Allow, false),
                (OnError::Block, Action::Block, true),
                (OnError::Handoff, Action::Handoff, true),
            ] {
                let judgement = failing(make(), on_error, RuleMode::Enforce);
                assert_eq!(judgement.verdict != Verdict::Pass, stops, "{on_error:?}");
                assert_eq!((judgement.results[0].reason, judgement.results[0].action), (reason, action));
                assert_eq!(failing(make(), on_error, RuleMode::Shadow).verdict, Verdict::Pass, "{on_error:?}");
            }
        }
    }

    #[test]
    fn a_sample_is_about_its_share_and_always_the_same() {
        let texts: Vec<String> = (0..2_000).map(|number| format!("text {number}")).collect();
        let sampled = |rule: &str| texts.iter().filter(|text| share(rule, text) < 0.2).cloned().collect::<Vec<_>>();
        assert!((300..500).contains(&sampled("one").len()));
        assert_eq!(sampled("one"), sampled("one"));
        assert_ne!(sampled("one"), sampled("other"));
    }
}
