//! Dispatching: the next letters of a replay go back to where they can end, in the order of their first places. A
//! conversation's next letter waits until a worker has ended the one before it, unless that one cannot be ended: where
//! a conversation is held for a later letter of the same replay, all up to that one go back together.

use super::super::hold;
use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::body::dead_events;
use super::history::{self, Line};
use super::letter::{columns, letter, select_letters};
use super::replay::ReplayRefused;
use super::undeliverable::{UNDELIVERABLE, name_event};
use super::{DeadLetter, outcome};
use crate::domain::{ConversationId, DeadId, DeadState, ItemState, Kind, ReplayId, ReplayMode, ReplayState};
use crate::envelope::Envelope;

/// The class of a webhook that could not be read.
const UNPARSED: &str = "unparsed";

/// What is said of a tally of which an older build made a letter.
const SUPERSEDED_TALLY: &str = "is a tally of an ingress, of which later ones said more: discard it";

/// A letter that was dispatched, and what the caller has left to do for it.
#[derive(Clone, Debug)]
pub struct Dispatched {
    /// The letter.
    pub dead: DeadId,
    /// Its place in the replay.
    pub ordinal: i64,
    /// What was done.
    pub how: Dispatch,
}

/// What became of a letter at its dispatch.
#[derive(Clone, Debug)]
pub enum Dispatch {
    /// Its messages are pending again; a worker answers them.
    Pending(ConversationId),
    /// Its stored reply is queued again; a worker sends it.
    Queued(ConversationId),
    /// Hand these bytes to the queue; it resolves when intake has them. Safe to do twice.
    Publish(Vec<u8>),
    /// Read the webhook of this letter again and queue its events, then say [`resolve_unparsed`](Store::resolve_unparsed)
    /// or [`reopen_unparsed`](Store::reopen_unparsed). Safe to do twice.
    ReadAgain(Box<DeadLetter>),
    /// It is closed with the replay's note.
    Noted,
    /// Nothing was left to do; why.
    Refused(String),
}

impl Store {
    /// Dispatches the next letters, at most `room`. What was dispatched as [`Dispatch::Publish`] or
    /// [`Dispatch::ReadAgain`] and has no result is given again by [`redispatch`](Self::redispatch), for a caller who
    /// was interrupted.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the replay is not under way; [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn replay_dispatch(&self, id: ReplayId, room: i64) -> Result<Vec<Dispatched>, StoreError> {
        let row = self.main.read_maybe("SELECT mode, state, why FROM replay WHERE id = $1", args![id.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("replay", id.to_string()))?;
        let (mode, state, why): (ReplayMode, ReplayState, String) =
            (row.word("mode")?, row.word("state")?, row.get("why")?);
        if state != ReplayState::Running {
            return Err(StoreError::Refused(format!("replay {id} is {state}: nothing is dispatched")));
        }
        let sql = "SELECT i.dead_id AS dead_id, i.ordinal AS ordinal FROM replay_item i \
                   WHERE i.replay_id = $1 AND i.state = 'waiting' \
                     AND NOT EXISTS (SELECT 1 FROM replay_item e WHERE e.replay_id = $1 \
                           AND e.conversation_id = i.conversation_id AND e.ordinal < i.ordinal \
                           AND (e.state = 'waiting' OR (e.state = 'running' \
                             AND NOT EXISTS (SELECT 1 FROM conversation c WHERE c.id = e.conversation_id AND c.held)))) \
                   ORDER BY i.ordinal LIMIT $2";
        let mut dispatched = Vec::new();
        for row in self.main.read(sql, args![id.uuid(), room]).await? {
            let (dead, ordinal) = (DeadId::from_uuid(row.get("dead_id")?), row.get("ordinal")?);
            let Some(how) = self.dispatch(id, (dead, ordinal), mode, &why).await? else { continue };
            let held_up = if let Dispatch::Pending(conversation) = &how { Some(*conversation) } else { None };
            dispatched.push(Dispatched { dead, ordinal, how });
            if let Some(conversation) = held_up {
                self.dispatch_up_to_the_hold(id, conversation, (mode, &why), &mut dispatched).await?;
            }
        }
        Ok(dispatched)
    }

