//! `handrail policy bench`: how many of the labelled texts a rule judges rightly, how sure that is, and how long it takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use worker::pipeline::guardrails::{Guardrails, Talk};
use worker::policy::{KindName, RuleMode, RuleStage};

use super::Which;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;

/// Texts judged before time is taken: the first ones pay for making things ready.
const WARM_UP: usize = 20;
/// How many of a normal distribution's deviations hold 95 % of it.
const Z: f64 = 1.959_964;
/// Lengths that are told apart, in characters: up to and including.
const LENGTHS: [(usize, &str); 4] = [(100, "≤100"), (500, "≤500"), (2_000, "≤2000"), (usize::MAX, ">2000")];

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Rows of {"text", "label", "lang"?} as JSON lines; labels: attack|benign, off|on, pii|none
    file: PathBuf,
    /// The rule to measure, in whatever mode it is but off
    #[arg(long, value_name = "NAME")]
    rule: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Deserialize)]
struct Row {
    text: String,
    label: String,
    #[serde(default)]
    lang: Option<String>,
}

/// Right and wrong, counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    found: usize,
    missed: usize,
    alarms: usize,
    clean: usize,
}

impl Bench {
    pub(super) fn run(&self, context: &Context) -> Answer {
        let guardrails = self.which.ready(context)?;
        let (stage, kind) = self.rule(&guardrails)?;
        let rows = self.rows(kind)?;
        let judge = |text: &str| guardrails.explain(stage, text, &mut Talk::default());
        rows.iter().take(WARM_UP).for_each(|(row, _)| drop(judge(&row.text)));
        let mut all = Counts::default();
        let (mut by_language, mut by_length) = (BTreeMap::new(), BTreeMap::new());
        let (mut whole, mut alone) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (row, positive) in &rows {
            let begun = Instant::now();
            let told = judge(&row.text);
            whole.push(begun.elapsed().as_secs_f64() * 1e3);
            let result = told.results.iter().find(|result| result.rule == self.rule);
            alone.extend(result.map(|result| result.micros as f64 / 1e3));
            let hit = result.is_some_and(|result| result.hit);
            let length = row.text.chars().count();
            let class = LENGTHS.iter().position(|(most, _)| length <= *most).unwrap_or(0);
            let language = row.lang.clone().unwrap_or_else(|| "not told".to_owned());
            all.count(*positive, hit);
            by_language.entry(language).or_insert_with(Counts::default).count(*positive, hit);
            by_length.entry(class).or_insert_with(Counts::default).count(*positive, hit);
        }
        let mut value = all.told();
        let mut put = |key: &str, figure: Value| drop(value.insert(key.to_owned(), figure));
        put("rule", self.rule.as_str().into());
        put("policy", guardrails.policy().version().into());
        for (key, times) in [("", &mut whole), ("rule_", &mut alone)] {
            times.sort_by(f64::total_cmp);
            put(&format!("{key}p50_ms"), rounded(quantile(times, 0.5)));
            put(&format!("{key}p99_ms"), rounded(quantile(times, 0.99)));
        }
        put(
            "by_language",
            by_language
                .iter()
                .map(|(language, counts)| (language.clone(), counts.told().into()))
                .collect::<Map<_, _>>()
                .into(),
        );
        let of_length = |(class, counts): (&usize, &Counts)| (LENGTHS[*class].1.to_owned(), counts.told().into());
        put("by_length", by_length.iter().map(of_length).collect::<Map<_, _>>().into());
        context.output.object(&Value::Object(value.clone()), || words(&value));
        Ok(())
    }

    fn rule(&self, guardrails: &Guardrails) -> Result<(RuleStage, KindName), Failure> {
        let rules = guardrails.policy().rules();
        let Some(rule) = rules.iter().find(|rule| rule.name == self.rule) else {
            let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
            return Err(Failure::cannot_run(format!(
                "--rule: no rule is named '{}'; there are {}",
                self.rule,
                names.join(", ")
            )));
        };
        if rule.mode == RuleMode::Off {
            return Err(Failure::cannot_run(format!(
                "--rule: '{}' is off; put it into shadow to measure it",
                self.rule
            )));
        }
        Ok((rule.stage, rule.kind.name()))
    }

    /// Every row, and whether the rule must hit it.
    fn rows(&self, kind: KindName) -> Result<Vec<(Row, bool)>, Failure> {
        let told =
            |line: usize, reason: String| Failure::cannot_run(format!("{}:{line}: {reason}", self.file.display()));
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| told(1, format!("cannot be read ({})", error.kind())))?;
        let mut rows = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row: Row = serde_json::from_str(line).map_err(|error| told(at + 1, format!("no row: {error}")))?;
            let (yes, no) = labels(kind);
            let positive = yes.contains(&row.label.as_str());
            if !positive && !no.contains(&row.label.as_str()) {
                return Err(told(
                    at + 1,
                    format!(
                        "the label '{}' says nothing of this rule; {} or {}",
                        row.label,
                        yes.join(", "),
                        no.join(", ")
                    ),
                ));
            }
            rows.push((row, positive));
        }
        if rows.is_empty() {
            return Err(told(1, "it has no rows".to_owned()));
        }
        Ok(rows)
    }
}

