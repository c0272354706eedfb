//! The table at the end: what was inflicted, and what became of the messages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::oracle::Verdict;

/// Of all runs together, as Markdown.
pub(crate) fn of(verdicts: &[Verdict]) -> String {
    let sum = |part: fn(&Verdict) -> usize| verdicts.iter().map(part).sum::<usize>();
    let mut faults: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for (kind, (count, worst)) in verdicts.iter().flat_map(|verdict| &verdict.faults) {
        let entry = faults.entry(kind).or_default();
        *entry = (entry.0 + count, entry.1.max(*worst));
    }
    let mut text = String::from("| fault | times | worst recovery, s |\n|---|---:|---:|\n");
    for (kind, (count, worst)) in &faults {
        // Writing into a String cannot fail.
        let _written = writeln!(text, "| {kind} | {count} | {:.1} |", worst.as_secs_f64());
    }
    let worst = faults.values().map(|(_, worst)| *worst).max().unwrap_or_default();
    let injected: usize = faults.values().map(|(count, _)| count).sum();
    let _written = writeln!(text, "| **all** | {injected} | {:.1} |", worst.as_secs_f64());
    text.push_str(
        "\n| messages | accepted | lost | doubled | reordered | late | unknown | take-overs | violations |\n",
    );
    text.push_str("|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    let cells = [
        sum(|verdict| verdict.messages),
        sum(|verdict| verdict.accepted),
        sum(|verdict| verdict.lost),
        sum(|verdict| verdict.doubled),
        sum(|verdict| verdict.reordered),
        sum(|verdict| verdict.late),
        sum(|verdict| verdict.unknown),
        sum(|verdict| verdict.takeovers),
        sum(|verdict| verdict.violations.len()),
    ];
    let cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
    let _written = writeln!(text, "| {} |", cells.join(" | "));
    for (what, of) in [
        ("messages ended", (|verdict: &Verdict| &verdict.ended) as fn(&Verdict) -> &BTreeMap<String, usize>),
        ("dead letters", |verdict| &verdict.dead),
        ("webhooks answered", |verdict| &verdict.answers),
    ] {
        let _written = writeln!(text, "{what}: {}", together(verdicts.iter().map(of)));
    }
    let refused = sum(|verdict| verdict.refused_hands);
    let _written = writeln!(text, "take-overs and returns refused, the store being away: {refused}");
    let settled = verdicts.iter().map(|verdict| verdict.settled_in).max().unwrap_or_default();
    let _written = writeln!(text, "settled after the last fault within {:.1} s", settled.as_secs_f64());
    text
}

fn together<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, usize>>) -> String {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for (word, count) in counts.flatten() {
        *all.entry(word).or_default() += count;
    }
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}
