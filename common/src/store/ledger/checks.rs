//! Rows that contradict one another: must never be, and are named when they are.
//!
//! The quick checks read indexes that are empty while all is well, the counters what is pending: so workers can repeat
//! them every few seconds over a store of any size.

use std::time::Duration;

use super::Imbalance;
use super::sums::age;
use crate::domain::{ConversationId, EventId, Micros, SendId};
use crate::store::StoreError;
use crate::store::sql::{Row, Tx, args};

/// How many rows of one kind are named.
const NAMED: i64 = 20;

const STRANGE_EVENTS: &str = "SELECT id, state, accepted_at, ended_at FROM inbox WHERE state NOT IN \
    ('pending', 'replied', 'joined', 'blocked', 'handed_off', 'recorded', 'dead', 'discarded', 'erased') \
    ORDER BY accepted_at LIMIT $1";
// The order is there for the planner: without it, it may hope to meet the rows by chance in the whole table.
const UNTIMED_EVENTS: &str = "SELECT id, state, accepted_at, ended_at FROM inbox \
    WHERE state <> 'pending' AND ended_at IS NULL ORDER BY accepted_at LIMIT $1";
const MISPLACED_EVENTS: &str = "SELECT id, state, accepted_at, ended_at FROM inbox \
    WHERE state = 'pending' AND (ended_at IS NOT NULL OR conversation_id IS NULL OR seq IS NULL) \
    ORDER BY accepted_at LIMIT $1";
const STRANGE_SENDS: &str = "SELECT id, state, created_at, ended_at FROM outbox WHERE state NOT IN \
    ('queued', 'sending', 'accepted', 'unknown', 'superseded', 'dead') ORDER BY created_at LIMIT $1";
/// Conversations that say that something is pending, with what is.
const OPEN: &str = "SELECT c.id AS id, c.tail - c.done AS said, count(i.id) AS n, max(i.accepted_at) AS newest, \
      max(c.last_inbound_at) AS heard FROM conversation c \
    LEFT JOIN inbox i ON i.conversation_id = c.id AND i.state = 'pending' \
    WHERE c.done <> c.tail GROUP BY c.id, c.tail, c.done HAVING c.tail - c.done <> count(i.id) LIMIT $1";
/// Conversations that say that nothing is pending, with what is.
const SHUT: &str = "SELECT c.id AS id, c.tail - c.done AS said, count(i.id) AS n, max(i.accepted_at) AS newest, \
      max(c.last_inbound_at) AS heard FROM inbox i JOIN conversation c ON c.id = i.conversation_id \
    WHERE i.state = 'pending' AND c.done = c.tail GROUP BY c.id, c.tail, c.done LIMIT $1";
/// Only for the whole ledger: it reads every dead event and every duplicate.
const UNEXPLAINED: &str = "SELECT i.id AS id, i.state AS state, i.accepted_at AS accepted_at, i.ended_at AS ended_at \
    FROM inbox i WHERE i.state = 'dead' \
      AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.event_id = i.id) \
      AND NOT EXISTS (SELECT 1 FROM outbox o JOIN dead d ON d.send_id = o.id WHERE o.turn_id = i.turn_id) LIMIT $1";
const OF_NOTHING: &str = "SELECT d.event_id AS id, d.seen_at AS seen_at FROM duplicate d \
    WHERE NOT EXISTS (SELECT 1 FROM inbox i WHERE i.id = d.event_id) \
      AND NOT EXISTS (SELECT 1 FROM dead l WHERE l.event_id = d.event_id) LIMIT $1";

/// Every check.
pub(super) async fn find(tx: &mut Tx, patience: Duration) -> Result<Vec<Imbalance>, StoreError> {
    let mut found = quick(tx, patience).await?;
    found.extend(counters(tx, patience).await?);
    let now = tx.now();
    for row in tx.all(UNEXPLAINED, args![NAMED]).await? {
        let told = "is dead, and no dead letter says why";
        found.push(event(&row, now, patience, told)?);
    }
    for row in tx.all(OF_NOTHING, args![NAMED]).await? {
        let what =
            format!("event {} has a duplicate and is not in the inbox itself", EventId::from_uuid(row.get("id")?));
        found.push(Imbalance::new(what, age(now, [row.get("seen_at")?]), patience));
    }
    Ok(found)
}

/// The checks that cost nothing while all is well.
pub(super) async fn quick(tx: &mut Tx, patience: Duration) -> Result<Vec<Imbalance>, StoreError> {
    let (mut found, now) = (Vec::new(), tx.now());
    for row in tx.all(STRANGE_EVENTS, args![NAMED]).await? {
        let told = format!("is in the unknown state '{}'", row.get::<String>("state")?);
        found.push(event(&row, now, patience, &told)?);
    }
    for row in tx.all(UNTIMED_EVENTS, args![NAMED]).await? {
        let told = format!("is {} without an end's time", row.get::<String>("state")?);
        found.push(event(&row, now, patience, &told)?);
    }
    for row in tx.all(MISPLACED_EVENTS, args![NAMED]).await? {
        let told = match row.get::<Option<Micros>>("ended_at")? {
            Some(_) => "is pending and yet has an end's time",
            None => "is pending without a place in a conversation",
        };
        found.push(event(&row, now, patience, told)?);
    }
    for row in tx.all(STRANGE_SENDS, args![NAMED]).await? {
        let (id, state) = (SendId::from_uuid(row.get("id")?), row.get::<String>("state")?);
        let age = age(now, [row.get("created_at")?, row.get("ended_at")?]);
        found.push(Imbalance::new(format!("send {id} is in the unknown state '{state}'"), age, patience));
    }
    Ok(found)
}

/// Conversations whose counters disagree with their messages. Costs by how many messages are pending.
pub(super) async fn counters(tx: &mut Tx, patience: Duration) -> Result<Vec<Imbalance>, StoreError> {
    let (mut found, now) = (Vec::new(), tx.now());
    for sql in [OPEN, SHUT] {
        for row in tx.all(sql, args![NAMED]).await? {
            found.push(miscounted(&row, now, patience)?);
        }
    }
    Ok(found)
}

fn event(row: &Row, now: Micros, patience: Duration, told: &str) -> Result<Imbalance, StoreError> {
    let id = EventId::from_uuid(row.get("id")?);
    let age = age(now, [row.get("accepted_at")?, row.get("ended_at")?]);
    Ok(Imbalance::new(format!("event {id} {told}"), age, patience))
}

fn miscounted(row: &Row, now: Micros, patience: Duration) -> Result<Imbalance, StoreError> {
    let id = ConversationId::from_uuid(row.get("id")?);
    let (said, n): (i64, i64) = (row.get("said")?, row.get("n")?);
    let what = format!("conversation {id} counts {said} pending messages and has {n}");
    Ok(Imbalance::new(what, age(now, [row.get("newest")?, row.get("heard")?]), patience))
}
