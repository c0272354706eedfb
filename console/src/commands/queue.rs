//! `handrail queue`: what waits, and for how long.

use clap::Subcommand;
use common::queue::Depth;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Answer;
use crate::output;

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
    let queue = settings.open_queue().await?;
    let depths = queue.depths().await?;
    queue.close().await;
    let waiting = settings.open_store().await?.oldest_waiting().await?;
    let value = json!({"queues": depths, "oldest_waiting_seconds": waiting.as_secs_f64()});
    context.output.object(&value, || words(&depths, waiting.as_secs_f64()));
    Ok(())
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
