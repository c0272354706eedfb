//! Intake: one transaction that gives an event its place, exactly once.
//!
//! The unique event id makes a second arrival a duplicate, however it came about. A message is numbered by raising
//! its conversation's `tail` in the same transaction, so whoever releases a conversation and whoever adds to it meet
//! on one row, and no wake-up is lost.

use std::time::Duration;

use super::contacts::Person;
use super::sql::{Row as Found, Tx, args};
use super::{Store, StoreError};
use crate::domain::{ConversationId, DeadId, End, Event, Inbound, Kind, Micros, Party};
use crate::envelope::Header;
use crate::steps::{self, Step};

/// An event on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// What its envelope said.
    pub header: &'a Header,
    /// What it is.
    pub inbound: &'a Inbound,
    /// This build, for a dead letter.
    pub build: &'a str,
}

/// What intake made of it. In every case the delivery may be acked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// A message awaits its turn.
    Pending {
        /// Its conversation.
        conversation: ConversationId,
        /// After how long the burst counts as finished, unless more comes.
        settle_after: Duration,
    },
    /// Nothing to answer; the conversation to ring, if its floor or a send changed.
    Recorded {
        /// The conversation it touched.
        conversation: Option<ConversationId>,
    },
    /// Known already; its conversation is rung again, since the first ring may have been lost.
    Duplicate {
        /// The conversation it belongs to.
        conversation: Option<ConversationId>,
    },
    /// Kept as a dead letter.
    Dead {
        /// The dead letter.
        dead: DeadId,
    },
    /// Its person was erased; only the fact is kept.
    Erased,
    /// A tally was noted: nothing was accepted.
    Tallied,
}

/// A row of the inbox about to be inserted.
#[derive(Default)]
struct Row<'a> {
    person: Option<&'a Person>,
    conversation: Option<ConversationId>,
    seq: Option<i64>,
    position: Option<i64>,
    end: Option<End>,
    late: bool,
}

/// Of a message of the inbox: whether one that was received after it was answered before it.
macro_rules! overtaken {
    () => {
        "EXISTS (SELECT 1 FROM inbox e WHERE e.conversation_id = inbox.conversation_id AND e.kind = 'message' \
           AND (e.position < inbox.position OR (inbox.position IS NULL AND e.position IS NOT NULL)) \
           AND (e.received_at > inbox.received_at OR \
             (e.received_at = inbox.received_at AND e.instance = inbox.instance AND e.sequence > inbox.sequence)))"
    };
}

impl Store {
    /// Takes an event in. Idempotent: again is a duplicate.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing happened, try again. Anything else is for the dead queue.
    pub async fn admit(&self, admission: Admission<'_>) -> Result<Admitted, StoreError> {
        if let Event::Tally(tally) = &admission.inbound.event {
            return self.note_tally(admission.header, tally).await;
        }
        self.meet(admission.header.instance.uuid()).await?;
        if let Some(duplicate) = self.known_event(admission.header).await? {
            return Ok(duplicate);
        }
        let inbound = admission.inbound;
        let person = match &inbound.party {
            Some(party) => self.person(&party.address).await?,
            None => None,
        };
        let mut tx = self.main.begin().await?;
        let erased = match &person {
            Some(person) => person.is_erased(&mut tx).await?,
            None => inbound.party.is_some(),
        };
        if erased {
            let row = Row { end: Some(End::Erased), ..Row::default() };
            return self.finish(tx, admission, row, Admitted::Erased).await;
        }
        match (&inbound.event, &inbound.party, &person) {
            (Event::Message(_), Some(party), Some(person)) => self.admit_message(tx, admission, party, person).await,
            (Event::Echo(_), Some(party), Some(person)) => self.admit_echo(tx, admission, party, person).await,
            (Event::Status(update), ..) => {
                let conversation = self.apply_status(&mut tx, inbound, update).await?;
                let row = Row { person: person.as_ref(), conversation, end: Some(End::Recorded), ..Row::default() };
                self.finish(tx, admission, row, Admitted::Recorded { conversation }).await
            }
            (Event::Consent(consent), _, Some(person)) => {
                let sql = "INSERT INTO consent (event_id, contact_id, scope, given, at) VALUES ($1, $2, $3, $4, $5) \
                           ON CONFLICT DO NOTHING";
                let now = tx.now();
                let values = args![inbound.event_id.uuid(), person.id.uuid(), &consent.scope, consent.given, now];
                tx.run(sql, values).await?;
                if consent.scope == "all" {
                    let sql = "UPDATE contact SET opted_out = $2 WHERE id = $1";
                    tx.run(sql, args![person.id.uuid(), !consent.given]).await?;
                }
                let row = Row { person: Some(person), end: Some(End::Recorded), ..Row::default() };
                self.finish(tx, admission, row, Admitted::Recorded { conversation: None }).await
            }
            (Event::Unparsed { problem, .. }, ..) => self.admit_unparsed(tx, admission, problem).await,
            (Event::Record { .. } | Event::Message(_) | Event::Echo(_) | Event::Consent(_) | Event::Tally(_), ..) => {
                let row = Row { person: person.as_ref(), end: Some(End::Recorded), ..Row::default() };
                self.finish(tx, admission, row, Admitted::Recorded { conversation: None }).await
            }
        }
    }

