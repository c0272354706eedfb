//! A worker killed without a word: in mid-turn, with a send under way, and again and again by the same message.

use common::domain::{EventId, Identity, Micros, SourceName};
use common::providers::samples::{self, Text};
use stand_ins::{GraphBehaviour, ReplyBehaviour, ReplySink};

use super::{busy_worker, dead_letters, file, on_every_backend, policy_text, replace, waits};
use crate::contracts::eventually;
use crate::stack::{APP_SECRET, Doors, Plan, Stack, message_id};

const CUSTOMER: &str = "15550110";

async fn a_turn_whose_worker_is_killed_is_taken_over_and_answered_once(doors: Doors) {
    let mut stack = Plan::on(doors).await.workers(2).start().await;
    let held = stack.model.hold();
    let event = stack.say(CUSTOMER, "Are you open?").await;
    stack.model.wait_for_calls(1).await.unwrap();
    let place = busy_worker(&stack).await;
    stack.workers[place].crash();
    stack.model.wait_for_calls(2).await.unwrap();
    held.release();
    assert_eq!(stack.end_of(event).await, "replied");
    stack.graph.wait_for(1).await.unwrap();
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["replied"], ledger.sends.committed, ledger.sends.accepted), (1, 1, 1));
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
    assert_eq!(stack.model.calls().len(), 2);
}

/// A deployment whose only worker was killed while the provider had a send in hand, and another in its place.
async fn killed_while_sending(doors: Doors, unknown_wait: f64) -> (Stack, EventId) {
    let waits = waits(&[("send_timeout_seconds", 20.0), ("unknown_wait_seconds", unknown_wait)]);
    let mut stack = Plan::on(doors).await.file(&waits).start().await;
    stack.graph.next(GraphBehaviour::HangAfterReading);
    let event = stack.say(CUSTOMER, "Do you ship?").await;
    stack.graph.wait_for(1).await.unwrap();
    replace(&mut stack, 0).await;
    (stack, event)
}

async fn a_send_begun_by_a_killed_worker_is_unknown_until_a_status_names_it_and_never_repeated(doors: Doors) {
    let (stack, event) = killed_while_sending(doors, 600.0).await;
    eventually("it is listed as unknown", async || {
        let ledger = stack.store.ledger(None).await.unwrap();
        (ledger.sends.unknown, ledger.unknown_sends, ledger.sends.open) == (1, 1, 0)
    })
    .await;
    assert_eq!(stack.end_of(event).await, "replied");
    // What comes later waits briefly, and is then sent.
    let next = stack.say(CUSTOMER, "And to Lima?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    stack.graph.wait_for(2).await.unwrap();
    let send = &stack.view(stack.conversation_of(event).await).await.outbox[0];
    assert_eq!((send.state.as_str(), send.attempts, send.error.as_deref()), ("unknown", 1, Some("sender_gone")));

    let ours = send.id.to_string();
    assert_eq!(stack.graph.sends()[0].callback_data.as_deref(), Some(ours.as_str()));
    stack.post(samples::whatsapp_status("wamid.unheard", Some(&ours), CUSTOMER, "delivered", Micros::wall())).await;
    eventually("the status proves that it arrived", async || {
        let ledger = stack.store.ledger(None).await.unwrap();
        (ledger.sends.accepted, ledger.unknown_sends) == (2, 0)
    })
    .await;
    stack.settled().await;
    assert_eq!(stack.graph.sends().len(), 2, "nothing was sent twice");
}

async fn an_unknown_send_that_no_status_names_is_closed_and_left_for_a_person(doors: Doors) {
    let (stack, event) = killed_while_sending(doors, 1.0).await;
    eventually("it is closed", async || {
        let ledger = stack.store.ledger(None).await.unwrap();
        (ledger.sends.unknown, ledger.unknown_sends, ledger.sends.open) == (1, 0, 0)
    })
    .await;
    assert_eq!(stack.settled().await.ended["replied"], 1);
    assert_eq!(stack.graph.sends().len(), 1);
    let send = &stack.view(stack.conversation_of(event).await).await.outbox[0];
    assert_eq!(send.state, "unknown");
    assert!(dead_letters(&stack).await.is_empty());
}

/// A source of the business's own, with an address for replies.
fn shop(sink: &ReplySink) -> String {
    format!(
        "[[source]]\nname = \"shop\"\nprovider = \"hmac\"\nsecrets = [\"${{WHATSAPP_APP_SECRET}}\"]\n\
         header = \"X-Hub-Signature-256\"\nprefix = \"sha256=\"\nreply_url = \"{}\"\n",
        sink.url()
    )
}

async fn a_send_begun_by_a_killed_worker_goes_to_a_reply_url_again_under_the_same_id(doors: Doors) {
    let sink = ReplySink::start().await.unwrap();
    let waits = [("send_timeout_seconds", 20.0), ("unknown_wait_seconds", 1.0)];
    let mut stack = Plan::on(doors).await.file(&file(&shop(&sink), &waits)).start().await;
    sink.next(ReplyBehaviour::HangAfterReading);
    let source = SourceName::parse("shop").unwrap();
    let event = EventId::derive(&source, &Identity { kind: "event", id: "evt-1".into(), status: None });
    let body = r#"{"id":"evt-1","contact":"customer-7","text":"Is the red one back?"}"#;
    assert!(stack.post_signed("shop", APP_SECRET, body).await.status().is_success());
    sink.wait_for(1).await.unwrap();
    replace(&mut stack, 0).await;
    let replies = sink.wait_for(2).await.unwrap();
    assert_eq!(stack.end_of(event).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.sends.committed, ledger.sends.accepted, ledger.unknown_sends), (1, 1, 0));
    assert_eq!(replies[0].headers["webhook-id"], replies[1].headers["webhook-id"]);
    assert_eq!(replies[0].body, replies[1].body);
    assert_eq!(sink.replies().len(), 2);
}

