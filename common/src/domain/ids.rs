//! Ids. All are 128 bits and travel as UUID text; none carries anything about a person.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::SourceName;

/// Text that is not an id.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an id: expected 32 hexadecimal digits, with or without hyphens")]
pub struct ParseIdError(String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
            /// The id held by a database column.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
            /// The id as a database column holds it.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Uuid::parse_str(text.trim()).map(Self).map_err(|_| ParseIdError(text.to_owned()))
            }
        }
    };
}

id!(
    /// One inbound event. Derived, never random: the same event told twice has the same id.
    EventId
);
id!(
    /// One person, however many addresses or conversations they have.
    ContactId
);
id!(
    /// One (source, business account, contact).
    ConversationId
);
id!(
    /// One committed turn of a conversation.
    TurnId
);
id!(
    /// One part of a reply in the outbox; the only id of ours that a provider sees.
    SendId
);
id!(
    /// One dead letter.
    DeadId
);
id!(
    /// One replay of a frozen selection of dead letters.
    ReplayId
);
id!(
    /// One stretch of a conversation that people have, from the call to the return.
    HandoffId
);
id!(
    /// One word to a team; the receiver drops a second one with the same id.
    NoticeId
);
id!(
    /// One call of a model.
    AttemptId
);
id!(
    /// One life of a worker process.
    WorkerId
);
id!(
    /// One life of an ingress process.
    InstanceId
);

/// What makes an inbound event itself, in the provider's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the provider sent: `message`, `status`, `echo`, …; a word that never changes for a kind of event.
    pub kind: &'static str,
    /// The provider's id of it, or a digest of its bytes where the provider gives none.
    pub id: String,
    /// A status's value, since a provider repeats one message id for each status.
    pub status: Option<String>,
}

impl Identity {
    /// The identity of bytes that name none.
    #[must_use]
    pub fn of_bytes(kind: &'static str, bytes: &[u8]) -> Self {
        Self { kind, id: hex::encode(Sha256::digest(bytes)), status: None }
    }
}

impl EventId {
    /// First 128 bits of SHA-256 over (source, kind, provider event id, status), each length-prefixed so that no
    /// two different tuples share their bytes.
    #[must_use]
    pub fn derive(source: &SourceName, identity: &Identity) -> Self {
        let mut hash = Sha256::new();
        let status = identity.status.as_deref().unwrap_or("");
        for part in [source.as_str(), identity.kind, &identity.id, status] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut first = [0u8; 16];
        first.copy_from_slice(&digest[..16]);
        Self(Uuid::from_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(kind: &'static str, id: &str, status: Option<&str>) -> Identity {
        Identity { kind, id: id.into(), status: status.map(Into::into) }
    }

    #[test]
    fn the_same_event_told_twice_has_one_id_and_different_events_differ() {
        let shop = SourceName::parse("shop").unwrap();
        let other = SourceName::parse("other").unwrap();
        let id = EventId::derive(&shop, &identity("message", "m1", None));
        assert_eq!(id, EventId::derive(&shop, &identity("message", "m1", None)));
        for different in [
            EventId::derive(&other, &identity("message", "m1", None)),
            EventId::derive(&shop, &identity("status", "m1", None)),
            EventId::derive(&shop, &identity("message", "m1", Some("read"))),
            EventId::derive(&shop, &identity("message", "m", Some("1"))),
        ] {
            assert_ne!(id, different);
        }
    }
}
