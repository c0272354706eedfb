//! One conversation, shown to a person.

use clap::Args;
use common::domain::{Author, ConversationId, Line, Speaker};
use common::store::{ConversationSummary, ConversationView, InboxView, OutboxView, TurnView};
use serde_json::{Value, json};

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
        let shown = shown(&view, self.reveal);
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
    for turn in rows(&shown["turns"]) {
        text += &decisions(turn);
    }
    text.trim_end().to_owned()
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
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

/// A turn's decision path, one line per step.
fn decisions(turn: &Value) -> String {
    let get = |key: &str| output::text(&turn[key]);
    let model = if turn["model"].is_null() { "no model".to_owned() } else { format!("model {}", get("model")) };
    let (position, outcome, messages, policy) = (get("position"), get("outcome"), get("messages"), get("policy"));
    let mut text = format!("\nTurn {position} ({outcome}, {messages} message(s), policy {policy}, {model})\n");
    for step in rows(&turn["path"]) {
        text += &format!("  {:<8}{}\n", output::text(&step["step"]), step_in_words(step));
    }
    text
}

/// A step without its name, in the order of what matters: what was decided, then the rest, then each rule.
fn step_in_words(step: &Value) -> String {
    let Some(parts) = step.as_object() else { return compact(step) };
    let first = ["outcome", "route", "rule"];
    let told = |(name, part): (&String, &Value)| format!("{name} {}", nested(part));
    let plain = |name: &str| name != "step" && name != "rules" && !first.contains(&name);
    let leading = first.iter().filter_map(|name| parts.get_key_value(*name));
    let others = parts.iter().filter(|(name, _)| plain(name));
    let mut words: Vec<String> = leading.chain(others).filter(|(_, part)| !part.is_null()).map(told).collect();
    words.extend(rows(&step["rules"]).iter().map(rule_in_words));
    words.join(", ")
}

/// `forbidden-words: clean`, or what it hit and what followed.
fn rule_in_words(rule: &Value) -> String {
    let get = |key: &str| output::text(&rule[key]);
    match rule["hit"].as_bool() {
        Some(true) => format!("{}: HIT, {} ({}, {})", get("rule"), get("reason"), get("action"), get("mode")),
        Some(false) | None => format!("{}: {}", get("rule"), get("reason")),
    }
}

/// A value on one line, without JSON's quotes and braces where they help nobody.
fn compact(value: &Value) -> String {
    match value {
        Value::Object(parts) => {
            let told = parts.iter().filter(|(_, part)| !part.is_null());
            told.map(|(name, part)| format!("{name} {}", nested(part))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(parts) => parts.iter().map(nested).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => output::text(value),
    }
}

fn nested(value: &Value) -> String {
    match value {
        Value::Object(_) => format!("({})", compact(value)),
        Value::Array(_) => format!("[{}]", compact(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => output::text(value),
    }
}
