//! Deliveries: one sender per conversation, head first. A send begins with a commit and ends with a recorded outcome;
//! what nobody can know is recorded as unknown and closed by policy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::{ConversationId, DeadId, Micros};
use common::metrics as names;
use common::shutdown::Stop;
use common::steps::{self, Step};
use common::store::{Begun, BegunSend, DeliveryClaim, Finished, NewDead, NextSend, StoreError};
use common::telemetry::field;
use tracing::Instrument;

use crate::channels::{Channel, Outgoing, Refusal, RefusalClass, SendOutcome};
use crate::desk::{Desk, until};
use crate::dispatch::{Slot, Work};
use crate::outages::{self, Gate, Leave};
use crate::policy::AfterDead;
use crate::recovery::breaker::Held;
use crate::recovery::{self, Class, Decision, Failure};

/// How much longer than its timeout a begun send may take before it counts as late: the two commits around it.
const GRACE: Duration = Duration::from_secs(5);

/// Deliveries, as a kind of work.
pub struct Deliveries {
    /// The worker's shared parts.
    pub desk: Arc<Desk>,
    /// Raised when the worker drains: the begun send is awaited, the next not begun.
    pub stop: Stop,
}

impl Work for Deliveries {
    async fn find(&self, limit: usize) -> Result<Vec<ConversationId>, StoreError> {
        self.desk.store.deliverable(limit).await
    }

    async fn serve(&self, conversation: ConversationId, _slot: Slot) {
        let span = tracing::info_span!("delivery", { field::CONVERSATION } = %conversation);
        let delivered = async {
            let Some(mut claim) = self.desk.store.claim_delivery(conversation, self.desk.worker).await? else {
                return Ok(());
            };
            steps::reached(Step::DeliverClaimed);
            self.drain(&mut claim).await
        };
        let delivered: Result<(), StoreError> = delivered.instrument(span).await;
        if let Err(error) = delivered {
            tracing::error!({ field::ERROR } = %error, "a delivery could not go on; its claim will run out");
        }
    }
}