    /// What was handed back to a conversation that is still held cannot end before the letter that holds it.
    async fn dispatch_up_to_the_hold(
        &self,
        replay: ReplayId,
        conversation: ConversationId,
        (mode, why): (ReplayMode, &str),
        dispatched: &mut Vec<Dispatched>,
    ) -> Result<(), StoreError> {
        let sql = "SELECT i.dead_id AS dead_id, i.ordinal AS ordinal FROM replay_item i \
                   WHERE i.replay_id = $1 AND i.conversation_id = $2 AND i.state = 'waiting' \
                     AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = $2 AND c.held) \
                   ORDER BY i.ordinal LIMIT 1";
        while let Some(row) = self.main.read_maybe(sql, args![replay.uuid(), conversation.uuid()]).await? {
            let (dead, ordinal) = (DeadId::from_uuid(row.get("dead_id")?), row.get("ordinal")?);
            if let Some(how) = self.dispatch(replay, (dead, ordinal), mode, why).await? {
                dispatched.push(Dispatched { dead, ordinal, how });
            }
        }
        Ok(())
    }

    /// One item, in a transaction of its own; `None` when somebody else has dispatched it.
    async fn dispatch(
        &self,
        replay: ReplayId,
        (dead, ordinal): (DeadId, i64),
        mode: ReplayMode,
        why: &str,
    ) -> Result<Option<Dispatch>, StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = "UPDATE replay_item SET state = 'running', dispatched_at = $3 \
                   WHERE replay_id = $1 AND ordinal = $2 AND state = 'waiting'";
        if tx.run(sql, args![replay.uuid(), ordinal, now]).await? != 1 {
            return Ok(None);
        }
        let letter = fetch(&mut tx, dead).await?;
        let how = match mode {
            _ if letter.state != DeadState::Open => Dispatch::Refused(format!("is {}", letter.state)),
            ReplayMode::Note => note(&mut tx, &letter, why).await?,
            ReplayMode::SendStored => match self.queue_stored(&mut tx, &letter).await? {
                Ok(conversation) => Dispatch::Queued(conversation),
                Err(why) => Dispatch::Refused(why.to_owned()),
            },
            ReplayMode::Regenerate => self.regenerate(&mut tx, replay, &letter).await?,
        };
        match &how {
            Dispatch::Refused(why) => outcome::settle_item(&mut tx, dead, ItemState::Refused, Some(why)).await?,
            Dispatch::Noted => {}
            Dispatch::Pending(_) | Dispatch::Queued(_) | Dispatch::Publish(_) | Dispatch::ReadAgain(_) => {
                mark_replaying(&mut tx, dead).await?;
            }
        }
        tx.commit().await?;
        Ok(Some(how))
    }

    async fn regenerate(&self, tx: &mut Tx, replay: ReplayId, letter: &DeadLetter) -> Result<Dispatch, StoreError> {
        if let Some(holder) = stands_behind(tx, replay, letter).await? {
            return Ok(Dispatch::Refused(format!(
                "waits behind dead letter {holder}, for which its conversation is held: replay that one with it, discard \
                 that one, or give the conversation back"
            )));
        }
        match letter.class.as_str() {
            UNDELIVERABLE => self.hand_to_queue(tx, letter).await,
            UNPARSED if letter.event_id.is_some() => Ok(Dispatch::ReadAgain(Box::new(letter.clone()))),
            _ => Ok(match pending_again(tx, letter).await? {
                Some(conversation) => Dispatch::Pending(conversation),
                None => Dispatch::Refused("has no message left to answer".to_owned()),
            }),
        }
    }

    async fn hand_to_queue(&self, tx: &mut Tx, letter: &DeadLetter) -> Result<Dispatch, StoreError> {
        let Ok(Some(bytes)) = self.envelope_of(letter.id).await else {
            return Ok(Dispatch::Refused("has no bytes that open".to_owned()));
        };
        match Envelope::decode(bytes.clone()) {
            // Nothing would tell that it was taken in: it leaves no row.
            Ok(envelope) if envelope.header().kind == Kind::Tally => Ok(Dispatch::Refused(SUPERSEDED_TALLY.to_owned())),
            Ok(envelope) => {
                name_event(tx, letter.id, envelope.header().event_id).await?;
                Ok(Dispatch::Publish(bytes))
            }
            Err(error) => Ok(Dispatch::Refused(format!("cannot be handed to the queue: {error}"))),
        }
    }

    /// What an interrupted caller may not have done: letters to publish or to read again that still run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn redispatch(&self, id: ReplayId) -> Result<Vec<Dispatched>, StoreError> {
        self.confirm_taken_in().await?;
        let sql = "SELECT i.dead_id AS dead_id, i.ordinal AS ordinal FROM replay_item i JOIN dead d ON d.id = i.dead_id \
                   WHERE i.replay_id = $1 AND i.state = 'running' AND d.state = 'replaying' AND d.class IN ($2, $3) \
                   ORDER BY i.ordinal";
        let mut again = Vec::new();
        for row in self.main.read(sql, args![id.uuid(), UNDELIVERABLE, UNPARSED]).await? {
            let (dead, ordinal) = (DeadId::from_uuid(row.get("dead_id")?), row.get("ordinal")?);
            let letter = self.dead_letter(dead).await?;
            let how = match letter.class.as_str() {
                UNPARSED => Dispatch::ReadAgain(Box::new(letter)),
                _ => self.hand_to_queue_again(dead).await?,
            };
            again.push(Dispatched { dead, ordinal, how });
        }
        Ok(again)
    }

    /// What cannot be handed to the queue is open again, and its replay does not wait for it.
    async fn hand_to_queue_again(&self, dead: DeadId) -> Result<Dispatch, StoreError> {
        let mut tx = self.main.begin().await?;
        let letter = fetch(&mut tx, dead).await?;
        let how = self.hand_to_queue(&mut tx, &letter).await?;
        if let Dispatch::Refused(why) = &how {
            let now = tx.now();
            let sql = "UPDATE dead SET state = 'open', updated_at = $2 WHERE id = $1 AND state = 'replaying'";
            tx.run(sql, args![dead.uuid(), now]).await?;
            outcome::settle_item(&mut tx, dead, ItemState::Refused, Some(why)).await?;
        }
        tx.commit().await?;
        Ok(how)
    }

    /// Hands one letter's messages back to their conversation, outside any replay: each gets a new place at the tail
    /// and keeps its first. Idempotent: a second call finds it `replaying` and is refused.
    ///
    /// # Errors
    /// [`ReplayRefused`]; nothing changed.
    pub async fn replay(&self, id: DeadId, who: &str) -> Result<ConversationId, ReplayRefused> {
        let mut tx = self.main.begin().await?;
        if !mark_replaying(&mut tx, id).await? {
            let letter = self.dead_letter(id).await?;
            return Err(ReplayRefused::NotOpen(id, letter.state));
        }
        let letter = fetch(&mut tx, id).await?;
        if let Some(replay) = letter.replay {
            return Err(ReplayRefused::Letters(vec![(id, format!("is part of replay {replay}"))]));
        }
        let conversation = pending_again(&mut tx, &letter).await?.ok_or(ReplayRefused::NothingLeft(id))?;
        super::super::floor::audit(&mut tx, who, "dead.replay", &id.to_string(), None).await?;
        tx.commit().await?;
        Ok(conversation)
    }

    /// Closes an `unparsed` letter whose bytes were read after all and whose events have been queued anew.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn resolve_unparsed(&self, letter: &DeadLetter, who: &str) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = "UPDATE dead SET state = 'resolved', updated_at = $2 \
                   WHERE id = $1 AND state IN ('open', 'replaying') RETURNING id, edited_from";
        let Some(row) = tx.maybe(sql, args![letter.id.uuid(), now]).await? else { return Ok(()) };
        let sql = "UPDATE inbox SET state = 'recorded', reason = 'reparsed', ended_at = $2 \
                   WHERE id = $1 AND state = 'dead'";
        tx.run(sql, args![letter.event_id.map(crate::domain::EventId::uuid), now]).await?;
        outcome::resolved(&mut tx, &row, ItemState::Succeeded).await?;
        super::super::floor::audit(&mut tx, who, "dead.replay", &letter.id.to_string(), None).await?;
        tx.commit().await
    }

    /// A webhook that could not be read again: its letter is open as before, with one more failed attempt.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn reopen_unparsed(&self, letter: &DeadLetter, error: &str, who: &str) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = "UPDATE dead SET state = 'open', attempts = attempts + 1, build = $2, updated_at = $3 \
                   WHERE id = $1 AND state = 'replaying'";
        if tx.run(sql, args![letter.id.uuid(), crate::build(), now]).await? != 1 {
            return Ok(());
        }
        let (stage, class) = (letter.stage.as_str(), letter.class.as_str());
        let line = Line { worker: None, build: crate::build(), stage, class, error, outcome: "dead" };
        history::write(&mut tx, letter.id.uuid(), Some(letter.id), line).await?;
        outcome::settle_item(&mut tx, letter.id, ItemState::Failed, Some(class)).await?;
        super::super::floor::audit(&mut tx, who, "dead.replay", &letter.id.to_string(), Some("still unparsed")).await?;
        tx.commit().await
    }
}

