//! Statuses: what a provider says became of a send. Applied forwards only; one that comes early waits for its send.

use super::dead::{self, Born, NewDead};
use super::sql::{Tx, args};
use super::{Store, StoreError, hold};
use crate::domain::{ConversationId, DeadId, EventId, Inbound, Micros, SendId, Status, StatusUpdate, WorkerId};

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
                self.apply(tx, id, update.status, update.error.as_deref()).await?;
                return Ok(Some(ConversationId::from_uuid(row.get("conversation_id")?)));
            }
            let failed = (update.status == Status::Failed).then(|| update.error.as_deref().unwrap_or("failed"));
            if let Some(error) = failed
                && super::notice::failed_after_all(tx, id.uuid(), error).await?
            {
                return Ok(None);
            }
        }
        for name in &names {
            let sql = "SELECT id, conversation_id FROM outbox WHERE provider_digest = $1 AND source = $2";
            if let Some(row) = tx.maybe(sql, args![name.digest(), source]).await? {
                let id = SendId::from_uuid(row.get("id")?);
                self.apply(tx, id, update.status, update.error.as_deref()).await?;
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
                self.apply(tx, id, status, error.as_deref()).await?;
            }
        }
        Ok(())
    }

    /// Forgets early statuses that no send has claimed in seven days. First it applies those whose send has learned
    /// its id in the very moment in which they came, when neither transaction could see the other.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_early_statuses(&self) -> Result<u64, StoreError> {
        let met = "SELECT DISTINCT o.id AS id, o.provider_digest AS digest FROM status_early e \
                   JOIN outbox o ON o.provider_digest = e.provider_digest LIMIT 100";
        for row in self.main.read(met, &[]).await? {
            let mut tx = self.main.begin().await?;
            let digest: Vec<u8> = row.get("digest")?;
            self.apply_early_status(&mut tx, SendId::from_uuid(row.get("id")?), &digest).await?;
            tx.commit().await?;
        }
        let before = self.main.now().await? - EARLY_KEPT;
        self.main.write("DELETE FROM status_early WHERE seen_at < $1", args![before]).await
    }

    async fn apply(&self, tx: &mut Tx, id: SendId, status: Status, error: Option<&str>) -> Result<(), StoreError> {
        let now = tx.now();
        let code = (status == Status::Failed).then(|| error.unwrap_or("failed"));
        let forwards = "UPDATE outbox SET status = $2, status_at = $3, error = COALESCE($4, error) \
                        WHERE id = $1 AND status < $2";
        if tx.run(forwards, args![id.uuid(), status.rank(), now, code]).await? == 1 {
            self.settle(tx, id).await?;
        }
        Ok(())
    }

    /// Brings a send's state in line with the last that its provider said of it. A status that names a send proves
    /// that it arrived, so an unknown one is known, and one about to be sent again is not; a failed one is dead. While
    /// the send is still under way its sender's word is awaited.
    pub(super) async fn settle(&self, tx: &mut Tx, id: SendId) -> Result<(), StoreError> {
        let (now, failed) = (tx.now(), Status::Failed.rank());
        let arrived = "UPDATE outbox SET state = 'accepted', closed_at = $2, ended_at = COALESCE(ended_at, $2), \
                         error = NULL \
                       WHERE id = $1 AND status > 0 AND status < $3 \
                         AND (state = 'unknown' OR (state = 'queued' AND attempts > 0)) RETURNING turn_id, dead_id";
        if let Some(row) = tx.maybe(arrived, args![id.uuid(), now, failed]).await? {
            dead::sent(tx, &row).await?;
        }
        let refused = "UPDATE outbox SET state = 'dead', ended_at = $2 \
                       WHERE id = $1 AND status = $3 AND state IN ('accepted', 'unknown') \
                       RETURNING source, conversation_id, contact_id, attempts, error";
        if let Some(row) = tx.maybe(refused, args![id.uuid(), now, failed]).await? {
            let code: Option<String> = row.get("error")?;
            let letter = NewDead::of_send(id, &row, "undelivered", code.as_deref().unwrap_or("failed"))?;
            self.bury_by_itself(tx, id, &letter, None).await?;
        }
        Ok(())
    }

    /// Buries a send of which the store alone knows that it is dead, and holds its conversation where policy says so.
    pub(super) async fn bury_by_itself(
        &self,
        tx: &mut Tx,
        id: SendId,
        letter: &NewDead,
        worker: Option<WorkerId>,
    ) -> Result<(), StoreError> {
        let buried = bury(tx, id, letter, worker).await?;
        if let Some(conversation) = letter.conversation.filter(|_| self.holds.after(&letter.class)) {
            hold::hold(tx, conversation, buried.as_slice()).await?;
        }
        Ok(())
    }
}

