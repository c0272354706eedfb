//! Events without a shape of their own: `hmac` and `standard-webhooks` sources, read by JSON pointers.

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Parsed, json};
use crate::config::Source;
use crate::domain::{Address, Content, Event, Identity, Micros, Party};

/// Above this a bare number counts milliseconds: as seconds it would be the year 5138.
const MILLIS_FROM: i64 = 100_000_000_000;

/// The one event of a post.
pub(super) fn parse(source: &Source, raw: &RawValue, header_id: Option<&str>) -> Vec<Parsed> {
    let bytes = raw.get().as_bytes();
    let Some(body) = json::shape::<Value>(raw).filter(Value::is_object) else {
        let provider_id = header_id.map(str::to_owned);
        return vec![Parsed { provider_id, ..Parsed::unparsed("not a JSON object", bytes) }];
    };
    let pointers = &source.pointers;
    let id = match &pointers.id {
        Some(pointer) => scalar(&body, pointer),
        None => header_id.map(str::to_owned).filter(|id| !id.is_empty()),
    };
    let identity = match &id {
        Some(id) => Identity { kind: "event", id: id.clone(), status: None },
        None => Identity::of_bytes("event", bytes),
    };
    let party = scalar(&body, &pointers.contact).map(|value| Party {
        account: String::new(),
        address: Address { space: format!("source:{}", source.name), value },
    });
    let text = body.pointer(&pointers.text).and_then(Value::as_str).filter(|text| !text.is_empty());
    let event = match text {
        Some(text) if party.is_some() => Event::Message(Content::Text(text.to_owned())),
        _ => return vec![Parsed { provider_id: id, party, ..Parsed::record(what(&body), identity) }],
    };
    let said_at = body.pointer(&pointers.time).and_then(moment);
    vec![Parsed { identity, party, provider_id: id, said_at, event }]
}

fn what(body: &Value) -> &str {
    body.get("type").and_then(Value::as_str).unwrap_or("event")
}

/// A non-empty string, or a number as its text: both are in use for ids and customers.
fn scalar(body: &Value, pointer: &str) -> Option<String> {
    match body.pointer(pointer)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// RFC 3339, or a count of seconds or milliseconds.
fn moment(value: &Value) -> Option<Micros> {
    let count = |count: i64| {
        if count.abs() >= MILLIS_FROM { Micros(count.saturating_mul(1_000)) } else { Micros::from_seconds(count) }
    };
    match value {
        Value::Number(number) => number.as_i64().map(count),
        Value::String(text) => {
            let written = text.parse::<jiff::Timestamp>().ok().map(|moment| Micros(moment.as_microsecond()));
            written.or_else(|| text.parse().ok().map(count))
        }
        _ => None,
    }
}
