//! One worker at a time has a conversation's turn, for as long as it keeps saying so.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{End, WorkerId};
use common::store::HandBack;

use super::{ANNA, BORIS, contract, text};

contract! {
    async fn of_sixteen_claimers_at_once_exactly_one_wins(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        shop.quiet();
        let tasks: Vec<_> = (0..16).map(|_| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move { shop.store.claim(conversation, WorkerId::random()).await.unwrap().is_some() })
        }).collect();
        let mut won = 0;
        for task in tasks {
            won += i32::from(task.await.unwrap());
        }
        assert_eq!(won, 1);
        assert!(shop.store.claimable(10).await.unwrap().is_empty());
    }

    async fn nothing_is_claimed_before_a_burst_settles_nor_when_nothing_is_pending(shop) {
        let (_, conversation) = shop.say(ANNA, "one").await;
        shop.pass(shop.timing.settle_quiet - Duration::from_micros(1));
        assert!(shop.claim(conversation).await.is_none());
        assert!(shop.store.claimable(10).await.unwrap().is_empty());
        shop.pass(Duration::from_micros(1));
        assert_eq!(shop.store.claimable(10).await.unwrap(), [conversation]);
        let claim = shop.claim(conversation).await.unwrap();
        shop.reply_with(&claim, &[]).await.unwrap();
        assert!(shop.claim(conversation).await.is_none());
        assert!(shop.store.claimable(10).await.unwrap().is_empty());
    }

    async fn each_message_of_a_burst_prolongs_it_up_to_its_limit(shop) {
        let (_, conversation) = shop.say(ANNA, "one").await;
        let step = shop.timing.settle_quiet - Duration::from_millis(1);
        let mut passed = Duration::ZERO;
        while passed + step < shop.timing.settle_max {
            shop.pass(step);
            passed += step;
            assert!(shop.claim(conversation).await.is_none(), "after {passed:?}");
            shop.say(ANNA, "and").await;
        }
        shop.pass(shop.timing.settle_max - passed);
        assert!(shop.claim(conversation).await.is_some());
    }

    async fn a_backoff_holds_off_claims_until_its_moment(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let at = shop.now() + Duration::from_secs(60);
        assert!(shop.store.hand_back(&claim, HandBack::Retry { at, counted: 2, one_by_one: false }).await.unwrap());
        shop.pass(Duration::from_micros(59_999_999));
        assert!(shop.claim(conversation).await.is_none());
        assert!(shop.store.claimable(10).await.unwrap().is_empty());
        shop.pass(Duration::from_micros(1));
        let again = shop.claim(conversation).await.unwrap();
        assert_eq!((again.attempts, again.claims, again.one_by_one), (2, 1, false));
        assert!(!shop.store.hand_back(&claim, HandBack::Uncounted).await.unwrap(), "an older claim gives nothing back");
        assert!(shop.store.still_ours(&again).await.unwrap());
    }

    async fn an_expired_lease_is_claimed_anew_with_a_higher_fence_and_messages_are_then_tried_singly(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let first = shop.claim_quiet(conversation).await;
        assert_eq!((first.claims, first.one_by_one), (1, false));
        shop.pass(shop.timing.lease - Duration::from_micros(1));
        assert!(shop.claim(conversation).await.is_none());
        shop.pass(Duration::from_micros(1));
        assert_eq!(shop.store.claimable(10).await.unwrap(), [conversation]);
        let second = shop.claim(conversation).await.unwrap();
        assert!(second.fence > first.fence);
        assert_eq!((second.claims, second.one_by_one), (2, true));
        assert!(!shop.store.still_ours(&first).await.unwrap());
    }

    async fn a_claim_whose_turn_failed_goes_back_and_counts_as_one_that_ended_without_a_word(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        assert!(shop.store.hand_back(&claim, HandBack::Crashed).await.unwrap());
        assert!(!shop.store.still_ours(&claim).await.unwrap());
        assert!(shop.claim(conversation).await.is_none(), "not at once, lest it spin");
        shop.pass(shop.timing.sweep);
        let again = shop.claim(conversation).await.expect("without waiting for the lease");
        assert_eq!((again.claims, again.one_by_one), (2, true));
    }

    async fn a_renewed_lease_holds_and_an_expired_one_is_not_revived(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        shop.claim_quiet(conversation).await;
        for _ in 0..6 {
            shop.pass(shop.timing.renewal);
            shop.store.renew(shop.worker).await.unwrap();
            assert!(shop.claim(conversation).await.is_none());
        }
        shop.pass(shop.timing.lease);
        shop.store.renew(shop.worker).await.unwrap();
        assert!(shop.store.claim(conversation, WorkerId::random()).await.unwrap().is_some());
    }

    async fn renewal_is_only_for_ones_own_claims(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        shop.claim_quiet(conversation).await;
        shop.pass(shop.timing.renewal);
        shop.store.renew(WorkerId::random()).await.unwrap();
        shop.pass(shop.timing.lease - shop.timing.renewal);
        assert!(shop.claim(conversation).await.is_some());
    }

    async fn a_claim_handed_back_until_a_moment_waits_for_it_or_for_the_next_message(shop) {
        let (_, conversation) = shop.say(ANNA, "second").await;
        let claim = shop.claim_quiet(conversation).await;
        let at = shop.now() + shop.timing.predecessor;
        assert!(shop.store.hand_back(&claim, HandBack::Until(at)).await.unwrap());
        shop.pass(shop.timing.settle_max);
        assert!(shop.claim(conversation).await.is_none());
        shop.say(ANNA, "the one it waited for").await;
        shop.pass(shop.timing.settle_quiet);
        assert_eq!(shop.claim(conversation).await.unwrap().claims, 1);
    }

    async fn an_uncounted_hand_back_is_as_if_the_claim_had_not_been(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        assert!(shop.store.hand_back(&claim, HandBack::Uncounted).await.unwrap());
        let again = shop.claim(conversation).await.unwrap();
        assert_eq!((again.claims, again.one_by_one), (1, false));
    }

    async fn a_turn_waits_for_a_named_predecessor_until_it_comes_or_the_wait_is_over(shop) {
        let missing = shop.arrival(ANNA, text("first"));
        let mut named = shop.arrival(ANNA, text("second"));
        named.header.previous = Some(missing.id());
        shop.admit(&named).await;
        let conversation = shop.store.event(named.id()).await.unwrap().1.unwrap();
        let accepted = shop.now();
        let claim = shop.claim_quiet(conversation).await;
        assert_eq!(shop.store.awaited_until(&claim, &shop.store.pending(&claim).await.unwrap()), Some(accepted + shop.timing.predecessor));
        shop.pass(shop.timing.predecessor - shop.timing.settle_max);
        let late = common::store::Claimed { at: shop.now(), ..claim.clone() };
        assert_eq!(shop.store.awaited_until(&late, &shop.store.pending(&late).await.unwrap()), None);
        shop.admit(&missing).await;
        assert_eq!(shop.store.awaited_until(&claim, &shop.store.pending(&claim).await.unwrap()), None);
    }

    async fn a_predecessor_that_was_kept_as_undeliverable_is_not_waited_for(shop) {
        let missing = shop.arrival(ANNA, text("first"));
        let mut named = shop.arrival(ANNA, text("second"));
        named.header.previous = Some(missing.id());
        shop.admit(&named).await;
        let conversation = shop.store.event(named.id()).await.unwrap().1.unwrap();
        assert!(shop.store.keep_undeliverable(Some(&missing.header), b"x", "malformed").await.unwrap());
        let claim = shop.claim_quiet(conversation).await;
        assert_eq!(shop.store.awaited_until(&claim, &shop.store.pending(&claim).await.unwrap()), None);
    }

    async fn the_longest_waiting_are_found_first(shop) {
        let (_, first) = shop.say(BORIS, "hello").await;
        shop.pass(Duration::from_secs(1));
        let (_, second) = shop.say(ANNA, "hello").await;
        shop.quiet();
        assert_eq!(shop.store.claimable(10).await.unwrap(), [first, second]);
        assert_eq!(shop.store.claimable(1).await.unwrap(), [first]);
        assert_eq!(shop.store.oldest_waiting().await.unwrap(), shop.timing.settle_max + Duration::from_secs(1));
        let claim = shop.claim(first).await.unwrap();
        let ends: Vec<_> = shop.store.pending(&claim).await.unwrap().iter().map(|m| (m.event_id, End::Recorded, None)).collect();
        shop.commit(&claim, &ends, &[], None, &[]).await.unwrap();
        assert_eq!(shop.store.claimable(10).await.unwrap(), [second]);
    }
}
