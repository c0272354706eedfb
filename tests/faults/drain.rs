//! SIGTERM: no new work, what was begun ends, what can be begun again is handed back at once.

use std::time::Duration;

use common::domain::Micros;
use common::providers::samples::{self, Text};
use nix::sys::signal::Signal;
use stand_ins::GraphBehaviour;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{busy_worker, dead_letters, marks, on_every_backend, repeat_marks, waits};
use crate::contracts::{eventually, soon};
use crate::stack::{APP_SECRET, Doors, Plan, message_id, meta_signature};

const CUSTOMER: &str = "15550140";

async fn a_model_call_is_handed_back_at_once_and_does_not_count_as_a_crash(doors: Doors) {
    // With such a lease only a claim that was handed back can be had by another in time.
    let mut stack = Plan::on(doors).await.workers(2).file(&waits(&[("lease_seconds", 600.0)])).start().await;
    let held = stack.model.hold();
    let texts = ["wamid.d1", "wamid.d2"].map(|id| Text { id, from: CUSTOMER, body: "Are you open?" });
    stack.post(samples::whatsapp_texts(&texts, Micros::wall())).await;
    stack.model.wait_for_calls(1).await.unwrap();
    let place = busy_worker(&stack).await;
    assert_eq!(stack.workers[place].stop().await.code(), Some(0));
    stack.model.wait_for_calls(2).await.unwrap();
    held.release();
    // One by one would be the sign of a crash.
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.d1")).await, "joined");
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.d2")).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
}

async fn a_send_that_was_begun_is_awaited_while_readiness_says_no(doors: Doors) {
    let mut stack = Plan::on(doors).await.file(&waits(&[("send_timeout_seconds", 8.0)])).start().await;
    stack.graph.next(GraphBehaviour::Delay(Duration::from_secs(2)));
    let event = stack.say(CUSTOMER, "Are you open?").await;
    stack.graph.wait_for(1).await.unwrap();
    stack.workers[0].signal(Signal::SIGTERM);
    eventually("it says that it is not ready", async || {
        matches!(stack.workers[0].readiness(&stack.http).await, Ok(false))
    })
    .await;
    assert_eq!(stack.workers[0].stop().await.code(), Some(0));
    assert_eq!(stack.end_of(event).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.sends.accepted, ledger.sends.unknown), (1, 0));
    assert_eq!(stack.graph.sends().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_finishes_the_request_that_it_has_begun() {
    let mut stack = Plan::on(Doors::Embedded).await.start().await;
    let body = samples::whatsapp_texts(&[Text { id: "wamid.slow", from: CUSTOMER, body: "Hello?" }], Micros::wall());
    let address = stack.ingress.url.trim_start_matches("http://").to_owned();
    let mut wire = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /webhooks/whatsapp HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nX-Hub-Signature-256: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len(),
        meta_signature(APP_SECRET, body.as_bytes())
    );
    wire.write_all(head.as_bytes()).await.unwrap();
    // The interim answer says that the request is being read.
    let mut interim = [0; 25];
    soon("the interim answer", wire.read_exact(&mut interim)).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    stack.ingress.signal(Signal::SIGTERM);
    eventually("no connection is taken any more", async || TcpStream::connect(&address).await.is_err()).await;
    assert!(!stack.ingress.readiness(&stack.http).await.unwrap());
    wire.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the answer", wire.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(stack.ingress.stop().await.code(), Some(0));
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.slow")).await, "replied");
}

async fn a_rolling_restart_loses_doubles_and_reorders_nothing(doors: Doors) {
    const CUSTOMERS: u32 = 20;
    const EACH: u32 = 3;
    // Nobody crashes here, so no lease has to run out.
    let mut stack = Plan::on(doors).await.workers(2).file(&waits(&[("lease_seconds", 15.0)])).start().await;
    stack.model.answer_with(repeat_marks);
    let name = |customer: u32| format!("155501{:02}", 60 + customer);
    let mut events = Vec::new();
    for round in 0..EACH {
        for customer in 0..CUSTOMERS {
            events.push(stack.say(&name(customer), &format!("Question #{round}")).await);
            // Both are replaced in the course of the trickle.
            if customer == CUSTOMERS / 2 && round < 2 {
                stack.add_worker();
                stack.ready().await;
                let mut old = stack.workers.remove(0);
                assert_eq!(old.stop().await.code(), Some(0));
            }
        }
    }
    for event in events {
        let end = stack.end_of(event).await;
        assert!(["replied", "joined"].contains(&end.as_str()), "{end}");
    }
    let ledger = stack.settled().await;
    assert_eq!(ledger.accepted, i64::from(CUSTOMERS * EACH));
    assert_eq!((ledger.sends.accepted, ledger.late), (ledger.sends.committed, 0));
    assert!(dead_letters(&stack).await.is_empty());
    for customer in 0..CUSTOMERS {
        let told: Vec<u32> = stack.received_by(&name(customer)).iter().flat_map(|text| marks(text)).collect();
        assert_eq!(told, [0, 1, 2], "customer {customer}");
    }
}

on_every_backend!(
    a_model_call_is_handed_back_at_once_and_does_not_count_as_a_crash,
    a_send_that_was_begun_is_awaited_while_readiness_says_no,
    a_rolling_restart_loses_doubles_and_reorders_nothing,
);
