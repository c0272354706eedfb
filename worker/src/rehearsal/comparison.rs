//! Two policies over the same past: every message of a period is judged again by both, with what was recorded of its
//! turn, and what would have become of it under the one is held against the other. Nothing is called and nothing is
//! changed; one page of turns is in memory at a time.

use std::collections::BTreeMap;

use common::domain::{Circumstances, Content, End, EventId, Floor, Line};
use common::store::{PastTurn, Period, Store, StoreError};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use super::judge;
use crate::models::Answer;
use crate::pipeline::guardrails::{Guardrails, Outcome, Reading};
use crate::pipeline::handoff::{Pending, Plan, Route};
use crate::pipeline::llm::Draft;
use crate::turn::EARLIER_LINES;
use crate::turn::draft::HISTORY_LINES;

/// Turns read at once.
const PAGE: i64 = 200;
/// Turns opened at once.
const ABREAST: usize = 8;

/// Two policies, and the past that they are to judge.
pub struct Comparison<'a> {
    /// Where it is kept.
    pub store: &'a Store,
    /// The policy that is, or was.
    pub old: &'a Guardrails,
    /// The policy that may be.
    pub new: &'a Guardrails,
    /// Which past.
    pub period: Period,
    /// How many events are named for each rule.
    pub named: usize,
}

/// Messages, counted, the first of them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub events: Vec<EventId>,
}

/// Messages of which the same would have become, by what decides it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// All of them.
    pub count: u64,
    /// By stage and rule; of a reply that reads otherwise with no rule deciding, the rule is `answer`.
    pub by_rule: BTreeMap<(&'static str, String), Sample>,
}

/// What the two policies make of the same past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Turns of the period.
    pub turns: u64,
    /// Messages judged by both.
    pub judged: u64,
    /// Messages that came while people had the floor, or had been called: neither policy would have had a say.
    pub with_people: u64,
    /// Blocked by the new policy only.
    pub newly_blocked: Change,
    /// Handed off by the new policy only.
    pub newly_handed_off: Change,
    /// Answered under the new policy only; by the rule that stopped it under the old.
    pub newly_allowed: Change,
    /// The same end with other words.
    pub changed_reply: Change,
    /// The model would have been shown other words than under the old policy: what it would have said nobody knows, and the
    /// recorded answer was judged.
    pub asked_otherwise: Sample,
    /// Answered under the new policy, and no answer was recorded.
    pub no_answer: Sample,
    /// Messages that could not be judged, by why.
    pub not_judged: BTreeMap<&'static str, Sample>,
}

/// What became of a message under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Blocked,
    HandedOff,
}

