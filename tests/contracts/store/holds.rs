//! What waits: a conversation for a person to deal with its dead letter, and a turn or an outbox for an outage to end.

use std::time::Duration;

use common::domain::{Author, ConversationId, End, Floor};
use common::store::{CommitOutcome, Finished, HandBack, NextSend};

use super::{ANNA, BORIS, Shop, contract};

/// A conversation held for its first message, with two more pending.
async fn held(shop: &Shop) -> ConversationId {
    let (first, conversation) = shop.say(ANNA, "one").await;
    shop.say(ANNA, "two").await;
    let claim = shop.claim_quiet(conversation).await;
    let CommitOutcome::Committed(committed) = shop.park_and_hold(&claim, first).await else { panic!("it is ours") };
    assert!(committed.more.is_none(), "nothing goes on");
    shop.say(ANNA, "three").await;
    shop.quiet();
    conversation
}

contract! {
    async fn a_held_conversation_waits_with_all_that_comes_in_and_says_for_what(shop) {
        let conversation = held(&shop).await;
        assert!(shop.claim(conversation).await.is_none());
        assert!(shop.store.claimable(10).await.unwrap().is_empty());
        assert_eq!(shop.store.held_conversations().await.unwrap(), 1);
        let letter = shop.store.dead_letters(&common::store::DeadFilter::default()).await.unwrap().remove(0);
        let summary = shop.store.conversation_view(conversation, 1).await.unwrap().summary;
        assert_eq!((summary.held, summary.held_by, summary.pending), (true, Some(letter.id), 2));
        let ledger = shop.store.ledger(None).await.unwrap();
        assert_eq!((ledger.pending, ledger.ended["dead"]), (2, 1));
        shop.assert_balanced().await;
        let (_, other) = shop.say(BORIS, "hello").await;
        shop.claim_quiet(other).await;
    }

    async fn replaying_the_letter_lets_the_conversation_go_on_with_its_message_first(shop) {
        let conversation = held(&shop).await;
        let letter = shop.store.dead_letters(&common::store::DeadFilter::default()).await.unwrap().remove(0);
        shop.store.replay(letter.id, "ops").await.unwrap();
        let claim = shop.claim_quiet(conversation).await;
        let pending = shop.store.pending(&claim).await.unwrap();
        assert_eq!((pending.len(), Some(pending[0].event_id)), (3, letter.event_id));
        assert_eq!(shop.store.held_conversations().await.unwrap(), 0);
    }

    async fn a_message_that_dies_again_holds_the_conversation_for_the_same_letter(shop) {
        let conversation = held(&shop).await;
        let letter = shop.store.dead_letters(&common::store::DeadFilter::default()).await.unwrap().remove(0);
        shop.store.replay(letter.id, "ops").await.unwrap();
        let claim = shop.claim_quiet(conversation).await;
        shop.park_and_hold(&claim, letter.event_id.unwrap()).await;
        let summary = shop.store.conversation_view(conversation, 1).await.unwrap().summary;
        assert_eq!((summary.held, summary.held_by), (true, Some(letter.id)));
    }

    async fn a_person_who_takes_or_returns_a_held_conversation_lets_it_go_on(shop) {
        let conversation = held(&shop).await;
        let returned = shop.store.return_floor(conversation, "ops").await.unwrap();
        assert_eq!((returned.floor, returned.released), (false, true));
        let claim = shop.claim_quiet(conversation).await;
        let first = shop.store.pending(&claim).await.unwrap()[0].event_id;
        shop.park_and_hold(&claim, first).await;
        assert!(shop.claim(conversation).await.is_none());
        shop.store.take(conversation, "ops", None).await.unwrap();
        assert_eq!(shop.claim_quiet(conversation).await.floor, Floor::Human);
        let audited = "SELECT count(*) FROM audit WHERE action IN ('conversation.return', 'conversation.take')";
        assert_eq!(shop.number(audited).await, 2);
    }

    async fn who_waits_behind_a_held_letter_hears_the_holding_text_once(shop) {
        let conversation = held(&shop).await;
        shop.pass(shop.timing.holding_after);
        assert_eq!(shop.store.waiting_too_long(10).await.unwrap()[0].conversation, conversation);
        let word = || [shop.send(Author::Policy, "one moment")];
        assert!(shop.store.say_holding(conversation, &word()).await.unwrap());
        assert!(shop.store.waiting_too_long(10).await.unwrap().is_empty());
        assert_eq!(shop.deliver(conversation).await.len(), 1);
    }

    async fn a_refused_send_may_hold_what_comes_after_it(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        let Finished::Dead { letter, .. } = shop.refusal(&claim, send) else { panic!("a letter") };
        shop.finish(&claim, send, Finished::Dead { letter, hold: true }).await;
        shop.say(ANNA, "more").await;
        shop.quiet();
        assert!(shop.claim(conversation).await.is_none());
        let letter = shop.store.dead_letters(&common::store::DeadFilter::default()).await.unwrap().remove(0);
        assert_eq!(shop.store.conversation_view(conversation, 1).await.unwrap().summary.held_by, Some(letter.id));
        shop.store.replay(letter.id, "ops").await.unwrap();
        assert_eq!(shop.store.pending(&shop.claim_quiet(conversation).await).await.unwrap().len(), 2);
        shop.assert_balanced().await;
    }

    async fn a_turn_is_woken_only_from_the_wait_that_it_was_given(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        let wait = async |seconds| {
            let claim = shop.claim_quiet(conversation).await;
            let at = shop.now() + Duration::from_secs(seconds);
            shop.store.hand_back(&claim, HandBack::Retry { at, counted: 0, one_by_one: false }).await.unwrap();
            at
        };
        let at = wait(600).await;
        assert!(!shop.store.wake_turn(conversation, at + Duration::from_micros(1)).await.unwrap());
        assert!(shop.claim(conversation).await.is_none());
        assert!(shop.store.wake_turn(conversation, at).await.unwrap());
        assert!(!shop.store.wake_turn(conversation, at).await.unwrap(), "once");
        let other = wait(900).await;
        assert!(!shop.store.wake_turn(conversation, at).await.unwrap(), "another wait has been ordered since");
        assert!(shop.store.wake_turn(conversation, other).await.unwrap());
        let claim = shop.claim(conversation).await.expect("due");
        assert_eq!(claim.attempts, 0);
        shop.commit(&claim, &[(event, End::Recorded, None)], &[], None, &[]).await.unwrap();
    }

    async fn an_outbox_is_woken_with_the_send_that_was_refused_until_then(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        let at = shop.now() + Duration::from_secs(600);
        shop.finish(&claim, send, Finished::Retry { at, error: "busy".into(), class: "outage".into(), held: false }).await;
        assert_eq!(shop.store.next_send(&claim).await.unwrap(), NextSend::Wait(at));
        assert!(shop.store.release_delivery(&mut claim, Some(at)).await.unwrap());
        assert!(shop.store.deliverable(10).await.unwrap().is_empty());
        assert!(!shop.store.wake_delivery(conversation, at + Duration::from_micros(1)).await.unwrap());
        assert!(shop.store.wake_delivery(conversation, at).await.unwrap());
        assert_eq!(shop.deliver(conversation).await, [send]);
        assert!(!shop.store.wake_delivery(conversation, at).await.unwrap());
    }

    async fn a_send_that_never_arrived_or_cannot_be_read_holds_where_policy_says_so(shop) {
        for (class, holds) in [("undelivered", false), ("undelivered", true), ("poison", true)] {
            shop.store.hold_after(holds.then_some(class));
            let (_, conversation, send) = shop.answered(ANNA).await;
            if class == "poison" {
                let bytes = shop.bytes(b"noise");
                shop.execute(format!("UPDATE outbox SET body = {bytes} WHERE id = {}", shop.id(send.uuid()))).await;
            }
            shop.deliver(conversation).await;
            shop.admit(&shop.status(Some(send), "wamid.other", common::domain::Status::Failed)).await;
            let letter = shop.store.dead_letters(&common::store::DeadFilter::default()).await.unwrap().remove(0);
            assert_eq!(letter.class, class);
            let held = format!("SELECT count(*) FROM conversation WHERE held AND held_by = {}", shop.id(letter.id.uuid()));
            assert_eq!(shop.number(&held).await, i64::from(holds), "{class}");
            shop.store.discard_dead(&[letter.id], "ops", "seen").await.unwrap();
        }
    }
}
