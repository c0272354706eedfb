//! RabbitMQ absent, killed, in alarm, or without a route: an exact 503 meanwhile, then recovery without a restart.

use std::time::{Duration, Instant};

use common::domain::Micros;
use common::providers::samples::{self, Text};
use reqwest::Response;
use serde_json::Value;
use tokio::task::block_in_place;

use super::{dead_letters, waits};
use crate::contracts::eventually;
use crate::servers::rabbitmq::{self, Broker, Vhost};
use crate::stack::{APP_SECRET, Doors, Plan, Stack, message_id};

const CUSTOMER: &str = "15550150";
/// The confirm timeout, and what a busy machine may add.
const TIMELY: Duration = Duration::from_millis(800 + 700);

/// RabbitMQ before an embedded store.
async fn plan(vhost: &Vhost) -> Plan {
    let plan = Plan::on(Doors::Embedded).await.with("QUEUE_URL", &vhost.url);
    plan.file(&waits(&[("confirm_seconds", 0.8)]))
}

async fn attempt(stack: &Stack, id: &str) -> Response {
    let body = samples::whatsapp_texts(&[Text { id, from: CUSTOMER, body: "Are you open?" }], Micros::wall());
    stack.post_signed("whatsapp", APP_SECRET, body).await
}

async fn assert_unavailable(answer: Response) {
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "queue_unavailable");
    assert_eq!(body["request_id"], id.as_str());
    assert!(!body.to_string().contains("amqp"), "nothing from inside: {body}");
}

/// Posts the same message until it is accepted, as a provider would.
async fn insist(stack: &Stack, id: &str) {
    eventually("it is accepted", async || attempt(stack, id).await.status().is_success()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_absent_at_start_and_killed_later_costs_503s_and_nothing_else() {
    let broker = Broker::prepare(1);
    let stack = plan(&broker.vhost()).await.prepare().await;
    for process in [&stack.ingress, &stack.workers[0]] {
        eventually("it runs, and is not ready", async || matches!(process.readiness(&stack.http).await, Ok(false)))
            .await;
    }
    assert_unavailable(attempt(&stack, "wamid.early").await).await;

    block_in_place(|| broker.start());
    stack.ready().await;
    insist(&stack, "wamid.early").await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.early")).await, "replied");

    // Accepted, and then the power fails.
    insist(&stack, "wamid.accepted").await;
    block_in_place(|| broker.stop());
    eventually("readiness says no", async || matches!(stack.ingress.readiness(&stack.http).await, Ok(false))).await;
    let asked = Instant::now();
    assert_unavailable(attempt(&stack, "wamid.refused").await).await;
    assert!(asked.elapsed() < TIMELY, "{:?}", asked.elapsed());

    block_in_place(|| broker.start());
    insist(&stack, "wamid.refused").await;
    stack.ready().await;
    for id in ["wamid.accepted", "wamid.refused"] {
        let end = stack.end_of(message_id("whatsapp", id)).await;
        assert!(["replied", "joined"].contains(&end.as_str()), "{end}");
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.sends.accepted), (3, ledger.sends.committed));
    assert!(dead_letters(&stack).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_costs_one_confirm_timeout_then_quick_503s_and_a_retry_is_answered_once() {
    let broker = Broker::prepare(1);
    block_in_place(|| broker.start());
    let stack = plan(&broker.vhost()).await.start().await;
    insist(&stack, "wamid.before").await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.before")).await, "replied");

    block_in_place(|| broker.alarm(true));
    let asked = Instant::now();
    // Its bytes are on the way to the broker, which may take them once the alarm is over.
    assert_unavailable(attempt(&stack, "wamid.blocked").await).await;
    assert!(asked.elapsed() < TIMELY, "{:?}", asked.elapsed());
    eventually("readiness says no", async || matches!(stack.ingress.readiness(&stack.http).await, Ok(false))).await;
    let asked = Instant::now();
    assert_unavailable(attempt(&stack, "wamid.blocked").await).await;
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());

    block_in_place(|| broker.alarm(false));
    insist(&stack, "wamid.blocked").await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.blocked")).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.sends.committed), (2, 2));
    assert_eq!(stack.received_by(CUSTOMER).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_route_is_a_503_and_the_route_is_put_back() {
    let vhost = rabbitmq::vhost();
    let stack = plan(&vhost).await.start().await;
    insist(&stack, "wamid.routed").await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.routed")).await, "replied");
    block_in_place(|| rabbitmq::shared().unbind(&vhost, "handrail.work"));
    assert_unavailable(attempt(&stack, "wamid.lost").await).await;
    insist(&stack, "wamid.lost").await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.lost")).await, "replied");
    assert_eq!(stack.settled().await.accepted, 2);
}