/// A finally refused send: its messages are dead, its later parts pointless. One letter speaks for a reply's parts; a
/// notice that a message is dead makes none, for that message has its letter, on which the refusal is noted. The letter
/// that was written, where messages died of it: nothing else is worth holding a conversation for.
pub(super) async fn bury(
    tx: &mut Tx,
    id: SendId,
    letter: &NewDead,
    worker: Option<WorkerId>,
) -> Result<Option<NewDead>, StoreError> {
    let now = tx.now();
    let sql = "SELECT o.turn_id AS turn_id, o.dead_id AS dead_id, o.conversation_id AS conversation_id, \
                 t.fence AS fence, t.policy AS policy \
               FROM outbox o LEFT JOIN turn t ON t.id = o.turn_id WHERE o.id = $1";
    let row = tx.one(sql, args![id.uuid()]).await?;
    let turn: Option<uuid::Uuid> = row.get("turn_id")?;
    // Whose it is, the messages say that die of it now, and not those that its turn took.
    let mut letter = NewDead { event_id: None, ..letter.clone() };
    let reopens = row.get::<Option<uuid::Uuid>>("dead_id")?.map(DeadId::from_uuid);
    let mut born = Born { worker, reopens, ..Born::default() };
    let Some(turn) = turn else {
        dead::insert(tx, &letter, born).await?;
        return Ok(None);
    };
    if let Some(fence) = row.get::<Option<i64>>("fence")? {
        let conversation = ConversationId::from_uuid(row.get("conversation_id")?);
        born.prompt = dead::prompt_of(tx, conversation, fence).await?;
    }
    if letter.policy.is_empty() {
        letter.policy = row.get::<Option<String>>("policy")?.unwrap_or_default();
    }
    let rest = "UPDATE outbox SET state = 'dead', ended_at = $2, error = 'earlier_part_refused' \
                WHERE turn_id = $1 AND state = 'queued'";
    tx.run(rest, args![turn, now]).await?;
    if let Some(first) = die_with(tx, turn).await? {
        letter.event_id = Some(first);
    } else if reopens.is_none() {
        let told = "SELECT 1 AS found FROM dead d JOIN outbox o ON o.id = d.send_id WHERE o.turn_id = $1 LIMIT 1";
        if tx.maybe(told, args![turn]).await?.is_some() || dead::note_on_parked(tx, turn, &letter, worker).await? {
            return Ok(None);
        }
    }
    dead::insert(tx, &letter, born).await?;
    Ok(letter.event_id.is_some().then_some(letter))
}

/// The messages that a reply answered die with it, and what was blocked is told from the rest; the first of them.
async fn die_with(tx: &mut Tx, turn: uuid::Uuid) -> Result<Option<EventId>, StoreError> {
    let sql = "UPDATE inbox SET reason = CASE WHEN state = 'blocked' THEN 'block_refused' ELSE 'send_refused' END, \
                 state = 'dead' \
               WHERE turn_id = $1 AND state IN ('replied', 'joined', 'blocked') \
               RETURNING id, received_at, instance, sequence";
    let mut moved: Vec<(Micros, uuid::Uuid, i64, uuid::Uuid)> = Vec::new();
    for row in tx.all(sql, args![turn]).await? {
        moved.push((row.get("received_at")?, row.get("instance")?, row.get("sequence")?, row.get("id")?));
    }
    Ok(moved.into_iter().min().map(|(.., first)| EventId::from_uuid(first)))
}
