//! RabbitMQ behind the queue door. This file and its folder are the only ones that name lapin.
//!
//! No auto-recovery: it hides outages from the ingress and redelivers under acks already given. Each connection has one
//! supervisor here, which connects, draws the whole topology, hands out what others need, and at the first sign of
//! trouble drops the connection and begins again. Publishing and consuming have connections of their own, since a
//! resource alarm stops whatever shares a connection with a publisher. No error or log line carries the URL.

mod connection;
mod consuming;
mod publishing;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use tokio::sync::Mutex;

use super::{Consumer, Depth, Lane, PublishError, Publisher, Queue, QueueError, QueueTiming};
use crate::envelope::Envelope;
use crate::shutdown::{self, Stop, Stopper};
use connection::Broker;
use publishing::{Letter, Publishing};

/// How long an answer to a question about queues is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// RabbitMQ, connected in the background.
pub struct RabbitQueue {
    /// None: the URL cannot be read.
    broker: Option<Broker>,
    publishing: Option<Arc<Publishing>>,
    /// For questions, so that they are answered during an alarm too; opened by the first one.
    asking: Mutex<Option<Arc<Connection>>>,
    stopper: Stopper,
    stop: Stop,
}

impl RabbitQueue {
    /// Begins to connect, and goes on until closed. Needs a tokio runtime.
    #[must_use]
    pub fn connect(url: &str, timing: QueueTiming) -> Self {
        let (stopper, stop) = shutdown::channel();
        let broker = url.parse::<AMQPUri>().ok().map(|uri| Broker::new(uri, timing));
        let publishing = broker.clone().map(|broker| Arc::new(Publishing::start(broker, stop.clone())));
        Self { broker, publishing, asking: Mutex::new(None), stopper, stop }
    }

    fn parts(&self) -> Result<(&Broker, &Arc<Publishing>), QueueError> {
        let unreadable = "QUEUE_URL is no AMQP URL: amqp://user:password@host:5672/vhost, with %2f for '/'";
        match (&self.broker, &self.publishing) {
            (Some(broker), Some(publishing)) => Ok((broker, publishing)),
            _ => Err(QueueError::Configuration(unreadable.into())),
        }
    }

    async fn asking(&self) -> Result<Arc<Connection>, QueueError> {
        let (broker, _) = self.parts()?;
        if self.stop.is_raised() {
            return Err(QueueError::Unavailable("it has been closed".into()));
        }
        let mut held = self.asking.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(broker.connect("asking").await?);
        *held = Some(connection.clone());
        Ok(connection)
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publisher(&self) -> Result<Arc<dyn Publisher>, QueueError> {
        let (_, publishing) = self.parts()?;
        Ok(Arc::new(RabbitPublisher { publishing: publishing.clone() }))
    }

    async fn consumer(&self, lane: Lane, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let (broker, publishing) = self.parts()?;
        let (broker, publishing) = (broker.clone(), publishing.clone());
        Ok(Box::new(consuming::RabbitConsumer::start(broker, publishing, lane, prefetch, self.stop.clone())))
    }

    async fn depths(&self) -> Result<Vec<Depth>, QueueError> {
        let connection = self.asking().await?;
        let ask = async {
            // A passive declare of a missing queue closes its channel: one channel for one answer.
            let channel = connection.create_channel().await?;
            let mut depths = Vec::new();
            for name in topology::queues() {
                let options = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
                let queue = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await?;
                depths.push(depth(name, queue.message_count(), queue.consumer_count()));
            }
            let _closed = channel.close(200, "asked".into()).await;
            Ok::<_, lapin::Error>(depths)
        };
        match tokio::time::timeout(ANSWER, ask).await {
            Ok(depths) => depths.map_err(|error| connection::refusal(&error)),
            Err(_) => Err(QueueError::Unavailable(format!("no answer within {ANSWER:?}"))),
        }
    }

    async fn probe(&self) -> Result<(), QueueError> {
        let (_, publishing) = self.parts()?;
        publishing.state()
    }

    async fn close(&self) {
        self.stopper.stop();
        if let Some(publishing) = &self.publishing {
            publishing.ended().await;
        }
        if let Some(connection) = self.asking.lock().await.take() {
            connection::close(&connection).await;
        }
    }
}

fn depth(name: String, ready: u32, consumers: u32) -> Depth {
    let (ready, consumers) = (u64::from(ready), Some(u64::from(consumers)));
    Depth { name, ready, unacked: None, oldest_seconds: None, consumers }
}

struct RabbitPublisher {
    publishing: Arc<Publishing>,
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        let header = envelope.header();
        self.publishing
            .publish(Letter {
                queue: topology::WORK.to_owned(),
                message_id: header.event_id.to_string(),
                trace: Some(header.trace.to_string()),
                attempts: 0,
                reason: None,
                body: envelope.bytes().to_vec(),
            })
            .await
    }

    fn ready(&self) -> Result<(), PublishError> {
        self.publishing.ready()
    }
}
