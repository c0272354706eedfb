//! What each provider's webhooks mean: its signature [`Scheme`] as data, and its parser as a pure function.
//!
//! A parser never fails. What this build cannot read becomes [`Event::Unparsed`] with bytes that can be parsed again
//! after a fix, and within a batch only the element concerned; a well-formed event of an unknown type is recorded.

mod elevenlabs;
mod generic;
mod hmac;
mod json;
mod meta;
pub mod samples;
mod standard_webhooks;
#[cfg(test)]
mod tests;

use crate::config::Source;
use crate::domain::{Event, EventId, Identity, Inbound, Micros, Party, Provider};
use crate::signature::{Scheme, Verified};

/// How a source's webhooks are signed; `None` for an `hmac` source whose scheme is not configured.
#[must_use]
pub fn scheme(source: &Source) -> Option<Scheme> {
    match source.provider {
        Provider::Whatsapp | Provider::Messenger | Provider::Instagram => Some(meta::scheme()),
        Provider::Elevenlabs => Some(elevenlabs::scheme(source.tolerance)),
        Provider::StandardWebhooks => Some(standard_webhooks::scheme(source.tolerance)),
        Provider::Hmac => source.hmac.as_ref().map(|config| hmac::scheme(config, source.tolerance)),
    }
}

/// How a reply to a source's `reply_url` is signed: by Standard Webhooks, with the source's own secret read as the
/// source reads it.
#[must_use]
pub fn reply_scheme(source: &Source) -> Scheme {
    let mut scheme = standard_webhooks::scheme(source.tolerance);
    if let Some(config) = &source.hmac {
        scheme.proofs.truncate(1);
        scheme.proofs.iter_mut().for_each(|proof| proof.key = hmac::key(config));
    }
    scheme
}

/// Every event of a proved body, in the provider's order.
#[must_use]
pub fn parse(source: &Source, verified: &Verified) -> Vec<Inbound> {
    parse_again(source, verified.body(), verified.id())
}

/// Every event of bytes that were proved before: a dead letter's, after a fix. `header_id` is the id that came in a
/// header, where the provider puts it there; an unparsed event keeps it as its `provider_id`.
#[must_use]
pub fn parse_again(source: &Source, raw: &[u8], header_id: Option<&str>) -> Vec<Inbound> {
    let events = match json::checked(raw) {
        Err(problem) => vec![Parsed { provider_id: header_id.map(str::to_owned), ..Parsed::unparsed(problem, raw) }],
        Ok(text) => match source.provider {
            Provider::Whatsapp | Provider::Messenger | Provider::Instagram => meta::parse(text),
            Provider::Elevenlabs => elevenlabs::parse(text),
            Provider::StandardWebhooks | Provider::Hmac => generic::parse(source, text, header_id),
        },
    };
    events.into_iter().map(|parsed| parsed.into_inbound(source)).collect()
}

/// One event as a parser sees it, before it is bound to its source.
struct Parsed {
    identity: Identity,
    party: Option<Party>,
    provider_id: Option<String>,
    said_at: Option<Micros>,
    event: Event,
}

impl Parsed {
    /// Bytes that this build cannot read. `problem` names no content.
    fn unparsed(problem: &str, raw: &[u8]) -> Self {
        let event = Event::Unparsed { problem: problem.to_owned(), raw: raw.to_vec() };
        Self { identity: Identity::of_bytes("unparsed", raw), party: None, provider_id: None, said_at: None, event }
    }

    /// A well-formed event that has no conversation and wants no answer.
    fn record(what: &str, identity: Identity) -> Self {
        let event = Event::Record { what: word(what) };
        Self { identity, party: None, provider_id: None, said_at: None, event }
    }

    fn into_inbound(self, source: &Source) -> Inbound {
        Inbound {
            event_id: EventId::derive(&source.name, &self.identity),
            source: source.name.clone(),
            provider: source.provider,
            party: self.party,
            provider_id: self.provider_id,
            said_at: self.said_at,
            event: self.event,
        }
    }
}

/// A provider's own word for a kind of event, unless it is no word at all.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) { text.to_owned() } else { "unknown".to_owned() }
}
