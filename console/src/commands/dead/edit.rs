//! `dead edit`: a letter that says something else. The original is kept; the new one links back to it and is replayed
//! like any other. An edit shows what it changed, so it counts as looking: the audit remembers both.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use common::domain::{Content, DeadId, Event, Inbound};
use common::store::{DeadEdit, DeadLetter, EditRefused, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

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
        in_editor(&kept, &editor()).await
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

/// The editor that this person has chosen.
fn editor() -> String {
    let chosen = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    chosen.unwrap_or_else(|| "vi".to_owned())
}

/// A folder that only this user can enter, removed with whatever the editor leaves in it; in memory where there is
/// such a place.
fn private_folder() -> std::io::Result<TempDir> {
    let private = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("handrail-edit-").permissions(Permissions::from_mode(0o700));
        builder
    };
    let in_memory = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(PathBuf::from("/dev/shm"))];
    let found = in_memory.into_iter().flatten().find_map(|place| private().tempdir_in(place).ok());
    found.map_or_else(|| private().tempdir(), Ok)
}

/// Runs the editor to its end. Ctrl-C is the editor's alone; what ends us for good ends it, so that the caller can
/// clear away.
async fn run_editor(editor: &str, file: &Path) -> Result<(), Failure> {
    let listen = |kind: SignalKind| {
        signal(kind).map_err(|error| Failure::cannot_run(format!("cannot listen for signals: {error}")))
    };
    let _ignored = (listen(SignalKind::interrupt())?, listen(SignalKind::quit())?);
    let (mut terminate, mut hang_up) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let failed = || Failure::cannot_run(format!("the editor '{editor}' did not end well; nothing was changed"));
    let mut child = Command::new(program).args(words).arg(file).kill_on_drop(true).spawn().map_err(|_| failed())?;
    let ended = tokio::select! {
        ended = child.wait() => ended,
        _ = terminate.recv() => return Err(failed()),
        _ = hang_up.recv() => return Err(failed()),
    };
    if ended.is_ok_and(|status| status.success()) { Ok(()) } else { Err(failed()) }
}

/// Opens what may be edited in a file that only this user can read and that is removed in every case.
async fn in_editor(kept: &Inbound, editor: &str) -> Result<DeadEdit, Failure> {
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
    let folder = private_folder().map_err(told)?;
    let file = folder.path().join("letter.txt");
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut f| f.write_all(&before))
        .map_err(told)?;
    run_editor(editor, &file).await?;
    let after = std::fs::read(&file).map_err(told)?;
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

#[cfg(test)]
mod tests {
    use common::domain::{EventId, Provider, SourceName};

    use super::*;

    fn message(text: &str) -> Inbound {
        Inbound {
            event_id: EventId::random(),
            source: SourceName::parse("shop").unwrap(),
            provider: Provider::Whatsapp,
            party: None,
            provider_id: None,
            said_at: None,
            event: Event::Message(Content::Text(text.to_owned())),
        }
    }

    /// An editor that writes down where it was and what may be done there, and then does this.
    fn editor(folder: &TempDir, then: &str) -> (String, PathBuf) {
        let (script, seen) = (folder.path().join("editor"), folder.path().join("seen"));
        let told = format!("stat -c '%a' \"$1\" \"$(dirname \"$1\")\" > {0}; echo \"$1\" >> {0}", seen.display());
        std::fs::write(&script, format!("{told}\n{then}\n")).unwrap();
        (format!("sh {}", script.display()), seen)
    }

    /// Signals are the whole process's: one test at a time.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    fn seen(file: &Path) -> Vec<String> {
        std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_letter_in_an_editor_is_its_owners_alone_and_leaves_nothing_behind() {
        let _alone = ALONE.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let (said, seen_at) = editor(&folder, "cp \"$1\" \"$1~\"; echo finer > \"$1\"");
        let edit = in_editor(&message("fine"), &said).await.ok();
        assert!(matches!(edit, Some(DeadEdit::Text(text)) if text == "finer"));
        let seen = seen(&seen_at);
        assert_eq!(seen[..2], ["600", "700"]);
        assert!(!Path::new(&seen[2]).parent().unwrap().exists(), "the editor's backup is gone too");
    }

    #[tokio::test]
    async fn ctrl_c_in_the_editor_is_the_editors_and_leaves_nothing_behind() {
        let _alone = ALONE.lock().await;
        let folder = tempfile::tempdir().unwrap();
        // To both, as a terminal does: the editor dies of it, and we clear away.
        let (said, seen_at) = editor(&folder, "kill -INT $PPID; kill -QUIT $PPID; exit 130");
        assert!(in_editor(&message("fine"), &said).await.is_err());
        assert!(!Path::new(&seen(&seen_at)[2]).parent().unwrap().exists());
    }

    #[tokio::test]
    async fn a_console_that_is_told_to_end_takes_the_editors_file_with_it() {
        let _alone = ALONE.lock().await;
        let folder = tempfile::tempdir().unwrap();
        let (said, seen_at) = editor(&folder, "kill -TERM $PPID; exec tail -f /dev/null");
        assert!(in_editor(&message("fine"), &said).await.is_err());
        assert!(!Path::new(&seen(&seen_at)[2]).parent().unwrap().exists());
    }
}
