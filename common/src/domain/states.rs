//! The states of P2. Each list is closed; the store holds their words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is no state of its kind.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a known state")]
pub struct UnknownState(String);

impl UnknownState {
    pub(super) fn of(word: &str) -> Self {
        Self(word.to_owned())
    }
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$arm_doc:meta])* $arm:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$arm_doc])* $arm),+ }

        impl $name {
            /// Every state, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$arm),+];

            /// Its word in the store, in JSON and in tables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$arm => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownState;
            fn from_str(word: &str) -> Result<Self, UnknownState> {
                Self::ALL.iter().copied().find(|s| s.as_str() == word).ok_or_else(|| UnknownState(word.to_owned()))
            }
        }
    };
}

states!(
    /// The one state in which every accepted event ends (P2).
    End {
        /// A reply of its own was committed.
        Replied = "replied",
        /// Answered within another message's reply.
        Joined = "joined",
        /// Stopped by policy, with the policy's text.
        Blocked = "blocked",
        /// A person has it.
        HandedOff = "handed_off",
        /// Nothing to answer.
        Recorded = "recorded",
        /// Could not be answered; a dead letter says why.
        Dead = "dead",
        /// Given up by a person, with a reason.
        Discarded = "discarded",
        /// Its contact was erased.
        Erased = "erased",
    }
);

states!(
    /// The life of one part of a reply.
    SendState {
        /// Committed, not begun.
        Queued = "queued",
        /// Begun: the row was marked before the first byte left.
        Sending = "sending",
        /// The provider has it.
        Accepted = "accepted",
        /// Begun, and nobody can say whether it arrived.
        Unknown = "unknown",
        /// A person took the floor before it began.
        Superseded = "superseded",
        /// The provider refused it for good.
        Dead = "dead",
    }
);

impl SendState {
    /// Whether the row still wants work.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sending)
    }
}

states!(
    /// What became of a dead letter.
    DeadState {
        /// Waiting for a person.
        Open = "open",
        /// Handed back to its conversation; its end is awaited.
        Replaying = "replaying",
        /// Its replay ended well.
        Resolved = "resolved",
        /// Given up, with a reason.
        Discarded = "discarded",
        /// An edited letter was answered in its place.
        Replaced = "replaced",
    }
);

states!(
    /// How dead letters are run again.
    ReplayMode {
        /// A turn of its own, with today's build, policy and model.
        Regenerate = "regenerate",
        /// The reply that was approved and refused, sent again without a model call.
        SendStored = "send_stored",
        /// Nothing is sent: the letter is closed with a note for the record.
        Note = "note",
    }
);

states!(
    /// Where a replay stands.
    ReplayState {
        /// Under way, or interrupted and waiting to be joined.
        Running = "running",
        /// Halted because too much failed; joining it goes on.
        Halted = "halted",
        /// Every letter of it has a result.
        Done = "done",
        /// Ended by a person; what had not been dispatched is free again.
        Cancelled = "cancelled",
    }
);

states!(
    /// What became of one letter of a replay.
    ItemState {
        /// Not dispatched yet.
        Waiting = "waiting",
        /// Dispatched; the worker's outcome is awaited.
        Running = "running",
        /// The worker ended it well.
        Succeeded = "succeeded",
        /// It died again: the same letter is open, with its history.
        Failed = "failed",
        /// A person took the floor first.
        Superseded = "superseded",
        /// Nothing was left to run when its time came.
        Refused = "refused",
        /// Its replay was cancelled before its time came.
        Left = "left",
    }
);

states!(
    /// Where the time that a team has for its first answer stands.
    Sla {
        /// Nobody set a time.
        None = "none",
        /// It runs.
        Due = "due",
        /// The first answer came in time.
        Met = "met",
        /// It did not.
        Missed = "missed",
        /// The handoff was closed, unanswered, before its time was over.
        Void = "void",
    }
);

states!(
    /// Why a team is told of a handoff.
    NoticeKind {
        /// A person is called.
        Opened = "opened",
        /// The first answer is overdue.
        Overdue = "overdue",
    }
);

states!(
    /// The life of one notice.
    NoticeState {
        /// Committed, not begun, or to be tried again.
        Queued = "queued",
        /// Begun.
        Sending = "sending",
        /// The destination has it.
        Accepted = "accepted",
        /// The destination will not take it.
        Refused = "refused",
        /// Tried as often as makes sense, and nobody can say whether it arrived.
        Unknown = "unknown",
        /// The handoff was closed before it was sent.
        Withdrawn = "withdrawn",
    }
);
