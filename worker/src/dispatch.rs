//! Dispatch: bounded slots, filled by rings and by a sweep that trusts no ring.
//!
//! Turns and deliveries are two instances of it. A ring that finds no free slot is forgotten: as soon as a slot is
//! free, the sweep asks the store, longest waiting first, so a flood of rings can starve nobody. A conversation is
//! served once at a time in a process: when the store is slow, a sweep finds again what was not claimed yet, and
//! asking for it again would make the store slower still.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use common::domain::ConversationId;
use common::shutdown::Stop;
use common::store::StoreError;
use common::telemetry::field;
use futures_util::FutureExt;
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
    /// Absent only once the slots are closed, which they never are.
    permit: Option<OwnedSemaphorePermit>,
    slots: Arc<Semaphore>,
    size: u32,
}

impl Slot {
    /// The slot of a process that has only this one.
    #[must_use]
    pub fn only() -> Self {
        Self { permit: None, slots: Arc::new(Semaphore::new(1)), size: 1 }
    }

    /// Gives this slot up and waits until all are free: the conversation runs alone in this process. Two that want to
    /// be alone at once take turns, since neither keeps a slot while it waits.
    pub async fn alone(self) -> Self {
        let Self { permit, slots, size } = self;
        drop(permit);
        let all = slots.clone().acquire_many_owned(size).await.ok();
        Self { permit: all, slots, size }
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
    running: JoinSet<ConversationId>,
    /// What is being served, and whether it was rung for meanwhile.
    serving: HashMap<ConversationId, bool>,
}

impl Dispatch {
    /// `size` slots, swept every `sweep`.
    #[must_use]
    pub fn new(ear: Ear, size: u32, sweep: Duration) -> Self {
        let slots = Arc::new(Semaphore::new(size as usize));
        let (freed, running) = (Arc::new(Notify::new()), JoinSet::new());
        Self { ear, slots, size, sweep, freed, running, serving: HashMap::new() }
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
                Some(Ok(ended)) = self.running.join_next(), if !self.running.is_empty() => {
                    backlog |= !self.ended(&work, ended);
                }
                conversation = self.ear.next() => backlog |= !self.ring(&work, conversation),
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
                    if !self.serving.contains_key(&conversation) {
                        self.dispatch(work, conversation);
                    }
                }
                full
            }
            Err(error) => {
                tracing::warn!({ field::ERROR } = %error, "the sweep could not ask the store");
                false
            }
        }
    }

    /// Serves a conversation that was rung for, now or again after what is under way; false when no slot is free.
    fn ring<W: Work>(&mut self, work: &Arc<W>, conversation: ConversationId) -> bool {
        if let Some(again) = self.serving.get_mut(&conversation) {
            *again = true;
            return true;
        }
        self.dispatch(work, conversation)
    }

    /// A service has ended, and begins again if it was rung for meanwhile; false when no slot is free for that.
    fn ended<W: Work>(&mut self, work: &Arc<W>, conversation: ConversationId) -> bool {
        match self.serving.remove(&conversation) {
            Some(true) => self.dispatch(work, conversation),
            Some(false) | None => true,
        }
    }

    /// Serves a conversation in a slot of its own; false when none is free.
    fn dispatch<W: Work>(&mut self, work: &Arc<W>, conversation: ConversationId) -> bool {
        let Ok(permit) = self.slots.clone().try_acquire_owned() else { return false };
        let slot = Slot { permit: Some(permit), slots: self.slots.clone(), size: self.size };
        let (work, freed) = (work.clone(), self.freed.clone());
        self.serving.insert(conversation, false);
        self.running.spawn(async move {
            if AssertUnwindSafe(work.serve(conversation, slot)).catch_unwind().await.is_err() {
                tracing::error!({ field::CONVERSATION } = %conversation, { field::OUTCOME } = "panicked", "a service ended badly");
            }
            freed.notify_one();
            conversation
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::bell;

    /// Work that is always found and never ends before it is let go.
    struct Endless {
        conversation: ConversationId,
        begun: AtomicUsize,
        found: Notify,
        let_go: Notify,
    }

    impl Endless {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                conversation: ConversationId::random(),
                begun: AtomicUsize::new(0),
                found: Notify::new(),
                let_go: Notify::new(),
            })
        }
    }

    /// Work that is always found and always fails.
    struct Failing(ConversationId, AtomicUsize);

    impl Work for Failing {
        async fn find(&self, _limit: usize) -> Result<Vec<ConversationId>, StoreError> {
            Ok(vec![self.0])
        }

        async fn serve(&self, _conversation: ConversationId, _slot: Slot) {
            self.1.fetch_add(1, Ordering::SeqCst);
            panic!("as the test wants");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_panics_gives_its_slot_back_and_its_conversation_is_served_again() {
        let (_bell, ear) = bell::bell();
        let (stopper, stop) = common::shutdown::channel();
        let work = Arc::new(Failing(ConversationId::random(), AtomicUsize::new(0)));
        let running = tokio::spawn(Dispatch::new(ear, 1, Duration::from_secs(1)).run(work.clone(), stop));
        let thrice = async {
            while work.1.load(Ordering::SeqCst) < 3 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), thrice).await.expect("its slot is free again");
        stopper.stop();
        running.await.unwrap();
    }

    impl Work for Endless {
        async fn find(&self, _limit: usize) -> Result<Vec<ConversationId>, StoreError> {
            self.found.notify_one();
            Ok(vec![self.conversation])
        }

        async fn serve(&self, _conversation: ConversationId, _slot: Slot) {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.let_go.notified().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_is_served_once_at_a_time_however_often_it_is_found() {
        let (_bell, ear) = bell::bell();
        let (stopper, stop) = common::shutdown::channel();
        let work = Endless::new();
        let running = tokio::spawn(Dispatch::new(ear, 8, Duration::from_secs(1)).run(work.clone(), stop));
        for _ in 0..5 {
            work.found.notified().await;
        }
        assert_eq!(work.begun.load(Ordering::SeqCst), 1);
        work.let_go.notify_one();
        for _ in 0..2 {
            work.found.notified().await;
        }
        assert_eq!(work.begun.load(Ordering::SeqCst), 2, "and again once it has ended");
        stopper.stop();
        work.let_go.notify_one();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn two_that_want_to_be_alone_take_turns() {
        let slots = Arc::new(Semaphore::new(4));
        let slot = || Slot { permit: slots.clone().try_acquire_owned().ok(), slots: slots.clone(), size: 4 };
        let (first, second) = (slot(), slot());
        let first = tokio::spawn(async move { drop(first.alone().await) });
        let second = tokio::spawn(async move { drop(second.alone().await) });
        let both = async { first.await.and(second.await) };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("neither waits for ever").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_during_a_service_is_answered_by_another_after_it() {
        let (bell, ear) = bell::bell();
        let (stopper, stop) = common::shutdown::channel();
        let work = Endless::new();
        // The first sweep begins it, and the next is far away.
        let running = tokio::spawn(Dispatch::new(ear, 8, Duration::from_secs(3_600)).run(work.clone(), stop));
        work.found.notified().await;
        bell.ring(work.conversation, Duration::ZERO);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(work.begun.load(Ordering::SeqCst), 1);
        work.let_go.notify_one();
        tokio::time::timeout(Duration::from_secs(60), async {
            while work.begun.load(Ordering::SeqCst) < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it is served again");
        stopper.stop();
        work.let_go.notify_one();
        running.await.unwrap();
    }
}
