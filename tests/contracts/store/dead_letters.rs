//! What died is kept, and can be tried again: once at a time, at the tail, under one letter.

use std::sync::Arc;

use common::domain::{Author, ConversationId, DeadId, DeadState, End, EventId};
use common::store::ReplayRefused;

use super::{ANNA, Shop, contract, text};

/// A message whose turn gave it up.
pub(super) async fn parked(shop: &Shop) -> (EventId, ConversationId, DeadId) {
    let (event, conversation) = shop.say(ANNA, "poison").await;
    let claim = shop.claim_quiet(conversation).await;
    let letter = shop.letter(&claim, event);
    let id = letter.id;
    shop.commit(&claim, &[(event, End::Dead, Some("parked"))], &[], None, &[letter]).await.unwrap();
    (event, conversation, id)
}

contract! {
    async fn a_replay_puts_the_message_at_the_tail_and_keeps_its_first_place(shop) {
        let (event, conversation, dead) = parked(&shop).await;
        assert_eq!(shop.event_state(event).await, "dead");
        let (newer, _) = shop.say(ANNA, "newer").await;
        assert_eq!(shop.store.replay(dead, "ops").await.unwrap(), conversation);
        assert_eq!(shop.store.dead_letter(dead).await.unwrap().state, DeadState::Replaying);
        let places = format!("SELECT seq * 100 + first_seq FROM inbox WHERE id = {}", shop.id(event.uuid()));
        assert_eq!(shop.number(&places).await, 301);
        let claim = shop.claim(conversation).await.expect("due at once");
        let pending: Vec<_> = shop.store.pending(&claim).await.unwrap().iter().map(|m| m.event_id).collect();
        assert_eq!(pending, [event, newer]);
        shop.reply_with(&claim, &[]).await.unwrap();
        assert_eq!(shop.store.dead_letter(dead).await.unwrap().state, DeadState::Resolved);
        shop.assert_balanced().await;
    }

    async fn a_second_replay_is_refused_also_at_the_same_moment(shop) {
        let (_, conversation, dead) = parked(&shop).await;
        let tasks: Vec<_> = (0..4).map(|_| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move { shop.store.replay(dead, "ops").await })
        }).collect();
        let mut replayed = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => replayed += 1,
                Err(ReplayRefused::NotOpen(id, DeadState::Replaying)) => assert_eq!(id, dead),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!((replayed, shop.pending_count(conversation).await), (1, 1));
        shop.assert_balanced().await;
    }

    async fn a_replay_that_dies_again_reopens_the_same_letter_with_its_attempts_added(shop) {
        let (event, conversation, dead) = parked(&shop).await;
        shop.store.replay(dead, "ops").await.unwrap();
        let claim = shop.claim(conversation).await.unwrap();
        let letter = shop.letter(&claim, event);
        shop.commit(&claim, &[(event, End::Dead, Some("parked"))], &[], None, &[letter]).await.unwrap();
        let letters = shop.store.dead_letters(&Default::default()).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!((letters[0].id, letters[0].state, letters[0].attempts), (dead, DeadState::Open, 6));
        shop.store.replay(dead, "ops").await.unwrap();
        shop.assert_balanced().await;
    }

    async fn a_refused_sends_messages_are_replayed_together_and_refused_again_under_the_same_letter(shop) {
        let (first, conversation) = shop.say(ANNA, "one").await;
        let (second, _) = shop.say(ANNA, "two").await;
        for round in 1..=2 {
            shop.quiet();
            let claim = shop.claim(conversation).await.unwrap();
            shop.reply_with(&claim, &[shop.send(Author::Assistant, "both")]).await.unwrap();
            let mut sender = shop.sender(conversation).await;
            let id = shop.begin(&sender).await;
            let refusal = shop.refusal(&sender, id);
            shop.finish(&sender, id, refusal).await;
            shop.store.release_delivery(&mut sender, None).await.unwrap();
            assert_eq!((shop.event_state(first).await, shop.event_state(second).await), ("dead".into(), "dead".into()));
            let letters = shop.store.dead_letters(&Default::default()).await.unwrap();
            assert_eq!((letters.len(), letters[0].state, letters[0].attempts), (1, DeadState::Open, round));
            assert_eq!(letters[0].event_id, Some(first));
            shop.store.replay(letters[0].id, "ops").await.unwrap();
            assert_eq!(shop.pending_count(conversation).await, 2);
            shop.assert_balanced().await;
        }
    }

    async fn a_letter_without_a_message_to_replay_is_refused_and_stays_open(shop) {
        let arrival = shop.arrival(ANNA, text("hello"));
        assert!(shop.store.keep_undeliverable(Some(&arrival.header), b"bytes", "malformed").await.unwrap());
        let letter = shop.store.dead_letters(&Default::default()).await.unwrap().remove(0);
        assert!(matches!(shop.store.replay(letter.id, "ops").await, Err(ReplayRefused::NothingLeft(_))));
        assert_eq!(shop.store.dead_letter(letter.id).await.unwrap().state, DeadState::Open);
    }

    async fn what_the_store_has_already_is_not_kept_again(shop) {
        let [known, other] = [0, 1].map(|_| shop.arrival(ANNA, text("hello")));
        shop.admit(&known).await;
        assert!(!shop.store.keep_undeliverable(Some(&known.header), b"bytes", "malformed").await.unwrap());
        assert!(shop.store.keep_undeliverable(Some(&other.header), b"bytes", "malformed").await.unwrap());
        assert!(!shop.store.keep_undeliverable(Some(&other.header), b"bytes", "malformed").await.unwrap());
        assert!(shop.store.keep_undeliverable(None, b"noise", "malformed").await.unwrap());
        assert!(!shop.store.keep_undeliverable(None, b"noise", "malformed").await.unwrap());
        assert!(shop.store.keep_undeliverable(None, b"other noise", "malformed").await.unwrap());
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 3);
    }
}
