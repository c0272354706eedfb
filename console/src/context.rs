//! What a command is given: one way from the environment to configuration, keys and open doors.

use std::sync::Arc;
use std::time::Duration;

use common::config::{Config, Findings, Keys, Mode, Problem, QueueUrl, Room, StoreUrl, Timing, Vars};
use common::queue::{self, Queue, QueueError, QueueTiming};
use common::store::{Clock, Store};

use crate::failure::Failure;
use crate::output::{self, Output};

/// How long a command waits for a broker that does not answer: longer than two reconnects.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);
const BROKER_POLL: Duration = Duration::from_millis(50);

/// Everything that a command is told from outside.
#[derive(Debug)]
pub(crate) struct Context {
    /// The environment.
    pub(crate) vars: Vars,
    /// How results are shown.
    pub(crate) output: Output,
}

/// A loaded configuration with its doors' addresses, and the keys that open them.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Sources, models, timing.
    pub(crate) config: Config,
    /// Every key.
    pub(crate) keys: Keys,
    /// Where the store is.
    pub(crate) store: StoreUrl,
    /// Where the queue is.
    pub(crate) queue: QueueUrl,
}

impl Context {
    /// The process's own environment.
    pub(crate) fn of_process(output: Output) -> Self {
        Self { vars: Vars::process(), output }
    }

    /// Sources alone, for a command that opens no door.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let mut findings = Findings::new(Mode::Development);
        let config = Config::load(&self.vars, Room::Console, &mut findings);
        Ok(config.checked(findings)?)
    }

    /// Everything that opens a door.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let mut findings = Findings::new(Mode::Development);
        let config = Config::load(&self.vars, Room::Console, &mut findings);
        let store = StoreUrl::load(&self.vars, &mut findings);
        let queue = QueueUrl::load(&self.vars, &mut findings);
        let keys = Keys::load(&self.vars, &mut findings);
        let config = config.checked(findings)?;
        let doors = ["DATABASE_URL", "QUEUE_URL", "HANDRAIL_"];
        warn(config.warnings.iter().filter(|warning| doors.iter().any(|door| warning.setting.starts_with(door))));
        let keys = keys.ok_or_else(|| Failure::cannot_run("HANDRAIL_KEYS: no usable keys"))?;
        Ok(Settings { config, keys, store, queue })
    }

    /// The store, opened.
    pub(crate) async fn store(&self) -> Result<Store, Failure> {
        self.settings()?.open_store().await
    }
}

impl Settings {
    /// Opens the store.
    pub(crate) async fn open_store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store, &self.keys, &self.config.timing, Clock::Engine).await?)
    }

    /// Opens the queue, and waits a moment for a broker.
    pub(crate) async fn open_queue(&self) -> Result<Arc<dyn Queue>, Failure> {
        let queue = queue::connect(&self.queue, patience(&self.config.timing)).await?;
        let answered = async {
            loop {
                match queue.probe().await {
                    Ok(()) => return Ok(()),
                    Err(error @ QueueError::Configuration(_)) => return Err(error),
                    Err(QueueError::Unavailable(_)) => tokio::time::sleep(BROKER_POLL).await,
                }
            }
        };
        match tokio::time::timeout(BROKER_PATIENCE, answered).await {
            Ok(answer) => answer.map(|()| queue).map_err(Failure::from),
            Err(_) => Err(Failure::cannot_run(format!(
                "QUEUE_URL: the broker did not answer within {} s: is it running, and is its login right?",
                BROKER_PATIENCE.as_secs()
            ))),
        }
    }
}

/// How patient the queue's door is.
pub(crate) fn patience(timing: &Timing) -> QueueTiming {
    QueueTiming { heartbeat: timing.heartbeat, confirm_timeout: timing.confirm }
}

/// Says what is unsafe, yet allowed here.
pub(crate) fn warn<'a>(warnings: impl IntoIterator<Item = &'a Problem>) {
    for warning in warnings {
        output::say(&format!("warning: {warning}"));
    }
}
