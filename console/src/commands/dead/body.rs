//! What a letter says, opened; and the same as it may be shown: redacted, unless a person asked to see it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::domain::{Content, Event, Inbound};
use common::store::{DeadBody, DeadLetter, Store, StoreError};
use serde_json::{Value, json};

/// An opened letter.
pub(super) struct Opened(DeadBody);

/// Opens a letter; one whose person was erased says nothing, and one that does not open says why.
pub(super) async fn open(store: &Store, letter: &DeadLetter) -> Result<Opened, StoreError> {
    store.dead_body(letter).await.map(Opened)
}

impl Opened {
    /// Whether it says this, however it is capitalised; `wanted` is in lower case.
    pub(super) fn says(&self, wanted: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(wanted);
        match &self.0 {
            DeadBody::Event(inbound) => has(&said(inbound)),
            DeadBody::Send { parts, answers } => {
                parts.iter().any(|part| has(part)) || answers.iter().any(|inbound| has(&said(inbound)))
            }
            DeadBody::Envelope(_) | DeadBody::Nothing | DeadBody::Closed(_) => false,
        }
    }

    /// The event that a person may edit.
    pub(super) fn into_event(self) -> Option<Box<Inbound>> {
        match self.0 {
            DeadBody::Event(inbound) => Some(inbound),
            DeadBody::Send { .. } | DeadBody::Envelope(_) | DeadBody::Nothing | DeadBody::Closed(_) => None,
        }
    }

    /// As JSON: what it is and how long, and the words only when revealed.
    pub(super) fn shown(&self, reveal: bool) -> Value {
        let hide = |value: Value| if reveal { value } else { Value::Null };
        match &self.0 {
            DeadBody::Event(inbound) => event(inbound, reveal),
            DeadBody::Send { parts, answers } => json!({
                "kind": "reply",
                "parts": parts.len(),
                "size": parts.iter().map(|part| part.chars().count()).sum::<usize>(),
                "text": hide(json!(parts.join("\n"))),
                "answers": answers.iter().map(|inbound| event(inbound, reveal)).collect::<Vec<_>>(),
            }),
            DeadBody::Envelope(bytes) => {
                json!({"kind": "envelope", "size": bytes.len(), "text": hide(json!(STANDARD.encode(bytes)))})
            }
            DeadBody::Nothing => Value::Null,
            DeadBody::Closed(why) => json!({"kind": "closed", "error": why, "size": null, "text": null}),
        }
    }
}

/// An event's words; a webhook that could not be read is shown as it came.
pub(super) fn said(inbound: &Inbound) -> String {
    match &inbound.event {
        Event::Message(content) | Event::Echo(content) => match content {
            Content::Text(text) => text.clone(),
            Content::Unreadable(what) => format!("[{what}]"),
        },
        Event::Unparsed { raw, .. } => String::from_utf8_lossy(raw).into_owned(),
        Event::Status(_) | Event::Consent(_) | Event::Record { .. } | Event::Tally(_) => String::new(),
    }
}

fn event(inbound: &Inbound, reveal: bool) -> Value {
    let size = match &inbound.event {
        Event::Unparsed { raw, .. } => raw.len(),
        Event::Message(_)
        | Event::Echo(_)
        | Event::Status(_)
        | Event::Consent(_)
        | Event::Record { .. }
        | Event::Tally(_) => said(inbound).chars().count(),
    };
    let mut value = json!({"kind": inbound.event.kind().as_str(), "size": size, "text": null, "party": null});
    if reveal {
        value["text"] = said(inbound).into();
        value["party"] = json!(inbound.party);
        value["event"] = json!(inbound);
    }
    value
}
