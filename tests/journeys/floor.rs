//! The floor: whoever holds it speaks, nobody else, and no customer is left between the two.

use common::domain::{ConversationId, Floor};
use serde_json::{Value, json};
use stand_ins::GraphBehaviour;

use super::bodies;
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, SHORT_WAITS, Stack, WHATSAPP};

const CUSTOMER: &str = "15550101";
const QUESTION: &str = "What are your opening hours?";

/// `handrail conversation`, as a colleague; what it told as JSON.
async fn conversation(stack: &Stack, verb: &str, id: ConversationId, more: &[&str]) -> Value {
    let id = id.to_string();
    let mut arguments = vec!["--json", "conversation", verb, &id];
    arguments.extend(more);
    let (code, told, said) = stack.handrail(&arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {said}");
    serde_json::from_str(&told).expect("JSON")
}

async fn floor_becomes(stack: &Stack, id: ConversationId, floor: Floor) {
    eventually("the floor has moved", async || stack.view(id).await.summary.floor == floor).await;
}

/// The authors of everything that left or may yet leave.
async fn authors(stack: &Stack, id: ConversationId) -> Vec<String> {
    let sends = stack.view(id).await.outbox.into_iter();
    sends.filter(|send| send.state != "superseded").map(|send| send.author).collect()
}

async fn who_asks_for_a_person_is_handed_to_one_and_comes_back_with_the_whole_story(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let rows = [
        (CUSTOMER, "I want to talk to a person", "I have passed your conversation to a person"),
        ("15550102", "Hola, quiero hablar con una persona", "He pasado su conversación a una persona"),
        ("15550103", "Olá, quero falar com um atendente", "Passei sua conversa para uma pessoa"),
    ];
    let mut asked = Vec::new();
    for (customer, text, _) in rows {
        asked.push(stack.say(customer, text).await);
    }
    for ((customer, text, says), event) in rows.into_iter().zip(&asked) {
        assert_eq!(stack.end_of(*event).await, "handed_off", "{text}");
        let id = stack.conversation_of(*event).await;
        assert_eq!(stack.view(id).await.summary.floor, Floor::Queued);
        let later = stack.say(customer, "Are you there?").await;
        assert_eq!(stack.end_of(later).await, "handed_off");
        stack.settled().await;
        let received = stack.received_by(customer);
        assert!(received.len() == 1 && received[0].starts_with(says), "one text only: {received:?}");
    }
    assert!(stack.model.calls().is_empty());

    let id = stack.conversation_of(asked[0]).await;
    conversation(&stack, "reply", id, &["Hello, this is a colleague. We do ship to Lima."]).await;
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER)[1], "Hello, this is a colleague. We do ship to Lima.");
    assert_eq!(stack.view(id).await.summary.floor, Floor::Human);
    let thanks = stack.say(CUSTOMER, "Thank you, that was quick").await;
    assert_eq!(stack.end_of(thanks).await, "handed_off");

    assert_eq!(conversation(&stack, "return", id, &[]).await["changed"], true);
    let next = stack.say(CUSTOMER, QUESTION).await;
    assert_eq!(stack.end_of(next).await, "replied");
    let calls = stack.model.calls();
    let said: Vec<&str> = calls[0].lines.iter().map(|(_, text)| text.as_str()).collect();
    let story = said.join("\n");
    let parts = ["talk to a person", "Are you there?", "this is a colleague", "that was quick", QUESTION];
    let places: Vec<_> =
        parts.iter().map(|part| story.find(part).unwrap_or_else(|| panic!("{part}: {story}"))).collect();
    assert!(places.is_sorted(), "in the order in which it was said: {story}");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 3);
}

