//! What calls a person without being asked for, and what waits: anger over a burst, closed doors, a flood, the more urgent
//! of two calls, and the model's own request.

use common::domain::{EventId, Floor, Priority};
use common::store::HandoffView;
use serde_json::Value;

use super::bodies;
use crate::stack::{Doors, Plan, Stack, WHATSAPP, message_id};

const CUSTOMER: &str = "15550101";
const STARTER: &str = include_str!("../../policies/shop.toml");

/// A stack whose policy is the starter, changed; the folder holds the policy.
async fn under(doors: Doors, changes: &[(&str, &str)]) -> (tempfile::TempDir, Stack) {
    // Its triggers' fixtures are about the starter as it is.
    let (rules, _fixtures) = STARTER.split_once("# Triggers: what calls people").expect("its own section");
    let mut policy = rules.to_owned();
    for (from, to) in changes {
        assert_eq!(policy.matches(from).count(), 1, "{from}");
        policy = policy.replace(from, to);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let file = format!("policy = \"{}\"\n{WHATSAPP}", path.display());
    (folder, Plan::on(doors).await.file(&file).start().await)
}

/// One rule of the starter with a line of it changed.
fn rule(name: &str, from: &str, to: &str) -> (String, String) {
    let start = STARTER.find(&format!("name = \"{name}\"")).expect("the rule");
    let end = start + STARTER[start..].find("\n[[").expect("another after it");
    let rule = &STARTER[start..end];
    assert_eq!(rule.matches(from).count(), 1, "{from} in {rule}");
    (rule.to_owned(), rule.replace(from, to))
}

/// A burst in one POST, so that it is one turn; its events.
async fn burst(stack: &Stack, texts: &[&str]) -> Vec<EventId> {
    let ids: Vec<String> = (0..texts.len()).map(|at| format!("wamid.burst-{at}")).collect();
    let messages = ids.iter().zip(texts).map(|(id, text)| bodies::text(id, CUSTOMER, text));
    stack.post(bodies::messages(&messages.collect::<Vec<_>>())).await;
    ids.iter().map(|id| message_id("whatsapp", id)).collect()
}

/// The one call of an event's conversation.
async fn call(stack: &Stack, event: EventId) -> HandoffView {
    assert_eq!(stack.end_of(event).await, "handed_off");
    let conversation = stack.conversation_of(event).await;
    assert_eq!(stack.view(conversation).await.summary.floor, Floor::Queued);
    let mut calls = stack.store.handoffs(conversation).await.expect("calls");
    assert_eq!(calls.len(), 1);
    calls.pop().expect("just counted")
}

async fn an_angry_burst_calls_a_person_and_one_angry_word_does_not(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let calm = stack.say("15550102", "this is ridiculous").await;
    assert_eq!(stack.end_of(calm).await, "replied");
    let angry = burst(&stack, &["where is my order", "this is ridiculous", "YOU ARE USELESS!!!"]).await;
    let call = call(&stack, angry[2]).await;
    assert_eq!((call.rule.as_str(), call.asked, call.priority), ("angry", false, Priority::High));
    assert_eq!((call.evidence[0].event, call.evidence[0].reason.as_str()), (Some(angry[2]), "angry"));
    assert!(call.summary["en"].starts_with("An angry customer"));
    stack.settled().await;
    assert_eq!(stack.model.calls().len(), 1, "the angry one is no model's");
}

async fn of_two_reasons_in_one_burst_the_more_urgent_one_calls_and_both_are_told(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let said = burst(&stack, &["I want my money back", "it caught fire"]).await;
    let call = call(&stack, said[0]).await;
    assert_eq!((call.rule.as_str(), call.priority), ("urgent", Priority::Urgent));
    let evidence: Vec<_> = call.evidence.iter().map(|each| (each.rule.as_str(), each.event)).collect();
    assert_eq!(evidence, [("urgent", Some(said[1])), ("complaint", Some(said[0]))]);
}

/// Days since the epoch, which was a Thursday.
fn weekday_in(days: u64) -> usize {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    usize::try_from((since.as_secs() / 86_400 + 3 + days) % 7).expect("below seven")
}

async fn who_writes_when_the_shop_is_closed_is_told_when_it_opens_and_handed_to_a_person(doors: Doors) {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    // Far enough from now that no test lasts until then.
    let open = DAYS[weekday_in(3)];
    let (from, until) = (STARTER.find("monday = [").unwrap(), STARTER.find("# How {opens}").unwrap());
    let hours = (&STARTER[from..until], &*format!("{} = [\"09:00-10:00\"]\n", open.to_lowercase()));
    let enforced = rule("out-of-hours", "mode = \"shadow\"", "mode = \"enforce\"");
    let (_folder, stack) = under(doors, &[hours, (&enforced.0, &enforced.1)]).await;
    let event = stack.say(CUSTOMER, "Do you have the blue one?").await;
    let call = call(&stack, event).await;
    assert_eq!((call.rule.as_str(), call.evidence[0].reason.as_str()), ("out-of-hours", "closed"));
    stack.settled().await;
    let told = format!("We are closed now. A person of our team will answer you here on {open} at 9:00 am.");
    assert_eq!(stack.received_by(CUSTOMER), [told]);
    assert!(stack.model.calls().is_empty());
}

async fn a_flood_waits_and_is_then_answered_once_in_its_order_without_an_attempt_counted(doors: Doors) {
    let limited = rule("too-fast", "mode = \"shadow\"", "mode = \"enforce\"\npatience_seconds = 3");
    let few = (limited.0.clone(), limited.1.replace("per_minute = 20", "per_minute = 3"));
    let (_folder, stack) = under(doors, &[(&few.0, &few.1)]).await;
    let texts = ["is it blue?", "is it big?", "is it new?", "is it heavy?", "is it in stock?"];
    let events = burst(&stack, &texts).await;
    for (event, end) in events.iter().zip(["joined", "joined", "joined", "joined", "replied"]) {
        assert_eq!(stack.end_of(*event).await, end);
    }
    stack.settled().await;
    let calls = stack.model.calls();
    assert_eq!((calls.len(), stack.received_by(CUSTOMER).len()), (1, 1));
    let asked: String = calls[0].lines.iter().map(|(_, text)| text.as_str()).collect();
    let places: Vec<_> =
        texts.iter().map(|text| asked.find(text).unwrap_or_else(|| panic!("{text}: {asked}"))).collect();
    assert!(places.is_sorted(), "in the order in which they were said: {asked}");
    // It waited as long as the rule's patience, and what was known then is on record.
    let turn = stack.view(stack.conversation_of(events[0]).await).await.turns.pop().expect("a turn");
    let steps = turn.path.as_array().expect("steps");
    let known = steps.iter().find(|step| step["step"] == "circumstances").map(|step| &step["known"]).expect("recorded");
    assert!(known["waiting"].as_u64() >= Some(3_000), "{known}");
    assert_eq!(known["arrivals"].as_array().map(Vec::len), Some(5), "{known}");
    assert_ne!(known["at"], Value::Null);
}

async fn the_models_own_request_calls_a_person_and_its_mark_is_never_seen(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    stack.model.answer_with(|_| "I will ask a colleague.\n[[handoff: warranty of an old lamp]]".to_owned());
    let event = stack.say(CUSTOMER, "Is my old lamp under warranty?").await;
    let call = call(&stack, event).await;
    assert_eq!((call.rule.as_str(), call.evidence[0].reason.as_str()), ("model-asks", "requested"));
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert!(received.len() == 1 && received[0].starts_with("I have passed your conversation"), "{received:?}");

    // Where no rule listens for it, it is taken out all the same.
    let off = rule("model-asks", "mode = \"enforce\"", "mode = \"shadow\"");
    let (_folder, stack) = under(doors, &[(&off.0, &off.1)]).await;
    stack.model.answer_with(|_| "We open at nine. [[handoff]]".to_owned());
    let event = stack.say(CUSTOMER, "When do you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER), ["We open at nine."]);
}

on_every_backend!(
    an_angry_burst_calls_a_person_and_one_angry_word_does_not,
    of_two_reasons_in_one_burst_the_more_urgent_one_calls_and_both_are_told,
    who_writes_when_the_shop_is_closed_is_told_when_it_opens_and_handed_to_a_person,
    a_flood_waits_and_is_then_answered_once_in_its_order_without_an_attempt_counted,
    the_models_own_request_calls_a_person_and_its_mark_is_never_seen,
);
