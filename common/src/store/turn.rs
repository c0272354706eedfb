//! Turns: what is pending, what was said before, and the one transaction that ends messages and queues a reply.

use super::claim::{Claimed, HandBack};
use super::dead::{self, Born, NewDead};
use super::handoff::{self, NewHandoff};
use super::hold;
use super::intake::inbox_context;
use super::notes::{self, NewHit};
use super::outbox::{self, NewSend, Place};
use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use crate::domain::{
    Author, Content, ConversationId, DeadId, End, Event, EventId, Floor, Inbound, Line, Micros, SendId, Speaker, TurnId,
};
use crate::seal::Keyring;
use crate::steps::{self, Step};
use crate::trace::TraceContext;

/// A message that awaits its turn. Holds personal data.
#[derive(Clone)]
pub struct Pending {
    /// The event.
    pub event_id: EventId,
    /// What it said; `None` when it does not open or is not a message, so that it can be parked.
    pub content: Option<Content>,
    /// When the ingress had it.
    pub received_at: Micros,
    /// When intake committed it, by the store's clock.
    pub accepted_at: Micros,
    /// Whether its successor had been answered before it came in.
    pub late: bool,
    /// Whether the message that it names as the one before had not come in when this was read.
    pub awaits: bool,
    /// The trace of its webhook.
    pub trace: Option<TraceContext>,
}

/// Where a line stands: the turn's number, then customer before business, then order within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub i64, pub i64, pub i64);

/// Everything that a turn changes, to be done at once or not at all.
#[derive(Clone, Copy)]
pub struct Commit<'a> {
    /// The claim it stands on.
    pub claim: &'a Claimed,
    /// The turn's id.
    pub turn: TurnId,
    /// How each message it took ended, and a constant word why.
    pub ends: &'a [(EventId, End, Option<&'static str>)],
    /// The reply's parts, in order.
    pub sends: &'a [NewSend],
    /// Dead letters of messages that ended `dead`.
    pub dead: &'a [NewDead],
    /// Whether what comes after its dead letters waits until a person has dealt with them.
    pub hold: bool,
    /// The floor it leaves; `None` keeps it.
    pub floor: Option<Floor>,
    /// Whom it calls, where it queues the floor.
    pub handoff: Option<&'a NewHandoff>,
    /// Whether it tells a customer something who is with people, or is to be.
    pub heard: bool,
    /// A constant word for the whole.
    pub outcome: &'static str,
    /// The policy's version.
    pub policy: &'a str,
    /// The model asked, if one was.
    pub model: Option<&'a str>,
    /// The language of the reply.
    pub locale: Option<&'a str>,
    /// When the turn began.
    pub started_at: Micros,
    /// Its span.
    pub trace: TraceContext,
    /// The decision path, JSON, to be sealed.
    pub path: &'a str,
    /// What rules hit.
    pub hits: &'a [NewHit],
}

/// What a commit left behind.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The turn's number in its conversation.
    pub position: i64,
    /// When it committed.
    pub at: Micros,
    /// The claim, still held, when more messages are pending: the worker goes on.
    pub more: Option<(Claimed, Micros)>,
}

/// What a commit came to.
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// Everything changed.
    Committed(Box<Committed>),
    /// Nothing changed: the claim was ours, but somebody else took or gave the floor. It has been handed back.
    FloorMoved,
    /// Nothing changed: the claim is somebody else's.
    Zombie,
}

impl CommitOutcome {
    /// What the commit left behind, if it took place.
    #[must_use]
    pub fn committed(self) -> Option<Committed> {
        match self {
            Self::Committed(committed) => Some(*committed),
            Self::FloorMoved | Self::Zombie => None,
        }
    }
}

