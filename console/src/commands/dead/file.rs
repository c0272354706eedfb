//! `dead export` and `dead import`: letters in a file, to look at a failure elsewhere or to put it back.
//!
//! The file is sealed as a whole: it proves which deployment made it and that nothing in it was changed. It names
//! nobody and says nothing unless it was made with `--reveal`, and then its bodies are sealed under the store's key.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use common::domain::DeadState;
use common::store::{DeadExport, DeadFilter, ImportRefused};
use serde_json::json;

use super::letters;
use super::select::{self, Which};
use crate::commands::Actor;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// These dead letters; or choose them with the filters below
    ids: Vec<common::domain::DeadId>,
    /// Only of this state
    #[arg(long, value_parser = select::state())]
    state: Option<DeadState>,
    #[command(flatten)]
    which: Which,
    /// Keep what they say, sealed under this deployment's key; the audit remembers it
    #[arg(long)]
    reveal: bool,
    /// At most so many, the newest
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    #[command(flatten)]
    actor: Actor,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file, as `dead export` wrote it; - for stdin
    file: PathBuf,
    #[command(flatten)]
    actor: Actor,
}

impl From<ImportRefused> for Failure {
    fn from(refused: ImportRefused) -> Self {
        match refused {
            ImportRefused::Store(error) => error.into(),
            ImportRefused::Format(_)
            | ImportRefused::OtherKey(_)
            | ImportRefused::Changed
            | ImportRefused::Empty
            | ImportRefused::Letter(..) => Self::found(refused.to_string()),
        }
    }
}

impl Export {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let mut filter = self.which.filter(&settings, &store, self.state).await?;
        filter.ids.clone_from(&self.ids);
        let all = store.dead_count(&filter).await?;
        if all == 0 {
            return Err(Failure::found("no dead letter matches: nothing to export"));
        }
        let filter = DeadFilter { limit: self.limit, ..filter };
        let export = store.export_dead(&filter, self.reveal, &self.actor.name()).await?;
        let text = serde_json::to_string_pretty(&export)
            .map_err(|error| Failure::found(format!("the letters cannot be written: {error}")))?;
        output::data(&text);
        let count = export.letters.len();
        let bodies =
            if self.reveal { "with their bodies, sealed" } else { "without their bodies (--reveal keeps them)" };
        output::say(&format!("{count} of {} exported, {bodies}.", letters(all)));
        Ok(())
    }
}

impl Import {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let name = self.file.display().to_string();
        let refuse = |why: String| Failure::found(format!("{name}: {why}"));
        let bytes =
            read(&self.file).map_err(|error| Failure::cannot_run(format!("{name}: cannot be read: {error}")))?;
        let export: DeadExport = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            refuse(format!(
                "this is no whole export (line {line}, column {column}): make it again; nothing was imported"
            ))
        })?;
        let store = context.store().await?;
        let imported = match store.import_dead(&export, &self.actor.name()).await {
            Ok(imported) => imported,
            Err(ImportRefused::Store(error)) => return Err(error.into()),
            Err(refused) => return Err(refuse(refused.to_string())),
        };
        let value = json!({"ids": imported.letters, "count": imported.letters.len(), "known": imported.known,
                           "erased": imported.erased, "bare": imported.bare});
        context.output.object(&value, || {
            let mut words = format!("{} imported", letters(imported.letters.len()));
            if imported.known > 0 {
                words += &format!(", {} are here already", imported.known);
            }
            if imported.erased > 0 {
                words += &format!(", {} left out: their person was erased here", imported.erased);
            }
            if imported.bare > 0 {
                words += &format!("; {} came without a body, to be looked at and not replayed", imported.bare);
            }
            words + "."
        });
        Ok(())
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
