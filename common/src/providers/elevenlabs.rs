//! ElevenLabs: post-call webhooks of a voice agent. Recorded until calls are read into memory.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Parsed, json};
use crate::config::{Encoding, HmacAlgorithm};
use crate::domain::{Identity, Micros};
use crate::signature::{Algorithm, KeyDecoding, Layout, Names, Piece, Proof, Scheme, TimestampUnit};

/// The types that tell of a call; each names its conversation.
const CALLS: [&str; 3] = ["post_call_transcription", "post_call_audio", "call_initiation_failure"];

/// `t=…,v0=…`: HMAC-SHA256 over `timestamp.body`, with the secret's text as the key.
pub(super) fn scheme(tolerance: Duration) -> Scheme {
    let algorithm = Algorithm::Hmac(HmacAlgorithm::Sha256);
    Scheme {
        names: vec![Names { signature: "ElevenLabs-Signature".to_owned(), timestamp: None, id: None }],
        layout: Layout::Pairs { timestamp: "t" },
        signed: vec![Piece::Timestamp, Piece::Literal(".".to_owned()), Piece::Body],
        proofs: vec![Proof { label: "v0", algorithm, encoding: Encoding::Hex, key: KeyDecoding::Text }],
        tolerance,
        unit: TimestampUnit::Seconds,
    }
}

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow, rename = "type")]
    what: Cow<'a, str>,
    event_timestamp: Option<i64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    conversation_id: Cow<'a, str>,
}

/// The one event of a post.
pub(super) fn parse(raw: &RawValue) -> Vec<Parsed> {
    let bytes = raw.get().as_bytes();
    let Some(post) = json::shape::<Post<'_>>(raw) else {
        return vec![Parsed::unparsed("no type", bytes)];
    };
    let call = post.data.and_then(json::shape::<Call<'_>>).filter(|call| !call.conversation_id.is_empty());
    let mut parsed = match call {
        Some(call) => {
            // One call has a transcription and perhaps its audio: the type tells them apart.
            let id = format!("{}:{}", call.conversation_id, post.what);
            let identity = Identity { kind: "call", id, status: None };
            let provider_id = Some(call.conversation_id.into_owned());
            Parsed { provider_id, ..Parsed::record(&post.what, identity) }
        }
        None if CALLS.contains(&post.what.as_ref()) => Parsed::unparsed("a call without conversation_id", bytes),
        None => Parsed::record(&post.what, Identity::of_bytes("event", bytes)),
    };
    parsed.said_at = post.event_timestamp.map(Micros::from_seconds);
    vec![parsed]
}
