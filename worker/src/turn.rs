//! One claim, told from start to end: settle → screen → route → draft → approve → commit.
//!
//! A claim ends in exactly one of: a commit, a hand-back with a reason, or the discovery that it is no longer ours.
//! The model is called outside any transaction, between a row written before it and an answer stored after it.

mod asking;
mod calling;
pub(crate) mod draft;
mod ending;
mod known;
mod path;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{EventId, Floor, TurnId};
use common::metrics as names;
use common::shutdown::Stop;
use common::steps::{self, Step};
use common::store::{Claimed, HandBack, Pending as Taken, StoreError};
use common::telemetry::field;
use common::trace::TraceContext;
use futures_util::FutureExt;
use tracing::Instrument;

use crate::desk::{Desk, until};
use crate::dispatch::{Slot, Work};
use crate::models::chain::Chain;
use crate::pipeline::guardrails::{Guardrails, Talk};
use crate::pipeline::handoff::{self, Pending, Plan, Route};
use crate::recovery::{CRASH_CLAIMS, Class};
use crate::turn::path::{Exit, Path, PathStep, route_word};

/// Lines that a rule may compare a text with: what was said long ago may be said again.
pub(crate) const EARLIER_LINES: usize = 20;

/// How long a conversation rests of which nothing can be read or written.
const HOPELESS: Duration = Duration::from_secs(60);

/// What is known of a claim that ended without a record.
const CRASHED: &str = "its worker ended without a word";

/// Turns, as a kind of work.
pub struct Turns {
    /// The worker's shared parts.
    pub desk: Arc<Desk>,
    /// Raised when the worker drains.
    pub stop: Stop,
}

/// Counts a turn as under way for as long as it is held, however it ends.
struct InFlight;

impl InFlight {
    fn enter() -> Self {
        metrics::gauge!(names::TURNS_IN_FLIGHT).increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(names::TURNS_IN_FLIGHT).decrement(1.0);
    }
}

/// How one pass over a claim ended.
enum Pass {
    /// Committed; the claim goes on if more is pending.
    Committed(Option<Box<(Claimed, Duration)>>),
    /// Given back, or lost to somebody else, with nothing committed: everything done under it is discarded.
    Left(Exit),
}

/// What a turn has gathered before it knows its end.
struct Turn<'a> {
    desk: &'a Desk,
    /// The policy that was in force when the turn began.
    guardrails: Arc<Guardrails>,
    /// Whom it may ask, in order.
    chain: Chain,
    claim: &'a Claimed,
    id: TurnId,
    taken: Vec<Taken>,
    trace: TraceContext,
    path: Path,
    talk: Talk,
}

impl Work for Turns {
    async fn find(&self, limit: usize) -> Result<Vec<common::domain::ConversationId>, StoreError> {
        self.desk.store.claimable(limit).await
    }

    async fn serve(&self, conversation: common::domain::ConversationId, slot: Slot) {
        match self.desk.store.claim(conversation, self.desk.worker).await {
            Ok(Some(claim)) => {
                steps::reached(Step::TurnClaimed);
                let span = tracing::info_span!(
                    "turn",
                    { field::CONVERSATION } = %conversation,
                    { field::SOURCE } = %claim.source,
                    { field::FENCE } = claim.fence,
                    { field::TRACE } = tracing::field::Empty,
                );
                let held = AssertUnwindSafe(self.hold(claim.clone(), slot).instrument(span)).catch_unwind().await;
                if held.is_err() {
                    self.panicked(&claim).await;
                }
            }
            // Nothing due, or somebody else has it.
            Ok(None) => {}
            Err(error) => tracing::warn!({ field::ERROR } = %error, "a conversation could not be claimed"),
        }
    }
}

impl Turns {
    /// Passes over a claim until it ends.
    async fn hold(&self, claim: Claimed, slot: Slot) {
        let _in_flight = InFlight::enter();
        // A conversation whose claims keep ending without a word runs once with no other turn beside it.
        let _slot = if claim.claims >= i64::from(CRASH_CLAIMS) { slot.alone().await } else { slot };
        let mut claim = claim;
        loop {
            let guardrails = self.desk.guardrails();
            let pass = match self.pass(&claim, guardrails.clone()).await {
                Ok(pass) => pass,
                Err(error) => self.give_up(&claim, &error).await,
            };
            match pass {
                Pass::Committed(Some(more)) => {
                    let (held, settle) = *more;
                    claim = held;
                    if !self.settle(&claim, settle).await {
                        break;
                    }
                }
                Pass::Committed(None) => break,
                Pass::Left(exit) => {
                    if exit == Exit::Zombie {
                        self.lost_alive(&claim).await;
                    }
                    self.note(&claim, exit, Some(guardrails.policy().version())).await;
                    break;
                }
            }
        }
    }

