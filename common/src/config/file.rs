//! `handrail.toml`, and the sources that the environment implies without one; its models are read next door.

mod notify;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use super::models::{ModelConfig, WrittenModel};
use super::sources::{DEFAULT_BODY_LIMIT, default_tolerance};
use super::timing::TimingTable;
use super::urls::is_loopback;
use super::{
    ConfigError, Encoding, Findings, HmacAlgorithm, HmacConfig, KeyForm, Mode, Pointers, Problem, Room, Secret, Source,
    Timing, Vars,
};
use crate::domain::{Provider, SourceName};
use crate::steps::Faults;

use notify::WrittenNotify;
pub use notify::{Notify, NotifyWay};

/// Meta's Graph API with the version whose shapes we know.
const GRAPH_API: &str = "https://graph.facebook.com/v23.0";

/// What an ingress's spool may hold: some 100,000 messages.
const SPOOL_BYTES: u64 = 256 * 1024 * 1024;
/// The least that makes sense: a request with the largest body, sealed.
const SPOOL_LEAST: u64 = 8 * 1024 * 1024;

/// What every room reads.
#[derive(Clone, Debug)]
pub struct Config {
    /// How strict the start was.
    pub mode: Mode,
    /// The file it came from.
    pub file: Option<PathBuf>,
    /// Sources by name.
    pub sources: HashMap<SourceName, Source>,
    /// Models in order of preference.
    pub models: Vec<ModelConfig>,
    /// Where teams can be reached.
    pub notify: Vec<Notify>,
    /// The policy file; the compiled-in one without it.
    pub policy: Option<PathBuf>,
    /// The protocol's constants.
    pub timing: Timing,
    /// `HANDRAIL_FAULTS`: the steps at which this process falls, for tests.
    pub faults: Faults,
    /// The most that an ingress's spool may hold, in bytes.
    pub spool_max_bytes: u64,
    /// What is unsafe, yet allowed in development.
    pub warnings: Vec<Problem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    policy: Option<String>,
    spool_max_bytes: Option<u64>,
    source: Vec<WrittenSource>,
    model: Vec<WrittenModel>,
    notify: Vec<WrittenNotify>,
    timing: TimingTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSource {
    name: String,
    provider: String,
    secrets: Vec<String>,
    verify_token: Option<String>,
    access_token: Option<String>,
    phone_number_id: Option<String>,
    api_url: Option<String>,
    api_key: Option<String>,
    recall_secret: Option<String>,
    reply_url: Option<String>,
    #[serde(default)]
    allow_ips: Vec<IpNet>,
    #[serde(default)]
    trusted_proxies: Vec<IpNet>,
    rate_per_minute: Option<NonZeroU32>,
    body_limit: Option<usize>,
    tolerance_seconds: Option<u64>,
    spool: Option<bool>,
    header: Option<String>,
    prefix: Option<String>,
    algorithm: Option<HmacAlgorithm>,
    encoding: Option<Encoding>,
    signed: Option<String>,
    timestamp_header: Option<String>,
    key: Option<KeyForm>,
    id: Option<String>,
    contact: Option<String>,
    text: Option<String>,
    time: Option<String>,
}

impl Config {
    /// Reads everything that `room` needs, and leaves the doors, binds and keys to their own loaders, which share
    /// `findings`. Call [`Config::checked`] at the end.
    pub fn load(vars: &Vars, room: Room, findings: &mut Findings) -> Self {
        let mode = vars.parsed("HANDRAIL_MODE", Mode::Development, findings);
        findings.set_mode(mode);
        let file = vars.get("HANDRAIL_CONFIG", findings).map(PathBuf::from);
        let file = file.or_else(|| Some(PathBuf::from("handrail.toml")).filter(|path| path.exists()));
        let written = file.as_deref().map(|path| read(path, findings)).unwrap_or_default();
        let reader = &mut Reader { vars, room, findings };
        let sources = if file.is_some() { reader.sources(&written.source) } else { reader.implicit_sources() };
        let models = if room.sends() { reader.models(&written.model) } else { Vec::new() };
        let notify = if room.sends() { reader.notify(&written.notify) } else { Vec::new() };
        let policy = written.policy.and_then(|text| reader.text("policy", &text)).map(PathBuf::from);
        let timing = written.timing.apply(findings);
        let faults = vars.parsed("HANDRAIL_FAULTS", Faults::default(), findings);
        if !faults.is_empty() {
            findings.unsafe_setting("HANDRAIL_FAULTS", "makes this process kill or stop itself, for tests: unset it");
        }
        let spool_max_bytes = written.spool_max_bytes.unwrap_or(SPOOL_BYTES);
        if spool_max_bytes < SPOOL_LEAST {
            findings.problem("spool_max_bytes", format!("must be at least {SPOOL_LEAST}: room for one large event"));
        }
        Self { mode, file, sources, models, notify, policy, timing, spool_max_bytes, faults, warnings: Vec::new() }
    }

