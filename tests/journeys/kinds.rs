//! Every kind of WhatsApp message has its own end, and a POST is taken whole, however much it holds.

use common::store::DeadFilter;
use serde_json::{Value, json};

use super::bodies::{self, message};
use crate::stack::{APP_SECRET, Doors, Plan, Stack, message_id};

/// What becomes of a kind.
enum Fate {
    /// The assistant is asked this.
    Asked(&'static str),
    /// The policy says that it cannot read this.
    Unread(&'static str),
    /// Nothing is said.
    Recorded,
}

fn kinds() -> Vec<(&'static str, Value, Fate)> {
    use Fate::{Asked, Recorded, Unread};
    let media = |caption: Option<&str>| {
        let bare = json!({"mime_type": "x/y", "sha256": "c2FtcGxl", "id": "1"});
        caption.map_or(bare.clone(), |caption| {
            let mut media = bare;
            media["caption"] = caption.into();
            media
        })
    };
    let button = json!({"type": "button_reply", "button_reply": {"id": "b", "title": "Track my order"}});
    let list = json!({"type": "list_reply", "list_reply": {"id": "l", "title": "Returns", "description": "How"}});
    vec![
        ("button", json!({"payload": "yes", "text": "Yes, please"}), Asked("Yes, please")),
        ("interactive", button, Asked("Track my order")),
        ("interactive", list, Asked("Returns")),
        ("image", media(Some("Is this part in stock?")), Asked("Is this part in stock?")),
        ("video", media(Some("How does this work?")), Asked("How does this work?")),
        ("document", media(Some("Is my order in this list?")), Asked("Is my order in this list?")),
        ("image", media(None), Unread("pictures")),
        ("audio", media(None), Unread("voice messages")),
        ("video", media(None), Unread("videos")),
        ("document", media(Some("  ")), Unread("documents")),
        ("location", json!({"latitude": -12.05, "longitude": -77.04}), Unread("locations")),
        ("contacts", json!([{"name": {"formatted_name": "Sample"}}]), Unread("contact cards")),
        ("reaction", json!({"message_id": "wamid.other", "emoji": "👍"}), Recorded),
        ("sticker", media(None), Recorded),
        ("unsupported", json!({}), Recorded),
        ("order", json!({"catalog_id": "c", "product_items": []}), Recorded),
        ("interactive", json!({"type": "nfm_reply", "nfm_reply": {"response_json": "{}"}}), Recorded),
        ("hologram", json!({"x": 1}), Recorded),
    ]
}

/// Posts it and gives how many events it was said to hold.
async fn accepted(stack: &Stack, body: String) -> u64 {
    let answer = stack.post_signed("whatsapp", APP_SECRET, body).await;
    assert_eq!(answer.status(), 200);
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["status"], "accepted");
    told["accepted"].as_u64().expect("a count")
}

async fn every_kind_of_message_ends_in_its_own_way(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let kinds = kinds();
    let customer = |at: usize| format!("155501{at:02}");
    let id = |at: usize| format!("wamid.kind{at}");
    let messages: Vec<Value> = kinds
        .iter()
        .enumerate()
        .map(|(at, (kind, content, _))| message(&id(at), &customer(at), kind, content))
        .collect();
    assert_eq!(accepted(&stack, bodies::messages(&messages)).await, kinds.len() as u64);
    for (at, (kind, _, fate)) in kinds.iter().enumerate() {
        let end = if matches!(fate, Fate::Recorded) { "recorded" } else { "replied" };
        assert_eq!(stack.end_of(message_id("whatsapp", &id(at))).await, end, "{kind} {at}");
    }
    stack.settled().await;
    for (at, (kind, _, fate)) in kinds.iter().enumerate() {
        let expected = match fate {
            Fate::Asked(question) => vec![format!("[fake model stand-in] You said: {question}")],
            Fate::Unread(what) => vec![format!("I can't read {what} yet. Could you tell me in words?")],
            Fate::Recorded => vec![],
        };
        assert_eq!(stack.received_by(&customer(at)), expected, "{kind} {at}");
    }
    let asked = kinds.iter().filter(|(_, _, fate)| matches!(fate, Fate::Asked(_))).count();
    assert_eq!(stack.model.calls().len(), asked);
}

async fn every_entry_change_and_message_of_a_post_is_taken(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let [first, second] = ["15550101", "15550102"];
    let mine = bodies::change("messages", &json!({"messages": [bodies::text("wamid.a1", first, "Hello")]}));
    let more = bodies::change(
        "messages",
        &json!({
            "messages": [bodies::text("wamid.a2", first, "are you open?")],
            "statuses": [bodies::status("wamid.of-nobody", None, first, "delivered", None)],
        }),
    );
    let other = bodies::change(
        "messages",
        &json!({
            "messages": [bodies::text("wamid.b1", second, "Do you ship?")],
            "statuses": [bodies::status("wamid.of-nobody", None, first, "read", None)],
        }),
    );
    assert_eq!(accepted(&stack, bodies::post(&[vec![mine, more], vec![other]])).await, 5);
    for (id, end) in [("wamid.a1", "joined"), ("wamid.a2", "replied"), ("wamid.b1", "replied")] {
        assert_eq!(stack.end_of(message_id("whatsapp", id)).await, end, "{id}");
    }
    for status in ["delivered", "read"] {
        let event = bodies::event("whatsapp", "status", "wamid.of-nobody", Some(status));
        assert_eq!(stack.end_of(event).await, "recorded");
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.sends.accepted), (5, 2));
    assert_eq!((stack.received_by(first).len(), stack.received_by(second).len()), (1, 1));
}

async fn one_bad_element_spoils_no_other(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let good = |id, from| bodies::text(id, from, "Are you open?");
    let bad = message("wamid.bad", "15550112", "text", &json!({"corpse": "no body"}));
    let body = bodies::messages(&[good("wamid.g1", "15550111"), bad, good("wamid.g2", "15550113")]);
    assert_eq!(accepted(&stack, body).await, 3);
    for id in ["wamid.g1", "wamid.g2"] {
        assert_eq!(stack.end_of(message_id("whatsapp", id)).await, "replied");
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.ended["replied"], ledger.ended["dead"]), (3, 2, 1));
    let letters = stack.store.dead_letters(&DeadFilter::default()).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].class.as_str(), letters[0].stage.as_str()), ("unparsed", "parse"));
    assert!(stack.received_by("15550112").is_empty());
}

on_every_backend!(
    every_kind_of_message_ends_in_its_own_way,
    every_entry_change_and_message_of_a_post_is_taken,
    one_bad_element_spoils_no_other,
);
