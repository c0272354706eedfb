//! Outbox rows: what a commit queues, one row per part, numbered within the conversation.

use super::sql::{Tx, args};
use super::{Store, StoreError};
use crate::domain::{Author, ContactId, ConversationId, DeadId, SendId, TurnId};
use crate::seal::Keyring;

/// One part of a reply about to be queued. A worker makes these from approved text only.
#[derive(Clone)]
pub struct NewSend {
    /// Its id, which the provider will see.
    pub id: SendId,
    /// Who wrote it.
    pub author: Author,
    /// The person's name for the audit, when a person wrote it.
    pub person: Option<String>,
    /// Why it is sent: `reply`, or the policy's word for its text (`blocked`, `handed_off`, `holding`, …).
    pub purpose: &'static str,
    /// What to say.
    pub text: String,
    /// The language it is in.
    pub locale: String,
    /// Which part of how many, from 1.
    pub part: (i64, i64),
    /// The trace it belongs to.
    pub trace: String,
}

/// Where a new send stands in its conversation.
pub(super) struct Place<'a> {
    pub(super) conversation: ConversationId,
    pub(super) contact: ContactId,
    pub(super) source: &'a str,
    pub(super) turn: Option<TurnId>,
    pub(super) ordinal: i64,
    pub(super) position: i64,
    pub(super) epoch: i64,
    /// The letter whose replay it ends.
    pub(super) dead: Option<DeadId>,
}

pub(super) async fn insert(tx: &mut Tx, key: &Keyring, place: &Place<'_>, send: &NewSend) -> Result<(), StoreError> {
    let sql = "INSERT INTO outbox (id, conversation_id, contact_id, source, turn_id, ordinal, position, part, parts, \
                 author, person, purpose, locale, epoch, state, body, created_at, trace, dead_id) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'queued', $15, $16, $17, $18)";
    let sealed = key.seal(&context(send.id), send.text.as_bytes());
    let now = tx.now();
    let values = args![
        send.id.uuid(),
        place.conversation.uuid(),
        place.contact.uuid(),
        place.source,
        place.turn.map(TurnId::uuid),
        place.ordinal,
        place.position,
        send.part.0,
        send.part.1,
        send.author.as_str(),
        send.person.as_deref(),
        send.purpose,
        &send.locale,
        place.epoch,
        &sealed,
        now,
        &send.trace,
        place.dead.map(DeadId::uuid),
    ];
    tx.run(sql, values).await.map(drop)
}

pub(super) fn context(id: SendId) -> Vec<u8> {
    format!("outbox/{id}").into_bytes()
}

impl Store {
    /// Opens a send's text.
    pub(super) fn open_send(key: &Keyring, id: SendId, sealed: &[u8]) -> Result<String, StoreError> {
        let plain = key.open(&context(id), sealed)?;
        String::from_utf8(plain).map_err(|_| StoreError::Broken(format!("send {id} is not text")))
    }
}
