//! `handrail ledger`: everything accepted is in exactly one state, and so is everything sent; every number that an
//! ingress vouched for is here; or it says what is not, by name.

mod words;

use clap::{Args, ValueEnum};
use common::domain::Micros;
use common::store::Ledger;
use serde_json::Value;

use crate::commands::span::moment;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;

/// How many imbalances the failure itself names.
const SAID: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct LedgerOf {
    /// Only what was accepted or committed since then: a moment (RFC 3339, such as 2026-01-31T00:00:00Z) or a span
    /// back from now (such as 90m, 24h or 7d)
    #[arg(long, value_parser = moment)]
    since: Option<Micros>,
    /// Show the sums by day (UTC) or by source; JSON holds both always
    #[arg(long, value_enum)]
    by: Option<By>,
}

/// What the sums are shown by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Day,
    Source,
}

impl LedgerOf {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        let ledger = context.store().await?.ledger(self.since).await?;
        context.output.object(&value(&ledger), || words::told(&ledger, self.by));
        let broken: Vec<&str> = ledger.broken().map(|imbalance| imbalance.what.as_str()).collect();
        if broken.is_empty() {
            return Ok(());
        }
        let more = match broken.len().saturating_sub(SAID) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let said = broken.into_iter().take(SAID).collect::<Vec<_>>().join("; ");
        Err(Failure::found(format!("the ledger does not balance: {said}{more}")))
    }
}

/// The ledger as JSON, its moments as RFC 3339.
fn value(ledger: &Ledger) -> Value {
    let mut value = serde_json::to_value(ledger).unwrap_or_default();
    value["instances"] = ledger.instances.iter().map(output::row).collect();
    value
}

/// The ledger in one table and a verdict, for who has just asked for something else.
pub(crate) fn words(ledger: &Ledger) -> String {
    words::told(ledger, None)
}