/// The labels for what a rule must hit, and for what it must not.
const fn labels(kind: KindName) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        KindName::Injection => (&["attack"], &["benign"]),
        KindName::Topic => (&["off"], &["on"]),
        KindName::Pii => (&["pii"], &["none"]),
        KindName::Length
        | KindName::Words
        | KindName::Person
        | KindName::Secrets
        | KindName::Url
        | KindName::Language
        | KindName::Repeat
        | KindName::Grounding
        | KindName::Leak
        | KindName::Promise
        | KindName::Schema
        | KindName::Mention
        | KindName::Anger
        | KindName::Trouble
        | KindName::Hours
        | KindName::Value
        | KindName::Rate
        | KindName::Request => (&["hit", "attack", "off", "pii"], &["clean", "benign", "on", "none"]),
    }
}

impl Counts {
    fn count(&mut self, positive: bool, hit: bool) {
        let counter = match (positive, hit) {
            (true, true) => &mut self.found,
            (true, false) => &mut self.missed,
            (false, true) => &mut self.alarms,
            (false, false) => &mut self.clean,
        };
        *counter += 1;
    }

    fn told(&self) -> Map<String, Value> {
        let (positive, negative) = (self.found + self.missed, self.alarms + self.clean);
        let share = |part: usize, of: usize| if of == 0 { Value::Null } else { rounded(part as f64 / of as f64) };
        let interval =
            |part, of| wilson(part, of).map_or(Value::Null, |(low, high)| json!([rounded(low), rounded(high)]));
        let pairs = [
            ("n_positive", positive.into()),
            ("n_negative", negative.into()),
            ("recall", share(self.found, positive)),
            ("recall_interval", interval(self.found, positive)),
            ("false_positive_rate", share(self.alarms, negative)),
            ("false_positive_interval", interval(self.alarms, negative)),
            ("precision", share(self.found, self.found + self.alarms)),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// Wilson's interval for a share, at 95 %: sound for few rows and for shares near 0 and 1.
fn wilson(part: usize, of: usize) -> Option<(f64, f64)> {
    if of == 0 {
        return None;
    }
    let (n, share) = (of as f64, part as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    Some((((middle - reach) / whole).max(0.0), ((middle + reach) / whole).min(1.0)))
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0.0)
}

fn rounded(figure: f64) -> Value {
    json!((figure * 1e5).round() / 1e5)
}

fn words(value: &Map<String, Value>) -> String {
    let text = |key: &str| value.get(key).map(output::text).unwrap_or_default();
    let mut table =
        output::bare_table(["", "positive", "recall", "95 %", "negative", "false alarms", "95 %", "precision"]);
    let mut row = |name: &str, counts: &Map<String, Value>| {
        let cell = |key: &str| counts.get(key).map(output::text).unwrap_or_default();
        let keys = [
            "n_positive",
            "recall",
            "recall_interval",
            "n_negative",
            "false_positive_rate",
            "false_positive_interval",
            "precision",
        ];
        table.add_row([vec![name.to_owned()], keys.map(cell).to_vec()].concat());
    };
    row("all", value);
    for (group, prefix) in [("by_language", "language "), ("by_length", "length ")] {
        for (name, counts) in value.get(group).and_then(Value::as_object).into_iter().flatten() {
            counts.as_object().into_iter().for_each(|counts| row(&format!("{prefix}{name}"), counts));
        }
    }
    let times = format!("whole stage p50 {} ms, p99 {} ms", text("p50_ms"), text("p99_ms"));
    let alone = format!("rule alone p50 {} ms, p99 {} ms", text("rule_p50_ms"), text("rule_p99_ms"));
    format!("{}\n{times}; {alone}; policy {}", table.trim_fmt(), text("policy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_the_published_one_and_stays_within_0_and_1() {
        let (low, high) = wilson(8, 10).unwrap();
        assert!((low - 0.4902).abs() < 1e-3 && (high - 0.9433).abs() < 1e-3, "{low} {high}");
        assert_eq!(wilson(0, 5).unwrap().0, 0.0);
        assert!(wilson(5, 5).unwrap().1 <= 1.0);
        assert!(wilson(0, 0).is_none());
    }

    #[test]
    fn a_quantile_is_the_smallest_time_that_the_share_does_not_exceed() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.99), 4.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
