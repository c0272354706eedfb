//! The thinker: takes events in, gives each conversation one turn at a time, and delivers what was approved.
//!
//! Reading order: [`policy`] (what may be said), [`pipeline`] (one turn's stages), [`intake`], [`turn`] and
//! [`deliver`] (the protocol), [`dispatch`] (slots, rings, the sweep), [`chores`], [`models`] and [`channels`] (the
//! two outsides, through one HTTP client), [`recovery`] (what a failure means), [`outages`] (what waits for them),
//! [`brief`] and [`notices`] (what teams are told), [`rehearsal`] (a dead letter's replay, without doing it), [`reload`]
//! (another policy while it runs).

mod accounts;
pub mod bell;
pub mod brief;
pub mod calendar;
pub mod channels;
pub mod chores;
pub mod config;
pub mod deliver;
pub mod desk;
pub mod dispatch;
mod http;
pub mod intake;
pub mod models;
pub mod notices;
pub mod outages;
pub mod pipeline;
pub mod policy;
pub mod recovery;
pub mod rehearsal;
pub mod reload;
mod retry_after;
pub mod turn;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::config::{Config, Mode};
use common::domain::WorkerId;
use common::queue::{Consumer, Lane, Queue, QueueError, QueueTiming};
use common::shutdown::{self, Hangups, Stop};
use common::store::{Clock, Store, StoreError};
use common::telemetry::field;
use face::{Check, Server};
use tokio::net::TcpListener;

use crate::channels::Channels;
use crate::config::WorkerConfig;
use crate::deliver::Deliveries;
use crate::desk::Desk;
use crate::dispatch::Dispatch;
use crate::intake::Otherwise;
use crate::models::chain::Chain;
use crate::notices::Notifiers;
use crate::outages::Outages;
use crate::pipeline::guardrails::Guardrails;
use crate::policy::Policy;
use crate::turn::Turns;

