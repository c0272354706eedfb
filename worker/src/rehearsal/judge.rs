//! How stored messages are judged: as a turn over them would judge them, under any policy, and without doing anything.
//! The one way for a dead letter's rehearsal and for the comparison of two policies.

use common::domain::{Circumstances, Content, EventId, Floor, Line, Speaker};

use crate::pipeline::guardrails::{Approved, Decision, Guardrails, Talk};
use crate::pipeline::handoff::{self, Pending, Plan};
use crate::pipeline::llm::Draft;
use crate::pipeline::prompt::PastLine;

/// What becomes of a plan and its draft.
pub(super) struct Drafted {
    /// The plan, as the draft's judgement leaves it.
    pub(super) plan: Plan,
    /// The draft, if it may be sent.
    pub(super) answer: Option<Approved>,
    /// The rule that stopped it, if one did.
    pub(super) rule: Option<String>,
}

/// A conversation on a source as its rules hear it: with what was known of it, and its earlier lines, if a rule compares
/// with them.
pub(super) fn talk(guardrails: &Guardrails, source: &str, known: Circumstances, earlier: &[Line]) -> Talk {
    let mut talk = Talk::on(source).under(known);
    if guardrails.looks_back() {
        earlier.iter().for_each(|line| talk.hear(line));
    }
    talk
}

/// Reads every message and decides who answers; `None` when one of them does not open. `locale` is for when none of them
/// tells its own.
pub(super) fn plan<'a>(
    guardrails: &Guardrails,
    messages: impl Iterator<Item = (EventId, Option<&'a Content>)>,
    (floor, locale): (Floor, Option<&str>),
    talk: &mut Talk,
) -> Option<(Vec<Pending>, Plan)> {
    let read = |(event_id, content): (EventId, Option<&Content>)| {
        Some(Pending { event_id, reading: guardrails.read(content?, talk) })
    };
    let pending: Vec<Pending> = messages.map(read).collect::<Option<_>>()?;
    let locale = locale.unwrap_or_else(|| guardrails.policy().default_locale());
    let plan = handoff::route(floor, &pending, locale);
    Some((pending, plan))
}

/// History as the model would see it.
pub(super) fn recall(guardrails: &Guardrails, lines: &[Line], talk: &mut Talk) -> Vec<PastLine> {
    let past = lines.iter().filter_map(|line| match line.speaker {
        Speaker::Customer => guardrails.recall(&line.text, talk).map(PastLine::Customer),
        Speaker::Business(_) => Some(PastLine::Business(talk.mask(&line.text))),
        Speaker::Record => Some(PastLine::Record(line.text.clone())),
    });
    past.collect()
}

/// Judges a draft, and turns the plan as its judgement wants it.
pub(super) fn draft(guardrails: &Guardrails, plan: Plan, draft: &Draft, talk: &mut Talk) -> Drafted {
    let approval = guardrails.approve(draft, plan.locale(), talk);
    match approval.decision {
        Decision::Approved(answer) => Drafted { plan, answer: Some(answer), rule: None },
        Decision::Refused { rule } => Drafted { plan: plan.refused(approval.notice), answer: None, rule: Some(rule) },
        Decision::Handoff(call) => {
            let rule = Some(call.rule.clone());
            Drafted { plan: plan.handed_over(call), answer: None, rule }
        }
    }
}
