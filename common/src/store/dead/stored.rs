//! A stored reply, sent again: the parts that were approved and refused go out once more as new rows at the tail,
//! without a model call. Their letter waits for them.

use std::collections::BTreeMap;

use super::super::outbox;
use super::super::sql::{Row, Tx, args};
use super::super::{Store, StoreError};
use super::DeadLetter;
use super::body::dead_events;
use crate::domain::{ConversationId, DeadId, EventId, SendId};

/// A part of a reply as the outbox holds it.
pub(super) struct StoredPart {
    pub(super) id: SendId,
    pub(super) sealed: Vec<u8>,
}

/// The parts of a reply that the provider has not got, in order. Of a part that was sent again, the last try counts.
pub(super) async fn refused_parts(tx: &mut Tx, send: SendId) -> Result<Vec<StoredPart>, StoreError> {
    let sql = "SELECT id, part, state, body FROM outbox \
               WHERE id = $1 OR turn_id = (SELECT turn_id FROM outbox WHERE id = $1) ORDER BY ordinal";
    let mut latest: BTreeMap<i64, Row> = BTreeMap::new();
    for row in tx.all(sql, args![send.uuid()]).await? {
        latest.insert(row.get("part")?, row);
    }
    let mut parts = Vec::new();
    for row in latest.values() {
        if row.get::<String>("state")? == "dead" {
            parts.push(StoredPart { id: SendId::from_uuid(row.get("id")?), sealed: row.get("body")? });
        }
    }
    Ok(parts)
}

impl Store {
    /// Queues a letter's stored reply once more; why not, where that cannot be.
    pub(super) async fn queue_stored(
        &self,
        tx: &mut Tx,
        letter: &DeadLetter,
    ) -> Result<Result<ConversationId, &'static str>, StoreError> {
        let (Some(send), Some(conversation), Some(contact)) = (letter.send_id, letter.conversation, letter.contact)
        else {
            return Ok(Err("has no stored reply"));
        };
        let key = match self.contact_key(contact).await {
            Err(StoreError::Erased) => return Ok(Err("belongs to a person who was erased")),
            key => key?,
        };
        let parts = refused_parts(tx, send).await?;
        if parts.is_empty() {
            return Ok(Err("has no stored reply"));
        }
        let mut sends = Vec::with_capacity(parts.len());
        for part in &parts {
            let Ok(text) = Self::open_send(&key, part.id, &part.sealed) else {
                return Ok(Err("has a stored reply that does not open"));
            };
            let id = SendId::random();
            sends.push((id, part.id, key.seal(&outbox::context(id), text.as_bytes())));
        }
        answered_again(tx, letter, send).await?;
        super::dispatch::release(tx, letter).await?;
        let count = i64::try_from(sends.len()).unwrap_or(i64::MAX);
        let sql = "UPDATE conversation SET sends = sends + $2, position = position + 1, send_next_at = NULL \
                   WHERE id = $1 RETURNING sends, position, epoch";
        let row = tx.one(sql, args![conversation.uuid(), count]).await?;
        let (last, position, epoch): (i64, i64, i64) = (row.get("sends")?, row.get("position")?, row.get("epoch")?);
        for (ordinal, sent) in (last - count + 1..).zip(&sends) {
            copy(tx, letter.id, sent, [ordinal, position, epoch]).await?;
        }
        Ok(Ok(conversation))
    }
}

/// A row like the refused one, at the conversation's tail and under its floor of today.
async fn copy(
    tx: &mut Tx,
    letter: DeadId,
    (id, old, sealed): &(SendId, SendId, Vec<u8>),
    [ordinal, position, epoch]: [i64; 3],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (id, conversation_id, contact_id, source, turn_id, ordinal, position, part, parts, \
                 author, person, purpose, locale, epoch, state, body, created_at, trace, dead_id) \
               SELECT $1, conversation_id, contact_id, source, turn_id, $3, $4, part, parts, author, person, purpose, \
                 locale, $5, 'queued', $6, $7, trace, $8 FROM outbox WHERE id = $2";
    let now = tx.now();
    tx.run(sql, args![id.uuid(), old.uuid(), ordinal, position, epoch, sealed, now, letter.uuid()]).await.map(drop)
}

/// The messages end as they had before their reply was refused: what policy had blocked is blocked, of the others the
/// last is replied to and those before it joined.
async fn answered_again(tx: &mut Tx, letter: &DeadLetter, send: SendId) -> Result<(), StoreError> {
    let events: Vec<EventId> = dead_events(tx, letter.event_id, Some(send)).await?;
    let (now, mut end) = (tx.now(), "replied");
    for event in events.into_iter().rev() {
        let sql = "UPDATE inbox SET state = CASE WHEN reason = 'block_refused' THEN 'blocked' ELSE $2 END, \
                     reason = 'sent_again', ended_at = $3 WHERE id = $1 AND state = 'dead' RETURNING state";
        let row = tx.maybe(sql, args![event.uuid(), end, now]).await?;
        if row.map(|row| row.get::<String>("state")).transpose()?.as_deref() == Some("replied") {
            end = "joined";
        }
    }
    Ok(())
}
