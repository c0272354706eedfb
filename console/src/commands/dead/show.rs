//! `dead show`: everything about one letter, and what a replay of it would come to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use common::domain::DeadId;
use common::store::{DeadAttempt, DeadDiff, DeadLetter, Store, StoreError};
use serde_json::{Value, json};
use worker::recovery::{Class, Reason};
use worker::rehearsal::Rehearsal;

use super::replay::rehearse;
use super::{body, told};
use crate::commands::Actor;
use crate::context::{Context, Settings};
use crate::failure::{Answer, Failure};
use crate::output::{self, table};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The dead letter
    id: DeadId,
    /// Show what it said and by whom; the audit remembers that you looked
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    actor: Actor,
}

impl Show {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let letter = store.dead_letter(self.id).await?;
        if self.reveal {
            store.audit(&self.actor.name(), "dead.reveal", &self.id.to_string(), None).await?;
        }
        let mut value = told(&letter);
        value["given_up"] = given_up(&letter).into();
        value["event"] = body::open(&store, &letter).await?.shown(self.reveal);
        value["note"] = closed_or(note(&store, self.id, self.reveal).await)?;
        value["history"] = store.dead_attempts(&letter).await?.iter().map(attempt).collect();
        let diff = store.dead_diff(self.id).await;
        value["edit"] = closed_or(diff.map(|diff| diff.map_or(Value::Null, |diff| edit(&diff, self.reveal))))?;
        value["position"] = position(&store, &letter).await?;
        value["replay_would"] = self.rehearsed(&settings, &store, &letter).await?;
        context.output.object(&value, || words(&value));
        Ok(())
    }

    /// A policy that cannot be used is the worker's trouble, and no reason not to show the letter.
    async fn rehearsed(&self, settings: &Settings, store: &Store, letter: &DeadLetter) -> Result<Value, Failure> {
        let rehearsal = match Rehearsal::of(store.clone(), &settings.config, &settings.keys) {
            Ok(rehearsal) => rehearsal,
            Err(error) => return Ok(json!({"verdict": "unknown", "error": error.to_string()})),
        };
        let verdict = rehearsal.run(letter, common::domain::ReplayMode::Regenerate).await?;
        Ok(rehearse::verdict_told(&verdict, self.reveal))
    }
}

/// Why it was not tried once more.
fn given_up(letter: &DeadLetter) -> Option<&'static str> {
    let class = Class::ALL.into_iter().find(|class| class.as_str() == letter.class)?;
    class.reason().map(Reason::as_str)
}

/// What does not open is no reason not to show the rest.
fn closed_or(value: Result<Value, StoreError>) -> Result<Value, StoreError> {
    match value {
        Err(StoreError::Sealed(error)) => Ok(json!({"closed": error.to_string()})),
        Err(StoreError::Broken(why)) => Ok(json!({"closed": why})),
        Err(StoreError::Erased) => Ok(Value::Null),
        value => value,
    }
}

/// What a person wrote when they closed it instead of having it answered.
async fn note(store: &Store, letter: DeadId, reveal: bool) -> Result<Value, StoreError> {
    let Some(note) = store.dead_note(letter).await? else { return Ok(Value::Null) };
    let size = note.chars().count();
    Ok(json!({"text": reveal.then_some(note), "size": size}))
}

fn attempt(attempt: &DeadAttempt) -> Value {
    let mut value = output::row(attempt);
    value["at"] = attempt.at.to_string().into();
    value
}

/// What an edit changed; the words only when revealed.
pub(super) fn edit(diff: &DeadDiff, reveal: bool) -> Value {
    let size = |value: &Value| output::text(value).chars().count();
    let changes = diff.changes.iter().map(|change| match reveal {
        true => json!({"part": change.part, "before": change.before, "after": change.after}),
        false => json!({"part": change.part, "before_size": size(&change.before), "after_size": size(&change.after)}),
    });
    json!({"from": diff.from, "by": diff.who, "why": diff.why, "at": diff.at.to_string(),
           "changes": changes.collect::<Vec<_>>()})
}

/// Where the message stands among those of its conversation.
async fn position(store: &Store, letter: &DeadLetter) -> Result<Value, Failure> {
    let Some(conversation) = letter.conversation else { return Ok(Value::Null) };
    let inbox = store.inbox_of(conversation).await?;
    let messages: Vec<_> = inbox.iter().filter(|event| event.kind == "message").collect();
    let own = letter.event_id.and_then(|id| messages.iter().position(|event| event.id == id));
    let answered = own.map_or(0, |own| {
        messages[own + 1..].iter().filter(|event| matches!(event.state.as_str(), "replied" | "joined")).count()
    });
    Ok(json!({"message": own.map(|own| own + 1), "of": messages.len(), "answered_since": answered}))
}

