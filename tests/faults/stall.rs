//! A worker that stops in mid-turn for longer than its lease, and comes back as a zombie.

use std::time::Duration;

use common::metrics;
use nix::sys::signal::Signal;
use stand_ins::ModelBehaviour;

use super::{busy_worker, metric, on_every_backend};
use crate::contracts::{eventually, soon};
use crate::stack::{Doors, Plan, Process, Stack};

const CUSTOMER: &str = "15550120";
/// Long enough for a free file, short enough to try again.
const FREE: Duration = Duration::from_millis(500);

/// Stops a worker, yet never while it holds the embedded store's only write lock: nobody could go on until it does.
async fn stop_without_the_pen(stack: &Stack, place: usize) {
    let stopped = async {
        loop {
            stack.workers[place].signal(Signal::SIGSTOP);
            if matches!(tokio::time::timeout(FREE, stack.store.forget_early_statuses()).await, Ok(Ok(_))) {
                break;
            }
            stack.workers[place].signal(Signal::SIGCONT);
        }
    };
    soon("a worker stopped between two writes", stopped).await;
}

async fn a_worker_that_stalls_beyond_its_lease_finds_its_answer_discarded(doors: Doors) {
    let stack = Plan::on(doors).await.workers(2).start().await;
    stack.model.next(ModelBehaviour::Answer("Said by the one that stalled.".into()));
    stack.model.next(ModelBehaviour::Answer("Said by the other.".into()));
    let held = stack.model.hold();
    let event = stack.say(CUSTOMER, "Are you open?").await;
    stack.model.wait_for_calls(1).await.unwrap();
    let stalled = busy_worker(&stack).await;
    stop_without_the_pen(&stack, stalled).await;
    stack.model.wait_for_calls(2).await.unwrap();
    held.release();
    assert_eq!(stack.end_of(event).await, "replied");
    stack.graph.wait_for(1).await.unwrap();

    let zombie = &stack.workers[stalled];
    zombie.signal(Signal::SIGCONT);
    eventually("the zombie knows what it is", async || {
        metric(&stack, zombie, metrics::TURNS, r#"outcome="zombie""#).await > 0.0
    })
    .await;
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.sends.committed), (1, 1));
    assert_eq!(stack.received_by(CUSTOMER), ["Said by the other."]);
    // It is a worker again.
    stack.ready().await;
}

/// Whether a process stands still.
fn stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("our own process");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

async fn a_sender_that_oversleeps_its_claim_says_nothing_after_a_person_took_the_floor(doors: Doors) {
    let mut stack = Plan::on(doors).await.with("HANDRAIL_FAULTS", "deliver.begun=stop@1").start().await;
    let event = stack.say(CUSTOMER, "Are you open?").await;
    eventually("its sender stands still before the first byte", async || stopped(&stack.workers[0])).await;
    stack.settings.remove("HANDRAIL_FAULTS");
    stack.add_worker();
    let id = stack.conversation_of(event).await;
    eventually("the send is given up as unknown", async || {
        stack.view(id).await.outbox.iter().any(|send| send.state == "unknown")
    })
    .await;
    let (code, told, said) = stack.handrail(&["--json", "conversation", "take", &id.to_string()]).await;
    assert_eq!(code, 0, "{told}{said}");

    stack.workers[0].signal(Signal::SIGCONT);
    eventually("it knows that it is late", async || {
        metric(&stack, &stack.workers[0], metrics::SENDS, r#"outcome="overslept""#).await > 0.0
    })
    .await;
    stack.settled().await;
    assert!(stack.received_by(CUSTOMER).is_empty(), "no byte left after the floor was a person's");
    assert_eq!(stack.view(id).await.outbox[0].state, "unknown");
}

on_every_backend!(
    a_worker_that_stalls_beyond_its_lease_finds_its_answer_discarded,
    a_sender_that_oversleeps_its_claim_says_nothing_after_a_person_took_the_floor,
);
