//! Discarding: a person gives letters up, with a reason that the audit keeps.

use super::super::{Store, StoreError};
use super::history::unbuilt;
use crate::domain::{ConversationId, DeadId, DeadState};

/// Why nothing was discarded. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DiscardRefused {
    /// Nothing was named.
    #[error("no dead letter is named: nothing to discard")]
    Empty,
    /// Nobody said why.
    #[error("giving letters up needs a reason: say why")]
    NoReason,
    /// One of them is not open.
    #[error("dead letter {0} is {1}: only an open one can be discarded; nothing was")]
    NotOpen(DeadId, DeadState),
    /// A replay holds one of them.
    #[error("dead letter {0} is part of a replay: let it end, or cancel it; nothing was discarded")]
    Held(DeadId),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Gives letters up: their messages end `discarded`, and a conversation that was held for one goes on. All or
    /// none. The conversations that were touched, to be rung.
    ///
    /// # Errors
    /// [`DiscardRefused`]; nothing changed.
    pub async fn discard_dead(
        &self,
        ids: &[DeadId],
        who: &str,
        why: &str,
    ) -> Result<Vec<ConversationId>, DiscardRefused> {
        let _ = (ids, who, why);
        Err(unbuilt().into())
    }
}
