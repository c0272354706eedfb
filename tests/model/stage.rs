//! The stage: where exactly one actor moves at a time, from one point to the next, when and how the schedule says.
//!
//! An actor is a future of the real worker code. It stops at a point wherever another process could come between:
//! before every statement and transaction of the store, at the model, at the channel, at an ack. Whoever polls it says
//! how that point ends. Inside a transaction nobody stops, since SQLite lets one writer in.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use common::store::{Passing, StoreError, Tap};

use super::variants::Variant;

/// How a point ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should.
    Fine,
    /// Badly; the point chooses among its failures by this number.
    Spoilt(u8),
}

/// Where an actor can stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Store(Passing),
    /// Before a request reaches the model.
    Model,
    /// Before a send leaves.
    Channel,
    /// The provider has the send, and its answer is on the way.
    ChannelAnswer,
    /// Before the queue hears of an ack.
    Ack,
}

impl Point {
    /// Whether the answer comes from outside the store.
    pub(super) const fn is_outside(self) -> bool {
        !matches!(self, Self::Store(_))
    }

    pub(super) fn word(self) -> String {
        match self {
            Self::Store(Passing::Transaction) => "a transaction".to_owned(),
            Self::Store(Passing::Read(sql) | Passing::Write(sql)) => {
                let words: Vec<&str> = sql.split_whitespace().collect();
                let text = words.join(" ");
                text.chars().take(64).collect()
            }
            Self::Model => "the model's answer".to_owned(),
            Self::Channel => "the channel's taking of a send".to_owned(),
            Self::ChannelAnswer => "the channel's answer".to_owned(),
            Self::Ack => "an ack".to_owned(),
        }
    }
}

/// How an actor looks after it was let move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It stands at a point.
    At(Point),
    /// It waits for time to pass.
    Asleep,
    Ended,
}

/// Tables that the watch looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) conversations: bool,
    pub(super) messages: bool,
    pub(super) sends: bool,
    pub(super) turns: bool,
}

impl Touched {
    fn note(&mut self, sql: &str) {
        let mut words = sql.split_whitespace();
        let table = match words.next() {
            Some("UPDATE") => words.next(),
            Some("INSERT" | "DELETE") => words.nth(1),
            Some(_) | None => return,
        };
        match table {
            Some("conversation") => self.conversations = true,
            Some("inbox") => self.messages = true,
            Some("outbox") => self.sends = true,
            Some("turn") => self.turns = true,
            Some(_) | None => {}
        }
    }

    pub(super) const fn any(self) -> bool {
        self.conversations || self.messages || self.sends || self.turns
    }
}

/// What the points share.
#[derive(Debug, Default)]
struct Backstage {
    /// Whether anybody is directed; otherwise every point ends well at once.
    directed: bool,
    actor: usize,
    tickets: u64,
    /// Every actor's points that have not ended, the innermost last.
    standing: HashMap<usize, Vec<(u64, Point)>>,
    granted: Option<(u64, Outcome)>,
    in_store: bool,
    /// The tables that were written to.
    touched: Touched,
    written: Touched,
    lose: bool,
    step: u64,
    /// The step in which an actor last read what is pending.
    read_pending: HashMap<usize, u64>,
    variant: Variant,
    /// How often the variant's text was used.
    swapped: u64,
    /// Faults by kind.
    faults: HashMap<&'static str, u64>,
}

/// The stage of one schedule after another.
#[derive(Debug)]
pub(super) struct Stage(Mutex<Backstage>);

impl Stage {
    pub(super) fn new(variant: Variant) -> Self {
        Self(Mutex::new(Backstage { variant, ..Backstage::default() }))
    }

    fn backstage(&self) -> MutexGuard<'_, Backstage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty stage for the next schedule; faults are counted on.
    pub(super) fn clear(&self) {
        let mut inner = self.backstage();
        let (variant, swapped, faults) = (inner.variant, inner.swapped, std::mem::take(&mut inner.faults));
        *inner = Backstage { variant, swapped, faults, ..Backstage::default() };
    }

    pub(super) fn variant(&self) -> Variant {
        self.backstage().variant
    }

    pub(super) fn swapped(&self) -> u64 {
        self.backstage().swapped
    }

    pub(super) fn fault(&self, kind: &'static str) {
        *self.backstage().faults.entry(kind).or_default() += 1;
    }

