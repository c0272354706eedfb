//! The decision path: what a turn decided, step by step, in stable words, and how a claim ended that committed nothing.
//!
//! A committed turn's path is sealed beside it. An end without a commit is a note in the store: what it gathered is
//! discarded with it, but that it was, how often, and why is not. Neither holds text (P7): rules leave places, models
//! leave hashes, failures leave classes.

use common::domain::{AttemptId, Call, Circumstances, End, EventId, Floor, Micros, Priority};
use common::store::{NewHit, NewNote};
use serde::Serialize;
use serde_json::Value;

use crate::pipeline::guardrails::{Outcome, Reading, RuleResult};
use crate::pipeline::handoff::{Pending, Route};
use crate::recovery::Class;

/// Steps kept of one turn: a burst of a hundred messages has as many screens, and after them little that is new.
const MOST_STEPS: usize = 256;
/// Hits counted of one turn.
const MOST_HITS: usize = 256;

/// A turn's steps so far.
#[derive(Debug, Default)]
pub(super) struct Path {
    steps: Vec<PathStep>,
    left_out: usize,
}

/// One step. Readers know it by the word `step`; a word that is no variant here comes from the part that says it.
#[derive(Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum PathStep {
    /// A message was read.
    Screen {
        event: EventId,
        #[serde(skip_serializing_if = "Option::is_none")]
        locale: Option<String>,
        policy: String,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unreadable: Option<String>,
        rules: Vec<RuleResult>,
    },
    /// What rules asked about besides the texts.
    Circumstances { known: Circumstances },
    /// It was decided who answers.
    Route { route: &'static str, locale: String, floor: Floor },
    /// A person is called.
    Handoff {
        rule: String,
        asked: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        priority: Priority,
    },
    /// A model was asked, or passed over, or its answer was there already.
    Model {
        model: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<AttemptId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
    },
    /// A draft was judged.
    Approve {
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        policy: String,
        rules: Vec<RuleResult>,
    },
    /// A culprit was taken out.
    Park { class: &'static str, error: String },
    /// Everything was committed.
    Commit { outcome: &'static str, ends: Vec<Ended>, parts: usize },
    /// Steps that were too many to keep.
    LeftOut { count: usize },
    /// A step that another part words itself: an object with its `step`.
    #[serde(untagged)]
    Other(Value),
}

/// How a message ended.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    event: EventId,
    end: &'static str,
}

impl From<Value> for PathStep {
    fn from(step: Value) -> Self {
        Self::Other(step)
    }
}

impl PathStep {
    pub(super) fn screen(message: &Pending, policy: &str) -> Self {
        let (event, policy) = (message.event_id, policy.to_owned());
        let screening = match &message.reading {
            Reading::Text(screening) => screening,
            Reading::Unreadable(what) => {
                let (outcome, unreadable) = ("unreadable", Some(what.clone()));
                return Self::Screen {
                    event,
                    locale: None,
                    policy,
                    outcome,
                    rule: None,
                    unreadable,
                    rules: Vec::new(),
                };
            }
        };
        let (outcome, rule) = match &screening.outcome {
            Outcome::Pass(_) => ("pass", None),
            Outcome::Block { rule } => ("block", Some(rule.clone())),
            Outcome::Handoff(call) => ("handoff", Some(call.rule.clone())),
        };
        let (locale, rules) = (screening.locale.clone(), screening.results.clone());
        Self::Screen { event, locale, policy, outcome, rule, unreadable: None, rules }
    }

    pub(super) fn handoff(call: &Call) -> Self {
        let (rule, team) = (call.rule.clone(), call.team.clone());
        Self::Handoff { rule, asked: call.asked, team, priority: call.priority }
    }

    pub(super) fn commit(outcome: &'static str, ends: &[(EventId, End, Option<&'static str>)], parts: usize) -> Self {
        let ends = ends.iter().map(|(event, end, _)| Ended { event: *event, end: end.as_str() }).collect();
        Self::Commit { outcome, ends, parts }
    }
}

impl Path {
    pub(super) fn push(&mut self, step: impl Into<PathStep>) {
        if self.steps.len() < MOST_STEPS {
            self.steps.push(step.into());
        } else {
            self.left_out += 1;
        }
    }

    /// What rules hit so far, for counting.
    pub(super) fn hits(&self) -> Vec<NewHit> {
        let of_step = |step: &PathStep| match step {
            PathStep::Screen { event, rule, rules, .. } => hits(Some(*event), rule.as_deref(), rules),
            PathStep::Approve { rule, rules, .. } => hits(None, rule.as_deref(), rules),
            PathStep::Circumstances { .. }
            | PathStep::Route { .. }
            | PathStep::Handoff { .. }
            | PathStep::Model { .. }
            | PathStep::Park { .. }
            | PathStep::Commit { .. }
            | PathStep::LeftOut { .. }
            | PathStep::Other(_) => Vec::new(),
        };
        self.steps.iter().flat_map(of_step).take(MOST_HITS).collect()
    }

