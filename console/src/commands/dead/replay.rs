//! `dead replay`: letters once more, after the cause is mended.
//!
//! The selection is frozen before anything runs, so that nothing that dies later joins. Letters go back to their
//! conversations at a set rate, or in growing steps that halt when too much fails, and each counts as done only when a
//! worker has ended it. Everything is in the store: interrupt it anywhere and resume it from any console.

mod drive;
mod handing;
mod ladder;
mod pace;
pub(super) mod rehearse;
mod report;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use common::domain::{ReplayId, ReplayMode, ReplayState};
use common::store::{DeadFilter, NewReplay, Replay as Kept, ReplayRefused, Store};
use serde_json::Value;

use super::select::Chosen;
use super::{NO_REASON, brief, letters};
use crate::commands::actor_or_user;
use crate::consent;
use crate::context::{Context, Settings};
use crate::failure::{Answer, Failure};
use crate::output;
use drive::Drive;
use ladder::Threshold;
use pace::Rate;

/// What says which letters and how: settled for a replay that is there.
const CHOICE: [&str; 12] =
    ["ids", "all", "group", "class", "stage", "source", "contact", "since", "until", "text", "mode", "note"];
/// What says how fast: for those that run.
const PACE: [&str; 3] = ["rate", "ladder", "halt_over"];

#[derive(Debug, Args)]
#[command(
    override_usage = "handrail dead replay [OPTIONS] [IDS]...\n       handrail dead replay --resume|--cancel <REPLAY>\n       handrail dead replay --list"
)]
pub(crate) struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    /// Say what would become of each letter with this build and policy; change nothing, send nothing
    #[arg(long, conflicts_with_all = ["resume", "cancel", "list", "ladder", "halt_over", "rate"])]
    dry_run: bool,
    /// With --dry-run: show what would be said; the audit remembers that you looked
    #[arg(long, requires = "dry_run")]
    reveal: bool,
    /// Letters in a time, such as 5/s or 300/m; without it as fast as the workers go
    #[arg(long, value_parser = Rate::parse)]
    rate: Option<Rate>,
    /// In growing steps of 1, 5, 25, 100 and the rest; halts when too many of a step fail
    #[arg(long)]
    ladder: bool,
    /// With --ladder: the most of a step that may fail, in percent [default: 20]
    #[arg(long, value_name = "PERCENT", value_parser = Threshold::parse)]
    halt_over: Option<Threshold>,
    /// How: a new answer, the refused reply once more as it was approved, or a note for the record and no send
    #[arg(long = "as", value_name = "HOW", default_value = "regenerate", value_parser = mode())]
    mode: ReplayMode,
    /// With --as note: the note
    #[arg(long)]
    note: Option<String>,
    /// Why, for the audit
    #[arg(long, default_value = NO_REASON)]
    why: String,
    /// Who acts, as the audit will name them [default: $USER, or "operator"]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Go on with a replay that was interrupted or halted
    #[arg(long, value_name = "REPLAY", conflicts_with_all = CHOICE, conflicts_with_all = ["cancel", "list"])]
    resume: Option<ReplayId>,
    /// End a replay; what it has not begun is free again
    #[arg(long, value_name = "REPLAY", conflicts_with_all = CHOICE, conflicts_with_all = PACE, conflicts_with = "list")]
    cancel: Option<ReplayId>,
    /// List replays, as `dead replays`
    #[arg(long, conflicts_with_all = CHOICE, conflicts_with_all = PACE)]
    list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Replays {
    /// Only those that are under way or halted
    #[arg(long)]
    open: bool,
}

impl From<ReplayRefused> for Failure {
    fn from(refused: ReplayRefused) -> Self {
        match refused {
            ReplayRefused::Store(error) => error.into(),
            ReplayRefused::Empty
            | ReplayRefused::Letters(_)
            | ReplayRefused::NotOpen(..)
            | ReplayRefused::NothingLeft(_) => Self::found(refused.to_string()),
            ReplayRefused::Impossible(why) => Self::cannot_run(why),
        }
    }
}

/// A way of replaying, by the word that people write.
fn mode() -> impl TypedValueParser<Value = ReplayMode> {
    let words = ["regenerate", "send-stored", "note"];
    PossibleValuesParser::new(words).try_map(|word| word.replace('-', "_").parse::<ReplayMode>())
}

