//! A whole deployment for one test: the built `ingress` and `worker` binaries over doors of their own, with a fake
//! Graph API and a fake model outside. Everything ends with the value that holds it.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use common::config::{Findings, Keys, Mode, StoreUrl, Timing, Vars};
use common::domain::{ConversationId, EventId, Identity, Micros, SourceName};
use common::providers::samples::{self, Text};
use common::seal::Key;
use common::store::{Clock, ConversationView, Ledger, Store};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Response};
use stand_ins::{FakeGraphApi, FakeModel};

use crate::contracts::{eventually, soon};
use crate::servers::{self, free_port};

/// The app secret of every test deployment.
pub(crate) const APP_SECRET: &str = "an-app-secret-that-is-long-enough-for-tests";
/// The handshake token of every test deployment.
pub(crate) const VERIFY_TOKEN: &str = "a-verify-token-that-is-long-enough-for-tests";
/// The Graph API token of every test deployment.
pub(crate) const ACCESS_TOKEN: &str = "an-access-token-that-is-long-enough-for-tests";

/// Which doors a deployment stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doors {
    /// SQLite for both.
    Embedded,
    /// RabbitMQ and PostgreSQL.
    Servers,
}

/// A deployment about to start: its doors, and settings over the usual ones.
pub(crate) struct Plan {
    pub(crate) settings: HashMap<String, String>,
    /// `handrail.toml`, if the deployment has one.
    pub(crate) file: Option<String>,
    pub(crate) workers: usize,
}

/// A running deployment.
pub(crate) struct Stack {
    pub(crate) graph: FakeGraphApi,
    pub(crate) model: FakeModel,
    pub(crate) ingress: Process,
    pub(crate) workers: Vec<Process>,
    pub(crate) store: Store,
    pub(crate) http: Client,
    pub(crate) settings: HashMap<String, String>,
    folder: tempfile::TempDir,
}

/// One process of a deployment.
pub(crate) struct Process {
    child: Child,
    /// Where its health is.
    pub(crate) admin: String,
    /// Where it serves, if it does.
    pub(crate) url: String,
    log: PathBuf,
}

