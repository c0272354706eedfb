//! The ledger as a person reads it: sums first, then the ingresses that have something to tell, then the verdict.

use comfy_table::{Cell, CellAlignment, Table};
use common::store::{InstanceLedger, Ledger, Sums};

use super::By;
use crate::output;

/// How many imbalances are told on a screen.
const TOLD: usize = 12;

pub(super) fn told(ledger: &Ledger, by: Option<By>) -> String {
    let mut parts = vec![whole(ledger)];
    match by {
        Some(By::Day) => parts.push(slices("day", ledger.days.iter().map(|day| (day.day.as_str(), &day.sums)))),
        Some(By::Source) => {
            let sources = ledger.sources.iter().map(|source| (source.source.as_str(), &source.sums));
            parts.push(slices("source", sources));
        }
        None => {}
    }
    let told: Vec<_> = ledger.instances.iter().filter(|instance| noteworthy(instance)).collect();
    if !told.is_empty() {
        parts.push(instances(&told));
    }
    parts.push(verdict(ledger));
    parts.join("\n")
}

fn whole(ledger: &Ledger) -> String {
    let mut table = output::bare_table(["", "state", "count"]);
    let mut group = |name: &str, rows: &[(&str, i64, bool)]| {
        let mut name = name;
        for (state, count, _) in rows.iter().filter(|(_, count, always)| *always || *count > 0) {
            table.add_row(vec![Cell::new(name), Cell::new(state), number(*count)]);
            name = "";
        }
    };
    let mut events = vec![("accepted", ledger.accepted, true)];
    events.extend(ledger.ended.iter().map(|(end, count)| (*end, *count, false)));
    events.push(("pending", ledger.pending, true));
    group("messages and other events", &events);
    let sends = &ledger.sends;
    group(
        "sends",
        &[
            ("committed", sends.committed, true),
            ("accepted", sends.accepted, false),
            ("superseded", sends.superseded, false),
            ("unknown", sends.unknown, false),
            ("dead", sends.dead, false),
            ("open", sends.open, false),
        ],
    );
    group(
        "watched",
        &[
            ("lost", ledger.lost, true),
            ("stuck in the broker", ledger.stuck, false),
            ("unvouched", ledger.unvouched, false),
            ("late", ledger.late, false),
            ("duplicates", ledger.duplicates, false),
            ("unknown sends, open", ledger.unknown_sends, false),
        ],
    );
    table.trim_fmt()
}

/// One row for each day or source; only states that occur have a column.
fn slices<'a>(of: &'a str, slices: impl Iterator<Item = (&'a str, &'a Sums)>) -> String {
    let slices: Vec<_> = slices.map(|(name, sums)| (name, columns(sums))).collect();
    let Some((_, first)) = slices.first() else { return String::new() };
    let used: Vec<usize> =
        (0..first.len()).filter(|at| *at == 0 || slices.iter().any(|(_, columns)| columns[*at].1 > 0)).collect();
    let mut table = output::bare_table(std::iter::once(of).chain(used.iter().map(|at| first[*at].0)));
    for (name, columns) in &slices {
        table.add_row(std::iter::once(Cell::new(name)).chain(used.iter().map(|at| number(columns[*at].1))));
    }
    table.trim_fmt()
}

fn columns(sums: &Sums) -> Vec<(&'static str, i64)> {
    let mut columns = vec![("accepted", sums.accepted)];
    columns.extend(sums.ended.iter().map(|(end, count)| (*end, *count)));
    columns.extend([
        ("pending", sums.pending),
        ("late", sums.late),
        ("duplicates", sums.duplicates),
        ("sends", sums.sends.committed),
        ("sends dead", sums.sends.dead),
        ("sends unknown", sums.sends.unknown),
    ]);
    columns
}

fn noteworthy(instance: &InstanceLedger) -> bool {
    instance.lost + instance.stuck + instance.waiting + instance.unvouched + instance.given_up > 0
}

fn instances(told: &[&InstanceLedger]) -> String {
    let headings = ["ingress", "", "vouched to", "given up", "unvouched", "waiting", "stuck", "lost"];
    let mut table: Table = output::bare_table(headings);
    for instance in told {
        let numbers =
            [instance.upto, instance.given_up, instance.unvouched, instance.waiting, instance.stuck, instance.lost];
        let name = [Cell::new(instance.instance), Cell::new(instance.state)];
        table.add_row(name.into_iter().chain(numbers.map(number)));
    }
    table.trim_fmt()
}

fn number(count: i64) -> Cell {
    Cell::new(count).set_alignment(CellAlignment::Right)
}

fn verdict(ledger: &Ledger) -> String {
    let ended: i64 = ledger.ended.values().sum();
    let sum = format!("{} accepted = {ended} ended + {} pending", ledger.accepted, ledger.pending);
    let broken: Vec<_> = ledger.broken().map(|imbalance| &imbalance.what).collect();
    let settling: Vec<_> = ledger.imbalances.iter().filter(|one| one.settling).map(|one| &one.what).collect();
    let mut lines = vec![match (broken.is_empty(), settling.is_empty()) {
        (true, true) => format!("It balances: {sum}."),
        (true, false) => format!("It is settling; look again in a minute: {sum}."),
        (false, _) => "It does NOT balance:".to_owned(),
    }];
    for (word, found) in [("", broken), ("settling: ", settling)] {
        lines.extend(found.iter().take(TOLD).map(|what| format!("  - {word}{what}")));
        if found.len() > TOLD {
            lines.push(format!("  - and {} more; --json names them", found.len() - TOLD));
        }
    }
    lines.join("\n")
}
