//! Recovery: what a failure means, as a pure function of its class, the attempts so far and the age of the oldest
//! message concerned. No clock, no dice: the age and the roll come in.
//!
//! | class | what it is | decision |
//! |---|---|---|
//! | `transient` | a hiccup of ours without a better name | retry, 5 attempts; then a dead letter |
//! | `rate_limited` | a provider asks for patience | hold until it is over, 24 h at most |
//! | `outage` | a provider is down, slow or unreachable | hold, 24 h at most |
//! | `misconfigured` | our key, name or number is wrong, our account empty: ours to fix, not the message's fault | hold, 24 h at most |
//! | `budget` | a cap of ours on spending is reached | hold until its window ends, 24 h at most |
//! | `refused`, `malformed` | the model gave no usable answer | retry twice; then a dead letter |
//! | `context` | the prompt does not fit | a dead letter at once: the same prompt never will |
//! | `poison` | what is stored cannot be read | a dead letter at once |
//! | `rejected` | a channel will never take it | a dead letter at once |
//! | `stale` | the channel's window for free text has closed | a dead letter at once |
//! | `undelivered` | a channel took it and says later that it did not arrive | a dead letter at once, by the store |
//! | `crash` | a turn ended without any record | retry, the third time alone; then a dead letter |
//! | `store` | our own store is away | pause: intake stops, nothing is recorded, nothing dies |
//!
//! Where the table says dead letter and the turn held several messages, they are first tried one by one
//! ([`Decision::OneByOne`]), so that only the culprit is parked. A hold never ends in a dead letter because of its
//! attempts, only of its age. Every wait is full jitter, a random part of 1 s doubling up to 60 s; a provider's
//! Retry-After (one hour of it at most) is waited first, and the jitter comes on top, lest all return at once. While a
//! model or channel is out as a whole, [`breaker`] holds what needs it, without calls.

pub mod breaker;
mod normal;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channels::{Refusal, RefusalClass};
use crate::models::ModelError;

pub use normal::normalise;

/// The first wait's upper bound.
pub const BASE: Duration = Duration::from_secs(1);
/// Every wait's upper bound, before a provider's own.
pub const CAP: Duration = Duration::from_secs(60);
/// The most that a provider's Retry-After is believed.
pub const MOST_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// How long a message is held through an outage.
pub const MOST_HELD: Duration = Duration::from_secs(24 * 3_600);
/// Attempts at something transient.
pub const TRANSIENT_ATTEMPTS: u32 = 5;
/// Attempts at a usable answer: one, and two retries.
pub const ANSWER_ATTEMPTS: u32 = 3;
/// Claims that ended in a crash; at this many the turn runs alone, beyond it the culprit is parked.
pub const CRASH_CLAIMS: u32 = 3;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A hiccup of ours.
    Transient,
    /// A provider limits the rate.
    RateLimited,
    /// A provider is down, slow or unreachable.
    Outage,
    /// Our own configuration.
    Misconfigured,
    /// A cap of ours on spending.
    Budget,
    /// The model declined.
    Refused,
    /// The model's answer is unusable.
    Malformed,
    /// The prompt does not fit.
    Context,
    /// What is stored cannot be read.
    Poison,
    /// A channel will never take it.
    Rejected,
    /// A turn ended without a record.
    Crash,
    /// The channel's window has closed.
    Stale,
    /// A channel took it and says later that it did not arrive.
    Undelivered,
    /// Our own store.
    Store,
}

impl Class {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Transient,
        Self::RateLimited,
        Self::Outage,
        Self::Misconfigured,
        Self::Budget,
        Self::Refused,
        Self::Malformed,
        Self::Context,
        Self::Poison,
        Self::Rejected,
        Self::Crash,
        Self::Stale,
        Self::Undelivered,
        Self::Store,
    ];

    /// Its word in the store, in metrics and in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Outage => "outage",
            Self::Misconfigured => "misconfigured",
            Self::Budget => "budget",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Context => "context",
            Self::Poison => "poison",
            Self::Rejected => "rejected",
            Self::Crash => "crash",
            Self::Stale => "stale",
            Self::Undelivered => "undelivered",
            Self::Store => "store",
        }
    }
}

impl Class {
    /// Why something of this class becomes a dead letter, once it does; nothing does while our own store is away.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Transient | Self::Refused | Self::Malformed | Self::Crash => Some(Reason::Exhausted),
            Self::RateLimited | Self::Outage | Self::Misconfigured | Self::Budget => Some(Reason::TooOld),
            Self::Context | Self::Poison | Self::Rejected | Self::Stale | Self::Undelivered => Some(Reason::Hopeless),
            Self::Store => None,
        }
    }
}

impl From<&ModelError> for Class {
    fn from(error: &ModelError) -> Self {
        match error {
            ModelError::RateLimited { .. } => Self::RateLimited,
            ModelError::Overloaded { .. } | ModelError::Unreachable | ModelError::TimedOut => Self::Outage,
            ModelError::Refused => Self::Refused,
            ModelError::ContextTooLong => Self::Context,
            ModelError::Malformed(_) => Self::Malformed,
            ModelError::Misconfigured(_) | ModelError::QuotaExhausted => Self::Misconfigured,
        }
    }
}

