//! What cannot be read or answered is never lost and never silent: it waits for a person, with its cause, and runs
//! again when the cause is gone.

use common::domain::{DeadState, Event};
use common::providers;
use common::store::DeadFilter;
use serde_json::Value;
use stand_ins::ModelBehaviour;

use crate::contracts::eventually;
use crate::stack::{APP_SECRET, Doors, Plan};

const CUSTOMER: &str = "15550101";

async fn a_body_that_cannot_be_read_is_accepted_and_kept_whole(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes();
    let bodies = [b"{\"object\":".to_vec(), deep, b"{\"object\":\"\xff\"}".to_vec()];
    for body in &bodies {
        let answer = stack.post_signed("whatsapp", APP_SECRET, body.clone()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().await.unwrap()["accepted"], 1);
    }
    let mut letters = Vec::new();
    eventually("all are dead letters", async || {
        letters = stack.store.dead_letters(&DeadFilter::default()).await.unwrap();
        letters.len() == bodies.len()
    })
    .await;
    let mut kept = Vec::new();
    for letter in &letters {
        assert_eq!((letter.class.as_str(), letter.source.as_str()), ("unparsed", "whatsapp"));
        let inbound = stack.store.dead_event(letter).await.unwrap();
        let Event::Unparsed { raw, .. } = &inbound.event else { panic!("{inbound:?}") };
        let source = common::config::Source::bare(inbound.source.clone(), inbound.provider);
        let again = providers::parse_again(&source, raw, None);
        assert!(matches!(&again[..], [one] if one.event_id == inbound.event_id), "the same event until it is read");
        kept.push(raw.clone());
    }
    for body in &bodies {
        assert!(kept.contains(body), "every byte is kept");
    }
    let mut problems: Vec<_> = letters.iter().map(|letter| letter.error.as_str()).collect();
    problems.sort_unstable();
    assert_eq!(problems, ["nested deeper than 64 levels", "not JSON", "not UTF-8"]);
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.ended["dead"]), (3, 3));
    let metrics = stack.http.get(format!("{}/metrics", stack.workers[0].admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("handrail_dead_letters_total{class=\"unparsed\"} 3"), "{metrics}");

    // The developer sees them, and trying again before the parser is mended changes nothing.
    let (code, told, _) = stack.handrail(&["--json", "dead", "list"]).await;
    let listed: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, listed.as_array().map(Vec::len)), (0, Some(3)));
    for letter in listed.as_array().unwrap() {
        assert_eq!((&letter["state"], &letter["class"]), (&"open".into(), &"unparsed".into()));
        let (code, told, said) = stack.handrail(&["dead", "replay", letter["id"].as_str().unwrap()]).await;
        assert_eq!(code, 1, "{said}");
        assert!(told.contains("failed") && said.contains("did not end well"), "{told}\n{said}");
    }
    assert_eq!(stack.settled().await, ledger);
}

async fn a_message_that_no_model_could_answer_is_answered_when_it_is_replayed(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    for _ in 0..3 {
        stack.model.next(ModelBehaviour::Garbage);
    }
    let event = stack.say(CUSTOMER, "What are your opening hours?").await;
    assert_eq!(stack.end_of(event).await, "dead");
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert!(received.len() == 1 && received[0].starts_with("Sorry, I could not answer"), "{received:?}");
    let letters = stack.store.dead_letters(&DeadFilter::default()).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.class.as_str(), letter.stage.as_str(), letter.attempts), ("malformed", "turn", 3));
    assert_eq!((letter.event_id, letter.state), (Some(event), DeadState::Open));

    let id = letter.id.to_string();
    let (code, _, said) = stack.handrail(&["dead", "replay", &id]).await;
    assert_eq!(code, 0, "{said}");
    eventually("it is answered", async || stack.end_of(event).await == "replied").await;
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.ended["dead"]), (1, 0));
    assert_eq!(stack.store.dead_letter(letter.id).await.unwrap().state, DeadState::Resolved);
    let received = stack.received_by(CUSTOMER);
    assert_eq!(received.len(), 2, "one reply, and the word before it: {received:?}");
    assert!(received[1].contains("What are your opening hours?"));
    let (code, _, said) = stack.handrail(&["dead", "replay", &id]).await;
    assert_eq!(code, 1, "it is resolved: {said}");
}

on_every_backend!(
    a_body_that_cannot_be_read_is_accepted_and_kept_whole,
    a_message_that_no_model_could_answer_is_answered_when_it_is_replayed,
);
