//! `make bench`: what Handrail costs, measured beside the least that could do the same, on this machine, in one run.
//!
//! It starts a private RabbitMQ and PostgreSQL, the release binaries and the stand-ins, measures, and prints Markdown;
//! with `--write` it puts the figures between their markers in docs/benchmarks.md. It judges targets and never fails
//! by them: a figure is not a test.

mod compile;
mod crowd;
mod dead;
mod deployment;
mod figures;
mod load;
mod machine;
mod report;
mod turns;
mod webhooks;

use std::io::Write;

use anyhow::bail;

const USAGE: &str = "bench [--rounds N] [--write] [ingress] [embedded] [worker] [crowd] | bench [--write] dead | build";
/// What is measured apart.
const APART: [&str; 2] = ["build", "dead"];
/// What `make bench` measures.
const PARTS: [&str; 4] = ["ingress", "embedded", "worker", "crowd"];

struct Options {
    rounds: usize,
    write: bool,
    parts: Vec<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { rounds: 6, write: false, parts: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--write" => options.write = true,
                "--rounds" => options.rounds = arguments.next().unwrap_or_default().parse()?,
                part if APART.contains(&part) || PARTS.contains(&part) => options.parts.push(argument),
                other => bail!("'{other}' is unknown: {USAGE}"),
            }
        }
        if options.parts.is_empty() {
            options.parts = PARTS.map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An error means that a provider is installed already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let options = Options::read(std::env::args().skip(1))?;
    let builds = options.parts.iter().any(|part| APART.contains(&part.as_str()));
    let mut sections = Vec::new();
    if !builds {
        sections.push(("machine", machine::describe()?));
    }
    for part in &options.parts {
        sections.push(match part.as_str() {
            "ingress" => ("ingress", webhooks::against_bare(options.rounds).await?),
            "embedded" => ("embedded", webhooks::embedded(options.rounds).await?),
            "worker" => ("worker", turns::overhead(options.rounds).await?),
            "crowd" => ("crowd", crowd::crowd().await?),
            "dead" => ("dead", dead::searches().await?),
            _ => ("build", compile::clean()?),
        });
    }
    if !builds {
        sections.push(("load", format!("Load average at the end: {}.\n", machine::load())));
    }
    let mut stdout = std::io::stdout().lock();
    for (_, text) in &sections {
        writeln!(stdout, "{text}")?;
    }
    if options.write { report::write(&sections) } else { Ok(()) }
}

/// Progress, apart from the figures.
fn say(text: &str) {
    // Nobody may be reading.
    let _unread = writeln!(std::io::stderr(), "bench: {text}");
}