async fn a_person_who_writes_from_the_shops_phone_takes_the_floor_from_a_model_at_work(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let held = stack.model.hold();
    let event = stack.say(CUSTOMER, QUESTION).await;
    stack.model.wait_for_calls(1).await.unwrap();
    stack.post(bodies::echo("wamid.echo", CUSTOMER, "Hi, this is the shop. Until six.")).await;
    assert_eq!(stack.end_of(bodies::event("whatsapp", "echo", "wamid.echo", None)).await, "recorded");
    held.release();
    assert_eq!(stack.end_of(event).await, "handed_off");
    let later = stack.say(CUSTOMER, "Thanks!").await;
    assert_eq!(stack.end_of(later).await, "handed_off");
    let ledger = stack.settled().await;
    assert_eq!((ledger.sends.committed, stack.graph.sends().len(), stack.model.calls().len()), (0, 0, 1));
    let id = stack.conversation_of(event).await;
    assert_eq!(stack.view(id).await.summary.floor, Floor::Human);

    // When the assistant answers again it knows what the shop said.
    assert_eq!(conversation(&stack, "return", id, &[]).await["changed"], true);
    let next = stack.say(CUSTOMER, "And on Sunday?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    assert!(stack.model.calls()[1].body.to_string().contains("this is the shop. Until six."));
}

async fn a_take_over_stops_a_model_at_work_and_a_reply_not_yet_sent(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let held = stack.model.hold();
    let thinking = stack.say(CUSTOMER, QUESTION).await;
    stack.model.wait_for_calls(1).await.unwrap();
    let id = stack.conversation_of(thinking).await;
    let taken = conversation(&stack, "take", id, &["--why", "a regular"]).await;
    assert_eq!((&taken["changed"], &taken["begun"]), (&json!(true), &json!([])));
    held.release();
    assert_eq!(stack.end_of(thinking).await, "handed_off");
    stack.settled().await;
    assert!(authors(&stack, id).await.is_empty());

    // The provider takes nothing now, so a reply stays in the outbox.
    stack.graph.always(GraphBehaviour::RateLimit { retry_after: None });
    let unsent = stack.say("15550102", QUESTION).await;
    assert_eq!(stack.end_of(unsent).await, "replied");
    stack.graph.wait_for(1).await.unwrap();
    let id = stack.conversation_of(unsent).await;
    conversation(&stack, "take", id, &[]).await;
    eventually("the message is the person's", async || stack.end_of(unsent).await == "handed_off").await;
    let tried = stack.graph.sends().len();
    stack.graph.always(GraphBehaviour::Accept);
    conversation(&stack, "reply", id, &["We are open until six."]).await;
    stack.settled().await;
    let arrived: Vec<_> = stack.graph.sends().split_off(tried).into_iter().map(|send| send.text).collect();
    assert_eq!(arrived, ["We are open until six."]);
    assert_eq!(authors(&stack, id).await, ["person"]);
}

async fn nobody_is_stranded_with_a_person_who_does_not_come(doors: Doors) {
    let file = format!("{WHATSAPP}\n{SHORT_WAITS}floor_return_seconds = 2\n");
    let stack = Plan::on(doors).await.file(&file).start().await;
    let asked = stack.say(CUSTOMER, "Hola, quiero hablar con una persona").await;
    assert_eq!(stack.end_of(asked).await, "handed_off");
    stack.post(bodies::echo("wamid.echo", "15550102", "Hi, this is the shop.")).await;
    let echo = bodies::event("whatsapp", "echo", "wamid.echo", None);
    assert_eq!(stack.end_of(echo).await, "recorded");
    let (unclaimed, claimed) = (stack.conversation_of(asked).await, stack.conversation_of(echo).await);
    floor_becomes(&stack, unclaimed, Floor::Assistant).await;
    floor_becomes(&stack, claimed, Floor::Assistant).await;
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert_eq!(received.len(), 2);
    assert!(received[1].starts_with("Nadie de nuestro equipo"), "told, in their language: {received:?}");
    assert!(stack.received_by("15550102").is_empty(), "a person was there: nothing to explain");
    let next = stack.say(CUSTOMER, "Entonces, ¿cuánto cuesta el envío?").await;
    assert_eq!(stack.end_of(next).await, "replied");
}

on_every_backend!(
    who_asks_for_a_person_is_handed_to_one_and_comes_back_with_the_whole_story,
    a_person_who_writes_from_the_shops_phone_takes_the_floor_from_a_model_at_work,
    a_take_over_stops_a_model_at_work_and_a_reply_not_yet_sent,
    nobody_is_stranded_with_a_person_who_does_not_come,
);
