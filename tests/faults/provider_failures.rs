//! Every way in which a provider does not take a reply: sent later, dead, held, or unknown; never twice, never lost.

use std::time::Duration;

use stand_ins::GraphBehaviour;

use super::{dead_letters, replace, waits};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, SHORT_WAITS, WHATSAPP};

const CUSTOMER: &str = "15550170";

async fn embedded() -> Plan {
    Plan::on(Doors::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_will_never_be_accepted_makes_its_message_dead() {
    let stack = embedded().await.start().await;
    stack.graph.next(GraphBehaviour::Refuse { http: 400, code: 131_026 });
    let event = stack.say(CUSTOMER, "Are you open?").await;
    eventually("the message is dead", async || {
        stack.store.event(event).await.is_ok_and(|(view, _)| view.state == "dead")
    })
    .await;
    let next = stack.say(CUSTOMER, "Hello?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["dead"], ledger.ended["replied"]), (1, 1));
    assert_eq!((ledger.sends.dead, ledger.sends.accepted), (1, 1));
    let letters = dead_letters(&stack).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].class.as_str(), letters[0].stage.as_str()), ("rejected", "send"));
    assert_eq!((letters[0].error.as_str(), letters[0].event_id), ("131026", Some(event)));
    assert!(letters[0].send_id.is_some());
    assert_eq!(stack.graph.sends().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asks_for_patience_gets_the_replies_later_once_and_in_order() {
    let stack = embedded().await.start().await;
    stack.graph.next(GraphBehaviour::RateLimit { retry_after: Some("2".into()) });
    let first = stack.say(CUSTOMER, "The first").await;
    stack.graph.wait_for(1).await.unwrap();
    let second = stack.say(CUSTOMER, "The second").await;
    for event in [first, second] {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    let sends = stack.graph.wait_for(3).await.unwrap();
    let ledger = stack.settled().await;
    assert_eq!((ledger.sends.committed, ledger.sends.accepted), (2, 2));
    assert!(sends[1].at.duration_since(sends[0].at).unwrap() >= Duration::from_secs(2));
    assert_eq!(sends[0].callback_data, sends[1].callback_data);
    assert!(sends[1].text.contains("The first") && sends[2].text.contains("The second"), "in order");
    assert_eq!(stack.graph.sends().len(), 3);
    assert!(dead_letters(&stack).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_which_nobody_can_say_whether_it_arrived_is_unknown_and_holds_the_next_only_briefly() {
    let stack = embedded().await.file(&waits(&[("unknown_wait_seconds", 600.0)])).start().await;
    let cases = [
        (GraphBehaviour::ServerError, "server_error"),
        (GraphBehaviour::HangAfterReading, "timeout"),
        (GraphBehaviour::ResetAfterReading, "reset"),
        (GraphBehaviour::Garbage, "unreadable_answer"),
    ];
    let customers: Vec<String> = (0..cases.len()).map(|n| format!("1555017{n}")).collect();
    for (customer, (behaviour, why)) in customers.iter().zip(cases) {
        stack.graph.next(behaviour);
        let event = stack.say(customer, "The first").await;
        let conversation = stack.conversation_of(event).await;
        eventually("its send is unknown", async || {
            stack.view(conversation).await.outbox.first().is_some_and(|send| send.state == "unknown")
        })
        .await;
        let view = stack.view(conversation).await;
        assert_eq!((view.outbox[0].error.as_deref(), view.outbox[0].attempts), (Some(why), 1));
        assert_eq!(stack.end_of(event).await, "replied");
        assert_eq!(stack.end_of(stack.say(customer, "The second").await).await, "replied");
        eventually("the second was sent", async || stack.received_by(customer).len() == 2).await;
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.sends.unknown, ledger.unknown_sends, ledger.sends.accepted), (4, 4, 4));
    for customer in &customers {
        let texts = stack.received_by(customer);
        assert_eq!(texts.len(), 2, "one request each: {texts:?}");
        assert!(texts[0].contains("The first") && texts[1].contains("The second"));
    }
    assert!(dead_letters(&stack).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_waits_for_the_configuration_that_it_needs() {
    let without: String =
        WHATSAPP.lines().filter(|line| !line.starts_with("access_token")).collect::<Vec<_>>().join("\n");
    let mut stack = embedded().await.file(&without).start().await;
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    let conversation = stack.conversation_of(event).await;
    eventually("the send says what is missing", async || {
        let view = stack.view(conversation).await;
        let word = |send: &common::store::OutboxView| (send.state.clone(), send.error.clone().unwrap_or_default());
        view.outbox.first().map(word) == Some(("queued".into(), "no_access_token".into()))
    })
    .await;
    assert!(stack.graph.sends().is_empty());
    std::fs::write(stack.folder().join("handrail.toml"), format!("{WHATSAPP}\n{SHORT_WAITS}")).unwrap();
    replace(&mut stack, 0).await;
    stack.graph.wait_for(1).await.unwrap();
    assert_eq!(stack.settled().await.sends.accepted, 1);
    assert!(dead_letters(&stack).await.is_empty());
}