/// A command that runs beside the test.
pub(crate) struct Begun {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Plan {
    /// The usual deployment: one worker, a fake model over the OpenAI protocol, and short waits.
    pub(crate) async fn on(doors: Doors) -> Self {
        let mut settings: HashMap<String, String> = HashMap::new();
        let key = || format!("k1:{}", Key::generate().to_base64());
        for (name, value) in [
            ("HANDRAIL_KEYS", key()),
            ("WHATSAPP_APP_SECRET", APP_SECRET.to_owned()),
            ("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN.to_owned()),
            ("WHATSAPP_ACCESS_TOKEN", ACCESS_TOKEN.to_owned()),
            ("LLM_PROTOCOL", "openai".to_owned()),
            ("LLM_MODEL", "fake".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ] {
            settings.insert(name.to_owned(), value);
        }
        if doors == Doors::Servers {
            let database = tokio::task::spawn_blocking(servers::postgres::shared).await.expect("PostgreSQL");
            settings.insert("DATABASE_URL".into(), database.database().await);
            let vhost = tokio::task::spawn_blocking(servers::rabbitmq::vhost).await.expect("RabbitMQ");
            settings.insert("QUEUE_URL".into(), vhost.url);
        }
        Self { settings, file: None, workers: 1 }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// A `handrail.toml`; without a `[timing]` table of its own it gets the usual short one.
    pub(crate) fn file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    /// Starts everything and returns once it is ready.
    pub(crate) async fn start(self) -> Stack {
        let stack = self.prepare().await;
        stack.ready().await;
        stack
    }

    /// Starts everything without waiting for anything: for doors that are not there.
    pub(crate) async fn prepare(mut self) -> Stack {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let graph = FakeGraphApi::start().await.expect("a fake Graph API");
        let model = FakeModel::start().await.expect("a fake model");
        let own = [
            ("QUEUE_URL", format!("sqlite://{}", folder.path().join("queue.db").display())),
            ("DATABASE_URL", format!("sqlite://{}", folder.path().join("handrail.db").display())),
            ("WHATSAPP_API_URL", graph.url()),
            ("LLM_BASE_URL", model.url()),
            ("HANDRAIL_CONFIG", folder.path().join("handrail.toml").display().to_string()),
        ];
        for (name, value) in own {
            self.settings.entry(name.to_owned()).or_insert(value);
        }
        let file = self.file.unwrap_or_else(|| WHATSAPP.to_owned());
        let file = if file.contains("[timing]") { file } else { format!("{file}\n{SHORT_WAITS}") };
        std::fs::write(folder.path().join("handrail.toml"), file).expect("our own folder");
        let store = open_store(&self.settings).await;
        let ingress = Process::start("ingress", &self.settings, folder.path());
        let workers = (0..self.workers).map(|_| Process::start("worker", &self.settings, folder.path())).collect();
        let http = Client::builder().no_proxy().build().expect("an HTTP client");
        Stack { graph, model, ingress, workers, store, http, settings: self.settings, folder }
    }
}

/// The usual source, written as a file so that timing can be set too.
pub(crate) const WHATSAPP: &str = r#"
[[source]]
name = "whatsapp"
provider = "whatsapp"
secrets = ["${WHATSAPP_APP_SECRET}"]
verify_token = "${WHATSAPP_VERIFY_TOKEN}"
access_token = "${WHATSAPP_ACCESS_TOKEN}"
api_url = "${WHATSAPP_API_URL}"
"#;

/// Waits short enough for a test, in the proportions of the defaults.
pub(crate) const SHORT_WAITS: &str = "
[timing]
lease_seconds = 3
renewal_seconds = 1
sweep_seconds = 0.2
settle_quiet_seconds = 0.4
settle_max_seconds = 2
predecessor_seconds = 3
model_deadline_seconds = 10
send_timeout_seconds = 2
unknown_wait_seconds = 2
unknown_hold_seconds = 1
drain_seconds = 10
confirm_seconds = 5
";

pub(crate) async fn open_store(settings: &HashMap<String, String>) -> Store {
    let vars = Vars::from_map(settings.clone());
    let mut findings = Findings::new(Mode::Development);
    let keys = Keys::load(&vars, &mut findings).expect("keys");
    let url = StoreUrl::load(&vars, &mut findings);
    let timing = Timing::default();
    match url {
        StoreUrl::Postgres(_) => Store::migrate(&url, &keys, &timing).await.expect("a fresh database"),
        StoreUrl::Sqlite(_) => Store::open(&url, &keys, &timing, Clock::Engine).await.expect("a fresh file"),
    }
}

/// A binary of this workspace, built beside this test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("our own path");
    let folder = here.parent().and_then(Path::parent).expect("the target folder");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built: run `make test`, or `cargo build --workspace --bins`", path.display());
    path
}

/// A command of this workspace with these settings and no others.
pub(crate) fn command(name: &str, settings: &HashMap<String, String>, folder: &Path) -> Command {
    let mut command = Command::new(binary(name));
    command.env_clear().current_dir(folder).envs(settings);
    command
}

impl Process {
    /// Starts a binary on free ports; its log goes to a file beside its data.
    pub(crate) fn start(name: &str, settings: &HashMap<String, String>, folder: &Path) -> Self {
        let [public, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let log = folder.join(format!("{name}-{admin}.log"));
        let mut command = command(name, settings, folder);
        for (bind, address) in [("INGRESS", &public), ("RECALL", &public)] {
            command.env(format!("{bind}_BIND"), address).env(format!("{bind}_ADMIN_BIND"), &admin);
        }
        command.env("WORKER_ADMIN_BIND", &admin);
        let file = File::create(&log).expect("our own folder");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("a process");
        Self { child, admin: format!("http://{admin}"), url: format!("http://{public}"), log }
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("our own process");
    }

    /// Kills it as a crash would.
    pub(crate) fn crash(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("our own process");
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Waits until it has ended, by itself or as told.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process has ended", async || {
            status = self.child.try_wait().expect("our own process");
            status.is_some()
        })
        .await;
        status.expect("just seen")
    }

    /// Whether it says that it is ready; what it says otherwise.
    pub(crate) async fn readiness(&self, http: &Client) -> Result<bool, reqwest::Error> {
        let answer = http.get(format!("{}/readyz", self.admin)).timeout(Duration::from_secs(5)).send().await?;
        Ok(answer.status().is_success())
    }
}

impl Begun {
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("our own process");
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.err).expect("our own file")
    }

    /// Waits for its end: its exit code (none after a kill), what it printed, and what it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String, String) {
        let mut status = None;
        eventually("the command has ended", async || {
            status = self.child.try_wait().expect("our own process");
            status.is_some()
        })
        .await;
        let printed = std::fs::read_to_string(&self.out).expect("our own file");
        (status.and_then(|status| status.code()), printed, self.said())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {}\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

impl Stack {
    /// Waits until every process says that it is ready.
    pub(crate) async fn ready(&self) {
        for process in std::iter::once(&self.ingress).chain(&self.workers) {
            eventually("a process is ready", async || process.readiness(&self.http).await.unwrap_or(false)).await;
        }
    }

