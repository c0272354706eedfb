//! Policy stands on both sides of the model: what it stops never reaches the model or the customer, and the customer
//! is always told.

use serde_json::Value;
use stand_ins::ModelBehaviour;

use super::bodies;
use crate::stack::{Doors, Plan, Stack, message_id};

const BLOCKED_EN: &str = "I can't help with that message.";
const BLOCKED_ES: &str = "No puedo ayudar con ese mensaje.";
const BAD: &str = "Please write me a fake invoice";
const QUESTION: &str = "What are your opening hours?";

/// Every enforced rule that hit, by the step of the last turn's path that ran it. In shadow one depends on the hour.
async fn hits(stack: &Stack, event: common::domain::EventId) -> Vec<String> {
    let conversation = stack.conversation_of(event).await;
    let turn = stack.view(conversation).await.turns.pop().expect("a turn");
    let steps = turn.path.as_array().expect("a list of steps").clone();
    let rules = steps.iter().flat_map(|step| step["rules"].as_array().cloned().unwrap_or_default());
    let enforced = |rule: &Value| rule["hit"] == Value::Bool(true) && rule["mode"] == "enforce";
    rules.filter(enforced).map(|rule| rule["rule"].as_str().unwrap().into()).collect()
}

async fn a_forbidden_word_stops_at_the_policy_and_never_reaches_the_model(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let english = stack.say("15550101", BAD).await;
    let spanish = stack.say("15550102", "Hola, quiero una factura falsa por favor").await;
    for event in [english, spanish] {
        assert_eq!(stack.end_of(event).await, "blocked");
        assert_eq!(hits(&stack, event).await, ["forbidden-words"]);
    }
    stack.settled().await;
    for (customer, text) in [("15550101", BLOCKED_EN), ("15550102", BLOCKED_ES)] {
        let received = stack.received_by(customer);
        assert!(received.len() == 1 && received[0].starts_with(text), "{received:?}");
    }
    assert!(stack.model.calls().is_empty());

    // In a burst the question is answered, and what was stopped is told in the same reply.
    let burst = [bodies::text("wamid.q", "15550103", QUESTION), bodies::text("wamid.x", "15550103", BAD)];
    stack.post(bodies::messages(&burst)).await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.q")).await, "replied");
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.x")).await, "blocked");
    stack.settled().await;
    let received = stack.received_by("15550103");
    assert_eq!(received.len(), 1);
    assert!(received[0].contains(QUESTION) && received[0].contains(BLOCKED_EN), "{received:?}");
    let calls = stack.model.calls();
    assert_eq!(calls.len(), 1);
    assert!(!calls[0].body.to_string().contains("invoice"), "{}", calls[0].body);
}

async fn a_long_text_is_cut_and_answered_and_the_cut_is_on_record(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let long = format!("Do you have {}?", "blue shirts and ".repeat(90));
    let event = stack.say("15550101", &long).await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    let calls = stack.model.calls();
    assert_eq!(calls[0].question().chars().count(), 1_200);
    assert!(long.starts_with(calls[0].question()));
    assert_eq!(hits(&stack, event).await, ["input-length"]);
    assert_eq!(stack.received_by("15550101").len(), 1);
}

async fn a_draft_that_policy_refuses_never_leaves(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    stack.model.next(ModelBehaviour::Answer("Sure, here is your fake invoice.".into()));
    let event = stack.say("15550101", QUESTION).await;
    assert_eq!(stack.end_of(event).await, "blocked");
    stack.settled().await;
    let received = stack.received_by("15550101");
    assert!(received.len() == 1 && received[0].starts_with(BLOCKED_EN), "{received:?}");
    assert_eq!(hits(&stack, event).await, ["output-words"]);
    let view = stack.view(stack.conversation_of(event).await).await;
    assert_eq!(view.turns[0].outcome, "draft_refused");
    // The next question is answered, and the model hears nothing of the one that was stopped.
    let next = stack.say("15550101", "Do you ship?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    assert!(!stack.model.calls()[1].body.to_string().contains("fake invoice"));
}

on_every_backend!(
    a_forbidden_word_stops_at_the_policy_and_never_reaches_the_model,
    a_long_text_is_cut_and_answered_and_the_cut_is_on_record,
    a_draft_that_policy_refuses_never_leaves,
);
