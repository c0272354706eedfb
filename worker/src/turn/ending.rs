//! Ends: the commit of a plan, the parking of a culprit, and what recovery makes of a failure.

use std::time::Duration;

use common::domain::{DeadId, End, EventId, Micros};
use common::metrics as names;
use common::steps::{self, Step};
use common::store::{Commit, CommitOutcome, HandBack, NewDead, NewFailure, NewHandoff, NewSend, Retry, StoreError};
use common::telemetry::field;

use super::path::{Exit, PathStep};
use super::{Pass, Turn, floor_after};
use crate::models::ModelError;
use crate::outages;
use crate::pipeline::guardrails::Approved;
use crate::pipeline::handoff::{Plan, Route};
use crate::policy::{AfterDead, Notice};
use crate::recovery::breaker::Held;
use crate::recovery::{self, Class, Decision, Failure};

/// Everything that a commit of this turn says, apart from the claim.
struct Ending<'a> {
    ends: Vec<(EventId, End, Option<&'static str>)>,
    sends: Vec<NewSend>,
    dead: Vec<NewDead>,
    hold: bool,
    floor: Option<common::domain::Floor>,
    handoff: Option<NewHandoff>,
    heard: bool,
    outcome: &'static str,
    model: Option<&'a str>,
    locale: &'a str,
}

