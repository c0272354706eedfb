//! Meta: one envelope (`object`, `entry`) for WhatsApp, Messenger and Instagram.
//!
//! One POST may carry many entries, changes, messages and statuses. Each is read by itself from its own raw JSON, so
//! that a bad one spoils no other. A bad element is kept wrapped in the envelope that it came in, alone: parsing
//! those bytes again after a fix yields exactly that element.

mod messaging;
mod whatsapp;

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Parsed, json};
use crate::config::{Encoding, HmacAlgorithm};
use crate::domain::Identity;
use crate::signature::{Algorithm, KeyDecoding, Layout, Names, Piece, Proof, Scheme, TimestampUnit};

/// `X-Hub-Signature-256: sha256=…`: HMAC-SHA256 over the raw body, with the app secret's text as the key. The older
/// SHA-1 header is not looked at.
pub(super) fn scheme() -> Scheme {
    let algorithm = Algorithm::Hmac(HmacAlgorithm::Sha256);
    Scheme {
        names: vec![Names { signature: "X-Hub-Signature-256".to_owned(), timestamp: None, id: None }],
        layout: Layout::Prefixed("sha256=".to_owned()),
        signed: vec![Piece::Body],
        proofs: vec![Proof { label: "", algorithm, encoding: Encoding::Hex, key: KeyDecoding::Text }],
        tolerance: Duration::ZERO,
        unit: TimestampUnit::Seconds,
    }
}

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow)]
    object: Cow<'a, str>,
    #[serde(borrow)]
    entry: Option<&'a RawValue>,
}

/// A list of elements, each still raw.
type Elements<'a> = Vec<&'a RawValue>;

/// Every event of a post, in its order.
pub(super) fn parse(raw: &RawValue) -> Vec<Parsed> {
    let bytes = raw.get().as_bytes();
    let Some(post) = json::shape::<Post<'_>>(raw) else {
        return vec![Parsed::unparsed("no object", bytes)];
    };
    let read: fn(&RawValue) -> Vec<Parsed> = match post.object.as_ref() {
        "whatsapp_business_account" => whatsapp::entry,
        "page" => |raw| messaging::entry("page", "messenger", raw),
        "instagram" => |raw| messaging::entry("instagram", "instagram", raw),
        other => return vec![Parsed::record(other, Identity::of_bytes("event", bytes))],
    };
    let Some(entries) = post.entry.and_then(json::shape::<Elements<'_>>) else {
        return vec![Parsed::unparsed("no list of entries", bytes)];
    };
    entries.into_iter().flat_map(read).collect()
}

/// One entry of an object, alone in an envelope.
fn unparsed_entry(object: &str, problem: &str, entry: &str) -> Parsed {
    Parsed::unparsed(problem, format!(r#"{{"object":"{object}","entry":[{entry}]}}"#).as_bytes())
}
