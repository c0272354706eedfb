//! A signed webhook becomes one reply, on every backend, whatever is repeated.

use common::domain::Micros;
use common::providers::samples::{self, Text};

use crate::stack::{Doors, Plan};

const CUSTOMER: &str = "15550101";

async fn a_webhook_becomes_one_reply(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let event = stack.say(CUSTOMER, "What are your opening hours?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    let sends = stack.graph.wait_for(1).await.unwrap();
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.sends.accepted), (1, 1));
    assert_eq!(sends[0].to, CUSTOMER);
    assert_eq!(sends[0].number, samples::PHONE_NUMBER_ID);
    assert_eq!(stack.model.calls().len(), 1);
    assert_eq!(stack.model.calls()[0].question(), "What are your opening hours?");
}

async fn a_webhook_told_twice_is_answered_once(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let first = stack.say_as("wamid.twice", CUSTOMER, "Do you ship?").await;
    assert_eq!(stack.say_as("wamid.twice", CUSTOMER, "Do you ship?").await, first);
    assert_eq!(stack.end_of(first).await, "replied");
    stack.say_as("wamid.twice", CUSTOMER, "Do you ship?").await;
    let other = stack.say("15550102", "And where are you?").await;
    assert_eq!(stack.end_of(other).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.ended["replied"]), (2, 2));
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
}

async fn a_burst_gets_one_reply(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let texts = ["Hello", "do you have blue shirts", "in large?"];
    let ids = ["wamid.b1", "wamid.b2", "wamid.b3"];
    let messages: Vec<Text<'_>> = ids.iter().zip(texts).map(|(id, body)| Text { id, from: CUSTOMER, body }).collect();
    stack.post(samples::whatsapp_texts(&messages, Micros::wall())).await;
    let mut ends = Vec::new();
    for id in ids {
        ends.push(stack.end_of(crate::stack::message_id("whatsapp", id)).await);
    }
    assert_eq!(ends, ["joined", "joined", "replied"]);
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
    let calls = stack.model.calls();
    assert_eq!(calls.len(), 1);
    let said: String = calls[0].lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    let places: Vec<_> = texts.iter().map(|text| said.find(text).expect("every message is asked")).collect();
    assert!(places.is_sorted(), "in the order they were said: {said}");
}

on_every_backend!(a_webhook_becomes_one_reply, a_webhook_told_twice_is_answered_once, a_burst_gets_one_reply);