async fn a_message_that_kills_every_worker_is_parked_at_its_fourth_claim_and_the_next_is_answered(doors: Doors) {
    let waits = waits(&[("lease_seconds", 2.0), ("renewal_seconds", 0.5)]);
    let mut stack = Plan::on(doors).await.file(&waits).start().await;
    let held = stack.model.hold();
    let culprit = stack.say(CUSTOMER, "The one that kills").await;
    for call in 1..=3 {
        stack.model.wait_for_calls(call).await.unwrap();
        replace(&mut stack, 0).await;
    }
    assert_eq!(stack.end_of(culprit).await, "dead");
    assert_eq!(stack.model.calls().len(), 3, "the fourth claim asks nobody");
    held.release();
    stack.graph.wait_for(1).await.unwrap();
    let next = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["dead"], ledger.ended["replied"]), (1, 1));
    let letters = dead_letters(&stack).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].class.as_str(), letters[0].stage.as_str()), ("crash", "turn"));
    assert_eq!(letters[0].event_id, Some(culprit));
    let texts = stack.received_by(CUSTOMER);
    assert_eq!((texts.len(), texts[0].as_str()), (2, policy_text("failure").as_str()));
}

async fn only_the_first_untried_message_of_a_burst_is_parked_after_crashes(doors: Doors) {
    let waits = waits(&[("lease_seconds", 2.0), ("renewal_seconds", 0.5)]);
    let mut stack = Plan::on(doors).await.file(&waits).start().await;
    let held = stack.model.hold();
    let texts = ["wamid.c1", "wamid.c2"].map(|id| Text { id, from: CUSTOMER, body: "One of two" });
    stack.post(samples::whatsapp_texts(&texts, Micros::wall())).await;
    for call in 1..=3 {
        stack.model.wait_for_calls(call).await.unwrap();
        replace(&mut stack, 0).await;
    }
    held.release();
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.c1")).await, "dead");
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.c2")).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 2);
}

on_every_backend!(
    a_turn_whose_worker_is_killed_is_taken_over_and_answered_once,
    a_send_begun_by_a_killed_worker_is_unknown_until_a_status_names_it_and_never_repeated,
    a_message_that_kills_every_worker_is_parked_at_its_fourth_claim_and_the_next_is_answered,
);

mod either {
    use super::Doors;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unknown_send_that_no_status_names_is_closed_and_left_for_a_person() {
        super::an_unknown_send_that_no_status_names_is_closed_and_left_for_a_person(Doors::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_send_begun_by_a_killed_worker_goes_to_a_reply_url_again_under_the_same_id() {
        super::a_send_begun_by_a_killed_worker_goes_to_a_reply_url_again_under_the_same_id(Doors::Servers).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_the_first_untried_message_of_a_burst_is_parked_after_crashes() {
        super::only_the_first_untried_message_of_a_burst_is_parked_after_crashes(Doors::Embedded).await;
    }
}
