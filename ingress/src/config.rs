//! The ingress's environment.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::config::{
    Config, ConfigError, Findings, Mode, Problem, QueueSecrets, QueueUrl, Room, Source, Timing, Vars,
};
use common::domain::{Micros, SourceName};
use common::providers;
use common::steps::Faults;

/// How long a peer may take to send a body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// From `HANDRAIL_CONFIG` or the environment.
    pub sources: HashMap<SourceName, Source>,
    /// The protocol's constants.
    pub timing: Timing,
    /// `HANDRAIL_FAULTS`: the steps at which this process falls, for tests.
    pub faults: Faults,
    /// What is unsafe, yet allowed in development.
    pub warnings: Vec<Problem>,
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
        check_sources(&config.sources, findings);
        Some(Self {
            bind,
            admin_bind,
            queue,
            secrets: secrets?,
            sources: config.sources.clone(),
            timing: config.timing.clone(),
            faults: config.faults.clone(),
            warnings: Vec::new(),
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
fn check_sources(sources: &HashMap<SourceName, Source>, findings: &mut Findings) {
    if sources.is_empty() {
        let why = "names no source: set a provider's secret, or write a [[source]] in handrail.toml";
        findings.unsafe_setting("HANDRAIL_CONFIG", why);
    }
    for source in sources.values() {
        let Some(scheme) = providers::scheme(source) else { continue };
        for (index, secret) in source.secrets.iter().enumerate() {
            if let Err(error) = scheme.check(secret) {
                findings
                    .problem(&format!("source '{}': secrets", source.name), format!("secret {} {error}", index + 1));
            }
        }
    }
}
