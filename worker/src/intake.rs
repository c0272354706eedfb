//! Intake: the broker carries an event to the store, and from there the store is the truth.
//!
//! Apart from turn slots, so that a slow model never keeps a take-over or a status waiting. One transaction, then ack,
//! then ring. Only a store outage pauses it: the delivery is kept and tried again. What this build cannot open waits
//! in the retry tiers, for another worker may; what no retry can heal goes to the dead queue, and from there into the
//! store.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Inbound, Kind};
use common::envelope::{Envelope, EnvelopeError, Header};
use common::metrics as names;
use common::queue::{Consumer, Delivery, QueueError, Tier};
use common::shutdown::Stop;
use common::steps::{self, Step};
use common::store::{Admission, Admitted, StoreError};
use common::telemetry::field;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::desk::Desk;

/// Deliveries taken in at once. Each holds a database connection for one short transaction.
const WIDTH: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a lane does with an event that cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The work lane: retry tiers, then the dead queue.
    Forward,
    /// The dead lane: keep it in the store as a dead letter.
    Keep,
}

/// Takes deliveries in until the stop is raised, then finishes what it holds.
pub async fn run(desk: Arc<Desk>, mut consumer: Box<dyn Consumer>, otherwise: Otherwise, mut stop: Stop) {
    let width = Arc::new(Semaphore::new(WIDTH));
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(place) = width.clone().acquire_owned().await else { break };
        let delivery = tokio::select! {
            biased;
            () = stop.wait() => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        let (desk, stop) = (desk.clone(), stop.clone());
        running.spawn(async move {
            take_in(&desk, delivery, otherwise, stop).await;
            drop(place);
        });
    }
    consumer.close().await;
    while running.join_next().await.is_some() {}
}

/// Takes one delivery in, or says why not to the queue. Dropped half-way, it leaves the delivery to come again.
pub async fn take_in(desk: &Desk, delivery: Delivery, otherwise: Otherwise, stop: Stop) {
    let opened = Envelope::decode(delivery.body.clone()).and_then(|envelope| {
        let inbound = envelope.open(&desk.queue_keys)?;
        Ok((envelope, inbound))
    });
    let settled = match opened {
        Ok((envelope, inbound)) => {
            let header = envelope.header();
            let span = tracing::info_span!(
                "intake",
                { field::TRACE } = header.trace.trace_id(),
                { field::EVENT } = %header.event_id,
                { field::KIND } = %header.kind,
                { field::SOURCE } = %header.source,
            );
            admit(desk, delivery, header, &inbound, otherwise, stop).instrument(span).await
        }
        Err(error) => refuse(desk, delivery, &error, otherwise).await,
    };
    if let Err(error) = settled {
        tracing::warn!({ field::ERROR } = %error, "a delivery could not be settled; it will come again");
    }
}

async fn admit(
    desk: &Desk,
    delivery: Delivery,
    header: &Header,
    inbound: &Inbound,
    otherwise: Otherwise,
    mut stop: Stop,
) -> Result<(), QueueError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match desk.store.admit(Admission { header, inbound, build: common::build() }).await {
            Ok(admitted) => {
                steps::reached(Step::IntakeCommitted);
                acknowledge(delivery).await?;
                steps::reached(Step::IntakeAcked);
                ring(desk, admitted, header.kind);
                return Ok(());
            }
            Err(StoreError::Unavailable(error)) => {
                tracing::warn!({ field::ERROR } = %error, { field::MILLIS } = pause.as_millis(), "intake pauses");
                tokio::select! {
                    // Unsettled, the delivery goes back to the queue.
                    () = stop.wait() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return not_admitted(desk, delivery, &error, otherwise, header).await,
        }
    }
}

async fn acknowledge(delivery: Delivery) -> Result<(), QueueError> {
    if !delivery.ack().await? {
        // The queue gave it to somebody else already; the store knows it, so that one finds a duplicate.
        metrics::counter!(names::ACKS_LATE).increment(1);
    }
    Ok(())
}

