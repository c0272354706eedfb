//! The consuming half of the embedded queue.
//!
//! A task of its own claims for the free slots and hands over, so that `next` may be abandoned at any await without
//! a claimed message being forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::writer::{Claimed, Held, Settled, lane_name};
use super::{LOOK, Shared, unavailable};
use crate::domain::Micros;
use crate::queue::{ABANDONED, Consumer, Delivery, Lane, QueueError, Settle, Tier};

/// The most that one claim takes.
const CLAIM: usize = 64;

/// A consumer of one lane.
pub(super) struct SqliteConsumer {
    deliveries: mpsc::Receiver<Delivery>,
}

impl SqliteConsumer {
    pub(super) fn start(shared: Arc<Shared>, lane: Lane, prefetch: u16) -> Self {
        let prefetch = usize::from(prefetch.max(1));
        let (sender, deliveries) = mpsc::channel(prefetch);
        let feed = Feed { shared, lane, slots: Arc::new(Semaphore::new(prefetch)), deliveries: sender };
        tokio::spawn(feed.run());
        Self { deliveries }
    }
}

#[async_trait]
impl Consumer for SqliteConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    async fn close(&mut self) {
        self.deliveries.close();
        // What was claimed and not handed out is given back by being dropped.
        while self.deliveries.recv().await.is_some() {}
    }
}

/// The claiming task.
struct Feed {
    shared: Arc<Shared>,
    lane: Lane,
    /// One permit for each delivery that may still go out.
    slots: Arc<Semaphore>,
    deliveries: mpsc::Sender<Delivery>,
}

impl Feed {
    async fn run(self) {
        let mut stop = self.shared.stop.clone();
        loop {
            let slot = tokio::select! {
                slot = self.ready() => slot,
                () = self.deliveries.closed() => return,
                () = stop.wait() => return,
            };
            // Never abandoned once begun: what it claims is out.
            let claimed = match slot {
                Ok(slot) => self.claim(slot).await,
                Err(error) => Err(error),
            };
            if let Err(error) = claimed {
                tracing::warn!(queue = "sqlite", error = %error, "nothing can be claimed");
                tokio::time::sleep(ABANDONED).await;
            }
        }
    }

    /// Returns with a free slot once there seems to be something to claim.
    async fn ready(&self) -> Result<OwnedSemaphorePermit, QueueError> {
        let closed = |_| QueueError::Unavailable("it has been closed".into());
        let slot = self.slots.clone().acquire_owned().await.map_err(closed)?;
        self.wait().await?;
        Ok(slot)
    }

    /// Returns once there seems to be something to claim.
    async fn wait(&self) -> Result<(), QueueError> {
        loop {
            let arrived = self.shared.arrived.notified();
            tokio::pin!(arrived);
            // Listening begins before looking, so that no arrival falls between the two.
            arrived.as_mut().enable();
            if self.available().await? {
                return Ok(());
            }
            tokio::select! { () = arrived => {}, () = tokio::time::sleep(LOOK) => {} }
        }
    }

    /// A read that takes no lock: most looks find nothing.
    async fn available(&self) -> Result<bool, QueueError> {
        sqlx::query("SELECT 1 FROM message WHERE lane = $1 AND available_at <= $2 LIMIT 1")
            .bind(lane_name(self.lane))
            .bind(Micros::wall().0)
            .fetch_optional(&self.shared.reader)
            .await
            .map(|row| row.is_some())
            .map_err(|error| unavailable(&error))
    }

    /// Claims for every free slot and hands over.
    async fn claim(&self, first: OwnedSemaphorePermit) -> Result<(), QueueError> {
        let mut slots = vec![first];
        while slots.len() < CLAIM {
            let Ok(slot) = self.slots.clone().try_acquire_owned() else { break };
            slots.push(slot);
        }
        let most = u32::try_from(slots.len()).unwrap_or(1);
        let claimed = self.shared.writer.claim(self.lane, most, self.shared.lease).await?;
        for (message, slot) in claimed.into_iter().zip(slots) {
            // A consumer that is gone drops the delivery, which gives it back.
            let _gone = self.deliveries.send(self.delivery(message, slot)).await;
        }
        Ok(())
    }

    fn delivery(&self, message: Claimed, slot: OwnedSemaphorePermit) -> Delivery {
        let settled = AtomicBool::new(false);
        let held = HeldDelivery { shared: self.shared.clone(), held: message.held, settled, _slot: slot };
        Delivery::new(message.body, message.attempts, message.deliveries > 1, Box::new(held))
    }
}

struct HeldDelivery {
    shared: Arc<Shared>,
    held: Held,
    settled: AtomicBool,
    /// Free again when the delivery is settled or dropped.
    _slot: OwnedSemaphorePermit,
}

impl HeldDelivery {
    async fn settle(&self, settled: Settled) -> Result<bool, QueueError> {
        let held = self.shared.writer.settle(self.held, settled).await?;
        self.settled.store(true, Ordering::Relaxed);
        Ok(held)
    }
}

#[async_trait]
impl Settle for HeldDelivery {
    async fn ack(&self) -> Result<bool, QueueError> {
        self.settle(Settled::Acked).await
    }

    async fn retry(&self, _body: &[u8], attempts: u32, tier: Tier) -> Result<(), QueueError> {
        self.settle(Settled::Retried { attempts, delay: tier.delay() }).await.map(drop)
    }

    async fn bury(&self, _body: &[u8], attempts: u32, reason: &str) -> Result<(), QueueError> {
        self.settle(Settled::Buried { attempts, reason: reason.to_owned() }).await.map(drop)
    }
}

impl Drop for HeldDelivery {
    fn drop(&mut self) {
        if !*self.settled.get_mut() {
            self.shared.writer.give_back(self.held, ABANDONED);
        }
    }
}
