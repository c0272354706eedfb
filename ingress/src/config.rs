//! The ingress's environment.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use common::config::{
    Config, ConfigError, Findings, Mode, Problem, QueueSecrets, QueueUrl, Room, Source, Timing, Vars,
};
use common::domain::{Micros, Provider, SourceName};
use common::providers;
use common::steps::Faults;

/// How long a peer may take to send a body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The header of the best-known sender that signs with an HMAC and never sends again.
const GITHUB_HEADER: &str = "x-hub-signature-256";

/// Where sealed envelopes wait while the queue takes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// `INGRESS_SPOOL_DIR`.
    pub folder: PathBuf,
    /// `spool_max_bytes` in `handrail.toml`.
    pub max_bytes: u64,
}

/// Everything that an ingress is told at start.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// `INGRESS_BIND`: where webhooks are taken.
    pub bind: SocketAddr,
    /// `INGRESS_ADMIN_BIND`: health and metrics.
    pub admin_bind: SocketAddr,
    /// `QUEUE_URL`.
    pub queue: QueueUrl,
    /// `HANDRAIL_QUEUE_KEYS` and `HANDRAIL_PSEUDONYM_KEY`.
    pub secrets: QueueSecrets,
    /// The spool, if there is one.
    pub spool: Option<SpoolConfig>,
    /// From `HANDRAIL_CONFIG` or the environment.
    pub sources: HashMap<SourceName, Source>,
    /// The protocol's constants.
    pub timing: Timing,
    /// `HANDRAIL_FAULTS`: the steps at which this process falls, for tests.
    pub faults: Faults,
    /// What is unsafe, yet allowed in development.
    pub warnings: Vec<Problem>,
    /// What is safe and might yet be done better.
    pub hints: Vec<Problem>,
    /// The wall clock that signed timestamps are judged by.
    pub clock: fn() -> Micros,
    /// How long a peer may take to send a body.
    pub read_timeout: Duration,
}

impl IngressConfig {
    /// Reads and checks it all.
    ///
    /// # Errors
    /// [`ConfigError`] tells every problem at once, each with its setting and fix.
    pub fn load(vars: &Vars) -> Result<Self, ConfigError> {
        let mut findings = Findings::new(Mode::Development);
        let config = Config::load(vars, Room::Ingress, &mut findings);
        let secrets = QueueSecrets::load_for_ingress(vars, &mut findings);
        let gathered = Self::gather(vars, &config, secrets, &mut findings);
        if gathered.is_none() {
            // Said once more, so that a missing key can never pass for no problem at all.
            findings.problem("HANDRAIL_QUEUE_KEYS", "no usable keys: without them nothing can be sealed");
        }
        let warnings = findings.finish()?;
        gathered.map(|gathered| Self { warnings, ..gathered }).ok_or_else(|| ConfigError(Vec::new()))
    }

    /// The ingress's part of a configuration that another process has read, with that process's keys: for `up`, which
    /// is everything in one. Warnings stay with the caller's findings.
    pub fn gather(
        vars: &Vars,
        config: &Config,
        secrets: Option<QueueSecrets>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let bind = vars.parsed("INGRESS_BIND", local(8080), findings);
        let admin_bind = vars.parsed("INGRESS_ADMIN_BIND", local(9080), findings);
        let queue = QueueUrl::load(vars, findings);
        let spool = spool(vars, config.spool_max_bytes, findings);
        check_sources(&config.sources, spool.is_some(), findings);
        let hints = hints(&config.sources, spool.as_ref(), &queue);
        Some(Self {
            bind,
            admin_bind,
            queue,
            secrets: secrets?,
            spool,
            sources: config.sources.clone(),
            timing: config.timing.clone(),
            faults: config.faults.clone(),
            warnings: Vec::new(),
            hints,
            clock: Micros::wall,
            read_timeout: READ_TIMEOUT,
        })
    }
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A source that can prove nothing, or a secret that its scheme cannot use, is told at start and not at three in
/// the morning by a provider that has given up.
fn check_sources(sources: &HashMap<SourceName, Source>, spool: bool, findings: &mut Findings) {
    if sources.is_empty() {
        let why = "names no source: set a provider's secret, or write a [[source]] in handrail.toml";
        findings.unsafe_setting("HANDRAIL_CONFIG", why);
    }
    for source in sources.values() {
        if source.spool == Some(true) && !spool {
            let why = "is true, and INGRESS_SPOOL_DIR names no folder: set it, or remove this key";
            findings.problem(&format!("source '{}': spool", source.name), why);
        }
        let Some(scheme) = providers::scheme(source) else { continue };
        for (index, secret) in source.secrets.iter().enumerate() {
            if let Err(error) = scheme.check(secret) {
                findings
                    .problem(&format!("source '{}': secrets", source.name), format!("secret {} {error}", index + 1));
            }
        }
    }
}

/// The spool's folder is made later, by whoever opens it; one that is there already must be private.
fn spool(vars: &Vars, max_bytes: u64, findings: &mut Findings) -> Option<SpoolConfig> {
    const NAME: &str = "INGRESS_SPOOL_DIR";
    let folder = PathBuf::from(vars.get("INGRESS_SPOOL_DIR", findings)?);
    if let Ok(found) = std::fs::metadata(&folder) {
        let mode = found.permissions().mode() & 0o777;
        if !found.is_dir() {
            findings.problem(NAME, format!("'{}' is no folder", folder.display()));
        } else if mode & 0o077 != 0 {
            let why = format!("'{}' is open to others (mode {mode:03o}): chmod 700 it", folder.display());
            findings.unsafe_setting(NAME, why);
        }
    }
    Some(SpoolConfig { folder, max_bytes })
}

/// Whether a provider sends a webhook that got no 2xx never again.
fn never_retries(source: &Source) -> bool {
    match source.provider {
        Provider::Elevenlabs => true,
        Provider::Hmac => source.hmac.as_ref().is_some_and(|hmac| hmac.header.eq_ignore_ascii_case(GITHUB_HEADER)),
        Provider::Whatsapp | Provider::Messenger | Provider::Instagram | Provider::StandardWebhooks => false,
    }
}

fn hints(sources: &HashMap<SourceName, Source>, spool: Option<&SpoolConfig>, queue: &QueueUrl) -> Vec<Problem> {
    let hint = |setting: &str, why: String| Problem { setting: setting.to_owned(), why };
    match (spool, queue) {
        (Some(_), QueueUrl::Sqlite(_)) => {
            let why = "the queue is a file here: a spool helps only when it is on another disk";
            vec![hint("INGRESS_SPOOL_DIR", why.to_owned())]
        }
        (Some(_), QueueUrl::Amqp(_)) | (None, QueueUrl::Sqlite(_)) => Vec::new(),
        (None, QueueUrl::Amqp(_)) => {
            let lossy = |source: &&Source| source.spool != Some(false) && never_retries(source);
            let mut names: Vec<&SourceName> = sources.values().filter(lossy).map(|source| &source.name).collect();
            names.sort_unstable();
            let why =
                |name| format!("'{name}' never sends again: with a folder here, the broker's outages lose nothing");
            names.into_iter().map(|name| hint("INGRESS_SPOOL_DIR", why(name))).collect()
        }
    }
}
