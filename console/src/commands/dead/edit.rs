//! `dead edit`: a letter that says something else. The original is kept; the new one links back to it and is replayed
//! like any other. An edit shows what it changed, so it counts as looking: the audit remembers both.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use common::domain::{Content, DeadId, Event, Inbound};
use common::store::{DeadEdit, DeadLetter, EditRefused, Store};
use serde_json::{Value, json};

use super::{NO_REASON, body, show};
use crate::commands::Actor;
use crate::consent;
use crate::context::Context;
use crate::failure::{Answer, Failure};

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The dead letter
    id: DeadId,
    /// What the message is to say
    #[arg(long, conflicts_with = "file")]
    text: Option<String>,
    /// The edited form: a whole event as JSON (`dead show --reveal --json` gives it as event.event), or a webhook's
    /// bytes where the letter holds some; - for stdin. Without --text and --file, $EDITOR opens on it
    #[arg(long)]
    file: Option<PathBuf>,
    /// Why, for the audit
    #[arg(long, default_value = NO_REASON)]
    why: String,
    #[command(flatten)]
    actor: Actor,
}

impl From<EditRefused> for Failure {
    fn from(refused: EditRefused) -> Self {
        match refused {
            EditRefused::Store(error) => error.into(),
            EditRefused::NotOpen(..)
            | EditRefused::Edited(..)
            | EditRefused::Held(_)
            | EditRefused::NotEditable(..)
            | EditRefused::Schema(_)
            | EditRefused::Unchanged(_)
            | EditRefused::NoReason => Self::found(format!("{refused}; nothing was changed")),
        }
    }
}

impl Edit {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let store = context.store().await?;
        let letter = store.dead_letter(self.id).await?;
        let who = self.actor.name();
        let edit = self.edited(&store, &letter, &who).await?;
        let id = store.edit_dead(self.id, edit, &who, &self.why).await?;
        store.audit(&who, "dead.reveal", &self.id.to_string(), Some("edited")).await?;
        let diff = store.dead_diff(id).await?.map_or(Value::Null, |diff| show::edit(&diff, true));
        let value = json!({"id": id, "state": "open", "edited_from": self.id, "edit": diff});
        context.output.object(&value, || {
            let changed = show::edit_in_words(&value["edit"]).unwrap_or_default();
            format!("{}\n\nIt is dead letter {id} now: `handrail dead replay {id}` runs it.", changed.trim_start())
        });
        Ok(())
    }

    async fn edited(&self, store: &Store, letter: &DeadLetter, who: &str) -> Result<DeadEdit, Failure> {
        if let Some(text) = &self.text {
            return Ok(DeadEdit::Text(text.clone()));
        }
        let kept = body::open(store, letter).await?.into_event();
        let raw = kept.as_ref().is_some_and(|inbound| matches!(inbound.event, Event::Unparsed { .. }));
        if let Some(file) = &self.file {
            let bytes = read(file)
                .map_err(|error| Failure::cannot_run(format!("{}: cannot be read: {error}", file.display())))?;
            return if raw { Ok(DeadEdit::Raw(bytes)) } else { as_event(&bytes, &file.display().to_string()) };
        }
        let Some(kept) = kept else {
            return Err(EditRefused::NotEditable(letter.id, "it holds no event").into());
        };
        if !consent::someone_is_there() {
            return Err(Failure::cannot_run("say what it is to be: --text, or --file (an editor needs a terminal)"));
        }
        store.audit(who, "dead.reveal", &letter.id.to_string(), Some("opened in an editor")).await?;
        in_editor(&kept)
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file)
}

/// The text around a place in JSON is a person's, so an error names the place and the shape only.
fn as_event(bytes: &[u8], name: &str) -> Result<DeadEdit, Failure> {
    let event: Result<Inbound, serde_json::Error> = serde_json::from_slice(bytes);
    event.map(|inbound| DeadEdit::Event(Box::new(inbound))).map_err(|error| {
        Failure::found(format!(
            "{name}: the edited letter is not valid: line {}, column {}: {}; nothing was changed",
            error.line(),
            error.column(),
            if error.is_data() { "it is JSON, but no event of ours" } else { "it is no whole JSON" },
        ))
    })
}

/// Opens what may be edited in a file that only this user can read and that is removed afterwards.
fn in_editor(kept: &Inbound) -> Result<DeadEdit, Failure> {
    let before = match &kept.event {
        Event::Message(Content::Text(text)) => text.clone().into_bytes(),
        Event::Unparsed { raw, .. } => raw.clone(),
        Event::Message(_)
        | Event::Echo(_)
        | Event::Status(_)
        | Event::Consent(_)
        | Event::Record { .. }
        | Event::Tally(_) => serde_json::to_vec_pretty(kept).unwrap_or_default(),
    };
    let told = |error: std::io::Error| Failure::cannot_run(format!("the editor's file cannot be used: {error}"));
    let mut file = tempfile::Builder::new().prefix("handrail-edit-").suffix(".txt").tempfile().map_err(told)?;
    file.write_all(&before).map_err(told)?;
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = Command::new(program).args(words).arg(file.path()).status();
    if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(Failure::cannot_run(format!("the editor '{editor}' did not end well; nothing was changed")));
    }
    let after = std::fs::read(file.path()).map_err(told)?;
    match &kept.event {
        Event::Message(Content::Text(text)) => {
            let edited = String::from_utf8(after)
                .map_err(|_| Failure::found("the edited letter is not UTF-8; nothing was changed"))?;
            // Most editors end the last line; only a person who wrote several meant it.
            let edited = if text.ends_with('\n') { edited } else { edited.trim_end_matches('\n').to_owned() };
            Ok(DeadEdit::Text(edited))
        }
        Event::Unparsed { .. } => Ok(DeadEdit::Raw(after)),
        Event::Message(_)
        | Event::Echo(_)
        | Event::Status(_)
        | Event::Consent(_)
        | Event::Record { .. }
        | Event::Tally(_) => as_event(&after, "the editor's file"),
    }
}
