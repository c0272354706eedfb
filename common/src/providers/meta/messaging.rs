//! Messenger and Instagram messaging: recorded, one event for each element, until their channel exists.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Elements, unparsed_entry};
use crate::domain::{Address, Identity, Micros, Party};
use crate::providers::{Parsed, json};

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    messaging: Option<&'a RawValue>,
    #[serde(borrow)]
    standby: Option<&'a RawValue>,
    #[serde(borrow)]
    changes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow)]
    sender: Option<End<'a>>,
    #[serde(borrow)]
    recipient: Option<End<'a>>,
    timestamp: Option<i64>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    postback: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct End<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    mid: Option<Cow<'a, str>>,
    #[serde(default)]
    is_echo: bool,
}

/// Every event of an entry of `object`; customers live in the address space `space`.
pub(super) fn entry(object: &str, space: &str, raw: &RawValue) -> Vec<Parsed> {
    let Some(entry) = json::shape::<Entry<'_>>(raw) else {
        return vec![unparsed_entry(object, "an entry of unknown shape", raw.get())];
    };
    if entry.messaging.is_none() && entry.standby.is_none() && entry.changes.is_none() {
        return vec![unparsed_entry(object, "an entry without a list of events", raw.get())];
    }
    let mut events = Vec::new();
    for (list, what) in [(entry.messaging, "messaging"), (entry.standby, "standby"), (entry.changes, "changes")] {
        let Some(list) = list else { continue };
        match json::shape::<Elements<'_>>(list) {
            Some(elements) => {
                events.extend(elements.into_iter().map(|element| self::element(object, space, what, element)))
            }
            None => events.push(unparsed_entry(object, "not a list of events", raw.get())),
        }
    }
    events
}

fn element(object: &str, space: &str, list: &str, raw: &RawValue) -> Parsed {
    let Some(element) = json::shape::<Element<'_>>(raw) else {
        let alone = format!(r#"{{"{list}":[{}]}}"#, raw.get());
        return unparsed_entry(object, "an event of unknown shape", &alone);
    };
    let (what, message) = match (&element.message, &element.postback) {
        (Some(message), _) if message.is_echo => ("echo", Some(message)),
        (Some(message), _) => ("message", Some(message)),
        (None, Some(postback)) => ("postback", Some(postback)),
        (None, None) => (list, None),
    };
    let mid = message.and_then(|message| message.mid.as_deref());
    let identity = match mid {
        Some(mid) => {
            Identity { kind: if what == "echo" { "echo" } else { "message" }, id: mid.to_owned(), status: None }
        }
        None => Identity::of_bytes("event", raw.get().as_bytes()),
    };
    Parsed {
        party: party(&element, space, what == "echo"),
        provider_id: mid.map(str::to_owned),
        said_at: element.timestamp.map(|millis| Micros(millis.saturating_mul(1_000))),
        ..Parsed::record(what, identity)
    }
}

/// In an echo the business speaks, so the ends change places.
fn party(element: &Element<'_>, space: &str, echo: bool) -> Option<Party> {
    let (sender, recipient) = (element.sender.as_ref()?, element.recipient.as_ref()?);
    let (customer, account) = if echo { (recipient, sender) } else { (sender, recipient) };
    let address = Address { space: space.to_owned(), value: customer.id.to_string() };
    Some(Party { account: account.id.to_string(), address })
}
