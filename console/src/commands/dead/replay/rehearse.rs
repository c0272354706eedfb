//! The dry run: every letter rehearsed, and nothing changed.

use std::collections::BTreeMap;

use common::domain::ReplayMode;
use common::store::{DeadFilter, DeadLetter, Store};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use worker::rehearsal::{Rehearsal, Verdict};

use super::super::select::Pages;
use super::super::{letters, told};
use crate::context::{Context, Settings};
use crate::failure::{Answer, Failure};
use crate::output::{self, table};
use crate::progress::Progress;

/// Letters rehearsed at once.
const WIDTH: usize = 8;
/// Letters that a table on a screen names.
const NAMED: usize = 50;

/// Rehearses a selection and tells each verdict.
pub(super) async fn run(
    context: &Context,
    settings: &Settings,
    store: &Store,
    filter: &DeadFilter,
    mode: ReplayMode,
    reveal: bool,
    who: &str,
) -> Answer {
    let rehearsal = Rehearsal::of(store.clone(), &settings.config, &settings.keys)
        .map_err(|error| Failure::cannot_run(error.to_string()))?;
    let count = store.dead_count(filter).await?;
    if count == 0 {
        return Err(Failure::found("no open dead letter matches: nothing to rehearse"));
    }
    let filter = match reveal {
        true => &store.audit_looked(who, "dead.reveal", filter, "rehearsed").await?,
        false => filter,
    };
    let progress = Progress::of("rehearsing", u64::try_from(count).unwrap_or(0));
    let (mut rows, mut pages) = (Vec::new(), Pages::of(store, filter));
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        let one = |letter: DeadLetter| {
            let rehearsal = &rehearsal;
            async move {
                let verdict = rehearsal.run(&letter, mode).await?;
                Ok::<_, Failure>(row(&letter, &verdict, reveal))
            }
        };
        let played: Vec<Value> = stream::iter(page).map(one).buffered(WIDTH).try_collect().await?;
        rows.extend(played);
        progress.at(rows.len() as u64);
    }
    drop(progress);
    let value = json!({"dry_run": true, "count": rows.len(), "verdicts": counts(&rows), "items": rows});
    context.output.object(&value, || words(&value));
    Ok(())
}

fn row(letter: &DeadLetter, verdict: &Verdict, reveal: bool) -> Value {
    let whole = told(letter);
    let mut value = verdict_told(verdict, reveal);
    for key in ["id", "state", "class", "source", "at", "stage", "conversation", "attempts"] {
        value[key] = whole[key].clone();
    }
    value["died_of"] = whole["error"].clone();
    value["would"] = verdict_in_words(&value).into();
    value
}

fn counts(rows: &[Value]) -> BTreeMap<String, u64> {
    let words = ["would_succeed", "same_error", "new_error", "stale", "superseded"];
    let mut counts: BTreeMap<String, u64> = words.into_iter().map(|word| (word.to_owned(), 0)).collect();
    for row in rows {
        *counts.entry(output::text(&row["verdict"])).or_default() += 1;
    }
    counts
}

/// A verdict as JSON; what would be said only when revealed.
pub(crate) fn verdict_told(verdict: &Verdict, reveal: bool) -> Value {
    let word = verdict.as_str();
    match verdict {
        Verdict::WouldSucceed(success) => {
            let ends: Vec<Value> =
                success.ends.iter().map(|(event, end)| json!({"event": event, "end": end.as_str()})).collect();
            let reply = if reveal { json!(success.reply) } else { Value::Null };
            json!({"verdict": word, "ends": ends, "voice": success.voice.as_str(), "parts": success.reply.len(),
                   "reply": reply})
        }
        Verdict::SameError { error } => json!({"verdict": word, "error": error}),
        Verdict::NewError { class, error } => json!({"verdict": word, "error": error, "new_class": class}),
        Verdict::Stale => json!({"verdict": word}),
        Verdict::Superseded(why) => json!({"verdict": word, "reason": why}),
    }
}

/// A verdict in words, from its JSON.
pub(crate) fn verdict_in_words(told: &Value) -> String {
    let get = |key: &str| output::text(&told[key]);
    match told["verdict"].as_str().unwrap_or_default() {
        "would_succeed" => success_in_words(told),
        "same_error" => format!("would fail as it did: {}", get("error")),
        "new_error" => format!("would fail anew ({}): {}", get("new_class"), get("error")),
        "stale" => "is stale: the channel's window for free text has closed".to_owned(),
        "superseded" => match told["reason"].as_str().unwrap_or_default() {
            "person_has_floor" => "is superseded: a person has the floor".to_owned(),
            "replaying" => "is superseded: a replay has it already".to_owned(),
            "nothing_left" => "is superseded: no message of it is left to run".to_owned(),
            reason => format!("is superseded: {reason}"),
        },
        _ => format!("cannot be told: {}", get("error")),
    }
}

fn success_in_words(told: &Value) -> String {
    let mut ends: Vec<String> =
        told["ends"].as_array().into_iter().flatten().map(|end| output::text(&end["end"])).collect();
    ends.dedup();
    let by = match told["voice"].as_str().unwrap_or_default() {
        "recorded" => ", with the answer on record",
        "scripted" => ", as far as the stand-in model can tell",
        "policy" => ", with the policy's text",
        "stored" => ", with the reply as it was approved",
        _ => "",
    };
    let mut words = format!("would end {}{by}", ends.join(", "));
    for part in told["reply"].as_array().into_iter().flatten() {
        words += &format!("\n  > {}", output::text(part).replace('\n', "\n  > "));
    }
    words
}

fn words(value: &Value) -> String {
    let rows: Vec<Value> = value["items"].as_array().cloned().unwrap_or_default();
    let (shown, more) = match rows.len() > NAMED {
        true => (&rows[..NAMED], format!("… and {} more; --json tells them all.\n", rows.len() - NAMED)),
        false => (&rows[..], String::new()),
    };
    let columns = [("dead letter", "id"), ("died of", "died_of"), ("a replay", "would")];
    let counted = value["verdicts"].as_object().into_iter().flatten();
    let counted: Vec<String> = counted
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(word, count)| format!("{count} {}", word.replace('_', " ")))
        .collect();
    let summary = format!("{}: {}. Nothing was changed.", letters(rows.len()), counted.join(", "));
    format!("{}\n{more}{summary}", table(shown, &columns).trim_fmt())
}
