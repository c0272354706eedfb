//! Real processes of the release build, over doors of their own.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::config::{Findings, Keys, Mode, StoreUrl, Timing, Vars};
use common::seal::Key;
use common::store::Store;
use servers::free_port;
use stand_ins::{FakeGraphApi, FakeModel};

use crate::load::SECRET;

/// How long a process may take to become ready.
const READY: Duration = Duration::from_secs(30);
/// Between two looks at something that is awaited.
const LOOK: Duration = Duration::from_millis(20);

/// No pause to let a burst finish, and the model's deadline far away: what is measured is the work.
const FILE: &str = r#"
[[source]]
name = "whatsapp"
provider = "whatsapp"
secrets = ["${WHATSAPP_APP_SECRET}"]
verify_token = "${WHATSAPP_VERIFY_TOKEN}"
access_token = "${WHATSAPP_ACCESS_TOKEN}"
api_url = "${WHATSAPP_API_URL}"

[timing]
settle_quiet_seconds = 0
settle_max_seconds = 0
"#;

/// Which doors a deployment stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doors {
    /// SQLite for both.
    Embedded,
    /// RabbitMQ and PostgreSQL.
    Servers,
}

impl Doors {
    /// In a table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "SQLite",
            Self::Servers => "PostgreSQL + RabbitMQ",
        }
    }
}

/// The environment of a deployment, and the outside world that it speaks to.
pub(crate) struct Deployment {
    pub(crate) graph: FakeGraphApi,
    pub(crate) model: FakeModel,
    pub(crate) settings: HashMap<String, String>,
    folder: tempfile::TempDir,
}

impl Deployment {
    /// Prepares the doors; no process runs yet.
    pub(crate) async fn prepare(doors: Doors) -> anyhow::Result<Self> {
        let (graph, model) = (FakeGraphApi::start().await?, FakeModel::start().await?);
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("handrail.toml");
        std::fs::write(&file, FILE)?;
        let sqlite = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
        let (queue, database) = match doors {
            Doors::Embedded => (sqlite("queue.db"), sqlite("handrail.db")),
            Doors::Servers => (vhost().await?, database().await?),
        };
        let settings = [
            ("HANDRAIL_KEYS", format!("k1:{}", Key::generate().to_base64())),
            ("HANDRAIL_CONFIG", file.display().to_string()),
            ("WHATSAPP_APP_SECRET", SECRET.to_owned()),
            ("WHATSAPP_VERIFY_TOKEN", "a-verify-token-that-is-long-enough".to_owned()),
            ("WHATSAPP_ACCESS_TOKEN", "an-access-token-that-is-long-enough".to_owned()),
            ("WHATSAPP_API_URL", graph.url()),
            ("LLM_PROTOCOL", "openai".to_owned()),
            ("LLM_MODEL", "fake".to_owned()),
            ("LLM_BASE_URL", model.url()),
            ("QUEUE_URL", queue),
            ("DATABASE_URL", database),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let deployment = Self { graph, model, settings, folder };
        if doors == Doors::Servers {
            deployment.migrate().await?;
        }
        Ok(deployment)
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let (vars, mut findings) = (Vars::from_map(self.settings.clone()), Findings::new(Mode::Development));
        let keys = Keys::load(&vars, &mut findings).context("keys")?;
        let store = Store::migrate(&StoreUrl::load(&vars, &mut findings), &keys, &Timing::default()).await?;
        store.close().await;
        Ok(())
    }

    /// Starts a binary of this workspace and waits until it is ready.
    pub(crate) async fn start(&self, name: &str, more: &[(&str, &str)]) -> anyhow::Result<Process> {
        let process = Process::spawn(name, &self.settings, more, self.folder.path())?;
        process.ready().await?;
        Ok(process)
    }
}

/// A virtual host's URL on the private RabbitMQ.
pub(crate) async fn vhost() -> anyhow::Result<String> {
    Ok(tokio::task::spawn_blocking(servers::rabbitmq::vhost).await?.url)
}

async fn database() -> anyhow::Result<String> {
    let server = tokio::task::spawn_blocking(servers::postgres::shared).await?;
    Ok(server.database().await)
}

/// A running process; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    /// Where it serves, if it does.
    pub(crate) address: SocketAddr,
    /// None: it has no private bind, and is ready when it listens.
    admin: Option<SocketAddr>,
}

impl Process {
    fn spawn(
        name: &str,
        settings: &HashMap<String, String>,
        more: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name(name);
        let [address, admin] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new(&program);
        command.env_clear().current_dir(folder).envs(settings).envs(more.iter().copied());
        command.env("INGRESS_BIND", address.to_string());
        for bind in ["INGRESS_ADMIN_BIND", "WORKER_ADMIN_BIND"] {
            command.env(bind, admin.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("{}: run `make bench`", program.display()))?;
        let admin = Some(admin).filter(|_| name != "bare");
        Ok(Self { child, name: name.to_owned(), log, address, admin })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            let ready = match self.admin {
                Some(admin) => http.get(format!("http://{admin}/readyz")).send().await.is_ok_and(|a| a.status() == 200),
                None => tokio::net::TcpStream::connect(self.address).await.is_ok(),
            };
            if ready {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("{} is not ready. It said:\n{}", self.name, std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// The most memory that it has had resident so far, in MiB.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