    async fn lost_alive(&self, claim: &Claimed) {
        metrics::counter!(names::TURNS, "outcome" => "zombie").increment(1);
        tracing::warn!({ field::OUTCOME } = "zombie", "the claim was lost; its work is discarded");
        if let Err(error) = self.desk.store.lost_alive(claim).await {
            tracing::warn!({ field::ERROR } = %error, "a lost claim counts as a crash");
        }
    }

    /// Keeps for the decision path how a claim ended that committed nothing. A note that cannot be written is a gap in
    /// the path and nothing worse.
    async fn note(&self, claim: &Claimed, exit: Exit, policy: Option<&str>) {
        let Some(note) = exit.note(policy) else { return };
        if let Err(error) = self.desk.store.note(claim, note).await {
            tracing::warn!({ field::ERROR } = %error, "how a claim ended could not be noted");
        }
    }

    /// The turn's own code failed. Its claim counts as one that ended without a word, so that a message which always
    /// does this is parked; but it is not kept alive by a worker that lives on.
    async fn panicked(&self, claim: &Claimed) {
        metrics::counter!(names::TURNS, "outcome" => "panicked").increment(1);
        tracing::error!({ field::CONVERSATION } = %claim.conversation, { field::OUTCOME } = "panicked", "a turn failed");
        if let Err(error) = self.desk.store.hand_back(claim, HandBack::Crashed).await {
            tracing::error!({ field::ERROR } = %error, "a failed turn's claim is kept until this worker ends");
        }
        self.note(claim, Exit::Panicked, None).await;
    }

    /// One turn over everything pending, under the policy that is in force when it begins.
    async fn pass(&self, claim: &Claimed, guardrails: Arc<Guardrails>) -> Result<Pass, StoreError> {
        let desk = &*self.desk;
        let mut taken = desk.store.pending(claim).await?;
        if let Some(at) = desk.store.awaited_until(claim, &taken) {
            desk.store.hand_back(claim, HandBack::Until(at)).await?;
            desk.turns.ring(claim.conversation, until(claim.at, at));
            tracing::info!({ field::OUTCOME } = "awaits_predecessor", "a named predecessor has not come in");
            return Ok(Pass::Left(Exit::AwaitsPredecessor(at)));
        }
        if claim.one_by_one {
            taken.truncate(1);
        }
        let trace = taken.last().and_then(|message| message.trace).unwrap_or_else(TraceContext::start).child();
        tracing::Span::current().record(field::TRACE, trace.trace_id());
        let talk = Talk::on(claim.source.as_str());
        let (chain, id, path) = (desk.chain.clone(), TurnId::random(), Path::default());
        let mut turn = Turn { desk, guardrails, chain, claim, id, taken, trace, path, talk };
        if turn.taken.is_empty() {
            desk.store.hand_back(claim, HandBack::Uncounted).await?;
            return Ok(Pass::Left(Exit::Idle));
        }
        if claim.claims > 1 {
            desk.store.note_crash(claim, &turn.events(), CRASHED).await?;
        }
        if claim.claims > i64::from(CRASH_CLAIMS) {
            return turn.park(Class::Crash, "every worker that took it up ended without a word").await;
        }
        turn.look_back().await?;
        let Some(plan) = turn.screen_and_route() else {
            return turn.park(Class::Poison, "its body cannot be opened as a message").await;
        };
        if let Some(wait) = plan.defer() {
            return turn.put_off(wait).await;
        }
        match plan.route() {
            Route::Assistant(questions) => {
                let questions = questions.clone();
                turn.answer(plan, &questions, self.stop.clone()).await
            }
            Route::Policy => turn.end(&plan, None, None, "policy").await,
            Route::Queue(_) => turn.end(&plan, None, None, "handed_off").await,
            Route::Person => turn.end(&plan, None, None, "person_has_floor").await,
        }
    }

