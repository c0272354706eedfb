//! What becomes of messages when things die: a worker, a server, a model, a provider. Seen from outside: every
//! process is a real one, and what counts is what the customer got and what the ledger says.

mod broker; // RabbitMQ absent, killed, in alarm, or without a route
mod budgets; // caps that no killed worker passes
mod crash; // a worker killed in mid-turn, in mid-send, and again and again
mod crowd; // many workers, many customers, and two murders
mod database; // PostgreSQL killed under everybody
mod drain; // SIGTERM: what was begun ends, and nothing is answered twice
mod keys; // a contact whose key does not open
mod letters; // envelopes made by hand
mod model_failures; // every way in which a model gives no answer
mod order; // messages that overtake one another
mod outages; // a model or a channel that is out for everybody
mod provider_failures; // every way in which a provider does not take a reply
mod redelivery; // the queue says it again
mod spool; // the broker gone, and events that wait on the ingress's disk
mod stall; // a worker that stops and comes back
mod undeliverable; // what cannot be taken in

use common::metrics;
use common::store::{DeadFilter, DeadLetter};
use stand_ins::ModelCall;

use crate::contracts::eventually;
use crate::stack::{Process, SHORT_WAITS, Stack, WHATSAPP};

/// A `handrail.toml` with these sources, and the usual short waits but for those named.
pub(crate) fn file(sources: &str, waits: &[(&str, f64)]) -> String {
    let kept = |line: &&str| !waits.iter().any(|(name, _)| line.starts_with(name));
    let usual: Vec<&str> = SHORT_WAITS.lines().filter(kept).collect();
    let own: Vec<String> = waits.iter().map(|(name, seconds)| format!("{name} = {seconds:?}")).collect();
    format!("{sources}\n{}\n{}\n", usual.join("\n"), own.join("\n"))
}

/// The usual source with waits of a test's own.
fn waits(waits: &[(&str, f64)]) -> String {
    file(WHATSAPP, waits)
}

/// The sum of a metric's samples in a process's exposition, of those whose labels hold `label`.
pub(crate) async fn metric(stack: &Stack, process: &Process, name: &str, label: &str) -> f64 {
    let answer = stack.http.get(format!("{}/metrics", process.admin)).send().await.expect("metrics");
    let text = answer.text().await.expect("metrics");
    let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The place of the worker that has a turn in hand, once there is exactly one.
async fn busy_worker(stack: &Stack) -> usize {
    let mut busy = Vec::new();
    eventually("one worker has a turn in hand", async || {
        busy.clear();
        for (place, worker) in stack.workers.iter().enumerate() {
            if metric(stack, worker, metrics::TURNS_IN_FLIGHT, "").await > 0.0 {
                busy.push(place);
            }
        }
        busy.len() == 1
    })
    .await;
    busy[0]
}

/// Kills a worker, and has another in its place once `ready`.
async fn replace(stack: &mut Stack, place: usize) {
    stack.workers[place].crash();
    stack.workers.remove(place);
    stack.add_worker();
    stack.ready().await;
}

/// Every dead letter.
async fn dead_letters(stack: &Stack) -> Vec<DeadLetter> {
    stack.store.dead_letters(&DeadFilter::default()).await.expect("the dead letters")
}

/// A policy text of the default policy, in English.
pub(crate) fn policy_text(key: &str) -> String {
    let policy: toml::Table = include_str!("../policies/shop.toml").parse().expect("the default policy");
    policy["texts"][key]["en"].as_str().expect("a text").to_owned()
}

/// The numbers after `#` in a text, in order.
pub(crate) fn marks(text: &str) -> Vec<u32> {
    let after = text.split('#').skip(1);
    after.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
}

/// What a model says that repeats the marks of everything it is asked now.
pub(crate) fn repeat_marks(call: &ModelCall) -> String {
    let asked: Vec<&str> = call.lines.iter().rev().take_while(|(role, _)| role == "user").map(|(_, t)| &**t).collect();
    let marks: Vec<String> = asked.iter().rev().flat_map(|text| marks(text)).map(|mark| format!("#{mark}")).collect();
    format!("About {}.", marks.join(" "))
}

macro_rules! on_every_backend {
    ($($promise:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(crate::stack::Doors::Embedded).await; })+
        }
        mod servers {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(crate::stack::Doors::Servers).await; })+
        }
    };
}
use on_every_backend;