    pub(super) fn faults(&self) -> HashMap<&'static str, u64> {
        self.backstage().faults.clone()
    }

    pub(super) fn step(&self) -> u64 {
        self.backstage().step
    }

    /// The actor that moves.
    pub(super) fn actor(&self) -> usize {
        self.backstage().actor
    }

    pub(super) fn read_pending(&self, actor: usize) -> Option<u64> {
        self.backstage().read_pending.get(&actor).copied()
    }

    /// What was written since this was last asked.
    pub(super) fn written(&self) -> Touched {
        std::mem::take(&mut self.backstage().written)
    }

    /// Lets one actor move from where it stands to where it stops next.
    pub(super) async fn advance(
        &self,
        actor: usize,
        future: &mut (impl Future<Output = ()> + Unpin + ?Sized),
        outcome: Outcome,
    ) -> Rest {
        {
            let mut inner = self.backstage();
            inner.directed = true;
            inner.actor = actor;
            inner.step += 1;
            inner.granted =
                inner.standing.get(&actor).and_then(|points| points.last()).map(|(ticket, _)| (*ticket, outcome));
        }
        let moved = poll_fn(|context| {
            if std::pin::Pin::new(&mut *future).poll(context).is_ready() {
                return Poll::Ready(Rest::Ended);
            }
            let inner = self.backstage();
            if inner.in_store {
                return Poll::Pending;
            }
            let point = inner.standing.get(&actor).and_then(|points| points.last());
            Poll::Ready(point.map_or(Rest::Asleep, |(_, point)| Rest::At(*point)))
        });
        let rest = tokio::task::unconstrained(moved).await;
        let mut inner = self.backstage();
        inner.directed = false;
        inner.granted = None;
        rest
    }

    /// Where an actor stands, if it stands.
    pub(super) fn point(&self, actor: usize) -> Option<Point> {
        self.backstage().standing.get(&actor).and_then(|points| points.last()).map(|(_, point)| *point)
    }

    /// Stops here until the schedule says how this point ends.
    pub(super) async fn stop_at(&self, point: Point) -> Outcome {
        let (actor, ticket) = {
            let mut inner = self.backstage();
            if !inner.directed {
                return Outcome::Fine;
            }
            inner.tickets += 1;
            let (actor, ticket) = (inner.actor, inner.tickets);
            inner.standing.entry(actor).or_default().push((ticket, point));
            (actor, ticket)
        };
        let _place = Place { stage: self, actor, ticket };
        poll_fn(|_| {
            let mut inner = self.backstage();
            match inner.granted {
                Some((granted, outcome)) if granted == ticket => {
                    inner.granted = None;
                    Poll::Ready(outcome)
                }
                Some(_) | None => Poll::Pending,
            }
        })
        .await
    }
}

/// An actor's standing at a point; gone with whoever stood there.
struct Place<'a> {
    stage: &'a Stage,
    actor: usize,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(points) = self.stage.backstage().standing.get_mut(&self.actor) {
            points.retain(|(ticket, _)| *ticket != self.ticket);
        }
    }
}

/// How the query for pending messages begins: what was known to a turn is what was there when it ran.
const READS_PENDING: &str = "SELECT p.id AS id, p.body";

#[async_trait]
impl Tap for Stage {
    async fn before(&self, passing: Passing) -> Result<(), StoreError> {
        let outcome = self.stop_at(Point::Store(passing)).await;
        let mut inner = self.backstage();
        if !inner.directed {
            return Ok(());
        }
        let writes = !matches!(passing, Passing::Read(_));
        match outcome {
            Outcome::Spoilt(how) if !writes || how % 2 == 0 => {
                *inner.faults.entry("store away").or_default() += 1;
                return Err(StoreError::Unavailable("as the schedule wants".to_owned()));
            }
            Outcome::Spoilt(_) => inner.lose = true,
            Outcome::Fine => {}
        }
        if matches!(passing, Passing::Read(sql) if sql.starts_with(READS_PENDING)) {
            let (actor, step) = (inner.actor, inner.step);
            inner.read_pending.insert(actor, step);
        }
        inner.in_store = true;
        Ok(())
    }

    fn instead(&self, sql: &'static str) -> &'static str {
        let mut inner = self.backstage();
        let instead = inner.variant.instead(sql);
        if instead != sql {
            inner.swapped += 1;
        }
        inner.touched.note(instead);
        instead
    }

    fn after(&self, done: bool) -> Result<(), StoreError> {
        let mut inner = self.backstage();
        inner.in_store = false;
        let touched = std::mem::take(&mut inner.touched);
        if done && touched.any() {
            inner.written = touched;
        }
        if std::mem::take(&mut inner.lose) && done {
            *inner.faults.entry("store's answer lost").or_default() += 1;
            return Err(StoreError::Unavailable("its answer was lost, as the schedule wants".to_owned()));
        }
        Ok(())
    }
}
