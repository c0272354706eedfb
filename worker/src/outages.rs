//! Outages: who may call a model or a channel, and who waits until it answers again.
//!
//! Each model and each source's channel has a gate: a [`Breaker`] and the conversations that it holds. A held
//! conversation costs nothing but its place here: no call, no attempt. In the store it waits until a moment of its own,
//! a while after the next probe, in case this process dies; normally it is woken from here. When a probe is due one
//! conversation is woken to make it, another each time; when one was answered, all are, twice as many each time, and
//! the worker's slots bound how many call at once.
//!
//! Gates are a process's own. A fleet of ten probes ten times an interval, which no provider notices; sharing them
//! through the store would put a write before every call and make one worker's bad network everybody's outage.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::config::Timing;
use common::domain::{ConversationId, Micros, SourceName};
use common::metrics as names;
use common::shutdown::Stop;
use common::store::StoreError;
use common::telemetry::field;

use crate::channels::{RefusalClass, SendOutcome};
use crate::desk::Desk;
use crate::models::ModelError;
use crate::recovery::Class;
use crate::recovery::breaker::{Admission, Breaker, Held, Intervals, Position, Report, Ticket};

/// How often gates are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The most that are woken in one look.
const MOST_WOKEN: usize = 256;

/// What a gate stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Channel,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Channel => "channel",
        }
    }
}

/// What a gate leaves to chance: when it is, and how dice fall.
#[derive(Clone)]
pub struct Chance {
    /// The time.
    pub now: Arc<dyn Fn() -> Instant + Send + Sync>,
    /// From 0 to 1.
    pub dice: fn() -> f64,
}

/// Every gate of a worker.
pub struct Outages {
    models: HashMap<String, Arc<Gate>>,
    channels: HashMap<SourceName, Arc<Gate>>,
}

impl Outages {
    /// Open gates before these models and before the channels of these sources.
    #[must_use]
    pub fn new<'a>(models: &[&str], sources: impl Iterator<Item = &'a SourceName>, timing: &Timing) -> Self {
        Self::with_chance(models, sources, timing, &Chance { now: Arc::new(Instant::now), dice: rand::random })
    }

    /// As [`new`](Self::new), with another clock and other dice: for a test that plays with time.
    #[must_use]
    pub fn with_chance<'a>(
        models: &[&str],
        sources: impl Iterator<Item = &'a SourceName>,
        timing: &Timing,
        chance: &Chance,
    ) -> Self {
        let gate = |kind, name: &str| Gate::new(kind, name, timing, chance.clone());
        let channel = |source: &SourceName| (source.clone(), gate(Kind::Channel, source.as_str()));
        let model = |name: &&str| ((*name).to_owned(), gate(Kind::Model, name));
        Self { models: models.iter().map(model).collect(), channels: sources.map(channel).collect() }
    }

    /// A model's gate; `None` for one that is not configured.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Arc<Gate>> {
        self.models.get(name)
    }

    /// What holds a turn that could ask any of these models: the one that is probed first, if all of them are out.
    #[must_use]
    pub fn holding(&self, models: &[&str]) -> Option<Held> {
        let held = |name: &&str| self.model(name).and_then(|gate| gate.holding());
        let held: Option<Vec<Held>> = models.iter().map(held).collect();
        held?.into_iter().min_by_key(|held| held.probe_in)
    }

    /// Keeps a conversation until any of these models answers; whichever wakes it, the others find it awake.
    pub fn keep(&self, models: &[&str], conversation: ConversationId, at: Micros) {
        models.iter().filter_map(|name| self.model(name)).for_each(|gate| gate.keep(conversation, at));
    }

    /// A source's gate; `None` for one that is not configured any more and therefore calls nobody.
    #[must_use]
    pub fn channel(&self, source: &SourceName) -> Option<&Arc<Gate>> {
        self.channels.get(source)
    }
}

/// The gate before one model or channel.
pub struct Gate {
    kind: Kind,
    name: String,
    /// Between two conversations woken to probe: the first may turn out not to call at all.
    patience: Duration,
    chance: Chance,
    inside: Mutex<Inside>,
}

