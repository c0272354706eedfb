//! The floor: who may answer. It changes by commit; its epoch makes a turn or a send begun under the old one void.

use std::time::Duration;

use super::outbox::{self, NewSend, Place};
use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use super::{handoff, hold};
use crate::domain::{ContactId, ConversationId, Floor, Micros, SendId, SendState, SourceName};

/// What a take-over found.
#[derive(Clone, Debug)]
pub struct TakeOver {
    /// Sends that had begun before it: they cannot be stopped any more.
    pub begun: Vec<SendId>,
    /// Whether the floor changed hands; false when a person held it already.
    pub changed: bool,
}

/// What giving a conversation back changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The floor was a person's, or waited for one.
    pub floor: bool,
    /// It was held for a dead letter, and goes on.
    pub released: bool,
}

/// A floor whose time with people is over.
#[derive(Clone, Debug)]
pub struct ExpiredFloor {
    /// The conversation.
    pub conversation: ConversationId,
    /// Nobody ever came: the customer should hear of it.
    pub unclaimed: bool,
    /// The language last replied in.
    pub locale: Option<String>,
    epoch: i64,
}

/// A conversation that has waited so long that its customer should hear a word.
#[derive(Clone, Debug)]
pub struct WaitingConversation {
    /// The conversation.
    pub conversation: ConversationId,
    /// The language last replied in.
    pub locale: Option<String>,
}

