//! What a replay would come to, told without doing it.

use common::domain::Micros;
use serde_json::{Value, json};
use stand_ins::GraphBehaviour;

use super::dead_hands::{everything, letter_of, literal, parked, tamper, told};
use crate::contracts::eventually;
use crate::stack::{APP_SECRET, Doors, Plan};

fn verdict<'a>(rehearsed: &'a Value, letter: &str) -> &'a Value {
    let items = rehearsed["items"].as_array().unwrap();
    items.iter().find(|item| item["id"] == letter).unwrap_or_else(|| panic!("no {letter} in {rehearsed}"))
}

async fn a_dry_run_tells_every_verdict_and_changes_nothing(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let customers = ["15550150", "15550151", "15550152", "15550153", "15550154"];
    let said: Vec<(&str, &str)> = customers.iter().map(|customer| (*customer, "Do you ship to Lima?")).collect();
    let events = parked(&stack, &said).await;
    let mut letters = Vec::new();
    for event in &events {
        letters.push(letter_of(&stack, *event).await);
    }
    let [well, broken, late, taken, done] = &letters[..] else { panic!("{letters:?}") };
    // One that nobody can read, and one whose reply was refused though a model had been paid for it.
    assert_eq!(stack.post_signed("whatsapp", APP_SECRET, "no JSON").await.status(), 200);
    stack.graph.next(GraphBehaviour::Refuse { http: 400, code: 131_026 });
    let paid = stack.say("15550155", "Are you open on Sundays?").await;
    eventually("both are dead letters", async || {
        told(&stack, &["dead", "list"]).await.as_array().is_some_and(|all| all.len() == 7)
    })
    .await;
    let unread = told(&stack, &["dead", "list", "--class", "unparsed"]).await[0]["id"].as_str().unwrap().to_owned();
    let paid = letter_of(&stack, paid).await;

    assert_eq!(told(&stack, &["dead", "replay", done]).await["succeeded"], 1);
    tamper(&stack, &format!("UPDATE inbox SET body = NULL WHERE id = {}", literal(&stack, events[1].uuid()))).await;
    let conversation = stack.conversation_of(events[2]).await;
    let long_ago = Micros::wall() - std::time::Duration::from_secs(25 * 3_600);
    let conversation = literal(&stack, conversation.uuid());
    tamper(
        &stack,
        &format!("UPDATE conversation SET last_inbound_at = {} WHERE id = {conversation}", moment(&stack, long_ago)),
    )
    .await;
    let conversation = stack.conversation_of(events[3]).await.to_string();
    told(&stack, &["conversation", "take", &conversation]).await;
    stack.settled().await;

    let (before, calls, sends) = (everything(&stack).await, stack.model.calls().len(), stack.graph.sends().len());
    let queue = told(&stack, &["queue", "status"]).await["queues"].clone();
    let ids: Vec<&str> = [well, broken, late, taken, done, &unread, &paid].map(String::as_str).to_vec();
    let rehearsed = told(&stack, &[&["dead", "replay", "--dry-run"][..], &ids[..]].concat()).await;
    assert_eq!(everything(&stack).await, before, "nothing is changed");
    assert_eq!((stack.model.calls().len(), stack.graph.sends().len()), (calls, sends), "nothing is asked or sent");
    assert_eq!(told(&stack, &["queue", "status"]).await["queues"], queue);

    let verdicts = json!({"would_succeed": 2, "same_error": 1, "new_error": 1, "stale": 1, "superseded": 2});
    assert_eq!((&rehearsed["count"], &rehearsed["verdicts"]), (&json!(7), &verdicts), "{rehearsed}");
    let well = verdict(&rehearsed, well);
    assert_eq!((&well["verdict"], &well["voice"]), (&json!("would_succeed"), &json!("scripted")));
    assert_eq!((&well["ends"][0]["end"], &well["reply"]), (&json!("replied"), &Value::Null), "redacted");
    assert_eq!(verdict(&rehearsed, &paid)["voice"], "recorded", "{rehearsed}");
    assert_eq!(verdict(&rehearsed, &unread)["error"], "not JSON");
    let broken = verdict(&rehearsed, broken);
    assert_eq!((&broken["verdict"], &broken["new_class"]), (&json!("new_error"), &json!("poison")));
    assert_eq!(verdict(&rehearsed, late)["verdict"], "stale");
    assert_eq!(verdict(&rehearsed, taken)["reason"], "person_has_floor");
    assert_eq!(verdict(&rehearsed, done)["reason"], "answered");

    let revealed = told(&stack, &["dead", "replay", "--dry-run", "--reveal", &paid]).await;
    assert!(revealed["items"][0]["reply"][0].as_str().unwrap().contains("Sundays"), "{revealed}");
    let (code, words, _) = stack.handrail(&["dead", "replay", "--dry-run", "--all"]).await;
    assert_eq!(code, 0);
    assert!(words.contains("Nothing was changed.") && !words.contains("Sundays"), "{words}");
}

fn moment(stack: &crate::stack::Stack, at: Micros) -> String {
    match stack.settings["DATABASE_URL"].starts_with("postgres") {
        true => format!("'{at}'"),
        false => at.0.to_string(),
    }
}

on_every_backend!(a_dry_run_tells_every_verdict_and_changes_nothing);