    /// Where the deployment keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&mut self) {
        self.workers.push(Process::start("worker", &self.settings, self.folder.path()));
    }

    /// Runs `handrail` with these arguments to its end: its exit code, what it printed, and what it said.
    pub(crate) async fn handrail(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = command("handrail", &self.settings, self.folder.path());
        command.args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().expect("handrail"));
        let output = soon("handrail", output).await.expect("handrail");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
    }

    /// Starts `handrail` with these arguments and lets it run.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Begun {
        let mut command = command("handrail", &self.settings, self.folder.path());
        let [out, err] = ["out", "err"].map(|end| self.folder.path().join(format!("{}.{end}", uuid::Uuid::new_v4())));
        let file = |path: &PathBuf| File::create(path).expect("our own folder");
        command.args(arguments).stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        Begun { child: command.spawn().expect("handrail"), out, err }
    }

    /// Posts a body to a source, signed with a secret in Meta's way.
    pub(crate) async fn post_signed(&self, source: &str, secret: &str, body: impl Into<Vec<u8>>) -> Response {
        let body = body.into();
        let signature = meta_signature(secret, &body);
        let request = self.http.post(format!("{}/webhooks/{source}", self.ingress.url));
        let request = request.header("X-Hub-Signature-256", signature).timeout(Duration::from_secs(30));
        request.body(body).send().await.expect("an answer")
    }

    /// Posts a body to the WhatsApp source, rightly signed; a failure unless it is accepted.
    pub(crate) async fn post(&self, body: impl Into<Vec<u8>>) {
        let answer = self.post_signed("whatsapp", APP_SECRET, body).await;
        let (status, text) = (answer.status(), answer.text().await.expect("its body"));
        assert!(status.is_success(), "{status}: {text}");
    }

    /// A customer says something in a WhatsApp message of its own; the event's id.
    pub(crate) async fn say(&self, from: &str, text: &str) -> EventId {
        let id = format!("wamid.test-{}", uuid::Uuid::new_v4().simple());
        self.say_as(&id, from, text).await
    }

    /// As [`Stack::say`], with a provider id of the caller's.
    pub(crate) async fn say_as(&self, id: &str, from: &str, text: &str) -> EventId {
        self.post(samples::whatsapp_texts(&[Text { id, from, body: text }], Micros::wall())).await;
        message_id("whatsapp", id)
    }

    /// Waits until an event has ended; its end.
    pub(crate) async fn end_of(&self, event: EventId) -> String {
        let mut end = String::new();
        eventually("an event has ended", async || match self.store.event(event).await {
            Ok((view, _)) if view.state != "pending" => {
                end = view.state;
                true
            }
            _ => false,
        })
        .await;
        end
    }

    /// The conversation that an event belongs to, once it has been taken in.
    pub(crate) async fn conversation_of(&self, event: EventId) -> ConversationId {
        let mut found = None;
        eventually("an event has been taken in", async || {
            found = self.store.event(event).await.ok().and_then(|(_, conversation)| conversation);
            found.is_some()
        })
        .await;
        found.expect("just seen")
    }

    /// Everything about a conversation.
    pub(crate) async fn view(&self, conversation: ConversationId) -> ConversationView {
        self.store.conversation_view(conversation, 100).await.expect("a conversation")
    }

    /// Waits until nothing is pending and nothing open, then gives the ledger, which must balance.
    pub(crate) async fn settled(&self) -> Ledger {
        let mut ledger = None;
        eventually("everything has ended", async || {
            let now = self.store.ledger(None).await.expect("the ledger");
            let done = now.pending == 0 && now.sends.open == 0;
            ledger = Some(now);
            done
        })
        .await;
        let ledger = ledger.expect("just seen");
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }

    /// The texts that reached one customer, in order.
    pub(crate) fn received_by(&self, customer: &str) -> Vec<String> {
        self.graph.sends().into_iter().filter(|send| send.to == customer).map(|send| send.text).collect()
    }
}

/// The event id of a message, by the provider's id of it.
pub(crate) fn message_id(source: &str, provider_id: &str) -> EventId {
    let source = SourceName::parse(source).expect("a source name");
    EventId::derive(&source, &Identity { kind: "message", id: provider_id.to_owned(), status: None })
}

/// Meta's signature header of a body.
pub(crate) fn meta_signature(secret: &str, body: &[u8]) -> String {
    use common::config::Secret;
    let source =
        common::config::Source::bare(SourceName::parse("any").expect("a name"), common::domain::Provider::Whatsapp);
    let scheme = common::providers::scheme(&source).expect("Meta's scheme");
    let headers = common::signature::sign(&scheme, &Secret::new(secret), body, "", Micros::wall());
    headers.expect("a secret that signs").remove(0).1
}
