//! The one thing that travels: a readable header that names no person, and a sealed body.
//!
//! On the wire: `HR` `version` | header length (u32, big endian) | header (JSON) | sealed body. The header is the
//! body's sealing context, so neither can be exchanged without the other. A reader that does not know the version
//! or the key says so and leaves the bytes alone: during a rolling deploy another worker may know them.

use serde::{Deserialize, Serialize};

use crate::domain::{Event, EventId, Inbound, InstanceId, Kind, Micros, Provider, SourceName, Tally};
use crate::seal::{Keyring, Pseudonym, SealError};
use crate::trace::TraceContext;

/// The version this build writes, and the newest it reads.
pub const VERSION: u8 = 1;

/// The largest envelope that goes through the broker whole, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

const MAGIC: [u8; 2] = *b"HR";
const PREFIX: usize = 7;

/// What anybody on the way may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The event's id; also the broker's message id.
    pub event_id: EventId,
    /// The source it came in by.
    pub source: SourceName,
    /// The conversation's pseudonym, where there is one.
    pub conversation: Option<Pseudonym>,
    /// What kind of event it is.
    pub kind: Kind,
    /// When the ingress had read the whole request, by the ingress's clock.
    pub received_at: Micros,
    /// Which life of which ingress.
    pub instance: InstanceId,
    /// That ingress's count of envelopes, from 1.
    pub sequence: i64,
    /// The event that this ingress published before it in the same conversation, if it remembers.
    pub previous: Option<EventId>,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// Which of the source's secrets proved it.
    pub secret: String,
}

/// A header and a sealed body, ready to travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    bytes: Vec<u8>,
    body_at: usize,
}

/// Why bytes from the queue are no envelope that this build can use.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Written by a newer build.
    #[error("envelope version {0} is newer than this build's {VERSION}: update this process")]
    UnknownVersion(u8),
    /// Not an envelope at all.
    #[error("not an envelope: {0}")]
    Malformed(&'static str),
    /// The body does not open.
    #[error("envelope {event_id}: {source}")]
    Sealed {
        /// The event it announces.
        event_id: EventId,
        /// Why.
        source: SealError,
    },
    /// The body opened to something else than this build's [`Inbound`].
    #[error("envelope {0}: its body has another shape than this build reads")]
    Body(EventId),
}

impl EnvelopeError {
    /// Whether another worker, or this one after an update, may be able to take it in.
    #[must_use]
    pub const fn may_heal(&self) -> bool {
        match self {
            Self::UnknownVersion(_) | Self::Body(_) => true,
            Self::Sealed { source, .. } => matches!(source, SealError::UnknownKey(_)),
            Self::Malformed(_) => false,
        }
    }
}

impl Envelope {
    /// Seals an event under its header.
    ///
    /// # Errors
    /// Only if the event cannot be written as JSON.
    pub fn seal(header: Header, inbound: &Inbound, keys: &Keyring) -> Result<Self, serde_json::Error> {
        let head = serde_json::to_vec(&header)?;
        let body = keys.seal(&head, &serde_json::to_vec(inbound)?);
        let mut bytes = Vec::with_capacity(PREFIX + head.len() + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&head);
        let body_at = bytes.len();
        bytes.extend_from_slice(&body);
        Ok(Self { header, bytes, body_at })
    }

    /// Seals what an ingress vouches for on behalf of `instance`: an envelope with no number of its own.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn tally(instance: InstanceId, tally: Tally, at: Micros, keys: &Keyring) -> Result<Self, serde_json::Error> {
        let (event_id, source) = (EventId::random(), SourceName::of_tallies());
        let header = Header {
            event_id,
            source: source.clone(),
            conversation: None,
            kind: Kind::Tally,
            received_at: at,
            instance,
            sequence: 0,
            previous: None,
            trace: TraceContext::start(),
            secret: String::new(),
        };
        let inbound = Inbound {
            event_id,
            source,
            provider: Provider::Hmac,
            party: None,
            provider_id: None,
            said_at: None,
            event: Event::Tally(tally),
        };
        Self::seal(header, &inbound, keys)
    }

    /// Reads an envelope's header; the body stays sealed.
    ///
    /// # Errors
    /// [`EnvelopeError`] of another version or of bytes that are no envelope.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, EnvelopeError> {
        let [b'H', b'R', version, a, b, c, d, rest @ ..] = bytes.as_slice() else {
            return Err(EnvelopeError::Malformed("it does not begin as one"));
        };
        if *version != VERSION {
            return Err(EnvelopeError::UnknownVersion(*version));
        }
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let head = rest.get(..length).ok_or(EnvelopeError::Malformed("it is cut short"))?;
        let header = serde_json::from_slice(head).map_err(|_| EnvelopeError::Malformed("its header is unreadable"))?;
        Ok(Self { header, body_at: PREFIX + length, bytes })
    }

    /// Opens the body.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the key is absent, the bytes were changed, or the body is of another shape.
    pub fn open(&self, keys: &Keyring) -> Result<Inbound, EnvelopeError> {
        let (head, body) = (&self.bytes[PREFIX..self.body_at], &self.bytes[self.body_at..]);
        let event_id = self.header.event_id;
        let plain = keys.open(head, body).map_err(|source| EnvelopeError::Sealed { event_id, source })?;
        serde_json::from_slice(&plain).map_err(|_| EnvelopeError::Body(event_id))
    }

    /// The readable part.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The whole, as it travels.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Content, Event, Identity, Provider};
    use crate::seal::Key;

    fn sample() -> (Header, Inbound) {
        let source = SourceName::parse("shop").unwrap();
        let event_id = EventId::derive(&source, &Identity::of_bytes("message", b"1"));
        let header = Header {
            event_id,
            source: source.clone(),
            conversation: None,
            kind: Kind::Message,
            received_at: Micros(1),
            instance: InstanceId::random(),
            sequence: 1,
            previous: None,
            trace: TraceContext::start(),
            secret: "00000000".into(),
        };
        let event = Event::Message(Content::Text("do you ship to Lima?".into()));
        let inbound = Inbound {
            event_id,
            source,
            provider: Provider::Hmac,
            party: None,
            provider_id: None,
            said_at: None,
            event,
        };
        (header, inbound)
    }

    #[test]
    fn an_envelope_travels_whole_and_hides_its_text() {
        let keys = Keyring::single("q1", Key::generate());
        let (header, inbound) = sample();
        let sent = Envelope::seal(header.clone(), &inbound, &keys).unwrap();
        assert!(!String::from_utf8_lossy(sent.bytes()).contains("Lima"));
        let read = Envelope::decode(sent.bytes().to_vec()).unwrap();
        assert_eq!(read.header(), &header);
        assert_eq!(read.open(&keys).unwrap(), inbound);
    }

    #[test]
    fn every_cut_is_refused_and_a_newer_version_may_heal() {
        let keys = Keyring::single("q1", Key::generate());
        let (header, inbound) = sample();
        let bytes = Envelope::seal(header, &inbound, &keys).unwrap().bytes().to_vec();
        for cut in 0..bytes.len() {
            let opened = Envelope::decode(bytes[..cut].to_vec()).and_then(|e| e.open(&keys));
            assert!(!opened.unwrap_err().may_heal(), "cut at {cut}");
        }
        let mut newer = bytes.clone();
        newer[2] = 9;
        assert!(Envelope::decode(newer).unwrap_err().may_heal());
        let other = Keyring::single("q2", Key::generate());
        assert!(Envelope::decode(bytes).unwrap().open(&other).unwrap_err().may_heal());
    }
}