/// What decided: its stage, and its rule.
type By = (&'static str, String);

/// A turn under one policy.
struct Judged {
    fates: Vec<(EventId, Fate, Option<By>)>,
    /// `None` where the model would have been asked and no answer is recorded.
    reply: Option<String>,
    /// What the model would have been shown.
    shown: Vec<String>,
}

/// A turn as it was, opened.
struct Material {
    source: String,
    floor: Floor,
    locale: Option<String>,
    /// What was known besides the texts, as the turn wrote it down.
    circumstances: Circumstances,
    messages: Vec<(EventId, Option<Content>)>,
    earlier: Vec<Line>,
    /// What may have given the answer's placeholders their data; empty where it has none.
    history: Vec<Line>,
    answer: Option<String>,
}

/// What there is to judge of a turn.
enum Opened {
    Whole(Box<Material>),
    /// People had the floor.
    WithPeople(u64),
    /// Why it cannot be judged, and which messages.
    Not(&'static str, Vec<EventId>, u64),
}

impl Sample {
    fn add(&mut self, event: Option<EventId>, named: usize) {
        self.count += 1;
        if let Some(event) = event.filter(|_| self.events.len() < named) {
            self.events.push(event);
        }
    }
}

impl Change {
    fn add(&mut self, event: EventId, by: Option<&(&'static str, String)>, named: usize) {
        self.count += 1;
        let by = by.cloned().unwrap_or_else(|| ("output", "answer".to_owned()));
        self.by_rule.entry(by).or_default().add(Some(event), named);
    }
}

impl Comparison<'_> {
    /// How many turns there are to judge.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn turns(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.store.past_turns_count(&self.period).await?).unwrap_or(0))
    }

    /// Judges everything; `told` hears what has been found so far after every page.
    ///
    /// # Errors
    /// [`StoreError`]: the store could not be read.
    pub async fn run(&self, mut told: impl FnMut(&Findings)) -> Result<Findings, StoreError> {
        let mut findings = Findings::default();
        let mut last: Option<PastTurn> = None;
        loop {
            let page = self.store.past_turns(&self.period, last.as_ref(), PAGE).await?;
            let mut opened = stream::iter(page.iter()).map(|turn| self.open(turn)).buffered(ABREAST);
            while let Some(opened) = opened.next().await {
                findings.turns += 1;
                self.weigh(opened?, &mut findings);
            }
            drop(opened);
            told(&findings);
            match page.into_iter().last() {
                Some(turn) => last = Some(turn),
                None => return Ok(findings),
            }
        }
    }

    async fn open(&self, turn: &PastTurn) -> Result<Opened, StoreError> {
        let count = u64::try_from(turn.messages).unwrap_or(0);
        let scene = match self.store.past_scene(turn).await {
            Ok(scene) => scene,
            Err(StoreError::Erased) => return Ok(Opened::Not("erased", Vec::new(), count)),
            Err(StoreError::Sealed(_)) => return Ok(Opened::Not("does_not_open", Vec::new(), count)),
            Err(error) => return Err(error),
        };
        let events: Vec<EventId> = scene.messages.iter().map(|message| message.event_id).collect();
        let Some((floor, locale)) = setting(&scene.path) else { return Ok(Opened::Not("older_trace", events, count)) };
        if floor != Floor::Assistant {
            return Ok(Opened::WithPeople(count));
        }
        let answer = match asked(&scene.path) {
            Some(asked) => self.store.past_answer(turn, &scene, asked).await?,
            None => None,
        };
        let circumstances = match circumstances(&scene.path) {
            None if self.old.looks_around() || self.new.looks_around() => {
                return Ok(Opened::Not("no_circumstances", events, count));
            }
            known => known.unwrap_or_default(),
        };
        let looks_back = self.old.looks_back() || self.new.looks_back();
        let lines = match answer.as_deref().is_some_and(has_placeholder) {
            true => HISTORY_LINES,
            false if looks_back => EARLIER_LINES,
            false => 0,
        };
        let lines = if lines == 0 { Vec::new() } else { self.store.past_lines(turn, &scene, lines).await? };
        Ok(Opened::Whole(Box::new(Material {
            source: turn.source.clone(),
            floor,
            locale,
            circumstances,
            messages: scene.messages.into_iter().map(|message| (message.event_id, message.content)).collect(),
            earlier: lines[lines.len().saturating_sub(EARLIER_LINES)..].to_vec(),
            history: if answer.as_deref().is_some_and(has_placeholder) { lines } else { Vec::new() },
            answer,
        })))
    }

    fn weigh(&self, opened: Opened, findings: &mut Findings) {
        let material = match opened {
            Opened::Whole(material) => material,
            Opened::WithPeople(count) => return findings.with_people += count,
            Opened::Not(why, events, count) => return not_judged(findings, why, &events, count, self.named),
        };
        let (Some(old), Some(new)) = (judge_turn(self.old, &material), judge_turn(self.new, &material)) else {
            let events: Vec<EventId> = material.messages.iter().map(|(event, _)| *event).collect();
            return not_judged(findings, "unreadable", &events, events.len() as u64, self.named);
        };
        let reads_otherwise = matches!((&old.reply, &new.reply), (Some(old), Some(new)) if old != new);
        let shown_otherwise = !new.shown.is_empty() && !old.shown.is_empty() && old.shown != new.shown;
        for ((event, before, by_old), (_, after, by_new)) in old.fates.iter().zip(&new.fates) {
            findings.judged += 1;
            let changed = match (before, after) {
                (Fate::Answered | Fate::HandedOff, Fate::Blocked) => Some((&mut findings.newly_blocked, by_new)),
                (Fate::Answered | Fate::Blocked, Fate::HandedOff) => Some((&mut findings.newly_handed_off, by_new)),
                (Fate::Blocked | Fate::HandedOff, Fate::Answered) => Some((&mut findings.newly_allowed, by_old)),
                (Fate::Answered, Fate::Answered)
                | (Fate::Blocked, Fate::Blocked)
                | (Fate::HandedOff, Fate::HandedOff) => {
                    reads_otherwise.then_some((&mut findings.changed_reply, by_new))
                }
            };
            if let Some((change, by)) = changed {
                change.add(*event, by.as_ref(), self.named);
            }
            if *after == Fate::Answered && new.reply.is_none() {
                findings.no_answer.add(Some(*event), self.named);
            } else if *after == Fate::Answered && shown_otherwise {
                findings.asked_otherwise.add(Some(*event), self.named);
            }
        }
    }
}

fn not_judged(findings: &mut Findings, why: &'static str, events: &[EventId], count: u64, named: usize) {
    let sample = findings.not_judged.entry(why).or_default();
    for at in 0..usize::try_from(count).unwrap_or(usize::MAX) {
        sample.add(events.get(at).copied(), named);
    }
}

/// The steps of a path that have this word.
fn steps<'a>(path: &'a Value, word: &'a str) -> impl DoubleEndedIterator<Item = &'a Value> {
    path.as_array().into_iter().flatten().filter(move |step| step["step"] == word)
}

/// Who had the floor and which language was spoken; `None` for a path that does not say so. What was parked before it was
/// routed was the assistant's.
fn setting(path: &Value) -> Option<(Floor, Option<String>)> {
    let Some(route) = steps(path, "route").next_back() else {
        return steps(path, "park").next().map(|_| (Floor::Assistant, None));
    };
    let floor = route["floor"].as_str()?.parse().ok()?;
    Some((floor, route["locale"].as_str().map(str::to_owned)))
}

/// What was known besides the texts, where the policy of the time asked for it.
fn circumstances(path: &Value) -> Option<Circumstances> {
    let step = steps(path, "circumstances").next_back()?;
    serde_json::from_value(step["known"].clone()).ok()
}

/// The model and the prompt whose answer the turn used.
fn asked(path: &Value) -> Option<(&str, &str)> {
    let used = |step: &&Value| matches!(step["outcome"].as_str(), Some("answered" | "answered_cut" | "stored_answer"));
    let step = steps(path, "model").rfind(used)?;
    Some((step["model"].as_str()?, step["prompt"].as_str()?))
}

/// Whether an answer speaks of the customer's data by placeholder.
fn has_placeholder(answer: &str) -> bool {
    lens::pii::PiiKind::ALL.iter().any(|kind| answer.contains(&format!("{}_", kind.label())))
}

/// A turn under one policy; `None` when a message of it cannot be opened.
fn judge_turn(guardrails: &Guardrails, material: &Material) -> Option<Judged> {
    let mut talk = judge::talk(guardrails, &material.source, material.circumstances.clone(), &material.earlier);
    let messages = material.messages.iter().map(|(event, content)| (*event, content.as_ref()));
    let setting = (material.floor, material.locale.as_deref());
    let (pending, plan) = judge::plan(guardrails, messages, setting, &mut talk)?;
    let shown: Vec<String> = match plan.route() {
        Route::Assistant(questions) => questions.iter().map(|question| question.text().to_owned()).collect(),
        Route::Policy | Route::Queue(_) | Route::Person => Vec::new(),
    };
    if shown.is_empty() {
        return Some(told(guardrails, &pending, (&plan, None, None), shown));
    }
    if let (Route::Assistant(questions), 1) = (plan.route(), material.messages.len())
        && let Some((_, own)) = questions.first().and_then(|question| guardrails.faq(question, plan.locale()))
    {
        return Some(told(guardrails, &pending, (&plan, Some(own), None), shown));
    }
    let answer = material.answer.clone().map(|text| Answer {
        text,
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        cut: false,
    });
    // What was recorded may have the form that another policy asked for.
    let form = guardrails.policy().answer_form();
    let drafted = |answer: Answer| Draft::in_form(&answer, form).or_else(|_| Draft::from_answer(&answer));
    let Some(Ok(draft)) = answer.map(drafted) else {
        let judged = told(guardrails, &pending, (&plan, None, None), shown);
        return Some(Judged { reply: None, ..judged });
    };
    judge::recall(guardrails, &material.history, &mut talk);
    let drafted = judge::draft(guardrails, plan, &draft, &mut talk);
    let decided = (&drafted.plan, drafted.answer, drafted.rule.as_deref());
    Some(told(guardrails, &pending, decided, shown))
}

fn told(
    guardrails: &Guardrails,
    pending: &[Pending],
    (plan, answer, refused): (&Plan, Option<crate::pipeline::guardrails::Approved>, Option<&str>),
    shown: Vec<String>,
) -> Judged {
    let reply = guardrails.compose(answer, plan.notices(), plan.locale());
    let fate = |((event, end), message): ((EventId, End), &Pending)| {
        let blocked = blocked_by(message).map(|rule| ("input", rule.to_owned()));
        let after = || refused.map(|rule| ("output", rule.to_owned()));
        let called = || match plan.route() {
            Route::Queue(call) => Some(("input", call.rule.clone())),
            Route::Assistant(_) | Route::Policy | Route::Person => None,
        };
        match end {
            End::Blocked => (event, Fate::Blocked, blocked.or_else(after)),
            End::HandedOff => (event, Fate::HandedOff, after().or_else(called)),
            End::Replied | End::Joined | End::Recorded | End::Dead | End::Discarded | End::Erased => {
                (event, Fate::Answered, None)
            }
        }
    };
    let fates = plan.ends().into_iter().zip(pending).map(fate).collect();
    Judged { fates, reply: Some(reply.map(|reply| reply.text().to_owned()).unwrap_or_default()), shown }
}

fn blocked_by(message: &Pending) -> Option<&str> {
    match &message.reading {
        Reading::Text(screening) => match &screening.outcome {
            Outcome::Block { rule } => Some(rule),
            Outcome::Pass(_) | Outcome::Handoff(_) => None,
        },
        Reading::Unreadable(_) => None,
    }
}
