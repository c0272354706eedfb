//! `handrail send`: a sample webhook, signed as its provider would, posted to a running ingress.

pub(crate) mod sample;

use std::net::SocketAddr;
use std::time::Instant;

use clap::{Args, ValueEnum};
use common::config::{Findings, Mode, Source};
use common::domain::{Micros, SourceName};
use common::{providers, signature};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::http::Http;

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The configured source to post as, such as whatsapp
    #[arg(value_parser = SourceName::parse)]
    source: SourceName,
    /// The ingress [default: http:// and INGRESS_BIND]
    #[arg(long)]
    url: Option<String>,
    /// What the webhook tells of
    #[arg(long, value_enum, default_value_t = Kind::Text)]
    kind: Kind,
    /// What the customer says
    #[arg(long, default_value = "Do you ship to Lima?")]
    text: String,
    /// The customer; a number kept for fiction by default
    #[arg(long, default_value = "15550100")]
    from: String,
    /// The provider's id of it, to send a duplicate on purpose [default: a new one each time]
    #[arg(long)]
    id: Option<String>,
    /// Post this file's bytes instead of a sample
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kind", "text", "from", "id"])]
    file: Option<std::path::PathBuf>,
    /// Change the body after signing it, so that the signature does not match
    #[arg(long)]
    bad_signature: bool,
    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
}

/// What a sample webhook tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A customer's words
    Text,
    /// A picture without a caption
    Image,
    /// A delivery report; --id names the send by the provider's id
    Status,
    /// A message that a person of the business wrote on its own phone
    Echo,
    /// A customer who asks for a person
    Person,
    /// Bytes that are no JSON
    Garbage,
}

impl Send {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        let config = context.config()?;
        let Some(source) = config.sources.get(&self.source) else {
            return Err(unknown_source(&self.source, config.sources.keys()));
        };
        let target = format!("{}/webhooks/{}", self.base(context)?.trim_end_matches('/'), self.source);
        let client = Http::new()?;
        let mut rows = Vec::new();
        for _ in 0..self.times {
            let body = self.body(source)?;
            rows.push(self.post(&client, &target, source, body).await?);
        }
        let columns = [("request", "id"), ("status", "status"), ("ms", "ms"), ("answer", "body")];
        context.output.list(&rows, &columns, "");
        let refused = rows.iter().filter(|row| row["state"] == "refused").count();
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::found(format!("{refused} of {} posts were not accepted", rows.len())))
    }

    fn base(&self, context: &Context) -> Result<String, Failure> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let mut findings = Findings::new(Mode::Development);
        let fallback = SocketAddr::from(([127, 0, 0, 1], 8080));
        let mut bind = context.vars.parsed("INGRESS_BIND", fallback, &mut findings);
        findings.finish()?;
        if bind.ip().is_unspecified() {
            bind.set_ip(fallback.ip());
        }
        Ok(format!("http://{bind}"))
    }

    fn body(&self, source: &Source) -> Result<Vec<u8>, Failure> {
        if let Some(path) = &self.file {
            let read = std::fs::read(path);
            return read
                .map_err(|error| Failure::cannot_run(format!("--file: cannot read '{}': {error}", path.display())));
        }
        let wanted = sample::Wanted { kind: self.kind, text: &self.text, from: &self.from, id: self.id.as_deref() };
        let body = sample::body(source, &wanted);
        let provider = source.provider;
        body.ok_or_else(|| Failure::cannot_run(format!("--kind: there is no such sample for provider '{provider}'")))
    }

    async fn post(&self, client: &Http, url: &str, source: &Source, body: Vec<u8>) -> Result<Value, Failure> {
        let id = self.id.clone().unwrap_or_else(|| format!("msg_{}", Uuid::new_v4().simple()));
        let headers = sign(source, &body, &id)?;
        let body = if self.bad_signature { [body, b" ".to_vec()].concat() } else { body };
        let (at, started) = (Micros::wall(), Instant::now());
        let answer = client.post(url, &headers, body).await?;
        let state = if (200..300).contains(&answer.status) { "accepted" } else { "refused" };
        Ok(json!({
            "id": answer.request_id, "state": state, "source": self.source, "at": at.to_string(),
            "status": answer.status, "ms": millis(started), "body": answer.body,
        }))
    }
}

/// The headers that prove a body for a source.
pub(crate) fn sign(source: &Source, body: &[u8], id: &str) -> Result<Vec<(String, String)>, Failure> {
    let setting = format!("source '{}'", source.name);
    let scheme =
        providers::scheme(source).ok_or_else(|| Failure::cannot_run(format!("{setting}: has no signature scheme")))?;
    let secret = source.secrets.first().ok_or_else(|| {
        Failure::cannot_run(format!("{setting}: has no secret to sign with: set it here as the ingress has it"))
    })?;
    let signed = signature::sign(&scheme, secret, body, id, Micros::wall());
    signed.map_err(|error| Failure::cannot_run(format!("{setting}: its secret {error}")))
}

/// Whole milliseconds since then.
pub(crate) fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn unknown_source<'a>(name: &SourceName, known: impl Iterator<Item = &'a SourceName>) -> Failure {
    let mut known: Vec<&str> = known.map(SourceName::as_str).collect();
    known.sort_unstable();
    let known = match known.as_slice() {
        [] => "none is: set WHATSAPP_APP_SECRET, or write a [[source]] in handrail.toml".to_owned(),
        names => format!("these are: {}", names.join(", ")),
    };
    Failure::cannot_run(format!("source '{name}' is not configured here; {known}"))
}
