//! Waking what waits for an outage to end: the breaker of a model or channel lets go what it holds.
//!
//! Each waits until a moment of its own, in case the worker that holds it dies. Waking is conditional on exactly that
//! moment, so that a wait which somebody else has ordered since is never cut short.

use super::sql::args;
use super::{Store, StoreError};
use crate::domain::{ConversationId, Micros};

impl Store {
    /// Makes a turn due that waits until `at` for its model. False: it waits no longer, or for something else.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn wake_turn(&self, conversation: ConversationId, at: Micros) -> Result<bool, StoreError> {
        let sql = "UPDATE conversation SET next_at = NULL WHERE id = $1 AND next_at = $2";
        Ok(self.main.write(sql, args![conversation.uuid(), at]).await? == 1)
    }

    /// Makes an outbox due that waits until `at` for its channel, and the send in it that was refused until then.
    /// False: it waits no longer, or for something else.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn wake_delivery(&self, conversation: ConversationId, at: Micros) -> Result<bool, StoreError> {
        let mut tx = self.main.begin().await?;
        let sql = "UPDATE conversation SET send_next_at = NULL WHERE id = $1 AND send_next_at = $2";
        let woken = tx.run(sql, args![conversation.uuid(), at]).await?;
        let sql = "UPDATE outbox SET next_at = NULL WHERE conversation_id = $1 \
                     AND state IN ('queued', 'sending') AND state = 'queued' AND next_at = $2";
        let refused = tx.run(sql, args![conversation.uuid(), at]).await?;
        tx.commit().await?;
        Ok(woken + refused > 0)
    }
}
