//! The embedded queue: one SQLite file, shared by every process of one machine.
//!
//! WAL and `synchronous=FULL`: a publish returns after its commit was synced to disk. One writer per opened queue
//! groups whatever arrives while the disk is busy into the next transaction, so that many publishers share one sync.
//! A delivery is a lease: whoever dies with it loses it to somebody else when the lease ends. Consumers of this
//! process are woken at once, those of others look every [`LOOK`].

mod consumer;
mod file;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::Notify;

use super::{Consumer, Depth, Lane, PublishError, Publisher, Queue, QueueError, QueueTiming};
use crate::config::SqliteFile;
use crate::domain::Micros;
use crate::envelope::Envelope;
use crate::shutdown::{self, Stop, Stopper};
use writer::{Arrival, Writer};

/// How long a delivery is held before it goes to somebody else. Intake acks within milliseconds; shorter than a turn
/// waits for a predecessor, so that what a killed worker held is not answered after its successor.
const LEASE: Duration = Duration::from_secs(10);

/// How often a consumer looks for what other processes have published.
const LOOK: Duration = Duration::from_millis(50);

/// What the queue's parts share.
struct Shared {
    writer: Writer,
    /// Reads only; a writer never waits for it.
    reader: SqlitePool,
    /// Rung when this process has made something available.
    arrived: Arc<Notify>,
    stopper: Stopper,
    stop: Stop,
    lease: Duration,
    timing: QueueTiming,
}

/// The embedded queue, opened.
pub struct SqliteQueue {
    shared: Arc<Shared>,
}

impl SqliteQueue {
    /// Opens the file, making it (0600) and its tables when missing.
    ///
    /// # Errors
    /// [`QueueError`] when the file cannot be made, opened or migrated.
    pub async fn open(file: &SqliteFile, timing: QueueTiming) -> Result<Self, QueueError> {
        Self::open_with_lease(file, timing, LEASE).await
    }

    /// As [`open`](Self::open), with another lease; for tests that want to see one end.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with_lease(file: &SqliteFile, timing: QueueTiming, lease: Duration) -> Result<Self, QueueError> {
        let pools = file::open(file.path()).await?;
        let arrived = Arc::new(Notify::new());
        let writer = Writer::start(pools.writer, arrived.clone());
        let (stopper, stop) = shutdown::channel();
        let reader = pools.reader;
        Ok(Self { shared: Arc::new(Shared { writer, reader, arrived, stopper, stop, lease, timing }) })
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn publisher(&self) -> Result<Arc<dyn Publisher>, QueueError> {
        Ok(Arc::new(SqlitePublisher { shared: self.shared.clone() }))
    }

    async fn consumer(&self, lane: Lane, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        Ok(Box::new(consumer::SqliteConsumer::start(self.shared.clone(), lane, prefetch)))
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let now = Micros::wall();
        let work = depth(&self.shared.reader, WORK_DEPTH, "handrail.work", now);
        let retry = depth(&self.shared.reader, RETRY_DEPTH, "handrail.retry", now);
        let dead = depth(&self.shared.reader, DEAD_DEPTH, "handrail.dead", now);
        let (work, retry, dead) = tokio::try_join!(work, retry, dead)?;
        Ok(vec![work, retry, dead])
    }

    async fn probe(&self) -> Result<(), QueueError> {
        if self.shared.stop.is_raised() {
            return Err(QueueError::Unavailable("it has been closed".into()));
        }
        let one = sqlx::query("SELECT 1 FROM message LIMIT 1").fetch_optional(&self.shared.reader);
        one.await.map(drop).map_err(|error| unavailable(&error))
    }

    async fn close(&self) {
        self.shared.stopper.stop();
        self.shared.writer.close().await;
        self.shared.reader.close().await;
    }
}

// A retried message is the only one that is not yet available and under no lease.
const WORK_DEPTH: &str = "SELECT count(*) FILTER (WHERE available_at <= $1), count(*) FILTER (WHERE leased_until > $1),
    min(published_at) FROM message WHERE lane = 'work' AND (available_at <= $1 OR leased_until > $1)";
const RETRY_DEPTH: &str = "SELECT count(*), 0, min(published_at) FROM message
    WHERE lane = 'work' AND available_at > $1 AND leased_until IS NULL";
const DEAD_DEPTH: &str = "SELECT count(*) FILTER (WHERE leased_until IS NULL OR leased_until <= $1),
    count(*) FILTER (WHERE leased_until > $1), min(published_at) FROM message WHERE lane = 'dead'";

async fn depth(pool: &SqlitePool, sql: &'static str, name: &str, now: Micros) -> Result<Depth, QueueError> {
    let row: (i64, i64, Option<i64>) =
        sqlx::query_as(sql).bind(now.0).fetch_one(pool).await.map_err(|error| unavailable(&error))?;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Depth {
        name: name.to_owned(),
        ready: count(row.0),
        unacked: Some(count(row.1)),
        oldest_seconds: row.2.map(|at| now.since(Micros(at)).as_secs()),
        consumers: None,
    })
}

/// What SQLite said, without our SQL or anybody's bytes.
fn unavailable(error: &sqlx::Error) -> QueueError {
    QueueError::Unavailable(told(error))
}

fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        sqlx::Error::Io(inner) => inner.to_string(),
        sqlx::Error::PoolClosed => "it has been closed".to_owned(),
        sqlx::Error::PoolTimedOut => "no connection became free in time".to_owned(),
        _ => "SQLite failed".to_owned(),
    }
}

struct SqlitePublisher {
    shared: Arc<Shared>,
}

#[async_trait]
impl Publisher for SqlitePublisher {
    async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        let limit = self.shared.timing.confirm_timeout;
        let arrival = Arrival { event_id: envelope.header().event_id, body: envelope.bytes().to_vec() };
        let written = self.shared.writer.publish(arrival);
        tokio::time::timeout(limit, written).await.unwrap_or(Err(PublishError::TimedOut(limit)))
    }

    fn ready(&self) -> Result<(), PublishError> {
        if self.shared.stop.is_raised() { Err(PublishError::Disconnected) } else { Ok(()) }
    }
}