impl Replay {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        if self.list {
            return Replays { open: false }.run(context).await;
        }
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        if let Some(id) = self.cancel {
            return self.cancel(context, &store, id).await;
        }
        if let Some(id) = self.resume {
            return self.resume(context, settings, store, id).await;
        }
        self.ladder_fits(false)?;
        self.wish().check()?;
        let filter = self.chosen.filter(&settings, &store).await?;
        if self.dry_run {
            return rehearse::run(context, &settings, &store, &filter, self.mode, self.reveal, &self.who()).await;
        }
        self.freeze(context, settings, store, &filter).await
    }

    fn ladder_fits(&self, kept: bool) -> Answer {
        if self.halt_over.is_some() && !(self.ladder || kept) {
            return Err(Failure::cannot_run("--halt-over says when a ladder halts: add --ladder"));
        }
        Ok(())
    }

    fn wish(&self) -> NewReplay {
        NewReplay {
            who: self.who(),
            why: self.why.clone(),
            mode: self.mode,
            note: self.note.clone(),
            rate_per_second: self.rate.map(Rate::per_second),
            ladder: self.ladder,
        }
    }

    fn who(&self) -> String {
        actor_or_user(self.by.as_deref())
    }

    async fn freeze(&self, context: &Context, settings: Settings, store: Store, filter: &DeadFilter) -> Answer {
        let count = store.dead_count(filter).await?;
        if count > 1 {
            consent::or_ask_on_terminal(self.yes, &format!("{} match. Replay them all?", letters(count)))?;
        }
        // Without a state the store means open letters, and those of the same call that runs already.
        let frozen = store.freeze_replay(&DeadFilter { state: None, ..filter.clone() }, &self.wish()).await?;
        let (count, hash, id) = (frozen.count, &frozen.hash, frozen.id);
        output::say(&match frozen.joined {
            true => format!("Joined replay {id}: {}, selection {hash}.", letters(count)),
            false => format!("Replay {id}: {} frozen, selection {hash}.", letters(count)),
        });
        let kept = store.replay_of(id).await?;
        self.drive(context, settings, store, kept, frozen.joined, frozen.joined).await
    }

    async fn resume(&self, context: &Context, settings: Settings, store: Store, id: ReplayId) -> Answer {
        let kept = store.replay_of(id).await?;
        match kept.state {
            ReplayState::Done | ReplayState::Cancelled => {
                Err(Failure::found(format!("replay {id} is {}: there is nothing left to resume", kept.state)))
            }
            ReplayState::Running | ReplayState::Halted => {
                let (ended, total, hash) = (kept.progress.ended(), kept.progress.total, &kept.hash);
                output::say(&format!("Replay {id}: {ended} of {} ended so far, selection {hash}.", letters(total)));
                self.ladder_fits(kept.ladder)?;
                store.resume_replay(id, &self.who(), &self.why).await?;
                self.drive(context, settings, store, kept, true, false).await
            }
        }
    }

    async fn drive(
        &self,
        context: &Context,
        settings: Settings,
        store: Store,
        kept: Kept,
        joined: bool,
        follows: bool,
    ) -> Answer {
        let rate = self.rate.or_else(|| kept.rate_per_second.map(Rate::of));
        let ladder = (self.ladder || kept.ladder).then_some(self.halt_over.unwrap_or(Threshold::DEFAULT));
        let id = kept.id;
        let drive = Drive::of(&settings, &store, &kept, rate, ladder, follows, self.who());
        let end = drive.run().await?;
        report::tell(context, &store, id, joined, end).await
    }

    async fn cancel(&self, context: &Context, store: &Store, id: ReplayId) -> Answer {
        let open = store.replay_of(id).await?.progress.waiting;
        consent::or_ask_on_terminal(self.yes, &format!("Cancel replay {id}? {} not begun.", letters(open)))?;
        if !store.end_replay(id, ReplayState::Cancelled, &self.who()).await? {
            return Err(Failure::found(format!("replay {id} had ended already")));
        }
        let kept = store.replay_of(id).await?;
        let value = report::summary(&kept);
        context.output.object(&value, || {
            let progress = kept.progress;
            format!(
                "Replay {id} is cancelled: {} had ended, {} go on to their end, {} are open again.",
                progress.ended() - progress.left,
                progress.running,
                progress.left
            )
        });
        Ok(())
    }
}

impl Replays {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let rows: Vec<Value> = context.store().await?.replays(self.open).await?.iter().map(report::summary).collect();
        let rows = if context.output.json() { rows } else { brief(&rows, &["at"]) };
        let columns = [
            ("replay", "id"),
            ("state", "state"),
            ("how", "mode"),
            ("letters", "count"),
            ("ended", "ended"),
            ("failed", "failed"),
            ("by", "who"),
            ("why", "why"),
            ("at", "at"),
        ];
        context.output.list(&rows, &columns, "No replay yet.");
        Ok(())
    }
}
