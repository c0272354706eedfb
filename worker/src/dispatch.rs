//! Dispatch: bounded slots, filled by rings and by a sweep that trusts no ring.
//!
//! Turns and deliveries are two instances of it. A ring that finds no free slot is forgotten: as soon as a slot is
//! free, the sweep asks the store, longest waiting first, so a flood of rings can starve nobody.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::domain::ConversationId;
use common::shutdown::Stop;
use common::store::StoreError;
use common::telemetry::field;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::bell::Ear;

/// A kind of work that conversations have.
pub trait Work: Send + Sync + 'static {
    /// Conversations that have some and that nobody is at.
    fn find(&self, limit: usize) -> impl Future<Output = Result<Vec<ConversationId>, StoreError>> + Send;

    /// Does it, if it can be claimed.
    fn serve(&self, conversation: ConversationId, slot: Slot) -> impl Future<Output = ()> + Send;
}

/// One slot, held while a conversation is served.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    slots: Arc<Semaphore>,
    size: u32,
}

impl Slot {
    /// Waits until every other slot is free and keeps them: the conversation runs alone in this process.
    pub async fn alone(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().acquire_many_owned(self.size.saturating_sub(1)).await.ok()
    }
}

/// Slots for one kind of work.
#[derive(Debug)]
pub struct Dispatch {
    ear: Ear,
    slots: Arc<Semaphore>,
    size: u32,
    sweep: Duration,
    freed: Arc<Notify>,
    running: JoinSet<()>,
}

impl Dispatch {
    /// `size` slots, swept every `sweep`.
    #[must_use]
    pub fn new(ear: Ear, size: u32, sweep: Duration) -> Self {
        let slots = Arc::new(Semaphore::new(size as usize));
        Self { ear, slots, size, sweep, freed: Arc::new(Notify::new()), running: JoinSet::new() }
    }

    /// Serves until the stop is raised, then waits for what is under way.
    pub async fn run<W: Work>(mut self, work: Arc<W>, mut stop: Stop) {
        let mut tick = tokio::time::interval(self.sweep.max(Duration::from_millis(10)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backlog = false;
        loop {
            let freed = self.freed.clone();
            tokio::select! {
                biased;
                () = stop.wait() => break,
                _ = tick.tick() => backlog = self.sweep_once(&work).await,
                () = freed.notified(), if backlog => backlog = self.sweep_once(&work).await,
                conversation = self.ear.next() => backlog |= !self.dispatch(&work, conversation),
                Some(_) = self.running.join_next(), if !self.running.is_empty() => {}
            }
        }
        while self.running.join_next().await.is_some() {}
    }

    /// Fills the free slots from the store; true when there may be more than slots.
    async fn sweep_once<W: Work>(&mut self, work: &Arc<W>) -> bool {
        let free = self.slots.available_permits();
        if free == 0 {
            return true;
        }
        match work.find(free).await {
            Ok(found) => {
                let full = found.len() >= free;
                for conversation in found {
                    self.dispatch(work, conversation);
                }
                full
            }
            Err(error) => {
                tracing::warn!({ field::ERROR } = %error, "the sweep could not ask the store");
                false
            }
        }
    }

    /// Serves a conversation in a slot of its own; false when none is free.
    fn dispatch<W: Work>(&mut self, work: &Arc<W>, conversation: ConversationId) -> bool {
        let Ok(permit) = self.slots.clone().try_acquire_owned() else { return false };
        let slot = Slot { _permit: permit, slots: self.slots.clone(), size: self.size };
        let (work, freed) = (work.clone(), self.freed.clone());
        self.running.spawn(async move {
            work.serve(conversation, slot).await;
            freed.notify_one();
        });
        true
    }
}
