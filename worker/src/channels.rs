//! Channels: the outbound half of a provider. A send is tried once; its outcome is one of three, and never guessed.

mod reply_url;
mod split;
mod whatsapp;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::config::{Source, Timing};
use common::domain::{Address, ConversationId, EventId, Party, Provider, SendId, SourceName};

use crate::http::{Trouble, Unread};

pub use split::split;

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

impl Outgoing {
    /// A word to a colleague's own address, from the number that the source is configured with.
    pub(crate) fn to_colleague(send_id: SendId, conversation: ConversationId, to: &str, text: String) -> Self {
        let address = Address { space: "phone".to_owned(), value: to.to_owned() };
        let party = Party { account: String::new(), address };
        Outgoing { send_id, conversation, party, text, locale: "und".to_owned(), in_reply_to: Vec::new() }
    }
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

/// The channel of every configured source.
pub struct Channels {
    by_source: HashMap<SourceName, Arc<dyn Channel>>,
}

impl Channels {
    /// Makes a channel for each source. One whose provider has no channel, or that lacks a token or an address, has
    /// one that refuses every send as not configured, with a code that names what is missing.
    #[must_use]
    pub fn of(sources: &HashMap<SourceName, Source>, timing: &Timing) -> Self {
        let channel = |source: &Source| channel(source, timing.send_timeout);
        Self { by_source: sources.iter().map(|(name, source)| (name.clone(), channel(source))).collect() }
    }

    /// These channels, each under its source's name.
    #[must_use]
    pub const fn new(by_source: HashMap<SourceName, Arc<dyn Channel>>) -> Self {
        Self { by_source }
    }

    /// The channel of a source; `None` for a source that is not configured any more.
    #[must_use]
    pub fn for_source(&self, name: &SourceName) -> Option<Arc<dyn Channel>> {
        self.by_source.get(name).cloned()
    }
}

fn channel(source: &Source, timeout: Duration) -> Arc<dyn Channel> {
    match source.provider {
        Provider::Whatsapp => match whatsapp::WhatsApp::of(source, timeout) {
            Some(channel) => Arc::new(channel),
            None => Arc::new(NoChannel { code: "no_api_url" }),
        },
        Provider::StandardWebhooks | Provider::Hmac => Arc::new(reply_url::ReplyUrl::of(source, timeout)),
        Provider::Messenger | Provider::Instagram | Provider::Elevenlabs => Arc::new(NoChannel { code: "no_channel" }),
    }
}

/// Where no reply can leave. It refuses, so that a send for it ends in a dead letter that says why.
struct NoChannel {
    code: &'static str,
}

#[async_trait]
impl Channel for NoChannel {
    fn limit(&self) -> usize {
        usize::MAX
    }

    fn window(&self) -> Option<Duration> {
        None
    }

    fn idempotent(&self) -> bool {
        true
    }

    async fn send(&self, _outgoing: &Outgoing) -> SendOutcome {
        refused(RefusalClass::NotConfigured, self.code)
    }
}

fn refused(class: RefusalClass, code: &str) -> SendOutcome {
    SendOutcome::Refused(Refusal { class, code: code.to_owned(), retry_after: None })
}

/// What a call without any answer means for a send.
pub(crate) fn no_answer(trouble: Trouble) -> SendOutcome {
    match trouble {
        Trouble::NotConnected => refused(RefusalClass::Unavailable, "not_connected"),
        Trouble::Unsendable => refused(RefusalClass::NotConfigured, "token_not_a_header"),
        Trouble::TimedOut => SendOutcome::Unknown { why: "timeout" },
        Trouble::Broken => SendOutcome::Unknown { why: "reset" },
    }
}

/// What a success whose body cannot be read means for a send.
const fn unread(why: Unread) -> SendOutcome {
    let why = match why {
        Unread::TooLarge => "unreadable_answer",
        Unread::Broken => "reset",
        Unread::TimedOut => "timeout",
    };
    SendOutcome::Unknown { why }
}

#[cfg(test)]
mod tests;