struct Inside {
    breaker: Breaker,
    waiting: Waiting,
    /// How many were woken in the last look since it closed.
    woken: usize,
    probe_woken: Option<Instant>,
}

/// Conversations in the order in which they came to wait, each with the moment until which it does in the store.
#[derive(Default)]
struct Waiting {
    order: VecDeque<ConversationId>,
    until: HashMap<ConversationId, Micros>,
}

impl Waiting {
    fn add(&mut self, conversation: ConversationId, at: Micros) {
        if self.until.insert(conversation, at).is_none() {
            self.order.push_back(conversation);
        }
    }

    fn take(&mut self, most: usize) -> Vec<(ConversationId, Micros)> {
        let count = most.min(self.order.len());
        let first: Vec<_> = self.order.drain(..count).collect();
        first.into_iter().filter_map(|conversation| self.until.remove_entry(&conversation)).collect()
    }
}

/// Leave to call once. Dropped unused, it says nothing of the other side.
#[must_use = "tell it how the call ended"]
pub struct Leave {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
}

impl Leave {
    /// Tells how the call ended.
    pub fn report(mut self, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.report(ticket, report);
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.report(ticket, Report::Nothing);
        }
    }
}

impl Gate {
    fn new(kind: Kind, name: &str, timing: &Timing, chance: Chance) -> Arc<Self> {
        let breaker = Breaker::new(Intervals { first: timing.breaker_first, most: timing.breaker_most });
        let inside = Inside { breaker, waiting: Waiting::default(), woken: 0, probe_woken: None };
        let (name, inside) = (name.to_owned(), Mutex::new(inside));
        let gate = Self { kind, name, patience: timing.sweep, chance, inside };
        gate.show(Position::Closed);
        Arc::new(gate)
    }

    fn now(&self) -> Instant {
        (self.chance.now)()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to call.
    ///
    /// # Errors
    /// What holds the call: nobody may make it now.
    pub fn enter(self: &Arc<Self>) -> Result<Leave, Held> {
        let mut inside = self.inside();
        let before = inside.breaker.position();
        let admission = inside.breaker.admit(self.now());
        let after = inside.breaker.position();
        drop(inside);
        self.tell(before, after, Class::Outage);
        match admission {
            Admission::Go(ticket) => Ok(Leave { gate: self.clone(), ticket: Some(ticket) }),
            Admission::Hold(held) => Err(held),
        }
    }

    /// How long a conversation is to wait in the store if nobody wakes it; `None` while calls go.
    #[must_use]
    pub fn holding(&self) -> Option<Held> {
        self.inside().breaker.holding(self.now())
    }

    /// Keeps a conversation that waits in the store until `at`, to be woken before.
    pub fn keep(&self, conversation: ConversationId, at: Micros) {
        self.inside().waiting.add(conversation, at);
    }

    fn report(&self, ticket: Ticket, report: Report) {
        let mut inside = self.inside();
        let before = inside.breaker.position();
        inside.breaker.report(ticket, report, self.now(), (self.chance.dice)());
        let after = inside.breaker.position();
        if before != after {
            inside.woken = 0;
            inside.probe_woken = None;
        }
        drop(inside);
        let class = if let Report::Failed { class, .. } = report { class } else { Class::Outage };
        self.tell(before, after, class);
    }

    fn tell(&self, before: Position, after: Position, class: Class) {
        if before == after {
            return;
        }
        self.show(after);
        let (kind, outcome) = (self.kind.as_str(), after.as_str());
        if after == Position::Open && before == Position::Closed {
            metrics::counter!(names::BREAKER_OPENED, "kind" => kind, "name" => self.name.clone()).increment(1);
            tracing::warn!(
                { field::OUTCOME } = outcome,
                { field::CODE } = class.as_str(),
                "the {kind} '{}' fails: what needs it waits",
                self.name
            );
        } else if after == Position::Closed {
            tracing::info!({ field::OUTCOME } = outcome, "the {kind} '{}' answers again", self.name);
        } else {
            tracing::debug!({ field::OUTCOME } = outcome, "the {kind} '{}' is probed", self.name);
        }
    }

    fn show(&self, position: Position) {
        let level = match position {
            Position::Closed => 0.0,
            Position::HalfOpen => 1.0,
            Position::Open => 2.0,
        };
        metrics::gauge!(names::BREAKER_STATE, "kind" => self.kind.as_str(), "name" => self.name.clone()).set(level);
    }

    /// Whom to wake now.
    fn look(&self, now: Instant) -> Vec<(ConversationId, Micros)> {
        let mut inside = self.inside();
        let most = match inside.breaker.position() {
            Position::Closed => {
                inside.woken = inside.woken.saturating_mul(2).clamp(1, MOST_WOKEN);
                inside.woken
            }
            Position::HalfOpen => 0,
            Position::Open => {
                let patient = inside.probe_woken.is_none_or(|at| now.duration_since(at) >= self.patience);
                let wanted = inside.breaker.wants_probe(now) && patient;
                if wanted {
                    inside.probe_woken = Some(now);
                }
                usize::from(wanted)
            }
        };
        let woken = inside.waiting.take(most);
        metrics::gauge!(names::BREAKER_HELD, "kind" => self.kind.as_str(), "name" => self.name.clone())
            .set(inside.waiting.until.len() as f64);
        woken
    }

    fn all(&self) -> Vec<(ConversationId, Micros)> {
        self.inside().waiting.take(usize::MAX)
    }
}

/// How long a conversation waits in the store, unless it is woken: some time after the next probe, and not all alike.
#[must_use]
pub fn patience(held: Held, roll: f64) -> Duration {
    held.probe_in + held.interval.mul_f64(1.0 + roll.clamp(0.0, 1.0))
}

/// Wakes what waits until the worker drains; then wakes everything, for others to take up.
pub async fn keep_gates(desk: Arc<Desk>, mut stop: Stop) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = tick.tick() => {
                for gate in desk.outages.gates() {
                    wake(&desk, gate, gate.look(gate.now())).await;
                }
            }
        }
    }
    for gate in desk.outages.gates() {
        wake(&desk, gate, gate.all()).await;
    }
}

