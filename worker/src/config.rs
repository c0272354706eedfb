//! The worker's environment, one field per variable.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use common::config::{Config, ConfigError, Findings, Keys, Mode, QueueUrl, Room, StoreUrl, Vars};

/// Everything that a worker is told.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Sources, models, policy, timing.
    pub shared: Config,
    /// `HANDRAIL_KEYS`, `HANDRAIL_QUEUE_KEYS`, `HANDRAIL_PSEUDONYM_KEY`.
    pub keys: Keys,
    /// `QUEUE_URL`.
    pub queue: QueueUrl,
    /// `DATABASE_URL`.
    pub store: StoreUrl,
    /// `WORKER_ADMIN_BIND`, by default `127.0.0.1:9081`.
    pub admin_bind: SocketAddr,
    /// `WORKER_CONCURRENCY`: turns at once, by default 64.
    pub concurrency: NonZeroU32,
}

/// 64 turns at once: a model answers in seconds, and a worker's memory for a waiting turn is small.
const CONCURRENCY: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);

impl WorkerConfig {
    /// Reads a worker's environment and file; every problem is told at once.
    ///
    /// # Errors
    /// [`ConfigError`] names each setting and the fix.
    pub fn load(vars: &Vars) -> Result<Self, ConfigError> {
        Self::load_for(vars, Room::Worker)
    }

    /// As [`load`](Self::load), for a process that is more than a worker.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_for(vars: &Vars, room: Room) -> Result<Self, ConfigError> {
        let mut findings = Findings::new(Mode::Development);
        let shared = Config::load(vars, room, &mut findings);
        let queue = QueueUrl::load(vars, &mut findings);
        let store = StoreUrl::load(vars, &mut findings);
        let keys = Keys::load(vars, &mut findings);
        let admin_bind = vars.parsed("WORKER_ADMIN_BIND", SocketAddr::from(([127, 0, 0, 1], 9081)), &mut findings);
        let concurrency = vars.parsed("WORKER_CONCURRENCY", CONCURRENCY, &mut findings);
        let shared = shared.checked(findings)?;
        let Some(keys) = keys else { return Err(ConfigError(Vec::new())) };
        Ok(Self { shared, keys, queue, store, admin_bind, concurrency })
    }
}