    async fn admit_message(
        &self,
        mut tx: Tx,
        admission: Admission<'_>,
        party: &Party,
        person: &Person,
    ) -> Result<Admitted, StoreError> {
        let conversation = self.conversation(&mut tx, admission.inbound, party, person).await?;
        let opted_out: bool =
            tx.one("SELECT opted_out FROM contact WHERE id = $1", args![person.id.uuid()]).await?.get("opted_out")?;
        if opted_out {
            let end = Some(End::Recorded);
            let row = Row { person: Some(person), conversation: Some(conversation), end, ..Row::default() };
            return self.finish(tx, admission, row, Admitted::Recorded { conversation: None }).await;
        }
        // `done = tail` speaks of the row before this statement: nothing was pending, so a burst begins here.
        let sql = "UPDATE conversation SET tail = tail + 1, last_inbound_at = $2, \
                     waiting_since = CASE WHEN done = tail THEN $2 ELSE waiting_since END, \
                     settle_by = CASE WHEN done = tail THEN $4 ELSE settle_by END, \
                     settle_at = CASE WHEN done = tail OR settle_by > $3 THEN $3 ELSE settle_by END \
                   WHERE id = $1 RETURNING tail, settle_at";
        let now = tx.now();
        let (quiet, limit) = (now + self.timing.settle_quiet, now + self.timing.settle_max);
        let bumped = tx.one(sql, args![conversation.uuid(), now, quiet, limit]).await?;
        let late = is_late(&mut tx, conversation, admission.header).await?;
        let seq = Some(bumped.get("tail")?);
        let row = Row { person: Some(person), conversation: Some(conversation), seq, late, ..Row::default() };
        let settle_after = bumped.get::<Option<Micros>>("settle_at")?.unwrap_or(now).since(now);
        self.finish(tx, admission, row, Admitted::Pending { conversation, settle_after }).await
    }

    /// A person of the business wrote from elsewhere: the floor is theirs from this commit.
    async fn admit_echo(
        &self,
        mut tx: Tx,
        admission: Admission<'_>,
        party: &Party,
        person: &Person,
    ) -> Result<Admitted, StoreError> {
        let conversation = self.conversation(&mut tx, admission.inbound, party, person).await?;
        let position = self.give_floor_to_person(&mut tx, conversation, "echo", true).await?;
        let row = Row {
            person: Some(person),
            conversation: Some(conversation),
            position: Some(position),
            end: Some(End::Recorded),
            ..Row::default()
        };
        self.finish(tx, admission, row, Admitted::Recorded { conversation: Some(conversation) }).await
    }

    async fn admit_unparsed(
        &self,
        mut tx: Tx,
        admission: Admission<'_>,
        problem: &str,
    ) -> Result<Admitted, StoreError> {
        let dead = DeadId::random();
        let letter = super::dead::NewDead::unparsed(dead, admission, problem);
        let born = super::dead::Born { header: Some(admission.header), ..super::dead::Born::default() };
        super::dead::insert(&mut tx, &letter, born).await?;
        let row = Row { end: Some(End::Dead), ..Row::default() };
        self.finish(tx, admission, row, Admitted::Dead { dead }).await
    }

