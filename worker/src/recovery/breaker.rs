//! A circuit breaker, as a pure state machine: the clock and the dice come in.
//!
//! | state | a call | becomes |
//! |---|---|---|
//! | closed | goes | open after [`STREAK`] failures in a row, or [`SHARE`] of at least [`LEAST`] within [`WINDOW`]; at once when told to wait |
//! | open | is held until the interval has passed; the first one after it goes as the probe | half-open |
//! | half-open | is held: one probe is under way | closed by an answer; open by a failure, with twice the interval |
//!
//! A probe that ends without a word of the other side (its worker drains, its floor moves) leaves the door to the
//! next. What a call begun before the last change reports is stale and changes nothing, except that a wait which the
//! other side asks for is always kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Class, MOST_RETRY_AFTER};

/// Failures in a row that open it.
pub const STREAK: u32 = 5;
/// The share of failed calls that opens it.
pub const SHARE: f64 = 0.5;
/// The fewest calls of which a share is taken.
pub const LEAST: usize = 20;
/// The time over which the share is taken.
pub const WINDOW: Duration = Duration::from_secs(30);
/// The most calls that are remembered for it.
const REMEMBERED: usize = 256;

/// How long it stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// The first time.
    pub first: Duration,
    /// At most, however often the probe has failed.
    pub most: Duration,
}

/// Where it stands, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Calls go.
    Closed,
    /// One call goes.
    HalfOpen,
    /// No call goes.
    Open,
}

impl Position {
    /// A constant word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A call that may go, to be reported when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    era: u64,
}

/// Whether a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Go(Ticket),
    /// It may not.
    Hold(Held),
}

/// What holds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long until a call goes as the probe; zero when one is under way.
    pub probe_in: Duration,
    /// How long it stays open this time, or would.
    pub interval: Duration,
    /// What opened it.
    pub class: Class,
}

/// How a call ended, as far as it tells something of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It answered, be it with a refusal.
    Answered,
    /// It failed.
    Failed {
        /// How.
        class: Class,
        /// How long the other side asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Nothing can be said.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// The breaker of one model or channel.
#[derive(Clone, Debug)]
pub struct Breaker {
    intervals: Intervals,
    state: State,
    /// Rises with every change, so that a stale report is known.
    era: u64,
    interval: Duration,
    class: Class,
    streak: u32,
    recent: VecDeque<(Instant, bool)>,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(intervals: Intervals) -> Self {
        let interval = intervals.first.min(intervals.most);
        let recent = VecDeque::new();
        Self { intervals, state: State::Closed, era: 0, interval, class: Class::Outage, streak: 0, recent }
    }

    /// Where it stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self.state {
            State::Closed => Position::Closed,
            State::HalfOpen => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }

    /// Whether the interval has passed and nobody probes yet.
    #[must_use]
    pub fn wants_probe(&self, now: Instant) -> bool {
        matches!(self.state, State::Open { until } if until <= now)
    }

    /// What holds a call now; `None` while closed.
    #[must_use]
    pub fn holding(&self, now: Instant) -> Option<Held> {
        let probe_in = match self.state {
            State::Closed => return None,
            State::HalfOpen => Duration::ZERO,
            State::Open { until } => until.saturating_duration_since(now),
        };
        Some(Held { probe_in, interval: self.interval, class: self.class })
    }

    /// Asks for a call.
    pub fn admit(&mut self, now: Instant) -> Admission {
        if self.wants_probe(now) {
            self.change(State::HalfOpen);
        } else if let Some(held) = self.holding(now) {
            return Admission::Hold(held);
        }
        Admission::Go(Ticket { era: self.era })
    }

    /// Takes in how a call ended; `roll` is from 0 to 1.
    pub fn report(&mut self, ticket: Ticket, report: Report, now: Instant, roll: f64) {
        let current = ticket.era == self.era;
        match (self.state, report) {
            (State::Closed, Report::Answered) => self.remember(now, true),
            (State::Closed, Report::Failed { class, retry_after }) => {
                self.remember(now, false);
                if told_to_wait(class, retry_after) || self.is_too_much() {
                    self.interval = self.intervals.first.min(self.intervals.most);
                    self.open(class, retry_after, now, roll);
                }
            }
            (State::HalfOpen, Report::Answered) if current => {
                self.streak = 0;
                self.recent.clear();
                self.change(State::Closed);
            }
            (State::HalfOpen, Report::Failed { class, retry_after }) if current => {
                self.interval = self.interval.saturating_mul(2).min(self.intervals.most);
                self.open(class, retry_after, now, roll);
            }
            (State::HalfOpen, Report::Nothing) if current => self.change(State::Open { until: now }),
            (State::Open { until }, Report::Failed { class, retry_after }) if told_to_wait(class, retry_after) => {
                let asked = now + polite(retry_after);
                self.state = State::Open { until: until.max(asked) };
            }
            (State::Closed, Report::Nothing) | (State::HalfOpen | State::Open { .. }, _) => {}
        }
    }

    fn open(&mut self, class: Class, retry_after: Option<Duration>, now: Instant, roll: f64) {
        // Between half of the interval and all of it, so that the workers of a fleet do not probe together.
        let roll = if roll.is_nan() { 1.0 } else { roll.clamp(0.0, 1.0) };
        let jittered = self.interval.mul_f64(0.5 + roll / 2.0);
        self.class = class;
        self.change(State::Open { until: now + jittered.max(polite(retry_after)) });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }

    fn remember(&mut self, now: Instant, answered: bool) {
        self.streak = if answered { 0 } else { self.streak.saturating_add(1) };
        self.recent.push_back((now, answered));
        while self.recent.len() > REMEMBERED
            || self.recent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW)
        {
            self.recent.pop_front();
        }
    }

    fn is_too_much(&self) -> bool {
        let failed = self.recent.iter().filter(|(_, answered)| !answered).count();
        let share = self.recent.len() >= LEAST && failed as f64 >= SHARE * self.recent.len() as f64;
        self.streak >= STREAK || share
    }
}

/// A rate limit that says until when concerns everybody who calls there, at once.
fn told_to_wait(class: Class, retry_after: Option<Duration>) -> bool {
    class == Class::RateLimited && retry_after.is_some_and(|wait| !wait.is_zero())
}

fn polite(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(MOST_RETRY_AFTER)
}

#[cfg(test)]
mod tests;
