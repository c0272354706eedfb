//! While a person holds the floor the assistant is silent, and no customer is stranded with nobody.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Author, End, Floor};
use common::store::{Begun, ExpiredFloor, Finished, NextSend};

use super::{ANNA, SENDING, Shop, contract};

impl Shop {
    /// Floors that people have kept, or not come for, as long as the deployment's timing lets them.
    pub(super) async fn expired_floors(&self) -> Vec<ExpiredFloor> {
        let within = self.timing.floor_return;
        self.store.expired_floors(within, within, 10).await.unwrap()
    }
}

contract! {
    async fn a_take_over_supersedes_what_is_unsent_and_names_what_had_begun(shop) {
        let (event, conversation) = shop.say(ANNA, "a long answer, please").await;
        let claim = shop.claim_quiet(conversation).await;
        let parts = ["one", "two"].map(|words| shop.send(Author::Assistant, words));
        shop.reply_with(&claim, &parts).await.unwrap();
        let sender = shop.sender(conversation).await;
        let begun = shop.begin(&sender).await;
        let taken = shop.store.take(conversation, "ops", Some("angry")).await.unwrap();
        assert_eq!((taken.begun, taken.changed), (vec![begun], true));
        assert_eq!(shop.store.still_sending(&[begun]).await.unwrap(), [begun]);
        assert_eq!(shop.send_state(conversation, parts[1].id).await, "superseded");
        assert_eq!(shop.event_state(event).await, "handed_off");
        shop.finish(&sender, begun, super::accepted("wamid.1")).await;
        assert!(shop.store.still_sending(&[begun]).await.unwrap().is_empty());
        assert_eq!(shop.store.next_send(&sender).await.unwrap(), NextSend::Nothing);
        assert!(!shop.store.take(conversation, "ops", None).await.unwrap().changed);
        shop.assert_balanced().await;
    }

    async fn after_a_take_over_the_head_that_was_just_looked_up_does_not_begin(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let claim = shop.sender(conversation).await;
        let NextSend::Send(id) = shop.store.next_send(&claim).await.unwrap() else { panic!() };
        assert_eq!(id, send);
        assert!(shop.store.take(conversation, "ops", None).await.unwrap().begun.is_empty());
        // The claim is alive, so the sender goes on with what the person has to say.
        assert!(matches!(shop.store.begin_send(&claim, send, SENDING).await.unwrap(), Begun::Superseded));
        let words = shop.send(Author::Person, "I am here");
        let id = words.id;
        shop.store.person_reply(conversation, "ops", &[words]).await.unwrap();
        assert_eq!(shop.begin(&claim).await, id);
    }

    async fn in_fifty_races_no_send_begins_after_the_take_over(shop) {
        let mut before = 0;
        for round in 0..50 {
            let (_, conversation, send) = shop.answered(&format!("1555{:07}", 100 + round)).await;
            let claim = shop.sender(conversation).await;
            let beginning = { let (shop, claim) = (Arc::clone(&shop), claim.clone());
                tokio::spawn(async move { shop.store.begin_send(&claim, send, SENDING).await.unwrap() }) };
            let taking = { let shop = Arc::clone(&shop);
                tokio::spawn(async move { shop.store.take(conversation, "ops", None).await.unwrap() }) };
            let (begun, taken) = (beginning.await.unwrap(), taking.await.unwrap());
            // Either the take-over came second and names the send, or it came first and the send never begins.
            let (began, state) = (matches!(begun, Begun::Yes(_)), shop.send_state(conversation, send).await);
            assert_eq!(began, taken.begun == [send], "round {round}: {state}");
            assert_eq!(state, if began { "sending" } else { "superseded" }, "round {round}");
            before += i32::from(began);
        }
        shop.assert_balanced().await;
        assert!(before <= 50);
    }

    async fn a_person_may_speak_while_they_hold_the_floor_and_waits_for_no_backoff_of_the_assistants(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        // Taken while the send is under way, which then has to be tried again an hour later.
        shop.store.take(conversation, "ops", None).await.unwrap();
        let at = shop.now() + Duration::from_hours(1);
        shop.finish(&claim, send, Finished::Retry { at, error: "busy".into(), class: "outage".into(), held: false }).await;
        let words = shop.send(Author::Person, "I am here");
        let id = words.id;
        shop.store.person_reply(conversation, "ops", &[words]).await.unwrap();
        // The wait was looked up before the person spoke.
        shop.store.release_delivery(&mut claim, Some(at)).await.unwrap();
        assert_eq!(shop.deliver(conversation).await, [id]);
        assert_eq!(shop.send_state(conversation, send).await, "superseded");
        assert_eq!(shop.floor(conversation).await, Floor::Human);
        shop.assert_balanced().await;
    }

    async fn a_send_left_from_before_a_take_over_does_not_take_the_next_answer_with_it(shop) {
        let (_, conversation, old) = shop.answered(ANNA).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        shop.store.take(conversation, "ops", None).await.unwrap();
        shop.finish(&claim, old, Finished::Retry { at: shop.now(), error: "busy".into(), class: "outage".into(), held: false }).await;
        assert!(shop.store.return_floor(conversation, "ops").await.unwrap().floor);
        shop.store.release_delivery(&mut claim, None).await.unwrap();
        let (event, _, new) = shop.answered(ANNA).await;
        assert_eq!(shop.deliver(conversation).await, [new]);
        assert_eq!(shop.send_state(conversation, old).await, "superseded");
        assert_eq!(shop.event_state(event).await, "replied");
    }

    async fn asking_for_a_person_supersedes_older_answers_and_the_policys_word_still_goes_out(shop) {
        let (first, conversation, old) = shop.answered(ANNA).await;
        let (asks, _) = shop.say(ANNA, "a person, please").await;
        let claim = shop.claim_quiet(conversation).await;
        let word = shop.send(Author::Policy, "somebody will come");
        let id = word.id;
        shop.commit(&claim, &[(asks, End::HandedOff, None)], &[word], Some(Floor::Queued), &[]).await.unwrap();
        assert_eq!(shop.floor(conversation).await, Floor::Queued);
        assert_eq!(shop.send_state(conversation, old).await, "superseded");
        assert_eq!(shop.event_state(first).await, "handed_off");
        assert_eq!(shop.deliver(conversation).await, [id]);
        shop.assert_balanced().await;
    }

    async fn a_returned_floor_is_the_assistants_again(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        assert!(!shop.store.return_floor(conversation, "ops").await.unwrap().floor);
        shop.store.take(conversation, "ops", None).await.unwrap();
        assert!(shop.store.return_floor(conversation, "ops").await.unwrap().floor);
        assert_eq!(shop.floor(conversation).await, Floor::Assistant);
        let claim = shop.claim_quiet(conversation).await;
        let send = shop.send(Author::Assistant, "hello");
        let id = send.id;
        shop.reply_with(&claim, &[send]).await.unwrap();
        assert_eq!(shop.deliver(conversation).await, [id]);
    }

    async fn a_floor_returns_by_itself_with_a_word_where_nobody_came_and_without_where_somebody_did(shop) {
        for came in [false, true] {
            let from = if came { super::ANNA } else { super::BORIS };
            let (asks, conversation) = shop.say(from, "a person, please").await;
            let claim = shop.claim_quiet(conversation).await;
            shop.commit(&claim, &[(asks, End::HandedOff, None)], &[], Some(Floor::Queued), &[]).await.unwrap();
            if came {
                shop.store.take(conversation, "ops", None).await.unwrap();
            }
            shop.pass(shop.timing.floor_return - Duration::from_micros(1));
            assert!(shop.expired_floors().await.is_empty());
            shop.pass(Duration::from_micros(1));
            let expired = shop.expired_floors().await;
            assert_eq!((expired.len(), expired[0].unclaimed), (1, !came));
            let word = shop.send(Author::Policy, "I am back");
            let words = if came { Vec::new() } else { vec![word.clone()] };
            assert!(shop.store.expire_floor(&expired[0], &words).await.unwrap());
            assert!(!shop.store.expire_floor(&expired[0], &words).await.unwrap(), "once");
            assert_eq!(shop.floor(conversation).await, Floor::Assistant);
            assert_eq!(shop.deliver(conversation).await, if came { vec![] } else { vec![word.id] });
        }
    }

    async fn an_expired_floor_that_a_person_took_meanwhile_stays_theirs(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        shop.store.take(conversation, "ops", None).await.unwrap();
        shop.pass(shop.timing.floor_return);
        let expired = shop.expired_floors().await;
        shop.store.person_reply(conversation, "ops", &[shop.send(Author::Person, "still here")]).await.unwrap();
        assert!(!shop.store.expire_floor(&expired[0], &[]).await.unwrap());
        assert_eq!(shop.floor(conversation).await, Floor::Human);
    }

    async fn the_holding_text_is_said_once_per_wait(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        shop.pass(shop.timing.holding_after - Duration::from_micros(1));
        assert!(shop.store.waiting_too_long(10).await.unwrap().is_empty());
        let word = || [shop.send(Author::Policy, "one moment")];
        assert!(!shop.store.say_holding(conversation, &word()).await.unwrap(), "not yet");
        shop.pass(Duration::from_micros(1));
        assert_eq!(shop.store.waiting_too_long(10).await.unwrap()[0].conversation, conversation);
        assert!(shop.store.say_holding(conversation, &word()).await.unwrap());
        assert!(!shop.store.say_holding(conversation, &word()).await.unwrap());
        assert!(shop.store.waiting_too_long(10).await.unwrap().is_empty());
        let claim = shop.claim(conversation).await.unwrap();
        shop.reply_with(&claim, &[]).await.unwrap();
        assert!(!shop.store.say_holding(conversation, &word()).await.unwrap());
        shop.say(ANNA, "and another thing").await;
        shop.pass(shop.timing.holding_after);
        assert!(shop.store.say_holding(conversation, &word()).await.unwrap(), "a new wait");
        assert_eq!(shop.deliver(conversation).await.len(), 2);
    }
}
