//! The publishing connection: many publishes in flight on one channel, each answered by its own confirm.
//!
//! Whoever publishes gets an answer within the confirm timeout: at once while there is no connection or an alarm is
//! raised. A timed-out publish stays with the broker and may still arrive. Several timeouts in a row without an alarm
//! mean a frozen broker: the connection is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Event};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::connection::{self, Broker, CHECK, Link, Outage};
use super::topology;
use crate::queue::{PublishError, QueueError};
use crate::shutdown::Stop;

mod confirms;

use confirms::Confirms;
pub(super) use confirms::{ATTEMPTS, Letter, TRACE};

/// How many publishes may wait for the supervisor.
const WAITING: usize = 1_024;
/// How many confirms in a row may be late before the connection counts as frozen.
const FROZEN: u32 = 3;
const PURPOSE: &str = "publishing";

/// A publish on its way to the supervisor.
struct Posted {
    letter: Letter,
    answer: oneshot::Sender<Result<(), PublishError>>,
}

/// The one visible state of the connection.
#[derive(Clone)]
enum State {
    Down,
    /// The broker refuses what configuration asks for.
    Refused(String),
    Up(mpsc::Sender<Posted>),
    /// A resource alarm is raised.
    Blocked,
}

/// What publishers and the supervisor share.
pub(super) struct Publishing {
    state: watch::Receiver<State>,
    broker: Broker,
    health: Arc<Health>,
}

#[derive(Default)]
struct Health {
    /// Timeouts since the last confirm.
    late: AtomicU32,
    frozen: Notify,
}

impl Publishing {
    /// Starts the supervisor; it ends with `stop`.
    pub(super) fn start(broker: Broker, stop: Stop) -> Self {
        let (sender, state) = watch::channel(State::Down);
        let health = Arc::new(Health::default());
        tokio::spawn(supervise(broker.clone(), sender, health.clone(), stop));
        Self { state, broker, health }
    }

    /// Publishes, persistent and mandatory, and waits for the confirm.
    pub(super) async fn publish(&self, letter: Letter) -> Result<(), PublishError> {
        let limit = self.broker.timing.confirm_timeout;
        let outcome = match tokio::time::timeout(limit, self.post(letter)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PublishError::TimedOut(limit)),
        };
        match &outcome {
            Err(PublishError::TimedOut(_)) => self.late(),
            Ok(()) | Err(PublishError::Unroutable | PublishError::Refused) => {
                self.health.late.store(0, Ordering::Relaxed)
            }
            Err(PublishError::Disconnected | PublishError::Blocked | PublishError::Storage(_)) => {}
        }
        outcome
    }

    async fn post(&self, letter: Letter) -> Result<(), PublishError> {
        let posts = self.posts()?;
        let (answer, answered) = oneshot::channel();
        posts.send(Posted { letter, answer }).await.map_err(|_| PublishError::Disconnected)?;
        answered.await.unwrap_or(Err(PublishError::Disconnected))
    }

    fn posts(&self) -> Result<mpsc::Sender<Posted>, PublishError> {
        match &*self.state.borrow() {
            State::Up(posts) => Ok(posts.clone()),
            State::Blocked => Err(PublishError::Blocked),
            State::Down | State::Refused(_) => Err(PublishError::Disconnected),
        }
    }

    fn late(&self) {
        let blocked = matches!(*self.state.borrow(), State::Blocked);
        if !blocked && self.health.late.fetch_add(1, Ordering::Relaxed) + 1 >= FROZEN {
            self.health.frozen.notify_one();
        }
    }

    /// Whether a publish would be tried now.
    pub(super) fn ready(&self) -> Result<(), PublishError> {
        self.posts().map(drop)
    }

    /// The same, for an operator.
    pub(super) fn state(&self) -> Result<(), QueueError> {
        match &*self.state.borrow() {
            State::Up(_) => Ok(()),
            State::Blocked => Err(QueueError::Unavailable("the broker is blocked by a resource alarm".into())),
            State::Down => Err(QueueError::Unavailable("not connected to the broker".into())),
            State::Refused(told) => Err(QueueError::Configuration(told.clone())),
        }
    }

    /// Returns when the supervisor has closed its connection.
    pub(super) async fn ended(&self) {
        let mut state = self.state.clone();
        // The supervisor is the only sender: an error means that it has ended.
        while state.changed().await.is_ok() {}
    }
}

