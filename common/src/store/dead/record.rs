//! Writing a letter. An event has one: if it was replayed and dies again, even after a good end, that one reopens with
//! its history counted on.

use super::super::StoreError;
use super::super::sql::{Row, Tx, args};
use super::NewDead;
use super::history::{self, Line};
use crate::domain::{ContactId, ConversationId, DeadId, EventId, ItemState, SendId, WorkerId};
use crate::envelope::Header;

/// What is known of a letter's birth beyond what it says of itself.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Born<'a> {
    /// Who gave it up.
    pub(in crate::store) worker: Option<WorkerId>,
    /// The last prompt's digest.
    pub(in crate::store) prompt: Option<String>,
    /// Its envelope's header, where the inbox has no row of it.
    pub(in crate::store) header: Option<&'a Header>,
    /// What may be kept only once.
    pub(in crate::store) origin: Option<&'a str>,
    /// The letter whose replay this ends, where no event says so.
    pub(in crate::store) reopens: Option<DeadId>,
}

/// The digest of the last prompt that a claim put to a model.
pub(in crate::store) async fn prompt_of(
    tx: &mut Tx,
    conversation: ConversationId,
    fence: i64,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT prompt_hash FROM attempt WHERE conversation_id = $1 AND fence = $2 \
               ORDER BY started_at DESC LIMIT 1";
    tx.maybe(sql, args![conversation.uuid(), fence]).await?.map(|row| row.get("prompt_hash")).transpose()
}

/// Writes a letter, or reopens the one that its event has. False: what it is of is kept already.
pub(in crate::store) async fn insert(tx: &mut Tx, letter: &NewDead, born: Born<'_>) -> Result<bool, StoreError> {
    let reopened = reopen(tx, letter, &born).await?;
    let id = match &reopened {
        Some(id) => *id,
        None if write(tx, letter, &born).await? => letter.id,
        None => return Ok(false),
    };
    let subjects = [letter.event_id.map(EventId::uuid), letter.send_id.map(SendId::uuid)];
    history::adopt(tx, id, subjects).await?;
    let subject = subjects.into_iter().flatten().next().unwrap_or_else(|| id.uuid());
    let line = Line {
        worker: born.worker,
        build: &letter.build,
        stage: letter.stage,
        class: &letter.class,
        error: &letter.error,
        outcome: "dead",
    };
    history::write(tx, subject, Some(id), line).await?;
    tx.counts_as_dead(&letter.class);
    if reopened.is_some() {
        super::outcome::settle_item(tx, id, ItemState::Failed, Some(&letter.class)).await?;
    }
    Ok(true)
}

async fn reopen(tx: &mut Tx, letter: &NewDead, born: &Born<'_>) -> Result<Option<DeadId>, StoreError> {
    if letter.event_id.is_none() && born.reopens.is_none() {
        return Ok(None);
    }
    // Of several letters of one event, the one being replayed; tags stay, and with them its cause changes.
    let sql = "UPDATE dead SET state = 'open', stage = $3, class = $4, error = $5, fingerprint = $6, \
                 attempts = attempts + $7, policy = $8, build = $9, send_id = COALESCE($10, send_id), \
                 prompt = COALESCE($11, prompt), updated_at = $12, \
                 conversation_id = COALESCE(conversation_id, $13), contact_id = COALESCE(contact_id, $14), \
                 place = COALESCE(place, (SELECT first_seq FROM inbox i WHERE i.id = dead.event_id)), \
                 cause = $6 || ' ' || source || CASE WHEN tags = '' THEN '' ELSE ' ' || tags END \
               WHERE id = (SELECT id FROM dead WHERE (event_id = $1 OR id = $2) \
                             AND state IN ('replaying', 'resolved') ORDER BY state, updated_at DESC LIMIT 1) \
               RETURNING id, cause, source, tags";
    let (fingerprint, now) = (letter.fingerprint(), tx.now());
    let values = args![
        letter.event_id.map(EventId::uuid),
        born.reopens.map(DeadId::uuid),
        letter.stage,
        &letter.class,
        &letter.error,
        &fingerprint,
        letter.attempts,
        &letter.policy,
        &letter.build,
        letter.send_id.map(SendId::uuid),
        born.prompt.as_deref(),
        now,
        letter.conversation.map(ConversationId::uuid),
        letter.contact.map(ContactId::uuid),
    ];
    let Some(row) = tx.maybe(sql, values).await? else { return Ok(None) };
    write_cause(tx, letter, &row).await?;
    Ok(Some(DeadId::from_uuid(row.get("id")?)))
}

async fn write(tx: &mut Tx, letter: &NewDead, born: &Born<'_>) -> Result<bool, StoreError> {
    let sql = "INSERT INTO dead (id, event_id, send_id, conversation_id, contact_id, source, stage, class, error, \
                 fingerprint, attempts, policy, build, state, body, created_at, updated_at, prompt, origin, cause, \
                 place, received_at, instance, sequence) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'open', $14, $15, $15, $16, $17, \
                 $10 || ' ' || $6, (SELECT first_seq FROM inbox WHERE id = $2), \
                 COALESCE($18, (SELECT received_at FROM inbox WHERE id = $2)), \
                 COALESCE($19, (SELECT instance FROM inbox WHERE id = $2)), \
                 COALESCE($20, (SELECT sequence FROM inbox WHERE id = $2))) \
               ON CONFLICT DO NOTHING RETURNING cause, source, tags";
    let (fingerprint, now) = (letter.fingerprint(), tx.now());
    let values = args![
        letter.id.uuid(),
        letter.event_id.map(EventId::uuid),
        letter.send_id.map(SendId::uuid),
        letter.conversation.map(ConversationId::uuid),
        letter.contact.map(ContactId::uuid),
        &letter.source,
        letter.stage,
        &letter.class,
        &letter.error,
        &fingerprint,
        letter.attempts,
        &letter.policy,
        &letter.build,
        letter.body.as_deref(),
        now,
        born.prompt.as_deref(),
        born.origin,
        born.header.map(|header| header.received_at),
        born.header.map(|header| header.instance.uuid()),
        born.header.map(|header| header.sequence),
    ];
    let Some(row) = tx.maybe(sql, values).await? else { return Ok(false) };
    write_cause(tx, letter, &row).await?;
    Ok(true)
}

async fn write_cause(tx: &mut Tx, letter: &NewDead, row: &Row) -> Result<(), StoreError> {
    let (cause, source, tags): (String, String, String) = (row.get("cause")?, row.get("source")?, row.get("tags")?);
    let fingerprint = letter.fingerprint();
    let words = [&fingerprint, &letter.class, letter.stage, &letter.error, &source, &tags];
    add_cause(tx, &cause, words).await
}

/// Keeps what letters of this cause have in common: fingerprint, class, stage, error, source and tags.
pub(super) async fn add_cause(tx: &mut Tx, cause: &str, words: [&str; 6]) -> Result<(), StoreError> {
    let sql = "INSERT INTO dead_cause (id, fingerprint, class, stage, error, source, tags) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let [fingerprint, class, stage, error, source, tags] = words;
    tx.run(sql, args![cause, fingerprint, class, stage, error, source, tags]).await.map(drop)
}