impl Turn<'_> {
    /// Commits a plan: the approved answer, if there is one, and the policy's notices in one reply.
    pub(super) async fn end(
        mut self,
        plan: &Plan,
        answer: Option<Approved>,
        model: Option<&str>,
        outcome: &'static str,
    ) -> Result<Pass, StoreError> {
        if let Route::Queue(call) = plan.route() {
            self.path.push(PathStep::handoff(call));
        }
        let reply = self.guardrails.compose(answer, plan.notices(), plan.locale());
        let purpose = match plan.route() {
            Route::Person => "courtesy",
            Route::Assistant(_) | Route::Policy | Route::Queue(_) => {
                if plan.ends().iter().any(|(_, end)| *end == End::Replied) { "reply" } else { outcome }
            }
        };
        let handoff = match plan.route() {
            Route::Queue(call) => Some(self.calling(call).await?),
            Route::Assistant(_) | Route::Policy | Route::Person => None,
        };
        let sends = reply.map(|reply| self.desk.parts(&self.claim.source, &reply, purpose, self.trace));
        let ending = Ending {
            ends: plan.ends().into_iter().map(|(event, end)| (event, end, None)).collect(),
            sends: sends.unwrap_or_default(),
            dead: Vec::new(),
            hold: false,
            floor: floor_after(plan.route()),
            handoff,
            heard: matches!(plan.route(), Route::Queue(_) | Route::Person),
            outcome,
            model,
            locale: plan.locale(),
        };
        self.commit(ending).await
    }

    /// Ends messages as dead, with the policy's failure text, so that the conversation goes on without them. Of
    /// several, only the first in ingress order: the culprit is found by trying singly.
    pub(super) async fn park(mut self, class: Class, error: &str) -> Result<Pass, StoreError> {
        if self.taken.len() > 1 && class != Class::Crash {
            return self.retry(Duration::ZERO, 0, true, (class, error)).await;
        }
        let culprits: Vec<EventId> = self.events().into_iter().take(1).collect();
        self.path.push(PathStep::Park { class: class.as_str(), error: recovery::normalise(error) });
        let guardrails = &self.guardrails;
        let locale = self.claim.locale.clone().unwrap_or_else(|| guardrails.policy().default_locale().to_owned());
        let notice = guardrails.notice(&Notice::Failure, &locale);
        let dead = culprits.iter().map(|event| self.letter(*event, class, error)).collect();
        let ending = Ending {
            ends: culprits.iter().map(|event| (*event, End::Dead, Some("parked"))).collect(),
            sends: self.desk.parts(&self.claim.source, &notice, "failure", self.trace),
            dead,
            hold: guardrails.policy().after_dead(class) == AfterDead::Hold,
            floor: None,
            handoff: None,
            heard: false,
            outcome: "parked",
            model: None,
            locale: &locale,
        };
        self.commit(ending).await
    }

    fn letter(&self, event: EventId, class: Class, error: &str) -> NewDead {
        NewDead {
            id: DeadId::random(),
            event_id: Some(event),
            send_id: None,
            conversation: Some(self.claim.conversation),
            contact: Some(self.claim.contact),
            source: self.claim.source.to_string(),
            stage: "turn",
            class: class.as_str().to_owned(),
            error: recovery::normalise(error),
            attempts: self.claim.attempts + 1,
            policy: self.guardrails.policy().version().to_owned(),
            build: common::build().to_owned(),
            body: None,
        }
    }

    /// What a model's failure means, by recovery's judgement.
    pub(super) async fn failed(self, error: &ModelError) -> Result<Pass, StoreError> {
        tracing::warn!({ field::CODE } = error.word(), { field::ERROR } = %error, "the model gave no answer");
        let failure = Failure::of_model(error, self.taken.len());
        let age = self.claim.at.since(self.claim.waiting_since);
        let attempts = u32::try_from(self.claim.attempts + 1).unwrap_or(u32::MAX);
        match recovery::decide(&failure, attempts, age, (self.desk.dice)()) {
            Decision::RetryAfter(after) => self.retry(after, 1, false, (failure.class, &error.to_string())).await,
            // Held, not tried: what is everybody's trouble costs no message an attempt.
            Decision::Hold(after) | Decision::Pause(after) => {
                self.held_after(after, (failure.class, &error.to_string())).await
            }
            Decision::OneByOne(after) | Decision::Alone(after) => {
                self.retry(after, 0, true, (failure.class, &error.to_string())).await
            }
            Decision::DeadLetter(_) => self.park(failure.class, &error.to_string()).await,
        }
    }

    /// Every model is out, so none is called, for as long as a message may wait at all.
    pub(super) async fn held_up(self, held: Held) -> Result<Pass, StoreError> {
        let failure = Failure::of_class(held.class, self.taken.len());
        let age = self.claim.at.since(self.claim.waiting_since);
        match recovery::decide(&failure, 1, age, (self.desk.dice)()) {
            Decision::DeadLetter(_) => {
                self.park(held.class, "the model was out for as long as a message may wait").await
            }
            Decision::RetryAfter(_)
            | Decision::Hold(_)
            | Decision::OneByOne(_)
            | Decision::Alone(_)
            | Decision::Pause(_) => {
                let at = self.desk.store.now().await? + outages::patience(held, (self.desk.dice)());
                // Nobody was asked, so there is no failed attempt to write down.
                let back = HandBack::Retry { at, counted: 0, one_by_one: false };
                let ours = self.desk.store.hand_back(self.claim, back).await?;
                Ok(self.kept(ours, held.class, at))
            }
        }
    }

    /// The failure is everybody's trouble: the model's gate wakes what waits for it; where none holds, time does.
    async fn held_after(self, after: Duration, (class, error): (Class, &str)) -> Result<Pass, StoreError> {
        let Some(held) = self.desk.outages.holding(&self.chain.names()) else {
            return self.retry(after, 0, false, (class, error)).await;
        };
        let after = after.max(outages::patience(held, (self.desk.dice)()));
        let at = self.desk.store.now().await? + after;
        let ours = self.hand_back_failed(Retry { at, counted: 0, one_by_one: false }, class, error).await?;
        Ok(self.kept(ours, class, at))
    }

    /// Waits for the model's gate, which wakes it; the claim has been handed back.
    fn kept(&self, ours: bool, class: Class, at: Micros) -> Pass {
        if ours {
            self.desk.outages.keep(&self.chain.names(), self.claim.conversation, at);
        }
        metrics::counter!(names::TURNS, "outcome" => "held").increment(1);
        tracing::debug!({ field::OUTCOME } = "held", "the turn waits for its model");
        Pass::Left(Exit::Held { class, at })
    }

    /// Hands the claim back and writes the failed attempt down, in one commit.
    async fn hand_back_failed(&self, retry: Retry, class: Class, error: &str) -> Result<bool, StoreError> {
        let (events, error) = (self.events(), recovery::normalise(error));
        let failure = NewFailure { events: &events, class: class.as_str(), error: &error };
        self.desk.store.retry(self.claim, retry, failure).await
    }

    async fn retry(
        self,
        after: Duration,
        counted: i64,
        one_by_one: bool,
        (class, error): (Class, &str),
    ) -> Result<Pass, StoreError> {
        let at = self.desk.store.now().await? + after;
        self.hand_back_failed(Retry { at, counted, one_by_one }, class, error).await?;
        self.desk.turns.ring(self.claim.conversation, after);
        let (outcome, exit) = match counted {
            0 if one_by_one => ("held", Exit::OneByOne { class, at }),
            0 => ("held", Exit::Held { class, at }),
            _ => ("retried", Exit::Retried { class, at }),
        };
        metrics::counter!(names::TURNS, "outcome" => outcome).increment(1);
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        tracing::info!({ field::OUTCOME } = outcome, { field::MILLIS } = millis, "the turn will be tried again");
        Ok(Pass::Left(exit))
    }

    async fn commit(mut self, ending: Ending<'_>) -> Result<Pass, StoreError> {
        let hits = self.path.hits();
        let path = self.path.close(PathStep::commit(ending.outcome, &ending.ends, ending.sends.len()));
        let committed = self.desk.store.commit(Commit {
            claim: self.claim,
            turn: self.id,
            ends: &ending.ends,
            sends: &ending.sends,
            dead: &ending.dead,
            hold: ending.hold,
            floor: ending.floor,
            handoff: ending.handoff.as_ref(),
            heard: ending.heard && !ending.sends.is_empty(),
            outcome: ending.outcome,
            policy: self.guardrails.policy().version(),
            model: ending.model,
            locale: Some(ending.locale),
            started_at: self.claim.at,
            trace: self.trace,
            path: &path,
            hits: &hits,
        });
        let committed = match committed.await? {
            CommitOutcome::Committed(committed) => committed,
            CommitOutcome::FloorMoved => return Ok(self.floor_moved()),
            CommitOutcome::Zombie => return Ok(Pass::Left(Exit::Zombie)),
        };
        steps::reached(Step::TurnCommitted);
        if !ending.sends.is_empty() {
            self.desk.deliveries.ring(self.claim.conversation, Duration::ZERO);
        }
        if let Some(handoff) = &ending.handoff {
            let team = handoff.call.team.clone().unwrap_or_else(|| "none".to_owned());
            metrics::counter!(names::HANDOFFS, "team" => team).increment(1);
            self.desk.notifiers.ring();
        }
        self.report(&ending, committed.at);
        Ok(Pass::Committed(committed.more.map(|(claim, settle_at)| {
            let quiet = settle_at.since(claim.at);
            Box::new((claim, quiet))
        })))
    }

    /// The claim does not stand as it was made. Where only the floor moved the lease is still ours, and renewed for as
    /// long as we live: it goes back.
    pub(super) async fn lost(&self) -> Result<Pass, StoreError> {
        let ours = self.desk.store.hand_back(self.claim, HandBack::Uncounted).await?;
        Ok(if ours { self.floor_moved() } else { Pass::Left(Exit::Zombie) })
    }

    /// The claim went back because the floor moved: the next turn must see the new one at once.
    fn floor_moved(&self) -> Pass {
        self.desk.turns.ring(self.claim.conversation, Duration::ZERO);
        metrics::counter!(names::TURNS, "outcome" => "floor_moved").increment(1);
        tracing::info!({ field::OUTCOME } = "floor_moved", "a person took the floor; the turn's work is discarded");
        Pass::Left(Exit::FloorMoved)
    }

    fn report(&self, ending: &Ending<'_>, at: Micros) {
        metrics::counter!(names::TURNS, "outcome" => ending.outcome).increment(1);
        let (count, parts) = (ending.ends.len(), ending.sends.len());
        tracing::info!({ field::OUTCOME } = ending.outcome, { field::COUNT } = count, "turn committed, {parts} parts");
        let last = self.taken.iter().map(|message| message.accepted_at).max();
        if let Some(last) = last {
            metrics::histogram!(names::TURN_SECONDS).record(at.since(last));
        }
    }
}
