//! Every failed attempt is known: by whom, when, of what, and what was decided.

use std::time::Duration;

use common::domain::{Author, End, WorkerId};
use common::store::{Finished, NewFailure, Retry};

use super::{ANNA, Shop, contract};

/// Hands the turn back as failed, to be tried again at once.
async fn fail(shop: &Shop, conversation: common::domain::ConversationId, counted: i64) {
    let claim = shop.claim_quiet(conversation).await;
    let events: Vec<_> = shop.store.pending(&claim).await.unwrap().iter().map(|message| message.event_id).collect();
    let failure = NewFailure { events: &events, class: "outage", error: "http # from provider" };
    let retry = Retry { at: shop.now(), counted, one_by_one: false };
    assert!(shop.store.retry(&claim, retry, failure).await.unwrap());
}

contract! {
    async fn every_failed_attempt_stays_with_its_letter_over_replays(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        for round in 1..=2 {
            fail(&shop, conversation, 1).await;
            fail(&shop, conversation, 1).await;
            let claim = shop.claim_quiet(conversation).await;
            let letter = shop.letter(&claim, event);
            shop.commit(&claim, &[(event, End::Dead, None)], &[], None, &[letter]).await.unwrap();
            let letters = shop.store.dead_letters(&Default::default()).await.unwrap();
            assert_eq!(letters.len(), 1);
            let lines = shop.store.dead_attempts(&letters[0]).await.unwrap();
            let outcomes: Vec<_> = lines.iter().map(|line| line.outcome.as_str()).collect();
            assert_eq!(outcomes, ["retried", "retried", "dead"].repeat(round));
            assert!(lines.iter().all(|line| line.worker == Some(shop.worker) && line.stage == "turn"));
            assert!(lines.is_sorted_by_key(|line| line.at));
            assert_eq!((lines[0].class.as_str(), lines[0].error.as_str()), ("outage", "http # from provider"));
            shop.store.replay(letters[0].id, "ops").await.unwrap();
        }
    }

    async fn what_is_held_for_hours_is_one_line_that_counts(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        for _ in 0..40 {
            fail(&shop, conversation, 0).await;
            shop.pass(Duration::from_secs(60));
        }
        assert_eq!(shop.number("SELECT count(*) FROM failure").await, 1);
        assert_eq!(shop.number("SELECT times FROM failure").await, 40);
        assert_eq!(shop.number("SELECT count(*) FROM failure WHERE last_at > at").await, 1);
        assert_eq!(shop.pending_count(conversation).await, 1);
    }

    async fn a_claim_that_ended_without_a_word_names_who_held_it_and_is_told_once(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        shop.quiet();
        let lost = WorkerId::random();
        assert!(shop.store.claim(conversation, lost).await.unwrap().expect("due").crashed_owner.is_none());
        shop.pass(shop.timing.lease);
        let claim = shop.claim(conversation).await.expect("its lease ran out");
        assert_eq!((claim.claims, claim.crashed_owner), (2, Some(lost)));
        for _ in 0..2 {
            shop.store.note_crash(&claim, &[event], "its worker ended without a word").await.unwrap();
        }
        let letter = shop.letter(&claim, event);
        let id = letter.id;
        shop.commit(&claim, &[(event, End::Dead, None)], &[], None, &[letter]).await.unwrap();
        let lines = shop.store.dead_attempts(&shop.store.dead_letter(id).await.unwrap()).await.unwrap();
        let told: Vec<_> = lines.iter().map(|line| (line.outcome.as_str(), line.worker)).collect();
        assert_eq!(told, [("crashed", Some(lost)), ("dead", Some(shop.worker))]);
    }

    async fn a_refused_sends_tries_are_its_letters_history_and_the_prompt_is_named(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        shop.attempt(&claim, "main", "abc123").await;
        shop.reply_with(&claim, &[shop.send(Author::Assistant, "hi")]).await.unwrap();
        let sender = shop.sender(conversation).await;
        let send = shop.begin(&sender).await;
        let (at, error, class) = (shop.now(), "503".to_owned(), "outage".to_owned());
        shop.finish(&sender, send, Finished::Retry { at, error, class, held: true }).await;
        assert_eq!(shop.begin(&sender).await, send);
        let refusal = shop.refusal(&sender, send);
        shop.finish(&sender, send, refusal).await;
        let letter = shop.store.dead_letters(&Default::default()).await.unwrap().remove(0);
        assert_eq!((letter.event_id, letter.prompt.as_deref(), letter.place), (Some(event), Some("abc123"), Some(1)));
        let lines = shop.store.dead_attempts(&letter).await.unwrap();
        let told: Vec<_> = lines.iter().map(|line| (line.outcome.as_str(), line.stage.as_str())).collect();
        assert_eq!(told, [("held", "send"), ("dead", "send")]);
    }

    async fn what_ends_well_writes_nothing_and_what_failed_before_is_forgotten_after_a_week(shop) {
        shop.answered(ANNA).await;
        assert_eq!(shop.number("SELECT count(*) FROM failure").await, 0);
        let (_, conversation) = shop.say(ANNA, "and to Quito?").await;
        fail(&shop, conversation, 1).await;
        let claim = shop.claim_quiet(conversation).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        let (_, _, dead) = super::dead_letters::parked(&shop).await;
        shop.pass(Duration::from_hours(6 * 24));
        shop.store.forget_failures().await.unwrap();
        assert_eq!(shop.number("SELECT count(*) FROM failure").await, 2);
        shop.pass(Duration::from_hours(24));
        assert_eq!(shop.store.forget_failures().await.unwrap(), 1);
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!(shop.store.dead_attempts(&letter).await.unwrap().len(), 1);
    }
}
