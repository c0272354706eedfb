//! Opening: what a letter is about, under whichever key it lies.

use super::super::intake::inbox_context;
use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::undeliverable::body_context;
use super::{DeadLetter, stored};
use crate::domain::{ContactId, DeadId, EventId, Inbound, SendId};
use crate::seal::Keyring;

/// What a letter is about, opened. Personal data.
pub enum DeadBody {
    /// An event: a message, or the bytes of a webhook that could not be read.
    Event(Box<Inbound>),
    /// A reply that was refused: its parts in order, and the messages that it answered.
    Send {
        /// What would have been said.
        parts: Vec<String>,
        /// What it answers.
        answers: Vec<Inbound>,
    },
    /// What the broker could not deliver: the bytes as they came.
    Envelope(Vec<u8>),
    /// Nothing: it came in without its body, or its person was erased.
    Nothing,
    /// It is there and does not open, which may be what its message died of; why, without a word of it.
    Closed(String),
}

impl Store {
    /// What a letter is about. One that does not open is a letter all the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn dead_body(&self, letter: &DeadLetter) -> Result<DeadBody, StoreError> {
        match self.opened(letter).await {
            Err(StoreError::Absent(..) | StoreError::Erased) => Ok(DeadBody::Nothing),
            Err(StoreError::Sealed(error)) => Ok(DeadBody::Closed(error.to_string())),
            Err(StoreError::Broken(why)) => Ok(DeadBody::Closed(why)),
            body => body,
        }
    }

    async fn opened(&self, letter: &DeadLetter) -> Result<DeadBody, StoreError> {
        let envelope = match (letter.stage.as_str(), letter.send_id) {
            ("intake", _) => self.envelope_of(letter.id).await?,
            ("send", Some(send)) => return self.refused_reply(letter, send).await,
            _ => None,
        };
        match envelope {
            Some(bytes) => Ok(DeadBody::Envelope(bytes)),
            None => self.dead_event(letter).await.map(|event| DeadBody::Event(Box::new(event))),
        }
    }

    /// The event behind a letter, opened.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Erased`], [`StoreError::Sealed`], [`StoreError::Unavailable`].
    pub async fn dead_event(&self, letter: &DeadLetter) -> Result<Inbound, StoreError> {
        let event = letter.event_id.ok_or_else(|| StoreError::Absent("event of dead letter", letter.id.to_string()))?;
        self.open_event(event).await
    }

    async fn open_event(&self, event: EventId) -> Result<Inbound, StoreError> {
        let row = self.main.read_maybe("SELECT body, contact_id FROM inbox WHERE id = $1", args![event.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("event", event.to_string()))?;
        let contact: Option<uuid::Uuid> = row.get("contact_id")?;
        let sealed: Vec<u8> = row.get::<Option<Vec<u8>>>("body")?.ok_or(StoreError::Erased)?;
        let plain = self.key_for(contact.map(ContactId::from_uuid)).await?.open(&inbox_context(event), &sealed)?;
        serde_json::from_slice(&plain).map_err(|_| StoreError::Broken(format!("event {event} has another shape")))
    }

    /// The key of what belongs to this person, or to nobody.
    pub(super) async fn key_for(&self, contact: Option<ContactId>) -> Result<Keyring, StoreError> {
        match contact {
            Some(contact) => self.contact_key(contact).await,
            None => Ok(self.wrapping.clone()),
        }
    }

    /// The bytes of what could not be taken in.
    pub(super) async fn envelope_of(&self, id: DeadId) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.main.read_maybe("SELECT body FROM dead WHERE id = $1", args![id.uuid()]).await?;
        let sealed = row.map(|row| row.get::<Option<Vec<u8>>>("body")).transpose()?.flatten();
        sealed.map(|sealed| Ok(self.wrapping.open(&body_context(id), &sealed)?)).transpose()
    }

    async fn refused_reply(&self, letter: &DeadLetter, send: SendId) -> Result<DeadBody, StoreError> {
        let key = self.key_for(letter.contact).await?;
        let mut tx = self.main.snapshot().await?;
        let parts = stored::refused_parts(&mut tx, send).await?;
        let parts = parts.iter().map(|part| Self::open_send(&key, part.id, &part.sealed)).collect::<Result<_, _>>()?;
        let events = dead_events(&mut tx, letter.event_id, Some(send)).await?;
        drop(tx);
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            answers.push(self.open_event(event).await?);
        }
        Ok(DeadBody::Send { parts, answers })
    }
}

/// The dead events behind a letter: its own, and all that its refused send had answered; in ingress order.
pub(super) async fn dead_events(
    tx: &mut Tx,
    event: Option<EventId>,
    send: Option<SendId>,
) -> Result<Vec<EventId>, StoreError> {
    let sql = "SELECT id FROM inbox WHERE state = 'dead' \
                 AND (id = $1 OR turn_id = (SELECT turn_id FROM outbox WHERE id = $2)) \
               ORDER BY received_at, instance, sequence";
    let rows = tx.all(sql, args![event.map(EventId::uuid), send.map(SendId::uuid)]).await?;
    rows.iter().map(|row| row.get("id").map(EventId::from_uuid)).collect()
}
