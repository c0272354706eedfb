//! `handrail ledger`: everything accepted is in exactly one state, and so is everything sent; or it says what is not.

use clap::Args;
use common::domain::Micros;
use common::store::Ledger;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct LedgerOf {
    /// Only what was accepted or committed since this moment (RFC 3339, such as 2026-01-31T00:00:00Z)
    #[arg(long, value_parser = moment)]
    since: Option<Micros>,
}

fn moment(text: &str) -> Result<Micros, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|at| Micros(at.as_microsecond())).map_err(|_| "expected RFC 3339, such as 2026-01-31T00:00:00Z".into())
}

impl LedgerOf {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        let ledger = context.store().await?.ledger(self.since).await?;
        let value = serde_json::to_value(&ledger).unwrap_or_default();
        context.output.object(&value, || words(&ledger));
        if ledger.balances() {
            return Ok(());
        }
        let mut found = ledger.imbalances.clone();
        if ledger.lost > 0 {
            found.push(format!("{} events were vouched for and never arrived", ledger.lost));
        }
        Err(Failure::found(format!("the ledger does not balance: {}", found.join("; "))))
    }
}

/// The ledger as a table and a verdict.
pub(crate) fn words(ledger: &Ledger) -> String {
    let mut rows = vec![row("messages and other events", "accepted", ledger.accepted)];
    rows.extend(ledger.ended.iter().filter(|(_, n)| **n > 0).map(|(state, n)| row("", state, *n)));
    rows.push(row("", "pending", ledger.pending));
    let counted = [
        ("late", ledger.late),
        ("lost", ledger.lost),
        ("unvouched", ledger.unvouched),
        ("unknown sends", ledger.unknown_sends),
    ];
    rows.extend(counted.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| row("watched", what, n)));
    let sends = &ledger.sends;
    rows.push(row("sends", "committed", sends.committed));
    let states = [
        ("accepted", sends.accepted),
        ("superseded", sends.superseded),
        ("unknown", sends.unknown),
        ("dead", sends.dead),
        ("open", sends.open),
    ];
    rows.extend(states.into_iter().filter(|(_, n)| *n > 0).map(|(state, n)| row("", state, n)));
    let table = output::table(&rows, &[("", "what"), ("state", "state"), ("count", "count")]);
    format!("{}\n{}", table.trim_fmt(), verdict(ledger))
}

fn row(what: &str, state: &str, count: i64) -> Value {
    json!({"what": what, "state": state, "count": count})
}

fn verdict(ledger: &Ledger) -> String {
    let ended: i64 = ledger.ended.values().sum();
    let sum = format!("{} accepted = {ended} ended + {} pending", ledger.accepted, ledger.pending);
    if ledger.balances() { format!("It balances: {sum}.") } else { format!("It does NOT balance: {sum}.") }
}
