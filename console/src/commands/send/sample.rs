//! Which body a sample webhook has, for each provider and kind. All numbers and ids are made up.

use common::config::Source;
use common::domain::{Micros, Provider};
use common::providers::samples;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Kind;

/// What the webhook is to say.
pub(crate) struct Wanted<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) from: &'a str,
    pub(crate) id: Option<&'a str>,
}

/// What a customer says who asks for a person.
pub(crate) const PERSON: &str = "I want to talk to a person";
/// Bytes that no parser reads.
pub(crate) const GARBAGE: &str = "this is no JSON: {";

/// The body; `None` where a provider has no such webhook.
pub(super) fn body(source: &Source, wanted: &Wanted<'_>) -> Option<Vec<u8>> {
    if wanted.kind == Kind::Garbage {
        // Unparsed events are told apart by their bytes.
        return Some(format!("{GARBAGE} {}", Uuid::new_v4()).into_bytes());
    }
    let body = match source.provider {
        Provider::Whatsapp => whatsapp(wanted),
        Provider::Hmac | Provider::StandardWebhooks => generic(source, wanted),
        Provider::Messenger | Provider::Instagram => meta(wanted),
        Provider::Elevenlabs => elevenlabs(wanted),
    };
    body.map(String::into_bytes)
}

fn whatsapp(wanted: &Wanted<'_>) -> Option<String> {
    let id = wanted.id.map_or_else(|| format!("wamid.SAMPLE{}", Uuid::new_v4().simple()), str::to_owned);
    let text = |body| samples::whatsapp_texts(&[samples::Text { id: &id, from: wanted.from, body }], Micros::wall());
    match wanted.kind {
        Kind::Text => Some(text(wanted.text)),
        Kind::Person => Some(text(PERSON)),
        Kind::Status => Some(samples::whatsapp_status(&id, None, wanted.from, "delivered", Micros::wall())),
        Kind::Image => changed(samples::WHATSAPP_IMAGE, "messages", &[("id", &id), ("from", wanted.from)]),
        Kind::Echo => changed(samples::WHATSAPP_ECHO, "message_echoes", &[("id", &id), ("to", wanted.from)]),
        Kind::Garbage => None,
    }
}

/// A WhatsApp sample whose one element of `list` has these values, and happened now.
fn changed(sample: &str, list: &str, values: &[(&str, &str)]) -> Option<String> {
    let mut body: Value = serde_json::from_str(sample).ok()?;
    let element = body.pointer_mut(&format!("/entry/0/changes/0/value/{list}/0"))?;
    for (key, value) in values {
        element[*key] = (*value).into();
    }
    element["timestamp"] = Micros::wall().seconds().to_string().into();
    Some(body.to_string())
}

/// An event with its values where the source's pointers look for them.
fn generic(source: &Source, wanted: &Wanted<'_>) -> Option<String> {
    let text = match wanted.kind {
        Kind::Text => wanted.text,
        Kind::Person => PERSON,
        Kind::Image | Kind::Status | Kind::Echo | Kind::Garbage => return None,
    };
    let id = wanted.id.map_or_else(|| format!("evt_{}", Uuid::new_v4().simple()), str::to_owned);
    let pointers = &source.pointers;
    let mut body = json!({"type": "message.created"});
    for (pointer, value) in [
        (pointers.id.as_deref(), id.as_str()),
        (Some(pointers.contact.as_str()), wanted.from),
        (Some(pointers.text.as_str()), text),
        (Some(pointers.time.as_str()), &Micros::wall().to_string()),
    ] {
        if let Some(pointer) = pointer {
            put(&mut body, pointer, value)?;
        }
    }
    Some(body.to_string())
}

/// Sets what a JSON pointer names, making the objects on the way.
fn put(body: &mut Value, pointer: &str, value: &str) -> Option<()> {
    let mut place = body;
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = json!({});
        }
        place = place.as_object_mut()?.entry(key).or_insert(Value::Null);
    }
    *place = value.into();
    Some(())
}

fn meta(wanted: &Wanted<'_>) -> Option<String> {
    (wanted.kind == Kind::Text).then(|| samples::MESSENGER.to_owned())
}

fn elevenlabs(wanted: &Wanted<'_>) -> Option<String> {
    if wanted.kind != Kind::Text {
        return None;
    }
    let mut body: Value = serde_json::from_str(samples::ELEVENLABS_TRANSCRIPTION).ok()?;
    let id = wanted.id.map_or_else(|| format!("conv_{}", Uuid::new_v4().simple()), str::to_owned);
    body["data"]["conversation_id"] = id.into();
    body["event_timestamp"] = Micros::wall().seconds().into();
    Some(body.to_string())
}

#[cfg(test)]
mod tests {
    use common::domain::{Content, Event, SourceName};
    use common::providers::parse_again;

    use super::*;

    fn source(provider: Provider) -> Source {
        Source::bare(SourceName::parse("sample").unwrap(), provider)
    }

    fn wanted(kind: Kind) -> Wanted<'static> {
        Wanted { kind, text: "Do you ship to Lima?", from: "15550100", id: Some("one") }
    }

    #[test]
    fn every_sample_is_read_by_its_provider_as_what_it_claims_to_be() {
        let read = |provider, kind| {
            let (source, body) = (source(provider), body(&source(provider), &wanted(kind)).unwrap());
            parse_again(&source, &body, Some("one")).remove(0)
        };
        for provider in [Provider::Whatsapp, Provider::Hmac, Provider::StandardWebhooks] {
            let said = read(provider, Kind::Text);
            assert!(matches!(&said.event, Event::Message(Content::Text(t)) if t == "Do you ship to Lima?"), "{said:?}");
            assert_eq!(said.party.unwrap().address.value, "15550100");
        }
        assert!(matches!(read(Provider::Whatsapp, Kind::Status).event, Event::Status(_)));
        assert!(matches!(read(Provider::Whatsapp, Kind::Echo).event, Event::Echo(_)));
        assert!(matches!(read(Provider::Whatsapp, Kind::Image).event, Event::Message(Content::Unreadable(_))));
        assert!(matches!(read(Provider::Whatsapp, Kind::Garbage).event, Event::Unparsed { .. }));
        for provider in Provider::ALL {
            let (source, kind) = (source(provider), Kind::Text);
            let events = parse_again(&source, &body(&source, &wanted(kind)).unwrap(), Some("one"));
            assert!(!events.iter().any(|inbound| matches!(inbound.event, Event::Unparsed { .. })), "{provider}");
        }
    }

    #[test]
    fn a_source_with_pointers_of_its_own_gets_its_values_there() {
        let mut source = source(Provider::Hmac);
        source.pointers.contact = "/who/number".into();
        let body = body(&source, &wanted(Kind::Text)).unwrap();
        let inbound = parse_again(&source, &body, None).remove(0);
        assert_eq!(inbound.party.unwrap().address.value, "15550100");
    }
}