    /// The configuration, unless something stops the start.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found.
    pub fn checked(mut self, findings: Findings) -> Result<Self, ConfigError> {
        self.warnings = findings.finish()?;
        Ok(self)
    }
}

fn read(path: &Path, findings: &mut Findings) -> Written {
    let place = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            findings.problem("HANDRAIL_CONFIG", format!("cannot read '{place}': {error}"));
            return Written::default();
        }
    };
    toml::from_str(&text).unwrap_or_else(|error| {
        findings.problem(&place, error.to_string().trim_end().to_owned());
        Written::default()
    })
}

pub(super) struct Reader<'a> {
    pub(super) vars: &'a Vars,
    room: Room,
    pub(super) findings: &'a mut Findings,
}

impl Reader<'_> {
    /// Replaces each `${NAME}` by its variable; a missing one is a problem that names it.
    pub(super) fn text(&mut self, setting: &str, written: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = written;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else {
                self.findings.problem(setting, "has '${' without '}'");
                return None;
            };
            let name = &rest[start + 2..start + length];
            let Some(value) = self.vars.get(name, self.findings) else {
                self.findings.problem(setting, format!("names the environment variable {name}, which is not set"));
                return None;
            };
            out.push_str(&rest[..start]);
            out.push_str(&value);
            rest = &rest[start + length + 1..];
        }
        out.push_str(rest);
        Some(out)
    }

    pub(super) fn secret(&mut self, wanted: bool, setting: &str, written: Option<&String>) -> Option<Secret> {
        let written = written.filter(|_| wanted)?;
        self.text(setting, written).filter(|text| !text.is_empty()).map(Secret::new)
    }

    fn secrets(&mut self, setting: &str, written: &[String]) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for text in written {
            let Some(value) = self.text(setting, text) else { continue };
            // An interpolated value is a list; a literal may contain a comma.
            let parts: Vec<&str> = if text.contains("${") { value.split(',').collect() } else { vec![&value] };
            secrets.extend(parts.into_iter().map(str::trim).filter(|s| !s.is_empty()).map(Secret::new));
        }
        self.check_secrets(setting, &secrets);
        secrets
    }

    /// A handshake token may be absent, never weak. It may be a comma list.
    fn check_token(&mut self, setting: &str, token: Option<&Secret>) {
        let Some(token) = token else { return };
        let tokens: Vec<Secret> = token.expose().split(',').map(str::trim).map(Secret::new).collect();
        self.check_secrets(setting, &tokens);
    }

    fn check_secrets(&mut self, setting: &str, secrets: &[Secret]) {
        if secrets.is_empty() {
            self.findings.unsafe_setting(setting, "holds no secret: nothing can prove itself here");
        }
        for secret in secrets {
            let known = ["secret", "changeme", "test", "password", "verify_token", "development"];
            if known.contains(&secret.expose()) || secret.expose().starts_with("demo-") {
                self.findings.unsafe_setting(setting, "holds a default secret: choose a long random one");
            } else if secret.expose().len() < 32 {
                self.findings.unsafe_setting(setting, "holds a secret shorter than 32 characters");
            }
        }
    }

    pub(super) fn url(&mut self, setting: &str, text: &str) -> Option<Url> {
        match Url::parse(text.trim_end_matches('/')) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                if url.scheme() == "http" && !is_loopback(text) {
                    self.findings.unsafe_setting(setting, "is clear text beyond loopback: use https://");
                }
                Some(url)
            }
            _ => {
                self.findings.problem(setting, "must be an http:// or https:// URL");
                None
            }
        }
    }

    pub(super) fn optional_url(&mut self, wanted: bool, setting: &str, written: Option<&String>) -> Option<Url> {
        let text = self.text(setting, written.filter(|_| wanted)?)?;
        self.url(setting, &text)
    }

    fn sources(&mut self, written: &[WrittenSource]) -> HashMap<SourceName, Source> {
        let mut sources = HashMap::new();
        for one in written {
            if let Some(source) = self.source(one)
                && sources.insert(source.name.clone(), source).is_some()
            {
                self.findings.problem(&format!("source '{}'", one.name), "is written twice");
            }
        }
        sources
    }

    fn source(&mut self, written: &WrittenSource) -> Option<Source> {
        let label = |key: &str| format!("source '{}': {key}", written.name);
        let name = SourceName::parse(&written.name).map_err(|e| self.findings.problem("source.name", e.to_string()));
        let provider: Result<Provider, ()> =
            written.provider.parse().map_err(|e| self.findings.problem(&label("provider"), format!("{e}")));
        let (name, provider) = (name.ok()?, provider.ok()?);
        let (verifies, sends) = (self.room.verifies(), self.room.sends());
        let signs_replies = written.reply_url.is_some();
        let mut source = Source::bare(name, provider);
        if verifies || signs_replies {
            source.secrets = self.secrets(&label("secrets"), &written.secrets);
        }
        source.verify_token = self.secret(verifies, &label("verify_token"), written.verify_token.as_ref());
        self.check_token(&label("verify_token"), source.verify_token.as_ref());
        source.access_token = self.secret(sends, &label("access_token"), written.access_token.as_ref());
        source.phone_number_id =
            written.phone_number_id.as_ref().filter(|_| sends).and_then(|t| self.text(&label("phone_number_id"), t));
        source.api_url = self.optional_url(sends, &label("api_url"), written.api_url.as_ref());
        if source.api_url.is_none() && provider == Provider::Whatsapp {
            source.api_url = Url::parse(GRAPH_API).ok();
        }
        source.api_key = self.secret(sends, &label("api_key"), written.api_key.as_ref());
        let recalls = matches!(self.room, Room::Recall | Room::Console);
        source.recall_secret = self.secret(recalls, &label("recall_secret"), written.recall_secret.as_ref());
        source.reply_url = self.optional_url(sends, &label("reply_url"), written.reply_url.as_ref());
        source.allow_ips.clone_from(&written.allow_ips);
        source.trusted_proxies.clone_from(&written.trusted_proxies);
        source.rate_per_minute = written.rate_per_minute;
        source.body_limit = written.body_limit.unwrap_or(DEFAULT_BODY_LIMIT);
        source.tolerance = written.tolerance_seconds.map_or_else(|| default_tolerance(provider), Duration::from_secs);
        source.spool = written.spool;
        source.hmac = self.hmac(&label, provider, written);
        source.pointers = self.pointers(&label, provider, written);
        Some(source)
    }

    fn hmac(
        &mut self,
        label: &dyn Fn(&str) -> String,
        provider: Provider,
        written: &WrittenSource,
    ) -> Option<HmacConfig> {
        if provider != Provider::Hmac {
            let stray = [
                ("header", written.header.is_some()),
                ("prefix", written.prefix.is_some()),
                ("algorithm", written.algorithm.is_some()),
                ("encoding", written.encoding.is_some()),
                ("signed", written.signed.is_some()),
                ("timestamp_header", written.timestamp_header.is_some()),
                ("key", written.key.is_some()),
            ];
            for (key, _) in stray.into_iter().filter(|(_, set)| *set) {
                self.findings.problem(&label(key), "belongs to provider \"hmac\" only");
            }
            return None;
        }
        let Some(header) = written.header.clone() else {
            self.findings.problem(&label("header"), "is required: the header that carries the signature");
            return None;
        };
        let signed = written.signed.clone().unwrap_or_else(|| "{body}".to_owned());
        if !signed.contains("{body}") {
            self.findings.problem(&label("signed"), "must contain {body}: what is not signed is not proved");
        }
        if signed.contains("{timestamp}") != written.timestamp_header.is_some() {
            self.findings
                .problem(&label("timestamp_header"), "goes with {timestamp} in 'signed': give both or neither");
        }
        Some(HmacConfig {
            header,
            prefix: written.prefix.clone().unwrap_or_default(),
            algorithm: written.algorithm.unwrap_or(HmacAlgorithm::Sha256),
            encoding: written.encoding.unwrap_or(Encoding::Hex),
            signed,
            timestamp_header: written.timestamp_header.clone(),
            key: written.key.unwrap_or(KeyForm::Text),
        })
    }

    fn pointers(&mut self, label: &dyn Fn(&str) -> String, provider: Provider, written: &WrittenSource) -> Pointers {
        let defaults = Pointers::of(provider);
        let mut checked = |key: &str, value: &Option<String>| {
            if value.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
                self.findings.problem(&label(key), "must be a JSON pointer: begin it with '/'");
            }
            value.clone()
        };
        Pointers {
            id: checked("id", &written.id).or(defaults.id),
            contact: checked("contact", &written.contact).unwrap_or(defaults.contact),
            text: checked("text", &written.text).unwrap_or(defaults.text),
            time: checked("time", &written.time).unwrap_or(defaults.time),
        }
    }

    fn implicit_sources(&mut self) -> HashMap<SourceName, Source> {
        let mut sources = HashMap::new();
        for (provider, secret) in
            [(Provider::Whatsapp, "WHATSAPP_APP_SECRET"), (Provider::Elevenlabs, "ELEVENLABS_WEBHOOK_SECRET")]
        {
            if let Some(source) = self.implicit_source(provider, secret) {
                sources.insert(source.name.clone(), source);
            }
        }
        sources
    }

    /// A provider's default source. It exists for every room that has the signing secret or its own half of it.
    fn implicit_source(&mut self, provider: Provider, secret: &str) -> Option<Source> {
        let name = SourceName::parse(provider.as_str()).ok()?;
        let mut source = Source::bare(name, provider);
        let set = |reader: &mut Self, wanted: bool, name: &str| {
            if wanted { reader.vars.get(name, reader.findings) } else { None }
        };
        let (verifies, sends) = (self.room.verifies(), self.room.sends());
        let secrets = set(self, verifies, secret);
        if provider == Provider::Whatsapp {
            source.verify_token = set(self, verifies, "WHATSAPP_VERIFY_TOKEN").map(Secret::new);
            self.check_token("WHATSAPP_VERIFY_TOKEN", source.verify_token.as_ref());
            source.access_token = set(self, sends, "WHATSAPP_ACCESS_TOKEN").map(Secret::new);
            source.phone_number_id = set(self, sends, "WHATSAPP_PHONE_NUMBER_ID");
            let api_url = set(self, sends, "WHATSAPP_API_URL").unwrap_or_else(|| GRAPH_API.to_owned());
            source.api_url = self.url("WHATSAPP_API_URL", &api_url);
        } else {
            source.recall_secret = set(self, true, "ELEVENLABS_RECALL_SECRET").map(Secret::new);
            source.api_key = set(self, sends, "ELEVENLABS_API_KEY").map(Secret::new);
            let api_url = set(self, sends, "ELEVENLABS_API_URL");
            source.api_url = api_url.and_then(|text| self.url("ELEVENLABS_API_URL", &text));
        }
        let known = secrets.is_some() || source.access_token.is_some() || source.api_key.is_some();
        if let Some(list) = secrets {
            source.secrets = list.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Secret::new).collect();
            self.check_secrets(secret, &source.secrets);
        }
        known.then_some(source)
    }
}
