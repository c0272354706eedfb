//! `handrail dead`: what could not be answered, why, and once more.

mod replay;

use clap::{Args, Subcommand};
use common::domain::{Content, DeadId, DeadState, Event, Inbound, SourceName};
use common::store::{DeadFilter, DeadLetter, StoreError};
use serde_json::{Value, json};

use crate::commands::Actor;
use crate::context::Context;
use crate::failure::Answer;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, newest first
    List(List),
    /// Show one: where and why it died
    Show(Show),
    /// Run its messages once more, after the cause is mended
    Replay(replay::Replay),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this state (open, replaying, resolved, discarded)
    #[arg(long)]
    state: Option<DeadState>,
    /// Only of this class, such as unparsed
    #[arg(long)]
    class: Option<String>,
    /// Only of this source
    #[arg(long, value_parser = SourceName::parse)]
    source: Option<SourceName>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The dead letter
    id: DeadId,
    /// Show what it said; the audit remembers that you looked
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    actor: Actor,
}

impl Dead {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Replay(replay) => replay.run(context).await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Answer {
        let filter = DeadFilter {
            state: self.state,
            class: self.class.clone(),
            source: self.source.clone(),
            limit: self.limit,
            ..DeadFilter::default()
        };
        let letters = context.store().await?.dead_letters(&filter).await?;
        let rows: Vec<Value> = letters.iter().map(told).collect();
        let columns = [
            ("dead letter", "id"),
            ("state", "state"),
            ("class", "class"),
            ("source", "source"),
            ("stage", "stage"),
            ("error", "error"),
            ("at", "at"),
        ];
        context.output.list(&rows, &columns, "No dead letter matches.");
        Ok(())
    }
}

impl Show {
    async fn run(&self, context: &Context) -> Answer {
        let store = context.store().await?;
        let letter = store.dead_letter(self.id).await?;
        let mut value = told(&letter);
        match store.dead_event(&letter).await {
            Ok(event) => {
                if self.reveal {
                    store.audit(&self.actor.name(), "dead.reveal", &self.id.to_string(), None).await?;
                }
                value["event"] = event_told(&event, self.reveal);
            }
            // A refused send has no event of its own, an undeliverable one was never taken in, an erased one is gone.
            Err(StoreError::Absent(..) | StoreError::Erased) => {}
            Err(error) => return Err(error.into()),
        }
        context.output.object(&value, || words(&value));
        Ok(())
    }
}

fn told(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "state": letter.state.as_str(),
        "class": letter.class,
        "source": letter.source,
        "at": letter.created_at.to_string(),
        "updated_at": letter.updated_at.to_string(),
        "stage": letter.stage,
        "error": letter.error,
        "fingerprint": letter.fingerprint,
        "attempts": letter.attempts,
        "policy": letter.policy,
        "build": letter.build,
        "event_id": letter.event_id,
        "send_id": letter.send_id,
        "conversation": letter.conversation,
        "why": letter.why,
    })
}

fn event_told(inbound: &Inbound, reveal: bool) -> Value {
    let (size, text) = match &inbound.event {
        Event::Message(content) | Event::Echo(content) => match content {
            Content::Text(text) => (text.chars().count(), text.clone()),
            Content::Unreadable(what) => (0, format!("[{what}]")),
        },
        Event::Unparsed { raw, .. } => (raw.len(), String::from_utf8_lossy(raw).into_owned()),
        Event::Status(_) | Event::Consent(_) | Event::Record { .. } | Event::Tally(_) => (0, String::new()),
    };
    let kind = inbound.event.kind().as_str();
    let shown = |value: Value| if reveal { value } else { Value::Null };
    json!({"kind": kind, "size": size, "text": shown(text.into()), "party": shown(json!(inbound.party))})
}

fn words(value: &Value) -> String {
    let keys = [
        "id",
        "state",
        "class",
        "stage",
        "error",
        "source",
        "at",
        "updated_at",
        "attempts",
        "fingerprint",
        "policy",
        "build",
        "conversation",
        "event_id",
        "send_id",
        "why",
    ];
    let line = |key: &&str| format!("{key:<13}{}", output::text(&value[*key]));
    let mut lines: Vec<String> = keys.iter().filter(|key| !output::text(&value[**key]).is_empty()).map(line).collect();
    let event = &value["event"];
    if !event.is_null() {
        let hidden =
            || format!("(sealed, {} characters or bytes; --reveal shows it, and the audit remembers)", event["size"]);
        let said = if event["text"].is_null() { hidden() } else { output::text(&event["text"]) };
        lines.push(format!("{:<13}{}", "kind", output::text(&event["kind"])));
        lines.push(format!("{:<13}{said}", "said"));
    }
    lines.join("\n")
}