impl Deliveries {
    /// Sends until nothing is open, something must wait, or the worker drains.
    async fn drain(&self, claim: &mut DeliveryClaim) -> Result<(), StoreError> {
        let store = &self.desk.store;
        loop {
            let next = if self.stop.is_raised() { NextSend::Nothing } else { store.next_send(claim).await? };
            match next {
                NextSend::Send(id) => {
                    let leave = match self.desk.outages.channel(&claim.source).map(Gate::enter).transpose() {
                        Ok(leave) => leave,
                        Err(held) => return self.hold(claim, held).await,
                    };
                    let asked = Instant::now();
                    match store.begin_send(claim, id, self.desk.timing.send_timeout + GRACE).await? {
                        Begun::Yes(begun) => self.send(claim, *begun, leave, asked).await?,
                        Begun::Superseded => {}
                        Begun::Lost => return Ok(()),
                    }
                }
                NextSend::Wait(at) => {
                    let after = until(store.now().await?, at);
                    store.release_delivery(claim, Some(at)).await?;
                    match self.desk.outages.channel(&claim.source).filter(|gate| gate.holding().is_some()) {
                        Some(gate) => gate.keep(claim.conversation, at),
                        None => self.desk.deliveries.ring(claim.conversation, after),
                    }
                    return Ok(());
                }
                NextSend::Nothing => {
                    if store.release_delivery(claim, None).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The channel is out, so nothing begins; its gate wakes the conversation.
    async fn hold(&self, claim: &mut DeliveryClaim, held: Held) -> Result<(), StoreError> {
        let at = self.desk.store.now().await? + outages::patience(held, (self.desk.dice)());
        self.desk.store.release_delivery(claim, Some(at)).await?;
        if let Some(gate) = self.desk.outages.channel(&claim.source) {
            gate.keep(claim.conversation, at);
        }
        Ok(())
    }

    async fn send(
        &self,
        claim: &DeliveryClaim,
        begun: BegunSend,
        leave: Option<Leave>,
        asked: Instant,
    ) -> Result<(), StoreError> {
        steps::reached(Step::DeliverBegun);
        if asked.elapsed() >= self.desk.timing.lease {
            return self.overslept(claim, &begun, asked).await;
        }
        let outgoing = Outgoing {
            send_id: begun.id,
            conversation: claim.conversation,
            party: claim.party.clone(),
            text: begun.text.clone(),
            locale: begun.locale.clone(),
            in_reply_to: begun.in_reply_to.clone(),
        };
        let sent = Instant::now();
        let end = match self.desk.channels.for_source(&claim.source) {
            // Ours to fix, so it is held like any other setting that is wrong.
            None => self.refused(claim, &begun, &not_configured(), begun.begun_at),
            Some(channel) if window_closed(claim, &begun, &*channel) => {
                self.dead(claim, &begun, Class::Stale, "window_closed")
            }
            Some(channel) => {
                let outcome = channel.send(&outgoing).await;
                if let Some(leave) = leave {
                    leave.report(outages::of_send(&outcome));
                }
                // Not the store's clock: what the provider said must not be lost because the store is slow to tell the time.
                self.ended(claim, &begun, outcome, begun.begun_at + sent.elapsed())
            }
        };
        steps::reached(Step::DeliverAnswered);
        let word = match &end {
            Finished::Accepted { .. } => "accepted",
            Finished::Retry { .. } => "retried",
            Finished::Dead { .. } => "dead",
            Finished::Unknown { .. } => "unknown",
        };
        metrics::counter!(names::SENDS, "source" => claim.source.to_string(), "outcome" => word).increment(1);
        let trace = begun.trace.split('-').nth(1).unwrap_or_default().to_owned();
        tracing::info!({ field::SEND } = %begun.id, { field::OUTCOME } = word, { field::TRACE } = trace, "send ended");
        self.record(claim, &begun, end).await?;
        steps::reached(Step::DeliverRecorded);
        Ok(())
    }

    /// This process stood still between the commit and the first byte, for longer than its claim may have lived: a later
    /// reply may be out by now, or a person have the floor. Nothing was sent; if the row is still ours it may go again,
    /// and if it was given up meanwhile it stays unknown.
    async fn overslept(&self, claim: &DeliveryClaim, begun: &BegunSend, asked: Instant) -> Result<(), StoreError> {
        tracing::warn!({ field::SEND } = %begun.id, { field::OUTCOME } = "overslept", "a begun send was not sent");
        metrics::counter!(names::SENDS, "source" => claim.source.to_string(), "outcome" => "overslept").increment(1);
        let (at, error, class) = (begun.begun_at + asked.elapsed(), "overslept".to_owned(), Class::Transient);
        self.record(claim, begun, Finished::Retry { at, error, class: class.as_str().to_owned(), held: false }).await
    }

    /// Records an outcome that cannot be had again: tried for as long as the claim lives. After that the row is
    /// found as orphaned and becomes unknown.
    async fn record(&self, claim: &DeliveryClaim, begun: &BegunSend, end: Finished) -> Result<(), StoreError> {
        let deadline = tokio::time::Instant::now() + self.desk.timing.lease;
        loop {
            match self.desk.store.finish_send(claim, begun.id, end.clone()).await {
                Err(StoreError::Unavailable(error)) if tokio::time::Instant::now() < deadline => {
                    tracing::warn!({ field::SEND } = %begun.id, { field::ERROR } = error, "an outcome waits for the store");
                    tokio::time::sleep(self.desk.timing.sweep).await;
                }
                finished => return finished,
            }
        }
    }

    fn ended(&self, claim: &DeliveryClaim, begun: &BegunSend, outcome: SendOutcome, now: Micros) -> Finished {
        match outcome {
            SendOutcome::Accepted { provider_id } => Finished::Accepted { provider_id },
            SendOutcome::Unknown { why } => Finished::Unknown { why },
            SendOutcome::Refused(refusal) => self.refused(claim, begun, &refusal, now),
        }
    }

    fn refused(&self, claim: &DeliveryClaim, begun: &BegunSend, refusal: &Refusal, now: Micros) -> Finished {
        let attempts = u32::try_from(begun.attempts).unwrap_or(u32::MAX);
        let failure = Failure::of_refusal(refusal);
        match recovery::decide(&failure, attempts, now.since(begun.created_at), (self.desk.dice)()) {
            Decision::RetryAfter(after) | Decision::OneByOne(after) | Decision::Alone(after) => {
                again(now + after, refusal, false)
            }
            Decision::Hold(after) | Decision::Pause(after) => again(now + after, refusal, true),
            Decision::DeadLetter(_) => self.dead(claim, begun, Class::from(refusal.class), &refusal.code),
        }
    }

    fn dead(&self, claim: &DeliveryClaim, begun: &BegunSend, class: Class, code: &str) -> Finished {
        let letter = NewDead {
            id: DeadId::random(),
            // The store knows which messages die of it.
            event_id: None,
            send_id: Some(begun.id),
            conversation: Some(claim.conversation),
            contact: Some(claim.contact),
            source: claim.source.to_string(),
            stage: "send",
            class: class.as_str().to_owned(),
            error: code.to_owned(),
            attempts: begun.attempts,
            policy: self.desk.guardrails().policy().version().to_owned(),
            build: common::build().to_owned(),
            body: None,
        };
        let hold = self.desk.guardrails().policy().after_dead(class) == AfterDead::Hold;
        Finished::Dead { letter: Box::new(letter), hold }
    }
}

fn again(at: Micros, refusal: &Refusal, held: bool) -> Finished {
    let class = Class::from(refusal.class).as_str().to_owned();
    Finished::Retry { at, error: refusal.code.clone(), class, held }
}

fn not_configured() -> Refusal {
    Refusal { class: RefusalClass::NotConfigured, code: "source_not_configured".to_owned(), retry_after: None }
}

fn window_closed(claim: &DeliveryClaim, begun: &BegunSend, channel: &dyn Channel) -> bool {
    let (Some(window), Some(last)) = (channel.window(), claim.last_inbound_at) else { return false };
    begun.begun_at.since(last) >= window
}