/// Unsettled deliveries at once: intake is quick, so a few keep it busy, and a dead worker gives few back.
const PREFETCH: u16 = 32;
/// The dead lane is rarely used and never urgent.
const DEAD_PREFETCH: u16 = 4;
/// How long readiness waits for a door.
const PROBE: Duration = Duration::from_secs(2);

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy.
    #[error("the policy cannot be used: {0}")]
    Policy(String),
    /// No model, or one that cannot be spoken to.
    #[error("the model cannot be used: {0}")]
    Model(String),
    /// A destination of notices.
    #[error("{0}")]
    Notify(String),
    /// The store.
    #[error("DATABASE_URL: {0}")]
    Store(#[from] StoreError),
    /// The queue.
    #[error("QUEUE_URL: {0}")]
    Queue(#[from] QueueError),
    /// The private bind.
    #[error("WORKER_ADMIN_BIND: cannot listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// Metrics cannot be gathered.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// A worker that is ready to run.
pub struct Worker {
    desk: Arc<Desk>,
    queue: Arc<dyn Queue>,
    consumers: [Box<dyn Consumer>; 2],
    turns: Dispatch,
    deliveries: Dispatch,
    admin: Server,
    admin_address: SocketAddr,
    draining: Arc<AtomicBool>,
    policy: Option<PathBuf>,
    hangups: Option<Hangups>,
}

impl Worker {
    /// Opens both doors and prepares everything; nothing is taken in before [`run_until`](Self::run_until).
    ///
    /// # Errors
    /// [`StartError`] names what is missing.
    pub async fn open(config: WorkerConfig) -> Result<Self, StartError> {
        let timing = &config.shared.timing;
        let store = Store::open(&config.store, &config.keys, timing, Clock::Engine).await?;
        let patience = QueueTiming { heartbeat: timing.heartbeat, confirm_timeout: timing.confirm };
        let queue = common::queue::connect(&config.queue, patience).await?;
        Self::start(config, store, queue).await
    }

    /// As [`open`](Self::open), over doors that are open already.
    ///
    /// # Errors
    /// [`StartError`] names what is missing.
    pub async fn start(config: WorkerConfig, store: Store, queue: Arc<dyn Queue>) -> Result<Self, StartError> {
        let guardrails = guardrails(&config.shared)?;
        store.hold_after(guardrails.policy().held_classes());
        let timing = config.shared.timing.clone();
        let unusable = |error: models::chain::NoChain| StartError::Model(error.to_string());
        let chain = Chain::connect(&config.shared.models, timing.model_deadline).map_err(unusable)?;
        chain.affords(guardrails.policy().spending()).map_err(unusable)?;
        for variant in guardrails.policy().variants().iter().filter(|variant| !variant.models.is_empty()) {
            drop(chain.of(&variant.models).map_err(unusable)?);
        }
        let channels = Channels::of(&config.shared.sources, &timing);
        let notifiers = notifiers(&config.shared, &channels, guardrails.policy())?;
        let (turn_bell, turn_ear) = bell::bell();
        let (delivery_bell, delivery_ear) = bell::bell();
        let consumers = [queue.consumer(Lane::Work, PREFETCH).await?, queue.consumer(Lane::Dead, DEAD_PREFETCH).await?];
        let draining = Arc::new(AtomicBool::new(false));
        let admin = TcpListener::bind(config.admin_bind).await;
        let admin = admin.map_err(|error| StartError::Bind(config.admin_bind, error))?;
        let admin_address = admin.local_addr().map_err(|error| StartError::Bind(config.admin_bind, error))?;
        let ready = readiness(store.clone(), queue.clone(), draining.clone());
        let routes = face::admin::router(ready).map_err(StartError::Metrics)?;
        let size = config.concurrency.get();
        let desk = Desk {
            worker: WorkerId::random(),
            store,
            queue_keys: config.keys.shared.queue.clone(),
            policies: ArcSwap::from_pointee(guardrails),
            outages: Outages::new(&chain.names(), config.shared.sources.keys(), &timing),
            chain,
            channels,
            notifiers,
            turns: turn_bell,
            deliveries: delivery_bell,
            dice: rand::random::<f64>,
            timing,
        };
        Ok(Self {
            turns: Dispatch::new(turn_ear, size, desk.timing.sweep),
            deliveries: Dispatch::new(delivery_ear, size, desk.timing.sweep),
            desk: Arc::new(desk),
            queue,
            consumers,
            admin: Server::new(admin, routes),
            admin_address,
            draining,
            policy: config.shared.policy,
            hangups: None,
        })
    }

    /// Reads the policy again at every hangup.
    #[must_use]
    pub fn reloading_on(self, hangups: Hangups) -> Self {
        Self { hangups: Some(hangups), ..self }
    }

    /// Where health and metrics are.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Works until the stop is raised, then drains in order: intake, then turns, then deliveries, within the drain's
    /// time. A model call is handed back; a begun send is awaited.
    pub async fn run_until(self, stop: Stop) {
        let desk = self.desk;
        tracing::info!({ field::WORKER } = %desk.worker, { field::BIND } = %self.admin_address, "worker runs");
        // What keeps claims alive outlives what holds them.
        let (last, last_stop) = shutdown::channel();
        let renewal = tokio::spawn(chores::renew(desk.clone(), last_stop.clone()));
        let admin = tokio::spawn(self.admin.run_until(last_stop, PROBE));
        tokio::spawn(chores::tend(desk.clone(), stop.clone()));
        tokio::spawn(chores::measure(desk.clone(), self.queue.clone(), stop.clone()));
        let notices = tokio::spawn(notices::run(desk.clone(), stop.clone()));
        tokio::spawn(accounts::keep(desk.clone(), self.queue.clone(), stop.clone()));
        if let Some(hangups) = self.hangups {
            tokio::spawn(reload::keep(desk.clone(), self.policy, hangups, stop.clone()));
        }
        let [work, dead] = self.consumers;
        let intake = tokio::spawn(intake::run(desk.clone(), work, Otherwise::Forward, stop.clone()));
        let dead = tokio::spawn(intake::run(desk.clone(), dead, Otherwise::Keep, stop.clone()));
        let turns = Turns { desk: desk.clone(), stop: stop.clone() };
        let turns = tokio::spawn(self.turns.run(Arc::new(turns), stop.clone()));
        let gates = tokio::spawn(outages::keep_gates(desk.clone(), stop.clone()));
        let deliveries = Deliveries { desk: desk.clone(), stop: stop.clone() };
        let deliveries = tokio::spawn(self.deliveries.run(Arc::new(deliveries), stop.clone()));
        let mut stop = stop;
        stop.wait().await;
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!({ field::WORKER } = %desk.worker, "worker drains");
        let drained = async {
            for part in [intake, dead, turns, deliveries, notices, gates] {
                // An error means that the part panicked; what it held runs out by itself.
                let _ended = part.await;
            }
        };
        if tokio::time::timeout(desk.timing.drain, drained).await.is_err() {
            tracing::warn!({ field::WORKER } = %desk.worker, { field::OUTCOME } = "cut", "the drain's time was over");
        }
        last.stop();
        let _ended = (renewal.await, admin.await);
        self.queue.close().await;
        desk.store.close().await;
        tracing::info!({ field::WORKER } = %desk.worker, "worker ended");
    }
}

/// The configured policy, ready to judge.
fn guardrails(config: &Config) -> Result<Guardrails, StartError> {
    reload::ready(config.policy.as_deref()).map_err(|error| StartError::Policy(error.to_string()))
}

/// The ways to teams. A destination that the policy names and the file does not describe tells nobody: in production the
/// worker does not start.
fn notifiers(config: &Config, channels: &Channels, policy: &Policy) -> Result<Notifiers, StartError> {
    let notifiers = Notifiers::of(config, channels).map_err(StartError::Notify)?;
    for name in notifiers.missing(policy) {
        let why = format!("the policy notifies '{name}', which no [[notify]] in handrail.toml describes");
        if config.mode == Mode::Production {
            return Err(StartError::Notify(why));
        }
        tracing::warn!({ field::DESTINATION } = name, "{why}: its teams are not told");
    }
    Ok(notifiers)
}

fn readiness(store: Store, queue: Arc<dyn Queue>, draining: Arc<AtomicBool>) -> face::admin::Readiness {
    Arc::new(move || {
        let (store, queue, draining) = (store.clone(), queue.clone(), draining.clone());
        Box::pin(async move {
            let store = store.probe(PROBE).await.map_err(|_| "unavailable");
            let queue = match tokio::time::timeout(PROBE, queue.probe()).await {
                Ok(answer) => answer.map_err(|_| "unavailable"),
                Err(_) => Err("timed_out"),
            };
            for (door, result) in [("store", &store), ("queue", &queue)] {
                metrics::gauge!(common::metrics::DOOR_UP, "door" => door).set(f64::from(u8::from(result.is_ok())));
            }
            let drain = if draining.load(Ordering::Relaxed) { Err("draining") } else { Ok(()) };
            vec![Check::of("store", store), Check::of("queue", queue), Check::of("drain", drain)]
        })
    })
}
