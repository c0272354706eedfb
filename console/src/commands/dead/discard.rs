//! `dead discard`: letters given up by a person, with a reason that the audit keeps.

use clap::Args;
use common::domain::{DeadId, DeadState};
use common::store::DiscardRefused;
use serde_json::{Value, json};

use super::select::{Chosen, Pages};
use super::{COLUMNS, letters, told};
use crate::commands::Actor;
use crate::consent;
use crate::context::Context;
use crate::failure::{Answer, Failure};

#[derive(Debug, Args)]
pub(crate) struct Discard {
    #[command(flatten)]
    chosen: Chosen,
    /// Why, for the audit
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    why: String,
    /// Say which would be discarded, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    actor: Actor,
}

/// Letters that one call gives up: all or none, in one transaction.
const MOST: usize = 10_000;

impl From<DiscardRefused> for Failure {
    fn from(refused: DiscardRefused) -> Self {
        match refused {
            DiscardRefused::Store(error) => error.into(),
            DiscardRefused::Empty
            | DiscardRefused::NoReason
            | DiscardRefused::NotOpen(..)
            | DiscardRefused::Held(_) => Self::found(refused.to_string()),
        }
    }
}

impl Discard {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let filter = self.chosen.filter(&settings, &store).await?;
        let (mut rows, mut ids, mut pages) = (Vec::<Value>::new(), Vec::<DeadId>::new(), Pages::of(&store, &filter));
        loop {
            let page = pages.next().await?;
            if page.is_empty() {
                break;
            }
            ids.extend(page.iter().map(|letter| letter.id));
            rows.extend(page.iter().map(told));
            if ids.len() > MOST {
                return Err(Failure::cannot_run(format!("more than {MOST} letters match: narrow them with filters")));
            }
        }
        if ids.is_empty() {
            return Err(DiscardRefused::Empty.into());
        }
        if self.dry_run {
            context.output.list(&rows, &COLUMNS, "");
            return Ok(());
        }
        let count = ids.len();
        consent::or_ask(self.yes, &format!("Discard {}? What they ask will never be answered.", letters(count)))?;
        store.discard_dead(&ids, &self.actor.name(), &self.why).await?;
        let state = DeadState::Discarded.as_str();
        let value = json!({"ids": ids, "state": state, "count": count, "why": self.why});
        context.output.object(&value, || format!("{} discarded.", letters(count)));
        Ok(())
    }
}
