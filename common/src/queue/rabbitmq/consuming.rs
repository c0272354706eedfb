//! A consuming connection: topology, then prefetch, then the consumer, every time anew. While it is idle the broker is
//! asked about it (`watch`), and whatever is found wrong builds all of it anew.
//!
//! A delivery holds its channel open, so that what is out may still be settled after the consumer was closed. A
//! message that goes to a retry tier or to the dead queue is published there and confirmed before it is acked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Received;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Channel, Event};
use tokio::sync::mpsc;

use super::connection::{self, Broker, CHECK, Link, Outage};
use super::publishing::{ATTEMPTS, Letter, Publishing, TRACE};
use super::{ANSWER, topology};
use crate::metrics as names;
use crate::queue::{ABANDONED, Consumer, Delivery, Lane, QueueError, Settle, Tier};
use crate::shutdown::Stop;

mod watch;

use watch::{CANCELLED, Finding, LOOK, Token, Watch};

const TAG: &str = "handrail";

/// A consumer of one queue.
pub(super) struct RabbitConsumer {
    received: mpsc::Receiver<(Received, Arc<Channel>)>,
    publishing: Arc<Publishing>,
}

impl RabbitConsumer {
    pub(super) fn start(broker: Broker, publishing: Arc<Publishing>, lane: Lane, prefetch: u16, stop: Stop) -> Self {
        let prefetch = prefetch.max(1);
        let (sender, received) = mpsc::channel(usize::from(prefetch));
        tokio::spawn(Feed { broker, lane, prefetch, token: Token::new(), received: sender }.supervise(stop));
        Self { received, publishing }
    }

    fn delivery(&self, received: Received, channel: Arc<Channel>) -> Delivery {
        let headers = received.properties.headers().clone().unwrap_or_default();
        let attempts = match headers.inner().get(ATTEMPTS) {
            Some(AMQPValue::LongLongInt(attempts)) => u32::try_from(*attempts).unwrap_or(0),
            _ => 0,
        };
        let trace = match headers.inner().get(TRACE) {
            Some(AMQPValue::LongString(trace)) => Some(trace.to_string()),
            _ => None,
        };
        let held = Held {
            acker: received.acker,
            message_id: received.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
            trace,
            publishing: self.publishing.clone(),
            channel,
            settled: AtomicBool::new(false),
        };
        Delivery::new(received.data, attempts, received.redelivered, Box::new(held))
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let (received, channel) = self.received.recv().await?;
            // What came by a connection that is gone since has been given to somebody else.
            if received.acker.usable() {
                return Some(self.delivery(received, channel));
            }
        }
    }

    async fn close(&mut self) {
        self.received.close();
        while let Some((received, _channel)) = self.received.recv().await {
            give_back(&received.acker).await;
        }
    }
}

/// The supervisor of one consuming connection.
struct Feed {
    broker: Broker,
    lane: Lane,
    prefetch: u16,
    token: Token,
    received: mpsc::Sender<(Received, Arc<Channel>)>,
}

impl Feed {
    const fn purpose(&self) -> &'static str {
        match self.lane {
            Lane::Work => "consuming work",
            Lane::Dead => "consuming dead",
        }
    }

    async fn supervise(self, mut stop: Stop) {
        let mut outage = Outage::of(self.purpose());
        loop {
            let attempt = tokio::select! {
                attempt = self.open() => attempt,
                () = self.received.closed() => return,
                () = stop.wait() => return,
            };
            let error = match attempt {
                Ok((link, consumer)) => {
                    outage.over();
                    let Some(error) = self.serve(&link, consumer, &mut stop).await else { return };
                    connection::close(&link.connection).await;
                    error
                }
                Err(error) => error,
            };
            outage.tell(&error);
            tokio::select! {
                () = tokio::time::sleep(outage.pause()) => {}
                () = self.received.closed() => return,
                () = stop.wait() => return,
            }
        }
    }

    async fn open(&self) -> Result<(Link, lapin::Consumer), QueueError> {
        let link = self.broker.link(self.purpose()).await?;
        let consumer = self.consume(&link.channel).await?;
        Ok((link, consumer))
    }

    /// The prefetch belongs to the channel's next consumer, so it must come first.
    async fn consume(&self, channel: &Channel) -> Result<lapin::Consumer, QueueError> {
        let consume = async {
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
            let (queue, options) = (topology::lane(self.lane), BasicConsumeOptions::default());
            self.token.attach(channel, queue).await?;
            channel.basic_consume(queue.into(), TAG.into(), options, FieldTable::default()).await
        };
        match tokio::time::timeout(ANSWER, consume).await {
            Ok(consumer) => consumer.map_err(|error| connection::refusal(&error)),
            Err(_) => Err(QueueError::Unavailable(format!("no consumer within {ANSWER:?}"))),
        }
    }

    /// Hands over deliveries until the connection is no longer good, and says why; None when nobody wants more.
    async fn serve(&self, link: &Link, mut consumer: lapin::Consumer, stop: &mut Stop) -> Option<QueueError> {
        let lost = |why: &str| Some(QueueError::Unavailable(why.to_owned()));
        let mut events = Box::pin(link.connection.events_listener());
        let mut check = tokio::time::interval(CHECK);
        let mut look = tokio::time::interval(LOOK);
        let mut watch = Watch::over(&link.channel, topology::lane(self.lane), self.prefetch);
        loop {
            tokio::select! {
                delivery = consumer.next() => match delivery {
                    // Never full: the broker sends no more than the prefetch.
                    Some(Ok(delivery)) => if let Err(unsent) = self.received.send((delivery, watch.delivered())).await {
                        give_back(&unsent.0.0.acker).await;
                    },
                    Some(Err(error)) => return Some(connection::refusal(&error)),
                    None => return Some(self.rebuild(CANCELLED)),
                },
                _ = look.tick() => if let Some(found) = watch.look(&link.connection, &self.token).await {
                    return Some(self.rebuild(found));
                },
                event = events.next() => match event {
                    Some(Event::Error(error)) => return Some(connection::refusal(&error)),
                    Some(_) => {}
                    None => return lost("the connection ended"),
                },
                _ = check.tick() => if !link.connection.status().connected() || !link.channel.status().connected() {
                    return lost("the connection or its channel was closed");
                } else if let Some(found) = watch.count() {
                    return Some(self.rebuild(found));
                },
                () = self.received.closed() => {
                    self.token.remove(&link.channel).await;
                    cancel(link, consumer).await;
                    return None;
                }
                () = stop.wait() => {
                    self.token.remove(&link.channel).await;
                    connection::close(&link.connection).await;
                    return None;
                }
            }
        }
    }
}

