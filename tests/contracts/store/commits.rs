//! A turn ends messages and queues replies at once or not at all.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{Author, End, EventId, Floor, Speaker};
use common::store::{Admitted, CommitOutcome};

use super::{ANNA, Shop, contract, text};

/// How many rows a turn could have left behind.
async fn traces(shop: &Shop) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, sql) in counts.iter_mut().zip([
        "SELECT count(*) FROM inbox WHERE state <> 'pending'",
        "SELECT count(*) FROM outbox",
        "SELECT count(*) FROM turn",
        "SELECT count(*) FROM dead",
    ]) {
        *count = shop.number(sql).await;
    }
    counts
}

contract! {
    async fn a_zombie_commits_nothing_at_all(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        let zombie = shop.claim_quiet(conversation).await;
        shop.pass(shop.timing.lease);
        let live = shop.claim(conversation).await.unwrap();
        let (send, letter) = (shop.send(Author::Policy, "sorry"), shop.letter(&zombie, event));
        let ends = [(event, End::Dead, Some("parked"))];
        assert!(shop.commit(&zombie, &ends, &[send], Some(Floor::Queued), &[letter]).await.is_none());
        assert_eq!(traces(&shop).await, [0; 4]);
        assert_eq!(shop.floor(conversation).await, Floor::Assistant);
        assert!(shop.store.still_ours(&live).await.unwrap());
        assert!(shop.reply_with(&live, &[]).await.is_some());
        shop.assert_balanced().await;
    }

    async fn a_take_over_in_mid_turn_voids_the_commit_and_frees_the_conversation_at_once(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        shop.store.take(conversation, "ops", None).await.unwrap();
        assert!(!shop.store.still_ours(&claim).await.unwrap());
        assert!(shop.reply_with(&claim, &[shop.send(Author::Assistant, "too late")]).await.is_none());
        assert_eq!(traces(&shop).await, [0; 4]);
        // Not even its own renewals keep it: the next turn sees who holds the floor.
        shop.store.renew(shop.worker).await.unwrap();
        let next = shop.claim(conversation).await.expect("free");
        assert_eq!((next.floor, next.claims), (Floor::Human, 1));
        shop.commit(&next, &[(event, End::HandedOff, None)], &[], None, &[]).await.unwrap();
        shop.assert_balanced().await;
    }

    async fn a_commit_says_whether_the_floor_moved_or_the_claim_was_lost(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        let first = shop.claim_quiet(conversation).await;
        shop.store.take(conversation, "ops", None).await.unwrap();
        assert!(matches!(shop.park_and_hold(&first, event).await, CommitOutcome::FloorMoved));
        let second = shop.claim(conversation).await.expect("handed back");
        assert!(matches!(shop.park_and_hold(&first, event).await, CommitOutcome::Zombie));
        assert!(shop.store.still_ours(&second).await.unwrap(), "a zombie gives nothing back");
        assert_eq!((second.claims, traces(&shop).await), (1, [0; 4]));
    }

    async fn a_claim_that_goes_on_counts_as_one_and_its_crash_has_the_next_message_tried_alone(shop) {
        let (first, conversation) = shop.say(ANNA, "one").await;
        shop.say(ANNA, "two").await;
        shop.say(ANNA, "three").await;
        let claim = shop.claim_quiet(conversation).await;
        let more = shop.commit(&claim, &[(first, End::Replied, None)], &[], None, &[]).await.unwrap().more;
        assert_eq!(more.expect("two more").0.claims, 1);
        shop.pass(shop.timing.lease);
        let after = shop.claim(conversation).await.expect("its worker died");
        assert_eq!((after.claims, after.one_by_one), (2, true));
    }

    async fn a_wait_counts_from_the_oldest_message_that_is_still_pending(shop) {
        let (first, conversation) = shop.say(ANNA, "one").await;
        let claim = shop.claim_quiet(conversation).await;
        let (second, _) = shop.say(ANNA, "two").await;
        let since = shop.now();
        shop.pass(Duration::from_secs(30));
        shop.say(ANNA, "three").await;
        let more = shop.commit(&claim, &[(first, End::Replied, None)], &[], None, &[]).await.unwrap().more;
        let (held, _) = more.expect("two more");
        assert_eq!(held.waiting_since, since);
        let view = shop.store.conversation_view(conversation, 1).await.unwrap();
        assert_eq!(view.summary.waiting_since, Some(since));
        shop.commit(&held, &[(second, End::Replied, None)], &[], None, &[]).await.unwrap().more.expect("one more");
        let view = shop.store.conversation_view(conversation, 1).await.unwrap();
        assert_eq!(view.summary.waiting_since, Some(since + Duration::from_secs(30)));
    }

    async fn the_same_commit_twice_changes_nothing_the_second_time(shop) {
        let (event, conversation) = shop.say(ANNA, "one").await;
        let claim = shop.claim_quiet(conversation).await;
        let (_, _) = shop.say(ANNA, "two").await;
        let ends = [(event, End::Replied, None)];
        assert!(shop.commit(&claim, &ends, &[shop.send(Author::Assistant, "x")], None, &[]).await.is_some());
        let before = traces(&shop).await;
        assert!(shop.commit(&claim, &ends, &[shop.send(Author::Assistant, "x")], None, &[]).await.is_none());
        assert_eq!(traces(&shop).await, before);
        shop.assert_balanced().await;
    }

    async fn a_message_that_is_not_pending_fails_the_whole_commit(shop) {
        let (event, conversation) = shop.say(ANNA, "one").await;
        let claim = shop.claim_quiet(conversation).await;
        let commit = common::store::Commit {
            claim: &claim, turn: common::domain::TurnId::random(),
            ends: &[(event, End::Replied, None), (EventId::random(), End::Joined, None)],
            sends: &[shop.send(Author::Assistant, "x")], dead: &[], hold: false, floor: None, handoff: None,
            heard: false, outcome: "answered", policy: "v1",
            model: None, locale: None, started_at: claim.at, trace: common::trace::TraceContext::start(), path: "[]", hits: &[],
        };
        assert!(shop.store.commit(commit).await.is_err());
        assert_eq!(traces(&shop).await, [0; 4]);
        shop.assert_balanced().await;
    }

    async fn the_lease_is_free_after_the_last_message_and_goes_on_while_more_are_pending(shop) {
        let (first, conversation) = shop.say(ANNA, "one").await;
        let claim = shop.claim_quiet(conversation).await;
        shop.say(ANNA, "two").await;
        let committed = shop.commit(&claim, &[(first, End::Replied, None)], &[], None, &[]).await.unwrap();
        let (held, _) = committed.more.expect("the second message");
        assert_eq!((held.fence, held.done, held.tail, held.claims), (claim.fence, 1, 2, 1));
        assert!(shop.claim(conversation).await.is_none());
        assert!(shop.reply_with(&held, &[]).await.unwrap().more.is_none());
        assert_eq!(shop.number("SELECT count(*) FROM conversation WHERE lease_owner IS NOT NULL").await, 0);
        shop.say(ANNA, "three").await;
        assert_eq!(shop.claim_quiet(conversation).await.fence, claim.fence + 1);
    }

    async fn no_wake_up_is_lost_between_eight_inserters_and_nobody_who_sweeps(shop) {
        // No burst to wait for, and time stands still: only the ring after each intake ever claims.
        let store = shop.reopened_without_settling().await;
        let tasks: Vec<_> = (0..8).map(|_| {
            let (shop, store) = (Arc::clone(&shop), store.clone());
            tokio::spawn(async move {
                let (mut said, mut ended) = (Vec::new(), Vec::new());
                for _ in 0..5 {
                    let arrival = shop.arrival(ANNA, text("more"));
                    said.push(arrival.id());
                    let Admitted::Pending { conversation, .. } = shop.admit_into(&store, &arrival).await else { panic!() };
                    let mut held = store.claim(conversation, shop.worker).await.unwrap();
                    while let Some(claim) = held {
                        let pending = store.pending(&claim).await.unwrap();
                        ended.extend(pending.iter().map(|message| message.event_id));
                        let ends: Vec<_> = pending.iter().map(|message| (message.event_id, End::Recorded, None)).collect();
                        held = shop.commit(&claim, &ends, &[], None, &[]).await.expect("ours").more.map(|(held, _)| held);
                    }
                }
                (said, ended)
            })
        }).collect();
        let (mut said, mut ended) = (Vec::new(), Vec::new());
        for task in tasks {
            let (some, done) = task.await.unwrap();
            said.extend(some);
            ended.extend(done);
        }
        assert_eq!(ended.len(), 40, "each once");
        assert_eq!(ended.into_iter().collect::<HashSet<_>>(), said.into_iter().collect());
        assert_eq!(shop.number("SELECT count(*) FROM conversation WHERE done < tail OR lease_owner IS NOT NULL").await, 0);
        shop.assert_balanced().await;
    }

    async fn sends_are_numbered_without_gaps_across_turns_notices_and_people(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        shop.say(ANNA, "more").await;
        let claim = shop.claim_quiet(conversation).await;
        let parts = ["a", "b", "c"].map(|words| shop.send(Author::Assistant, words));
        shop.reply_with(&claim, &parts).await.unwrap();
        shop.store.person_reply(conversation, "ops", &[shop.send(Author::Person, "d")]).await.unwrap();
        let gaps = "SELECT max(ordinal) - count(*) FROM outbox";
        assert_eq!((shop.number(gaps).await, shop.number("SELECT count(*) FROM outbox").await), (0, 5));
        assert_eq!(shop.number("SELECT sends FROM conversation").await, 5);
    }

    async fn history_is_the_newest_lines_in_turn_order_without_what_was_stopped_or_is_pending(shop) {
        let (_, conversation) = shop.say(ANNA, "question 1").await;
        let claim = shop.claim_quiet(conversation).await;
        let (while_drafting, _) = shop.say(ANNA, "question 2").await;
        let first = shop.store.pending(&claim).await.unwrap()[0].event_id;
        let answer = [shop.send(Author::Assistant, "answer 1")];
        let more = shop.commit(&claim, &[(first, End::Replied, None)], &answer, None, &[]).await.unwrap().more;
        let (claim, _) = more.unwrap();
        let (bad, _) = shop.say(ANNA, "something rude").await;
        let ends = [(while_drafting, End::Replied, None), (bad, End::Blocked, Some("words"))];
        shop.commit(&claim, &ends, &[shop.send(Author::Assistant, "answer 2")], None, &[]).await.unwrap();
        shop.say(ANNA, "pending").await;
        let claim = shop.claim_quiet(conversation).await;
        let read = async |limit| {
            let lines = shop.store.history(&claim, limit).await.unwrap();
            lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
        };
        assert_eq!(read(10).await, ["question 1", "answer 1", "question 2", "answer 2"]);
        assert_eq!(read(2).await, ["question 2", "answer 2"]);
        let view = shop.store.conversation_view(conversation, 10).await.unwrap();
        assert!(view.lines.iter().any(|line| line.text == "something rude"), "people see everything");
        assert_eq!(view.lines[1].speaker, Speaker::Business(Author::Assistant));
    }

    async fn a_paid_answer_is_found_only_for_the_same_prompt_model_and_wait_by_a_later_claim(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let first = shop.claim_quiet(conversation).await;
        let attempt = shop.attempt(&first, "main", "p1").await;
        let paid = async |claim: &common::store::Claimed, model, prompt| {
            let paid = shop.store.paid_answer(claim, &["spare", model], prompt).await.unwrap();
            paid.map(|paid| (paid.model, paid.text))
        };
        shop.pass(shop.timing.lease);
        let second = shop.claim(conversation).await.unwrap();
        assert_eq!(paid(&second, "main", "p1").await, None, "no answer yet");
        shop.attempt_answers(&first, attempt, "42").await;
        assert_eq!(paid(&second, "main", "p1").await, Some(("main".to_owned(), "42".to_owned())));
        assert_eq!(paid(&second, "main", "p2").await, None);
        assert_eq!(paid(&second, "other", "p1").await, None);
        assert_eq!(paid(&first, "main", "p1").await, None, "its own claim knows already");
        shop.reply_with(&second, &[]).await.unwrap();
        shop.pass(Duration::from_secs(1));
        shop.say(ANNA, "hello").await;
        let next_wait = shop.claim_quiet(conversation).await;
        assert_eq!(paid(&next_wait, "main", "p1").await, None);
    }
}
