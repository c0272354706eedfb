//! Channels: the outbound half of a provider. A send is tried once; its outcome is one of three, and never guessed.

use std::time::Duration;

use async_trait::async_trait;
use common::domain::{ConversationId, EventId, Party, SendId};

/// One part of a reply on its way out. Made only by delivery, from a row that was marked `sending` first.
#[derive(Clone)]
pub struct Outgoing {
    /// Our id of the send, told to the provider where it lets us.
    pub send_id: SendId,
    /// Our id of the conversation.
    pub conversation: ConversationId,
    /// To whom, and from which of the business's accounts.
    pub party: Party,
    /// What to say.
    pub text: String,
    /// The language it is in (BCP 47), as far as known.
    pub locale: String,
    /// The events it answers.
    pub in_reply_to: Vec<EventId>,
}

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider has it.
    Accepted {
        /// The provider's id of it, where it gives one. Personal data.
        provider_id: Option<String>,
    },
    /// It was certainly not sent.
    Refused(Refusal),
    /// Bytes left, and no answer tells whether it was sent.
    Unknown {
        /// A constant word: `timeout`, `reset`, `server_error`, `unreadable_answer`.
        why: &'static str,
    },
}

/// Why a provider did not take a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What recovery needs to know.
    pub class: RefusalClass,
    /// The provider's error code or the HTTP status; never a sentence.
    pub code: String,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
}

/// What kind of refusal it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// Too many; wait and try again.
    RateLimited,
    /// No connection was made, or the provider said that it is not available: try again.
    Unavailable,
    /// The channel's window for free text is closed (WhatsApp: 24 hours after the customer's last message).
    WindowClosed,
    /// This message or recipient will never be accepted.
    Rejected,
    /// Our own configuration: no token, a wrong one, an unknown number.
    NotConfigured,
}

/// A way to reach customers.
#[async_trait]
pub trait Channel: Send + Sync {
    /// The longest text of one send, in characters.
    fn limit(&self) -> usize;

    /// How long after the customer's last message free text is allowed; `None` for always.
    fn window(&self) -> Option<Duration>;

    /// Whether the receiver drops a second send with the same id, so that an unknown one may be sent again.
    fn idempotent(&self) -> bool;

    /// Sends once, within the timeout it was built with.
    async fn send(&self, outgoing: &Outgoing) -> SendOutcome;
}
