//! One suite for each door, run on every backend, and what only one backend can show.

mod queue; // the queue door: SQLite and RabbitMQ
mod rabbitmq_supervision; // what becomes of publishers and consumers when the broker misbehaves
mod sqlite_queue; // the embedded queue's file
mod store; // the store door: SQLite and PostgreSQL

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The future's output; a failure if it takes longer than anything may.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Asks again until the answer is yes.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