    /// The path as it is sealed, with its last step, which is never left out.
    pub(super) fn close(&mut self, last: PathStep) -> String {
        let mut steps = std::mem::take(&mut self.steps);
        if self.left_out > 0 {
            steps.push(PathStep::LeftOut { count: self.left_out });
        }
        steps.push(last);
        // Only maps with keys that are no strings cannot be written, and no step has one.
        serde_json::to_string(&steps).unwrap_or_else(|_| "[]".to_owned())
    }
}

fn hits(event: Option<EventId>, decider: Option<&str>, rules: &[RuleResult]) -> Vec<NewHit> {
    let hit = |result: &RuleResult| NewHit {
        event,
        rule: result.rule.clone(),
        words: [
            word(&result.kind),
            word(&result.stage),
            word(&result.action),
            word(&result.mode),
            word(&result.reason),
        ],
        decided: decider == Some(result.rule.as_str()),
    };
    rules.iter().filter(|result| result.hit).map(hit).collect()
}

/// A closed word as serde writes it.
fn word(of: &impl Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The route's word.
pub(super) const fn route_word(route: &Route) -> &'static str {
    match route {
        Route::Assistant(_) => "assistant",
        Route::Policy => "policy",
        Route::Queue(_) => "queue",
        Route::Person => "person",
    }
}

/// How a claim ended that committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// There was nothing to do.
    Idle,
    /// A message that the pending ones name has not come in.
    AwaitsPredecessor(Micros),
    /// The contact writes faster than a rule lets us answer.
    PutOff(Micros),
    /// It failed, and will be tried again.
    Retried { class: Class, at: Micros },
    /// It failed, and its messages will be tried singly to find the culprit.
    OneByOne { class: Class, at: Micros },
    /// What it needs is out, and it waits without being counted.
    Held { class: Class, at: Micros },
    /// The worker drains; somebody else goes on.
    Drained,
    /// A person took or gave the floor meanwhile.
    FloorMoved,
    /// The claim was somebody else's by then.
    Zombie,
    /// The turn's own code failed.
    Panicked,
    /// The store failed in mid-turn.
    StoreFailed,
}

impl Exit {
    /// What is noted of it; `None` for what is no news.
    pub(super) const fn note<'a>(&self, policy: Option<&'a str>) -> Option<NewNote<'a>> {
        let (ending, class, again_at) = match self {
            Self::Idle => return None,
            Self::AwaitsPredecessor(at) => ("awaits_predecessor", "", Some(*at)),
            Self::PutOff(at) => ("put_off", "", Some(*at)),
            Self::Retried { class, at } => ("retried", class.as_str(), Some(*at)),
            Self::OneByOne { class, at } => ("one_by_one", class.as_str(), Some(*at)),
            Self::Held { class, at } => ("held", class.as_str(), Some(*at)),
            Self::Drained => ("drained", "", None),
            Self::FloorMoved => ("floor_moved", "", None),
            Self::Zombie => ("zombie", "", None),
            Self::Panicked => ("panicked", "", None),
            Self::StoreFailed => ("store_failed", "", None),
        };
        Some(NewNote { ending, class, policy, again_at })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn last() -> PathStep {
        PathStep::commit("answered", &[(EventId::from_uuid(uuid::Uuid::nil()), End::Replied, None)], 1)
    }

    #[test]
    fn a_path_is_an_array_of_steps_that_name_themselves_and_another_parts_step_stands_as_it_was_said() {
        let mut path = Path::default();
        path.push(PathStep::Route { route: "assistant", locale: "en".to_owned(), floor: Floor::Assistant });
        path.push(json!({ "step": "budget", "left": 3 }));
        let steps: Value = serde_json::from_str(&path.close(last())).unwrap();
        assert_eq!(steps[0], json!({"step": "route", "route": "assistant", "locale": "en", "floor": "assistant"}));
        assert_eq!(steps[1], json!({"step": "budget", "left": 3}));
        assert_eq!((&steps[2]["step"], &steps[2]["ends"][0]["end"]), (&json!("commit"), &json!("replied")));
    }

    #[test]
    fn a_path_is_bounded_and_still_tells_how_it_ended() {
        let mut path = Path::default();
        for _ in 0..MOST_STEPS + 7 {
            path.push(json!({ "step": "screen" }));
        }
        let steps: Vec<Value> = serde_json::from_str(&path.close(last())).unwrap();
        assert_eq!(steps.len(), MOST_STEPS + 2);
        assert_eq!(steps[MOST_STEPS], json!({"step": "left_out", "count": 7}));
        assert_eq!(steps[MOST_STEPS + 1]["step"], "commit");
    }
}
