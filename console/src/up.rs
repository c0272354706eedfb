//! All rooms in one process. The only file that knows ingress and worker.

use common::config::Config;
use common::domain::SourceName;
use worker::channels::{Channels, split};

use crate::context::Context;
use crate::failure::{Answer, Failure};

/// What every channel takes in one send; for a source that is not configured where the command runs.
const NARROWEST_LIMIT: usize = 4_096;

/// A person's words in the parts that a source's channel takes.
pub(crate) fn parts(config: &Config, source: &SourceName, text: &str) -> Vec<String> {
    let channel = Channels::of(&config.sources, &config.timing).for_source(source);
    split(text, channel.map_or(NARROWEST_LIMIT, |channel| channel.limit()))
}

pub(crate) async fn run(_context: &Context) -> Answer {
    Err(Failure::cannot_run("not yet"))
}
