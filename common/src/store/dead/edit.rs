//! Editing: a letter is never changed. Its edited form is an event and a letter of its own with a link back, and the
//! original is closed only when a worker has answered the edited one.

use serde::{Deserialize, Serialize};

use super::super::intake::inbox_context;
use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::DeadLetter;
use super::body::dead_events;
use super::dispatch::fetch;
use super::record::add_cause;
use crate::domain::{Content, DeadId, DeadState, Event, EventId, Identity, Inbound, Micros, SourceName};

/// The tag of an edited letter.
const EDITED: &str = "edited";
/// The longest text that a message may have, in characters.
const MOST_TEXT: usize = 32_768;
/// The largest webhook that can be read again, in bytes.
const MOST_RAW: usize = 1024 * 1024;

/// What a person wants a letter to say.
pub enum DeadEdit {
    /// The message's text.
    Text(String),
    /// The bytes of a webhook that could not be read.
    Raw(Vec<u8>),
    /// The whole event; only what it says may differ.
    Event(Box<Inbound>),
}

/// Why a letter was not edited. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum EditRefused {
    /// It is not open.
    #[error("dead letter {0} is {1}: only an open one can be edited")]
    NotOpen(DeadId, DeadState),
    /// An edit of it is waiting already.
    #[error("dead letter {0} has been edited as {1}: replay, edit or discard that one")]
    Edited(DeadId, DeadId),
    /// A replay holds it.
    #[error("dead letter {0} is part of a replay: let it end, or cancel it")]
    Held(DeadId),
    /// It has nothing that could be edited.
    #[error("dead letter {0} cannot be edited: {1}")]
    NotEditable(DeadId, &'static str),
    /// The edited form is no event of ours.
    #[error("the edited letter is not valid: {0}")]
    Schema(String),
    /// It says what it said.
    #[error("the edited letter says what dead letter {0} says: nothing to do")]
    Unchanged(DeadId),
    /// Nobody said why.
    #[error("an edit needs a reason: say why")]
    NoReason,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One part of an event that an edit changed. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which part: a JSON pointer into the event.
    pub part: String,
    /// What it was.
    pub before: serde_json::Value,
    /// What it is.
    pub after: serde_json::Value,
}

/// An edit, opened. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct DeadDiff {
    /// The letter that was edited.
    pub from: DeadId,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Micros,
    /// What.
    pub changes: Vec<Change>,
}

impl Store {
    /// Makes a new letter that says something else, and a new event behind it. The original stays open until the new
    /// one has been answered.
    ///
    /// # Errors
    /// [`EditRefused`]; nothing changed.
    pub async fn edit_dead(&self, id: DeadId, edit: DeadEdit, who: &str, why: &str) -> Result<DeadId, EditRefused> {
        if why.trim().is_empty() {
            return Err(EditRefused::NoReason);
        }
        let letter = self.dead_letter(id).await?;
        let original = match self.dead_event(&letter).await {
            Err(StoreError::Absent(..)) => return Err(EditRefused::NotEditable(id, "it has no event of its own")),
            original => original?,
        };
        let event = edited(&original, edit)?;
        if event == original.event {
            return Err(EditRefused::Unchanged(id));
        }
        let new = DeadId::random();
        let source = SourceName::parse(&letter.source).map_err(|error| StoreError::Broken(error.to_string()))?;
        let identity = Identity { kind: "edit", id: new.to_string(), status: None };
        let inbound = Inbound { event_id: EventId::derive(&source, &identity), event, ..original.clone() };
        let mut tx = self.main.begin().await?;
        may_edit(&mut tx, &letter).await?;
        let key = self.key_for(letter.contact).await?;
        let body = key.seal(&inbox_context(inbound.event_id), &json(&inbound)?);
        insert_event(&mut tx, original.event_id, inbound.event_id, &body).await?;
        insert_letter(&mut tx, &letter, new, inbound.event_id).await?;
        let diff = key.seal(&diff_context(new), &json(&changes(&original, &inbound)?)?);
        let sql = "INSERT INTO dead_edit (dead_id, edited_from, who, why, at, diff) VALUES ($1, $2, $3, $4, $5, $6)";
        let now = tx.now();
        tx.run(sql, args![new.uuid(), id.uuid(), who, why, now, &diff]).await?;
        super::super::floor::audit(&mut tx, who, "dead.edit", &format!("{id} as {new}"), Some(why)).await?;
        tx.commit().await?;
        Ok(new)
    }

