//! All rooms in one process. The only file that knows ingress and worker.
//!
//! One queue and one store are opened and shared. On the stop signal the ingress drains first, so that what it has
//! promised is in the queue, and then the worker; what is left in the queue waits there for the next start.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use common::config::{Config, Mode, Problem, Protocol, QueueUrl, Room, StoreUrl, Vars};
use common::domain::SourceName;
use common::queue::{self, Queue};
use common::shutdown::{self, Hangups, Stop, Stopper};
use common::store::{Clock, Store};
pub(crate) use ingress::SpoolView;
use ingress::{Ingress, IngressConfig};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use worker::Worker;
use worker::channels::{Channels, split};
use worker::config::WorkerConfig;

use crate::context::{self, Context};
use crate::failure::{Answer, Failure};
use crate::output;

/// What every channel takes in one send; for a source that is not configured where the command runs.
const NARROWEST_LIMIT: usize = 4_096;

/// A person's words in the parts that a source's channel takes.
pub(crate) fn parts(config: &Config, source: &SourceName, text: &str) -> Vec<String> {
    let channel = Channels::of(&config.sources, &config.timing).for_source(source);
    split(text, channel.map_or(NARROWEST_LIMIT, |channel| channel.limit()))
}

/// `handrail up`.
pub(crate) async fn run(context: &Context) -> Answer {
    let stop =
        shutdown::on_signals().map_err(|error| Failure::cannot_run(format!("cannot listen for signals: {error}")))?;
    let hangups =
        shutdown::hangups().map_err(|error| Failure::cannot_run(format!("cannot listen for signals: {error}")))?;
    let house = House::start(&context.vars, Some(hangups)).await?;
    common::steps::arm(&house.config.faults);
    context::warn(&house.warnings);
    output::say(&house.told());
    if context.output.json() {
        context.output.object(&house.addresses(), String::new);
    }
    house.run_until(stop).await;
    Ok(())
}

/// Ingress and worker, running over doors that they share.
pub(crate) struct House {
    /// Where webhooks are taken.
    pub(crate) address: SocketAddr,
    /// What configuration said.
    pub(crate) config: Config,
    /// The store, open as long as the house runs.
    pub(crate) store: Store,
    /// The queue, likewise.
    pub(crate) queue: Arc<dyn Queue>,
    warnings: Vec<Problem>,
    admin: [SocketAddr; 2],
    doors: [String; 2],
    ingress: Running,
    worker: Running,
}

/// A room's task, and the signal that ends it.
struct Running {
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Running {
    fn of<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(Stop) -> F) -> Self {
        let (stopper, stop) = shutdown::channel();
        Self { stopper, task: tokio::spawn(run(stop)) }
    }

    async fn drain(self) {
        self.stopper.stop();
        // An error means that the room panicked: what it held comes again at the next start.
        let _ended = self.task.await;
    }
}

impl House {
    /// Opens the doors, binds the addresses, and runs; the policy is read again at every hangup.
    pub(crate) async fn start(vars: &Vars, hangups: Option<Hangups>) -> Result<Self, Failure> {
        let worker = WorkerConfig::load_for(vars, Room::Console)?;
        let ingress = IngressConfig::load(&ingress_vars(vars, worker.shared.mode))?;
        let config = worker.shared.clone();
        let doors = [queue_told(&worker.queue), store_told(&worker.store)];
        let warnings = union(&ingress.warnings, &config.warnings);
        let queue = queue::connect(&worker.queue, context::patience(&config.timing)).await?;
        let store = Store::open(&worker.store, &worker.keys, &config.timing, Clock::Engine).await?;
        let publisher = queue.publisher().await?;
        let ingress = Ingress::bind(ingress, publisher).await.map_err(ingress_failure)?;
        let worker = Worker::start(worker, store.clone(), queue.clone()).await.map_err(worker_failure)?;
        let worker = match hangups {
            Some(hangups) => worker.reloading_on(hangups),
            None => worker,
        };
        Ok(Self {
            address: ingress.address(),
            admin: [ingress.admin_address(), worker.admin_address()],
            config,
            store,
            queue,
            warnings,
            doors,
            ingress: Running::of(|stop| ingress.run_until(stop)),
            worker: Running::of(|stop| worker.run_until(stop)),
        })
    }

    /// Serves until the stop is raised, then drains: ingress first, worker last.
    pub(crate) async fn run_until(self, mut stop: Stop) {
        stop.wait().await;
        self.drain().await;
    }