fn words(value: &Value) -> String {
    let keys = [
        ("dead letter", "id"),
        ("state", "state"),
        ("class", "class"),
        ("stage", "stage"),
        ("error", "error"),
        ("given up as", "given_up"),
        ("group", "group"),
        ("tags", "tags"),
        ("source", "source"),
        ("died", "at"),
        ("changed", "updated_at"),
        ("failed", "attempts"),
        ("policy", "policy"),
        ("prompt", "prompt"),
        ("build", "build"),
        ("conversation", "conversation"),
        ("contact", "contact"),
        ("event", "event_id"),
        ("send", "send_id"),
        ("edited from", "edited_from"),
        ("replaced by", "replaced_by"),
        ("in replay", "replay"),
        ("why", "why"),
    ];
    let line = |heading: &str, said: &str| format!("{heading:<14}{said}");
    let known = keys.iter().map(|(heading, key)| (heading, output::text(&value[*key])));
    let mut lines: Vec<String> = known.filter(|(_, said)| !said.is_empty()).map(|(h, said)| line(h, &said)).collect();
    lines.extend(position_in_words(&value["position"]).map(|said| line("position", &said)));
    lines.extend(note_in_words(&value["note"]).map(|said| line("note", &said)));
    lines.extend(
        body_in_words(&value["event"]).map(|(kind, said)| format!("{}\n{}", line("kind", &kind), line("said", &said))),
    );
    lines.push(line("a replay", &rehearse::verdict_in_words(&value["replay_would"])));
    lines.extend(edit_in_words(&value["edit"]));
    lines.extend(history_in_words(&value["history"]));
    lines.join("\n")
}

fn position_in_words(position: &Value) -> Option<String> {
    let (own, of, since) = (position["message"].as_u64()?, position["of"].as_u64()?, &position["answered_since"]);
    let since = match since.as_u64() {
        None | Some(0) => "nothing after it was answered".to_owned(),
        Some(count) => format!("{count} after it answered since"),
    };
    Some(format!("message {own} of {of} in its conversation; {since}"))
}

fn note_in_words(note: &Value) -> Option<String> {
    if let Some(why) = note["closed"].as_str() {
        return Some(format!("(does not open: {why})"));
    }
    let size = note["size"].as_u64()?;
    let hidden = || format!("(sealed, {size} characters; --reveal shows it, and the audit remembers)");
    Some(note["text"].as_str().map_or_else(hidden, str::to_owned))
}

fn body_in_words(event: &Value) -> Option<(String, String)> {
    if event.is_null() {
        return None;
    }
    let kind = output::text(&event["kind"]);
    if kind == "closed" {
        return Some((kind, format!("(does not open: {})", output::text(&event["error"]))));
    }
    let unit = if matches!(kind.as_str(), "unparsed" | "envelope") { "bytes" } else { "characters" };
    let hidden = || format!("(sealed, {} {unit}; --reveal shows it, and the audit remembers)", event["size"]);
    let said = if event["text"].is_null() { hidden() } else { output::text(&event["text"]) };
    Some((kind, said))
}

/// What an edit changed, part by part.
pub(super) fn edit_in_words(edit: &Value) -> Option<String> {
    if edit.is_null() {
        return None;
    }
    if let Some(why) = edit["closed"].as_str() {
        return Some(format!("\nEdited; what was changed does not open: {why}"));
    }
    let get = |key: &str| output::text(&edit[key]);
    let mut lines = vec![format!("\nEdited from {} by {} at {}: {}", get("from"), get("by"), get("at"), get("why"))];
    for change in edit["changes"].as_array().into_iter().flatten() {
        lines.push(format!("  {}", output::text(&change["part"])));
        match change.get("before") {
            Some(before) => {
                let said = |value: &Value| if change["part"] == RAW { bytes(value) } else { output::text(value) };
                lines.extend(said(before).lines().map(|line| format!("  - {line}")));
                lines.extend(said(&change["after"]).lines().map(|line| format!("  + {line}")));
            }
            None => lines.push(format!(
                "  {} characters became {} (--reveal shows them)",
                change["before_size"], change["after_size"]
            )),
        }
    }
    Some(lines.join("\n"))
}

/// Where an event keeps the bytes of a webhook.
const RAW: &str = "/event/raw";

/// A webhook's bytes as they came, as far as they are text.
fn bytes(value: &Value) -> String {
    let whole = STANDARD.decode(output::text(value)).unwrap_or_default();
    String::from_utf8_lossy(&whole).into_owned()
}

fn history_in_words(history: &Value) -> Option<String> {
    let rows = history.as_array().filter(|rows| !rows.is_empty())?;
    let columns = [
        ("failed at", "at"),
        ("times", "times"),
        ("stage", "stage"),
        ("class", "class"),
        ("error", "error"),
        ("outcome", "outcome"),
        ("build", "build"),
        ("worker", "worker"),
    ];
    Some(format!("\nAttempts\n{}", table(rows, &columns).trim_fmt()))
}
