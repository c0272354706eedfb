//! One connection to the broker: opened within a time of our own, and what its errors mean.

use std::sync::Arc;
use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};

use super::topology;
use crate::metrics as names;
use crate::queue::{QueueError, QueueTiming};

/// lapin's connect has no time limit of its own.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a polite goodbye may take.
const CLOSE: Duration = Duration::from_secs(2);
/// How often a silent connection is looked at.
pub(super) const CHECK: Duration = Duration::from_millis(500);

/// Where the broker is and how patient we are with it.
#[derive(Clone)]
pub(super) struct Broker {
    uri: Arc<AMQPUri>,
    pub(super) timing: QueueTiming,
}

/// A connection with its topology declared and a channel open.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
}

impl Broker {
    pub(super) fn new(mut uri: AMQPUri, timing: QueueTiming) -> Self {
        uri.query.heartbeat = Some(u16::try_from(timing.heartbeat.as_secs().max(1)).unwrap_or(u16::MAX));
        Self { uri: Arc::new(uri), timing }
    }

    /// Connects; `purpose` is what an operator sees in the broker's list of connections.
    pub(super) async fn connect(&self, purpose: &str) -> Result<Connection, QueueError> {
        let name = format!("handrail {purpose} {}", std::process::id());
        let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
        match tokio::time::timeout(CONNECT, Connection::connect_uri((*self.uri).clone(), properties)).await {
            Ok(connection) => connection.map_err(|error| refusal(&error)),
            Err(_) => Err(QueueError::Unavailable(format!("no connection within {CONNECT:?}"))),
        }
    }

    /// Connects, opens a channel and declares the topology.
    pub(super) async fn link(&self, purpose: &str) -> Result<Link, QueueError> {
        let connection = self.connect(purpose).await?;
        let prepare = async {
            let channel = connection.create_channel().await?;
            topology::declare(&channel).await?;
            Ok::<_, lapin::Error>(channel)
        };
        match tokio::time::timeout(CONNECT, prepare).await {
            Ok(Ok(channel)) => Ok(Link { connection, channel }),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(QueueError::Unavailable(format!("the topology was not declared within {CONNECT:?}"))),
        }
    }
}

/// Says goodbye, briefly.
pub(super) async fn close(connection: &Connection) {
    // An error or a timeout leaves a connection that ends with its socket.
    let _ended = tokio::time::timeout(CLOSE, connection.close(200, "goodbye".into())).await;
}

/// What an error means to an operator. A refusal by the broker names itself and holds no credentials.
pub(super) fn refusal(error: &lapin::Error) -> QueueError {
    let ErrorKind::ProtocolError(said) = error.kind() else {
        return QueueError::Unavailable(error.to_string());
    };
    let text = said.get_message().to_string();
    match said.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => QueueError::Configuration(format!(
            "the broker has this exchange or queue with other settings; delete it or use another vhost: {text}"
        )),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            QueueError::Configuration(format!("the broker refuses QUEUE_URL's user: {text}"))
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
            QueueError::Configuration(format!("the broker refuses QUEUE_URL's vhost: {text}"))
        }
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => QueueError::Unavailable(text),
    }
}

/// What to log and count about an outage: each kind of trouble once, not every attempt.
pub(super) struct Outage {
    purpose: &'static str,
    connected: bool,
    told: Option<String>,
    attempts: u32,
}

impl Outage {
    /// Of a connection that has not been made yet.
    pub(super) fn of(purpose: &'static str) -> Self {
        metrics::gauge!(names::BROKER_CONNECTED, "purpose" => purpose).set(0.0);
        Self { purpose, connected: false, told: None, attempts: 0 }
    }

    /// Logs trouble that has not been logged since the last good connection.
    pub(super) fn tell(&mut self, error: &QueueError) {
        let purpose = self.purpose;
        metrics::gauge!(names::BROKER_CONNECTED, "purpose" => purpose).set(0.0);
        if std::mem::take(&mut self.connected) {
            metrics::counter!(names::BROKER_RECONNECTS, "purpose" => purpose).increment(1);
        }
        let text = error.to_string();
        if self.told.as_deref() != Some(text.as_str()) {
            match error {
                QueueError::Configuration(_) => {
                    tracing::error!(queue = purpose, error = %text, "the broker refuses us")
                }
                QueueError::Unavailable(_) => {
                    tracing::warn!(queue = purpose, error = %text, "the broker is out of reach")
                }
            }
            self.told = Some(text);
        }
    }

    /// Forgets it all: the connection is good.
    pub(super) fn over(&mut self) {
        tracing::info!(queue = self.purpose, "connected to the broker");
        metrics::gauge!(names::BROKER_CONNECTED, "purpose" => self.purpose).set(1.0);
        *self = Self { purpose: self.purpose, connected: true, told: None, attempts: 0 };
    }

    /// How long to wait before the next attempt: 0.1 s doubling to 2 s, with jitter so that a fleet does not knock
    /// at once.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = Duration::from_millis(100 << self.attempts.min(5)).min(Duration::from_secs(2));
        self.attempts += 1;
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_to_two_seconds_and_starts_again_after_a_good_connection() {
        let mut outage = Outage::of("test");
        let pauses: Vec<u128> = (0..8).map(|_| outage.pause().as_millis()).collect();
        assert!((50..=100).contains(&pauses[0]), "{pauses:?}");
        assert!((200..=400).contains(&pauses[2]), "{pauses:?}");
        assert!((1_000..=2_000).contains(&pauses[7]), "{pauses:?}");
        outage.over();
        assert!(outage.pause() <= Duration::from_millis(100));
    }
}
