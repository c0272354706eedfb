//! Hands the spool to the queue, oldest first, and forgets what the queue has confirmed.
//!
//! After a failure one event goes alone; while that works their number doubles. A chunk is forgotten only whole, so an
//! end in between hands it over again. What later ones overtook comes before what is read next.

use std::collections::VecDeque;
use std::time::Duration;

use common::domain::Micros;
use common::envelope::Envelope;
use common::metrics as names;
use common::queue::PublishError;
use common::shutdown::Stop;
use futures_util::future::join_all;

use super::Spool;
use super::folder::{Chunk, Kept};
use crate::outlet::Outlet;
use crate::tally::Book;

/// The most events read at once.
const CHUNK: usize = 64;
/// The most events on their way at once. `join_all` begins so many in order, and more than 30 in any.
const WINDOW: usize = 24;
/// With no more than these left, newcomers wait for them to go.
const FEW: u64 = 2 * CHUNK as u64;
/// Rest after a failure, at first; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Drains until `stop` is raised; what is left waits for the next start.
pub(crate) async fn drain(spool: &Spool, outlet: &Outlet, book: &Book, mut stop: Stop) {
    tokio::select! {
        () = Drain { spool, outlet, book, window: 1, pause: FIRST_PAUSE }.run() => {}
        () = stop.wait() => {}
    }
}

struct Drain<'a> {
    spool: &'a Spool,
    outlet: &'a Outlet,
    book: &'a Book,
    window: usize,
    pause: Duration,
}

impl Drain<'_> {
    async fn run(mut self) {
        loop {
            self.show_age();
            self.spool.gate.filled().await;
            let mut drained = 0_u64;
            while let Some(count) = self.some().await {
                drained += count;
                self.spool.gate.close_if_few(FEW);
                self.show_age();
            }
            if drained > 0 {
                tracing::info!(count = drained, "the spool is empty; events go straight to the queue again");
            }
        }
    }

    /// Hands over the next chunk, however long it takes; none when nothing is left.
    async fn some(&mut self) -> Option<u64> {
        while self.outlet.ready().is_err() {
            self.rest().await;
        }
        self.spool.gate.close_if_few(FEW);
        let chunk = match self.spool.next(CHUNK).await {
            Ok(chunk) => chunk?,
            Err(error) => {
                tracing::error!(error = %error, "the spool cannot be read; trying again");
                self.rest().await;
                return Some(0);
            }
        };
        let (count, left) = (chunk.records.len() as u64, self.open(&chunk).await);
        self.hand_over(left).await;
        metrics::counter!(names::SPOOL_DRAINED).increment(count);
        if let Err(error) = self.spool.drained(chunk).await {
            tracing::error!(error = %error, "a drained file of the spool stays; its events will come twice, once each");
        }
        Some(count)
    }

    /// The envelopes of a chunk. What another build wrote, and this one cannot send, is set aside and told.
    async fn open(&self, chunk: &Chunk) -> VecDeque<Envelope> {
        let mut left = VecDeque::with_capacity(chunk.records.len());
        for Kept { at, body } in &chunk.records {
            match Envelope::decode(body.clone()) {
                Ok(envelope) => left.push_back(envelope),
                Err(_) => self.set_aside(*at, body).await,
            }
        }
        left
    }

    async fn set_aside(&self, at: Micros, body: &[u8]) {
        let name = format!("{}-{}", at.0, common::digest::hex_digest(body, 16));
        while let Err(error) = self.spool.set_aside(name.clone(), body.to_vec()).await {
            tracing::error!(error = %error, "an event that this build cannot send cannot be set aside either");
            tokio::time::sleep(LONGEST_PAUSE).await;
        }
    }

    /// Returns when the queue has confirmed all of them.
    async fn hand_over(&mut self, mut left: VecDeque<Envelope>) {
        while !left.is_empty() {
            let batch = left.drain(..self.window.min(left.len())).collect::<Vec<_>>();
            let outcomes = join_all(batch.iter().map(|one| self.outlet.confirmed(one))).await;
            let mut failed = None;
            for (one, outcome) in batch.into_iter().zip(outcomes).rev() {
                match outcome {
                    Ok(()) => self.book.recovered(one.header()),
                    Err(error) => {
                        left.push_front(one);
                        failed = Some(error);
                    }
                }
            }
            match failed {
                None => {
                    self.window = (self.window * 2).min(WINDOW);
                    self.pause = FIRST_PAUSE;
                }
                Some(error) => self.failed(&error).await,
            }
        }
    }

    async fn failed(&mut self, error: &PublishError) {
        tracing::debug!(outcome = error.reason(), "the queue did not take what the spool handed over");
        self.window = 1;
        self.rest().await;
    }

    /// Waits before the next attempt; newcomers join meanwhile.
    async fn rest(&mut self) {
        self.spool.gate.open();
        self.show_age();
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn show_age(&self) {
        let (kept, oldest, _) = self.spool.gate.look();
        let age = oldest.filter(|_| kept > 0).map_or(Duration::ZERO, |oldest| Micros::wall().since(oldest));
        metrics::gauge!(names::SPOOL_OLDEST_SECONDS).set(age.as_secs_f64());
    }
}
