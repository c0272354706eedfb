//! Group commit: one task writes for everybody in this process.
//!
//! Whatever waits when the writer is free goes into one transaction, in the order of its arrival; each asker gets an
//! answer only after COMMIT has returned. A transaction that fails fails for all who were in it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::domain::{EventId, Micros};
use crate::queue::{Lane, PublishError, QueueError};

/// The most that one transaction takes in.
const GROUP: usize = 512;

/// The most that may wait for the writer before askers wait to ask.
const WAITING: usize = 4_096;

/// An envelope to keep.
pub(super) struct Arrival {
    pub(super) event_id: EventId,
    pub(super) body: Vec<u8>,
}

/// A message that is out: its row, and which lease holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) id: i64,
    pub(super) lease: Uuid,
}

/// A message as claimed.
pub(super) struct Claimed {
    pub(super) held: Held,
    pub(super) body: Vec<u8>,
    pub(super) attempts: u32,
    pub(super) deliveries: i64,
}

/// What becomes of a message that is out.
pub(super) enum Settled {
    Acked,
    Retried {
        attempts: u32,
        delay: Duration,
    },
    Buried {
        attempts: u32,
        reason: String,
    },
    /// Given back untouched.
    Released {
        delay: Duration,
    },
}

enum Ask {
    Publish(Arrival, oneshot::Sender<Result<Answer, String>>),
    Claim { lane: Lane, most: u32, lease: Duration, answer: oneshot::Sender<Result<Answer, String>> },
    Settle(Held, Settled, oneshot::Sender<Result<Answer, String>>),
}

enum Answer {
    Kept,
    Claimed(Vec<Claimed>),
    /// Whether the lease still held.
    Settled(bool),
}

/// The way to the writing task.
pub(super) struct Writer {
    asks: mpsc::Sender<Ask>,
    task: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<Notify>,
}

impl Writer {
    /// Starts the task; `arrived` is rung after each commit that made something available.
    pub(super) fn start(pool: SqlitePool, arrived: Arc<Notify>) -> Self {
        let (asks, receiver) = mpsc::channel(WAITING);
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(run(pool, receiver, arrived, stop.clone()));
        Self { asks, task: Mutex::new(Some(task)), stop }
    }

    /// Keeps an envelope, durably.
    pub(super) async fn publish(&self, arrival: Arrival) -> Result<(), PublishError> {
        let (answer, kept) = oneshot::channel();
        self.asks.send(Ask::Publish(arrival, answer)).await.map_err(|_| PublishError::Disconnected)?;
        match kept.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(PublishError::Storage(error)),
            Err(_) => Err(PublishError::Disconnected),
        }
    }

    /// Takes up to `most` available messages under one new lease.
    pub(super) async fn claim(&self, lane: Lane, most: u32, lease: Duration) -> Result<Vec<Claimed>, QueueError> {
        match self.ask(|answer| Ask::Claim { lane, most, lease, answer }).await? {
            Answer::Claimed(claimed) => Ok(claimed),
            Answer::Kept | Answer::Settled(_) => Ok(Vec::new()),
        }
    }

    /// Settles a message that is out; false when its lease has gone to somebody else.
    pub(super) async fn settle(&self, held: Held, settled: Settled) -> Result<bool, QueueError> {
        let answer = self.ask(|answer| Ask::Settle(held, settled, answer)).await?;
        Ok(matches!(answer, Answer::Settled(true)))
    }

    /// Gives a message back without waiting for it. If the writer is too busy, its lease ends by itself.
    pub(super) fn give_back(&self, held: Held, delay: Duration) {
        let (answer, _nobody_waits) = oneshot::channel();
        let _busy = self.asks.try_send(Ask::Settle(held, Settled::Released { delay }, answer));
    }

    async fn ask(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<Answer, String>>) -> Ask,
    ) -> Result<Answer, QueueError> {
        let closed = || QueueError::Unavailable("it has been closed".into());
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?.map_err(QueueError::Unavailable)
    }

    /// Writes what was asked so far, then closes the file.
    pub(super) async fn close(&self) {
        self.stop.notify_one();
        if let Some(task) = self.task.lock().await.take() {
            // A writer that panicked has nothing left to write.
            let _ended = task.await;
        }
    }
}

async fn run(pool: SqlitePool, mut asks: mpsc::Receiver<Ask>, arrived: Arc<Notify>, stop: Arc<Notify>) {
    let mut group = Vec::with_capacity(GROUP);
    loop {
        tokio::select! {
            taken = asks.recv_many(&mut group, GROUP) => if taken == 0 { break },
            // What was asked before the stop is still written.
            () = stop.notified() => asks.close(),
        }
        write(&pool, std::mem::take(&mut group), &arrived).await;
    }
    pool.close().await;
}

/// One transaction for the whole group, then everybody's answer.
async fn write(pool: &SqlitePool, group: Vec<Ask>, arrived: &Notify) {
    if group.is_empty() {
        return;
    }
    let rings = group.iter().any(makes_available);
    match commit(pool, &group).await {
        Ok(answers) => {
            for (ask, answer) in group.into_iter().zip(answers) {
                // Whoever asked may have stopped waiting: a timed-out publish is kept all the same.
                let _gone = ask.into_answer().send(Ok(answer));
            }
            if rings {
                arrived.notify_waiters();
            }
        }
        Err(error) => {
            let told = super::told(&error);
            tracing::error!(queue = "sqlite", error = %told, "the queue's file could not be written");
            for ask in group {
                let _gone = ask.into_answer().send(Err(told.clone()));
            }
        }
    }
}

