//! Holds a policy against its own fixtures, so that one which does not do what it says never judges anybody.

use std::borrow::Cow;

use lens::Views;

use super::engine::Verdict;
use super::{Guardrails, Reason, RuleResult, Talk, drafted};
use crate::policy::{Expected, Fixture, PolicyError, PolicyProblem, RuleMode, RuleStage};

/// Runs every fixture.
///
/// # Errors
/// Every one that fails, with its line and what became of it instead.
pub(super) fn hold(guardrails: &Guardrails) -> Result<(), PolicyError> {
    let policy = &guardrails.policy;
    let failed = policy.fixtures().iter().filter_map(|fixture| {
        let reason = judge(guardrails, fixture)?;
        Some(PolicyProblem { line: fixture.line, reason })
    });
    let answers = policy.faqs().all().iter().flat_map(|faq| faq.answers().iter().map(move |said| (faq, said)));
    let loose = answers.filter_map(|(faq, (locale, text))| {
        let by = ungrounded(guardrails, text)?;
        let reason = format!("the answer '{}' states in '{locale}' what is no fact, by the rule '{by}'", faq.name);
        Some(PolicyProblem { line: faq.line, reason })
    });
    let mut problems: Vec<PolicyProblem> = failed.chain(loose).collect();
    problems.sort_by_key(|problem| problem.line);
    if problems.is_empty() { Ok(()) } else { Err(PolicyError { file: policy.file().to_owned(), problems }) }
}

/// The rule by which a text of the policy's own states what no fact states.
fn ungrounded(guardrails: &Guardrails, text: &str) -> Option<String> {
    let views = Views::of(text);
    let locale = guardrails.policy.detect_in(views.plain());
    let judgement = guardrails.output.judge(&views, locale, false, &mut Talk::default());
    let loose =
        |result: &RuleResult| result.hit && result.mode == RuleMode::Enforce && result.reason == Reason::Ungrounded;
    judgement.results.into_iter().find(loose).map(|result| result.rule)
}

/// What became of a text otherwise than it must; `None` where all is well.
fn judge(guardrails: &Guardrails, fixture: &Fixture) -> Option<String> {
    let engine = match fixture.stage {
        RuleStage::Input => &guardrails.input,
        RuleStage::Output => &guardrails.output,
    };
    let mut talk = Talk::on(&fixture.channel).under(fixture.circumstances.clone());
    fixture.earlier.iter().for_each(|line| talk.said(line));
    let (text, requested) = drafted(fixture.stage, &fixture.text);
    let views = Views::of(&text);
    let locale = guardrails.policy.detect_in(views.plain());
    let judgement = engine.judge(&views, locale, requested, &mut talk);
    let (outcome, by) = match &judgement.verdict {
        Verdict::Pass | Verdict::Block { .. } if judgement.defer.is_some() => (Expected::Defer, None),
        Verdict::Pass => (Expected::Pass, None),
        Verdict::Block { rule } => (Expected::Block, Some(rule.as_str())),
        Verdict::Handoff { rule, .. } => (Expected::Handoff, Some(rule.as_str())),
    };
    let text: Cow<'_, str> = match fixture.text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &fixture.text[..end]).into(),
        None => fixture.text.as_str().into(),
    };
    if outcome != fixture.outcome {
        let wanted = word(fixture.outcome);
        return Some(format!("the fixture '{text}' must {wanted}, and {}", became(outcome, by, &judgement.results)));
    }
    let rule = fixture.rule.as_deref()?;
    let decided = match outcome {
        Expected::Pass | Expected::Defer => judgement.results.iter().any(|result| result.rule == rule && result.hit),
        Expected::Block | Expected::Handoff => by == Some(rule),
    };
    (!decided)
        .then(|| format!("the fixture '{text}' must be '{rule}'s, and {}", became(outcome, by, &judgement.results)))
}

fn became(outcome: Expected, by: Option<&str>, results: &[RuleResult]) -> String {
    let hits: Vec<&str> = results.iter().filter(|result| result.hit).map(|result| result.rule.as_str()).collect();
    match (by, hits.is_empty()) {
        (Some(by), _) => format!("'{by}' makes it {}", word(outcome)),
        (None, true) => "no rule finds anything in it".to_owned(),
        (None, false) => format!("it passes; what hits is {}", hits.join(", ")),
    }
}

const fn word(outcome: Expected) -> &'static str {
    match outcome {
        Expected::Pass => "pass",
        Expected::Block => "block",
        Expected::Handoff => "hand off",
        Expected::Defer => "be put off",
    }
}
