//! What a turn knows besides its texts: the clock, arrivals, silence, failures, and since when people are gone.

use std::time::Duration;

use common::domain::{Circumstances, End};

use super::{ANNA, BORIS, Shop, contract};

const MINUTE: Duration = Duration::from_secs(60);

/// What a turn over everything pending would begin under.
async fn known(shop: &Shop, conversation: common::domain::ConversationId) -> Circumstances {
    let claim = shop.claim_quiet(conversation).await;
    let pending = shop.store.pending(&claim).await.unwrap();
    let known = shop.store.circumstances(&claim, pending[0].received_at).await.unwrap();
    let ends: Vec<_> = pending.iter().map(|message| (message.event_id, End::Blocked, Some("rule"))).collect();
    shop.commit(&claim, &ends, &[], None, &[]).await.unwrap();
    known
}

contract! {
    async fn a_turn_knows_the_clock_the_arrivals_the_silence_and_the_failures_before_it(shop) {
        let (_, conversation) = shop.say(ANNA, "one").await;
        let first = known(&shop, conversation).await;
        assert_eq!((first.at, first.arrivals.len(), first.silent_for), (Some(shop.now()), 1, None));
        assert!(first.failures.is_empty() && first.returned.is_none());

        shop.pass(2 * MINUTE);
        for words in ["two", "three"] {
            shop.say(ANNA, words).await;
        }
        shop.say(BORIS, "somebody else's").await;
        let second = known(&shop, conversation).await;
        assert_eq!((second.arrivals.len(), second.failures.len()), (2, 1), "of the last minute, and hers only");
        assert!(second.silent_for.is_some_and(|silent| (2 * MINUTE..3 * MINUTE).contains(&silent)));
        assert!(second.failures[0] >= 2 * MINUTE && second.arrivals.is_sorted());

        // Two messages blocked in one turn are one failure, and a day later none counts.
        shop.pass(10 * MINUTE);
        shop.say(ANNA, "four").await;
        assert_eq!(known(&shop, conversation).await.failures.len(), 2);
        shop.pass(25 * 60 * MINUTE);
        shop.say(ANNA, "five").await;
        assert!(known(&shop, conversation).await.failures.is_empty());
    }

    async fn a_turn_knows_since_when_people_have_given_the_conversation_back(shop) {
        let (_, conversation) = shop.say(ANNA, "one").await;
        known(&shop, conversation).await;
        shop.store.take(conversation, "ops", None).await.unwrap();
        shop.store.return_floor(conversation, "ops").await.unwrap();
        shop.pass(5 * MINUTE);
        shop.say(ANNA, "two").await;
        let known = known(&shop, conversation).await;
        assert!(known.returned.is_some_and(|ago| (5 * MINUTE..6 * MINUTE).contains(&ago)), "{known:?}");
        assert_eq!(known.returned_from, None, "they came uncalled");
    }
}