    /// What an edited letter changed; `None` when it is no edit.
    ///
    /// # Errors
    /// [`StoreError::Erased`], [`StoreError::Sealed`], [`StoreError::Unavailable`].
    pub async fn dead_diff(&self, id: DeadId) -> Result<Option<DeadDiff>, StoreError> {
        let sql = "SELECT edited_from, who, why, at, diff FROM dead_edit WHERE dead_id = $1";
        let Some(row) = self.main.read_maybe(sql, args![id.uuid()]).await? else { return Ok(None) };
        let key = self.key_for(self.dead_letter(id).await?.contact).await?;
        let plain = key.open(&diff_context(id), &row.get::<Vec<u8>>("diff")?)?;
        Ok(Some(DeadDiff {
            from: DeadId::from_uuid(row.get("edited_from")?),
            who: row.get("who")?,
            why: row.get("why")?,
            at: row.get("at")?,
            changes: serde_json::from_slice(&plain).map_err(|error| StoreError::Broken(error.to_string()))?,
        }))
    }
}

/// The event that an edit makes of the original, if it is one of ours: who and where stay as they are.
fn edited(original: &Inbound, edit: DeadEdit) -> Result<Event, EditRefused> {
    let schema = |text: &str| Err(EditRefused::Schema(text.to_owned()));
    let event = match (edit, &original.event) {
        (DeadEdit::Text(text), Event::Message(_)) => Event::Message(Content::Text(text)),
        (DeadEdit::Text(_), _) => return schema("only a message has a text"),
        (DeadEdit::Raw(raw), Event::Unparsed { problem, .. }) => Event::Unparsed { problem: problem.clone(), raw },
        (DeadEdit::Raw(_), _) => return schema("only a webhook that could not be read has bytes to edit"),
        (DeadEdit::Event(event), _) => {
            let who = |inbound: &Inbound| (inbound.source.clone(), inbound.provider, inbound.party.clone());
            if who(&event) != who(original) {
                return schema("its source, provider and people cannot be edited");
            }
            if event.provider_id != original.provider_id || event.said_at != original.said_at {
                return schema("the provider's id and time of it cannot be edited");
            }
            if event.event.kind() != original.event.kind() {
                return schema(&format!("it is a {} and stays one", original.event.kind()));
            }
            event.event
        }
    };
    match &event {
        Event::Message(Content::Text(text)) if text.trim().is_empty() => schema("its text is empty"),
        Event::Message(Content::Text(text)) if text.chars().count() > MOST_TEXT => {
            schema(&format!("its text is longer than {MOST_TEXT} characters"))
        }
        Event::Message(Content::Text(text)) if text.contains('\0') => schema("its text holds a NUL"),
        Event::Unparsed { raw, .. } if raw.is_empty() => schema("it has no bytes"),
        Event::Unparsed { raw, .. } if raw.len() > MOST_RAW => schema(&format!("it is larger than {MOST_RAW} bytes")),
        Event::Message(_) | Event::Unparsed { .. } => Ok(event),
        Event::Status(_) | Event::Echo(_) | Event::Consent(_) | Event::Record { .. } | Event::Tally(_) => {
            schema("only messages and webhooks that could not be read can be edited")
        }
    }
}

