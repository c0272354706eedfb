//! `dead groups`: how many of each cause, since when, and which are new.

use clap::Args;
use common::domain::DeadState;
use common::store::{DeadFilter, DeadGroup, Store};
use serde_json::{Value, json};

use super::brief;
use super::select::{self, Which};
use crate::context::Context;
use crate::failure::{Answer, Failure};

#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// Count only letters of this state
    #[arg(long, value_parser = select::state())]
    state: Option<DeadState>,
    #[command(flatten)]
    which: Which,
    /// Only causes of which nothing had died before this build
    #[arg(long, value_name = "BUILD")]
    new_since: Option<String>,
}

impl Groups {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let filter = self.which.filter(&settings, &store, self.state).await?;
        if let Some(build) = &self.new_since {
            build_is_known(&store, build).await?;
        }
        let groups = store.dead_groups(&filter, self.new_since.as_deref()).await?;
        let wanted = groups.iter().filter(|group| group.new || self.new_since.is_none());
        let rows: Vec<Value> = wanted.map(told).collect();
        let columns = [
            ("group", "id"),
            ("class", "class"),
            ("stage", "stage"),
            ("error", "error"),
            ("count", "count"),
            ("open", "open"),
            ("people", "contacts"),
            ("first", "first_at"),
            ("last", "last_at"),
            ("builds", "builds"),
        ];
        let nothing = match &self.new_since {
            Some(build) => format!("Nothing died for the first time with build {build}."),
            None => "No dead letter matches.".to_owned(),
        };
        let rows = if context.output.json() { rows } else { brief(&rows, &["first_at", "last_at"]) };
        context.output.list(&rows, &columns, &nothing);
        Ok(())
    }
}

/// A build misspelt would make every cause look old, or every one new.
async fn build_is_known(store: &Store, build: &str) -> Result<(), Failure> {
    let groups = store.dead_groups(&DeadFilter::default(), None).await?;
    let mut builds: Vec<&str> = groups.iter().flat_map(|group| group.builds.iter().map(String::as_str)).collect();
    builds.sort_unstable();
    builds.dedup();
    if builds.is_empty() || builds.contains(&build) || build == common::build() {
        return Ok(());
    }
    Err(Failure::cannot_run(format!("no dead letter was given up by build '{build}': {}", builds.join(", "))))
}

fn told(group: &DeadGroup) -> Value {
    json!({
        "id": group.fingerprint,
        "state": if group.open > 0 { "open" } else { "closed" },
        "class": group.class,
        "at": group.last_at.to_string(),
        "stage": group.stage,
        "error": group.error,
        "count": group.count,
        "open": group.open,
        "contacts": group.contacts,
        "first_at": group.first_at.to_string(),
        "last_at": group.last_at.to_string(),
        "builds": group.builds,
        "new": group.new,
    })
}
