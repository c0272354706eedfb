//! Past turns, for judging them again: page by page in the order of their commits, each opened with its person's key
//! as it was, and nothing changed. However long a period is, one page of it is in memory.

use uuid::Uuid;

use super::sql::{Row, args};
use super::turn::{content, turn_context};
use super::{Store, StoreError, attempts};
use crate::domain::{AttemptId, ContactId, Content, ConversationId, EventId, Line, Micros, SourceName, TurnId};
use crate::seal::Keyring;

/// Which turns.
#[derive(Clone, Debug)]
pub struct Period {
    /// Committed at or after.
    pub since: Micros,
    /// Committed before.
    pub until: Micros,
    /// On this source only.
    pub source: Option<SourceName>,
}

/// A committed turn that has not been opened.
#[derive(Clone, Debug)]
pub struct PastTurn {
    /// The turn.
    pub id: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The source it came in by.
    pub source: String,
    /// Its number.
    pub position: i64,
    /// The policy's version then.
    pub policy: String,
    /// How it ended, in a word.
    pub outcome: String,
    /// Messages it took.
    pub messages: i64,
    /// When it committed.
    pub committed_at: Micros,
    contact: ContactId,
    trace: Vec<u8>,
}

/// What a turn was about, opened. Holds personal data.
#[derive(Clone)]
pub struct PastScene {
    /// Its messages, in ingress order.
    pub messages: Vec<PastMessage>,
    /// Its decision path: the JSON that the turn wrote.
    pub path: serde_json::Value,
    key: Keyring,
}

/// One message of a turn. Holds personal data.
#[derive(Clone)]
pub struct PastMessage {
    /// The event.
    pub event_id: EventId,
    /// How it has ended.
    pub state: String,
    /// What it said; `None` when it does not open.
    pub content: Option<Content>,
}

impl Store {
    /// How many turns a period has.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn past_turns_count(&self, period: &Period) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) AS turns FROM turn t JOIN conversation c ON c.id = t.conversation_id \
                   WHERE t.committed_at >= $1 AND t.committed_at < $2 AND ($3 IS NULL OR c.source = $3)";
        let source = period.source.as_ref().map(SourceName::as_str);
        self.main.read_one(sql, args![period.since, period.until, source]).await?.get("turns")
    }

    /// The next turns of a period after one that was given last, at most `limit`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn past_turns(
        &self,
        period: &Period,
        after: Option<&PastTurn>,
        limit: i64,
    ) -> Result<Vec<PastTurn>, StoreError> {
        let sql = "SELECT t.id AS id, t.conversation_id AS conversation_id, t.position AS position, t.policy AS policy, \
                     t.outcome AS outcome, t.messages AS messages, t.committed_at AS committed_at, t.trace AS trace, \
                     c.contact_id AS contact_id, c.source AS source \
                   FROM turn t JOIN conversation c ON c.id = t.conversation_id \
                   WHERE t.committed_at >= $1 AND t.committed_at < $2 AND ($3 IS NULL OR c.source = $3) \
                     AND (t.committed_at > $1 OR t.id > $4) ORDER BY t.committed_at, t.id LIMIT $5";
        // The first page begins before every id; a page's end is a moment and the last id within it.
        let (from, id) = after.map_or((period.since, Uuid::nil()), |last| (last.committed_at, last.id.uuid()));
        let source = period.source.as_ref().map(SourceName::as_str);
        let rows = self.main.read(sql, args![from, period.until, source, id, limit]).await?;
        rows.iter().map(past_turn).collect()
    }

    /// Opens a turn.
    ///
    /// # Errors
    /// [`StoreError::Erased`], [`StoreError::Sealed`]: it cannot be opened any more; [`StoreError::Unavailable`].
    pub async fn past_scene(&self, turn: &PastTurn) -> Result<PastScene, StoreError> {
        let key = self.contact_key(turn.contact).await?;
        let path = key.open(&turn_context(turn.id), &turn.trace)?;
        let sql = "SELECT id, state, body FROM inbox WHERE turn_id = $1 AND kind = 'message' \
                   ORDER BY received_at, instance, sequence";
        let mut messages = Vec::new();
        for row in self.main.read(sql, args![turn.id.uuid()]).await? {
            let event_id = EventId::from_uuid(row.get("id")?);
            messages.push(PastMessage { event_id, state: row.get("state")?, content: content(&row, &key, event_id)? });
        }
        Ok(PastScene { messages, path: serde_json::from_slice(&path).unwrap_or_default(), key })
    }

    /// What had been said before a turn, as its history was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Sealed`].
    pub async fn past_lines(&self, turn: &PastTurn, scene: &PastScene, limit: usize) -> Result<Vec<Line>, StoreError> {
        let lines = self.lines_before(turn.conversation, &scene.key, limit, (true, turn.position)).await?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The newest answer that a turn had from a model for a prompt; `None` if it is not kept.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Sealed`].
    pub async fn past_answer(
        &self,
        turn: &PastTurn,
        scene: &PastScene,
        (model, prompt): (&str, &str),
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT id, answer FROM attempt WHERE conversation_id = $1 AND prompt_hash = $2 AND model = $3 \
                     AND state = 'answered' AND answer IS NOT NULL AND started_at <= $4 ORDER BY started_at DESC LIMIT 1";
        let values = args![turn.conversation.uuid(), prompt, model, turn.committed_at];
        let Some(row) = self.main.read_maybe(sql, values).await? else { return Ok(None) };
        let id = AttemptId::from_uuid(row.get("id")?);
        let plain = scene.key.open(&attempts::context(id), &row.get::<Vec<u8>>("answer")?)?;
        Ok(String::from_utf8(plain).ok())
    }
}

fn past_turn(row: &Row) -> Result<PastTurn, StoreError> {
    Ok(PastTurn {
        id: TurnId::from_uuid(row.get("id")?),
        conversation: ConversationId::from_uuid(row.get("conversation_id")?),
        source: row.get("source")?,
        position: row.get("position")?,
        policy: row.get("policy")?,
        outcome: row.get("outcome")?,
        messages: row.get("messages")?,
        committed_at: row.get("committed_at")?,
        contact: ContactId::from_uuid(row.get("contact_id")?),
        trace: row.get("trace")?,
    })
}
