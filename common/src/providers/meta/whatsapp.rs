//! WhatsApp Cloud API: messages, statuses, a person's own messages (echoes), and marketing preferences.

mod message;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Elements, unparsed_entry};
use crate::domain::{Address, Consent, Event, Identity, Party, SendId, Status, StatusUpdate};
use crate::providers::{Parsed, json};

const OBJECT: &str = "whatsapp_business_account";

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    changes: Elements<'a>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    messages: Option<Elements<'a>>,
    #[serde(borrow)]
    statuses: Option<Elements<'a>>,
    #[serde(borrow)]
    message_echoes: Option<Elements<'a>>,
    #[serde(borrow)]
    user_preferences: Option<Elements<'a>>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    phone_number_id: Cow<'a, str>,
}

/// Which list of a change an element came from; decides how it is read.
#[derive(Clone, Copy)]
enum List {
    Messages,
    Statuses,
    Echoes,
    Preferences,
}

/// Where an element came from: enough to wrap it alone, and to name the business's end.
struct Place<'a> {
    field: &'a str,
    metadata: &'a RawValue,
    account: &'a str,
}

impl List {
    const fn key(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Statuses => "statuses",
            Self::Echoes => "message_echoes",
            Self::Preferences => "user_preferences",
        }
    }
}

/// Every event of an entry.
pub(super) fn entry(raw: &RawValue) -> Vec<Parsed> {
    match json::shape::<Entry<'_>>(raw) {
        Some(entry) => entry.changes.iter().flat_map(|change| self::change(&entry, change)).collect(),
        None => vec![unparsed_entry(OBJECT, "an entry without changes", raw.get())],
    }
}

fn change(entry: &Entry<'_>, raw: &RawValue) -> Vec<Parsed> {
    let alone = |problem| vec![unparsed_entry(OBJECT, problem, &format!(r#"{{"changes":[{}]}}"#, raw.get()))];
    let Some(change) = json::shape::<Change<'_>>(raw) else { return alone("a change of unknown shape") };
    if !matches!(change.field.as_ref(), "messages" | "smb_message_echoes" | "user_preferences") {
        return vec![Parsed::record(&change.field, identity_of_change(entry, raw))];
    }
    let Some(value) = json::shape::<Value<'_>>(change.value) else { return alone("a change's value of unknown shape") };
    let Some(metadata) = json::shape::<Metadata<'_>>(value.metadata).filter(|m| !m.phone_number_id.is_empty()) else {
        return alone("no metadata.phone_number_id");
    };
    let place = Place { field: &change.field, metadata: value.metadata, account: &metadata.phone_number_id };
    let lists = [
        (List::Messages, value.messages),
        (List::Statuses, value.statuses),
        (List::Echoes, value.message_echoes),
        (List::Preferences, value.user_preferences),
    ];
    if lists.iter().all(|(_, elements)| elements.is_none()) {
        // Errors that belong to no message are told this way; anything else may hold what must not be lost.
        return match value.errors {
            Some(_) => vec![Parsed::record("errors", identity_of_change(entry, raw))],
            None => alone("a change without a known list"),
        };
    }
    let elements =
        lists.into_iter().flat_map(|(list, elements)| elements.unwrap_or_default().into_iter().map(move |e| (list, e)));
    elements.map(|(list, element)| self::element(&place, list, element)).collect()
}

/// A change without ids of its own is told apart by its entry's account and time too.
fn identity_of_change(entry: &Entry<'_>, raw: &RawValue) -> Identity {
    let text = |part: Option<&RawValue>| part.map_or("", RawValue::get).to_owned();
    Identity::of_bytes("event", format!("{}|{}|{}", text(entry.id), text(entry.time), raw.get()).as_bytes())
}

fn element(place: &Place<'_>, list: List, raw: &RawValue) -> Parsed {
    let read = match list {
        List::Messages => message::received(place, raw),
        List::Statuses => status(place, raw),
        List::Echoes => message::echoed(place, raw),
        List::Preferences => preference(place, raw),
    };
    read.unwrap_or_else(|problem| place.unparsed(problem, list, raw))
}

impl Place<'_> {
    /// One element, alone in the envelope it came in.
    fn unparsed(&self, problem: &str, list: List, raw: &RawValue) -> Parsed {
        let (field, metadata, key, raw) = (self.field, self.metadata.get(), list.key(), raw.get());
        let value = format!(r#"{{"metadata":{metadata},"{key}":[{raw}]}}"#);
        unparsed_entry(OBJECT, problem, &format!(r#"{{"changes":[{{"field":"{field}","value":{value}}}]}}"#))
    }

    /// The conversation with a number, if it has a digit at all.
    fn party(&self, number: &str) -> Option<Party> {
        let value: String = number.chars().filter(char::is_ascii_digit).collect();
        let address = Address { space: "phone".to_owned(), value };
        (!address.value.is_empty()).then(|| Party { account: self.account.to_owned(), address })
    }
}

#[derive(Deserialize)]
struct WrittenStatus<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    recipient_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    biz_opaque_callback_data: Option<Cow<'a, str>>,
    #[serde(default)]
    errors: Vec<WrittenError>,
}

#[derive(Deserialize)]
struct WrittenError {
    code: Option<i64>,
}

fn status(place: &Place<'_>, raw: &RawValue) -> Result<Parsed, &'static str> {
    let written = json::shape::<WrittenStatus<'_>>(raw).ok_or("a status of unknown shape")?;
    if written.id.is_empty() {
        return Err("a status without id");
    }
    let provider_id = written.id.into_owned();
    let identity =
        Identity { kind: "status", id: provider_id.clone(), status: Some(written.status.clone().into_owned()) };
    let event = match Status::from_word(&written.status) {
        Some(status) => Event::Status(StatusUpdate {
            send_id: written.biz_opaque_callback_data.and_then(|ours| ours.parse::<SendId>().ok()),
            provider_id: provider_id.clone(),
            status,
            error: written.errors.iter().find_map(|error| error.code).map(|code| code.to_string()),
        }),
        None => Event::Record { what: format!("status.{}", crate::providers::word(&written.status)) },
    };
    let party = written.recipient_id.and_then(|number| place.party(&number));
    let said_at = json::seconds(written.timestamp);
    Ok(Parsed { identity, party, provider_id: Some(provider_id), said_at, event })
}

#[derive(Deserialize)]
struct WrittenPreference<'a> {
    #[serde(borrow)]
    wa_id: Cow<'a, str>,
    #[serde(borrow)]
    category: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

fn preference(place: &Place<'_>, raw: &RawValue) -> Result<Parsed, &'static str> {
    let written = json::shape::<WrittenPreference<'_>>(raw).ok_or("a preference of unknown shape")?;
    let party = place.party(&written.wa_id).ok_or("a preference without a number")?;
    let given = match written.value.as_ref() {
        "resume" => Some(true),
        "stop" => Some(false),
        _ => None,
    };
    let event = match given {
        Some(given) => Event::Consent(Consent { scope: written.category.into_owned(), given }),
        None => Event::Record { what: "user_preferences".to_owned() },
    };
    let identity = Identity::of_bytes("consent", raw.get().as_bytes());
    let said_at = json::seconds(written.timestamp);
    Ok(Parsed { identity, party: Some(party), provider_id: None, said_at, event })
}
