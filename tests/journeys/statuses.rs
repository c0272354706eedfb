//! What a provider says became of a send moves the send forwards, never back, and a failure is nobody's secret.

use common::domain::{EventId, SendId, Status};
use common::store::{DeadFilter, OutboxView};
use stand_ins::GraphSend;

use super::bodies;
use crate::stack::{Doors, Plan, Stack};

/// A customer asks and is answered: the event, and the send as the provider saw it.
async fn answered(stack: &Stack, customer: &str) -> (EventId, GraphSend) {
    let event = stack.say(customer, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    let send = stack.graph.sends().into_iter().find(|send| send.to == customer);
    (event, send.expect("a send"))
}

async fn report(stack: &Stack, send: &GraphSend, ours: bool, status: &str, code: Option<i64>) {
    let wamid = send.wamid.as_deref().expect("it was accepted");
    let ours = send.callback_data.as_deref().filter(|_| ours);
    stack.post(bodies::statuses(&[bodies::status(wamid, ours, &send.to, status, code)])).await;
    let event = bodies::event("whatsapp", "status", wamid, Some(status));
    assert_eq!(stack.end_of(event).await, "recorded");
}

async fn send_of(stack: &Stack, event: EventId) -> OutboxView {
    let conversation = stack.conversation_of(event).await;
    stack.view(conversation).await.outbox.remove(0)
}

async fn a_status_moves_its_send_forwards_and_never_back(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let (first, told) = answered(&stack, "15550101").await;
    assert_eq!(send_of(&stack, first).await.status, None);
    let ours: SendId = told.callback_data.as_deref().unwrap().parse().expect("our own id");
    assert_eq!(send_of(&stack, first).await.id, ours);
    for (word, status) in [("sent", Status::Sent), ("delivered", Status::Delivered), ("read", Status::Read)] {
        report(&stack, &told, true, word, None).await;
        assert_eq!(send_of(&stack, first).await.status, Some(status));
    }
    // A provider that does not echo our id is understood by its own; what comes late undoes nothing.
    let (second, told) = answered(&stack, "15550102").await;
    report(&stack, &told, false, "read", None).await;
    assert_eq!(send_of(&stack, second).await.status, Some(Status::Read));
    report(&stack, &told, false, "delivered", None).await;
    assert_eq!(send_of(&stack, second).await.status, Some(Status::Read));
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.sends.accepted, ledger.ended["recorded"]), (7, 2, 5));
}

async fn a_reply_that_failed_to_arrive_is_a_dead_letter(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let (event, told) = answered(&stack, "15550101").await;
    report(&stack, &told, false, "failed", Some(131_026)).await;
    let send = send_of(&stack, event).await;
    assert_eq!(
        (send.state.as_str(), send.status, send.error.as_deref()),
        ("dead", Some(Status::Failed), Some("131026"))
    );
    assert_eq!(stack.end_of(event).await, "dead");
    let letters = stack.store.dead_letters(&DeadFilter::default()).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.class.as_str(), letter.stage.as_str()), ("undelivered", "send"));
    assert_eq!((letter.send_id, letter.event_id), (Some(send.id), Some(event)));
    assert_eq!(letter.error, "131026");
    let ledger = stack.settled().await;
    assert_eq!((ledger.sends.dead, ledger.ended["dead"], ledger.ended["replied"]), (1, 1, 0));
}

on_every_backend!(a_status_moves_its_send_forwards_and_never_back, a_reply_that_failed_to_arrive_is_a_dead_letter);
