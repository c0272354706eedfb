//! `handrail queue`: what waits, and for how long; in the spool too, if this machine has one.

use std::path::Path;

use clap::Subcommand;
use common::config::{Findings, Mode};
use common::domain::Micros;
use common::queue::Depth;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;
use crate::up::SpoolView;

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Depth and age of every queue, and how long the longest waiting conversation has been due
    Status,
}

impl Queue {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        match self {
            Self::Status => status(context).await,
        }
    }
}

async fn status(context: &Context) -> Answer {
    let settings = context.settings()?;
    let spool = spool(context, settings.config.mode)?;
    let queue = settings.open_queue().await.inspect_err(|_| {
        // The hour in which the spool matters most.
        spool.iter().for_each(|view| output::say(&spool_words(view)));
    })?;
    let depths = queue.depths().await?;
    queue.close().await;
    let waiting = settings.open_store().await?.oldest_waiting().await?;
    let mut value = json!({"queues": depths, "oldest_waiting_seconds": waiting.as_secs_f64()});
    if let Some(view) = &spool {
        value["spool"] = json!({
            "events": view.records,
            "bytes": view.bytes,
            "oldest_seconds": view.oldest.map(age),
            "set_aside": view.set_aside,
        });
    }
    context.output.object(&value, || {
        let words = words(&depths, waiting.as_secs_f64());
        spool.as_ref().map_or(words.clone(), |view| format!("{words}\n{}", spool_words(view)))
    });
    Ok(())
}

/// What is in the spool that this environment names.
fn spool(context: &Context, mode: Mode) -> Result<Option<SpoolView>, Failure> {
    let mut findings = Findings::new(mode);
    let folder = context.vars.get("INGRESS_SPOOL_DIR", &mut findings);
    findings.finish()?;
    let Some(folder) = folder.filter(|folder| Path::new(folder).exists()) else { return Ok(None) };
    let unreadable = |error| Failure::cannot_run(format!("INGRESS_SPOOL_DIR: '{folder}' cannot be read: {error}"));
    SpoolView::of(Path::new(&folder)).map(Some).map_err(unreadable)
}

fn age(since: Micros) -> f64 {
    Micros::wall().since(since).as_secs_f64()
}

fn spool_words(view: &SpoolView) -> String {
    let waits = match view.oldest {
        None => "The spool is empty.".to_owned(),
        Some(oldest) => format!(
            "{} events ({} bytes) wait in the spool, the oldest for {:.0} s.",
            view.records,
            view.bytes,
            age(oldest)
        ),
    };
    match view.set_aside {
        0 => waits,
        files => {
            format!("{waits} {files} files beside it hold what could not be read: keep them for who looks into it.")
        }
    }
}

fn words(depths: &[Depth], waiting: f64) -> String {
    let rows: Vec<Value> = depths.iter().map(|depth| serde_json::to_value(depth).unwrap_or_default()).collect();
    let columns = [
        ("queue", "name"),
        ("ready", "ready"),
        ("unacked", "unacked"),
        ("oldest s", "oldest_seconds"),
        ("consumers", "consumers"),
    ];
    let waiting = match waiting {
        0.0 => "No conversation waits for a worker.".to_owned(),
        seconds => format!("The longest waiting conversation has been due for {seconds:.1} s."),
    };
    format!("{}\n{waiting}", output::table(&rows, &columns).trim_fmt())
}
