//! `handrail conversation`: who holds the floor, what was decided and why, and a person's own words.
//!
//! What people said is shown as its length. `--reveal` opens it, and the audit remembers who did.

mod path;
mod show;
mod telling;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use common::domain::{Author, ConversationId, Floor, SendId, SourceName};
use common::store::{NewSend, Store};
use common::trace::TraceContext;
use serde_json::{Value, json};

use crate::commands::Actor;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::{output, up};

#[derive(Debug, Subcommand)]
pub(crate) enum Conversation {
    /// List conversations: overdue first answers first, then the most recently written-to; names nobody
    List(List),
    /// Show one: what was said, how each message ended, what was sent, and each turn's decisions
    Show(show::Show),
    /// Take the floor: from this moment no answer of the assistant's begins. Prints the brief; the audit remembers
    Take(Take),
    /// Give the floor back to the assistant, and let a conversation go on that waits for a dead letter
    Return(Return),
    /// Send your own words; you hold the floor from then on
    Reply(Reply),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only where the floor is the assistant's, a person's, or waits for one (assistant, human, queued)
    #[arg(long)]
    floor: Option<Floor>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

#[derive(Debug, Args)]
pub(crate) struct Take {
    /// The conversation
    id: ConversationId,
    /// Why, for the audit
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    actor: Actor,
}

#[derive(Debug, Args)]
pub(crate) struct Return {
    /// The conversation
    id: ConversationId,
    #[command(flatten)]
    actor: Actor,
}

#[derive(Debug, Args)]
pub(crate) struct Reply {
    /// The conversation
    id: ConversationId,
    /// What to say
    text: String,
    #[command(flatten)]
    actor: Actor,
}

/// How long a take-over waits for sends that had begun.
const BEGUN_PATIENCE: Duration = Duration::from_secs(15);
const BEGUN_POLL: Duration = Duration::from_millis(200);

impl Conversation {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Take(take) => take.run(context).await,
            Self::Return(back) => back.run(context).await,
            Self::Reply(reply) => reply.run(context).await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Answer {
        let found = context.store().await?.conversations(self.floor, self.limit).await?;
        let rows: Vec<Value> = found.iter().map(telling::listed).collect();
        let columns = [
            ("conversation", "id"),
            ("floor", "state"),
            ("source", "source"),
            ("last message", "at"),
            ("pending", "pending"),
            ("ended", "ended"),
            ("waits since", "waiting_since"),
            ("held for", "held_by"),
            ("team", "team"),
            ("priority", "priority"),
            ("answer due", "due_at"),
            ("overdue", "overdue"),
            ("told", "told"),
        ];
        context.output.list(&rows, &columns, "No conversation yet.");
        Ok(())
    }
}

impl Take {
    async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let who = self.actor.name();
        let taken = store.take(self.id, &who, self.why.as_deref()).await?;
        if !taken.begun.is_empty() {
            let text = format!("Waiting for what had begun before: {}", names(&taken.begun));
            output::say(&text);
        }
        let open = wait_for_begun(&store, &taken.begun).await?;
        let brief = telling::brief(&settings, &store, self.id, &who).await?;
        let value = json!({
            "id": self.id, "state": Floor::Human.as_str(), "by": who, "changed": taken.changed,
            "begun": taken.begun, "still_sending": open, "brief": brief,
        });
        context.output.object(&value, || {
            let first = match taken.changed {
                true => format!("{who} has the floor of {}; no answer of the assistant's begins from here.", self.id),
                false => format!("A person had the floor of {} already; now it is {who}.", self.id),
            };
            [Some(first), brief].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
        });
        if open.is_empty() {
            return Ok(());
        }
        let patience = BEGUN_PATIENCE.as_secs();
        Err(Failure::found(format!("the floor is yours, but after {patience} s still under way: {}", names(&open))))
    }
}

async fn wait_for_begun(store: &Store, begun: &[SendId]) -> Result<Vec<SendId>, Failure> {
    let started = Instant::now();
    loop {
        let open = store.still_sending(begun).await?;
        if open.is_empty() || started.elapsed() > BEGUN_PATIENCE {
            return Ok(open);
        }
        tokio::time::sleep(BEGUN_POLL).await;
    }
}

fn names(sends: &[SendId]) -> String {
    sends.iter().map(|send| format!("send {send}")).collect::<Vec<_>>().join(", ")
}

impl Return {
    async fn run(&self, context: &Context) -> Answer {
        let returned = context.store().await?.return_floor(self.id, &self.actor.name()).await?;
        let changed = returned.floor || returned.released;
        let value = json!({
            "id": self.id, "state": Floor::Assistant.as_str(), "changed": changed, "released": returned.released,
        });
        context.output.object(&value, || match (returned.floor, returned.released) {
            (true, false) => format!("The assistant has the floor of {} again.", self.id),
            (_, true) => format!("The assistant goes on with {}; the dead letter it waited for stays open.", self.id),
            (false, false) => format!("The assistant had the floor of {} already.", self.id),
        });
        Ok(())
    }
}

impl Reply {
    async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let conversation = store.conversation_view(self.id, 1).await?.summary;
        let source = SourceName::parse(&conversation.source).map_err(|error| Failure::found(error.to_string()))?;
        let texts = up::parts(&settings.config, &source, &self.text);
        if texts.is_empty() {
            return Err(Failure::cannot_run("the reply says nothing: give its text as the second argument"));
        }
        let who = self.actor.name();
        let sends = sends(&texts, &who);
        store.person_reply(self.id, &who, &sends).await?;
        let ids: Vec<SendId> = sends.iter().map(|send| send.id).collect();
        let value = json!({"id": self.id, "state": Floor::Human.as_str(), "by": who, "sends": ids});
        context.output.object(&value, || {
            format!(
                "Queued as {}. {who} has the floor; `handrail conversation return {}` gives it back.",
                names(&ids),
                self.id
            )
        });
        Ok(())
    }
}

fn sends(texts: &[String], who: &str) -> Vec<NewSend> {
    let (count, trace) = (i64::try_from(texts.len()).unwrap_or(i64::MAX), TraceContext::start());
    let send = |(number, text): (i64, &String)| NewSend {
        id: SendId::random(),
        author: Author::Person,
        person: Some(who.to_owned()),
        purpose: "reply",
        text: text.clone(),
        // A person's language is theirs to know.
        locale: "und".to_owned(),
        part: (number, count),
        trace: trace.to_string(),
    };
    (1..).zip(texts).map(send).collect()
}