impl Store {
    /// Every pending message of a conversation, in the order in which the ingress received them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn pending(&self, claim: &Claimed) -> Result<Vec<Pending>, StoreError> {
        let sql = "SELECT p.id AS id, p.body AS body, p.received_at AS received_at, p.accepted_at AS accepted_at, \
                     p.late AS late, p.trace AS trace, \
                     (p.previous IS NOT NULL AND NOT EXISTS (SELECT 1 FROM inbox q WHERE q.id = p.previous) \
                       AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.event_id = p.previous)) AS awaits \
                   FROM inbox p WHERE p.conversation_id = $1 AND p.state = 'pending' \
                   ORDER BY p.received_at, p.instance, p.sequence";
        let rows = self.main.read(sql, args![claim.conversation.uuid()]).await?;
        let key = self.key_of(claim).await?;
        rows.iter().map(|row| pending(row, key)).collect()
    }

    /// Until when a turn over `pending` should wait for a message that its successor names and that has not come in;
    /// `None` when nothing is missing or the wait is over. It asks the messages themselves and not the store again: one
    /// that came in between would be seen as there, and yet not be among them.
    #[must_use]
    pub fn awaited_until(&self, claim: &Claimed, pending: &[Pending]) -> Option<Micros> {
        let newest = pending.iter().filter(|message| message.awaits).map(|message| message.accepted_at).max();
        newest.map(|at| at + self.timing.predecessor).filter(|until| *until > claim.at)
    }

    /// What was said before, in turn order, at most `limit` lines, the newest. Leaves out what policy stopped and
    /// what was never sent.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn history(&self, claim: &Claimed, limit: usize) -> Result<Vec<Line>, StoreError> {
        let mut lines = self.lines(claim.conversation, self.key_of(claim).await?, limit, true).await?;
        if claim.returned_at.is_some() {
            lines.extend(self.stretches(claim.conversation, count(limit)).await?);
            lines.sort_by_key(|(position, _)| *position);
        }
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The newest lines of a conversation with their places, oldest first.
    pub(super) async fn lines(
        &self,
        conversation: ConversationId,
        key: &Keyring,
        limit: usize,
        for_model: bool,
    ) -> Result<Vec<(Position, Line)>, StoreError> {
        self.lines_before(conversation, key, limit, (for_model, i64::MAX)).await
    }

    /// As [`lines`](Self::lines), of those before a turn.
    pub(super) async fn lines_before(
        &self,
        conversation: ConversationId,
        key: &Keyring,
        limit: usize,
        (for_model, before): (bool, i64),
    ) -> Result<Vec<(Position, Line)>, StoreError> {
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let said = "SELECT id, kind, body, position, received_at, accepted_at FROM inbox \
                    WHERE conversation_id = $1 AND position < $4 AND kind IN ('message', 'echo') \
                      AND (NOT $3 OR state NOT IN ('blocked', 'dead', 'discarded', 'erased')) \
                    ORDER BY position DESC, received_at DESC, instance DESC, sequence DESC LIMIT $2";
        let sent = "SELECT id, author, body, position, ordinal, created_at FROM outbox \
                    WHERE conversation_id = $1 AND position < $4 AND (NOT $3 OR state NOT IN ('superseded', 'dead')) \
                    ORDER BY ordinal DESC LIMIT $2";
        let mut lines = Vec::new();
        let values = args![conversation.uuid(), limit_rows, for_model, before];
        // Oldest first, so that the stable sort keeps the order of messages that came in one request.
        for row in self.main.read(said, values).await?.iter().rev() {
            lines.extend(said_line(row, key)?);
        }
        for row in self.main.read(sent, values).await? {
            lines.extend(sent_line(&row, key)?);
        }
        lines.sort_by_key(|(position, _)| *position);
        Ok(lines.split_off(lines.len().saturating_sub(limit)))
    }

    /// Ends messages and queues their reply, if the claim still stands; otherwise nothing changes. Where only the
    /// floor moved, the claim is handed back, for nobody else would.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the outcome is unknown; the fence makes trying again safe.
    pub async fn commit(&self, commit: Commit<'_>) -> Result<CommitOutcome, StoreError> {
        let key = self.key_of(commit.claim).await?;
        let mut tx = self.main.begin().await?;
        let Some(row) = self.advance(&mut tx, &commit).await? else {
            tx.rollback().await?;
            let ours = self.hand_back(commit.claim, HandBack::Uncounted).await?;
            return Ok(if ours { CommitOutcome::FloorMoved } else { CommitOutcome::Zombie });
        };
        if commit.floor.is_some_and(|floor| floor != commit.claim.floor) {
            super::floor::supersede(&mut tx, commit.claim.conversation).await?;
        }
        let position: i64 = row.get("position")?;
        let awaits = end_messages(&mut tx, &commit, position).await?;
        let pending = row.get::<i64>("done")? < row.get::<i64>("tail")?;
        let mut waiting_since = tx.now();
        if pending {
            mark_overtaken(&mut tx, &commit).await?;
            waiting_since = oldest_waits_since(&mut tx, commit.claim.conversation).await?;
        }
        insert_turn(&mut tx, &commit, position, key).await?;
        notes::insert_hits(&mut tx, commit.turn, commit.hits).await?;
        let first = row.get::<i64>("sends")? - i64::try_from(commit.sends.len()).unwrap_or(0);
        for (ordinal, send) in (first + 1..).zip(commit.sends) {
            let place = Place {
                conversation: commit.claim.conversation,
                contact: commit.claim.contact,
                source: commit.claim.source.as_str(),
                turn: Some(commit.turn),
                ordinal,
                position,
                epoch: row.get("epoch")?,
                dead: awaits,
            };
            outbox::insert(&mut tx, key, &place, send).await?;
        }
        handoff::open(&mut tx, key, &commit).await?;
        self.bury_messages(&mut tx, &commit).await?;
        let held = commit.hold && hold::hold(&mut tx, commit.claim.conversation, commit.dead).await?;
        let now = tx.now();
        steps::reached(Step::TurnBeforeCommit);
        tx.commit().await?;
        let more = if pending && !held { Some(still_held(&row, commit.claim, now, waiting_since)?) } else { None };
        Ok(CommitOutcome::Committed(Box::new(Committed { position, at: now, more })))
    }

    async fn bury_messages(&self, tx: &mut Tx, commit: &Commit<'_>) -> Result<(), StoreError> {
        if commit.dead.is_empty() {
            return Ok(());
        }
        let prompt = dead::prompt_of(tx, commit.claim.conversation, commit.claim.fence).await?;
        for letter in commit.dead {
            let born = Born { worker: Some(commit.claim.worker), prompt: prompt.clone(), ..Born::default() };
            dead::insert(tx, letter, born).await?;
        }
        Ok(())
    }

    /// The one conditional update on which everything hangs. The lease is released only if nothing is pending after
    /// it; `tail` is the row's own, so whatever came in meanwhile keeps the worker at it.
    async fn advance(&self, tx: &mut Tx, commit: &Commit<'_>) -> Result<Option<Row>, StoreError> {
        let sql = "UPDATE conversation SET done = done + $5, position = position + 1, sends = sends + $6, \
                     claims = CASE WHEN done + $5 = tail THEN 0 ELSE 1 END, \
                     attempts = 0, next_at = NULL, locale = COALESCE($7, locale), \
                     one_by_one = CASE WHEN done + $5 = tail THEN FALSE ELSE one_by_one END, \
                     waiting_since = CASE WHEN done + $5 = tail THEN NULL ELSE $8 END, \
                     holding_at = CASE WHEN done + $5 = tail THEN NULL ELSE holding_at END, \
                     lease_owner = CASE WHEN done + $5 = tail THEN NULL ELSE lease_owner END, \
                     lease_until = CASE WHEN done + $5 = tail THEN NULL ELSE $9 END, \
                     floor = COALESCE($10, floor), epoch = epoch + $11, \
                     floor_by = COALESCE($12, floor_by), floor_since = COALESCE($13, floor_since), \
                     heard_at = COALESCE($15, heard_at) \
                   WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND done = $4 AND epoch = $14 \
                   RETURNING tail, done, position, sends, floor, epoch, settle_at, one_by_one, floor_since, heard_at";
        let claim = commit.claim;
        let now = tx.now();
        let moved = commit.floor.filter(|floor| *floor != claim.floor);
        let values = args![
            claim.conversation.uuid(),
            claim.worker.uuid(),
            claim.fence,
            claim.done,
            count(commit.ends.len()),
            count(commit.sends.len()),
            commit.locale,
            now,
            now + self.timing.lease,
            moved.map(Floor::as_str),
            i64::from(moved.is_some()),
            moved.map(|_| "customer"),
            moved.map(|_| now),
            claim.epoch,
            commit.heard.then_some(now),
        ];
        tx.maybe(sql, values).await
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The claim as it goes on over what is still pending: it counts as taken up anew, once.
fn still_held(row: &Row, claim: &Claimed, now: Micros, waiting_since: Micros) -> Result<(Claimed, Micros), StoreError> {
    let settle_at: Option<Micros> = row.get("settle_at")?;
    let held = Claimed {
        done: row.get("done")?,
        tail: row.get("tail")?,
        floor: row.word("floor")?,
        epoch: row.get("epoch")?,
        claims: 1,
        attempts: 0,
        one_by_one: row.get("one_by_one")?,
        waiting_since,
        floor_since: row.get("floor_since")?,
        heard_at: row.get("heard_at")?,
        at: now,
        ..claim.clone()
    };
    Ok((held, settle_at.unwrap_or(now)))
}

/// Ends the turn's messages; the letter, if there is one, that awaits what the turn sends.
async fn end_messages(tx: &mut Tx, commit: &Commit<'_>, position: i64) -> Result<Option<DeadId>, StoreError> {
    let sql = "UPDATE inbox SET state = $2, reason = $3, ended_at = $4, turn_id = $5, position = $6 \
               WHERE id = $1 AND state = 'pending'";
    let (now, mut awaits) = (tx.now(), None);
    for (event, end, reason) in commit.ends {
        let values = args![event.uuid(), end.as_str(), *reason, now, commit.turn.uuid(), position];
        if tx.run(sql, values).await? != 1 {
            return Err(StoreError::Broken(format!("event {event} was not pending when its turn committed")));
        }
        if *end != End::Dead {
            awaits = awaits.or(dead::ended(tx, *event, !commit.sends.is_empty()).await?);
        }
    }
    Ok(awaits)
}

/// What came in while its successor was being answered is as late as what comes in after.
async fn mark_overtaken(tx: &mut Tx, commit: &Commit<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE inbox SET late = TRUE WHERE conversation_id = $1 AND state = 'pending' AND NOT late \
               AND EXISTS (SELECT 1 FROM inbox e WHERE e.turn_id = $2 AND (e.received_at > inbox.received_at OR \
                 (e.received_at = inbox.received_at AND e.instance = inbox.instance AND e.sequence > inbox.sequence)))";
    tx.run(sql, args![commit.claim.conversation.uuid(), commit.turn.uuid()]).await.map(drop)
}

/// Since when the oldest message waits that is still pending. One that was replayed waits from now: what it waited
/// before it died is over.
async fn oldest_waits_since(tx: &mut Tx, conversation: ConversationId) -> Result<Micros, StoreError> {
    let sql = "UPDATE conversation SET waiting_since = COALESCE((SELECT min(p.accepted_at) FROM inbox p \
                 WHERE p.conversation_id = $1 AND p.state = 'pending' AND p.seq = p.first_seq), $2) \
               WHERE id = $1 RETURNING waiting_since";
    tx.one(sql, args![conversation.uuid(), tx.now()]).await?.get("waiting_since")
}

async fn insert_turn(tx: &mut Tx, commit: &Commit<'_>, position: i64, key: &Keyring) -> Result<(), StoreError> {
    let sql = "INSERT INTO turn (id, conversation_id, position, fence, worker, outcome, messages, policy, model, \
                 started_at, committed_at, traceparent, trace) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    let claim = commit.claim;
    let sealed = key.seal(&turn_context(commit.turn), commit.path.as_bytes());
    let (now, traceparent) = (tx.now(), commit.trace.to_string());
    let values = args![
        commit.turn.uuid(),
        claim.conversation.uuid(),
        position,
        claim.fence,
        claim.worker.uuid(),
        commit.outcome,
        count(commit.ends.len()),
        commit.policy,
        commit.model,
        commit.started_at,
        now,
        &traceparent,
        &sealed,
    ];
    tx.run(sql, values).await.map(drop)
}

pub(super) fn turn_context(turn: TurnId) -> Vec<u8> {
    format!("turn/{turn}").into_bytes()
}

fn pending(row: &Row, key: &Keyring) -> Result<Pending, StoreError> {
    let event_id = EventId::from_uuid(row.get("id")?);
    let trace: String = row.get("trace")?;
    Ok(Pending {
        event_id,
        content: content(row, key, event_id)?,
        received_at: row.get("received_at")?,
        accepted_at: row.get("accepted_at")?,
        late: row.get("late")?,
        awaits: row.get("awaits")?,
        trace: trace.parse().ok(),
    })
}

/// What a person said in an inbox row; `None` when it does not open.
pub(super) fn content(row: &Row, key: &Keyring, event: EventId) -> Result<Option<Content>, StoreError> {
    let sealed: Option<Vec<u8>> = row.get("body")?;
    let opened = sealed.and_then(|sealed| key.open(&inbox_context(event), &sealed).ok());
    let inbound = opened.and_then(|plain| serde_json::from_slice::<Inbound>(&plain).ok());
    Ok(match inbound.map(|inbound| inbound.event) {
        Some(Event::Message(content) | Event::Echo(content)) => Some(content),
        Some(
            Event::Status(_) | Event::Consent(_) | Event::Record { .. } | Event::Unparsed { .. } | Event::Tally(_),
        )
        | None => None,
    })
}

fn said_line(row: &Row, key: &Keyring) -> Result<Option<(Position, Line)>, StoreError> {
    let event = EventId::from_uuid(row.get("id")?);
    let text = match content(row, key, event)? {
        Some(Content::Text(text)) => text,
        Some(Content::Unreadable(what)) => format!("[{what}]"),
        None => return Ok(None),
    };
    let echo = row.get::<String>("kind")? == "echo";
    let speaker = if echo { Speaker::Business(Author::Person) } else { Speaker::Customer };
    let received: Micros = row.get("received_at")?;
    let position = Position(row.get("position")?, i64::from(echo), received.0);
    Ok(Some((position, Line { speaker, at: row.get("accepted_at")?, text })))
}

/// What was sent in an outbox row; `None` when it does not open, as with what was said.
fn sent_line(row: &Row, key: &Keyring) -> Result<Option<(Position, Line)>, StoreError> {
    let id = SendId::from_uuid(row.get("id")?);
    let Ok(text) = Store::open_send(key, id, &row.get::<Vec<u8>>("body")?) else { return Ok(None) };
    let position = Position(row.get("position")?, 2, row.get("ordinal")?);
    let line = Line { speaker: Speaker::Business(row.word("author")?), at: row.get("created_at")?, text };
    Ok(Some((position, line)))
}
