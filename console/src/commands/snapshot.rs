//! `handrail snapshot`: the last hour in figures that fit on a screen. Every one is counted; where one cannot be, none is
//! shown.

use std::time::Duration;

use clap::Args;
use common::domain::Micros;
use common::store::{ModelCalls, Snapshot as Figures};
use serde_json::{Value, json};

use crate::commands::span::moment;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;

/// How far back without `--since`.
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// From when: a moment (RFC 3339) or a span back from now (such as 90m, 24h or 7d) [default: 1h]
    #[arg(long, value_parser = moment)]
    since: Option<Micros>,
}

impl Snapshot {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let since = match self.since {
            Some(since) => since,
            None => store.now().await? - AN_HOUR,
        };
        let figures = store.snapshot(since).await?;
        let mut value = told(&figures);
        // The broker may be out while the store answers: what is known is shown, and what is not is named.
        let depths = match settings.open_queue().await {
            Ok(queue) => {
                let depths = queue.depths().await;
                queue.close().await;
                depths.map_err(Failure::from)
            }
            Err(failure) => Err(failure),
        };
        value["queue_depth"] = match &depths {
            Ok(depths) => depths.iter().map(|depth| depth.ready + depth.unacked.unwrap_or(0)).sum::<u64>().into(),
            Err(_) => Value::Null,
        };
        context.output.object(&value, || words(&value, &figures));
        depths.map(drop)
    }
}

fn share(part: i64, of: i64) -> Value {
    if of == 0 { Value::Null } else { json!((part as f64 / of as f64 * 1e4).round() / 1e4) }
}

fn told(figures: &Figures) -> Value {
    let handed_off = figures.by_state.get("handed_off").copied().unwrap_or(0);
    let mut value = output::row(figures);
    (value["since"], value["at"]) = (figures.since.to_string().into(), figures.at.to_string().into());
    value["off_topic_share"] = share(figures.off_topic, figures.messages);
    value["handed_off"] = handed_off.into();
    value["handed_off_share"] = share(handed_off, figures.messages);
    value["by_model_share"] = share(figures.by_model, figures.messages);
    value["errors"] = figures.errors().into();
    value["p95_ms"] = json!(figures.latency.p95_ms);
    let sum = |of: fn(&ModelCalls) -> i64| figures.models.iter().map(of).sum::<i64>();
    value["tokens_in"] = sum(|calls| calls.tokens_in).into();
    value["tokens_out"] = sum(|calls| calls.tokens_out).into();
    value["spend"] = spend(figures);
    value
}

/// What was spent, by currency, in whole units.
fn spend(figures: &Figures) -> Value {
    let mut sums = std::collections::BTreeMap::<&str, i64>::new();
    for calls in &figures.models {
        if let Some(currency) = &calls.currency {
            *sums.entry(currency).or_default() += calls.cost_nano;
        }
    }
    sums.into_iter()
        .map(|(currency, nano)| (currency.to_owned(), json!(nano as f64 / 1e9)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn percent(share: &Value) -> String {
    share.as_f64().map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn words(value: &Value, figures: &Figures) -> String {
    let get = |key: &str| output::text(&value[key]);
    let mut table = output::bare_table(["", ""]);
    let mut row = |what: &str, figure: String| {
        table.add_row([what.to_owned(), figure]);
    };
    row("messages", get("messages"));
    row("personal or off-topic", format!("{} ({})", percent(&value["off_topic_share"]), get("off_topic")));
    row("handed off", format!("{} ({})", percent(&value["handed_off_share"]), get("handed_off")));
    row("answered by a model", format!("{} ({})", percent(&value["by_model_share"]), get("by_model")));
    row("answered without one", get("without_model"));
    row("errors", get("errors"));
    row("p95 until answered", millis(figures.latency.p95_ms));
    row("p50, p99", format!("{}, {}", millis(figures.latency.p50_ms), millis(figures.latency.p99_ms)));
    row("where they stand", pairs(&value["by_state"]));
    row("came late", get("late"));
    row("turns", pairs(&value["turns"]));
    row("ended without a commit", pairs(&value["without_commit"]));
    row("tokens in, out", format!("{}, {}", get("tokens_in"), get("tokens_out")));
    row("spend", pairs(&value["spend"]));
    row("sends", pairs(&value["sends"]));
    row("dead letters", format!("{} new, {} wait for a person", get("dead"), get("dead_open")));
    row("sends unknown now", get("unknown_open"));
    row("people called", called(&value["called"]));
    row("handoffs now", pairs(&value["handoffs"]));
    row("floors now", pairs(&value["floors"]));
    row("pending now", format!("{}; the longest due for {:.1} s", get("pending"), figures.oldest_waiting_seconds));
    row("queue depth now", if value["queue_depth"].is_null() { "not known".to_owned() } else { get("queue_depth") });
    let mut text = format!("{} until {}\n{}", get("since"), get("at"), table.trim_fmt());
    let lists: [(&Value, &[output::Column]); 2] = [
        (
            &value["rules"],
            &[
                ("rule", "rule"),
                ("stage", "stage"),
                ("action", "action"),
                ("mode", "mode"),
                ("hits", "hits"),
                ("decided", "decided"),
            ],
        ),
        (
            &value["models"],
            &[
                ("model", "model"),
                ("calls", "calls"),
                ("state", "state"),
                ("error", "error"),
                ("tokens in", "tokens_in"),
                ("out", "tokens_out"),
            ],
        ),
    ];
    for (rows, columns) in lists {
        if let Some(rows) = rows.as_array().filter(|rows| !rows.is_empty()) {
            text += &format!("\n\n{}", output::table(rows, columns).trim_fmt());
        }
    }
    text
}

fn millis(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |millis| format!("{:.2} s", millis / 1e3))
}

/// As [`pairs`], by team.
fn called(teams: &Value) -> String {
    let mut named = teams.clone();
    if let Some(teams) = named.as_object_mut()
        && let Some(count) = teams.remove("")
    {
        teams.insert("no team named".to_owned(), count);
    }
    pairs(&named)
}

/// `blocked 2, replied 17`, or a dash.
fn pairs(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten().map(|(word, figure)| format!("{word} {figure}"));
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() { "–".to_owned() } else { pairs.join(", ") }
}
