//! `handrail dead`: what could not be answered, sent or read; why; and once more.
//!
//! What people said is shown only with `--reveal`, and the audit remembers who looked.

mod body;
mod discard;
mod edit;
mod file;
mod groups;
mod list;
mod replay;
mod select;
mod show;

use clap::Subcommand;
use common::store::DeadLetter;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Answer;
use crate::output::Column;

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// Count dead letters by cause, the last to have struck first
    Groups(groups::Groups),
    /// List dead letters, newest first
    List(list::List),
    /// Show one: every failed attempt, where it stands, and what a replay would come to
    Show(show::Show),
    /// Make a new letter that says something else; the old one closes when the new one is answered
    Edit(edit::Edit),
    /// Give letters up, with a reason
    Discard(discard::Discard),
    /// Write letters to stdout as a file; bodies only with --reveal, sealed
    Export(file::Export),
    /// Take a file of letters in, all of it or nothing
    Import(file::Import),
    /// Run letters once more, after the cause is mended; or say what would come of it
    Replay(Box<replay::Replay>),
    /// List replays, newest first
    Replays(replay::Replays),
}

impl Dead {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        match self {
            Self::Groups(groups) => groups.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Discard(discard) => discard.run(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Import(import) => import.run(context).await,
            Self::Replay(replay) => replay.run(context).await,
            Self::Replays(replays) => replays.run(context).await,
        }
    }
}

/// What the audit says where nobody said why.
const NO_REASON: &str = "no reason given";

/// The columns of a list of letters.
const COLUMNS: [Column; 7] = [
    ("dead letter", "id"),
    ("state", "state"),
    ("class", "class"),
    ("source", "source"),
    ("stage", "stage"),
    ("error", "error"),
    ("at", "at"),
];

/// A letter as lists give it. Names nobody.
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
        "group": letter.fingerprint,
        "tags": letter.tags,
        "attempts": letter.attempts,
        "policy": letter.policy,
        "prompt": letter.prompt,
        "build": letter.build,
        "event_id": letter.event_id,
        "send_id": letter.send_id,
        "conversation": letter.conversation,
        "contact": letter.contact,
        "place": letter.place,
        "edited_from": letter.edited_from,
        "replaced_by": letter.replaced_by,
        "replay": letter.replay,
        "why": letter.why,
    })
}

/// So many letters, in words.
fn letters(count: impl TryInto<i64>) -> String {
    match count.try_into().unwrap_or(i64::MAX) {
        1 => "1 dead letter".to_owned(),
        count => format!("{count} dead letters"),
    }
}

/// The same rows for a narrow screen: moments to the second. Programs get them whole.
fn brief(rows: &[Value], moments: &[&str]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        for key in moments {
            let short = row[*key].as_str().and_then(|moment| Some(moment.split_once('.')?.0.replace('T', " ")));
            if let Some(short) = short {
                row[*key] = short.into();
            }
        }
    }
    rows
}
