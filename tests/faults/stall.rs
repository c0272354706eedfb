//! A worker that stops in mid-turn for longer than its lease, and comes back as a zombie.

use std::time::Duration;

use common::metrics;
use nix::sys::signal::Signal;
use stand_ins::ModelBehaviour;

use super::{busy_worker, metric, on_every_backend};
use crate::contracts::{eventually, soon};
use crate::stack::{Doors, Plan, Stack};

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

on_every_backend!(a_worker_that_stalls_beyond_its_lease_finds_its_answer_discarded);
