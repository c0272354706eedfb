//! Claims: one worker at a time has a conversation's turn, for as long as it keeps saying so.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::sql::{Row, args};
use super::{Store, StoreError};
use crate::domain::{ContactId, ConversationId, Floor, Micros, Provider, SourceName, WorkerId};
use crate::seal::Keyring;

/// A conversation whose turn is ours until the lease runs out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its person.
    pub contact: ContactId,
    /// The source it came in by.
    pub source: SourceName,
    /// The provider behind it.
    pub provider: Provider,
    /// Who claimed.
    pub worker: WorkerId,
    /// Higher than any claim before it.
    pub fence: i64,
    /// Messages ended so far; a commit must find it unchanged.
    pub done: i64,
    /// Messages taken in so far.
    pub tail: i64,
    /// Who holds the floor.
    pub floor: Floor,
    /// Changes with the floor; a commit must find it unchanged.
    pub epoch: i64,
    /// Claims without a recorded end, this one included.
    pub claims: i64,
    /// Who held the claim before this one, where that one ended without a word.
    pub crashed_owner: Option<WorkerId>,
    /// Failed tries that recovery has counted.
    pub attempts: i64,
    /// Whether messages are tried singly, to find a culprit.
    pub one_by_one: bool,
    /// The language last replied in.
    pub locale: Option<String>,
    /// Since when its oldest pending message waits.
    pub waiting_since: Micros,
    /// Since when the floor is with people, if it is: their last act, or the call that nobody has followed yet.
    pub floor_since: Option<Micros>,
    /// When the customer last had a word since then.
    pub heard_at: Option<Micros>,
    /// When people last gave it back to the assistant.
    pub returned_at: Option<Micros>,
    /// When it was claimed.
    pub at: Micros,
    /// The person's key, fetched once for the whole claim.
    pub key: ClaimKey,
}

/// A person's key for as long as a claim is held; fetched when it is first needed.
#[derive(Clone, Default)]
pub struct ClaimKey(Arc<OnceCell<Keyring>>);

impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimKey(***)")
    }
}

/// How a claim ends without a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandBack {
    /// Work goes on from `at`: a wait for a predecessor.
    Until(Micros),
    /// A failure that recovery has judged: try again from `at`; `counted` failures are added to `attempts`.
    Retry {
        /// When.
        at: Micros,
        /// How many failures to count: 0 in an outage.
        counted: i64,
        /// From now on try messages singly.
        one_by_one: bool,
    },
    /// Our own store was out, the worker drains, or the floor moved: as if the claim had not been.
    Uncounted,
    /// The turn's own code failed: the claim goes back, and counts as one that ended without a word.
    Crashed,
}