fn ring(desk: &Desk, admitted: Admitted, kind: Kind) {
    metrics::counter!(names::INTAKE, "outcome" => admitted.word(kind)).increment(1);
    tracing::info!({ field::OUTCOME } = admitted.word(kind), "taken in");
    match admitted {
        Admitted::Pending { conversation, settle_after } => desk.turns.ring(conversation, settle_after),
        Admitted::Recorded { conversation } | Admitted::Duplicate { conversation } => {
            if let Some(conversation) = conversation {
                desk.turns.ring(conversation, Duration::ZERO);
                desk.deliveries.ring(conversation, Duration::ZERO);
            }
        }
        Admitted::Dead { .. } | Admitted::Erased | Admitted::Tallied => {}
    }
}

/// The store understood the request and could not do it: not the queue's fault, and not to be lost.
async fn not_admitted(
    desk: &Desk,
    delivery: Delivery,
    error: &StoreError,
    otherwise: Otherwise,
    header: &Header,
) -> Result<(), QueueError> {
    tracing::error!({ field::ERROR } = %error, "an event could not be taken in");
    match otherwise {
        Otherwise::Forward => forward(desk, delivery, Some(header), "intake_failed").await,
        Otherwise::Keep => keep(desk, delivery, Some(header), &error.to_string()).await,
    }
}

async fn refuse(
    desk: &Desk,
    delivery: Delivery,
    error: &EnvelopeError,
    otherwise: Otherwise,
) -> Result<(), QueueError> {
    tracing::error!({ field::ERROR } = %error, "an envelope could not be opened");
    let envelope = Envelope::decode(delivery.body.clone()).ok();
    let header = envelope.as_ref().map(Envelope::header);
    match otherwise {
        Otherwise::Forward if error.may_heal() => forward(desk, delivery, header, "unopened").await,
        Otherwise::Forward => {
            note_detour(desk, header, Duration::ZERO).await;
            delivery.bury("malformed").await
        }
        Otherwise::Keep => keep(desk, delivery, header, &error.to_string()).await,
    }
}

async fn forward(desk: &Desk, delivery: Delivery, header: Option<&Header>, reason: &str) -> Result<(), QueueError> {
    let tier = Tier::after(delivery.attempts);
    note_detour(desk, header, tier.map_or(Duration::ZERO, Tier::delay)).await;
    match tier {
        Some(tier) => delivery.retry(tier).await,
        None => delivery.bury(reason).await,
    }
}

/// Tells the ledger that a message goes back into the queue, so that it is not taken for lost.
async fn note_detour(desk: &Desk, header: Option<&Header>, delay: Duration) {
    let Some(header) = header else { return };
    if let Err(error) = desk.store.note_detour(header, delay).await {
        // Then it shows as lost if it stays away for long, and no longer once it is back.
        tracing::warn!({ field::ERROR } = %error, "a message's way back into the queue could not be noted");
    }
}

async fn keep(desk: &Desk, delivery: Delivery, header: Option<&Header>, error: &str) -> Result<(), QueueError> {
    if header.is_some_and(|header| header.kind == Kind::Tally) {
        // Nobody could answer it, the next one says more, and there would be one letter every ten seconds.
        metrics::counter!(names::TALLIES_DROPPED).increment(1);
        tracing::warn!(
            { field::ERROR } = error,
            "a tally that no worker can open was dropped; is a queue key missing?"
        );
        return acknowledge(delivery).await;
    }
    let error = crate::recovery::normalise(error);
    let kept = async {
        desk.store.keep_undeliverable(header, &delivery.body, &error).await?;
        // Where its event has a row already, its number is noted apart, so that the ledger does not miss it.
        match header {
            Some(header) => desk.store.note_duplicate(header).await,
            None => Ok(()),
        }
    };
    match kept.await {
        Ok(()) => acknowledge(delivery).await,
        Err(error) => {
            tracing::error!({ field::ERROR } = %error, "a dead delivery could not be kept; it stays in the queue");
            tokio::time::sleep(LONGEST_PAUSE).await;
            Ok(())
        }
    }
}
