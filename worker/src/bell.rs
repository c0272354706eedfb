//! Bells: hints that a conversation has work, now or at a moment. A lost ring costs a sweep, never a message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use common::domain::ConversationId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// The side that rings.
#[derive(Clone, Debug)]
pub struct Bell(UnboundedSender<(Instant, ConversationId)>);

/// The side that hears.
#[derive(Debug)]
pub struct Ear {
    rings: UnboundedReceiver<(Instant, ConversationId)>,
    due: BinaryHeap<Reverse<(Instant, ConversationId)>>,
}

/// A new bell.
#[must_use]
pub fn bell() -> (Bell, Ear) {
    let (sender, rings) = unbounded_channel();
    (Bell(sender), Ear { rings, due: BinaryHeap::new() })
}

impl Bell {
    /// Rings for a conversation after a while; at once for zero.
    pub fn ring(&self, conversation: ConversationId, after: Duration) {
        // An error means that the listener has stopped: a draining worker hears no more.
        let _deaf = self.0.send((Instant::now() + after, conversation));
    }
}

impl Ear {
    /// The next conversation whose moment has come.
    pub async fn next(&mut self) -> ConversationId {
        loop {
            let wait = self.due.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                biased;
                Some(ring) = self.rings.recv() => self.due.push(Reverse(ring)),
                () = sleep_until(wait) => {
                    if let Some(Reverse((_, conversation))) = self.due.pop() {
                        return conversation;
                    }
                }
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rings_are_heard_in_the_order_of_their_moments() {
        let (bell, mut ear) = bell();
        let [later, now, soon] = [ConversationId::random(), ConversationId::random(), ConversationId::random()];
        bell.ring(later, Duration::from_secs(10));
        bell.ring(soon, Duration::from_secs(1));
        bell.ring(now, Duration::ZERO);
        assert_eq!([ear.next().await, ear.next().await, ear.next().await], [now, soon, later]);
    }
}
