//! Statuses: what a provider says became of a send. Applied forwards only; one that comes early waits for its send.

use super::dead::NewDead;
use super::delivery::bury;
use super::sql::{Tx, args};
use super::{Store, StoreError};
use crate::domain::{ConversationId, Inbound, SendId, Status, StatusUpdate};

/// How long a status waits for its send: a provider repeats webhooks for at most seven days.
const EARLY_KEPT: std::time::Duration = std::time::Duration::from_hours(7 * 24);

impl Store {
    /// Applies a status to the send it names, by our id, else by the provider's; keeps it when there is none yet.
    pub(super) async fn apply_status(
        &self,
        tx: &mut Tx,
        inbound: &Inbound,
        update: &StatusUpdate,
    ) -> Result<Option<ConversationId>, StoreError> {
        let source = inbound.source.as_str();
        let names = self.pseudonyms.of_provider_id(&inbound.source, &update.provider_id);
        if let Some(id) = update.send_id {
            let sql = "SELECT id, conversation_id FROM outbox WHERE id = $1 AND source = $2";
            if let Some(row) = tx.maybe(sql, args![id.uuid(), source]).await? {
                apply(tx, id, update.status, update.error.as_deref()).await?;
                return Ok(Some(ConversationId::from_uuid(row.get("conversation_id")?)));
            }
        }
        for name in &names {
            let sql = "SELECT id, conversation_id FROM outbox WHERE provider_digest = $1 AND source = $2";
            if let Some(row) = tx.maybe(sql, args![name.digest(), source]).await? {
                apply(tx, SendId::from_uuid(row.get("id")?), update.status, update.error.as_deref()).await?;
                return Ok(Some(ConversationId::from_uuid(row.get("conversation_id")?)));
            }
        }
        if let Some(name) = names.first() {
            let sql = "INSERT INTO status_early (event_id, provider_digest, status, error, seen_at) \
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            let (now, error) = (tx.now(), update.error.as_deref());
            let values = args![inbound.event_id.uuid(), name.digest(), update.status.rank(), error, now];
            tx.run(sql, values).await?;
        }
        Ok(None)
    }

    /// Applies the statuses that came before their send had learned the provider's id.
    pub(super) async fn apply_early_status(&self, tx: &mut Tx, id: SendId, digest: &[u8]) -> Result<(), StoreError> {
        let sql = "DELETE FROM status_early WHERE provider_digest = $1 RETURNING status, error";
        for row in tx.all(sql, args![digest]).await? {
            let error: Option<String> = row.get("error")?;
            if let Some(status) = Status::from_rank(row.get("status")?) {
                apply(tx, id, status, error.as_deref()).await?;
            }
        }
        Ok(())
    }

    /// Forgets early statuses that no send has claimed in seven days.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_early_statuses(&self) -> Result<u64, StoreError> {
        let before = self.main.now().await? - EARLY_KEPT;
        self.main.write("DELETE FROM status_early WHERE seen_at < $1", args![before]).await
    }
}

async fn apply(tx: &mut Tx, id: SendId, status: Status, error: Option<&str>) -> Result<(), StoreError> {
    let now = tx.now();
    let forwards = "UPDATE outbox SET status = $2, status_at = $3 WHERE id = $1 AND status < $2";
    if tx.run(forwards, args![id.uuid(), status.rank(), now]).await? == 0 {
        return Ok(());
    }
    if status != Status::Failed {
        // A status that names the send proves that an unknown one arrived.
        let known = "UPDATE outbox SET state = 'accepted', closed_at = $2, error = NULL \
                     WHERE id = $1 AND state = 'unknown'";
        return tx.run(known, args![id.uuid(), now]).await.map(drop);
    }
    let failed = "UPDATE outbox SET state = 'dead', ended_at = $2, error = $3 \
                  WHERE id = $1 AND state IN ('accepted', 'unknown') RETURNING source, conversation_id, contact_id, attempts";
    let code = error.unwrap_or("failed");
    if let Some(row) = tx.maybe(failed, args![id.uuid(), now, code]).await? {
        let letter = NewDead::of_send(id, &row, "undelivered", code)?;
        bury(tx, id, &letter).await?;
    }
    Ok(())
}
