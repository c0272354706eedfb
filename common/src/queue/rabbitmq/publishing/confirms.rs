//! Which publish a confirm or a returned message belongs to.
//!
//! lapin hands a returned message to the next confirm that it resolves, which may be another's: one acknowledgement may
//! cover many publishes, resolved in any order. So nobody is answered before everything that the same
//! acknowledgement resolved has been seen, and a return is matched by a tag of our own.

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::oneshot;

use super::super::topology::EXCHANGE;
use crate::queue::PublishError;

/// Our count of the retry tiers a message has been through.
pub(in crate::queue::rabbitmq) const ATTEMPTS: &str = "x-handrail-attempts";
/// Why it was buried.
pub(in crate::queue::rabbitmq) const REASON: &str = "x-handrail-reason";
/// W3C trace context.
pub(in crate::queue::rabbitmq) const TRACE: &str = "traceparent";
/// Which publish it was, for matching a return.
const TAG: &str = "x-handrail-publish";

const PERSISTENT: u8 = 2;

/// What to publish. Its headers are always made anew, so that the broker's own (`x-death` and kin) are left behind.
pub(in crate::queue::rabbitmq) struct Letter {
    pub(in crate::queue::rabbitmq) queue: String,
    pub(in crate::queue::rabbitmq) message_id: String,
    pub(in crate::queue::rabbitmq) trace: Option<String>,
    pub(in crate::queue::rabbitmq) attempts: u32,
    pub(in crate::queue::rabbitmq) reason: Option<String>,
    pub(in crate::queue::rabbitmq) body: Vec<u8>,
}

type Answer = oneshot::Sender<Result<(), PublishError>>;

struct Resolved {
    tag: i64,
    answer: Answer,
    outcome: lapin::Result<Confirmation>,
}

/// The publishes in flight on one channel.
pub(super) struct Confirms {
    channel: Channel,
    waiting: FuturesUnordered<BoxFuture<'static, Resolved>>,
    /// Tags of returned messages whose confirm has not been answered yet.
    returned: Vec<i64>,
    last_tag: i64,
}

impl Confirms {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, waiting: FuturesUnordered::new(), returned: Vec::new(), last_tag: 0 }
    }

    /// Begins a publish.
    pub(super) fn send(&mut self, letter: Letter, answer: Answer) {
        self.last_tag += 1;
        let (tag, channel) = (self.last_tag, self.channel.clone());
        let publish = async move {
            let outcome = publish(&channel, letter, tag).await;
            Resolved { tag, answer, outcome }
        };
        self.waiting.push(publish.boxed());
    }

    /// Waits for confirms and answers those that can be answered; true when a message had come back.
    pub(super) async fn answer_some(&mut self) -> bool {
        let Some(first) = self.waiting.next().await else { return std::future::pending().await };
        // From here on nothing waits, so that a caller who selects loses nothing.
        let mut seen = vec![first];
        self.take_resolved(&mut seen);
        let mut any_returned = false;
        while !seen.is_empty() {
            self.finish_acknowledgement();
            let mut later = Vec::new();
            self.take_resolved(&mut later);
            for resolved in seen.iter().chain(&later) {
                self.note_return(resolved);
            }
            any_returned |= !self.returned.is_empty();
            for resolved in seen {
                self.answer(resolved);
            }
            seen = later;
        }
        any_returned
    }

    /// lapin resolves all of one acknowledgement under a lock that this call takes too: once it is back, whatever was
    /// half resolved is whole.
    fn finish_acknowledgement(&self) {
        let _not_waited_for = self.channel.wait_for_confirms().now_or_never();
    }

    fn take_resolved(&mut self, into: &mut Vec<Resolved>) {
        while let Some(Some(resolved)) = self.waiting.next().now_or_never() {
            into.push(resolved);
        }
    }

    fn note_return(&mut self, resolved: &Resolved) {
        let (Ok(Confirmation::Ack(Some(message))) | Ok(Confirmation::Nack(Some(message)))) = &resolved.outcome else {
            return;
        };
        let headers = message.properties.headers().as_ref();
        if let Some(AMQPValue::LongLongInt(tag)) = headers.and_then(|headers| headers.inner().get(TAG))
            && !self.returned.contains(tag)
        {
            self.returned.push(*tag);
        }
    }

    fn answer(&mut self, resolved: Resolved) {
        let returned = self.returned.iter().position(|tag| *tag == resolved.tag);
        if let Some(at) = returned {
            self.returned.swap_remove(at);
        }
        let outcome = match resolved.outcome {
            Ok(Confirmation::Ack(_)) if returned.is_some() => Err(PublishError::Unroutable),
            Ok(Confirmation::Ack(_)) => Ok(()),
            Ok(Confirmation::Nack(_)) => Err(PublishError::Refused),
            Ok(Confirmation::NotRequested) | Err(_) => Err(PublishError::Disconnected),
        };
        // Whoever published may have stopped waiting.
        let _gone = resolved.answer.send(outcome);
    }
}

async fn publish(channel: &Channel, letter: Letter, tag: i64) -> lapin::Result<Confirmation> {
    let mut headers = FieldTable::default();
    headers.insert(ATTEMPTS.into(), AMQPValue::LongLongInt(i64::from(letter.attempts)));
    headers.insert(TAG.into(), AMQPValue::LongLongInt(tag));
    if let Some(trace) = &letter.trace {
        headers.insert(TRACE.into(), AMQPValue::LongString(trace.as_str().into()));
    }
    if let Some(reason) = &letter.reason {
        headers.insert(REASON.into(), AMQPValue::LongString(reason.as_str().into()));
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/vnd.handrail.envelope".into())
        .with_message_id(letter.message_id.as_str().into())
        .with_headers(headers);
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    channel.basic_publish(EXCHANGE.into(), letter.queue.as_str().into(), options, &letter.body, properties).await?.await
}