impl Feed {
    /// What is found wrong with the consumer ends its connection, which gives back all that was delivered over it.
    fn rebuild(&self, (word, told): Finding) -> QueueError {
        let queue = topology::lane(self.lane);
        metrics::counter!(names::CONSUMERS_REBUILT, "queue" => queue, "reason" => word).increment(1);
        QueueError::Unavailable(told.to_owned())
    }
}

/// Ends the consumer and leaves the channel to those who still hold deliveries.
async fn cancel(link: &Link, mut consumer: lapin::Consumer) {
    let cancelled = link.channel.basic_cancel(TAG.into(), BasicCancelOptions::default());
    let _ended = tokio::time::timeout(ANSWER, cancelled).await;
    while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
        give_back(&delivery.acker).await;
    }
}

/// Puts a message back; what cannot be put back now comes back with the end of its channel.
async fn give_back(acker: &Acker) {
    let _later = acker.nack(BasicNackOptions { requeue: true, multiple: false }).await;
}

struct Held {
    acker: Acker,
    message_id: String,
    trace: Option<String>,
    publishing: Arc<Publishing>,
    /// Open for as long as somebody may settle.
    channel: Arc<Channel>,
    settled: AtomicBool,
}

impl Held {
    async fn move_to(
        &self,
        queue: String,
        body: &[u8],
        attempts: u32,
        reason: Option<String>,
    ) -> Result<(), QueueError> {
        let (message_id, trace) = (self.message_id.clone(), self.trace.clone());
        let letter = Letter { queue, message_id, trace, attempts, reason, body: body.to_vec() };
        self.publishing.publish(letter).await.map_err(|error| QueueError::Unavailable(error.to_string()))?;
        self.ack().await.map(drop)
    }
}

#[async_trait]
impl Settle for Held {
    async fn ack(&self) -> Result<bool, QueueError> {
        match tokio::time::timeout(ANSWER, self.acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(acked)) => {
                self.settled.store(true, Ordering::Relaxed);
                Ok(acked)
            }
            Ok(Err(error)) => Err(connection::refusal(&error)),
            Err(_) => Err(QueueError::Unavailable(format!("no ack within {ANSWER:?}"))),
        }
    }

    async fn retry(&self, body: &[u8], attempts: u32, tier: Tier) -> Result<(), QueueError> {
        self.move_to(topology::tier(tier), body, attempts, None).await
    }

    async fn bury(&self, body: &[u8], attempts: u32, reason: &str) -> Result<(), QueueError> {
        self.move_to(topology::DEAD.to_owned(), body, attempts, Some(reason.to_owned())).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        let (false, true, Ok(runtime)) = (*self.settled.get_mut(), self.acker.usable(), runtime) else { return };
        let (acker, channel) = (self.acker.clone(), self.channel.clone());
        runtime.spawn(async move {
            // A requeued message comes again at once: the rest keeps a failure from becoming a hot loop.
            tokio::time::sleep(ABANDONED).await;
            give_back(&acker).await;
            drop(channel);
        });
    }
}
