//! Reading for people: conversations as the operator's command shows them.

use serde::Serialize;

use super::intake::{party_context, party_of};
use super::sql::{Row, args};
use super::{Store, StoreError};
use crate::domain::{
    ConversationId, DeadId, EventId, Floor, HandoffId, Line, Micros, Party, Priority, SendId, Sla, Status, TurnId,
};

/// A conversation in a list. Names nobody.
#[derive(Clone, Debug, Serialize)]
pub struct ConversationSummary {
    /// Its id.
    pub id: ConversationId,
    /// The source.
    pub source: String,
    /// Who holds the floor.
    pub floor: Floor,
    /// Who took it, or asked for it.
    pub floor_by: Option<String>,
    /// Since when people have had it, or been called: renewed by each of their acts.
    pub floor_since: Option<Micros>,
    /// When they last gave it back to the assistant.
    pub returned_at: Option<Micros>,
    /// Whom it was called for, while it is not the assistant's.
    pub handoff: Option<CalledHandoff>,
    /// Messages that await their turn.
    pub pending: i64,
    /// Messages ended so far.
    pub ended: i64,
    /// Since when the oldest waits.
    pub waiting_since: Option<Micros>,
    /// When the customer last wrote.
    pub last_inbound_at: Option<Micros>,
    /// When the next try is due, in a backoff.
    pub next_at: Option<Micros>,
    /// Whether what is pending waits until a person has dealt with a dead letter.
    pub held: bool,
    /// That dead letter.
    pub held_by: Option<DeadId>,
}

/// The open handoff of a conversation in a list. Names no customer.
#[derive(Clone, Debug, Serialize)]
pub struct CalledHandoff {
    /// Its id.
    pub id: HandoffId,
    /// The rule that called.
    pub rule: String,
    /// The team called.
    pub team: Option<String>,
    /// How soon.
    pub priority: Priority,
    /// When it began.
    pub opened_at: Micros,
    /// By when the first answer is due.
    pub due_at: Option<Micros>,
    /// Where that time stands.
    pub sla: Sla,
    /// Whether it is unanswered and late.
    pub overdue: bool,
    /// Notices that arrived.
    pub notices_accepted: i64,
    /// Notices under way.
    pub notices_open: i64,
    /// Notices that did not arrive, for all we know.
    pub notices_failed: i64,
}

/// An event of a conversation. Names nobody.
#[derive(Clone, Debug, Serialize)]
pub struct InboxView {
    /// The event.
    pub id: EventId,
    /// Its kind.
    pub kind: String,
    /// `pending` or its end.
    pub state: String,
    /// Why it ended so.
    pub reason: Option<String>,
    /// When the ingress had it.
    pub received_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Its turn.
    pub turn: Option<TurnId>,
    /// Whether it came in late.
    pub late: bool,
}

/// A send of a conversation.
#[derive(Clone, Debug, Serialize)]
pub struct OutboxView {
    /// The send.
    pub id: SendId,
    /// Its state.
    pub state: String,
    /// Who wrote it.
    pub author: String,
    /// Why it was sent.
    pub purpose: String,
    /// Which part of how many.
    pub part: (i64, i64),
    /// Tries so far.
    pub attempts: i64,
    /// The provider's last word on it.
    pub status: Option<Status>,
    /// The last error.
    pub error: Option<String>,
    /// When it was committed.
    pub created_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Its turn.
    pub turn: Option<TurnId>,
}

/// A turn of a conversation.
#[derive(Clone, Debug, Serialize)]
pub struct TurnView {
    /// The turn.
    pub id: TurnId,
    /// Its number.
    pub position: i64,
    /// How it ended.
    pub outcome: String,
    /// Messages it took.
    pub messages: i64,
    /// The policy's version.
    pub policy: String,
    /// The model asked.
    pub model: Option<String>,
    /// When it began.
    pub started_at: Micros,
    /// When it committed.
    pub committed_at: Micros,
    /// Its decision path: the JSON that the turn wrote.
    pub path: serde_json::Value,
}

/// One conversation with everything in it.
#[derive(Clone, Debug)]
pub struct ConversationView {
    /// Its summary.
    pub summary: ConversationSummary,
    /// Who it is with; personal data.
    pub party: Party,
    /// What was said, in turn order; personal data.
    pub lines: Vec<Line>,
    /// Its events.
    pub inbox: Vec<InboxView>,
    /// Its sends.
    pub outbox: Vec<OutboxView>,
    /// Its turns.
    pub turns: Vec<TurnView>,
}

