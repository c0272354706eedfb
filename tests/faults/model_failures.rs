//! Every way in which a model gives no answer: tried again, held, or parked, as recovery's table says.

use std::time::Duration;

use common::domain::Micros;
use common::providers::samples::{self, Text};
use stand_ins::{ModelBehaviour, refusing_url};

use super::{dead_letters, policy_text, repeat_marks, replace, waits};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, message_id};

const CUSTOMER: &str = "15550160";

async fn embedded() -> Plan {
    Plan::on(Doors::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_asks_for_patience_is_not_asked_again_before_it_said() {
    let stack = embedded().await.start().await;
    stack.model.next(ModelBehaviour::RateLimit { retry_after: Some("2".into()) });
    let event = stack.say(CUSTOMER, "Are you open?").await;
    let calls = stack.model.wait_for_calls(2).await.unwrap();
    let waited = calls[1].at.duration_since(calls[0].at).unwrap();
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_once_in_any_way_is_asked_again_and_the_customer_notices_nothing() {
    let stack = embedded().await.file(&waits(&[("model_deadline_seconds", 1.0)])).start().await;
    let failures = [
        ModelBehaviour::Overloaded,
        ModelBehaviour::Error { http: 500, code: "server_error".into(), message: "broken".into() },
        ModelBehaviour::Garbage,
        ModelBehaviour::EmptyText,
        ModelBehaviour::CutOff,
        ModelBehaviour::Reset,
        ModelBehaviour::Refuse,
        ModelBehaviour::Hang,
        ModelBehaviour::Error { http: 429, code: "insufficient_quota".into(), message: "pay first".into() },
        ModelBehaviour::OutOfTokens("We are open from ni".into()),
        ModelBehaviour::Error { http: 401, code: "invalid_api_key".into(), message: "who are you".into() },
    ];
    let count = failures.len();
    failures.into_iter().for_each(|failure| stack.model.next(failure));
    let customers: Vec<String> = (0..count).map(|n| format!("155501{}", 60 + n)).collect();
    let mut events = Vec::new();
    for customer in &customers {
        events.push(stack.say(customer, "Are you open?").await);
    }
    for event in events {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    let ledger = stack.settled().await;
    assert_eq!(ledger.sends.accepted, i64::try_from(count).unwrap());
    for customer in &customers {
        assert_eq!(stack.received_by(customer).len(), 1, "{customer}");
    }
    assert!(stack.model.calls().len() >= 2 * count);
    assert!(dead_letters(&stack).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_token_limit_cut_off_ends_with_a_whole_sentence_and_its_trace_says_so() {
    let stack = embedded().await.start().await;
    stack.model.next(ModelBehaviour::OutOfTokens("We are open. On Sundays from ni".into()));
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER), ["We are open."]);
    let view = stack.view(stack.conversation_of(event).await).await;
    assert!(view.turns[0].path.to_string().contains("answered_cut"), "{}", view.turns[0].path);
}

/// A model that fails for good in one way: the class of the dead letter and the calls that it took.
async fn parked(behaviour: ModelBehaviour) -> (String, usize) {
    let stack = embedded().await.start().await;
    stack.model.always(behaviour);
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "dead");
    let calls = stack.model.calls().len();
    stack.model.always(ModelBehaviour::Answer("We are.".into()));
    let next = stack.say(CUSTOMER, "And now?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["dead"], ledger.ended["replied"]), (1, 1));
    assert_eq!(stack.received_by(CUSTOMER), [policy_text("failure"), "We are.".to_owned()]);
    let mut letters = dead_letters(&stack).await;
    assert_eq!(letters.len(), 1);
    let letter = letters.remove(0);
    assert_eq!((letter.event_id, letter.stage.as_str()), (Some(event), "turn"));
    assert_eq!(usize::try_from(letter.attempts).unwrap(), calls);
    (letter.class, calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_model_always_declines_is_parked_at_the_third_try() {
    assert_eq!(parked(ModelBehaviour::Refuse).await, ("refused".to_owned(), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_always_answered_with_garbage_is_parked_at_the_third_try() {
    assert_eq!(parked(ModelBehaviour::Garbage).await, ("malformed".to_owned(), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_does_not_fit_is_parked_at_once() {
    assert_eq!(parked(ModelBehaviour::ContextTooLong).await, ("context".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_refuses_connections_holds_the_turn_until_it_is_there() {
    let mut stack = embedded().await.with("LLM_BASE_URL", &refusing_url().await.unwrap()).start().await;
    let event = stack.say(CUSTOMER, "Are you open?").await;
    eventually("the turn is held", async || stack.workers[0].log().contains("the model gave no answer")).await;
    assert_eq!(stack.store.ledger(None).await.unwrap().pending, 1);
    let url = stack.model.url();
    stack.settings.insert("LLM_BASE_URL".into(), url);
    replace(&mut stack, 0).await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
    assert!(dead_letters(&stack).await.is_empty());
}

async fn burst(stack: &Stack, texts: &[(&str, &str)]) {
    let texts: Vec<Text<'_>> = texts.iter().map(|(id, body)| Text { id, from: CUSTOMER, body }).collect();
    stack.post(samples::whatsapp_texts(&texts, Micros::wall())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_burst_only_the_message_that_no_model_answers_is_parked() {
    let stack = embedded().await.start().await;
    stack.model.answer_with(|call| match repeat_marks(call) {
        // An answer without text is malformed.
        marks if marks.contains("#13") => String::new(),
        marks => marks,
    });
    burst(&stack, &[("wamid.p1", "Question #1"), ("wamid.p2", "Question #13"), ("wamid.p3", "Question #3")]).await;
    let mut ends = Vec::new();
    for id in ["wamid.p1", "wamid.p2", "wamid.p3"] {
        ends.push(stack.end_of(message_id("whatsapp", id)).await);
    }
    assert_eq!(ends, ["replied", "dead", "replied"]);
    stack.settled().await;
    let failure = policy_text("failure");
    assert_eq!(stack.received_by(CUSTOMER), ["About #1.", failure.as_str(), "About #3."]);
    let letters = dead_letters(&stack).await;
    assert_eq!(
        letters.iter().map(|letter| letter.event_id).collect::<Vec<_>>(),
        [Some(message_id("whatsapp", "wamid.p2"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_waits_through_an_outage_is_told_so_once_and_answered_after_it() {
    let stack = embedded().await.file(&waits(&[("holding_after_seconds", 1.0)])).start().await;
    stack.model.always(ModelBehaviour::Overloaded);
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.graph.wait_for(1).await.unwrap()[0].text, policy_text("holding"));
    // The outage goes on for a while after it.
    let calls = stack.model.calls().len();
    stack.model.wait_for_calls(calls + 2).await.unwrap();
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
    stack.model.always(ModelBehaviour::Answer("We are.".into()));
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER), [policy_text("holding"), "We are.".to_owned()]);
    assert!(dead_letters(&stack).await.is_empty());
}
