//! What cannot be taken in: garbage becomes a dead letter in the store, and what another worker may be able to open
//! waits for it.

use common::envelope::Envelope;
use common::seal::{Key, Keyring};
use sqlx::{Connection, SqliteConnection};

use super::letters::{Letter, Post};
use super::{dead_letters, on_every_backend};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, message_id};

const CUSTOMER: &str = "15550190";
const LETTER: Letter<'_> =
    Letter { id: "wamid.u1", from: CUSTOMER, text: "Are you open?", sequence: 1, previous: None };

/// Waits for the one dead letter that there must be.
async fn assert_undeliverable(stack: &Stack) {
    eventually("it is kept", async || !dead_letters(stack).await.is_empty()).await;
    let letters = dead_letters(stack).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].class.as_str(), letters[0].stage.as_str()), ("undeliverable", "intake"));
    assert!(stack.model.calls().is_empty() && stack.graph.sends().is_empty());
}

async fn an_envelope_whose_body_was_changed_ends_as_a_dead_letter(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let post = Post::of(&stack).await;
    let mut bytes = post.seal(LETTER).bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    post.publish(&Envelope::decode(bytes).unwrap()).await;
    assert_undeliverable(&stack).await;
    assert_eq!(dead_letters(&stack).await[0].event_id, Some(message_id("whatsapp", "wamid.u1")));
    eventually("the dead queue is empty", async || post.ready("handrail.dead").await == 0).await;
    // The true one is not shadowed by it.
    post.publish(&post.seal(LETTER)).await;
    assert_eq!(stack.end_of(message_id("whatsapp", "wamid.u1")).await, "replied");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_envelope_end_as_a_dead_letter() {
    let stack = Plan::on(Doors::Embedded).await.start().await;
    let mut queue = SqliteConnection::connect(&stack.settings["QUEUE_URL"]).await.unwrap();
    let sql = "INSERT INTO message (lane, event_id, body, available_at, published_at) VALUES ('work', $1, $2, 0, 0)";
    sqlx::query(sql).bind(&[7_u8; 16][..]).bind(&b"garbage"[..]).execute(&mut queue).await.unwrap();
    assert_undeliverable(&stack).await;
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_envelope_goes_back_to_the_queue_once_its_key_is_known() {
    let [old, new] = [(); 2].map(|()| Key::generate().to_base64());
    let plan = Plan::on(Doors::Embedded).await.with("HANDRAIL_QUEUE_KEYS", &format!("q1:{old}"));
    let mut stack = plan.start().await;
    let post = Post::of(&stack).await;
    let envelope = post.seal_with(LETTER, &Keyring::parse(&format!("q2:{new}")).unwrap());
    let event = envelope.header().event_id;
    let mut queue = SqliteConnection::connect(&stack.settings["QUEUE_URL"]).await.unwrap();
    let sql = "INSERT INTO message (lane, event_id, body, available_at, published_at) VALUES ('dead', $1, $2, 0, 0)";
    let event_id = event.uuid().as_bytes().to_vec();
    sqlx::query(sql).bind(event_id).bind(envelope.bytes().to_vec()).execute(&mut queue).await.unwrap();
    assert_undeliverable(&stack).await;
    let id = dead_letters(&stack).await[0].id.to_string();
    let (code, told, said) = stack.handrail(&["dead", "replay", &id]).await;
    assert_eq!(code, 1, "its key is not known yet: {told}\n{said}");
    assert_eq!(dead_letters(&stack).await[0].state, common::domain::DeadState::Open);
    stack.settings.insert("HANDRAIL_QUEUE_KEYS".into(), format!("q1:{old},q2:{new}"));
    super::replace(&mut stack, 0).await;
    let (code, told, said) = stack.handrail(&["dead", "replay", &id]).await;
    assert_eq!(code, 0, "{told}\n{said}");
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
    assert_eq!(dead_letters(&stack).await[0].state, common::domain::DeadState::Resolved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tally_that_nobody_can_open_is_counted_and_becomes_no_dead_letter() {
    let stack = Plan::on(Doors::Embedded).await.start().await;
    let post = Post::of(&stack).await;
    let tally = post.tally_with(&Keyring::single("q2", Key::generate()));
    let mut queue = SqliteConnection::connect(&stack.settings["QUEUE_URL"]).await.unwrap();
    let sql = "INSERT INTO message (lane, event_id, body, available_at, published_at) VALUES ('dead', $1, $2, 0, 0)";
    let event_id = tally.header().event_id.uuid().as_bytes().to_vec();
    sqlx::query(sql).bind(event_id).bind(tally.bytes().to_vec()).execute(&mut queue).await.unwrap();
    let admin = format!("{}/metrics", stack.workers[0].admin);
    eventually("it is counted", async || {
        let told = stack.http.get(&admin).send().await.unwrap().text().await.unwrap();
        told.lines().any(|line| line == "handrail_intake_tallies_dropped_total 1")
    })
    .await;
    eventually("the dead queue is empty", async || post.ready("handrail.dead").await == 0).await;
    assert!(dead_letters(&stack).await.is_empty());
}

async fn an_envelope_of_an_unknown_key_waits_until_a_worker_knows_it(doors: Doors) {
    let (old, new) = (Key::generate().to_base64(), Key::generate().to_base64());
    let plan = Plan::on(doors).await.with("HANDRAIL_QUEUE_KEYS", &format!("q1:{old}"));
    let mut stack = plan.start().await;
    let post = Post::of(&stack).await;
    let envelope = post.seal_with(LETTER, &Keyring::parse(&format!("q2:{new}")).unwrap());
    post.publish(&envelope).await;
    eventually("it waits in a retry tier", async || post.ready("handrail.retry").await == 1).await;
    stack.settings.insert("HANDRAIL_QUEUE_KEYS".into(), format!("q1:{old},q2:{new}"));
    super::replace(&mut stack, 0).await;
    assert_eq!(stack.end_of(envelope.header().event_id).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
    assert!(dead_letters(&stack).await.is_empty());
}

on_every_backend!(
    an_envelope_whose_body_was_changed_ends_as_a_dead_letter,
    an_envelope_of_an_unknown_key_waits_until_a_worker_knows_it,
);
