//! What a rehearsal reads: a dead letter's messages as a turn would find them, with nothing claimed and nothing
//! changed.

use super::dead::DeadLetter;
use super::sql::args;
use super::turn::content;
use super::{PaidAnswer, Store, StoreError, attempts};
use crate::domain::{ContactId, Content, ConversationId, EventId, Floor, Line, Micros, SourceName};
use crate::seal::Keyring;

/// A dead letter's place in its conversation, opened. Holds personal data.
#[derive(Clone)]
pub struct Scene {
    /// The conversation.
    pub conversation: ConversationId,
    /// The source it came in by.
    pub source: SourceName,
    /// Who holds the floor.
    pub floor: Floor,
    /// The language last replied in.
    pub locale: Option<String>,
    /// When the customer last wrote.
    pub last_inbound_at: Option<Micros>,
    /// When this was read, by the store's clock.
    pub at: Micros,
    /// What the letter is about, in ingress order.
    pub messages: Vec<SceneMessage>,
    key: Keyring,
}

/// One message behind a dead letter. Holds personal data.
#[derive(Clone)]
pub struct SceneMessage {
    /// The event.
    pub event_id: EventId,
    /// `dead`, or what it has come to since.
    pub state: String,
    /// When the ingress had it.
    pub received_at: Micros,
    /// What it said; `None` when it does not open.
    pub content: Option<Content>,
}

impl Store {
    /// A letter's scene; `None` for a letter without a conversation.
    ///
    /// # Errors
    /// [`StoreError::Erased`], [`StoreError::Unavailable`].
    pub async fn scene(&self, letter: &DeadLetter) -> Result<Option<Scene>, StoreError> {
        let Some(conversation) = letter.conversation else { return Ok(None) };
        let sql = "SELECT contact_id, source, floor, locale, last_inbound_at FROM conversation WHERE id = $1";
        let row = self.main.read_maybe(sql, args![conversation.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("conversation", conversation.to_string()))?;
        let key = self.contact_key(ContactId::from_uuid(row.get("contact_id")?)).await?;
        let sql = "SELECT id, state, received_at, body FROM inbox WHERE kind = 'message' \
                     AND (id = $1 OR turn_id = (SELECT turn_id FROM outbox WHERE id = $2)) \
                   ORDER BY received_at, instance, sequence";
        let values = args![letter.event_id.map(EventId::uuid), letter.send_id.map(crate::domain::SendId::uuid)];
        let mut messages = Vec::new();
        for row in self.main.read(sql, values).await? {
            let event_id = EventId::from_uuid(row.get("id")?);
            let (state, received_at) = (row.get("state")?, row.get("received_at")?);
            messages.push(SceneMessage { event_id, state, received_at, content: content(&row, &key, event_id)? });
        }
        let source: String = row.get("source")?;
        Ok(Some(Scene {
            conversation,
            source: SourceName::parse(&source).map_err(|error| StoreError::Broken(error.to_string()))?,
            floor: row.word("floor")?,
            locale: row.get("locale")?,
            last_inbound_at: row.get("last_inbound_at")?,
            at: self.main.now().await?,
            messages,
            key,
        }))
    }

    /// What was said before, as a turn's [`history`](Self::history).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn scene_history(&self, scene: &Scene, limit: usize) -> Result<Vec<Line>, StoreError> {
        let lines = self.lines(scene.conversation, &scene.key, limit, true).await?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The newest answer that was ever paid for in this conversation for exactly this prompt, by one of these models.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Sealed`].
    pub async fn scene_answer(
        &self,
        scene: &Scene,
        models: &[&str],
        prompt: &str,
    ) -> Result<Option<PaidAnswer>, StoreError> {
        let sql = "SELECT id, model, answer FROM attempt WHERE conversation_id = $1 AND prompt_hash = $2 \
                     AND state = 'answered' AND answer IS NOT NULL ORDER BY started_at DESC";
        for row in self.main.read(sql, args![scene.conversation.uuid(), prompt]).await? {
            if let Some(answer) = attempts::paid(&row, models, &scene.key)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}
