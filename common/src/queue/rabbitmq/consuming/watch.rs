//! Watching a consumer: whether the broker still knows it, and delivers.
//!
//! When a queue is deleted the broker cancels its consumers, and lapin ends theirs. But when it is made again within
//! some twenty milliseconds (by a publisher that missed it, or another worker), the broker (3.10, seen every time)
//! cancels nobody: it counts the old consumer as attached to the new queue, gives it deliveries, and drops them on the
//! way, since they repeat numbers that the old queue had given. No count shows it. So each consumer hangs a token on
//! its queue: an exchange of its own that goes with its only binding, and thereby with the queue. While it is idle it
//! asks whether the token is still there. Whatever else is wrong shows in the queue's own counts: no consumer, or work
//! that is ready and does not come.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use uuid::Uuid;

use super::super::ANSWER;
use crate::metrics as names;

/// How often an idle consumer is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// At so many looks in a row with work that does not come, the consumer counts as silent.
const SILENT: u32 = 3;
/// At so many looks in a row without a consumer, it counts as forgotten; a queue without a leader tells of none.
const FORGOTTEN: u32 = 2;

/// Why a consumer is built anew: a constant word for metrics, and what to tell.
pub(super) type Finding = (&'static str, &'static str);

pub(super) const CANCELLED: Finding = ("cancelled", "the broker ended the consumer: was its queue deleted?");
const REMADE: Finding = ("queue_remade", "the queue was deleted and made again under its consumer");
const GONE: Finding = ("queue_gone", "the queue is not there any more");
const UNKNOWN: Finding = ("not_attached", "the broker knows of no consumer of this queue");
const MUTE: Finding = ("silent", "work is ready and does not come");
/// Looks in a row at too many deliveries before they are believed.
const SEEN: u32 = 3;
const FLOODED: Finding = ("prefetch_exceeded", "the broker lets out more than the prefetch");

/// What ties a consumer to the queue as it was when it came.
pub(super) struct Token(String);

impl Token {
    pub(super) fn new() -> Self {
        Self(format!("handrail.attached.{}", Uuid::new_v4().simple()))
    }

    /// Hangs it on a queue; one that hangs there already stays.
    pub(super) async fn attach(&self, channel: &Channel, queue: &str) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        let name = || self.0.as_str().into();
        channel.exchange_declare(name(), ExchangeKind::Fanout, options, FieldTable::default()).await?;
        channel.queue_bind(queue.into(), name(), "".into(), QueueBindOptions::default(), FieldTable::default()).await
    }

    /// Takes it off again.
    pub(super) async fn remove(&self, channel: &Channel) {
        let removed = channel.exchange_delete(self.0.as_str().into(), ExchangeDeleteOptions::default());
        // Left behind it costs a name, until its queue or the broker's run ends.
        let _left = tokio::time::timeout(ANSWER, removed).await;
    }
}

/// What is known of one consumer.
pub(super) struct Watch {
    queue: &'static str,
    prefetch: u16,
    /// Shared with every delivery that is out.
    channel: Arc<Channel>,
    delivered: bool,
    mute: u32,
    forgotten: u32,
    flooded: u32,
}

impl Watch {
    pub(super) fn over(channel: &Channel, queue: &'static str, prefetch: u16) -> Self {
        metrics::gauge!(names::CONSUMER_PREFETCH, "queue" => queue).set(f64::from(prefetch));
        Self {
            queue,
            prefetch,
            channel: Arc::new(channel.clone()),
            delivered: false,
            mute: 0,
            forgotten: 0,
            flooded: 0,
        }
    }

    /// What every delivery holds for as long as it is out.
    pub(super) fn delivered(&mut self) -> Arc<Channel> {
        self.delivered = true;
        self.channel.clone()
    }

    fn out(&self) -> usize {
        Arc::strong_count(&self.channel) - 1
    }

    /// Tells how many deliveries are out, and whether they are too many. Once says nothing: what has been acked is let
    /// go of a moment after the broker sent the next.
    pub(super) fn count(&mut self) -> Option<Finding> {
        let out = self.out();
        metrics::gauge!(names::CONSUMER_UNACKED, "queue" => self.queue).set(out as f64);
        self.flooded = if out > usize::from(self.prefetch) { self.flooded + 1 } else { 0 };
        (self.flooded >= SEEN).then_some(FLOODED)
    }

    /// Asks the broker about a consumer that got nothing since the last look, though it may hold more than it does.
    pub(super) async fn look(&mut self, connection: &Connection, token: &Token) -> Option<Finding> {
        if std::mem::take(&mut self.delivered) || self.out() >= usize::from(self.prefetch) {
            (self.mute, self.forgotten) = (0, 0);
            return None;
        }
        match tokio::time::timeout(ANSWER, ask(connection, token, self.queue)).await {
            Ok(Ok((ready, consumers))) => self.judge(ready, consumers),
            Ok(Err(found)) => found,
            // A broker that does not answer says nothing about a consumer; the heartbeat will.
            Err(_) => None,
        }
    }

    fn judge(&mut self, ready: u32, consumers: u32) -> Option<Finding> {
        self.mute = if ready > 0 { self.mute + 1 } else { 0 };
        self.forgotten = if consumers == 0 { self.forgotten + 1 } else { 0 };
        if self.forgotten >= FORGOTTEN {
            return Some(UNKNOWN);
        }
        (self.mute >= SILENT).then_some(MUTE)
    }
}

/// Counts what is ready in a queue, and its consumers; an error is what a missing token or queue means. Each question
/// has a channel of its own, since a no closes it.
async fn ask(connection: &Connection, token: &Token, queue: &'static str) -> Result<(u32, u32), Option<Finding>> {
    let counted = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let counted = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok::<_, lapin::Error>((channel, counted.message_count(), counted.consumer_count()))
    };
    let (channel, ready, consumers) = counted.await.map_err(|error| missing(&error).then_some(GONE))?;
    let options = ExchangeDeclareOptions { passive: true, auto_delete: true, ..Default::default() };
    let there = channel.exchange_declare(token.0.as_str().into(), ExchangeKind::Fanout, options, FieldTable::default());
    there.await.map_err(|error| missing(&error).then_some(REMADE))?;
    let _closed = channel.close(200, "asked".into()).await;
    Ok((ready, consumers))
}

fn missing(error: &lapin::Error) -> bool {
    let not_found = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
    matches!(error.kind(), ErrorKind::ProtocolError(said) if *said.kind() == not_found)
}
