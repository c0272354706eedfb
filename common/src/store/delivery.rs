//! Deliveries: one sender per conversation, head first. A row is marked `sending` before the first byte leaves, and
//! once begun it is never queued again unless its own sender knows that nothing was sent.

use std::time::Duration;

use super::dead::{self, NewDead};
use super::intake::{party_context, party_of};
use super::sql::{Tx, args};
use super::status::bury;
use super::{Store, StoreError};
use crate::domain::{
    Author, ContactId, ConversationId, EventId, Floor, Micros, Party, SendId, SourceName, Status, WorkerId,
};
use crate::seal::Keyring;

/// A conversation whose outbox is ours to send.
#[derive(Clone, Debug)]
pub struct DeliveryClaim {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its person.
    pub contact: ContactId,
    /// The source whose channel sends.
    pub source: SourceName,
    /// Where to.
    pub party: Party,
    /// When the customer last wrote; the channel's window counts from it.
    pub last_inbound_at: Option<Micros>,
    worker: WorkerId,
    fence: i64,
    sends: i64,
    key: Keyring,
}

/// The head of a conversation's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSend {
    /// Nothing is open.
    Nothing,
    /// Nothing may begin before this.
    Wait(Micros),
    /// This one.
    Send(SendId),
}

/// What beginning a send came to.
pub enum Begun {
    /// Marked; send it.
    Yes(Box<BegunSend>),
    /// It is no longer to be sent, for a person took the floor or its text does not open: ask for the next.
    Superseded,
    /// The claim is no longer ours.
    Lost,
}

/// A send that has begun.
#[derive(Clone)]
pub struct BegunSend {
    /// Its id.
    pub id: SendId,
    /// Who wrote it.
    pub author: Author,
    /// Why it is sent.
    pub purpose: String,
    /// What to say.
    pub text: String,
    /// The language it is in.
    pub locale: String,
    /// The events it answers.
    pub in_reply_to: Vec<EventId>,
    /// Tries so far, this one included.
    pub attempts: i64,
    /// When it was committed.
    pub created_at: Micros,
    /// When it was marked as begun.
    pub begun_at: Micros,
    /// The trace it belongs to.
    pub trace: String,
}

/// How a begun send ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// The provider has it.
    Accepted {
        /// The provider's id of it, kept only as a pseudonym.
        provider_id: Option<String>,
    },
    /// It was certainly not sent: again from then on.
    Retry {
        /// When.
        at: Micros,
        /// A constant word or the provider's code.
        error: String,
        /// The class that recovery gave it.
        class: String,
        /// Whether it was held, not tried: what is everybody's trouble.
        held: bool,
    },
    /// It will never be accepted.
    Dead {
        /// What is kept of it.
        letter: Box<NewDead>,
        /// Whether what comes after it waits until a person has dealt with it.
        hold: bool,
    },
    /// Nobody can say.
    Unknown {
        /// A constant word.
        why: &'static str,
    },
}

/// An unknown send whose wait for a status is over.
#[derive(Clone, Debug)]
pub struct OpenUnknown {
    /// The send.
    pub id: SendId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its source.
    pub source: SourceName,
    /// Tries so far.
    pub attempts: i64,
}

