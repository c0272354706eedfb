//! Keeping accounts: beats the intake's clock, looks for the numbers that ingresses vouched for, and shows the ledger's
//! signs as metrics. Every worker does; the store lets one of them look at a time.
//!
//! A beat says that intake runs: this worker has just reached the queue, found a consumer on it (its own, at least),
//! and reaches the store. Where any of that fails there is no beat, and what waits in the queue meanwhile is not lost.

use std::sync::Arc;

use common::metrics as names;
use common::queue::Queue;
use common::shutdown::Stop;
use common::store::{LedgerSigns, StoreError};
use common::telemetry::field;
use metrics::gauge;

use crate::desk::Desk;

/// Keeps accounts until the stop.
pub(crate) async fn keep(desk: Arc<Desk>, queue: Arc<dyn Queue>, mut stop: Stop) {
    let mut tick = crate::chores::every(desk.timing.beat());
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = tick.tick() => {}
        }
        if let Err(error) = round(&desk, queue.as_ref()).await {
            tracing::warn!({ field::ERROR } = %error, "the ledger could not be looked after");
        }
    }
}

async fn round(desk: &Desk, queue: &dyn Queue) -> Result<(), StoreError> {
    if takes_in(queue).await {
        desk.store.intake_runs().await?;
    }
    desk.store.look_for_numbers().await?;
    show(&desk.store.ledger_signs().await?);
    Ok(())
}

/// Whether the queue answers and somebody reads from it, as far as the backend can tell.
async fn takes_in(queue: &dyn Queue) -> bool {
    let depths = queue.depths().await.unwrap_or_default();
    depths.first().is_some_and(|work| work.consumers != Some(0))
}

fn show(signs: &LedgerSigns) {
    let shown = [
        (names::LEDGER_LOST, signs.lost),
        (names::LEDGER_STUCK, signs.stuck),
        (names::LEDGER_UNVOUCHED, signs.unvouched),
        (names::LEDGER_IMBALANCES, signs.imbalances),
        (names::LEDGER_DUPLICATES, signs.duplicates),
        (names::SENDS_UNKNOWN, signs.unknown_sends),
    ];
    for (name, value) in shown {
        gauge!(name).set(value as f64);
    }
    for (age, count) in &signs.pending {
        gauge!(names::PENDING, "age" => *age).set(*count as f64);
    }
    let oldest = signs.oldest_dead_at.map_or(0.0, |at| signs.now.since(at).as_secs_f64());
    gauge!(names::DEAD_OLDEST_SECONDS).set(oldest);
}
