//! Holding a conversation: where policy says so, nothing after a dead letter is answered before a person has dealt with
//! it. What comes in meanwhile is taken in and waits.
//!
//! A hold begins in the commit that parks, and names its letter. It ends when that letter is replayed or discarded,
//! when a person takes the floor, and when one gives the conversation back to the assistant.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::dead::NewDead;
use super::sql::{Tx, args};
use super::{Store, StoreError};
use crate::domain::{ConversationId, DeadId};

/// The classes after which a conversation is held, for the letters that the store itself writes: no turn and no sender
/// is there to say it.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<RwLock<BTreeSet<&'static str>>>);

impl Holds {
    pub(super) fn after(&self, class: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(class)
    }
}

/// Holds a conversation for the first of these letters. False: there was none to hold it for.
pub(super) async fn hold(tx: &mut Tx, conversation: ConversationId, letters: &[NewDead]) -> Result<bool, StoreError> {
    let Some(letter) = letters.first() else { return Ok(false) };
    // By what it is about and not by its id: a message that dies again reopens the letter that it had.
    let about = "SELECT id FROM dead WHERE (event_id = $1 OR send_id = $2) AND state = 'open' \
                 ORDER BY updated_at DESC LIMIT 1";
    let (event, send) = (letter.event_id.map(|event| event.uuid()), letter.send_id.map(|send| send.uuid()));
    let Some(row) = tx.maybe(about, args![event, send]).await? else { return Ok(false) };
    let dead: uuid::Uuid = row.get("id")?;
    let sql = "UPDATE conversation SET held = TRUE, held_by = $2, lease_owner = NULL, lease_until = NULL, claims = 0 \
               WHERE id = $1";
    tx.run(sql, args![conversation.uuid(), dead]).await?;
    Ok(true)
}

/// Lets the conversations go on that wait for this letter; for whoever replays or discards it.
pub(super) async fn release(tx: &mut Tx, letter: DeadId) -> Result<u64, StoreError> {
    let sql = "UPDATE conversation SET held = FALSE, held_by = NULL WHERE held_by = $1";
    tx.run(sql, args![letter.uuid()]).await
}

/// Lets the conversations that wait for one letter wait for another.
pub(super) async fn pass_on(tx: &mut Tx, from: DeadId, to: DeadId) -> Result<(), StoreError> {
    tx.run("UPDATE conversation SET held_by = $2 WHERE held_by = $1", args![from.uuid(), to.uuid()]).await.map(drop)
}

/// The letter that a conversation waits for.
pub(super) async fn held_by(tx: &mut Tx, conversation: ConversationId) -> Result<Option<DeadId>, StoreError> {
    let row = tx.maybe("SELECT held_by FROM conversation WHERE id = $1 AND held", args![conversation.uuid()]).await?;
    Ok(row.map(|row| row.get::<Option<uuid::Uuid>>("held_by")).transpose()?.flatten().map(DeadId::from_uuid))
}

/// Lets a conversation go on, whatever it waits for. True: it was held.
pub(super) async fn release_conversation(tx: &mut Tx, conversation: ConversationId) -> Result<bool, StoreError> {
    let sql = "UPDATE conversation SET held = FALSE, held_by = NULL WHERE id = $1 AND held";
    Ok(tx.run(sql, args![conversation.uuid()]).await? == 1)
}

impl Store {
    /// Says what the policy does: after letters of these classes their conversation waits for a person.
    pub fn hold_after(&self, classes: impl IntoIterator<Item = &'static str>) {
        *self.holds.0.write().unwrap_or_else(PoisonError::into_inner) = classes.into_iter().collect();
    }

    /// How many conversations wait for a person to deal with a dead letter.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn held_conversations(&self) -> Result<i64, StoreError> {
        self.main.read_one("SELECT count(*) AS held FROM conversation WHERE held", &[]).await?.get("held")
    }
}
