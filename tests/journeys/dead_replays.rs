//! A cause is mended, and its letters run again: in order, once each, and counted by what the workers made of them.

use common::domain::DeadState;
use serde_json::json;
use stand_ins::{GraphBehaviour, ModelBehaviour, ReplySink};

use super::dead_hands::{letter_of, parked, told, told_after};
use crate::contracts::eventually;
use crate::faults::policy_text;
use crate::stack::{APP_SECRET, Doors, Plan, SHORT_WAITS};

const ONE: &str = "15550131";
const OTHER: &str = "15550132";

async fn a_group_of_failures_is_mended_and_replayed_in_order(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let said = [(ONE, "The first question"), (OTHER, "The second question"), (ONE, "The third question")];
    let events = parked(&stack, &said).await;
    let groups = told(&stack, &["dead", "groups"]).await;
    assert_eq!(groups.as_array().map(Vec::len), Some(1), "{groups}");
    let group = &groups[0];
    assert_eq!((&group["class"], &group["stage"]), (&json!("context"), &json!("turn")));
    assert_eq!((&group["count"], &group["open"], &group["contacts"]), (&json!(3), &json!(3), &json!(2)));

    let group = group["id"].as_str().unwrap();
    let ended =
        told(&stack, &["dead", "replay", "--group", group, "--why", "the model is mended", "--by", "kim"]).await;
    assert_eq!((&ended["state"], &ended["count"], &ended["succeeded"]), (&json!("done"), &json!(3), &json!(3)));
    assert_eq!((&ended["who"], &ended["joined"]), (&json!("kim"), &json!(false)));
    assert_eq!(ended["hash"].as_str().map(str::len), Some(64));
    let items = ended["items"].as_array().unwrap();
    assert!(items.len() == 3 && items.iter().all(|item| item["state"] == "succeeded"), "{ended}");
    for event in events {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (3, 0));
    let received = stack.received_by(ONE);
    assert_eq!(received.len(), 4, "{received:?}");
    assert_eq!(received[..2], [policy_text("failure"), policy_text("failure")]);
    assert!(received[2].contains("first") && received[3].contains("third"), "in order: {received:?}");
    assert_eq!(stack.received_by(OTHER).len(), 2);
    let listed = told(&stack, &["dead", "list", "--state", "resolved"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    let replays = told(&stack, &["dead", "replays"]).await;
    assert_eq!((&replays[0]["id"], &replays[0]["why"]), (&ended["id"], &json!("the model is mended")));
}

async fn a_letter_that_fails_again_is_open_again_with_its_history(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let event = parked(&stack, &[(ONE, "Are you open?")]).await[0];
    let id = letter_of(&stack, event).await;
    stack.model.always(ModelBehaviour::ContextTooLong);
    let ended = told_after(&stack, 1, &["dead", "replay", &id]).await;
    assert_eq!((&ended["state"], &ended["failed"]), (&json!("done"), &json!(1)));
    assert_eq!((&ended["items"][0]["id"], &ended["items"][0]["state"]), (&json!(id), &json!("failed")));
    let shown = told(&stack, &["dead", "show", &id]).await;
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("open"), &json!(2)), "the same letter: {shown}");
    let history = shown["history"].as_array().unwrap();
    assert_eq!(history.len(), 2, "{shown}");
    assert!(history.iter().all(|attempt| attempt["class"] == "context" && attempt["worker"].is_string()), "{shown}");
    stack.settled().await;

    stack.model.always(ModelBehaviour::Reply);
    assert_eq!(told(&stack, &["dead", "replay", &id]).await["succeeded"], 1);
    assert_eq!(stack.end_of(event).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (1, 0));
}

async fn a_refused_reply_is_sent_once_more_as_it_was_approved(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    stack.graph.next(GraphBehaviour::Refuse { http: 400, code: 131_026 });
    let event = stack.say(ONE, "Do you ship to Lima?").await;
    eventually("its reply is refused", async || {
        stack.store.event(event).await.is_ok_and(|(view, _)| view.state == "dead")
    })
    .await;
    stack.settled().await;
    let (id, calls) = (letter_of(&stack, event).await, stack.model.calls().len());
    let ended = told(&stack, &["dead", "replay", &id, "--as", "send-stored"]).await;
    assert_eq!((&ended["mode"], &ended["succeeded"]), (&json!("send_stored"), &json!(1)), "{ended}");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (1, 0));
    assert_eq!(stack.model.calls().len(), calls, "no model is asked");
    let sends = stack.graph.sends();
    assert_eq!(sends.len(), 2, "the refused one and its repetition");
    assert_eq!(sends[0].text, sends[1].text);
    assert!(sends[1].wamid.is_some(), "it was taken this time");
}

