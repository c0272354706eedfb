//! The order in which this ingress received things: a count, and for each conversation the message before.
//!
//! Both are given under one lock for all events of a request, so that no two requests can interleave within a
//! conversation. Only messages are remembered as predecessors: a turn waits for a predecessor, and only messages
//! take part in turns.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::domain::{EventId, InstanceId, Kind};
use common::seal::Pseudonym;
use lru::LruCache;

use crate::tally::{Book, Ticket};

/// How many conversations' last messages are remembered: some 10 MB, hours of a busy shop.
const MEMORY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

/// An event's place in the order.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its number, to be decided.
    pub(crate) ticket: Ticket,
    pub(crate) previous: Option<EventId>,
}

/// What the order needs to know of an event.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) event: EventId,
    pub(crate) kind: Kind,
    pub(crate) conversation: Option<Pseudonym>,
}

/// One life of this process, counting.
pub(crate) struct Sequencer {
    pub(crate) instance: InstanceId,
    /// What became of each number.
    pub(crate) book: Arc<Book>,
    order: Mutex<Order>,
}

struct Order {
    messages: LruCache<Pseudonym, Link>,
}

#[derive(Clone, Copy)]
struct Link {
    event: EventId,
    previous: Option<EventId>,
}

impl Sequencer {
    pub(crate) fn start() -> Self {
        let instance = InstanceId::random();
        let order = Order { messages: LruCache::new(MEMORY) };
        Self { instance, book: Book::of(instance), order: Mutex::new(order) }
    }

    /// Places for a request's events, in their order.
    pub(crate) fn place(&self, entries: &[Entry]) -> Vec<Place> {
        let mut order = self.order();
        entries.iter().map(|entry| Place { ticket: self.book.ticket(), previous: order.previous(entry) }).collect()
    }

    /// Takes back an event that was certainly not queued, so that nothing waits for it.
    pub(crate) fn forget(&self, entry: &Entry) {
        let Some(conversation) = &entry.conversation else { return };
        let mut order = self.order();
        let Some(link) = order.messages.get(conversation).copied().filter(|link| link.event == entry.event) else {
            return;
        };
        match link.previous {
            Some(event) => order.messages.put(conversation.clone(), Link { event, previous: None }),
            None => order.messages.pop(conversation),
        };
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // Nothing within the lock can stop half-way, so a poisoned order is still an order.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    /// The message before it, which it follows from now on.
    fn previous(&mut self, entry: &Entry) -> Option<EventId> {
        let conversation = entry.conversation.as_ref()?;
        let previous = match self.messages.get(conversation) {
            // The same message told again at once: it must not wait for itself.
            Some(link) if link.event == entry.event => link.previous,
            Some(link) => Some(link.event),
            None => None,
        };
        if entry.kind == Kind::Message {
            self.messages.put(conversation.clone(), Link { event: entry.event, previous });
        }
        previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, conversation: &str) -> Entry {
        let pseudonym = format!("p1:{}", conversation.repeat(32));
        Entry { event: EventId::random(), kind, conversation: Some(pseudonym.parse().unwrap()) }
    }

    #[test]
    fn messages_of_a_conversation_name_the_one_before_and_other_kinds_are_never_named() {
        let sequencer = Sequencer::start();
        let [a, status, b] = [Kind::Message, Kind::Status, Kind::Message].map(|kind| entry(kind, "a"));
        let other = entry(Kind::Message, "b");
        let places = sequencer.place(&[a.clone(), status, other, b]);
        assert_eq!(places.iter().map(|place| place.ticket.number()).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(
            places.iter().map(|place| place.previous).collect::<Vec<_>>(),
            [None, Some(a.event), None, Some(a.event)]
        );
    }

    #[test]
    fn a_message_told_again_does_not_wait_for_itself() {
        let sequencer = Sequencer::start();
        let (first, second) = (entry(Kind::Message, "a"), entry(Kind::Message, "a"));
        sequencer.place(&[first.clone(), second.clone()]);
        assert_eq!(sequencer.place(&[second])[0].previous, Some(first.event));
    }

    #[test]
    fn a_message_that_was_not_queued_is_nobodys_predecessor() {
        let sequencer = Sequencer::start();
        let [first, failed, next] = [0; 3].map(|_| entry(Kind::Message, "a"));
        sequencer.place(&[first.clone(), failed.clone()]);
        sequencer.forget(&failed);
        assert_eq!(sequencer.place(std::slice::from_ref(&next))[0].previous, Some(first.event));
        sequencer.forget(&failed);
        assert_eq!(sequencer.place(&[entry(Kind::Message, "a")])[0].previous, Some(next.event));
    }
}
