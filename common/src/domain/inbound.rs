//! What a verified webhook said, in our words. Only ever at rest sealed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{EventId, Micros, Provider, SendId, SourceName, Tally};

/// One inbound event as the ingress hands it on; the body of an envelope.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// Derived from the provider's own id.
    pub event_id: EventId,
    /// The configured source it came in by.
    pub source: SourceName,
    /// The provider behind that source.
    pub provider: Provider,
    /// The two ends of the conversation, where there is one.
    pub party: Option<Party>,
    /// The provider's id of it. Personal data: a WhatsApp id contains the phone number.
    pub provider_id: Option<String>,
    /// When the provider says it happened; display only, order is the ingress's.
    pub said_at: Option<Micros>,
    /// What happened.
    pub event: Event,
}

impl fmt::Debug for Inbound {
    /// Names the event, never its text or people (P7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound({} {} {})", self.event_id, self.source, self.event.kind())
    }
}

/// Who is talking with which of the business's accounts.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Party {
    /// The business's end: a WhatsApp phone number id, a page id, a voice agent's id; empty where a source has one.
    pub account: String,
    /// The customer's end.
    pub address: Address,
}

/// A way to reach a person. Personal data.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The name space: `phone` (shared by WhatsApp and voice), `messenger`, `instagram`, or `source:<name>`.
    pub space: String,
    /// The address in it; for `phone`, digits only, with the country code.
    pub value: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}:***)", self.space)
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Party({:?})", self.address)
    }
}

/// What happened, as far as we act on it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A customer said something that wants an answer.
    Message(Content),
    /// A provider reports on something we sent.
    Status(StatusUpdate),
    /// A person of the business wrote to the customer outside Handrail: they take the floor.
    Echo(Content),
    /// The customer allows or forbids messages of a kind.
    Consent(Consent),
    /// Well-formed, understood, nothing to answer (a reaction, a sticker, an unknown type).
    Record {
        /// What it was, a short word of the provider's.
        what: String,
    },
    /// Signed by the right sender, yet not readable by this build. Ours to fix, so it is kept whole.
    Unparsed {
        /// What was wrong; names no content.
        problem: String,
        /// The bytes as received.
        #[serde(with = "raw_base64")]
        raw: Vec<u8>,
    },
    /// What an ingress vouches for. Of no conversation, and never an accepted event.
    Tally(Tally),
}

impl Event {
    /// The kind its envelope shows.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Message(_) => Kind::Message,
            Self::Status(_) => Kind::Status,
            Self::Echo(_) => Kind::Echo,
            Self::Consent(_) => Kind::Consent,
            Self::Record { .. } => Kind::Record,
            Self::Unparsed { .. } => Kind::Unparsed,
            Self::Tally(_) => Kind::Tally,
        }
    }
}

/// An event's kind, the only thing about its content that queue metadata shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// See [`Event::Message`].
    Message,
    /// See [`Event::Status`].
    Status,
    /// See [`Event::Echo`].
    Echo,
    /// See [`Event::Consent`].
    Consent,
    /// See [`Event::Record`].
    Record,
    /// See [`Event::Unparsed`].
    Unparsed,
    /// See [`Event::Tally`].
    Tally,
}

impl Kind {
    /// Its word in logs, metrics and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Status => "status",
            Self::Echo => "echo",
            Self::Consent => "consent",
            Self::Record => "record",
            Self::Unparsed => "unparsed",
            Self::Tally => "tally",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person said, as far as text can carry it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Text, the title of a pressed button or chosen row, or a caption.
    Text(String),
    /// Something the assistant cannot read yet: `image`, `audio`, `video`, `document`, `location`, `contacts`.
    Unreadable(String),
}

/// What a provider says became of a send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// Our id, where the provider echoes it.
    pub send_id: Option<SendId>,
    /// The provider's id of what we sent.
    pub provider_id: String,
    /// How far it got.
    pub status: Status,
    /// The provider's error code for `failed`; a number or word, never a sentence.
    pub error: Option<String>,
}

/// How far a send got, in the order in which a provider reports it. `Failed` is last: it ends the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The provider passed it on.
    Sent,
    /// It reached the customer's device.
    Delivered,
    /// The customer opened it.
    Read,
    /// It will not arrive.
    Failed,
}

impl Status {
    /// Its word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }

    /// Its place in the order, so that an older report never undoes a newer one.
    #[must_use]
    pub const fn rank(self) -> i64 {
        match self {
            Self::Sent => 1,
            Self::Delivered => 2,
            Self::Read => 3,
            Self::Failed => 4,
        }
    }

    /// The status of a provider's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Sent, Self::Delivered, Self::Read, Self::Failed].into_iter().find(|s| s.as_str() == word)
    }

    /// The status stored under a rank.
    #[must_use]
    pub fn from_rank(rank: i64) -> Option<Self> {
        [Self::Sent, Self::Delivered, Self::Read, Self::Failed].into_iter().find(|s| s.rank() == rank)
    }
}

/// A customer's word on whether they may be written to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// What it covers: `all`, or a provider's category such as `marketing_messages`.
    pub scope: String,
    /// Given or withdrawn.
    pub given: bool,
}

/// What the ingress can say of a published event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id.
    pub event_id: EventId,
    /// Its kind.
    pub kind: Kind,
}

mod raw_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(raw: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(raw))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
