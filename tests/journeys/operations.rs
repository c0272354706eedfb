//! What an operator sees: health, metrics that move, and one trace from a webhook to its send.

use common::domain::Micros;
use common::metrics;
use common::providers::samples::{self, Text};
use serde_json::Value;

use crate::contracts::eventually;
use crate::stack::{APP_SECRET, Doors, Plan, Process, Stack, message_id, meta_signature};

const CUSTOMER: &str = "15550101";

async fn get(stack: &Stack, process: &Process, path: &str) -> (u16, String) {
    let answer = stack.http.get(format!("{}{path}", process.admin)).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The sum of a metric's samples, if it has one with all these labels.
fn sample(exposition: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let of_it = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
    };
    let values = exposition.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

async fn health_and_metrics_tell_what_one_message_did(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    for process in [&stack.ingress, &stack.workers[0]] {
        assert_eq!(get(&stack, process, "/healthz").await.0, 200);
        let (status, ready) = get(&stack, process, "/readyz").await;
        assert_eq!((status, serde_json::from_str::<Value>(&ready).unwrap()["status"].as_str()), (200, Some("ready")));
    }
    let before = get(&stack, &stack.workers[0], "/metrics").await.1;
    assert_eq!(sample(&before, metrics::TURNS, &[]), None);

    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    let refused = stack.post_signed("whatsapp", "another secret than the source's", "{}").await;
    assert_eq!(refused.status(), 401);

    let ingress = get(&stack, &stack.ingress, "/metrics").await.1;
    let confirms = format!("{}_count", metrics::CONFIRM_SECONDS);
    let requests = format!("{}_count", metrics::REQUEST_SECONDS);
    for (name, labels, value) in [
        (metrics::ACCEPTED, &["source=\"whatsapp\"", "kind=\"message\""][..], 1.0),
        (metrics::REJECTED, &["source=\"whatsapp\"", "code=\"signature_mismatch\""], 1.0),
        (&confirms, &[], 1.0),
        (&requests, &["status=\"200\""], 1.0),
        (&requests, &["status=\"401\""], 1.0),
        (metrics::DOOR_UP, &["door=\"queue\""], 1.0),
    ] {
        assert_eq!(sample(&ingress, name, labels), Some(value), "{name} {labels:?} in\n{ingress}");
    }

    // A send is counted a moment after its end is on record, and the queue is measured by a chore of its own.
    let sends = &["source=\"whatsapp\"", "outcome=\"accepted\""];
    let work = &["queue=\"handrail.work\""];
    let mut worker = String::new();
    for (name, labels) in
        [(metrics::SENDS, &sends[..]), (metrics::QUEUE_DEPTH, work), (metrics::QUEUE_OLDEST_SECONDS, work)]
    {
        eventually(name, async || {
            worker = get(&stack, &stack.workers[0], "/metrics").await.1;
            sample(&worker, name, labels).is_some()
        })
        .await;
    }
    let turns = format!("{}_count", metrics::TURN_SECONDS);
    let calls = format!("{}_count", metrics::MODEL_SECONDS);
    for (name, labels, value) in [
        (metrics::INTAKE, &["outcome=\"pending\""][..], 1.0),
        (metrics::TURNS, &["outcome=\"answered\""], 1.0),
        (&turns, &[], 1.0),
        (metrics::TURNS_IN_FLIGHT, &[], 0.0),
        (metrics::TURNS_WAITING_SECONDS, &[], 0.0),
        (&calls, &["model=\"main\"", "outcome=\"answered\""], 1.0),
        (metrics::TOKENS, &["model=\"main\"", "direction=\"cached\""], 1.0),
        (metrics::SENDS, sends, 1.0),
        (metrics::DOOR_UP, &[], 2.0),
    ] {
        assert_eq!(sample(&worker, name, labels), Some(value), "{name} {labels:?} in\n{worker}");
    }
    for direction in ["direction=\"in\"", "direction=\"out\""] {
        assert!(sample(&worker, metrics::TOKENS, &[direction]) > Some(0.0), "{direction}");
    }
}

/// The log's lines that name a trace.
fn lines_of(process: &Process, trace: &str) -> Vec<Value> {
    let lines = process.log().lines().filter(|line| line.contains(trace)).map(str::to_owned).collect::<Vec<_>>();
    lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The trace that a line names, in itself or in its span.
fn trace_of(line: &Value) -> Option<&str> {
    [&line["trace.id"], &line["span"]["trace.id"]].into_iter().find_map(Value::as_str)
}

async fn one_trace_leads_from_a_webhook_to_its_send(doors: Doors) {
    let stack = Plan::on(doors).await.with("RUST_LOG", "info,ingress=debug").start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let message = Text { id: "wamid.traced", from: CUSTOMER, body: "Are you open?" };
    let body = samples::whatsapp_texts(&[message], Micros::wall());
    let request = stack.http.post(format!("{}/webhooks/whatsapp", stack.ingress.url));
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let request = request.header("X-Hub-Signature-256", meta_signature(APP_SECRET, body.as_bytes()));
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.traced")).await, "replied");
    stack.settled().await;

    let worker = &stack.workers[0];
    let mut told = Vec::new();
    eventually("the send's line is written", async || {
        told = lines_of(worker, trace);
        told.iter().any(|line| line["message"] == "send ended")
    })
    .await;
    let queued = lines_of(&stack.ingress, trace);
    assert!(queued.iter().any(|line| line["message"] == "event queued"), "{queued:?}");
    for message in ["taken in", "turn committed, 1 parts", "send ended"] {
        assert!(told.iter().any(|line| line["message"] == message), "{message}: {told:?}");
    }
    assert!(queued.iter().chain(&told).all(|line| trace_of(line) == Some(trace)));

    // Without one from outside each webhook begins a trace of its own.
    let event = stack.say("15550102", "Do you ship?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    let id = event.to_string();
    let other = lines_of(worker, &id).iter().find_map(|line| trace_of(line).map(str::to_owned));
    let other = other.expect("its intake names it");
    assert_ne!(other, trace);
    eventually("the other send's line is written", async || {
        lines_of(worker, &other).iter().any(|line| line["message"] == "send ended")
    })
    .await;
    assert!(!lines_of(&stack.ingress, &other).is_empty());
}

on_every_backend!(health_and_metrics_tell_what_one_message_did, one_trace_leads_from_a_webhook_to_its_send);
