//! A deployment to be ill-treated: several ingresses and workers as processes of the built binaries, each behind
//! relays of its own to servers of its own, a model and a provider that record everything outside.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Client;
use stand_ins::{FakeGraphApi, FakeModel};
use tokio::sync::Mutex;
use url::Url;

use super::Room;
use super::proxy::Proxy;
use super::schedule::{INGRESSES, Link, Place, Side, WORKERS};
use super::witness::Witness;
use crate::contracts::eventually;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq::{Broker, Vhost};
use crate::stack::{self, Doors, Plan};

/// How a process is, from the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    Runs,
    Stopped,
    Gone,
}

/// One place of the deployment, and the process that is in it.
pub(crate) struct Slot {
    pub(crate) place: Place,
    settings: HashMap<String, String>,
    folder: PathBuf,
    child: Option<Child>,
    starts: u32,
    /// Where it serves; the same for every process of this place.
    public: String,
    pub(crate) admin: String,
}

/// Servers that only this deployment uses.
pub(crate) struct Servers {
    pub(crate) broker: Arc<Broker>,
    pub(crate) vhost: Vhost,
    pub(crate) postgres: Arc<Postgres>,
}

/// What a deployment stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// SQLite for both doors.
    Embedded,
    /// RabbitMQ and PostgreSQL of its own, behind relays.
    Own,
    /// Those that every test shares, directly.
    Shared,
}

impl From<Doors> for Ground {
    fn from(doors: Doors) -> Self {
        match doors {
            Doors::Embedded => Self::Embedded,
            Doors::Servers => Self::Own,
        }
    }
}

/// The deployment.
pub(crate) struct House {
    pub(crate) graph: FakeGraphApi,
    pub(crate) model: FakeModel,
    pub(crate) slots: HashMap<Place, Arc<Mutex<Slot>>>,
    /// Where each ingress serves.
    pub(crate) doors: Vec<String>,
    pub(crate) servers: Option<Servers>,
    pub(crate) witness: Witness,
    pub(crate) http: Client,
    pub(crate) settings: HashMap<String, String>,
    /// Held by whoever restarts one worker after the other.
    pub(crate) quiet: Mutex<()>,
    /// Held by whoever does something to a server.
    pub(crate) one_server: Mutex<()>,
    relays: HashMap<Link, Proxy>,
    folder: PathBuf,
}

