//! What rules ask about a turn besides its texts: one read, and only when a rule asks.

use std::time::Duration;

use super::claim::Claimed;
use super::scene::Scene;
use super::sql::args;
use super::{Store, StoreError};
use crate::domain::{Circumstances, ConversationId, Micros};

/// What a contact's messages are counted over.
const MINUTE: Duration = Duration::from_secs(60);
/// How far back failures are told; each rule counts those that fall into its own window.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Messages of the contact in the last minute, wherever; turns of the last day that left a message of this conversation
/// without an answer; and its last message before the pending ones; and when people gave it back. Each part walks an index of one conversation.
const WHAT_HAPPENED: &str = "SELECT 'arrival' AS what, received_at AS at, NULL AS word FROM inbox \
    WHERE kind = 'message' AND received_at > $2 AND conversation_id IN \
      (SELECT c.id FROM conversation c WHERE c.contact_id = (SELECT contact_id FROM conversation WHERE id = $1)) \
  UNION ALL SELECT 'failure' AS what, MAX(ended_at) AS at, NULL AS word FROM inbox \
    WHERE conversation_id = $1 AND received_at > $3 AND state IN ('blocked', 'dead') GROUP BY turn_id \
  UNION ALL SELECT 'before' AS what, (SELECT received_at FROM inbox WHERE conversation_id = $1 AND received_at < $4 \
      AND kind IN ('message', 'echo') AND state <> 'pending' ORDER BY received_at DESC LIMIT 1) AS at, \
      NULL AS word \
  UNION ALL SELECT 'returned' AS what, c.returned_at AS at, \
      (SELECT CASE WHEN h.rule = 'taken' THEN NULL ELSE h.priority END FROM handoff h WHERE h.conversation_id = $1 \
         AND h.closed_at IS NOT NULL ORDER BY h.opened_at DESC LIMIT 1) AS word FROM conversation c WHERE c.id = $1";

impl Store {
    /// What a turn begins under; `first` is when the ingress had the oldest message that it is about.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn circumstances(&self, claim: &Claimed, first: Micros) -> Result<Circumstances, StoreError> {
        let circumstances = self.circumstances_of(claim.conversation, first).await?;
        let waiting = circumstances.at.unwrap_or(claim.at).since(claim.waiting_since);
        Ok(Circumstances { waiting, ..circumstances })
    }

    /// The same for a rehearsal, as a turn would find it now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn scene_circumstances(&self, scene: &Scene) -> Result<Circumstances, StoreError> {
        let first = scene.messages.iter().map(|message| message.received_at).min().unwrap_or(scene.at);
        self.circumstances_of(scene.conversation, first).await
    }

    async fn circumstances_of(&self, conversation: ConversationId, first: Micros) -> Result<Circumstances, StoreError> {
        let now = self.main.now().await?;
        let mut circumstances = Circumstances { at: Some(now), ..Circumstances::default() };
        let values = args![conversation.uuid(), now - MINUTE, now - DAY, first];
        for row in self.main.read(WHAT_HAPPENED, values).await? {
            let Some(at) = row.get::<Option<Micros>>("at")? else { continue };
            match row.get::<String>("what")?.as_str() {
                "arrival" => circumstances.arrivals.push(now.since(at)),
                "failure" => circumstances.failures.push(now.since(at)),
                "returned" => {
                    circumstances.returned = Some(now.since(at));
                    let priority: Option<String> = row.get("word")?;
                    circumstances.returned_from = priority.and_then(|word| word.parse().ok());
                }
                _ => circumstances.silent_for = Some(first.since(at)),
            }
        }
        circumstances.arrivals.sort_unstable();
        circumstances.failures.sort_unstable();
        Ok(circumstances)
    }
}
