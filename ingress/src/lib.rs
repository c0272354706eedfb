//! The ingress: one webhook in, proved, read, sealed and queued before its 200.
//!
//! It holds signing secrets and the right to publish, and neither a store nor a store's key. A 2xx leaves only after
//! the queue has confirmed every event of the request, or the spool has it on disk; our own fault is a 503 with
//! Retry-After, never a 4xx. Every few seconds a tally vouches for what was confirmed.

mod admission;
mod config;
mod door;
mod handshake;
mod outlet;
mod receive;
mod rejection;
mod router;
mod sequence;
mod spool;
mod tally;
mod visit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use common::config::ConfigError;
use common::domain::Micros;
use common::queue::{Publisher, QueueError};
use common::shutdown::{self, Stop};
use face::{Check, Server};
use tokio::net::TcpListener;

pub use config::{IngressConfig, SpoolConfig};
use door::Door;
use spool::Spool;
pub use spool::{SpoolError, SpoolView};
use tally::Teller;

/// How long the private bind may finish its answers after the public one has drained.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Why an ingress does not start. Names the setting and the fix.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The queue cannot be opened.
    #[error("QUEUE_URL: {0}")]
    Queue(#[from] QueueError),
    /// The spool cannot be used.
    #[error("INGRESS_SPOOL_DIR: {0}")]
    Spool(#[from] SpoolError),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Bind {
        /// The variable.
        setting: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The process may not listen for its stop signal.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] std::io::Error),
    /// Metrics cannot be gathered.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// An ingress that listens and does not serve yet.
pub struct Ingress {
    public: Server,
    admin: Server,
    address: SocketAddr,
    admin_address: SocketAddr,
    routes: Router,
    draining: Arc<AtomicBool>,
    drain: Duration,
    chores: Chores,
}

/// What an ingress does that no request asks for.
struct Chores {
    door: Arc<Door>,
    teller: Teller,
    tell_every: Duration,
}

impl std::fmt::Debug for Ingress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ingress({}, {})", self.address, self.admin_address)
    }
}

impl Ingress {
    /// Opens the spool, if there is one, binds both addresses (port 0 picks a free one) and prepares to publish.
    ///
    /// # Errors
    /// [`StartError`] names the folder that cannot be used or the address that cannot be listened on.
    pub async fn bind(config: IngressConfig, publisher: Arc<dyn Publisher>) -> Result<Self, StartError> {
        // Before the spool, which counts what it finds.
        common::metrics::install().map_err(StartError::Metrics)?;
        let spool = match &config.spool {
            Some(spool) => Some(Spool::open(spool.folder.clone(), spool.max_bytes).await?),
            None => None,
        };
        let (public, address) = listen("INGRESS_BIND", config.bind).await?;
        let (admin, admin_address) = listen("INGRESS_ADMIN_BIND", config.admin_bind).await?;
        let draining = Arc::new(AtomicBool::new(false));
        let (drain, tell_every, clock) = (config.timing.drain, config.timing.tally, config.clock);
        let door = Arc::new(Door::new(config, publisher, spool));
        let admin_routes =
            face::admin::router(readiness(door.clone(), draining.clone())).map_err(StartError::Metrics)?;
        let routes = router::routes(door.clone());
        let chores = Chores::of(door, tell_every, clock);
        Ok(Self {
            public: Server::new(public, routes.clone()),
            admin: Server::new(admin, admin_routes),
            address,
            admin_address,
            routes,
            draining,
            drain,
            chores,
        })
    }

    /// The public routes, for a caller that serves them itself.
    pub fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// Where webhooks are taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until the stop is raised; then accepts no more, and finishes what has begun within the drain's time.
    pub async fn run_until(self, stop: Stop) {
        let (admin_stopper, admin_stop) = shutdown::channel();
        let admin = tokio::spawn(self.admin.run_until(admin_stop, ADMIN_DRAIN));
        let (chores_stopper, chores_stop) = shutdown::channel();
        let chores = tokio::spawn(self.chores.run_until(chores_stop));
        let (draining, mut raised) = (self.draining, stop.clone());
        tokio::spawn(async move {
            raised.wait().await;
            draining.store(true, Ordering::Relaxed);
        });
        self.public.run_until(stop, self.drain).await;
        chores_stopper.stop();
        // An error means that a chore panicked: what it had left to do, the next start does.
        let _done = chores.await;
        admin_stopper.stop();
        // An error means that the task panicked, and there is nothing left to serve.
        let _ended = admin.await;
    }
}

impl Chores {
    fn of(door: Arc<Door>, tell_every: Duration, clock: fn() -> Micros) -> Self {
        let (book, outlet, keys) = (door.sequencer.book.clone(), door.outlet.clone(), door.keys.queue.clone());
        Self { teller: Teller { book, outlet, keys, clock }, tell_every, door }
    }

    /// Drains the spool and tells tallies until the stop, then tells the last and gives the spool's folder up.
    async fn run_until(self, stop: Stop) {
        let drain = async {
            if let Some(spool) = &self.door.spool {
                spool::drain(spool, &self.door.outlet, &self.door.sequencer.book, stop.clone()).await;
            }
        };
        tokio::join!(drain, self.teller.run(self.tell_every, stop.clone()));
        self.teller.finish().await;
        if let Some(spool) = &self.door.spool {
            spool.close().await;
        }
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn readiness(door: Arc<Door>, draining: Arc<AtomicBool>) -> face::admin::Readiness {
    Arc::new(move || {
        let queue = door.outlet.ready().map_err(|error| error.reason());
        metrics::gauge!(common::metrics::DOOR_UP, "door" => "queue").set(if queue.is_ok() { 1.0 } else { 0.0 });
        let drain = if draining.load(Ordering::Relaxed) { Err("draining") } else { Ok(()) };
        let mut checks = vec![Check::of("drain", drain)];
        match &door.spool {
            None => checks.push(Check::of("queue", queue)),
            // Each stands in for the other: only without both can nothing be accepted.
            Some(spool) => {
                let spools = spool.trouble().is_none();
                checks.push(Check::of("queue", queue).covered(spools));
                checks.push(Check::of("spool", spool.state()).covered(queue.is_ok() || spools));
            }
        }
        Box::pin(async move { checks })
    })
}