fn makes_available(ask: &Ask) -> bool {
    match ask {
        Ask::Publish(..) => true,
        Ask::Claim { .. } => false,
        Ask::Settle(_, settled, _) => match settled {
            Settled::Acked => false,
            Settled::Retried { .. } | Settled::Buried { .. } | Settled::Released { .. } => true,
        },
    }
}

impl Ask {
    fn into_answer(self) -> oneshot::Sender<Result<Answer, String>> {
        match self {
            Self::Publish(_, answer) | Self::Settle(_, _, answer) | Self::Claim { answer, .. } => answer,
        }
    }
}

async fn commit(pool: &SqlitePool, group: &[Ask]) -> Result<Vec<Answer>, sqlx::Error> {
    // Immediate: a deferred transaction that read before another process wrote fails at once, whatever the timeout.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut answers = Vec::with_capacity(group.len());
    for ask in group {
        answers.push(match ask {
            Ask::Publish(arrival, _) => keep(&mut transaction, arrival).await?,
            Ask::Claim { lane, most, lease, .. } => claim(&mut transaction, *lane, *most, *lease).await?,
            Ask::Settle(held, settled, _) => settle(&mut transaction, *held, settled).await?,
        });
    }
    transaction.commit().await?;
    Ok(answers)
}

async fn keep(transaction: &mut Transaction<'_, Sqlite>, arrival: &Arrival) -> Result<Answer, sqlx::Error> {
    sqlx::query(
        "INSERT INTO message (lane, event_id, body, available_at, published_at) VALUES ('work', $1, $2, $3, $3)",
    )
    .bind(arrival.event_id.uuid())
    .bind(arrival.body.as_slice())
    .bind(Micros::wall().0)
    .execute(&mut **transaction)
    .await?;
    Ok(Answer::Kept)
}

/// As on the broker: what was delivered 20 times and never settled is buried, since it may be what ends its readers.
const BURY_WORN: &str = "UPDATE message
    SET lane = 'dead', reason = 'delivery_limit', available_at = $1, deliveries = 0, leased_until = NULL,
        lease_owner = NULL
    WHERE lane = 'work' AND deliveries >= 20 AND available_at <= $1";
const CLAIM: &str = "UPDATE message
    SET leased_until = $4, available_at = $4, lease_owner = $3, deliveries = deliveries + 1
    WHERE id IN (SELECT id FROM message WHERE lane = $1 AND available_at <= $2 ORDER BY available_at, id LIMIT $5)
    RETURNING id, body, attempts, deliveries";

async fn claim(
    transaction: &mut Transaction<'_, Sqlite>,
    lane: Lane,
    most: u32,
    length: Duration,
) -> Result<Answer, sqlx::Error> {
    let (now, lease) = (Micros::wall(), Uuid::new_v4());
    sqlx::query(BURY_WORN).bind(now.0).execute(&mut **transaction).await?;
    let rows: Vec<(i64, Vec<u8>, i64, i64)> = sqlx::query_as(CLAIM)
        .bind(lane_name(lane))
        .bind(now.0)
        .bind(lease)
        .bind((now + length).0)
        .bind(i64::from(most))
        .fetch_all(&mut **transaction)
        .await?;
    let claimed = |(id, body, attempts, deliveries): (i64, Vec<u8>, i64, i64)| Claimed {
        held: Held { id, lease },
        body,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        deliveries,
    };
    let mut claimed: Vec<Claimed> = rows.into_iter().map(claimed).collect();
    // RETURNING promises no order; ids are given in the order of arrival.
    claimed.sort_by_key(|message| message.held.id);
    Ok(Answer::Claimed(claimed))
}

/// A lane's name in its column.
pub(super) const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Work => "work",
        Lane::Dead => "dead",
    }
}

const ACK: &str = "DELETE FROM message WHERE id = $1 AND lease_owner = $2";
const RETRY: &str = "UPDATE message
    SET lane = 'work', attempts = $3, available_at = $4, deliveries = 0, leased_until = NULL, lease_owner = NULL
    WHERE id = $1 AND lease_owner = $2";
const BURY: &str = "UPDATE message
    SET lane = 'dead', attempts = $3, available_at = $4, reason = $5, deliveries = 0, leased_until = NULL,
        lease_owner = NULL
    WHERE id = $1 AND lease_owner = $2";
const RELEASE: &str = "UPDATE message SET available_at = $3, leased_until = NULL, lease_owner = NULL
    WHERE id = $1 AND lease_owner = $2";

async fn settle(
    transaction: &mut Transaction<'_, Sqlite>,
    held: Held,
    settled: &Settled,
) -> Result<Answer, sqlx::Error> {
    let now = Micros::wall();
    let query = match settled {
        Settled::Acked => sqlx::query(ACK).bind(held.id).bind(held.lease),
        Settled::Retried { attempts, delay } => {
            sqlx::query(RETRY).bind(held.id).bind(held.lease).bind(i64::from(*attempts)).bind((now + *delay).0)
        }
        Settled::Buried { attempts, reason } => sqlx::query(BURY)
            .bind(held.id)
            .bind(held.lease)
            .bind(i64::from(*attempts))
            .bind(now.0)
            .bind(reason.as_str()),
        Settled::Released { delay } => sqlx::query(RELEASE).bind(held.id).bind(held.lease).bind((now + *delay).0),
    };
    let changed = query.execute(&mut **transaction).await?.rows_affected();
    Ok(Answer::Settled(changed == 1))
}
