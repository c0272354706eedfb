//! One conversation, shown to a person.

use clap::Args;
use common::domain::{Author, ConversationId, Line, Speaker};
use common::store::{AttemptView, ConversationSummary, ConversationView, InboxView, OutboxView, TurnView};
use serde_json::{Value, json};

use super::path;
use crate::commands::Actor;
use crate::context::Context;
use crate::failure::Answer;
use crate::output::{self, row, table};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The conversation
    id: ConversationId,
    /// Show what was said and by whom; the audit remembers that you looked
    #[arg(long)]
    reveal: bool,
    /// At most so many lines of what was said, the newest
    #[arg(long, default_value_t = 50)]
    lines: usize,
    #[command(flatten)]
    actor: Actor,
}

impl Show {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let store = context.store().await?;
        let view = store.conversation_view(self.id, self.lines).await?;
        if self.reveal {
            store.audit(&self.actor.name(), "conversation.reveal", &self.id.to_string(), None).await?;
        }
        let mut shown = shown(&view, self.reveal);
        shown["notes"] = store.notes_of(self.id).await?.iter().map(row).collect();
        shown["attempts"] = store.attempts(self.id).await?.iter().map(attempt).collect();
        context.output.object(&shown, || words(&shown));
        Ok(())
    }
}

/// A conversation's summary as lists and `show` give it.
pub(super) fn summary(summary: &ConversationSummary) -> Value {
    let mut value = row(summary);
    value["state"] = summary.floor.as_str().into();
    value["at"] = value["last_inbound_at"].clone();
    value
}

fn shown(view: &ConversationView, reveal: bool) -> Value {
    let mut value = summary(&view.summary);
    let source = view.summary.source.as_str();
    value["party"] = if reveal { json!(view.party) } else { Value::Null };
    value["lines"] = view.lines.iter().map(|line| said(line, reveal)).collect();
    value["inbox"] = view.inbox.iter().map(|event| inbox(event, source)).collect();
    value["outbox"] = view.outbox.iter().map(|send| outbox(send, source)).collect();
    value["turns"] = view.turns.iter().map(turn).collect();
    value
}

fn said(line: &Line, reveal: bool) -> Value {
    let who = match line.speaker {
        Speaker::Customer => "customer",
        Speaker::Business(Author::Assistant) => "assistant",
        Speaker::Business(Author::Policy) => "policy",
        Speaker::Business(Author::Person) => "person",
        Speaker::Record => "record",
    };
    let text = if reveal { Value::from(line.text.as_str()) } else { Value::Null };
    json!({"at": line.at.to_string(), "who": who, "characters": line.text.chars().count(), "text": text})
}

fn inbox(event: &InboxView, source: &str) -> Value {
    let mut value = row(event);
    value["source"] = source.into();
    value["at"] = value["received_at"].clone();
    value
}

fn outbox(send: &OutboxView, source: &str) -> Value {
    let mut value = row(send);
    value["source"] = source.into();
    value["at"] = value["created_at"].clone();
    value
}

fn attempt(attempt: &AttemptView) -> Value {
    let [read, written, cached] = attempt.tokens;
    json!({
        "id": attempt.id, "model": attempt.model, "provider": attempt.provider, "state": attempt.state,
        "error": attempt.error, "prompt": attempt.prompt, "policy": attempt.policy, "tokens_in": read,
        "tokens_out": written, "tokens_cached": cached, "prices": attempt.prices,
        "cost": attempt.cost.map(|cost| format!("{cost} {}", attempt.currency.as_deref().unwrap_or_default())),
        "ms": attempt.millis, "at": attempt.started_at.to_string(),
    })
}

fn turn(turn: &TurnView) -> Value {
    let mut value = row(turn);
    value["state"] = turn.outcome.as_str().into();
    value["at"] = value["committed_at"].clone();
    value
}

fn words(shown: &Value) -> String {
    let get = |key: &str| output::text(&shown[key]);
    let mut text = format!("conversation {}\nsource {}, floor {}", get("id"), get("source"), get("state"));
    for (label, key) in [("held by", "floor_by"), ("since", "floor_since"), ("next try", "next_at")] {
        if !shown[key].is_null() {
            text += &format!(", {label} {}", get(key));
        }
    }
    if shown["held"] == true {
        let letter = get("held_by");
        text += &format!(", held for dead letter {letter} until it is replayed or discarded, or `conversation return`");
    }
    text += &format!("; {} pending, {} ended\n", get("pending"), get("ended"));
    text += &match shown["party"].is_null() {
        true => "with a customer whose address is sealed (--reveal shows it, and the audit remembers)\n".to_owned(),
        false => format!("with {}\n", compact(&shown["party"])),
    };
    text +=
        &section("What was said", &lines_in_words(&shown["lines"]), &[("at", "at"), ("who", "who"), ("text", "text")]);
    let events = [("event", "id"), ("kind", "kind"), ("state", "state"), ("reason", "reason"), ("at", "at")];
    text += &section("Events", rows(&shown["inbox"]), &events);
    let sends = [
        ("send", "id"),
        ("author", "author"),
        ("purpose", "purpose"),
        ("state", "state"),
        ("status", "status"),
        ("error", "error"),
        ("at", "at"),
    ];
    text += &section("Sends", rows(&shown["outbox"]), &sends);
    let (inbox, outbox, attempts) = (rows(&shown["inbox"]), rows(&shown["outbox"]), rows(&shown["attempts"]));
    let mut behind = 0;
    for turn in rows(&shown["turns"]) {
        let position = turn["position"].as_i64().unwrap_or(0);
        text += &path::notes(&notes_within(shown, behind, position));
        text += &path::turn(turn, inbox, outbox, attempts);
        behind = position;
    }
    text += &path::notes(&notes_within(shown, behind, i64::MAX));
    text.trim_end().to_owned()
}

pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What ended without a commit after the turn at `from` and before the one at `to`.
fn notes_within(shown: &Value, from: i64, to: i64) -> Vec<Value> {
    let within = |note: &&Value| note["behind"].as_i64().is_some_and(|behind| (from..to).contains(&behind));
    rows(&shown["notes"]).iter().filter(within).cloned().collect()
}

fn lines_in_words(lines: &Value) -> Vec<Value> {
    let hidden = |line: &Value| {
        let mut line = line.clone();
        if line["text"].is_null() {
            line["text"] = format!("({} characters)", line["characters"]).into();
        }
        line
    };
    rows(lines).iter().map(hidden).collect()
}

fn section(title: &str, rows: &[Value], columns: &[output::Column]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{title}\n{}\n", table(rows, columns).trim_fmt())
}

/// A value on one line, without JSON's quotes and braces where they help nobody.
pub(super) fn compact(value: &Value) -> String {
    match value {
        Value::Object(parts) => {
            let told = parts.iter().filter(|(_, part)| !part.is_null());
            told.map(|(name, part)| format!("{name} {}", nested(part))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(parts) => parts.iter().map(nested).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => output::text(value),
    }
}

pub(super) fn nested(value: &Value) -> String {
    match value {
        Value::Object(_) => format!("({})", compact(value)),
        Value::Array(_) => format!("[{}]", compact(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => output::text(value),
    }
}