    /// Inserts the row and commits; an id that is there already undoes the whole transaction.
    async fn finish(
        &self,
        mut tx: Tx,
        admission: Admission<'_>,
        row: Row<'_>,
        admitted: Admitted,
    ) -> Result<Admitted, StoreError> {
        if self.insert(&mut tx, admission, &row).await? {
            steps::reached(Step::IntakeBeforeCommit);
            tx.commit().await?;
            return Ok(admitted);
        }
        tx.rollback().await?;
        let known = self.known_event(admission.header).await?;
        known.ok_or_else(|| StoreError::Unavailable("an event vanished while it was taken in".into()))
    }

    async fn insert(&self, tx: &mut Tx, admission: Admission<'_>, row: &Row<'_>) -> Result<bool, StoreError> {
        let Admission { header, inbound, .. } = admission;
        let body = match row.end {
            Some(End::Erased) => None,
            _ => Some(self.seal_inbound(inbound, row.person)?),
        };
        let sql = "INSERT INTO inbox (id, source, kind, contact_id, conversation_id, seq, first_seq, position, state, \
                     received_at, instance, sequence, previous, accepted_at, ended_at, said_at, late, trace, secret, body) \
                   VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
                   ON CONFLICT (id) DO NOTHING";
        let now = tx.now();
        let trace = header.trace.to_string();
        let values = args![
            inbound.event_id.uuid(),
            header.source.as_str(),
            inbound.event.kind().as_str(),
            row.person.map(|person| person.id.uuid()),
            row.conversation.map(ConversationId::uuid),
            row.seq,
            row.position,
            row.end.map_or("pending", End::as_str),
            header.received_at,
            header.instance.uuid(),
            header.sequence,
            header.previous.map(crate::domain::EventId::uuid),
            now,
            row.end.map(|_| now),
            inbound.said_at,
            row.late,
            trace.as_str(),
            header.secret.as_str(),
            body.as_deref(),
        ];
        Ok(tx.run(sql, values).await? == 1)
    }

    /// Seals an event for the inbox: under its person's key, or under the deployment's where there is no person.
    fn seal_inbound(&self, inbound: &Inbound, person: Option<&Person>) -> Result<Vec<u8>, StoreError> {
        let plain = serde_json::to_vec(inbound).map_err(|error| StoreError::Broken(error.to_string()))?;
        let key = person.map_or(&self.wrapping, |person| &person.key);
        Ok(key.seal(&inbox_context(inbound.event_id), &plain))
    }

    async fn known_event(&self, header: &Header) -> Result<Option<Admitted>, StoreError> {
        let sql = "SELECT conversation_id, instance, sequence, received_at FROM inbox WHERE id = $1";
        let Some(row) = self.main.read_maybe(sql, args![header.event_id.uuid()]).await? else { return Ok(None) };
        let conversation = row.get::<Option<uuid::Uuid>>("conversation_id")?.map(ConversationId::from_uuid);
        let (known, copy) = (Stand::read(&row)?, Stand::of(header));
        if (known.instance, known.sequence) != (copy.instance, copy.sequence) {
            let mut tx = self.main.begin().await?;
            // A stand only ever moves forward: what is not before it now never will be.
            let twin = match conversation {
                Some(conversation) if copy.is_before(known) => stand_first(&mut tx, conversation, header).await?,
                _ => copy,
            };
            let sql = "INSERT INTO duplicate (instance, sequence, event_id, seen_at) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT DO NOTHING";
            let now = tx.now();
            tx.run(sql, args![twin.instance, twin.sequence, header.event_id.uuid(), now]).await?;
            tx.commit().await?;
        }
        Ok(Some(Admitted::Duplicate { conversation }))
    }

    pub(super) async fn conversation(
        &self,
        tx: &mut Tx,
        inbound: &Inbound,
        party: &Party,
        person: &Person,
    ) -> Result<ConversationId, StoreError> {
        let find = "SELECT id FROM conversation WHERE source = $1 AND account = $2 AND contact_id = $3";
        let key = args![inbound.source.as_str(), &party.account, person.id.uuid()];
        if let Some(row) = tx.maybe(find, key).await? {
            return Ok(ConversationId::from_uuid(row.get("id")?));
        }
        let id = ConversationId::random();
        let plain = serde_json::to_vec(party).map_err(|error| StoreError::Broken(error.to_string()))?;
        let sealed = person.key.seal(&party_context(id), &plain);
        let sql = "INSERT INTO conversation (id, source, provider, account, contact_id, party, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let now = tx.now();
        let (source, provider) = (inbound.source.as_str(), inbound.provider.as_str());
        tx.run(sql, args![id.uuid(), source, provider, &party.account, person.id.uuid(), &sealed, now]).await?;
        Ok(ConversationId::from_uuid(tx.one(find, key).await?.get("id")?))
    }
}

