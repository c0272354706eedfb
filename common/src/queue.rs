//! The queue door: events from ingress to store, and nothing else.
//!
//! Two backends hold one contract: SQLite (one file) and RabbitMQ (quorum queues). A publish returns only when the
//! message is durable and routed. A delivery is settled exactly once, by value. The queue promises at-least-once and
//! no order; order and once are the store's.

pub mod rabbitmq;
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::QueueUrl;
use crate::envelope::Envelope;

/// Why a publish cannot be vouched for. In every case the message may still arrive later.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection at the moment.
    #[error("the queue is not connected")]
    Disconnected,
    /// The broker has raised a resource alarm and takes nothing.
    #[error("the broker is blocked by a resource alarm")]
    Blocked,
    /// No confirm within the timeout.
    #[error("no confirm within {0:?}")]
    TimedOut(Duration),
    /// No queue is bound for it.
    #[error("the broker could not route it: is the topology declared?")]
    Unroutable,
    /// The broker refused it.
    #[error("the broker refused it")]
    Refused,
    /// The embedded queue's file could not be written.
    #[error("the queue's file could not be written: {0}")]
    Storage(String),
}

impl PublishError {
    /// A constant word for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Blocked => "blocked",
            Self::TimedOut(_) => "timed_out",
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::Storage(_) => "storage",
        }
    }
}

/// Why a queue cannot be opened, read or asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// What configuration asks for does not exist or contradicts what is there; retrying does not help.
    #[error("{0}")]
    Configuration(String),
    /// Out of reach at the moment.
    #[error("the queue is out of reach: {0}")]
    Unavailable(String),
}

/// How long a delivery that was dropped unsettled rests before it is delivered again, so that a failure that repeats
/// at once does not become a hot loop.
const ABANDONED: Duration = Duration::from_secs(1);

/// Which tier a delivery that could not be taken in waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// 5 s.
    S5,
    /// 30 s.
    S30,
    /// 2 min.
    M2,
    /// 10 min.
    M10,
    /// 1 h.
    H1,
}

impl Tier {
    /// Every tier, shortest first.
    pub const ALL: [Self; 5] = [Self::S5, Self::S30, Self::M2, Self::M10, Self::H1];

    /// How long it holds a message.
    #[must_use]
    pub const fn delay(self) -> Duration {
        Duration::from_secs(match self {
            Self::S5 => 5,
            Self::S30 => 30,
            Self::M2 => 120,
            Self::M10 => 600,
            Self::H1 => 3_600,
        })
    }

    /// The last part of its queue's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S5 => "5s",
            Self::S30 => "30s",
            Self::M2 => "2m",
            Self::M10 => "10m",
            Self::H1 => "1h",
        }
    }

    /// The tier for a delivery that has already waited `attempts` times; `None` when it is time to give it up.
    #[must_use]
    pub fn after(attempts: u32) -> Option<Self> {
        Self::ALL.get(attempts as usize).copied()
    }
}

/// Which queue a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// `handrail.work`: events to take in.
    Work,
    /// `handrail.dead`: what could not be taken in.
    Dead,
}

/// One message, held until it is settled. Dropping it unsettled gives it back to the queue sooner or later.
pub struct Delivery {
    /// The envelope's bytes.
    pub body: Vec<u8>,
    /// How many retry tiers it has been through; our own count, not the broker's.
    pub attempts: u32,
    /// Whether the queue says it was delivered before.
    pub redelivered: bool,
    settle: Box<dyn Settle>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Delivery({} bytes, attempts {})", self.body.len(), self.attempts)
    }
}

/// A backend's half of a delivery: what settling does.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Takes the message off the queue. False: the queue had already given it to somebody else; harmless.
    async fn ack(&self) -> Result<bool, QueueError>;
    /// Moves it to a retry tier, durably, then acks.
    async fn retry(&self, body: &[u8], attempts: u32, tier: Tier) -> Result<(), QueueError>;
    /// Moves it to the dead queue, durably, then acks.
    async fn bury(&self, body: &[u8], attempts: u32, reason: &str) -> Result<(), QueueError>;
}

impl Delivery {
    /// A delivery as a backend makes it.
    #[must_use]
    pub fn new(body: Vec<u8>, attempts: u32, redelivered: bool, settle: Box<dyn Settle>) -> Self {
        Self { body, attempts, redelivered, settle }
    }

    /// Takes it off the queue; false when the queue has already given it to somebody else.
    ///
    /// # Errors
    /// [`QueueError`] when the queue is out of reach: it will come again.
    pub async fn ack(self) -> Result<bool, QueueError> {
        self.settle.ack().await
    }

    /// Sends it to wait in `tier`.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn retry(self, tier: Tier) -> Result<(), QueueError> {
        self.settle.retry(&self.body, self.attempts + 1, tier).await
    }

    /// Sends it to the dead queue with a constant reason.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn bury(self, reason: &str) -> Result<(), QueueError> {
        self.settle.bury(&self.body, self.attempts, reason).await
    }
}

/// The ingress's half of the door.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Returns when the envelope is durable and routed, or says within the confirm timeout why not.
    ///
    /// # Errors
    /// [`PublishError`]; the message may still arrive.
    async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError>;

    /// Whether a publish would be tried now: the one visible state of the connection.
    fn ready(&self) -> Result<(), PublishError>;
}

/// The worker's half of the door. Reconnects by itself; `None` only after [`close`](Consumer::close).
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery, as soon as there is one. At most `prefetch` are out unsettled.
    async fn next(&mut self) -> Option<Delivery>;
    /// Takes no more; what is out may still be settled.
    async fn close(&mut self);
}

/// One queue's contents.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    /// The queue's name.
    pub name: String,
    /// Waiting to be delivered.
    pub ready: u64,
    /// Delivered, not settled; `None` where the backend cannot tell.
    pub unacked: Option<u64>,
    /// Age of the oldest message in seconds; `None` where the backend cannot tell or the queue is empty.
    pub oldest_seconds: Option<u64>,
    /// Consumers attached; `None` where the backend cannot tell.
    pub consumers: Option<u64>,
}

/// A queue, whichever backend is behind it.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The publishing half.
    async fn publisher(&self) -> Result<Arc<dyn Publisher>, QueueError>;
    /// A consuming half, holding at most `prefetch` unsettled deliveries.
    async fn consumer(&self, lane: Lane, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError>;
    /// Every queue's depth.
    async fn depths(&self) -> Result<Vec<Depth>, QueueError>;
    /// Whether the queue answers, for readiness.
    async fn probe(&self) -> Result<(), QueueError>;
    /// Ends connections; settles nothing.
    async fn close(&self);
}

/// How patient the door is.
#[derive(Clone, Copy, Debug)]
pub struct QueueTiming {
    /// Broker heartbeat.
    pub heartbeat: Duration,
    /// How long a publish waits for its confirm.
    pub confirm_timeout: Duration,
}

impl Default for QueueTiming {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(10), confirm_timeout: Duration::from_millis(800) }
    }
}

/// Opens the queue behind a URL. An embedded queue is made when missing; a broker is connected in the background.
///
/// # Errors
/// [`QueueError`] when the embedded file cannot be opened.
pub async fn connect(url: &QueueUrl, timing: QueueTiming) -> Result<Arc<dyn Queue>, QueueError> {
    match url {
        QueueUrl::Sqlite(file) => Ok(Arc::new(sqlite::SqliteQueue::open(file, timing).await?)),
        QueueUrl::Amqp(url) => Ok(Arc::new(rabbitmq::RabbitQueue::connect(url.expose(), timing))),
    }
}
