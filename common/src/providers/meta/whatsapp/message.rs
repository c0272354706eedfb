//! One WhatsApp message: what of it is text, what cannot be read yet, what is only recorded.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Place;
use crate::domain::{Content, Event, Identity};
use crate::providers::{Parsed, json, word};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    what: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    button: Option<&'a RawValue>,
    #[serde(borrow)]
    interactive: Option<&'a RawValue>,
    #[serde(borrow)]
    image: Option<&'a RawValue>,
    #[serde(borrow)]
    video: Option<&'a RawValue>,
    #[serde(borrow)]
    document: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Button<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Interactive<'a> {
    #[serde(borrow, rename = "type")]
    what: Cow<'a, str>,
    #[serde(borrow)]
    button_reply: Option<Chosen<'a>>,
    #[serde(borrow)]
    list_reply: Option<Chosen<'a>>,
}

#[derive(Deserialize)]
struct Chosen<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    caption: Option<Cow<'a, str>>,
}

/// What a message amounts to.
enum Meaning {
    Said(Content),
    Noted(String),
}

/// A customer's message.
pub(super) fn received(place: &Place<'_>, raw: &RawValue) -> Result<Parsed, &'static str> {
    let message = shape(raw)?;
    let party = message.from.as_deref().and_then(|from| place.party(from)).ok_or("a message without a sender")?;
    let event = match meaning(&message)? {
        Meaning::Said(content) => Event::Message(content),
        Meaning::Noted(what) => Event::Record { what },
    };
    let said_at = json::seconds(message.timestamp);
    let identity = Identity { kind: "message", id: message.id.clone().into_owned(), status: None };
    Ok(Parsed { identity, party: Some(party), provider_id: Some(message.id.into_owned()), said_at, event })
}

/// A message that a person of the business wrote on their own phone. Whatever they sent, they are there: also what
/// we would only note from a customer takes the floor, except for signs that nobody wrote.
pub(super) fn echoed(place: &Place<'_>, raw: &RawValue) -> Result<Parsed, &'static str> {
    let message = shape(raw)?;
    let party = message.to.as_deref().and_then(|to| place.party(to)).ok_or("an echo without a recipient")?;
    let event = match meaning(&message)? {
        Meaning::Said(content) => Event::Echo(content),
        Meaning::Noted(what) if matches!(what.as_str(), "reaction" | "system" | "edit" | "revoke") => {
            Event::Record { what: format!("echo.{what}") }
        }
        Meaning::Noted(what) => Event::Echo(Content::Unreadable(what)),
    };
    let said_at = json::seconds(message.timestamp);
    let identity = Identity { kind: "echo", id: message.id.clone().into_owned(), status: None };
    Ok(Parsed { identity, party: Some(party), provider_id: Some(message.id.into_owned()), said_at, event })
}

fn shape(raw: &RawValue) -> Result<Message<'_>, &'static str> {
    json::shape::<Message<'_>>(raw).filter(|message| !message.id.is_empty()).ok_or("a message of unknown shape")
}

fn meaning(message: &Message<'_>) -> Result<Meaning, &'static str> {
    let said = |text: Cow<'_, str>| Ok(Meaning::Said(Content::Text(text.into_owned())));
    match message.what.as_ref() {
        "text" => said(part::<Text<'_>>(message.text)?.body),
        "button" => said(part::<Button<'_>>(message.button)?.text),
        "interactive" => interactive(message.interactive),
        "image" => captioned("image", message.image),
        "video" => captioned("video", message.video),
        "document" => captioned("document", message.document),
        "audio" | "voice" => Ok(Meaning::Said(Content::Unreadable("audio".to_owned()))),
        what @ ("location" | "contacts") => Ok(Meaning::Said(Content::Unreadable(what.to_owned()))),
        // Reactions, stickers, orders, system notes, what the API itself cannot show, and types yet to come.
        other => Ok(Meaning::Noted(word(other))),
    }
}

fn part<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<T, &'static str> {
    raw.and_then(json::shape).ok_or("a message whose content is of unknown shape")
}

fn interactive(raw: Option<&RawValue>) -> Result<Meaning, &'static str> {
    let interactive = part::<Interactive<'_>>(raw)?;
    let chosen = match interactive.what.as_ref() {
        "button_reply" => interactive.button_reply,
        "list_reply" => interactive.list_reply,
        other => return Ok(Meaning::Noted(format!("interactive.{}", word(other)))),
    };
    let title = chosen.ok_or("a reply without its title")?.title;
    Ok(Meaning::Said(Content::Text(title.into_owned())))
}

fn captioned(kind: &str, raw: Option<&RawValue>) -> Result<Meaning, &'static str> {
    let caption = part::<Media<'_>>(raw)?.caption.filter(|caption| !caption.trim().is_empty());
    Ok(Meaning::Said(match caption {
        Some(caption) => Content::Text(caption.into_owned()),
        None => Content::Unreadable(kind.to_owned()),
    }))
}