macro_rules! select_conversations {
    ($tail:literal) => {
        concat!(
            "SELECT c.id, c.source, c.floor, c.floor_by, c.floor_since, c.returned_at, c.tail, c.done, c.waiting_since, \
               c.last_inbound_at, c.next_at, c.held, c.held_by, c.contact_id, c.party, h.id AS handoff_id, h.rule, h.team, \
               h.priority, h.opened_at, h.due_at, h.sla, h.first_answer_at, \
               (SELECT count(*) FROM notice n WHERE n.handoff_id = h.id AND n.state = 'accepted') AS notices_accepted, \
               (SELECT count(*) FROM notice n WHERE n.handoff_id = h.id AND n.state IN ('queued', 'sending')) \
                 AS notices_open, \
               (SELECT count(*) FROM notice n WHERE n.handoff_id = h.id AND n.state IN ('refused', 'unknown')) \
                 AS notices_failed \
             FROM conversation c LEFT JOIN handoff h ON h.conversation_id = c.id AND h.closed_at IS NULL ",
            $tail
        )
    };
}

impl Store {
    /// Conversations: those whose customers wait for a first answer that is overdue, then the most recently written-to.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn conversations(
        &self,
        floor: Option<Floor>,
        limit: i64,
    ) -> Result<Vec<ConversationSummary>, StoreError> {
        let sql = select_conversations!(
            "WHERE ($1 IS NULL OR c.floor = $1) \
             ORDER BY CASE WHEN h.due_at < $3 AND h.first_answer_at IS NULL THEN 0 ELSE 1 END, \
               CASE WHEN h.due_at < $3 AND h.first_answer_at IS NULL THEN h.due_at END, \
               c.last_inbound_at DESC, c.id LIMIT $2"
        );
        let now = self.main.now().await?;
        let rows = self.main.read(sql, args![floor.map(Floor::as_str), limit, now]).await?;
        rows.iter().map(|row| summary(row, now)).collect()
    }

    /// One conversation, opened. `lines` at most.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Erased`], [`StoreError::Unavailable`].
    pub async fn conversation_view(&self, id: ConversationId, lines: usize) -> Result<ConversationView, StoreError> {
        let row = self.main.read_maybe(select_conversations!("WHERE c.id = $1"), args![id.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("conversation", id.to_string()))?;
        let key = self.contact_key(crate::domain::ContactId::from_uuid(row.get("contact_id")?)).await?;
        let party = key.open(&party_context(id), &row.get::<Vec<u8>>("party")?)?;
        let mut said = self.lines(id, &key, lines, false).await?;
        said.extend(self.stretches(id, i64::try_from(lines).unwrap_or(i64::MAX)).await?);
        said.sort_by_key(|(position, _)| *position);
        Ok(ConversationView {
            summary: summary(&row, self.main.now().await?)?,
            party: party_of(&party)?,
            lines: said.into_iter().map(|(_, line)| line).collect(),
            inbox: self.inbox_of(id).await?,
            outbox: self.outbox_of(id).await?,
            turns: self.turns_of(id, &key).await?,
        })
    }

    /// Where one event stands, and in which conversation.
    ///
    /// # Errors
    /// [`StoreError::Absent`] until it has been taken in; [`StoreError::Unavailable`].
    pub async fn event(&self, id: EventId) -> Result<(InboxView, Option<ConversationId>), StoreError> {
        let sql = "SELECT id, kind, state, reason, received_at, ended_at, turn_id, late, conversation_id FROM inbox \
                   WHERE id = $1";
        let row = self.main.read_maybe(sql, args![id.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("event", id.to_string()))?;
        let conversation: Option<uuid::Uuid> = row.get("conversation_id")?;
        Ok((inbox_view(&row)?, conversation.map(ConversationId::from_uuid)))
    }

    /// A conversation's events, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn inbox_of(&self, id: ConversationId) -> Result<Vec<InboxView>, StoreError> {
        let sql = "SELECT id, kind, state, reason, received_at, ended_at, turn_id, late FROM inbox \
                   WHERE conversation_id = $1 ORDER BY received_at, instance, sequence";
        self.main.read(sql, args![id.uuid()]).await?.iter().map(inbox_view).collect()
    }

    /// A conversation's sends, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn outbox_of(&self, id: ConversationId) -> Result<Vec<OutboxView>, StoreError> {
        let sql = "SELECT id, state, author, purpose, part, parts, attempts, status, error, created_at, ended_at, turn_id \
                   FROM outbox WHERE conversation_id = $1 ORDER BY ordinal";
        self.main.read(sql, args![id.uuid()]).await?.iter().map(outbox_view).collect()
    }

    async fn turns_of(&self, id: ConversationId, key: &crate::seal::Keyring) -> Result<Vec<TurnView>, StoreError> {
        let sql = "SELECT id, position, outcome, messages, policy, model, started_at, committed_at, trace FROM turn \
                   WHERE conversation_id = $1 ORDER BY position";
        let rows = self.main.read(sql, args![id.uuid()]).await?;
        rows.iter().map(|row| turn_view(row, key)).collect()
    }
}

