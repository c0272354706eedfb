//! Discarding: a person gives letters up, with a reason that the audit keeps.

use std::collections::BTreeSet;

use super::super::hold;
use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::DeadLetter;
use super::body::dead_events;
use super::dispatch::{fetch, lineage};
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
        if why.trim().is_empty() {
            return Err(DiscardRefused::NoReason);
        }
        // In one order, so that two people who discard the same letters do not wait for each other.
        let ids: BTreeSet<DeadId> = ids.iter().copied().collect();
        if ids.is_empty() {
            return Err(DiscardRefused::Empty);
        }
        let mut tx = self.main.begin().await?;
        let (now, mut touched) = (tx.now(), BTreeSet::new());
        for id in ids {
            let letter = fetch(&mut tx, id).await?;
            if letter.replay.is_some() {
                return Err(DiscardRefused::Held(id));
            }
            let sql = "UPDATE dead SET state = 'discarded', why = $2, updated_at = $3 WHERE id = $1 AND state = 'open'";
            if tx.run(sql, args![id.uuid(), why, now]).await? != 1 {
                return Err(DiscardRefused::NotOpen(id, letter.state));
            }
            for event in dead_events(&mut tx, letter.event_id, letter.send_id).await? {
                let sql = "UPDATE inbox SET state = 'discarded', reason = 'discarded', ended_at = $2 \
                           WHERE id = $1 AND state = 'dead'";
                tx.run(sql, args![event.uuid(), now]).await?;
            }
            give_up_hold(&mut tx, &letter).await?;
            touched.extend(letter.conversation);
            super::super::floor::audit(&mut tx, who, "dead.discard", &id.to_string(), Some(why)).await?;
        }
        tx.commit().await?;
        Ok(touched.into_iter().collect())
    }
}

/// What was held for a letter goes on, unless that was an edit: then it waits for the letter that was edited, which is
/// open again to whoever deals with it.
async fn give_up_hold(tx: &mut Tx, letter: &DeadLetter) -> Result<(), StoreError> {
    for id in lineage(tx, letter.id, letter.edited_from).await?.into_iter().skip(1) {
        let open = "SELECT 1 AS found FROM dead WHERE id = $1 AND state = 'open'";
        if tx.maybe(open, args![id.uuid()]).await?.is_some() {
            return hold::pass_on(tx, letter.id, id).await;
        }
    }
    hold::release(tx, letter.id).await.map(drop)
}