impl Store {
    /// Gives the floor to a person; from this commit no assistant's send begins.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn take(
        &self,
        conversation: ConversationId,
        who: &str,
        why: Option<&str>,
    ) -> Result<TakeOver, StoreError> {
        let mut tx = self.main.begin().await?;
        let before = self.floor_in(&mut tx, conversation).await?;
        self.give_floor_to_person(&mut tx, conversation, who, false).await?;
        audit(&mut tx, who, "conversation.take", &conversation.to_string(), why).await?;
        let sql = "SELECT id FROM outbox WHERE conversation_id = $1 AND state = 'sending' AND author <> 'person'";
        let begun = tx.all(sql, args![conversation.uuid()]).await?;
        let begun = begun.iter().map(|row| row.get("id").map(SendId::from_uuid)).collect::<Result<_, _>>()?;
        tx.commit().await?;
        Ok(TakeOver { begun, changed: before != Floor::Human })
    }

    /// Which of these sends are still under way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn still_sending(&self, sends: &[SendId]) -> Result<Vec<SendId>, StoreError> {
        let mut under_way = Vec::new();
        for send in sends {
            let sql = "SELECT 1 AS found FROM outbox WHERE id = $1 AND state = 'sending'";
            if self.main.read_maybe(sql, args![send.uuid()]).await?.is_some() {
                under_way.push(*send);
            }
        }
        Ok(under_way)
    }

    /// Gives a conversation back to the assistant: the floor, and whatever it was held for.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn return_floor(&self, conversation: ConversationId, who: &str) -> Result<Returned, StoreError> {
        let mut tx = self.main.begin().await?;
        let floor = self.floor_in(&mut tx, conversation).await? != Floor::Assistant;
        let released = hold::release_conversation(&mut tx, conversation).await?;
        if floor {
            let sql = "UPDATE conversation SET floor = 'assistant', floor_by = NULL, floor_since = NULL, heard_at = NULL, \
                         returned_at = $2, epoch = epoch + 1 WHERE id = $1";
            let now = tx.now();
            tx.run(sql, args![conversation.uuid(), now]).await?;
            handoff::close(&mut tx, conversation, "returned").await?;
        }
        if floor || released {
            audit(&mut tx, who, "conversation.return", &conversation.to_string(), None).await?;
        }
        tx.commit().await?;
        Ok(Returned { floor, released })
    }

    /// Queues a person's own words, in parts; they hold the floor from then on.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Erased`], [`StoreError::Unavailable`].
    pub async fn person_reply(
        &self,
        conversation: ConversationId,
        who: &str,
        parts: &[NewSend],
    ) -> Result<(), StoreError> {
        let contact = self.contact_of(conversation).await?;
        let key = self.contact_key(contact).await?;
        let mut tx = self.main.begin().await?;
        let position = self.give_floor_to_person(&mut tx, conversation, who, true).await?;
        queue(&mut tx, &key, conversation, contact, position, parts).await?;
        audit(&mut tx, who, "conversation.reply", &conversation.to_string(), None).await?;
        tx.commit().await
    }

    /// Floors that nobody came for within `unclaimed`, or whose people have done nothing for as long as `idle`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn expired_floors(
        &self,
        unclaimed: Duration,
        idle: Duration,
        limit: usize,
    ) -> Result<Vec<ExpiredFloor>, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT id, floor, locale, epoch, floor_since FROM conversation \
                     WHERE floor <> 'assistant' AND floor = 'queued' AND floor_since <= $1 \
                   UNION ALL \
                   SELECT id, floor, locale, epoch, floor_since FROM conversation \
                     WHERE floor <> 'assistant' AND floor = 'human' AND floor_since <= $2 \
                   ORDER BY floor_since LIMIT $3";
        let values = args![now - unclaimed, now - idle, i64::try_from(limit).unwrap_or(i64::MAX)];
        let rows = self.main.read(sql, values).await?;
        let expired = |row: &Row| {
            Ok(ExpiredFloor {
                conversation: ConversationId::from_uuid(row.get("id")?),
                unclaimed: row.word::<Floor>("floor")? == Floor::Queued,
                locale: row.get("locale")?,
                epoch: row.get("epoch")?,
            })
        };
        rows.iter().map(expired).collect()
    }

    /// Returns an expired floor to the assistant, with a word to the customer. False: somebody changed it first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn expire_floor(&self, floor: &ExpiredFloor, word: &[NewSend]) -> Result<bool, StoreError> {
        let contact = self.contact_of(floor.conversation).await?;
        let key = self.contact_key(contact).await?;
        let mut tx = self.main.begin().await?;
        let sql = "UPDATE conversation SET floor = 'assistant', floor_by = NULL, floor_since = NULL, heard_at = NULL, \
                     returned_at = $3, epoch = epoch + 1, position = position + 1 \
                   WHERE id = $1 AND epoch = $2 AND floor <> 'assistant' RETURNING position";
        let now = tx.now();
        let values = args![floor.conversation.uuid(), floor.epoch, now];
        let Some(row) = tx.maybe(sql, values).await? else { return Ok(false) };
        handoff::close(&mut tx, floor.conversation, "expired").await?;
        queue(&mut tx, &key, floor.conversation, contact, row.get("position")?, word).await?;
        audit(&mut tx, "worker", "conversation.expire", &floor.conversation.to_string(), None).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Conversations whose customers have waited for the assistant beyond the holding time and have heard nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn waiting_too_long(&self, limit: usize) -> Result<Vec<WaitingConversation>, StoreError> {
        let before = self.main.now().await? - self.timing.holding_after;
        // Held ones wait too. Two halves, since each has an index of its own.
        let sql = "SELECT id, locale, waiting_since FROM conversation WHERE done < tail AND NOT held \
                     AND floor = 'assistant' AND holding_at IS NULL AND waiting_since <= $1 \
                   UNION ALL \
                   SELECT id, locale, waiting_since FROM conversation WHERE done < tail AND held \
                     AND floor = 'assistant' AND holding_at IS NULL AND waiting_since <= $1 \
                   ORDER BY waiting_since LIMIT $2";
        let rows = self.main.read(sql, args![before, i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        let waiting = |row: &Row| {
            Ok(WaitingConversation {
                conversation: ConversationId::from_uuid(row.get("id")?),
                locale: row.get("locale")?,
            })
        };
        rows.iter().map(waiting).collect()
    }

    /// Queues the holding text, once per wait. False: the wait is over, or it was said already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn say_holding(&self, conversation: ConversationId, word: &[NewSend]) -> Result<bool, StoreError> {
        let contact = self.contact_of(conversation).await?;
        let key = self.contact_key(contact).await?;
        let mut tx = self.main.begin().await?;
        let sql = "UPDATE conversation SET holding_at = $2, position = position + 1 \
                   WHERE id = $1 AND holding_at IS NULL AND done < tail AND floor = 'assistant' \
                     AND waiting_since <= $3 RETURNING position";
        let now = tx.now();
        let since = now - self.timing.holding_after;
        let Some(row) = tx.maybe(sql, args![conversation.uuid(), now, since]).await? else { return Ok(false) };
        queue(&mut tx, &key, conversation, contact, row.get("position")?, word).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Writes down what somebody did by hand where nothing else changes: opening what is sealed, for one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn audit(
        &self,
        who: &str,
        action: &'static str,
        target: &str,
        why: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        audit(&mut tx, who, action, target, why).await?;
        tx.commit().await
    }

    /// Moves the floor to a person inside a transaction, and ends a hold, since it is theirs to look after now; the
    /// new position. `spoke` when they have just said something to the customer.
    pub(super) async fn give_floor_to_person(
        &self,
        tx: &mut Tx,
        conversation: ConversationId,
        who: &str,
        spoke: bool,
    ) -> Result<i64, StoreError> {
        let sql = "UPDATE conversation SET floor = 'human', floor_by = $2, floor_since = $3, position = position + 1, \
                     epoch = epoch + 1, send_next_at = NULL, held = FALSE, held_by = NULL, \
                     heard_at = CASE WHEN $4 THEN $3 ELSE heard_at END \
                   WHERE id = $1 RETURNING position, contact_id";
        let now = tx.now();
        let row = tx.maybe(sql, args![conversation.uuid(), who, now, spoke]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("conversation", conversation.to_string()))?;
        let contact = ContactId::from_uuid(row.get("contact_id")?);
        handoff::claim(tx, (conversation, contact), who, spoke).await?;
        supersede(tx, conversation).await?;
        row.get("position")
    }

    async fn floor_in(&self, tx: &mut Tx, conversation: ConversationId) -> Result<Floor, StoreError> {
        let row = tx.maybe("SELECT floor FROM conversation WHERE id = $1", args![conversation.uuid()]).await?;
        row.ok_or_else(|| StoreError::Absent("conversation", conversation.to_string()))?.word("floor")
    }

    /// The source that a conversation came in by.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn source_of(&self, conversation: ConversationId) -> Result<SourceName, StoreError> {
        let sql = "SELECT source FROM conversation WHERE id = $1";
        let row = self.main.read_maybe(sql, args![conversation.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("conversation", conversation.to_string()))?;
        SourceName::parse(&row.get::<String>("source")?).map_err(|error| StoreError::Broken(error.to_string()))
    }

    pub(super) async fn contact_of(&self, conversation: ConversationId) -> Result<ContactId, StoreError> {
        let sql = "SELECT contact_id FROM conversation WHERE id = $1";
        let row = self.main.read_maybe(sql, args![conversation.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("conversation", conversation.to_string()))?;
        Ok(ContactId::from_uuid(row.get("contact_id")?))
    }
}

/// Marks everything unsent that may not begin under the floor as it stands, by the rule of `may_begin`, and hands the
/// messages it answered to the person. What was to be sent again because nobody knows whether it arrived is not unsent:
/// it stays unknown, and is not sent again.
pub(super) async fn supersede(tx: &mut Tx, conversation: ConversationId) -> Result<(), StoreError> {
    let now = tx.now();
    let sql = "UPDATE outbox SET state = CASE WHEN closed_at IS NULL THEN 'superseded' ELSE 'unknown' END, ended_at = $2 \
               WHERE conversation_id = $1 AND state = 'queued' AND author <> 'person' \
                 AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = $1 \
                             AND ((c.floor = 'human' AND (outbox.author = 'assistant' OR c.epoch <> outbox.epoch)) \
                                  OR (outbox.author = 'assistant' \
                                      AND (c.floor <> 'assistant' OR c.epoch <> outbox.epoch)))) \
               RETURNING turn_id, dead_id, state";
    for row in tx.all(sql, args![conversation.uuid(), now]).await? {
        if row.word::<SendState>("state")? != SendState::Superseded {
            super::dead::sent(tx, &row).await?;
            continue;
        }
        let turn: Option<uuid::Uuid> = row.get("turn_id")?;
        let sql = "UPDATE inbox SET state = 'handed_off', reason = 'superseded' \
                   WHERE turn_id = $1 AND state IN ('replied', 'joined')";
        tx.run(sql, args![turn]).await?;
        super::dead::superseded(tx, &row).await?;
    }
    Ok(())
}

/// Queues sends that belong to no turn.
async fn queue(
    tx: &mut Tx,
    key: &crate::seal::Keyring,
    conversation: ConversationId,
    contact: ContactId,
    position: i64,
    sends: &[NewSend],
) -> Result<(), StoreError> {
    let added = i64::try_from(sends.len()).unwrap_or(i64::MAX);
    let sql = "UPDATE conversation SET sends = sends + $2 WHERE id = $1 RETURNING sends, source, epoch";
    let row = tx.one(sql, args![conversation.uuid(), added]).await?;
    let (last, source, epoch): (i64, String, i64) = (row.get("sends")?, row.get("source")?, row.get("epoch")?);
    for (ordinal, send) in (last - added + 1..).zip(sends) {
        let place = Place { conversation, contact, source: &source, turn: None, ordinal, position, epoch, dead: None };
        outbox::insert(tx, key, &place, send).await?;
    }
    Ok(())
}

/// Writes down who did what by hand.
pub(super) async fn audit(
    tx: &mut Tx,
    who: &str,
    action: &'static str,
    target: &str,
    why: Option<&str>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (id, at, who, action, target, why) VALUES ($1, $2, $3, $4, $5, $6)";
    let now: Micros = tx.now();
    tx.run(sql, args![uuid::Uuid::new_v4(), now, who, action, target, why]).await.map(drop)
}
