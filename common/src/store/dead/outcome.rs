//! Outcomes: a replay is confirmed by what a worker committed, and in that commit.
//!
//! A letter of any stage but `send` resolves in the commit of the turn that ends its message. One whose reply had been
//! refused waits for the new reply: it resolves when the provider has accepted all of it, when nobody can say and the
//! policy has closed it, or when a person took the floor before it left.

use uuid::Uuid;

use super::super::StoreError;
use super::super::sql::{Row, Tx, args};
use crate::domain::{DeadId, EventId, ItemState};

/// A message ended otherwise than dead. The letter that now awaits the turn's sends, if there is one: its id belongs on
/// them. One statement, and nothing more where the message had no letter.
pub(in crate::store) async fn ended(tx: &mut Tx, event: EventId, sends: bool) -> Result<Option<DeadId>, StoreError> {
    let sql = "UPDATE dead SET updated_at = $2, \
                 state = CASE WHEN stage = 'send' AND $3 THEN 'replaying' ELSE 'resolved' END \
               WHERE event_id = $1 AND state = 'replaying' RETURNING id, state, edited_from";
    let now = tx.now();
    let mut awaiting = None;
    for row in tx.all(sql, args![event.uuid(), now, sends]).await? {
        let id = DeadId::from_uuid(row.get("id")?);
        if row.get::<String>("state")? == "replaying" {
            awaiting = Some(id);
        } else {
            resolved(tx, &row, ItemState::Succeeded).await?;
        }
    }
    Ok(awaiting)
}

/// A send that letters await has ended well. Once nothing more of it is open, they are resolved.
pub(in crate::store) async fn sent(tx: &mut Tx, row: &Row) -> Result<(), StoreError> {
    finish(tx, row, ItemState::Succeeded).await
}

/// A send that letters await will not begin, for a person has the floor.
pub(in crate::store) async fn superseded(tx: &mut Tx, row: &Row) -> Result<(), StoreError> {
    finish(tx, row, ItemState::Superseded).await
}

async fn finish(tx: &mut Tx, send: &Row, how: ItemState) -> Result<(), StoreError> {
    let Some(dead) = send.get::<Option<Uuid>>("dead_id")? else { return Ok(()) };
    let turn: Option<Uuid> = send.get("turn_id")?;
    let sql = "UPDATE dead SET state = 'resolved', updated_at = $3 \
               WHERE state = 'replaying' \
                 AND id IN (SELECT $1 UNION SELECT d.id FROM inbox i JOIN dead d ON d.event_id = i.id \
                            WHERE i.turn_id = $2) \
                 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.dead_id = $1 \
                       AND (o.state IN ('queued', 'sending') OR (o.state = 'unknown' AND o.closed_at IS NULL))) \
               RETURNING id, edited_from";
    let now = tx.now();
    for row in tx.all(sql, args![dead, turn, now]).await? {
        resolved(tx, &row, how).await?;
    }
    Ok(())
}

/// What follows from a letter that was resolved: its replay counts it, and what it is an edit of is closed.
pub(super) async fn resolved(tx: &mut Tx, row: &Row, how: ItemState) -> Result<(), StoreError> {
    settle_item(tx, DeadId::from_uuid(row.get("id")?), how, None).await?;
    let mut from: Option<Uuid> = row.get("edited_from")?;
    let now = tx.now();
    while let Some(original) = from {
        let sql = "UPDATE dead SET state = 'replaced', updated_at = $2 WHERE id = $1 AND state = 'open' \
                   RETURNING event_id, edited_from";
        let Some(row) = tx.maybe(sql, args![original, now]).await? else { return Ok(()) };
        let event: Option<Uuid> = row.get("event_id")?;
        let sql = "UPDATE inbox SET state = 'discarded', reason = 'replaced', ended_at = $2 \
                   WHERE id = $1 AND state = 'dead'";
        tx.run(sql, args![event, now]).await?;
        from = row.get("edited_from")?;
    }
    Ok(())
}

/// Gives a letter's running item its result.
pub(super) async fn settle_item(
    tx: &mut Tx,
    dead: DeadId,
    how: ItemState,
    result: Option<&str>,
) -> Result<(), StoreError> {
    let sql = "UPDATE replay_item SET state = $2, result = $3, ended_at = $4 WHERE dead_id = $1 AND state = 'running'";
    let now = tx.now();
    tx.run(sql, args![dead.uuid(), how.as_str(), result, now]).await.map(drop)
}
