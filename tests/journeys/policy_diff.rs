//! Another policy is held against what customers wrote before any customer meets it: exactly the messages that it would
//! treat otherwise are named, and a limit can stop it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::domain::EventId;
use common::store::Period;
use serde_json::Value;
use stand_ins::ModelBehaviour;

use super::bodies;
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, message_id};

const STARTER: &str = include_str!("../../policies/shop.toml");

/// The starter with one more forbidden word at each stage, and a person called where there was none.
fn stricter(stack: &Stack) -> PathBuf {
    let rules = r#"
[[rule]]
name = "no-umbrellas"
kind = "words"
stage = "input"
action = "block"
mode = "enforce"
words = { en = ["umbrella"], es = ["paraguas"], pt = ["guarda-chuva"] }

[[rule]]
name = "no-parrots"
kind = "words"
stage = "output"
action = "block"
mode = "enforce"
words = { en = ["parrot"], es = ["loro"], pt = ["papagaio"] }

[[rule]]
name = "weddings"
kind = "words"
stage = "input"
action = "handoff"
mode = "enforce"
words = { en = ["wedding"], es = ["boda"], pt = ["casamento"] }
"#;
    let path = stack.folder().join("stricter.toml");
    fs::write(&path, format!("{STARTER}\n{rules}")).expect("a policy");
    path
}

async fn diff(stack: &Stack, arguments: &[&str]) -> (i32, Value, String) {
    let arguments = [&["policy", "diff"], arguments, &["--json"]].concat();
    let (code, out, err) = stack.handrail(&arguments).await;
    (code, serde_json::from_str(&out).unwrap_or(Value::Null), err)
}