fn summary(row: &Row, now: Micros) -> Result<ConversationSummary, StoreError> {
    let (tail, done): (i64, i64) = (row.get("tail")?, row.get("done")?);
    Ok(ConversationSummary {
        id: ConversationId::from_uuid(row.get("id")?),
        source: row.get("source")?,
        floor: row.word("floor")?,
        floor_by: row.get("floor_by")?,
        floor_since: row.get("floor_since")?,
        returned_at: row.get("returned_at")?,
        handoff: called(row, now)?,
        pending: tail - done,
        ended: done,
        waiting_since: row.get("waiting_since")?,
        last_inbound_at: row.get("last_inbound_at")?,
        next_at: row.get("next_at")?,
        held: row.get("held")?,
        held_by: row.get::<Option<uuid::Uuid>>("held_by")?.map(DeadId::from_uuid),
    })
}

fn called(row: &Row, now: Micros) -> Result<Option<CalledHandoff>, StoreError> {
    let Some(id) = row.get::<Option<uuid::Uuid>>("handoff_id")? else { return Ok(None) };
    let due_at: Option<Micros> = row.get("due_at")?;
    let answered = row.get::<Option<Micros>>("first_answer_at")?.is_some();
    Ok(Some(CalledHandoff {
        id: HandoffId::from_uuid(id),
        rule: row.get("rule")?,
        team: row.get("team")?,
        priority: row.word("priority")?,
        opened_at: row.get("opened_at")?,
        due_at,
        sla: row.word("sla")?,
        overdue: !answered && due_at.is_some_and(|due| due < now),
        notices_accepted: row.get("notices_accepted")?,
        notices_open: row.get("notices_open")?,
        notices_failed: row.get("notices_failed")?,
    }))
}

fn inbox_view(row: &Row) -> Result<InboxView, StoreError> {
    Ok(InboxView {
        id: EventId::from_uuid(row.get("id")?),
        kind: row.get("kind")?,
        state: row.get("state")?,
        reason: row.get("reason")?,
        received_at: row.get("received_at")?,
        ended_at: row.get("ended_at")?,
        turn: row.get::<Option<uuid::Uuid>>("turn_id")?.map(TurnId::from_uuid),
        late: row.get("late")?,
    })
}

fn outbox_view(row: &Row) -> Result<OutboxView, StoreError> {
    Ok(OutboxView {
        id: SendId::from_uuid(row.get("id")?),
        state: row.get("state")?,
        author: row.get("author")?,
        purpose: row.get("purpose")?,
        part: (row.get("part")?, row.get("parts")?),
        attempts: row.get("attempts")?,
        status: Status::from_rank(row.get("status")?),
        error: row.get("error")?,
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
        turn: row.get::<Option<uuid::Uuid>>("turn_id")?.map(TurnId::from_uuid),
    })
}

fn turn_view(row: &Row, key: &crate::seal::Keyring) -> Result<TurnView, StoreError> {
    let id = TurnId::from_uuid(row.get("id")?);
    let plain = key.open(&super::turn::turn_context(id), &row.get::<Vec<u8>>("trace")?)?;
    Ok(TurnView {
        id,
        position: row.get("position")?,
        outcome: row.get("outcome")?,
        messages: row.get("messages")?,
        policy: row.get("policy")?,
        model: row.get("model")?,
        started_at: row.get("started_at")?,
        committed_at: row.get("committed_at")?,
        path: serde_json::from_slice(&plain).unwrap_or_default(),
    })
}
