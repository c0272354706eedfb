//! Replays that are cut off and gone on with, joined by a second console, halted by their ladder, and cancelled.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stand_ins::ModelBehaviour;

use super::dead_hands::{parked, refused, told, told_after};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack};

const CUSTOMERS: [&str; 8] =
    ["15550140", "15550141", "15550142", "15550143", "15550144", "15550145", "15550146", "15550147"];

async fn with_parked(doors: Doors, count: usize) -> Stack {
    let stack = Plan::on(doors).await.start().await;
    let said: Vec<(&str, &str)> = CUSTOMERS[..count].iter().map(|customer| (*customer, "Are you open?")).collect();
    parked(&stack, &said).await;
    stack
}

/// Everybody got the failure's text and one answer.
fn assert_answered_once(stack: &Stack, count: usize) {
    for customer in &CUSTOMERS[..count] {
        assert_eq!(stack.received_by(customer).len(), 2, "{customer}");
    }
}

async fn a_replay_that_is_cut_off_is_gone_on_with_and_nobody_is_answered_twice(doors: Doors) {
    let stack = with_parked(doors, 4).await;
    let calls = stack.model.calls().len();
    let held = stack.model.hold();
    let console = stack.begin(&["dead", "replay", "--class", "context", "--rate", "2/s"]);
    stack.model.wait_for_calls(calls + 1).await.unwrap();
    console.signal(Signal::SIGINT);
    let (code, _, said) = console.ended().await;
    assert_eq!(code, Some(2), "{said}");
    let replays = told(&stack, &["dead", "replays", "--open"]).await;
    assert_eq!((&replays[0]["state"], &replays[0]["count"]), (&json!("running"), &json!(4)), "{replays}");
    let id = replays[0]["id"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("dead replay --resume {id}")), "{said}");

    let killed = stack.begin(&["dead", "replay", "--resume", &id, "--rate", "2/s"]);
    stack.model.wait_for_calls(calls + 2).await.unwrap();
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.ended().await.0, None);
    drop(held);
    let ended = told(&stack, &["dead", "replay", "--resume", &id]).await;
    assert_eq!((&ended["state"], &ended["succeeded"], &ended["joined"]), (&json!("done"), &json!(4), &json!(true)));
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (4, 0));
    assert_answered_once(&stack, 4);
    let said = refused(&stack, 1, &["dead", "replay", "--resume", &id]).await;
    assert!(said.contains("is done"), "{said}");
}

async fn a_second_call_for_the_same_joins_the_first(doors: Doors) {
    let stack = with_parked(doors, 3).await;
    let calls = stack.model.calls().len();
    let held = stack.model.hold();
    let arguments = ["--json", "dead", "replay", "--class", "context"];
    let first = stack.begin(&arguments);
    stack.model.wait_for_calls(calls + 1).await.unwrap();
    let second = stack.begin(&arguments);
    eventually("the second has joined", async || second.said().contains("Joined replay")).await;
    drop(held);
    let mut ended = Vec::new();
    for console in [first, second] {
        let (code, out, said) = console.ended().await;
        assert_eq!(code, Some(0), "{out}\n{said}");
        ended.push(serde_json::from_str::<Value>(&out).unwrap());
    }
    assert_eq!(ended[0]["id"], ended[1]["id"]);
    assert_eq!((&ended[0]["joined"], &ended[1]["joined"]), (&json!(false), &json!(true)));
    assert_eq!((&ended[0]["succeeded"], &ended[1]["succeeded"]), (&json!(3), &json!(3)));
    stack.settled().await;
    assert_answered_once(&stack, 3);
    assert_eq!(told(&stack, &["dead", "replays"]).await.as_array().map(Vec::len), Some(1));
}

async fn who_joined_takes_over_when_the_first_dies(doors: Doors) {
    let stack = with_parked(doors, 3).await;
    let calls = stack.model.calls().len();
    let arguments = ["--json", "dead", "replay", "--all", "--rate", "30/m"];
    let first = stack.begin(&arguments);
    stack.model.wait_for_calls(calls + 1).await.unwrap();
    let second = stack.begin(&arguments);
    eventually("the second has joined", async || second.said().contains("Joined replay")).await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.ended().await.0, None);
    let (code, out, said) = second.ended().await;
    assert_eq!(code, Some(0), "{out}\n{said}");
    assert!(said.contains("going on with it"), "{said}");
    stack.settled().await;
    assert_answered_once(&stack, 3);
}

async fn a_ladder_halts_at_its_first_step_and_goes_on_when_the_cause_is_mended(doors: Doors) {
    let stack = with_parked(doors, 8).await;
    stack.model.always(ModelBehaviour::ContextTooLong);
    let halted = told_after(&stack, 1, &["dead", "replay", "--all", "--ladder"]).await;
    assert_eq!((&halted["state"], &halted["failed"], &halted["waiting"]), (&json!("halted"), &json!(1), &json!(7)));
    let id = halted["id"].as_str().unwrap();

    stack.model.always(ModelBehaviour::Reply);
    let ended = told_after(&stack, 1, &["dead", "replay", "--resume", id]).await;
    assert_eq!((&ended["state"], &ended["succeeded"], &ended["failed"]), (&json!("done"), &json!(7), &json!(1)));
    assert_eq!(told(&stack, &["dead", "replay", "--all"]).await["succeeded"], 1, "the one that failed is open again");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (8, 0));
}

async fn a_cancelled_replay_leaves_what_it_had_not_begun_open(doors: Doors) {
    let stack = with_parked(doors, 3).await;
    let calls = stack.model.calls().len();
    let console = stack.begin(&["dead", "replay", "--all", "--rate", "1/m"]);
    stack.model.wait_for_calls(calls + 1).await.unwrap();
    let replays = told(&stack, &["dead", "replays"]).await;
    let id = replays[0]["id"].as_str().unwrap();
    let cancelled = told(&stack, &["dead", "replay", "--cancel", id]).await;
    assert_eq!((&cancelled["state"], &cancelled["left"]), (&json!("cancelled"), &json!(2)), "{cancelled}");
    let (code, _, said) = console.ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cancelled"), "{said}");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (1, 2));
    assert_eq!(told(&stack, &["dead", "list", "--state", "open"]).await.as_array().map(Vec::len), Some(2));
    assert!(refused(&stack, 1, &["dead", "replay", "--resume", id]).await.contains("is cancelled"));
}

on_every_backend!(
    a_replay_that_is_cut_off_is_gone_on_with_and_nobody_is_answered_twice,
    a_second_call_for_the_same_joins_the_first,
    who_joined_takes_over_when_the_first_dies,
    a_ladder_halts_at_its_first_step_and_goes_on_when_the_cause_is_mended,
    a_cancelled_replay_leaves_what_it_had_not_begun_open,
);
