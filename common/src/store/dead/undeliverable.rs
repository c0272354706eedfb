//! What the broker could not deliver: kept as it came, once, and handed back to the queue by a replay. It is resolved
//! when intake has it, and open again when the broker brings it back.

use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::{Born, NewDead, insert};
use crate::digest::hex_digest;
use crate::domain::{DeadId, EventId, ItemState};
use crate::envelope::Header;

/// The class of what nobody could take in.
pub(super) const UNDELIVERABLE: &str = "undeliverable";

impl Store {
    /// Keeps what the dead queue brought and nobody can take in, sealed under the deployment's key; without a readable
    /// header it is told from others by its bytes. What the store has already is dropped. True: it was kept, or its
    /// letter is open again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn keep_undeliverable(
        &self,
        header: Option<&Header>,
        bytes: &[u8],
        error: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.main.begin().await?;
        let event = header.map(|header| header.event_id);
        if let Some(event) = event
            && tx.maybe("SELECT 1 AS found FROM inbox WHERE id = $1", args![event.uuid()]).await?.is_some()
        {
            return Ok(false);
        }
        let origin = event.map_or_else(|| hex_digest(bytes, 64), |event| event.to_string());
        let id = DeadId::random();
        let letter = NewDead {
            id,
            event_id: event,
            send_id: None,
            conversation: None,
            contact: None,
            source: header.map_or_else(|| "unknown".to_owned(), |header| header.source.to_string()),
            stage: "intake",
            class: UNDELIVERABLE.to_owned(),
            error: error.to_owned(),
            attempts: 1,
            policy: String::new(),
            build: crate::build().to_owned(),
            body: Some(self.wrapping.seal(&body_context(id), bytes)),
        };
        let known = "SELECT id FROM dead WHERE origin = $1";
        let known =
            tx.maybe(known, args![&origin]).await?.map(|row| row.get("id").map(DeadId::from_uuid)).transpose()?;
        let born = Born { header, origin: Some(&origin), reopens: known, ..Born::default() };
        let kept = insert(&mut tx, &letter, born).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// Resolves what was handed back to the queue and has been taken in since.
    pub(super) async fn confirm_taken_in(&self) -> Result<(), StoreError> {
        let sql = "SELECT d.id AS id FROM dead d WHERE d.state = 'replaying' AND d.class = $1 \
                     AND EXISTS (SELECT 1 FROM inbox i WHERE i.id = d.event_id) ORDER BY d.created_at LIMIT 1000";
        for row in self.main.read(sql, args![UNDELIVERABLE]).await? {
            let mut tx = self.main.begin().await?;
            taken_in(&mut tx, DeadId::from_uuid(row.get("id")?)).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

async fn taken_in(tx: &mut Tx, id: DeadId) -> Result<(), StoreError> {
    let sql = "UPDATE dead SET state = 'resolved', updated_at = $2, \
                 place = (SELECT first_seq FROM inbox i WHERE i.id = dead.event_id) \
               WHERE id = $1 AND state = 'replaying' RETURNING id, edited_from";
    let now = tx.now();
    if let Some(row) = tx.maybe(sql, args![id.uuid(), now]).await? {
        super::outcome::resolved(tx, &row, ItemState::Succeeded).await?;
    }
    Ok(())
}

/// The event of a letter that had none when it was kept, read from its bytes by a newer build.
pub(super) async fn name_event(tx: &mut Tx, id: DeadId, event: EventId) -> Result<(), StoreError> {
    let sql = "UPDATE dead SET event_id = $2 WHERE id = $1 AND event_id IS NULL";
    tx.run(sql, args![id.uuid(), event.uuid()]).await.map(drop)
}

pub(super) fn body_context(id: DeadId) -> Vec<u8> {
    format!("dead/{id}").into_bytes()
}