impl Outages {
    fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.models.values().chain(self.channels.values())
    }
}

async fn wake(desk: &Desk, gate: &Gate, conversations: Vec<(ConversationId, Micros)>) {
    for (conversation, at) in conversations {
        match wake_one(desk, gate, conversation, at).await {
            Ok(true) => {}
            // It waited no longer: another is to probe.
            Ok(false) => gate.inside().probe_woken = None,
            // It wakes by itself at its moment.
            Err(error) => {
                tracing::warn!({ field::CONVERSATION } = %conversation, { field::ERROR } = %error, "could not be woken");
            }
        }
    }
}

async fn wake_one(desk: &Desk, gate: &Gate, conversation: ConversationId, at: Micros) -> Result<bool, StoreError> {
    let (woken, bell) = match gate.kind {
        Kind::Model => (desk.store.wake_turn(conversation, at).await?, &desk.turns),
        Kind::Channel => (desk.store.wake_delivery(conversation, at).await?, &desk.deliveries),
    };
    if woken {
        bell.ring(conversation, Duration::ZERO);
    }
    Ok(woken)
}

/// What a model's failure tells of it. A refusal of a prompt is an answer; a request that it cannot read says nothing.
#[must_use]
pub fn of_model(error: &ModelError) -> Report {
    match error {
        ModelError::RateLimited { retry_after } | ModelError::Overloaded { retry_after, .. } => {
            Report::Failed { class: error.into(), retry_after: *retry_after }
        }
        ModelError::Unreachable
        | ModelError::TimedOut
        | ModelError::QuotaExhausted
        | ModelError::Misconfigured(0 | 401..=404) => Report::Failed { class: error.into(), retry_after: None },
        ModelError::Misconfigured(_) => Report::Nothing,
        ModelError::Refused | ModelError::ContextTooLong | ModelError::Malformed(_) => Report::Answered,
    }
}