    /// Waits for a burst that began during the turn to finish; false when the worker drains and the claim went back.
    async fn settle(&self, claim: &Claimed, quiet: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.wait() => {
                if let Err(error) = self.desk.store.hand_back(claim, HandBack::Uncounted).await {
                    tracing::warn!({ field::ERROR } = %error, "a claim could not be handed back; its lease will run out");
                }
                false
            }
            () = tokio::time::sleep(quiet) => true,
        }
    }

    async fn much_later(&self, claim: &Claimed) -> HandBack {
        match self.desk.store.now().await {
            Ok(now) => HandBack::Retry { at: now + HOPELESS, counted: 0, one_by_one: claim.one_by_one },
            Err(_) => HandBack::Uncounted,
        }
    }

    /// The store failed in mid-turn. Nothing of the turn counts; the claim goes back as if it had not been, as soon
    /// as the store answers; a drain lets it run out.
    async fn give_up(&self, claim: &Claimed, error: &StoreError) -> Pass {
        tracing::error!({ field::ERROR } = %error, { field::OUTCOME } = "store_failed", "a turn could not go on");
        metrics::counter!(names::TURNS, "outcome" => "store_failed").increment(1);
        let how = match error {
            StoreError::Unavailable(_) => HandBack::Uncounted,
            // Its key is not here, or does not open: not even parking could be written down. It waits for the key.
            StoreError::Sealed(_) | StoreError::Erased => self.much_later(claim).await,
            // Not a passing state: it counts as a claim without an end, so that the message is parked in the end; and
            // where that fails too, it must not keep every worker busy.
            StoreError::Configuration(_) | StoreError::Broken(_) | StoreError::Refused(_) | StoreError::Absent(..) => {
                if claim.claims > i64::from(CRASH_CLAIMS) {
                    self.much_later(claim).await
                } else {
                    HandBack::Crashed
                }
            }
        };
        // However long the outage: a lease that only ran out would count as a crash. The fence makes it safe.
        while let Err(error) = self.desk.store.hand_back(claim, how).await {
            tracing::warn!({ field::ERROR } = %error, "a claim could not be handed back yet");
            if self.stop.is_raised() {
                break;
            }
            tokio::time::sleep(self.desk.timing.sweep).await;
        }
        Pass::Left(Exit::StoreFailed)
    }
}

impl Turn<'_> {
    /// Reads every pending message and decides who answers; `None` when one of them is no message.
    fn screen_and_route(&mut self) -> Option<Plan> {
        let guardrails = &self.guardrails;
        let talk = &mut self.talk;
        let read = |message: &Taken| {
            let reading = guardrails.read(message.content.as_ref()?, talk);
            Some(Pending { event_id: message.event_id, reading })
        };
        let pending: Vec<Pending> = self.taken.iter().map(read).collect::<Option<_>>()?;
        let locale = self.claim.locale.as_deref().unwrap_or_else(|| guardrails.policy().default_locale());
        let plan = handoff::route(self.claim.floor, &pending, locale);
        let plan = if self.courtesy_is_due() { plan.courteous() } else { plan };
        for message in &pending {
            self.path.push(PathStep::screen(message, guardrails.policy().version()));
        }
        let (route, locale) = (route_word(plan.route()), plan.locale().to_owned());
        self.path.push(PathStep::Route { route, locale, floor: self.claim.floor });
        Some(plan)
    }

    /// Learns what rules ask about besides the texts, and hears what was said before, if one does.
    async fn look_back(&mut self) -> Result<(), StoreError> {
        if self.guardrails.looks_around() {
            let first = self.taken.iter().map(|message| message.received_at).min().unwrap_or(self.claim.at);
            let circumstances = self.desk.store.circumstances(self.claim, first).await?;
            self.path.push(PathStep::Circumstances { known: circumstances.clone() });
            self.talk = std::mem::take(&mut self.talk).under(circumstances);
        }
        if self.guardrails.looks_back() {
            for line in self.desk.store.history(self.claim, EARLIER_LINES).await? {
                self.talk.hear(&line);
            }
        }
        Ok(())
    }

    /// The contact writes faster than a rule lets us answer: everything pending waits together, so that nothing is lost,
    /// answered twice or out of order, and no attempt is counted. The holding text says so to whoever waits long.
    async fn put_off(self, wait: Duration) -> Result<Pass, StoreError> {
        let at = self.desk.store.now().await? + wait;
        self.desk.store.hand_back(self.claim, HandBack::Until(at)).await?;
        self.desk.turns.ring(self.claim.conversation, wait);
        metrics::counter!(names::TURNS, "outcome" => "put_off").increment(1);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::info!({ field::OUTCOME } = "put_off", { field::MILLIS } = millis, "a contact writes too fast");
        Ok(Pass::Left(Exit::PutOff(at)))
    }

    /// The events of this turn.
    fn events(&self) -> Vec<EventId> {
        self.taken.iter().map(|message| message.event_id).collect()
    }
}

/// The floor that a plan leaves.
const fn floor_after(route: &Route) -> Option<Floor> {
    match route {
        Route::Queue(_) => Some(Floor::Queued),
        Route::Assistant(_) | Route::Policy | Route::Person => None,
    }
}
