//! Every event has its place, exactly once.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Consent, Content, End, Event, Floor};
use common::seal::{Key, Keyring, Pseudonyms};
use common::store::Admitted;

use super::{ANNA, BORIS, Shop, contract, text};

async fn contact_of(shop: &Shop, admitted: Admitted) -> common::domain::ContactId {
    let Admitted::Pending { conversation, .. } = admitted else { panic!("{admitted:?}") };
    shop.claim_quiet(conversation).await.contact
}

fn consent(given: bool) -> Event {
    Event::Consent(Consent { scope: "all".into(), given })
}

contract! {
    async fn the_first_arrival_is_pending_behind_the_tail(shop) {
        let (_, conversation) = shop.say(ANNA, "one").await;
        assert_eq!(shop.pending_count(conversation).await, 1);
        let (second, same) = shop.say(ANNA, "two").await;
        assert_eq!((same, shop.pending_count(conversation).await), (conversation, 2));
        assert_eq!(shop.event_state(second).await, "pending");
    }

    async fn the_same_event_again_is_a_duplicate_and_changes_nothing(shop) {
        let arrival = shop.arrival(ANNA, text("once"));
        let Admitted::Pending { conversation, .. } = shop.admit(&arrival).await else { panic!() };
        let mut again = arrival.clone();
        again.header.sequence = 2;
        assert_eq!(shop.admit(&again).await, Admitted::Duplicate { conversation: Some(conversation) });
        assert_eq!(shop.admit(&arrival).await, Admitted::Duplicate { conversation: Some(conversation) });
        assert_eq!(shop.pending_count(conversation).await, 1);
        let ledger = shop.store.ledger(None).await.unwrap();
        assert_eq!((ledger.accepted, ledger.unvouched), (1, 0));
    }

    async fn of_eight_arrivals_of_one_event_at_once_exactly_one_is_pending(shop) {
        let arrival = shop.arrival(ANNA, text("at once"));
        let tasks: Vec<_> = (0..8).map(|_| {
            let (shop, arrival) = (Arc::clone(&shop), arrival.clone());
            tokio::spawn(async move { shop.admit(&arrival).await })
        }).collect();
        let mut pending = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Admitted::Pending { conversation, .. } => pending.push(conversation),
                Admitted::Duplicate { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pending.len(), 1);
        assert_eq!(shop.pending_count(pending[0]).await, 1);
        assert_eq!(shop.number("SELECT count(*) FROM contact").await, 1);
        shop.assert_balanced().await;
    }

    async fn messages_stand_in_the_order_in_which_the_ingress_received_them(shop) {
        let arrivals: Vec<_> = ["a", "b", "c"].iter().map(|words| {
            shop.pass(std::time::Duration::from_micros(1));
            shop.arrival(ANNA, text(words))
        }).collect();
        // One request with two messages: the same moment, told apart by the sequence.
        let twins = [shop.arrival(ANNA, text("d")), shop.arrival(ANNA, text("e"))];
        let mut conversation = None;
        for arrival in [&twins[1], &arrivals[2], &arrivals[0], &twins[0], &arrivals[1]] {
            if let Admitted::Pending { conversation: found, .. } = shop.admit(arrival).await {
                conversation = Some(found);
            }
        }
        let claim = shop.claim_quiet(conversation.unwrap()).await;
        let pending: Vec<_> = shop.store.pending(&claim).await.unwrap().iter().map(|m| m.event_id).collect();
        let ingress: Vec<_> = arrivals.iter().chain(&twins).map(|arrival| arrival.id()).collect();
        assert_eq!(pending, ingress);
        shop.reply_with(&claim, &[]).await.unwrap();
        let lines = shop.store.history(&claim, 10).await.unwrap();
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<String>(), "abcde");
    }

    async fn a_message_stands_where_the_first_received_of_its_copies_stood(shop) {
        let first = shop.arrival(ANNA, text("one"));
        shop.pass(Duration::from_secs(1));
        let second = shop.arrival(ANNA, text("two"));
        shop.pass(Duration::from_secs(1));
        // The provider said it again, and that copy overtakes the first.
        let mut copy = shop.arrival(ANNA, text("one"));
        (copy.header.event_id, copy.inbound.event_id) = (first.id(), first.id());
        let Admitted::Pending { conversation, .. } = shop.admit(&second).await else { panic!() };
        shop.admit(&copy).await;
        assert_eq!(shop.admit(&first).await, Admitted::Duplicate { conversation: Some(conversation) });
        let claim = shop.claim_quiet(conversation).await;
        let pending: Vec<_> =
            shop.store.pending(&claim).await.unwrap().into_iter().map(|message| message.event_id).collect();
        assert_eq!(pending, [first.id(), second.id()]);
        let ledger = shop.store.ledger(None).await.unwrap();
        assert_eq!((ledger.accepted, ledger.late, ledger.unvouched), (2, 0, 0));
    }

    async fn a_message_whose_first_copy_surfaces_after_its_successor_was_answered_is_late(shop) {
        let first = shop.arrival(ANNA, text("one"));
        shop.pass(Duration::from_secs(1));
        let (_, conversation, _) = shop.answered(ANNA).await;
        let mut copy = shop.arrival(ANNA, text("one"));
        (copy.header.event_id, copy.inbound.event_id) = (first.id(), first.id());
        shop.admit(&copy).await;
        assert_eq!(shop.store.ledger(None).await.unwrap().late, 0);
        assert_eq!(shop.admit(&first).await, Admitted::Duplicate { conversation: Some(conversation) });
        let ledger = shop.store.ledger(None).await.unwrap();
        assert_eq!((ledger.late, ledger.unvouched), (1, 0));
    }

    async fn a_message_that_was_answered_first_and_received_first_makes_nobody_late(shop) {
        let first = shop.arrival(ANNA, text("one"));
        shop.pass(Duration::from_secs(1));
        let second = shop.arrival(ANNA, text("two"));
        shop.pass(Duration::from_secs(1));
        let third = shop.arrival(ANNA, text("three"));
        let mut copy = shop.arrival(ANNA, text("one"));
        (copy.header.event_id, copy.inbound.event_id) = (first.id(), first.id());
        let Admitted::Pending { conversation, .. } = shop.admit(&copy).await else { panic!() };
        let claim = shop.claim_quiet(conversation).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        // As far as anybody knows, the second was received before what was answered, and so was the third.
        shop.admit(&second).await;
        let claim = shop.claim_quiet(conversation).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        shop.admit(&third).await;
        assert_eq!(shop.store.ledger(None).await.unwrap().late, 2);
        // The copy that was received before them all comes in last of all.
        assert_eq!(shop.admit(&first).await, Admitted::Duplicate { conversation: Some(conversation) });
        let ledger = shop.store.ledger(None).await.unwrap();
        assert_eq!((ledger.late, ledger.unvouched), (0, 0));
    }

    async fn a_message_that_is_over_is_late_once_its_first_copy_shows_that_its_successor_overtook_it(shop) {
        let first = shop.arrival(ANNA, text("one"));
        shop.pass(Duration::from_secs(1));
        let second = shop.arrival(ANNA, text("two"));
        shop.pass(Duration::from_secs(1));
        let mut copy = shop.arrival(ANNA, text("one"));
        (copy.header.event_id, copy.inbound.event_id) = (first.id(), first.id());
        for arrival in [&second, &copy] {
            let Admitted::Pending { conversation, .. } = shop.admit(arrival).await else { panic!() };
            let claim = shop.claim_quiet(conversation).await;
            shop.reply_with(&claim, &[]).await.unwrap();
        }
        assert_eq!(shop.store.ledger(None).await.unwrap().late, 0);
        shop.admit(&first).await;
        assert!(shop.store.event(first.id()).await.unwrap().0.late);
        assert!(!shop.store.event(second.id()).await.unwrap().0.late);
        // The second overtook whatever was received between them, too.
        let mut between = shop.arrival(ANNA, text("between"));
        between.header.received_at = first.header.received_at + Duration::from_millis(1);
        shop.admit(&between).await;
        assert!(shop.store.event(between.id()).await.unwrap().0.late);
        assert_eq!(shop.store.ledger(None).await.unwrap().late, 2);
    }

    async fn a_message_is_late_only_when_a_successor_was_already_answered(shop) {
        let before_all = shop.arrival(ANNA, text("first"));
        shop.pass(std::time::Duration::from_secs(1));
        let between = shop.arrival(ANNA, text("between"));
        let (_, conversation, _) = {
            shop.pass(std::time::Duration::from_secs(1));
            let (event, conversation) = shop.say(ANNA, "successor").await;
            shop.admit(&between).await;
            assert!(!shop.store.event(between.id()).await.unwrap().0.late);
            let claim = shop.claim_quiet(conversation).await;
            shop.reply_with(&claim, &[]).await.unwrap();
            (event, conversation, ())
        };
        shop.admit(&before_all).await;
        assert!(shop.store.event(before_all.id()).await.unwrap().0.late);
        let (next, _) = shop.say(ANNA, "next").await;
        assert!(!shop.store.event(next).await.unwrap().0.late);
        assert_eq!(shop.store.ledger(None).await.unwrap().late, 1);
        assert_eq!(shop.pending_count(conversation).await, 2);
    }

    async fn two_addresses_are_two_people_and_one_phone_by_two_sources_is_one_with_two_conversations(shop) {
        let (_, first) = shop.say(ANNA, "hello").await;
        let (_, other) = shop.say(BORIS, "hello").await;
        let by_voice = shop.arrival_by("voice", Some(ANNA), text("hello"));
        let Admitted::Pending { conversation: voice, .. } = shop.admit(&by_voice).await else { panic!() };
        let anna = shop.claim_quiet(first).await.contact;
        assert_ne!(anna, shop.claim_quiet(other).await.contact);
        assert_ne!(first, voice);
        assert_eq!(anna, shop.claim_quiet(voice).await.contact);
    }

    async fn rotating_the_pseudonym_key_never_splits_a_person(shop) {
        let before = contact_of(&shop, shop.admit(&shop.arrival(ANNA, text("before"))).await).await;
        let (new, old) = (Key::generate().to_base64(), shop.pseudonym_key.to_base64());
        let rotated = shop.reopened(Pseudonyms::parse(&format!("p2:{new},p1:{old}")).unwrap()).await;
        let arrival = shop.arrival_by("voice", Some(ANNA), text("after"));
        assert_eq!(contact_of(&shop, shop.admit_into(&rotated, &arrival).await).await, before);
        // The old key is gone at last.
        let only_new = shop.reopened(Pseudonyms::from_ring(Keyring::parse(&format!("p2:{new}")).unwrap())).await;
        let arrival = shop.arrival_by("chat", Some(ANNA), text("later"));
        assert_eq!(contact_of(&shop, shop.admit_into(&only_new, &arrival).await).await, before);
    }

    async fn in_the_middle_of_a_rotation_a_worker_with_only_the_old_key_finds_whom_a_rotated_one_made(shop) {
        let (new, old) = (Key::generate().to_base64(), shop.pseudonym_key.to_base64());
        let rotated = shop.reopened(Pseudonyms::parse(&format!("p2:{new},p1:{old}")).unwrap()).await;
        let made = shop.admit_into(&rotated, &shop.arrival(ANNA, text("new worker"))).await;
        let found = shop.admit(&shop.arrival_by("voice", Some(ANNA), text("old worker"))).await;
        assert_eq!(contact_of(&shop, made).await, contact_of(&shop, found).await);
    }

    async fn who_opted_out_is_recorded_until_they_opt_in_again(shop) {
        shop.say(ANNA, "hello").await;
        shop.admit(&shop.arrival(ANNA, consent(false))).await;
        let silent = shop.arrival(ANNA, text("anybody?"));
        assert_eq!(shop.admit(&silent).await, Admitted::Recorded { conversation: None });
        assert_eq!(shop.event_state(silent.id()).await, "recorded");
        shop.admit(&shop.arrival(ANNA, consent(true))).await;
        shop.say(ANNA, "again").await;
        shop.assert_balanced().await;
    }

    async fn a_persons_own_message_takes_the_floor_and_hands_off_what_was_about_to_be_sent(shop) {
        let (event, conversation, send) = shop.answered(ANNA).await;
        let echo = shop.arrival(ANNA, Event::Echo(Content::Text("I have this one".into())));
        assert_eq!(shop.admit(&echo).await, Admitted::Recorded { conversation: Some(conversation) });
        assert_eq!(shop.floor(conversation).await, Floor::Human);
        assert_eq!(shop.send_state(conversation, send).await, "superseded");
        assert_eq!(shop.event_state(event).await, End::HandedOff.as_str());
        assert_eq!(shop.event_state(echo.id()).await, "recorded");
        assert!(shop.deliver(conversation).await.is_empty());
        shop.assert_balanced().await;
    }

    async fn what_cannot_be_parsed_is_dead_with_a_letter_that_still_holds_its_bytes(shop) {
        let event = Event::Unparsed { problem: "not JSON".into(), raw: b"{oops".to_vec() };
        let arrival = shop.arrival_by("shop", None, event.clone());
        let Admitted::Dead { dead } = shop.admit(&arrival).await else { panic!() };
        assert_eq!(shop.event_state(arrival.id()).await, "dead");
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!((letter.class.as_str(), letter.error.as_str()), ("unparsed", "not JSON"));
        assert!(shop.store.dead_event(&letter).await.unwrap().event == event);
        assert_eq!(shop.admit(&arrival).await, Admitted::Duplicate { conversation: None });
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1);
        shop.assert_balanced().await;
    }

    async fn of_an_erased_person_only_the_fact_is_kept(shop) {
        let arrival = shop.arrival(ANNA, text("forget me"));
        let address = arrival.inbound.party.clone().unwrap().address;
        let alias = shop.keys.shared.pseudonyms.of_address(&address).remove(0);
        let (digest, now) = (shop.bytes(alias.digest()), shop.moment(shop.now()));
        shop.execute(format!("INSERT INTO tombstone (digest, key_id, erased_at) VALUES ({digest}, 'p1', {now})")).await;
        assert_eq!(shop.admit(&arrival).await, Admitted::Erased);
        assert_eq!(shop.event_state(arrival.id()).await, "erased");
        let left = "SELECT count(*) FROM inbox WHERE body IS NOT NULL OR contact_id IS NOT NULL";
        for sql in [left, "SELECT count(*) FROM contact", "SELECT count(*) FROM alias", "SELECT count(*) FROM conversation"] {
            assert_eq!(shop.number(sql).await, 0, "{sql}");
        }
        shop.assert_balanced().await;
    }

    async fn who_is_erased_while_known_is_refused_inside_the_transaction(shop) {
        shop.say(ANNA, "hello").await;
        let arrival = shop.arrival(ANNA, text("forget me"));
        let alias = shop.keys.shared.pseudonyms.of_address(&arrival.inbound.party.clone().unwrap().address).remove(0);
        let (digest, now) = (shop.bytes(alias.digest()), shop.moment(shop.now()));
        shop.execute(format!("INSERT INTO tombstone (digest, key_id, erased_at) VALUES ({digest}, 'p1', {now})")).await;
        assert_eq!(shop.admit(&arrival).await, Admitted::Erased);
        assert_eq!(shop.number("SELECT count(*) FROM inbox WHERE state = 'erased' AND body IS NULL").await, 1);
        shop.assert_balanced().await;
    }
}