impl Store {
    /// Claims a conversation's turn, if it has work that is due and nobody holds it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn claim(&self, conversation: ConversationId, worker: WorkerId) -> Result<Option<Claimed>, StoreError> {
        let now = self.main.now().await?;
        let sql = "UPDATE conversation SET fence = fence + 1, lease_owner = $2, lease_until = $4, claims = claims + 1, \
                     last_owner = COALESCE(lease_owner, last_owner), one_by_one = (one_by_one OR claims > 0) \
                   WHERE id = $1 AND done < tail AND NOT held AND (next_at IS NULL OR next_at <= $3) \
                     AND (settle_at IS NULL OR settle_at <= $3) AND (lease_until IS NULL OR lease_until <= $3) \
                   RETURNING id, contact_id, source, provider, fence, done, tail, floor, epoch, claims, attempts, \
                     one_by_one, locale, waiting_since, last_owner, floor_since, heard_at, returned_at";
        let until = now + self.timing.lease;
        let rows = self.main.write_returning(sql, args![conversation.uuid(), worker.uuid(), now, until]).await?;
        rows.first().map(|row| claimed(row, worker, now)).transpose()
    }

    /// Conversations with work that is due and unclaimed, longest waiting first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn claimable(&self, limit: usize) -> Result<Vec<ConversationId>, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT id FROM conversation WHERE done < tail AND NOT held AND (next_at IS NULL OR next_at <= $1) \
                     AND (settle_at IS NULL OR settle_at <= $1) AND (lease_until IS NULL OR lease_until <= $1) \
                   ORDER BY waiting_since LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.main.read(sql, args![now, limit]).await?;
        rows.iter().map(|row| Ok(ConversationId::from_uuid(row.get("id")?))).collect()
    }

    /// How long the oldest conversation that nobody serves has been due; the signal to scale workers by.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn oldest_waiting(&self) -> Result<std::time::Duration, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT waiting_since FROM conversation WHERE done < tail AND NOT held \
                     AND (next_at IS NULL OR next_at <= $1) AND (settle_at IS NULL OR settle_at <= $1) \
                     AND (lease_until IS NULL OR lease_until <= $1) ORDER BY waiting_since LIMIT 1";
        let Some(row) = self.main.read_maybe(sql, args![now]).await? else { return Ok(std::time::Duration::ZERO) };
        Ok(now.since(row.get::<Option<Micros>>("waiting_since")?.unwrap_or(now)))
    }

    /// Renews every claim of this worker in one statement each: its turns, and the deliveries with a send under way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn renew(&self, worker: WorkerId) -> Result<(), StoreError> {
        let now = self.renewal.now().await?;
        let until = now + self.timing.lease;
        // A lease that has run out is not revived: somebody may be about to take it.
        let turns = "UPDATE conversation SET lease_until = $2 WHERE lease_owner = $1 AND lease_until > $3";
        self.renewal.write(turns, args![worker.uuid(), until, now]).await?;
        // Only while a send is under way and not late: a claim that was dropped, or whose sender hangs, runs out.
        let sends = "UPDATE conversation SET send_until = CASE WHEN send_until > $2 THEN send_until ELSE $2 END \
                     WHERE send_owner = $1 AND send_until > $3 \
                       AND EXISTS (SELECT 1 FROM outbox o WHERE o.conversation_id = conversation.id \
                                   AND o.state = 'sending' AND o.deadline > $3)";
        self.renewal.write(sends, args![worker.uuid(), until, now]).await.map(drop)
    }

    /// Ends a claim without a commit. False: the claim was no longer ours.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hand_back(&self, claim: &Claimed, how: HandBack) -> Result<bool, StoreError> {
        let (id, worker) = (claim.conversation.uuid(), claim.worker.uuid());
        let touched = match how {
            HandBack::Until(at) => {
                let sql = "UPDATE conversation SET lease_owner = NULL, lease_until = NULL, claims = 0, settle_at = $4 \
                           WHERE id = $1 AND lease_owner = $2 AND fence = $3";
                self.main.write(sql, args![id, worker, claim.fence, at]).await?
            }
            HandBack::Retry { at, counted, one_by_one } => {
                self.main.write(RETRY, args![id, worker, claim.fence, at, counted, one_by_one]).await?
            }
            HandBack::Crashed => {
                let at = self.main.now().await? + self.timing.sweep;
                let sql = "UPDATE conversation SET last_owner = lease_owner, lease_owner = NULL, lease_until = NULL, \
                             next_at = $4 WHERE id = $1 AND lease_owner = $2 AND fence = $3";
                self.main.write(sql, args![id, worker, claim.fence, at]).await?
            }
            HandBack::Uncounted => {
                let sql = "UPDATE conversation SET lease_owner = NULL, lease_until = NULL, \
                             claims = CASE WHEN claims > 0 THEN claims - 1 ELSE 0 END \
                           WHERE id = $1 AND lease_owner = $2 AND fence = $3";
                self.main.write(sql, args![id, worker, claim.fence]).await?
            }
        };
        Ok(touched == 1)
    }

    /// A worker that lost its claim by being slow reports that it lives: no crash ended it, so it does not count as
    /// one. The claim that is running now keeps its own count.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lost_alive(&self, claim: &Claimed) -> Result<(), StoreError> {
        let sql = "UPDATE conversation SET claims = claims - 1 WHERE id = $1 AND fence > $2 \
                     AND claims > CASE WHEN lease_owner IS NULL THEN 0 ELSE 1 END";
        self.main.write(sql, args![claim.conversation.uuid(), claim.fence]).await.map(drop)
    }

    /// The key of a claim's person.
    pub(super) async fn key_of<'a>(&self, claim: &'a Claimed) -> Result<&'a Keyring, StoreError> {
        claim.key.0.get_or_try_init(|| self.contact_key(claim.contact)).await
    }

    /// Whether a claim still holds with the floor it was made under; false tells a running model call to stop.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn still_ours(&self, claim: &Claimed) -> Result<bool, StoreError> {
        let sql = "SELECT 1 AS found FROM conversation \
                   WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND epoch = $4";
        let values = args![claim.conversation.uuid(), claim.worker.uuid(), claim.fence, claim.epoch];
        Ok(self.main.read_maybe(sql, values).await?.is_some())
    }
}

/// A failed claim goes back: conversation, worker, fence, when, failures to count, singly from now on.
pub(super) const RETRY: &str = "UPDATE conversation SET lease_owner = NULL, lease_until = NULL, claims = 0, \
    next_at = $4, attempts = attempts + $5, one_by_one = (one_by_one OR $6) \
  WHERE id = $1 AND lease_owner = $2 AND fence = $3";

fn claimed(row: &Row, worker: WorkerId, now: Micros) -> Result<Claimed, StoreError> {
    let claims: i64 = row.get("claims")?;
    let last_owner: Option<uuid::Uuid> = row.get("last_owner")?;
    Ok(Claimed {
        conversation: ConversationId::from_uuid(row.get("id")?),
        contact: ContactId::from_uuid(row.get("contact_id")?),
        key: ClaimKey::default(),
        source: SourceName::parse(&row.get::<String>("source")?)
            .map_err(|error| StoreError::Broken(error.to_string()))?,
        provider: row.word("provider")?,
        worker,
        fence: row.get("fence")?,
        done: row.get("done")?,
        tail: row.get("tail")?,
        floor: row.word("floor")?,
        epoch: row.get("epoch")?,
        claims,
        crashed_owner: last_owner.filter(|_| claims > 1).map(WorkerId::from_uuid),
        attempts: row.get("attempts")?,
        one_by_one: row.get("one_by_one")?,
        locale: row.get("locale")?,
        waiting_since: row.get::<Option<Micros>>("waiting_since")?.unwrap_or(now),
        floor_since: row.get("floor_since")?,
        heard_at: row.get("heard_at")?,
        returned_at: row.get("returned_at")?,
        at: now,
    })
}