/// A letter as this transaction sees it.
pub(super) async fn fetch(tx: &mut Tx, id: DeadId) -> Result<DeadLetter, StoreError> {
    const SQL: &str = select_letters!("(SELECT ", columns!(), " FROM dead WHERE id = $1) d");
    letter(&tx.maybe(SQL, args![id.uuid()]).await?.ok_or_else(|| StoreError::Absent("dead letter", id.to_string()))?)
}

/// The letter that a conversation is held for, where neither this letter ends that hold nor a later one of its replay.
async fn stands_behind(tx: &mut Tx, replay: ReplayId, letter: &DeadLetter) -> Result<Option<DeadId>, StoreError> {
    let Some(conversation) = letter.conversation else { return Ok(None) };
    let Some(holder) = hold::held_by(tx, conversation).await? else { return Ok(None) };
    let mut ends = lineage(tx, letter.id, letter.edited_from).await?.contains(&holder);
    let sql = "SELECT d.id AS id, d.edited_from AS edited_from FROM replay_item i JOIN dead d ON d.id = i.dead_id \
               WHERE i.replay_id = $1 AND i.conversation_id = $2 AND i.state = 'waiting' AND d.state = 'open'";
    for row in tx.all(sql, args![replay.uuid(), conversation.uuid()]).await? {
        let from: Option<uuid::Uuid> = row.get("edited_from")?;
        let line = lineage(tx, DeadId::from_uuid(row.get("id")?), from.map(DeadId::from_uuid)).await?;
        ends = ends || line.contains(&holder);
    }
    Ok((!ends).then_some(holder))
}

