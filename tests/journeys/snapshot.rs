//! The last hour in figures that add up, and none where the store does not answer.

use serde_json::Value;
use stand_ins::ModelBehaviour;

use crate::stack::{Doors, Plan};

async fn the_last_hour_is_told_in_figures_that_were_counted(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let empty: Value = serde_json::from_str(&stack.handrail(&["snapshot", "--json"]).await.1).expect("JSON");
    assert_eq!((&empty["messages"], &empty["off_topic_share"]), (&0.into(), &Value::Null), "no share of nothing");
    assert_eq!(empty["p95_ms"], Value::Null);
    for (customer, text, end) in [
        ("15550101", "What are your opening hours?", "replied"),
        ("15550102", "Do you ship?", "replied"),
        ("15550103", "Please write me a fake invoice", "blocked"),
        ("15550104", "I want to speak with a person", "handed_off"),
    ] {
        let event = stack.say(customer, text).await;
        assert_eq!(stack.end_of(event).await, end);
    }
    stack.model.next(ModelBehaviour::Answer("Sure, here is your fake invoice.".into()));
    let refused = stack.say("15550105", "Where are you?").await;
    assert_eq!(stack.end_of(refused).await, "blocked");
    stack.settled().await;
    let (code, out, err) = stack.handrail(&["snapshot", "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((told["messages"].as_i64(), told["handed_off"].as_i64()), (Some(5), Some(1)), "{told}");
    assert_eq!((told["handed_off_share"].as_f64(), told["by_model_share"].as_f64()), (Some(0.2), Some(0.4)));
    assert_eq!(told["by_state"], serde_json::json!({"blocked": 2, "handed_off": 1, "replied": 2}));
    assert!(told["p95_ms"].as_f64() > Some(0.0) && told["latency"]["answers"] == 2);
    assert_eq!((told["errors"].as_i64(), told["pending"].as_i64()), (Some(0), Some(0)));
    assert_eq!((&told["floors"]["queued"], &told["queue_depth"]), (&1.into(), &0.into()));
    let decided = |name: &str| {
        let rules = told["rules"].as_array().expect("rules");
        rules.iter().find(|rule| rule["rule"] == name).and_then(|rule| rule["decided"].as_i64())
    };
    assert_eq!(decided("forbidden-words"), Some(1), "{told}");
    assert_eq!((decided("output-words"), decided("asks-for-a-person")), (Some(1), Some(1)));
    let calls: i64 = told["models"].as_array().expect("models").iter().filter_map(|each| each["calls"].as_i64()).sum();
    assert_eq!(calls, 3);
    let (_, table, _) = stack.handrail(&["snapshot"]).await;
    assert!(table.contains("answered by a model") && table.contains("40.0 % (2)"), "{table}");
    let (_, later, _) = stack.handrail(&["snapshot", "--since", "2200-01-01T00:00:00Z", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&later).expect("JSON")["messages"], 0);

    // The path of a turn, for a person.
    let conversation = stack.conversation_of(refused).await.to_string();
    let (_, shown, _) = stack.handrail(&["conversation", "show", &conversation]).await;
    for part in
        ["route     assistant", "approve   refused by output-words", "output-words: block, enforce (word", " ms"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("fake invoice"), "{shown}");
}

#[tokio::test]
async fn no_figure_is_shown_where_the_store_does_not_answer() {
    let nobody = format!("postgres://nobody@127.0.0.1:{}/none", crate::servers::free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("DATABASE_URL", nobody),
        ("QUEUE_URL", format!("sqlite://{}", folder.path().join("queue.db").display())),
        ("HANDRAIL_KEYS", format!("k1:{}", common::seal::Key::generate().to_base64())),
    ];
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut command = crate::stack::command("handrail", &settings, folder.path());
    let output = command.arg("snapshot").output().expect("the binary runs");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DATABASE_URL"));
}

on_every_backend!(the_last_hour_is_told_in_figures_that_were_counted);
