//! Another policy comes into force while turns run: what began goes on under the old one, what begins has the new one,
//! and a file that cannot be used changes nothing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::domain::EventId;
use nix::sys::signal::Signal;
use serde_json::Value;
use stand_ins::ModelBehaviour;

use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, WHATSAPP};

const STARTER: &str = include_str!("../../policies/shop.toml");

async fn with_a_policy_file(doors: Doors) -> (Stack, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.toml");
    fs::write(&path, STARTER).expect("a policy");
    let file = format!("policy = \"{}\"\n{WHATSAPP}", path.display());
    (Plan::on(doors).await.file(&file).start().await, path, folder)
}

/// The version of a policy's text, as its file would have it.
fn version(text: &str) -> String {
    worker::policy::Policy::parse(text, "a test's").expect("a sound policy").version().to_owned()
}

/// The policies that an event's turn names: by its steps, and by itself.
async fn policies(stack: &Stack, event: EventId) -> Vec<String> {
    let view = stack.view(stack.conversation_of(event).await).await;
    let turn = view.turns.last().expect("a turn");
    let steps = turn.path.as_array().expect("steps").iter();
    let mut named: Vec<String> = steps.filter_map(|step| step["policy"].as_str().map(str::to_owned)).collect();
    named.push(turn.policy.clone());
    named.dedup();
    named
}

async fn reloads(stack: &Stack, outcome: &str, count: usize) {
    let line = format!("handrail_policy_reloads_total{{outcome=\"{outcome}\"}} {count}");
    eventually("the policy was read again", async || {
        let answer = stack.http.get(format!("{}/metrics", stack.workers[0].admin)).send().await.expect("metrics");
        answer.text().await.expect("metrics").contains(&line)
    })
    .await;
}

fn log_lines(stack: &Stack) -> Vec<Value> {
    stack.workers[0].log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn a_running_turn_keeps_its_policy_and_the_next_has_the_new_one(doors: Doors) {
    let (stack, path, _folder) = with_a_policy_file(doors).await;
    let stricter = format!("{STARTER}\n# another\n");
    assert_ne!(version(STARTER), version(&stricter));
    stack.model.next(ModelBehaviour::Delay(Duration::from_secs(5)));
    let running = stack.say("15550101", "Do you ship?").await;
    eventually("the model was asked", async || stack.model.calls().len() == 1).await;
    fs::write(&path, &stricter).expect("a policy");
    stack.workers[0].signal(Signal::SIGHUP);
    reloads(&stack, "replaced", 1).await;
    assert!(stack.workers[0].readiness(&stack.http).await.expect("an answer"), "it serves all the while");
    assert_eq!(stack.store.event(running).await.expect("an event").0.state, "pending", "the turn was still running");
    let next = stack.say("15550102", "Do you ship?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    assert_eq!(policies(&stack, next).await, [version(&stricter)]);
    assert_eq!(stack.end_of(running).await, "replied");
    assert_eq!(policies(&stack, running).await, [version(STARTER)]);
    let told = format!("from {} to {}", version(STARTER), version(&stricter));
    let said = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(&told));
    assert!(log_lines(&stack).iter().any(said));
    stack.settled().await;
}

async fn a_policy_that_cannot_be_used_is_refused_by_line_and_the_old_one_stays(doors: Doors) {
    let (stack, path, _folder) = with_a_policy_file(doors).await;
    let wrong = STARTER.replacen("history_tokens", "histroy_tokens", 1);
    let at = 1 + STARTER[..STARTER.find("history_tokens").expect("a key")].matches('\n').count();
    fs::write(&path, &wrong).expect("a policy");
    stack.workers[0].signal(Signal::SIGHUP);
    reloads(&stack, "refused", 1).await;
    let reason = |line: &Value| {
        line["file"].as_str().is_some_and(|file| file.ends_with("shop.toml"))
            && line["line"].as_u64().is_some_and(|told| told.abs_diff(at as u64) <= 2)
            && line["error"].as_str().is_some_and(|reason| reason.contains("histroy_tokens"))
    };
    assert!(log_lines(&stack).iter().any(reason), "{:?}", log_lines(&stack));
    assert!(stack.workers[0].readiness(&stack.http).await.expect("an answer"));
    let event = stack.say("15550101", "Do you ship?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    assert_eq!(policies(&stack, event).await, [version(STARTER)]);
    // Mended: it is the policy that is in force already, and then another.
    fs::write(&path, STARTER).expect("a policy");
    stack.workers[0].signal(Signal::SIGHUP);
    reloads(&stack, "unchanged", 1).await;
    let other = format!("{STARTER}\n# another\n");
    fs::write(&path, &other).expect("a policy");
    stack.workers[0].signal(Signal::SIGHUP);
    reloads(&stack, "replaced", 1).await;
    let event = stack.say("15550101", "And where are you?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    assert_eq!(policies(&stack, event).await, [version(&other)]);
    stack.settled().await;
}

on_every_backend!(
    a_running_turn_keeps_its_policy_and_the_next_has_the_new_one,
    a_policy_that_cannot_be_used_is_refused_by_line_and_the_old_one_stays,
);