impl Store {
    /// Claims a conversation's outbox, if something in it is open and nobody is at it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn claim_delivery(
        &self,
        conversation: ConversationId,
        worker: WorkerId,
    ) -> Result<Option<DeliveryClaim>, StoreError> {
        let now = self.main.now().await?;
        let sql = "UPDATE conversation SET send_fence = send_fence + 1, send_owner = $3, send_until = $4, \
                     send_next_at = NULL \
                   WHERE id = $2 AND (send_until IS NULL OR send_until <= $1) \
                     AND (send_next_at IS NULL OR send_next_at <= $1) \
                     AND EXISTS (SELECT 1 FROM outbox o WHERE o.conversation_id = conversation.id \
                                 AND o.state IN ('queued', 'sending')) \
                   RETURNING contact_id, source, party, last_inbound_at, send_fence, sends";
        let until = now + self.timing.lease;
        let rows = self.main.write_returning(sql, args![now, conversation.uuid(), worker.uuid(), until]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let contact = ContactId::from_uuid(row.get("contact_id")?);
        let key = self.contact_key(contact).await?;
        let plain = key.open(&party_context(conversation), &row.get::<Vec<u8>>("party")?)?;
        let source: String = row.get("source")?;
        Ok(Some(DeliveryClaim {
            conversation,
            contact,
            source: SourceName::parse(&source).map_err(|error| StoreError::Broken(error.to_string()))?,
            party: party_of(&plain)?,
            last_inbound_at: row.get("last_inbound_at")?,
            worker,
            fence: row.get("send_fence")?,
            sends: row.get("sends")?,
            key,
        }))
    }

    /// Conversations with something to send that nobody is sending, longest waiting first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn deliverable(&self, limit: usize) -> Result<Vec<ConversationId>, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT c.id AS id FROM outbox o JOIN conversation c ON c.id = o.conversation_id \
                   WHERE o.state IN ('queued', 'sending') AND (c.send_until IS NULL OR c.send_until <= $1) \
                     AND (c.send_next_at IS NULL OR c.send_next_at <= $1) \
                   GROUP BY c.id ORDER BY min(o.created_at) LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.main.read(sql, args![now, limit]).await?;
        rows.iter().map(|row| Ok(ConversationId::from_uuid(row.get("id")?))).collect()
    }

    /// The head of the outbox. A row left `sending` by an earlier claim is unknown from now on: its sender is gone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn next_send(&self, claim: &DeliveryClaim) -> Result<NextSend, StoreError> {
        self.give_up_orphans(claim).await?;
        let now = self.main.now().await?;
        let head = "SELECT o.id AS id, o.next_at AS next_at, o.author AS author, o.epoch AS queued_under, \
                      c.floor AS floor, c.epoch AS epoch \
                    FROM outbox o JOIN conversation c ON c.id = o.conversation_id \
                    WHERE o.conversation_id = $1 AND o.state IN ('queued', 'sending') AND o.state = 'queued' \
                    ORDER BY o.ordinal LIMIT 1";
        let Some(row) = self.main.read_maybe(head, args![claim.conversation.uuid()]).await? else {
            return Ok(NextSend::Nothing);
        };
        let id = SendId::from_uuid(row.get("id")?);
        if !may_begin(row.word("author")?, row.get("queued_under")?, row.word("floor")?, row.get("epoch")?) {
            // Beginning it supersedes it. That waits for nothing, so that a person's words behind it do not either.
            return Ok(NextSend::Send(id));
        }
        let unknown = "SELECT ended_at FROM outbox WHERE conversation_id = $1 AND state = 'unknown' \
                         AND closed_at IS NULL AND ended_at > $2 ORDER BY ended_at DESC LIMIT 1";
        let recent = now - self.timing.unknown_hold;
        let held = self.main.read_maybe(unknown, args![claim.conversation.uuid(), recent]).await?;
        let held_until = match held {
            Some(row) => row.get::<Option<Micros>>("ended_at")?.map(|at| at + self.timing.unknown_hold),
            None => None,
        };
        let due: Option<Micros> = row.get("next_at")?;
        match held_until.max(due).filter(|at| *at > now) {
            Some(at) => Ok(NextSend::Wait(at)),
            None => Ok(NextSend::Send(id)),
        }
    }

    /// Whatever was begun under an earlier claim. Conditional on this one, so that a sender who has lost his cannot
    /// declare the work of his successor unknown.
    async fn give_up_orphans(&self, claim: &DeliveryClaim) -> Result<(), StoreError> {
        // Both conditions on the state: SQLite takes the index of open rows only where its own words are repeated.
        let begun = "SELECT 1 AS found FROM outbox WHERE conversation_id = $1 AND state IN ('queued', 'sending') \
                       AND state = 'sending' LIMIT 1";
        if self.main.read_maybe(begun, args![claim.conversation.uuid()]).await?.is_none() {
            return Ok(());
        }
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = "UPDATE outbox SET state = 'unknown', ended_at = $2, \
                     error = CASE WHEN status = $5 THEN error ELSE 'sender_gone' END, closed_at = NULL \
                   WHERE conversation_id = $1 AND state = 'sending' \
                     AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = $1 AND c.send_owner = $3 \
                                 AND c.send_fence = $4) \
                   RETURNING id";
        let failed = Status::Failed.rank();
        let values = args![claim.conversation.uuid(), now, claim.worker.uuid(), claim.fence, failed];
        for row in tx.all(sql, values).await? {
            self.settle(&mut tx, SendId::from_uuid(row.get("id")?)).await?;
        }
        tx.commit().await
    }

    /// Marks a send as begun, conditional on floor and epoch. The conversation's row is locked first, so a take-over
    /// is wholly before or wholly after.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: do not send.
    pub async fn begin_send(&self, claim: &DeliveryClaim, id: SendId, patience: Duration) -> Result<Begun, StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let lock = "UPDATE conversation SET send_until = $4 WHERE id = $1 AND send_owner = $2 AND send_fence = $3 \
                    RETURNING floor, epoch";
        // As long as a renewal gives, so that what a dead sender had begun is found as soon as what it held.
        let until = now + self.timing.lease;
        let owner = claim.worker.uuid();
        let locked = tx.maybe(lock, args![claim.conversation.uuid(), owner, claim.fence, until]).await?;
        let Some(locked) = locked else { return Ok(Begun::Lost) };
        let (floor, epoch): (Floor, i64) = (locked.word("floor")?, locked.get("epoch")?);
        let sql = "UPDATE outbox SET state = 'sending', sender = $2, deadline = $3, begun_at = $4, \
                     attempts = attempts + 1, next_at = NULL, status = 0, status_at = NULL \
                   WHERE id = $1 AND state = 'queued' \
                   RETURNING author, purpose, locale, epoch, body, turn_id, attempts, created_at, trace, \
                     conversation_id, contact_id, source";
        let Some(row) = tx.maybe(sql, args![id.uuid(), owner, now + patience, now]).await? else {
            return Ok(Begun::Superseded);
        };
        if !may_begin(row.word("author")?, row.get("epoch")?, floor, epoch) {
            tx.rollback().await?;
            return self.supersede_under_floor(claim).await;
        }
        let Ok(text) = Self::open_send(&claim.key, id, &row.get::<Vec<u8>>("body")?) else {
            return self.bury_unreadable(tx, claim, id, &row).await;
        };
        let turn: Option<uuid::Uuid> = row.get("turn_id")?;
        let answered = tx
            .all("SELECT id FROM inbox WHERE turn_id = $1 ORDER BY received_at, instance, sequence", args![turn])
            .await?;
        let begun = BegunSend {
            id,
            author: row.word("author")?,
            purpose: row.get("purpose")?,
            text,
            locale: row.get("locale")?,
            in_reply_to: answered.iter().map(|row| row.get("id").map(EventId::from_uuid)).collect::<Result<_, _>>()?,
            attempts: row.get("attempts")?,
            created_at: row.get("created_at")?,
            begun_at: now,
            trace: row.get("trace")?,
        };
        tx.commit().await?;
        Ok(Begun::Yes(Box::new(begun)))
    }

    async fn supersede_under_floor(&self, claim: &DeliveryClaim) -> Result<Begun, StoreError> {
        let mut tx = self.main.begin().await?;
        super::floor::supersede(&mut tx, claim.conversation).await?;
        tx.commit().await?;
        Ok(Begun::Superseded)
    }

    /// Records how a send ended. A sender that was given up for gone may still report what it knows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the row stays `sending` and becomes unknown.
    pub async fn finish_send(&self, claim: &DeliveryClaim, id: SendId, end: Finished) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let owner = claim.worker.uuid();
        match end {
            Finished::Accepted { provider_id } => {
                let names = provider_id.map(|text| self.pseudonyms.of_provider_id(&claim.source, &text));
                let digest = names.as_ref().and_then(|names| names.first()).map(|name| name.digest().to_vec());
                let sql = "UPDATE outbox SET state = 'accepted', ended_at = $3, provider_digest = $4, \
                             error = CASE WHEN status = $5 THEN error ELSE NULL END \
                           WHERE id = $1 AND sender = $2 AND state IN ('sending', 'unknown') \
                           RETURNING turn_id, dead_id";
                let failed = Status::Failed.rank();
                let values = args![id.uuid(), owner, now, digest.as_deref(), failed];
                if let Some(row) = tx.maybe(sql, values).await? {
                    dead::sent(&mut tx, &row).await?;
                }
                for name in names.iter().flatten() {
                    self.apply_early_status(&mut tx, id, name.digest()).await?;
                }
            }
            Finished::Retry { at, error, class, held } => {
                // A hold burns no attempt: what counts them asks how often the provider was really tried.
                let sql = "UPDATE outbox SET state = 'queued', next_at = $3, error = $4, attempts = attempts - $5 \
                           WHERE id = $1 AND sender = $2 AND state = 'sending'";
                if tx.run(sql, args![id.uuid(), owner, at, &error, i64::from(held)]).await? == 1 {
                    dead::of_send(&mut tx, id, claim.worker, (&class, &error, held)).await?;
                }
            }
            Finished::Unknown { why } => {
                let sql = "UPDATE outbox SET state = 'unknown', ended_at = $3, \
                             error = CASE WHEN status = $5 THEN error ELSE $4 END, closed_at = NULL \
                           WHERE id = $1 AND sender = $2 AND state = 'sending'";
                tx.run(sql, args![id.uuid(), owner, now, why, Status::Failed.rank()]).await?;
            }
            Finished::Dead { letter, hold } => {
                let sql = "UPDATE outbox SET state = 'dead', ended_at = $3, error = $4 \
                           WHERE id = $1 AND sender = $2 AND state IN ('sending', 'unknown')";
                if tx.run(sql, args![id.uuid(), owner, now, &letter.error]).await? == 1 {
                    let buried = bury(&mut tx, id, &letter, Some(claim.worker)).await?;
                    if hold {
                        super::hold::hold(&mut tx, claim.conversation, buried.as_slice()).await?;
                    }
                }
            }
        }
        // A provider's word may have come before its answer did.
        self.settle(&mut tx, id).await?;
        tx.commit().await
    }

    /// Ends a delivery claim, to be taken up again from `next`. False: rows were queued meanwhile, so go on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn release_delivery(&self, claim: &mut DeliveryClaim, next: Option<Micros>) -> Result<bool, StoreError> {
        let sql = "UPDATE conversation SET send_next_at = CASE WHEN sends = $4 THEN $5 ELSE NULL END, \
                     send_owner = CASE WHEN sends = $4 OR $6 THEN NULL ELSE send_owner END, \
                     send_until = CASE WHEN sends = $4 OR $6 THEN NULL ELSE send_until END \
                   WHERE id = $1 AND send_owner = $2 AND send_fence = $3 RETURNING sends";
        // With a wait the claim ends in any case; but if rows were queued meanwhile, whoever comes next looks again.
        let (owner, waits) = (claim.worker.uuid(), next.is_some());
        let values = args![claim.conversation.uuid(), owner, claim.fence, claim.sends, next, waits];
        let rows = self.main.write_returning(sql, values).await?;
        let Some(row) = rows.first() else { return Ok(true) };
        let sends: i64 = row.get("sends")?;
        let released = sends == claim.sends || next.is_some();
        claim.sends = sends;
        Ok(released)
    }

    /// Unknown sends whose wait for a status is over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_unknowns(&self, limit: usize) -> Result<Vec<OpenUnknown>, StoreError> {
        let before = self.main.now().await? - self.timing.unknown_wait;
        let sql = "SELECT id, conversation_id, source, attempts FROM outbox \
                   WHERE state = 'unknown' AND closed_at IS NULL AND ended_at <= $1 ORDER BY ended_at LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.main.read(sql, args![before, limit]).await?;
        let open = |row: &super::sql::Row| {
            Ok(OpenUnknown {
                id: SendId::from_uuid(row.get("id")?),
                conversation: ConversationId::from_uuid(row.get("conversation_id")?),
                source: SourceName::parse(&row.get::<String>("source")?)
                    .map_err(|error| StoreError::Broken(error.to_string()))?,
                attempts: row.get("attempts")?,
            })
        };
        rows.iter().map(open).collect()
    }

    /// Closes an unknown send by policy: sent again under the same id, or left and listed for a person. One that is to
    /// be sent again stays marked as closed: whatever comes before it begins, nobody may say that it was never sent.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn close_unknown(&self, id: SendId, resend: bool) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let sql = if resend {
            "UPDATE outbox SET state = 'queued', next_at = $2, ended_at = NULL, closed_at = $2 \
             WHERE id = $1 AND state = 'unknown' AND closed_at IS NULL RETURNING turn_id, dead_id"
        } else {
            "UPDATE outbox SET closed_at = $2 WHERE id = $1 AND state = 'unknown' AND closed_at IS NULL \
             RETURNING turn_id, dead_id"
        };
        // What is queued again is still awaited, and changes nothing here.
        if let Some(row) = tx.maybe(sql, args![id.uuid(), now]).await? {
            dead::sent(&mut tx, &row).await?;
        }
        tx.commit().await
    }

    /// A text that does not open never will: the row is dead with a letter, and the rows behind it go on.
    async fn bury_unreadable(
        &self,
        mut tx: Tx,
        claim: &DeliveryClaim,
        id: SendId,
        row: &super::sql::Row,
    ) -> Result<Begun, StoreError> {
        let sql = "UPDATE outbox SET state = 'dead', ended_at = $2, error = 'unreadable' WHERE id = $1";
        let now = tx.now();
        tx.run(sql, args![id.uuid(), now]).await?;
        let letter = NewDead::of_send(id, row, "poison", "its text cannot be opened")?;
        self.bury_by_itself(&mut tx, id, &letter, Some(claim.worker)).await?;
        tx.commit().await?;
        Ok(Begun::Superseded)
    }
}

/// The floor rule of P6: an assistant's text needs the assistant's floor of the same epoch; the policy's own texts
/// may still go out while nobody has come, and under a person's floor only if they were committed under that very one,
/// as a word to a customer who waits for the person; a person's always.
const fn may_begin(author: Author, row_epoch: i64, floor: Floor, epoch: i64) -> bool {
    match (author, floor) {
        (Author::Person, _) | (Author::Policy, Floor::Assistant | Floor::Queued) => true,
        (Author::Assistant, Floor::Assistant) | (Author::Policy, Floor::Human) => row_epoch == epoch,
        (Author::Assistant, Floor::Queued | Floor::Human) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_rule_lets_nothing_speak_under_a_persons_floor_that_was_committed_before_it() {
        for floor in [Floor::Assistant, Floor::Queued, Floor::Human] {
            assert!(may_begin(Author::Person, 0, floor, 9));
            assert_eq!(may_begin(Author::Policy, 0, floor, 9), floor != Floor::Human);
            assert!(may_begin(Author::Policy, 9, floor, 9));
            assert_eq!(may_begin(Author::Assistant, 9, floor, 9), floor == Floor::Assistant);
            assert!(!may_begin(Author::Assistant, 8, floor, 9));
        }
    }
}
