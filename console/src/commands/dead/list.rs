//! `dead list`: letters by what they died of; with `--body` by what they say.

use clap::Args;
use common::domain::DeadState;
use common::store::{DeadFilter, DeadLetter, Store};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

use super::select::{self, Pages, Which};
use super::{COLUMNS, body, brief, letters, told};
use crate::commands::Actor;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this state
    #[arg(long, value_parser = select::state())]
    state: Option<DeadState>,
    #[command(flatten)]
    which: Which,
    /// Only what says this; opens at most 10,000 letters, and the audit remembers that you searched
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    #[command(flatten)]
    actor: Actor,
}

/// Bodies that one search opens.
const MOST_OPENED: i64 = 10_000;
/// Letters opened at once.
const WIDTH: usize = 8;

impl List {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let filter = self.which.filter(&settings, &store, self.state).await?;
        let found = match &self.body {
            Some(text) => self.saying(&store, &filter, text).await?,
            None => self.newest(&store, &filter).await?,
        };
        let rows: Vec<Value> = found.iter().map(told).collect();
        let rows = if context.output.json() { rows } else { brief(&rows, &["at"]) };
        context.output.list(&rows, &COLUMNS, "No dead letter matches.");
        Ok(())
    }

    async fn newest(&self, store: &Store, filter: &DeadFilter) -> Result<Vec<DeadLetter>, Failure> {
        let newest = store.dead_letters(&DeadFilter { limit: self.limit, ..filter.clone() }).await?;
        if i64::try_from(newest.len()).unwrap_or(i64::MAX) == self.limit {
            let all = store.dead_count(filter).await?;
            if all > self.limit {
                output::say(&format!("{} of {all} that match, the newest; --limit shows more.", self.limit));
            }
        }
        Ok(newest)
    }

    /// Opens every letter that the filters leave, a page at a time.
    async fn saying(&self, store: &Store, filter: &DeadFilter, text: &str) -> Result<Vec<DeadLetter>, Failure> {
        let wanted = text.trim().to_lowercase();
        if wanted.is_empty() {
            return Err(Failure::cannot_run("--body says nothing: give the text to look for"));
        }
        let count = store.dead_count(filter).await?;
        if count > MOST_OPENED {
            return Err(Failure::cannot_run(format!(
                "{} match, and --body opens at most {MOST_OPENED}: narrow them with --since, --group, \
                 --source or --contact; none was opened",
                letters(count)
            )));
        }
        let filter = &store.audit_looked(&self.actor.name(), "dead.search", filter, "for a text").await?;
        let progress = Progress::of("opening", u64::try_from(count).unwrap_or(0));
        let (mut found, mut opened, mut pages) = (Vec::new(), 0, Pages::of(store, filter));
        loop {
            let page = pages.next().await?;
            if page.is_empty() {
                return Ok(found);
            }
            opened += page.len() as u64;
            let says = |letter: DeadLetter| async {
                let opened = body::open(store, &letter).await?;
                Ok::<_, Failure>(opened.says(&wanted).then_some(letter))
            };
            let hits: Vec<Option<DeadLetter>> = stream::iter(page).map(says).buffered(WIDTH).try_collect().await?;
            found.extend(hits.into_iter().flatten());
            progress.at(opened);
            if i64::try_from(found.len()).unwrap_or(i64::MAX) >= self.limit {
                found.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
                return Ok(found);
            }
        }
    }
}
