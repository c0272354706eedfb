//! A budget: whose spending it caps, in which span of time, and how far.

use super::{ContactId, ConversationId, Money};

/// One budget, and what it may hold at most. Where a call needs several they are given from the narrowest to the widest,
/// always: everybody locks them in the same order, the one that all share last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    scope: String,
    /// The most that may be spent; `None` for any amount.
    pub amount: Option<Money>,
    /// The most calls that may be made; `None` for any number.
    pub calls: Option<i64>,
}

impl Budget {
    /// A conversation's, for as long as the assistant keeps the floor: the floor's epoch tells one such time from the
    /// next.
    #[must_use]
    pub fn of_conversation(
        conversation: ConversationId,
        epoch: i64,
        amount: Option<Money>,
        calls: Option<i64>,
    ) -> Self {
        Self { scope: format!("conversation/{conversation}/{epoch}"), amount, calls }
    }

    /// A contact's, on a day.
    #[must_use]
    pub fn of_contact(contact: ContactId, day: &str, amount: Option<Money>, calls: Option<i64>) -> Self {
        Self { scope: format!("contact/{contact}/{day}"), amount, calls }
    }

    /// The whole deployment's, on a day.
    #[must_use]
    pub fn of_deployment(day: &str, amount: Option<Money>, calls: Option<i64>) -> Self {
        Self { scope: format!("deployment/{day}"), amount, calls }
    }

    /// Its name in the store: whose it is, and when.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// `conversation`, `contact` or `deployment`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.scope.split('/').next().unwrap_or(&self.scope)
    }
}