impl Slot {
    /// Starts its process, armed with `faults` if there are any.
    pub(crate) fn start(&mut self, faults: Option<&str>) {
        let (room, number) = self.place;
        self.starts += 1;
        let log = self.folder.join(format!("{}-{number}-{}.log", room.binary(), self.starts));
        let mut command = stack::command(room.binary(), &self.settings, &self.folder);
        command.env("INGRESS_BIND", &self.public).env("INGRESS_ADMIN_BIND", &self.admin);
        command.env("WORKER_ADMIN_BIND", &self.admin).envs(faults.map(|faults| ("HANDRAIL_FAULTS", faults)));
        let file = File::create(log).expect("our own folder");
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("a process"));
    }

    /// Its process's id, while there is one.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = self.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended by itself; then there is nobody to tell.
            let _gone = kill(Pid::from_raw(id), signal);
        }
    }

    /// How its process is; one that is gone is reaped.
    pub(crate) fn pulse(&mut self) -> Pulse {
        let Some(child) = &mut self.child else { return Pulse::Gone };
        if !matches!(child.try_wait(), Ok(None)) {
            self.child = None;
            return Pulse::Gone;
        }
        let line = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        match line.rsplit(") ").next().and_then(|rest| rest.chars().next()) {
            Some('T' | 't') => Pulse::Stopped,
            _ => Pulse::Runs,
        }
    }

    /// Kills its process as a crash would.
    pub(crate) fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }

    /// Tells its process to stop, and waits until it has; one that does not is killed, and told.
    pub(crate) async fn end(&mut self, within: Duration) -> bool {
        self.signal(Signal::SIGTERM);
        let ended = async {
            while self.pulse() != Pulse::Gone {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(within, ended).await.is_ok();
        self.crash();
        ended
    }

    /// Whether it says that it is ready.
    pub(crate) async fn is_ready(&self, http: &Client) -> bool {
        let answer = http.get(format!("http://{}/readyz", self.admin)).timeout(Duration::from_secs(5)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.crash();
    }
}

impl House {
    /// Builds it, with its logs in `folder`, and returns once everybody is ready. With `spools` each ingress has one.
    pub(crate) async fn build(ground: Ground, file: &str, folder: &Path, spools: bool) -> Self {
        let house = Self::furnish(ground, file, folder, INGRESSES, WORKERS, &[]).await;
        for number in (0..INGRESSES).filter(|_| spools) {
            let spool = folder.join(format!("spool-{number}")).display().to_string();
            house.slot((Room::Ingress, number)).lock().await.settings.insert("INGRESS_SPOOL_DIR".to_owned(), spool);
        }
        house.open().await;
        house
    }

    /// Everything but the processes, with settings over the usual ones.
    pub(crate) async fn furnish(
        ground: Ground,
        file: &str,
        folder: &Path,
        ingresses: usize,
        workers: usize,
        over: &[(&str, &str)],
    ) -> Self {
        // An error means that a provider is installed already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut settings = Plan::on(Doors::Embedded).await.settings;
        let servers = if ground == Ground::Own { Some(Servers::start().await) } else { None };
        let graph = FakeGraphApi::start().await.expect("a fake Graph API");
        let model = FakeModel::start().await.expect("a fake model");
        let (queue, store) = match (&servers, ground) {
            (Some(servers), _) => (servers.vhost.url.clone(), servers.postgres.database().await),
            (None, Ground::Shared) => {
                let Plan { settings, .. } = Plan::on(Doors::Servers).await;
                (settings["QUEUE_URL"].clone(), settings["DATABASE_URL"].clone())
            }
            (None, _) => {
                ["queue.db", "handrail.db"].map(|name| format!("sqlite://{}", folder.join(name).display())).into()
            }
        };
        let config = folder.join("handrail.toml");
        std::fs::write(&config, file).expect("our own folder");
        let more = [
            ("QUEUE_URL", queue),
            ("DATABASE_URL", store),
            ("WHATSAPP_API_URL", graph.url()),
            ("LLM_BASE_URL", model.url()),
            ("HANDRAIL_CONFIG", config.display().to_string()),
        ];
        settings.extend(more.map(|(name, value)| (name.to_owned(), value)));
        settings.extend(over.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        drop(stack::open_store(&settings).await);
        let witness = Witness::of(&settings["DATABASE_URL"]).await;
        let (mut slots, mut relays) = (HashMap::new(), HashMap::new());
        let rooms = [(Room::Ingress, ingresses), (Room::Worker, workers)];
        for place in rooms.into_iter().flat_map(|(room, count)| (0..count).map(move |number| (room, number))) {
            let mut settings = settings.clone();
            if ground == Ground::Own {
                lay_relays(place, &mut settings, &mut relays).await;
            }
            slots.insert(place, Arc::new(Mutex::new(slot(place, settings, folder))));
        }
        let mut served = Vec::new();
        for number in 0..ingresses {
            served.push(format!("http://{}", slots[&(Room::Ingress, number)].lock().await.public));
        }
        // Every post on a connection of its own: one kept alive to a killed ingress is no fault of anybody's.
        let http = Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("an HTTP client");
        let (folder, doors, quiet, one_server) = (folder.to_owned(), served, Mutex::new(()), Mutex::new(()));
        Self { graph, model, slots, doors, servers, witness, http, settings, quiet, one_server, relays, folder }
    }

    /// Starts every process, and returns once all say that they are ready.
    pub(crate) async fn open(&self) {
        for slot in self.slots.values() {
            slot.lock().await.start(None);
        }
        self.ready().await;
    }

    /// Waits until every process says that it is ready.
    pub(crate) async fn ready(&self) {
        for (place, slot) in &self.slots {
            eventually(&format!("{place:?} is ready"), async || slot.lock().await.is_ready(&self.http).await).await;
        }
    }

    /// The relay of a link; none with embedded doors.
    pub(crate) fn relay(&self, place: Place, side: Side) -> Option<&Proxy> {
        self.relays.get(&(place, side))
    }

    /// The process in a place.
    pub(crate) fn slot(&self, place: Place) -> &Arc<Mutex<Slot>> {
        &self.slots[&place]
    }

    /// Runs `handrail` with these arguments: its exit code, what it printed, and what it said.
    pub(crate) async fn handrail(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = stack::command("handrail", &self.settings, &self.folder);
        command.args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().expect("handrail"));
        let output = output.await.expect("handrail");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }
}

impl Servers {
    async fn start() -> Self {
        let postgres = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::prepare();
            postgres.start();
            postgres
        });
        let broker = tokio::task::spawn_blocking(|| {
            let broker = Broker::prepare(1);
            broker.start();
            broker
        });
        let (postgres, broker) = (postgres.await.expect("PostgreSQL"), broker.await.expect("RabbitMQ"));
        let vhost = broker.vhost();
        Self { broker: Arc::new(broker), vhost, postgres: Arc::new(postgres) }
    }
}

/// Lets a process reach its servers through relays of its own.
async fn lay_relays(place: Place, settings: &mut HashMap<String, String>, relays: &mut HashMap<Link, Proxy>) {
    for (side, name) in [(Side::Broker, "QUEUE_URL"), (Side::Store, "DATABASE_URL")] {
        let mut url: Url = settings[name].parse().expect("a URL");
        let port = url.port().expect("a port of its own");
        let proxy = Proxy::towards(SocketAddr::from(([127, 0, 0, 1], port))).await;
        url.set_port(Some(proxy.address().port())).expect("a URL with a host");
        settings.insert(name.to_owned(), url.into());
        relays.insert((place, side), proxy);
    }
}

fn slot(place: Place, settings: HashMap<String, String>, folder: &Path) -> Slot {
    let [public, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", crate::servers::free_port()));
    Slot { place, settings, folder: folder.to_owned(), child: None, starts: 0, public, admin }
}
