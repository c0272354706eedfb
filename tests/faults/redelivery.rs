//! The queue promises at least once; the customer gets one reply.

use common::domain::EventId;
use sqlx::{Connection, Executor, PgConnection};

use super::letters::{Letter, Post};
use super::on_every_backend;
use crate::contracts::eventually;
use crate::stack::{Doors, Plan};

const CUSTOMER: &str = "15550130";

async fn the_same_envelope_delivered_twice_is_answered_once(doors: Doors) {
    let stack = Plan::on(doors).await.workers(2).start().await;
    let post = Post::of(&stack).await;
    let letter = Letter { id: "wamid.same", from: CUSTOMER, text: "Do you ship?", sequence: 1, previous: None };
    let envelope = post.seal(letter);
    post.publish(&envelope).await;
    post.publish(&envelope).await;
    assert_eq!(stack.end_of(envelope.header().event_id).await, "replied");
    // Once more after the answer.
    post.publish(&envelope).await;
    eventually("the queue is empty", async || post.ready("handrail.work").await == 0).await;
    let last = stack.say("15550131", "And where are you?").await;
    assert_eq!(stack.end_of(last).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.ended["replied"], ledger.unvouched), (2, 2, 0));
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_not_acked_is_taken_in_by_another_and_answered_once() {
    let mut stack = Plan::on(Doors::Servers).await.start().await;
    let post = Post::of(&stack).await;
    // Nobody can take anything in while this is held, and so nobody can ack.
    let mut lock = PgConnection::connect(&stack.settings["DATABASE_URL"]).await.unwrap();
    lock.execute("BEGIN; LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut events: Vec<EventId> = Vec::new();
    for number in 0..5 {
        events.push(stack.say(&format!("1555013{number}"), "Are you open?").await);
    }
    eventually("all are delivered", async || post.ready("handrail.work").await == 0).await;
    stack.workers[0].crash();
    stack.workers.clear();
    eventually("all are back", async || post.ready("handrail.work").await == 5).await;
    lock.execute("ROLLBACK").await.unwrap();
    stack.add_worker();
    for event in events {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.sends.accepted), (5, 5));
    assert_eq!(stack.graph.sends().len(), 5);
}

on_every_backend!(the_same_envelope_delivered_twice_is_answered_once);