async fn mark_replaying(tx: &mut Tx, id: DeadId) -> Result<bool, StoreError> {
    let now = tx.now();
    let sql = "UPDATE dead SET state = 'replaying', updated_at = $2 WHERE id = $1 AND state = 'open'";
    Ok(tx.run(sql, args![id.uuid(), now]).await? == 1)
}

/// The messages behind a letter become pending again, in ingress order; `None` when there is none left.
async fn pending_again(tx: &mut Tx, letter: &DeadLetter) -> Result<Option<ConversationId>, StoreError> {
    let Some(conversation) = letter.conversation else { return Ok(None) };
    let now = tx.now();
    let mut handed = 0;
    for event in dead_events(tx, letter.event_id, letter.send_id).await? {
        let sql = "UPDATE conversation SET tail = tail + 1, settle_at = NULL, next_at = NULL, \
                     waiting_since = CASE WHEN done = tail THEN $2 ELSE waiting_since END \
                   WHERE id = $1 RETURNING tail";
        let seq: i64 = tx.one(sql, args![conversation.uuid(), now]).await?.get("tail")?;
        let sql = "UPDATE inbox SET state = 'pending', seq = $2, reason = NULL, ended_at = NULL, turn_id = NULL, \
                     position = NULL WHERE id = $1 AND state = 'dead' AND kind = 'message'";
        if tx.run(sql, args![event.uuid(), seq]).await? != 1 {
            // Another letter of the same turn handed it back first; what this one did is undone.
            return Err(StoreError::Unavailable(format!("event {event} was replayed at the same moment")));
        }
        handed += 1;
    }
    release(tx, letter).await?;
    Ok((handed > 0).then_some(conversation))
}

/// Closes a letter without sending: its messages end `recorded`, since a person said that nothing is to be answered.
async fn note(tx: &mut Tx, letter: &DeadLetter, why: &str) -> Result<Dispatch, StoreError> {
    let now = tx.now();
    let sql = "UPDATE dead SET state = 'resolved', why = $2, updated_at = $3 WHERE id = $1 RETURNING id, edited_from";
    let row = tx.one(sql, args![letter.id.uuid(), why, now]).await?;
    for event in dead_events(tx, letter.event_id, letter.send_id).await? {
        let sql =
            "UPDATE inbox SET state = 'recorded', reason = 'noted', ended_at = $2 WHERE id = $1 AND state = 'dead'";
        tx.run(sql, args![event.uuid(), now]).await?;
    }
    release(tx, letter).await?;
    outcome::resolved(tx, &row, ItemState::Succeeded).await?;
    Ok(Dispatch::Noted)
}

/// A conversation that was held for a letter, or for one that it was edited from, goes on.
pub(super) async fn release(tx: &mut Tx, letter: &DeadLetter) -> Result<(), StoreError> {
    for id in lineage(tx, letter.id, letter.edited_from).await? {
        hold::release(tx, id).await?;
    }
    Ok(())
}

/// A letter and what it was edited from, back to the first.
pub(super) async fn lineage(tx: &mut Tx, id: DeadId, from: Option<DeadId>) -> Result<Vec<DeadId>, StoreError> {
    let (mut line, mut from) = (vec![id], from);
    while let Some(original) = from {
        line.push(original);
        let row = tx.maybe("SELECT edited_from FROM dead WHERE id = $1", args![original.uuid()]).await?;
        from = match row {
            Some(row) => row.get::<Option<uuid::Uuid>>("edited_from")?.map(DeadId::from_uuid),
            None => None,
        };
    }
    Ok(line)
}
