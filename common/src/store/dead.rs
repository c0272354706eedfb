//! Dead letters: what could not be answered, sent or read, kept until a person resolves it.
//!
//! A letter is written in the commit that gives its message up, with [every attempt](DeadAttempt) behind it. A person
//! [finds](Store::dead_letters) it, [edits](Store::edit_dead), [discards](Store::discard_dead) or
//! [replays](Store::freeze_replay) it; what a replay came to is the worker's word alone: `replaying` becomes `resolved`
//! in the commit that ends its message (for a refused reply, when the provider has the new one), or `open` again, the
//! same letter with its history, in the commit that gives it up once more.

mod body;
mod discard;
mod dispatch;
mod edit;
mod export;
mod filter;
mod freeze;
mod groups;
mod history;
mod import;
mod letter;
mod looked;
mod outcome;
mod record;
mod replay;
mod search;
mod stored;
mod undeliverable;

pub use body::DeadBody;
pub use discard::DiscardRefused;
pub use dispatch::{Dispatch, Dispatched};
pub use edit::{Change, DeadDiff, DeadEdit, EditRefused};
pub use export::{DeadExport, ExportedLetter};
pub use filter::DeadFilter;
pub use groups::DeadGroup;
pub use history::{DeadAttempt, NewFailure, Retry};
pub use import::{ImportRefused, Imported};
pub use letter::{DeadLetter, NewDead};
pub use replay::{Frozen, NewReplay, Progress, Replay, ReplayItem, ReplayRefused};

pub(super) use history::{note_on_parked, of_send};
pub(super) use outcome::{ended, sent, superseded};
pub(super) use record::{Born, insert, prompt_of};