async fn supervise(broker: Broker, state: watch::Sender<State>, health: Arc<Health>, mut stop: Stop) {
    let mut outage = Outage::of(PURPOSE);
    loop {
        let attempt = tokio::select! { attempt = open(&broker) => attempt, () = stop.wait() => return };
        let error = match attempt {
            Ok(link) => {
                outage.over();
                health.late.store(0, Ordering::Relaxed);
                let error = serve(&link, &state, &health, &mut stop).await;
                state.send_replace(State::Down);
                connection::close(&link.connection).await;
                error
            }
            Err(error) => error,
        };
        if stop.is_raised() {
            return;
        }
        state.send_replace(match &error {
            QueueError::Configuration(told) => State::Refused(told.clone()),
            QueueError::Unavailable(_) => State::Down,
        });
        outage.tell(&error);
        tokio::select! { () = tokio::time::sleep(outage.pause()) => {}, () = stop.wait() => return }
    }
}

async fn open(broker: &Broker) -> Result<Link, QueueError> {
    let link = broker.link(PURPOSE).await?;
    let confirmed = link.channel.confirm_select(ConfirmSelectOptions::default());
    match tokio::time::timeout(CHECK * 4, confirmed).await {
        Ok(Ok(())) => Ok(link),
        Ok(Err(error)) => Err(connection::refusal(&error)),
        Err(_) => Err(QueueError::Unavailable("the broker did not answer confirm.select".into())),
    }
}

/// Serves publishes until the connection is no longer good; returns why.
async fn serve(link: &Link, state: &watch::Sender<State>, health: &Health, stop: &mut Stop) -> QueueError {
    let lost = |why: &str| QueueError::Unavailable(why.to_owned());
    let (posts, mut posted) = mpsc::channel(WAITING);
    let mut confirms = Confirms::new(link.channel.clone());
    let mut events = Box::pin(link.connection.events_listener());
    let mut check = tokio::time::interval(CHECK);
    state.send_replace(if link.connection.status().blocked() { State::Blocked } else { State::Up(posts.clone()) });
    loop {
        tokio::select! {
            Some(Posted { letter, answer }) = posted.recv() => confirms.send(letter, answer),
            returned = confirms.answer_some() => if returned { redeclare(&link.channel, &link.connection).await },
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(_)) => { state.send_replace(State::Blocked); }
                Some(Event::ConnectionUnblocked) => { state.send_replace(State::Up(posts.clone())); }
                Some(Event::Error(error)) => return connection::refusal(&error),
                Some(_) => {}
                None => return lost("the connection ended"),
            },
            _ = check.tick() => if !link.connection.status().connected() || !link.channel.status().connected() {
                return lost("the connection or its channel was closed");
            },
            () = health.frozen.notified() => if health.late.load(Ordering::Relaxed) >= FROZEN {
                return lost("the broker confirms nothing any more");
            },
            () = stop.wait() => return lost("it has been closed"),
        }
    }
}

/// A message came back: somebody has removed a queue or its binding. What configuration asks for is put back.
async fn redeclare(publishing: &Channel, connection: &lapin::Connection) {
    let again = async {
        let channel = connection.create_channel().await?;
        topology::declare(&channel).await?;
        channel.close(200, "declared".into()).await
    };
    tracing::error!(queue = PURPOSE, "the broker could not route a message; declaring the topology again");
    if !matches!(tokio::time::timeout(CHECK * 4, again).await, Ok(Ok(()))) {
        // The supervisor sees the closed channel, begins again, and tells what the broker says.
        let _closed = publishing.close(200, "the topology is not as declared".into()).await;
    }
}