/// Where a copy of an event stands among all that the ingresses received.
#[derive(Clone, Copy)]
struct Stand {
    received_at: Micros,
    instance: uuid::Uuid,
    sequence: i64,
}

impl Stand {
    fn of(header: &Header) -> Self {
        Self { received_at: header.received_at, instance: header.instance.uuid(), sequence: header.sequence }
    }

    fn read(row: &Found) -> Result<Self, StoreError> {
        Ok(Self {
            received_at: row.get("received_at")?,
            instance: row.get("instance")?,
            sequence: row.get("sequence")?,
        })
    }

    /// What two ingresses received in the same microsecond has no order.
    fn is_before(self, other: Self) -> bool {
        self.received_at < other.received_at
            || (self.received_at == other.received_at
                && self.instance == other.instance
                && self.sequence < other.sequence)
    }
}

/// A message stands where the copy stood that an ingress received first, in whatever order its copies come in, and even
/// when it is over. Where it moves past others, what is late is told anew: it is, if one of them was answered before
/// it; and one of them no longer is, if only this message was answered before that. Returns the copy that is now the
/// duplicate.
async fn stand_first(tx: &mut Tx, conversation: ConversationId, header: &Header) -> Result<Stand, StoreError> {
    // In line with every commit, as intake is, or neither would see that the other lets a message be overtaken.
    tx.run("UPDATE conversation SET tail = tail WHERE id = $1", args![conversation.uuid()]).await?;
    let id = header.event_id.uuid();
    let row = tx.one("SELECT kind, received_at, instance, sequence FROM inbox WHERE id = $1", args![id]).await?;
    let (known, copy) = (Stand::read(&row)?, Stand::of(header));
    if row.get::<String>("kind")? != Kind::Message.as_str() || !copy.is_before(known) {
        return Ok(copy);
    }
    let moved = "UPDATE inbox SET received_at = $2, instance = $3, sequence = $4, previous = $5 WHERE id = $1";
    let previous = header.previous.map(crate::domain::EventId::uuid);
    tx.run(moved, args![id, copy.received_at, copy.instance, copy.sequence, previous]).await?;
    let late = concat!("UPDATE inbox SET late = TRUE WHERE id = $1 AND NOT late AND ", overtaken!());
    tx.run(late, args![id]).await?;
    let no_longer = concat!(
        "UPDATE inbox SET late = FALSE WHERE conversation_id = $1 AND id <> $2 AND late AND kind = 'message' \
           AND received_at >= $3 AND received_at <= $4 AND NOT ",
        overtaken!()
    );
    tx.run(no_longer, args![conversation.uuid(), id, copy.received_at, known.received_at]).await?;
    Ok(known)
}

/// Whether something that the ingress received after this message has already been answered.
async fn is_late(tx: &mut Tx, conversation: ConversationId, header: &Header) -> Result<bool, StoreError> {
    let sql = "SELECT 1 AS found FROM inbox WHERE conversation_id = $1 AND kind = 'message' AND position IS NOT NULL \
               AND (received_at > $2 OR (received_at = $2 AND instance = $3 AND sequence > $4)) LIMIT 1";
    let values = args![conversation.uuid(), header.received_at, header.instance.uuid(), header.sequence];
    Ok(tx.maybe(sql, values).await?.is_some())
}

pub(super) fn inbox_context(event: crate::domain::EventId) -> Vec<u8> {
    format!("inbox/{event}").into_bytes()
}

pub(super) fn party_context(conversation: ConversationId) -> Vec<u8> {
    format!("party/{conversation}").into_bytes()
}

/// A party as it was sealed. Nothing of it goes into the error: it is an address.
pub(super) fn party_of(plain: &[u8]) -> Result<Party, StoreError> {
    serde_json::from_slice(plain).map_err(|_| StoreError::Broken("a party of another shape".to_owned()))
}

impl Admitted {
    /// A constant word for metrics and logs.
    #[must_use]
    pub const fn word(&self, kind: Kind) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Recorded { .. } => kind.as_str(),
            Self::Duplicate { .. } => "duplicate",
            Self::Dead { .. } => "dead",
            Self::Erased => "erased",
            Self::Tallied => "tally",
        }
    }
}