    /// Drains now.
    pub(crate) async fn drain(self) {
        self.ingress.drain().await;
        self.worker.drain().await;
    }

    /// The address of a source's webhooks.
    pub(crate) fn webhook(&self, source: &SourceName) -> String {
        format!("http://{}/webhooks/{source}", self.address)
    }

    fn sources(&self) -> Vec<&SourceName> {
        let mut names: Vec<&SourceName> = self.config.sources.keys().collect();
        names.sort_unstable();
        names
    }

    fn addresses(&self) -> Value {
        let webhooks: Vec<String> = self.sources().into_iter().map(|name| self.webhook(name)).collect();
        json!({
            "state": "listening",
            "webhooks": webhooks,
            "ingress_admin": format!("http://{}", self.admin[0]),
            "worker_admin": format!("http://{}", self.admin[1]),
            "queue": self.doors[0],
            "store": self.doors[1],
        })
    }

    fn told(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |what: &str, is: String| lines.push(format!("  {what:<10}{is}"));
        for name in self.sources() {
            line("webhooks", self.webhook(name));
        }
        line("health", format!("http://{}/readyz (ingress), http://{}/readyz (worker)", self.admin[0], self.admin[1]));
        line("queue", self.doors[0].clone());
        line("store", self.doors[1].clone());
        for model in &self.config.models {
            let scripted = model.protocol == Protocol::Scripted;
            let note = if scripted { ", an offline stand-in that says so" } else { "" };
            line("model", format!("{}: {}{note}", model.name, model.model));
        }
        let policy = self.config.policy.as_ref().map(|path| path.display().to_string());
        line("policy", policy.unwrap_or_else(|| "the compiled-in one (policies/shop.toml)".to_owned()));
        if self.config.sources.is_empty() {
            lines.push(NO_SOURCE.to_owned());
        }
        format!("handrail is up; Ctrl-C or SIGTERM drains and ends it.\n{}", lines.join("\n"))
    }
}

const NO_SOURCE: &str = "No source is configured, so no webhook will be believed. Set WHATSAPP_APP_SECRET (and \
    WHATSAPP_ACCESS_TOKEN with WHATSAPP_PHONE_NUMBER_ID to reply), or write a [[source]] in handrail.toml.";

/// In production an ingress refuses to start beside the store's keys. Here one process holds them, knowingly, so its
/// ingress is shown an environment without them: it gets the queue's keys and no more.
fn ingress_vars(vars: &Vars, mode: Mode) -> Vars {
    match mode {
        Mode::Development => vars.clone(),
        Mode::Production => {
            let unset = ["HANDRAIL_KEYS", "HANDRAIL_KEYS_FILE"].map(|name| (name.to_owned(), String::new()));
            vars.with(HashMap::from(unset))
        }
    }
}

/// Both rooms read the same settings, so most warnings come twice.
fn union(some: &[Problem], more: &[Problem]) -> Vec<Problem> {
    let mut all = some.to_vec();
    all.extend(more.iter().filter(|warning| !some.contains(warning)).cloned());
    all
}

/// A door's address without its password.
fn queue_told(url: &QueueUrl) -> String {
    match url {
        QueueUrl::Sqlite(file) => format!("sqlite://{}", file.path().display()),
        QueueUrl::Amqp(_) => "RabbitMQ, as QUEUE_URL says".to_owned(),
    }
}

fn store_told(url: &StoreUrl) -> String {
    match url {
        StoreUrl::Sqlite(file) => format!("sqlite://{}", file.path().display()),
        StoreUrl::Postgres(_) => "PostgreSQL, as DATABASE_URL says".to_owned(),
    }
}

fn ingress_failure(error: ingress::StartError) -> Failure {
    use ingress::StartError;
    match error {
        StartError::Config(error) => error.into(),
        StartError::Queue(error) => error.into(),
        StartError::Spool(_) | StartError::Bind { .. } | StartError::Signals(_) | StartError::Metrics(_) => {
            Failure::cannot_run(error.to_string())
        }
    }
}

fn worker_failure(error: worker::StartError) -> Failure {
    use worker::StartError;
    match error {
        StartError::Store(error) => error.into(),
        StartError::Queue(error) => error.into(),
        StartError::Policy(_)
        | StartError::Model(_)
        | StartError::Notify(_)
        | StartError::Bind(..)
        | StartError::Metrics(_) => Failure::cannot_run(error.to_string()),
    }
}