/// What a send's outcome tells of its channel. A rate limit without a time may be one recipient's, and what is not
/// configured may be one number of several.
#[must_use]
pub fn of_send(outcome: &SendOutcome) -> Report {
    match outcome {
        SendOutcome::Accepted { .. } => Report::Answered,
        SendOutcome::Unknown { .. } => Report::Failed { class: Class::Outage, retry_after: None },
        SendOutcome::Refused(refusal) => match refusal.class {
            RefusalClass::Unavailable => Report::Failed { class: Class::Outage, retry_after: refusal.retry_after },
            RefusalClass::RateLimited if refusal.retry_after.is_some() => {
                Report::Failed { class: Class::RateLimited, retry_after: refusal.retry_after }
            }
            RefusalClass::RateLimited | RefusalClass::NotConfigured => Report::Nothing,
            RefusalClass::WindowClosed | RefusalClass::Rejected => Report::Answered,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Report = Report::Failed { class: Class::Outage, retry_after: None };

    fn gate(first: Duration) -> Arc<Gate> {
        let timing = Timing { breaker_first: first, breaker_most: first, ..Timing::default() };
        Gate::new(Kind::Model, "test", &timing, Chance { now: Arc::new(Instant::now), dice: rand::random })
    }

    fn fail(gate: &Arc<Gate>) {
        gate.enter().expect("it goes").report(FAILED);
    }

    fn waits(gate: &Gate, count: usize) -> Vec<ConversationId> {
        let all: Vec<_> = (0..count).map(|_| ConversationId::random()).collect();
        all.iter().for_each(|conversation| gate.keep(*conversation, Micros(1)));
        all
    }

    #[test]
    fn while_it_is_open_nobody_is_woken_and_then_one_to_probe_at_a_time() {
        let gate = gate(Duration::from_secs(60));
        (0..5).for_each(|_| fail(&gate));
        let all = waits(&gate, 3);
        let now = Instant::now();
        assert!(gate.enter().is_err());
        assert!(gate.look(now).is_empty());
        let due = now + Duration::from_secs(60);
        assert_eq!(gate.look(due), [(all[0], Micros(1))]);
        assert!(gate.look(due).is_empty(), "the first has a while to begin");
        assert_eq!(gate.look(due + gate.patience), [(all[1], Micros(1))], "it never did");
    }

    #[test]
    fn an_answered_probe_wakes_all_twice_as_many_each_time_in_their_order() {
        let gate = gate(Duration::ZERO);
        (0..5).for_each(|_| fail(&gate));
        let all = waits(&gate, 9);
        let probe = gate.enter().expect("the interval is over");
        assert!(gate.enter().is_err(), "one probe");
        assert!(gate.look(Instant::now()).is_empty());
        probe.report(Report::Answered);
        let mut woken = Vec::new();
        for expected in [1, 2, 4, 2, 0] {
            let some = gate.look(Instant::now());
            assert_eq!(some.len(), expected);
            woken.extend(some.into_iter().map(|(conversation, _)| conversation));
        }
        assert_eq!(woken, all);
    }

    #[test]
    fn leave_that_is_dropped_unused_leaves_the_probe_to_the_next() {
        let gate = gate(Duration::ZERO);
        (0..5).for_each(|_| fail(&gate));
        drop(gate.enter().expect("the probe"));
        gate.enter().expect("another").report(Report::Answered);
        assert_eq!(gate.holding(), None);
    }

    #[test]
    fn who_waits_again_keeps_one_place_and_the_last_moment() {
        let gate = gate(Duration::ZERO);
        let all = waits(&gate, 2);
        gate.keep(all[0], Micros(2));
        assert_eq!(gate.all(), [(all[0], Micros(2)), (all[1], Micros(1))]);
    }

    #[test]
    fn what_a_prompt_does_to_a_model_says_nothing_against_it() {
        let wait = Some(Duration::from_secs(7));
        for (error, report) in [
            (
                ModelError::RateLimited { retry_after: wait },
                Report::Failed { class: Class::RateLimited, retry_after: wait },
            ),
            (ModelError::TimedOut, FAILED),
            (ModelError::Misconfigured(401), Report::Failed { class: Class::Misconfigured, retry_after: None }),
            (ModelError::Misconfigured(400), Report::Nothing),
            (ModelError::Malformed("no text"), Report::Answered),
            (ModelError::ContextTooLong, Report::Answered),
        ] {
            assert_eq!(of_model(&error), report, "{error:?}");
        }
    }
}