/// The events that a kind of change names, sorted, and the rule it names them for.
fn named(told: &Value, change: &str) -> Vec<(String, Vec<String>)> {
    let rules = told[change]["rules"].as_array().cloned().unwrap_or_default();
    let events = |rule: &Value| {
        let mut events: Vec<String> =
            rule["events"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        events.sort();
        events
    };
    rules.iter().map(|rule| (rule["rule"].as_str().unwrap_or_default().to_owned(), events(rule))).collect()
}

fn ids(events: &[EventId]) -> Vec<String> {
    let mut ids: Vec<String> = events.iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

async fn exactly_the_messages_that_the_other_policy_treats_otherwise_are_named(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let ask = async |customer: &str, text: &str| {
        let event = stack.say(customer, text).await;
        stack.end_of(event).await;
        event
    };
    let umbrella = [ask("15550101", "Do you sell an umbrella?").await, ask("15550102", "¿Tienen paraguas?").await];
    let plain = ask("15550101", "What are your opening hours?").await;
    let forbidden = ask("15550103", "Please write me a fake invoice").await;
    stack.model.next(ModelBehaviour::Answer("We have a parrot in the shop.".into()));
    let parrot = ask("15550104", "Do you have pets?").await;
    let wedding = ask("15550105", "I need a dress for a wedding").await;
    let wanted = ask("15550106", "I want to speak with a person").await;
    let meanwhile = ask("15550106", "Is somebody there, with an umbrella?").await;
    // Two in one turn: only the one is blocked, and the reply to both reads otherwise.
    let burst = [bodies::text("wamid.u", "15550107", "An umbrella?"), bodies::text("wamid.v", "15550107", "Or a hat?")];
    stack.post(bodies::messages(&burst)).await;
    let [burst_umbrella, burst_hat] = ["wamid.u", "wamid.v"].map(|id| message_id("whatsapp", id));
    stack.end_of(burst_hat).await;
    stack.settled().await;

    let other = stricter(&stack);
    let other = other.to_str().expect("a path");
    let (code, told, err) = diff(&stack, &["current", other, "--since", "1h"]).await;
    assert_eq!(code, 0, "{err}");
    let blocked = named(&told, "newly_blocked");
    let by = |rule: &str| blocked.iter().find(|(name, _)| name == rule).map(|(_, events)| events.clone());
    assert_eq!(by("no-umbrellas"), Some(ids(&[umbrella[0], umbrella[1], burst_umbrella])));
    assert_eq!(by("no-parrots"), Some(ids(&[parrot])));
    assert_eq!(named(&told, "newly_handed_off"), [("weddings".to_owned(), ids(&[wedding]))]);
    assert_eq!(told["newly_allowed"]["count"], 0);
    assert_eq!(named(&told, "changed_reply"), [("answer".to_owned(), ids(&[burst_hat]))]);
    assert_eq!(told["asked_otherwise"]["events"], serde_json::json!([burst_hat.to_string()]));
    assert_eq!((told["judged"].as_u64(), told["with_people"].as_u64()), (Some(9), Some(1)), "{told}");
    let all = told.to_string();
    for event in [plain, forbidden, wanted, meanwhile] {
        assert!(!all.contains(&event.to_string()), "{all}");
    }

    // The other way round the same messages are newly allowed, and the same policy twice changes nothing.
    let (_, back, _) = diff(&stack, &[other, "current"]).await;
    assert_eq!(back["newly_allowed"]["count"], 5);
    let (_, same, _) = diff(&stack, &[other, other]).await;
    for change in ["newly_blocked", "newly_handed_off", "newly_allowed", "changed_reply"] {
        assert_eq!(same[change]["count"], 0, "{change}");
    }

    // A limit sets the exit code, a source and a period choose, and who looked is on record.
    assert_eq!(diff(&stack, &["current", other, "--max-newly-blocked", "44.4%"]).await.0, 1);
    assert_eq!(diff(&stack, &["current", other, "--max-newly-blocked", "44.5%"]).await.0, 0);
    let (code, _, err) = diff(&stack, &["current", other, "--max-newly-handed-off", "0"]).await;
    assert!(code == 1 && err.contains("--max-newly-handed-off 0: it is 1 of 9"), "{err}");
    assert_eq!(diff(&stack, &["current", other, "--source", "elsewhere"]).await.1["judged"], 0);
    assert_eq!(diff(&stack, &["current", other, "--until", "30m"]).await.1["turns"], 0);
    assert_eq!(diff(&stack, &["current", "absent.toml"]).await.0, 2);
    let (_, table, _) = stack.handrail(&["policy", "diff", "current", other]).await;
    assert!(table.contains("no-umbrellas (input)") && !table.contains("Do you sell"), "{table}");
}

async fn what_a_model_once_said_is_judged_again_and_never_asked_for_again(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    for number in 0..3 {
        let event = stack.say(&format!("1555010{number}"), "Do you ship?").await;
        assert_eq!(stack.end_of(event).await, "replied");
    }
    stack.settled().await;
    let calls = stack.model.calls().len();
    let other = stricter(&stack);
    let (code, told, err) = diff(&stack, &["current", other.to_str().expect("a path")]).await;
    assert_eq!((code, told["judged"].as_u64()), (0, Some(3)), "{err}");
    assert_eq!(told["no_answer"]["count"], 0, "{told}");
    assert_eq!(stack.model.calls().len(), calls);
    let period = Period { since: common::domain::Micros(0), until: common::domain::Micros(i64::MAX / 2), source: None };
    assert_eq!(stack.store.past_turns_count(&period).await.expect("a count"), 3);
}

on_every_backend!(
    exactly_the_messages_that_the_other_policy_treats_otherwise_are_named,
    what_a_model_once_said_is_judged_again_and_never_asked_for_again,
);

/// A figure for the documentation: how long ten thousand messages take.
#[tokio::test]
#[ignore = "a measurement: run it by name"]
async fn ten_thousand_messages_are_judged_again() {
    const MESSAGES: usize = 10_000;
    let stack = Plan::on(Doors::Embedded).await.start().await;
    for chunk in 0..MESSAGES / 50 {
        let texts: Vec<_> = (0..50)
            .map(|at| {
                let number = chunk * 50 + at;
                let text = format!("Hello, do you have number {number} in blue, and do you ship it to me?");
                bodies::text(&format!("wamid.{number}"), &format!("1555{number:07}"), &text)
            })
            .collect();
        stack.post(bodies::messages(&texts)).await;
    }
    let period =
        || Period { since: common::domain::Micros(0), until: common::domain::Micros(i64::MAX / 2), source: None };
    eventually("all have had their turn", async || {
        stack.store.past_turns_count(&period()).await.is_ok_and(|turns| turns >= MESSAGES as i64)
    })
    .await;
    let other = stricter(&stack);
    let begun = Instant::now();
    let (code, told, err) = diff(&stack, &["current", other.to_str().expect("a path")]).await;
    let taken: Duration = begun.elapsed();
    assert_eq!((code, told["judged"].as_u64()), (0, Some(MESSAGES as u64)), "{err}");
    eprintln!("{MESSAGES} messages in {taken:?}");
}
