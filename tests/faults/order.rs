//! Messages that overtake one another on their way: a turn waits for a named predecessor, yet not for ever.

use std::time::Duration;

use common::domain::{EventId, Micros};

use super::letters::{Letter, Post};
use super::{on_every_backend, waits};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, message_id};

const CUSTOMER: &str = "15550180";

fn letter(number: i64, previous: Option<EventId>) -> Letter<'static> {
    let (id, text) = [("wamid.o1", "The first"), ("wamid.o2", "The second")][usize::try_from(number - 1).unwrap()];
    Letter { id, from: CUSTOMER, text, sequence: number, previous }
}

async fn waits_for_its_predecessor(stack: &Stack) {
    eventually("the turn waits", async || stack.workers[0].log().contains("awaits_predecessor")).await;
}

async fn a_message_that_overtook_the_one_before_waits_for_it_and_both_are_answered_in_order(doors: Doors) {
    // With such a wait the predecessor's arrival alone can end it in time.
    let stack = Plan::on(doors).await.file(&waits(&[("predecessor_seconds", 600.0)])).start().await;
    let post = Post::of(&stack).await;
    let [first, second] = ["wamid.o1", "wamid.o2"].map(|id| message_id("whatsapp", id));
    let before = post.seal(letter(1, None));
    post.publish(&post.seal(letter(2, Some(first)))).await;
    waits_for_its_predecessor(&stack).await;
    assert!(stack.model.calls().is_empty());
    post.publish(&before).await;
    assert_eq!(stack.end_of(first).await, "joined");
    assert_eq!(stack.end_of(second).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.late, ledger.sends.accepted, ledger.unvouched), (0, 1, 0));
    let calls = stack.model.calls();
    let said: String = calls[0].lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(said.find("The first").unwrap() < said.find("The second").unwrap(), "{said}");
    assert_eq!(calls.len(), 1);
}

async fn a_wait_for_a_predecessor_ends_and_the_straggler_is_answered_late(doors: Doors) {
    let stack = Plan::on(doors).await.file(&waits(&[("predecessor_seconds", 1.0)])).start().await;
    let post = Post::of(&stack).await;
    let [first, second] = ["wamid.o1", "wamid.o2"].map(|id| message_id("whatsapp", id));
    let straggler = post.seal(letter(1, None));
    let published = Micros::wall();
    post.publish(&post.seal(letter(2, Some(first)))).await;
    assert_eq!(stack.end_of(second).await, "replied");
    let view = stack.view(stack.conversation_of(second).await).await;
    assert!(view.turns[0].started_at.since(published) >= Duration::from_secs(1), "it was waited for");
    assert_eq!(stack.settled().await.late, 0);

    post.publish(&straggler).await;
    assert_eq!(stack.end_of(first).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.late, ledger.ended["replied"], ledger.sends.accepted), (1, 2, 2));
    let view = stack.view(stack.conversation_of(second).await).await;
    let late: Vec<_> = view.inbox.iter().map(|event| (event.id, event.late)).collect();
    assert_eq!(late, [(first, true), (second, false)]);
    let texts = stack.received_by(CUSTOMER);
    assert!(texts[0].contains("The second") && texts[1].contains("The first"), "{texts:?}");
}

async fn a_straggler_that_comes_in_while_its_successor_is_answered_is_late_too(doors: Doors) {
    let stack = Plan::on(doors).await.file(&waits(&[("predecessor_seconds", 0.5)])).start().await;
    let post = Post::of(&stack).await;
    let [first, second] = ["wamid.o1", "wamid.o2"].map(|id| message_id("whatsapp", id));
    let straggler = post.seal(letter(1, None));
    let held = stack.model.hold();
    post.publish(&post.seal(letter(2, Some(first)))).await;
    stack.model.wait_for_calls(1).await.unwrap();
    post.publish(&straggler).await;
    stack.conversation_of(first).await;
    held.release();
    assert_eq!(stack.end_of(second).await, "replied");
    assert_eq!(stack.end_of(first).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.late, ledger.sends.accepted), (1, 2));
}

on_every_backend!(
    a_straggler_that_comes_in_while_its_successor_is_answered_is_late_too,
    a_message_that_overtook_the_one_before_waits_for_it_and_both_are_answered_in_order,
    a_wait_for_a_predecessor_ends_and_the_straggler_is_answered_late,
);