/// Asked in the transaction that edits, with the letter's row locked.
async fn may_edit(tx: &mut Tx, letter: &DeadLetter) -> Result<(), EditRefused> {
    let (id, now) = (letter.id, tx.now());
    let sql = "UPDATE dead SET updated_at = $2 WHERE id = $1 AND state = 'open'";
    if tx.run(sql, args![id.uuid(), now]).await? != 1 {
        return Err(EditRefused::NotOpen(id, fetch(tx, id).await?.state));
    }
    if fetch(tx, id).await?.replay.is_some() {
        return Err(EditRefused::Held(id));
    }
    let sql = "SELECT id FROM dead WHERE edited_from = $1 AND state <> 'discarded' LIMIT 1";
    if let Some(row) = tx.maybe(sql, args![id.uuid()]).await? {
        return Err(EditRefused::Edited(id, DeadId::from_uuid(row.get("id")?)));
    }
    match dead_events(tx, letter.event_id, letter.send_id).await?.len() {
        0 => Err(EditRefused::NotEditable(id, "its message has ended meanwhile")),
        1 => Ok(()),
        _ => Err(EditRefused::NotEditable(id, "its reply answered several messages, which belong together")),
    }
}

/// An event of its own in the original's place: the same first place, the same number of the same ingress.
async fn insert_event(tx: &mut Tx, original: EventId, new: EventId, body: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO inbox (id, source, kind, contact_id, conversation_id, seq, first_seq, position, state, \
                 reason, received_at, instance, sequence, previous, accepted_at, ended_at, said_at, late, trace, \
                 secret, body) \
               SELECT $2, source, kind, contact_id, conversation_id, seq, first_seq, NULL, 'dead', 'edited', \
                 received_at, instance, sequence, NULL, $3, $3, said_at, late, trace, secret, $4 \
               FROM inbox WHERE id = $1";
    let now = tx.now();
    tx.run(sql, args![original.uuid(), new.uuid(), now, body]).await.map(drop)
}

async fn insert_letter(tx: &mut Tx, letter: &DeadLetter, new: DeadId, event: EventId) -> Result<(), StoreError> {
    let mut tags = letter.tags.clone();
    if !tags.iter().any(|tag| tag == EDITED) {
        tags.push(EDITED.to_owned());
    }
    let tags = tags.join(" ");
    let cause = format!("{} {} {tags}", letter.fingerprint, letter.source);
    let sql = "INSERT INTO dead (id, event_id, conversation_id, contact_id, source, stage, class, error, fingerprint, \
                 attempts, policy, build, state, created_at, updated_at, cause, tags, edited_from, place, received_at, \
                 instance, sequence) \
               SELECT $2, $3, conversation_id, contact_id, source, stage, class, error, fingerprint, 0, policy, $4, \
                 'open', $5, $5, $6, $7, id, place, received_at, instance, sequence FROM dead WHERE id = $1";
    let now = tx.now();
    let values = args![letter.id.uuid(), new.uuid(), event.uuid(), crate::build(), now, &cause, &tags];
    tx.run(sql, values).await?;
    let words = [&letter.fingerprint, &letter.class, &letter.stage, &letter.error, &letter.source, &tags];
    add_cause(tx, &cause, words.map(String::as_str)).await
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Broken(error.to_string()))
}

fn changes(before: &Inbound, after: &Inbound) -> Result<Vec<Change>, StoreError> {
    let value =
        |inbound: &Inbound| serde_json::to_value(&inbound.event).map_err(|error| StoreError::Broken(error.to_string()));
    let mut found = Vec::new();
    compare("/event", &value(before)?, &value(after)?, &mut found);
    Ok(found)
}

fn compare(part: &str, before: &serde_json::Value, after: &serde_json::Value, found: &mut Vec<Change>) {
    use serde_json::Value;
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let part = format!("{part}/{}", key.replace('~', "~0").replace('/', "~1"));
                compare(&part, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (old, new) if old != new => {
            found.push(Change { part: part.to_owned(), before: old.clone(), after: new.clone() });
        }
        _same => {}
    }
}

fn diff_context(id: DeadId) -> Vec<u8> {
    format!("dead_edit/{id}").into_bytes()
}
