//! What became of every number that this ingress gave out, and how it says so.
//!
//! A number is decided once: confirmed by the queue, or given up. It is a [`Ticket`] until then, and one that is
//! dropped is given up, so that a request that dies half-way leaves nothing undecided. Every few seconds, and at the
//! end, a tally vouches for the numbers up to the first undecided one; what a lost tally would have said, the next one
//! says. Without tallies nobody could miss a message that was confirmed and never arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::domain::{InstanceId, Micros, Span, Tally};
use common::envelope::{Envelope, Header};
use common::metrics as names;
use common::seal::Keyring;
use common::shutdown::Stop;

use crate::outlet::Outlet;

/// The most spans of one tally, so that it stays far below what an envelope may hold.
const MOST: usize = 4_096;

/// The numbers of one instance, and what it has handed over for others.
pub(crate) struct Book {
    instance: InstanceId,
    numbers: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    last: i64,
    /// Given out and undecided.
    open: BTreeSet<i64>,
    /// Up to here a confirmed tally has vouched.
    vouched: i64,
    /// Given up, beyond what has been vouched for.
    given_up: Spans,
    /// Given up once and confirmed after all, by whose number it is.
    recovered: BTreeMap<InstanceId, Spans>,
}

/// One number, undecided.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: i64,
    book: Arc<Book>,
    confirmed: bool,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Book({})", self.instance)
    }
}

impl Ticket {
    /// The number.
    pub(crate) const fn number(&self) -> i64 {
        self.number
    }

    /// The queue has confirmed what carries it.
    pub(crate) fn confirm(mut self) {
        self.confirmed = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut numbers = self.book.numbers();
        if numbers.open.remove(&self.number) && !self.confirmed {
            numbers.given_up.insert(self.number);
        }
    }
}

impl Book {
    pub(crate) fn of(instance: InstanceId) -> Arc<Self> {
        Arc::new(Self { instance, numbers: Mutex::default() })
    }

    /// The next number.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut numbers = self.numbers();
        numbers.last += 1;
        let number = numbers.last;
        numbers.open.insert(number);
        Ticket { number, book: self.clone(), confirmed: false }
    }

    /// The queue has confirmed what was given up before, under this or another instance's number.
    pub(crate) fn recovered(&self, header: &Header) {
        self.numbers().recovered.entry(header.instance).or_default().insert(header.sequence);
    }

    /// Nothing is served any more: what is undecided now will be told to nobody.
    fn close(&self) {
        let mut numbers = self.numbers();
        for number in std::mem::take(&mut numbers.open) {
            numbers.given_up.insert(number);
        }
    }

    /// What is to be told now; nothing before the first number. What was told is told again: a queue that was emptied
    /// may have lost the last message of a quiet day together with the tally that counted it.
    fn drafts(&self, last: bool) -> Vec<(InstanceId, Tally)> {
        let numbers = self.numbers();
        let mut drafts = Vec::new();
        let own = numbers.own(self.instance, last);
        let speaks = numbers.last > 0 || !own.recovered.is_empty();
        drafts.extend(speaks.then_some((self.instance, own)));
        for (instance, spans) in numbers.recovered.iter().filter(|(instance, _)| **instance != self.instance) {
            drafts.push((*instance, Tally { recovered: spans.first(MOST), ..Tally::default() }));
        }
        drafts
    }

    /// The queue has confirmed a draft.
    fn told(&self, instance: InstanceId, tally: &Tally) {
        let mut numbers = self.numbers();
        if instance == self.instance {
            numbers.vouched = numbers.vouched.max(tally.upto);
            numbers.given_up.forget_up_to(tally.upto);
        }
        if let Some(spans) = numbers.recovered.get_mut(&instance) {
            tally.recovered.iter().for_each(|span| spans.remove(*span));
        }
        numbers.recovered.retain(|_, spans| !spans.0.is_empty());
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // Nothing within the lock can stop half-way.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn own(&self, instance: InstanceId, last: bool) -> Tally {
        let mut upto = self.open.first().map_or(self.last, |first| first - 1);
        let given_up = self.given_up.first(MOST + 1);
        if let Some((beyond, _)) = given_up.get(MOST) {
            upto = upto.min(beyond - 1);
        }
        let within =
            given_up.into_iter().filter(|(start, _)| *start <= upto).map(|(start, end)| (start, end.min(upto)));
        let recovered = self.recovered.get(&instance).map(|spans| spans.first(MOST)).unwrap_or_default();
        Tally { from: self.vouched, upto, given_up: within.collect(), recovered, last: last && upto == self.last }
    }
}

/// Numbers as spans, neighbours joined: start to end, both included.
#[derive(Debug, Default)]
struct Spans(BTreeMap<i64, i64>);

impl Spans {
    fn insert(&mut self, number: i64) {
        let before = self.0.range(..=number).next_back().map(|(start, end)| (*start, *end));
        let start = match before {
            Some((_, end)) if end >= number => return,
            Some((start, end)) if end == number - 1 => start,
            _ => number,
        };
        let end = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(start, end);
    }

    fn first(&self, most: usize) -> Vec<Span> {
        self.0.iter().take(most).map(|(start, end)| (*start, *end)).collect()
    }

    /// Takes out a span that was whole in here once; it may have grown since.
    fn remove(&mut self, (first, last): Span) {
        let Some((start, end)) = self.0.range(..=first).next_back().map(|(start, end)| (*start, *end)) else { return };
        if end < last {
            return;
        }
        self.0.remove(&start);
        if start < first {
            self.0.insert(start, first - 1);
        }
        if end > last {
            self.0.insert(last + 1, end);
        }
    }

    fn forget_up_to(&mut self, upto: i64) {
        while let Some((start, end)) = self.0.pop_first() {
            if end > upto {
                self.0.insert(start.max(upto + 1), end);
                return;
            }
        }
    }
}

/// How a book is told.
pub(crate) struct Teller {
    pub(crate) book: Arc<Book>,
    pub(crate) outlet: Outlet,
    pub(crate) keys: Keyring,
    pub(crate) clock: fn() -> Micros,
}

impl Teller {
    /// Tells every so often, until `stop` is raised.
    pub(crate) async fn run(&self, every: Duration, mut stop: Stop) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => self.tell(false).await,
                () = stop.wait() => return,
            }
        }
    }

    /// Tells the rest, once nothing is served any more.
    pub(crate) async fn finish(&self) {
        self.book.close();
        self.tell(true).await;
    }

    /// Tells all that is new. What is not confirmed is told again by the next.
    async fn tell(&self, last: bool) {
        let mut finished = false;
        while self.outlet.ready().is_ok() && !finished {
            let drafts = self.book.drafts(last);
            // One tally holds only so much; there is more to tell only after a full one.
            finished = drafts.iter().all(|(_, tally)| tally.given_up.len() + tally.recovered.len() < MOST);
            for (instance, tally) in drafts {
                let Ok(envelope) = Envelope::tally(instance, tally.clone(), (self.clock)(), &self.keys) else { return };
                let outcome = self.outlet.confirmed(&envelope).await;
                let word = if outcome.is_ok() { "confirmed" } else { "unconfirmed" };
                metrics::counter!(names::TALLIES, "outcome" => word).increment(1);
                match outcome {
                    Ok(()) => self.book.told(instance, &tally),
                    Err(error) => {
                        tracing::debug!(outcome = error.reason(), "a tally was not confirmed; the next one covers it");
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