async fn a_note_closes_a_letter_and_sends_nothing(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let event = parked(&stack, &[(ONE, "Are you open?")]).await[0];
    let (id, sends) = (letter_of(&stack, event).await, stack.graph.sends().len());
    let ended = told(&stack, &["dead", "replay", &id, "--as", "note", "--note", "We called them."]).await;
    assert_eq!((&ended["state"], &ended["succeeded"]), (&json!("done"), &json!(1)), "{ended}");
    let letter = stack.store.dead_letter(id.parse().unwrap()).await.unwrap();
    assert_ne!(letter.state, DeadState::Open);
    let (sealed, open) =
        (told(&stack, &["dead", "show", &id]).await, told(&stack, &["dead", "show", &id, "--reveal"]).await);
    assert_eq!(sealed["note"], json!({"text": null, "size": 15}), "a note may speak of people");
    assert_eq!(open["note"]["text"], "We called them.");
    stack.settled().await;
    assert_eq!(stack.graph.sends().len(), sends);
}

fn source(provider: &str) -> String {
    format!("[[source]]\nname = \"shop\"\nprovider = \"{provider}\"\nsecrets = [\"${{WHATSAPP_APP_SECRET}}\"]\n")
}

async fn a_webhook_that_a_build_can_read_at_last_is_accepted_anew(doors: Doors) {
    let sink = ReplySink::start().await.unwrap();
    let mut stack = Plan::on(doors).await.file(&source("whatsapp")).start().await;
    let body = json!({"id": "order-7", "contact": "c-7", "text": "Do you ship to Lima?"}).to_string();
    let answer = stack.post_signed("shop", APP_SECRET, body).await;
    assert_eq!(answer.status(), 200);
    eventually("it is a dead letter", async || {
        told(&stack, &["dead", "list", "--class", "unparsed"]).await.as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    let id = told(&stack, &["dead", "list"]).await[0]["id"].as_str().unwrap().to_owned();

    let still = told_after(&stack, 1, &["dead", "replay", &id]).await;
    assert_eq!((&still["failed"], &still["items"][0]["state"]), (&json!(1), &json!("failed")), "{still}");
    let listed = told(&stack, &["dead", "list", "--state", "open"]).await;
    assert_eq!((&listed[0]["id"], &listed[0]["class"]), (&json!(id), &json!("unparsed")), "the same error");

    // The fix: a provider whose parser reads it.
    let shop = format!(
        "{}header = \"X-Hub-Signature-256\"\nprefix = \"sha256=\"\nreply_url = \"{}\"\n{SHORT_WAITS}",
        source("hmac"),
        sink.url()
    );
    std::fs::write(stack.folder().join("handrail.toml"), shop).unwrap();
    stack.workers[0].stop().await;
    stack.workers.clear();
    stack.add_worker();
    let ended = told(&stack, &["dead", "replay", "--class", "unparsed"]).await;
    assert_eq!((&ended["state"], &ended["succeeded"]), (&json!("done"), &json!(1)), "{ended}");
    let replies = sink.wait_for(1).await.unwrap();
    let reply = String::from_utf8(replies[0].body.clone()).unwrap();
    assert!(reply.contains("Lima"), "{reply}");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["recorded"], ledger.ended["replied"], ledger.ended["dead"]), (1, 1, 0));
}

async fn a_replay_keeps_the_rate_that_was_set(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let customers: Vec<String> = (0..12).map(|n| format!("155501{:02}", 40 + n)).collect();
    let said: Vec<(&str, &str)> = customers.iter().map(|customer| (customer.as_str(), "Are you open?")).collect();
    parked(&stack, &said).await;
    let ended = told(&stack, &["dead", "replay", "--all", "--rate", "4/s"]).await;
    assert_eq!(ended["succeeded"], 12, "{ended}");
    let id = ended["id"].as_str().unwrap().parse().unwrap();
    let items = stack.store.replay_items(id, 0, 100).await.unwrap();
    let mut times: Vec<_> = items.iter().map(|item| item.dispatched_at.unwrap()).collect();
    times.sort_unstable();
    let taken = times[11].since(times[0]).as_secs_f64();
    assert!((2.6..3.4).contains(&taken), "eleven intervals of a quarter second: {taken}");
}

on_every_backend!(
    a_group_of_failures_is_mended_and_replayed_in_order,
    a_letter_that_fails_again_is_open_again_with_its_history,
    a_refused_reply_is_sent_once_more_as_it_was_approved,
    a_note_closes_a_letter_and_sends_nothing,
    a_webhook_that_a_build_can_read_at_last_is_accepted_anew,
    a_replay_keeps_the_rate_that_was_set,
);