impl From<RefusalClass> for Class {
    fn from(refusal: RefusalClass) -> Self {
        match refusal {
            RefusalClass::RateLimited => Self::RateLimited,
            RefusalClass::Unavailable => Self::Outage,
            RefusalClass::WindowClosed => Self::Stale,
            RefusalClass::Rejected => Self::Rejected,
            RefusalClass::NotConfigured => Self::Misconfigured,
        }
    }
}

/// A failure, as far as recovery needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it was.
    pub class: Class,
    /// How long the other side asks us to wait; for [`Class::Budget`], until its window ends.
    pub retry_after: Option<Duration>,
    /// How many messages (or parts of a reply) were tried together.
    pub messages: usize,
}

impl Failure {
    /// A model's failure over a turn of so many messages.
    #[must_use]
    pub fn of_model(error: &ModelError, messages: usize) -> Self {
        let retry_after = match error {
            ModelError::RateLimited { retry_after } | ModelError::Overloaded { retry_after, .. } => *retry_after,
            ModelError::Unreachable
            | ModelError::TimedOut
            | ModelError::Refused
            | ModelError::ContextTooLong
            | ModelError::Malformed(_)
            | ModelError::QuotaExhausted
            | ModelError::Misconfigured(_) => None,
        };
        Self { class: error.into(), retry_after, messages }
    }

    /// A channel's refusal of one part.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal) -> Self {
        Self { class: refusal.class.into(), retry_after: refusal.retry_after, messages: 1 }
    }

    /// A failure of a class, over so many messages.
    #[must_use]
    pub const fn of_class(class: Class, messages: usize) -> Self {
        Self { class, retry_after: None, messages }
    }
}

/// Why something became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every attempt failed.
    Exhausted,
    /// The outage outlasted what a customer can be kept waiting.
    TooOld,
    /// Trying again cannot help.
    Hopeless,
}

impl Reason {
    /// Its word in the store and in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::TooOld => "too_old",
            Self::Hopeless => "hopeless",
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try the same again after a wait.
    RetryAfter(Duration),
    /// The other side is not available: everything that needs it waits this long, then one probes.
    Hold(Duration),
    /// Try again after a wait, one message at a time.
    OneByOne(Duration),
    /// Try again after a wait, one message at a time and with no other turn in the process.
    Alone(Duration),
    /// Park it for a person.
    DeadLetter(Reason),
    /// Our store is away: stop taking in, record nothing, look again after a wait.
    Pause(Duration),
}

/// What a failure means. `attempts` counts this one (for [`Class::Crash`]: the claims); `age` is that of the oldest
/// message concerned; `roll` is from 0 to 1.
#[must_use]
pub fn decide(failure: &Failure, attempts: u32, age: Duration, roll: f64) -> Decision {
    let wait = backoff(attempts, roll);
    // A cap of our own is believed for as long as anything is held.
    let believed = if failure.class == Class::Budget { MOST_HELD } else { MOST_RETRY_AFTER };
    let asked = failure.retry_after.map_or(Duration::ZERO, |asked| asked.min(believed));
    match failure.class {
        Class::Transient if attempts < TRANSIENT_ATTEMPTS => Decision::RetryAfter(asked + wait),
        Class::Refused | Class::Malformed if attempts < ANSWER_ATTEMPTS => Decision::RetryAfter(asked + wait),
        Class::Transient | Class::Refused | Class::Malformed => park(failure, wait, Reason::Exhausted),
        Class::RateLimited | Class::Outage | Class::Misconfigured | Class::Budget if age < MOST_HELD => {
            // Holding burns no attempts, so the wait grows with the time already held.
            Decision::Hold(asked + backoff(attempts.max(age.as_secs().checked_ilog2().unwrap_or(0)), roll))
        }
        Class::RateLimited | Class::Outage | Class::Misconfigured | Class::Budget => {
            Decision::DeadLetter(Reason::TooOld)
        }
        Class::Context | Class::Poison | Class::Rejected | Class::Stale | Class::Undelivered => {
            park(failure, wait, Reason::Hopeless)
        }
        Class::Crash if attempts < CRASH_CLAIMS => Decision::RetryAfter(wait),
        Class::Crash if attempts == CRASH_CLAIMS => Decision::Alone(wait),
        Class::Crash => park(failure, wait, Reason::Exhausted),
        Class::Store => Decision::Pause(wait),
    }
}

/// A dead letter for one message; several are first told apart.
const fn park(failure: &Failure, wait: Duration, reason: Reason) -> Decision {
    if failure.messages > 1 { Decision::OneByOne(wait) } else { Decision::DeadLetter(reason) }
}

/// Full jitter: a random part of a bound that doubles with every attempt, up to the cap.
#[must_use]
pub fn backoff(attempts: u32, roll: f64) -> Duration {
    let roll = if roll.is_nan() { 1.0 } else { roll.clamp(0.0, 1.0) };
    bound(attempts).mul_f64(roll)
}

/// The bound of the wait after so many attempts.
#[must_use]
pub fn bound(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    BASE.saturating_mul(1 << doublings).min(CAP)
}

#[cfg(test)]
mod tests;
