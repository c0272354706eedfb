//! A letter is the one handle on its message: what is done to it is done to that message, and to no other.

use common::domain::{
    Author, ConversationId, DeadId, DeadState, End, Event, EventId, ItemState, ReplayMode, ReplayState, SendId, Status,
    Tally,
};
use common::envelope::Envelope;
use common::store::{DeadEdit, DeadFilter, Dispatch, Finished, NewSend};

use super::dead_replays::{died, freeze, wish};
use super::{ANNA, Shop, accepted, contract};

/// A message that died, and the failure notice of its turn, not sent yet.
async fn parked_with_notice(shop: &Shop) -> (EventId, ConversationId, DeadId, SendId) {
    let (event, conversation) = shop.say(ANNA, "poison").await;
    let claim = shop.claim_quiet(conversation).await;
    let letter = shop.letter(&claim, event);
    let dead = letter.id;
    let notice = NewSend { purpose: "failure", ..shop.send(Author::Policy, "sorry, a person will look at it") };
    let send = notice.id;
    shop.commit(&claim, &[(event, End::Dead, Some("parked"))], &[notice], None, &[letter]).await.unwrap();
    (event, conversation, dead, send)
}

/// Refuses a begun send as a worker does: in the name of the first message of its turn.
fn refused_for(shop: &Shop, claim: &common::store::DeliveryClaim, send: SendId, event: EventId) -> Finished {
    let Finished::Dead { mut letter, .. } = shop.refusal(claim, send) else { panic!("a letter") };
    letter.event_id = Some(event);
    Finished::Dead { letter, hold: true }
}

/// A message that died and holds what comes after it.
async fn died_and_holds(shop: &Shop) -> (EventId, DeadId) {
    let (event, conversation) = shop.say(ANNA, "crash").await;
    let claim = shop.claim_quiet(conversation).await;
    shop.park_and_hold(&claim, event).await;
    (event, held_by(shop, conversation).await.expect("held"))
}

async fn held_by(shop: &Shop, conversation: ConversationId) -> Option<DeadId> {
    shop.store.conversation_view(conversation, 1).await.unwrap().summary.held_by
}

async fn state(shop: &Shop, id: DeadId) -> DeadState {
    shop.store.dead_letter(id).await.unwrap().state
}

async fn edit(shop: &Shop, id: DeadId, text: &str) -> DeadId {
    shop.store.edit_dead(id, DeadEdit::Text(text.into()), "ops", "typo").await.unwrap()
}

contract! {
    async fn a_refused_failure_notice_is_noted_on_the_letter_that_it_spoke_of(shop) {
        let (event, conversation, dead, send) = parked_with_notice(&shop).await;
        let claim = shop.sender(conversation).await;
        assert_eq!(shop.begin(&claim).await, send);
        shop.finish(&claim, send, refused_for(&shop, &claim, send, event)).await;
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1, "no second handle on the message");
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!((letter.state, letter.stage.as_str(), letter.send_id), (DeadState::Open, "turn", None));
        let last = shop.store.dead_attempts(&letter).await.unwrap().pop().unwrap();
        assert_eq!((last.stage.as_str(), last.class.as_str(), last.error.as_str()), ("send", "rejected", "refused"));
        assert_eq!(shop.store.held_conversations().await.unwrap(), 0, "the notice is nothing to wait for");
        assert_eq!((shop.event_state(event).await, shop.send_state(conversation, send).await), ("dead".into(), "dead".into()));
        shop.assert_balanced().await;
    }

    async fn a_failure_notice_that_never_arrives_is_noted_likewise(shop) {
        let (_, conversation, dead, send) = parked_with_notice(&shop).await;
        assert_eq!(shop.deliver(conversation).await, [send]);
        shop.admit(&shop.status(Some(send), "wamid.other", Status::Failed)).await;
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1);
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!(shop.store.dead_attempts(&letter).await.unwrap().pop().unwrap().class, "undelivered");
        shop.assert_balanced().await;
    }

    async fn a_failure_notice_refused_after_its_message_was_replayed_does_not_touch_the_replay(shop) {
        let (event, conversation, dead, send) = parked_with_notice(&shop).await;
        let claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        let frozen = freeze(&shop, &DeadFilter::of([dead])).await;
        shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        shop.finish(&claim, send, refused_for(&shop, &claim, send, event)).await;
        assert_eq!((state(&shop, dead).await, shop.event_state(event).await), (DeadState::Replaying, "pending".into()));
        for letter in shop.store.dead_letters(&DeadFilter { state: Some(DeadState::Open), ..Default::default() }).await.unwrap() {
            assert_eq!(letter.event_id, None, "a letter of the notice alone");
        }
        let claim = shop.claim_quiet(conversation).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        assert_eq!(state(&shop, dead).await, DeadState::Resolved);
        shop.assert_balanced().await;
    }

    async fn a_reply_sent_again_leaves_what_policy_had_blocked_blocked(shop) {
        let (blocked, conversation) = shop.say(ANNA, "swear").await;
        let (asked, _) = shop.say(ANNA, "do you ship?").await;
        let (after, _) = shop.say(ANNA, "swear again").await;
        let claim = shop.claim_quiet(conversation).await;
        let ends = [(blocked, End::Blocked, None), (asked, End::Replied, None), (after, End::Blocked, None)];
        shop.commit(&claim, &ends, &[shop.send(Author::Assistant, "we do")], None, &[]).await.unwrap();
        let claim = shop.sender(conversation).await;
        let send = shop.begin(&claim).await;
        shop.finish(&claim, send, shop.refusal(&claim, send)).await;
        let dead = shop.store.dead_letters(&DeadFilter::default()).await.unwrap()[0].id;
        let frozen = shop.store.freeze_replay(&DeadFilter::of([dead]), &wish(ReplayMode::SendStored)).await.unwrap();
        shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        let mut states = Vec::new();
        for event in [blocked, asked, after] {
            states.push(shop.event_state(event).await);
        }
        assert_eq!(states, ["blocked", "replied", "blocked"]);
        let next = shop.begin(&claim).await;
        shop.finish(&claim, next, accepted("wamid.again")).await;
        assert_eq!(state(&shop, dead).await, DeadState::Resolved);
        shop.assert_balanced().await;
    }

    async fn letters_before_the_one_that_holds_their_conversation_run_together_with_it_in_order(shop) {
        let (first, conversation, one) = died(&shop, ANNA).await;
        let (second, two) = died_and_holds(&shop).await;
        let (waiting, _) = shop.say(ANNA, "anybody?").await;
        let (_, _, elsewhere) = died(&shop, super::BORIS).await;
        let frozen = freeze(&shop, &DeadFilter::of([one, two, elsewhere])).await;
        let gone = shop.store.replay_dispatch(frozen.id, 1).await.unwrap();
        assert_eq!(gone.iter().map(|letter| letter.dead).collect::<Vec<_>>(), [one, two]);
        let claim = shop.claim_quiet(conversation).await;
        let pending: Vec<_> = shop.store.pending(&claim).await.unwrap().iter().map(|m| m.event_id).collect();
        assert_eq!(pending, [first, second, waiting]);
        shop.reply_with(&claim, &[]).await.unwrap();
        let progress = shop.store.replay_progress(frozen.id).await.unwrap();
        assert_eq!((progress.succeeded, progress.waiting), (2, 1));
        shop.assert_balanced().await;
    }

    async fn a_letter_held_up_by_another_is_refused_and_told_which(shop) {
        let (event, conversation, one) = died(&shop, ANNA).await;
        let (_, two) = died_and_holds(&shop).await;
        let frozen = freeze(&shop, &DeadFilter::of([one])).await;
        let gone = shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        assert!(matches!(&gone[0].how, Dispatch::Refused(why) if why.contains(&two.to_string())), "{gone:?}");
        let item = shop.store.replay_items(frozen.id, 0, 10).await.unwrap().remove(0);
        assert_eq!(item.state, ItemState::Refused);
        assert_eq!((state(&shop, one).await, shop.event_state(event).await), (DeadState::Open, "dead".into()));
        assert_eq!(held_by(&shop, conversation).await, Some(two));
        assert!(shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap());
    }

    async fn replaying_the_edit_of_an_edit_releases_what_the_first_letter_holds(shop) {
        let (_, original) = died_and_holds(&shop).await;
        let once = edit(&shop, original, "finer").await;
        let twice = edit(&shop, once, "finest").await;
        let frozen = freeze(&shop, &DeadFilter::of([twice])).await;
        let gone = shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        assert!(matches!(gone[0].how, Dispatch::Pending(_)), "{gone:?}");
        assert_eq!(shop.store.held_conversations().await.unwrap(), 0);
    }

    async fn discarding_an_edit_leaves_the_conversation_held_for_the_letter_that_is_still_open(shop) {
        let (_, original) = died_and_holds(&shop).await;
        let conversation = shop.store.dead_letter(original).await.unwrap().conversation.unwrap();
        let first = edit(&shop, original, "finer").await;
        shop.store.discard_dead(&[first], "ops", "worse").await.unwrap();
        assert_eq!(held_by(&shop, conversation).await, Some(original));
        // And where the edit itself has died and holds, its original holds from then on.
        let second = edit(&shop, original, "finest").await;
        let frozen = freeze(&shop, &DeadFilter::of([second])).await;
        shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        let claim = shop.claim_quiet(conversation).await;
        shop.park_and_hold(&claim, shop.store.dead_letter(second).await.unwrap().event_id.unwrap()).await;
        assert_eq!(held_by(&shop, conversation).await, Some(second));
        shop.store.discard_dead(&[second], "ops", "worse").await.unwrap();
        assert_eq!(held_by(&shop, conversation).await, Some(original));
        shop.store.discard_dead(&[original], "ops", "spam").await.unwrap();
        assert_eq!(held_by(&shop, conversation).await, None);
        shop.assert_balanced().await;
    }

    async fn a_tally_that_an_older_build_made_a_letter_of_does_not_keep_its_replay_waiting(shop) {
        let tally = Tally { from: 0, upto: 3, last: false, given_up: Vec::new(), recovered: Vec::new() };
        let mut letters = Vec::new();
        for state in ["open", "replaying"] {
            let arrival = shop.arrival_by("shop", None, Event::Tally(tally.clone()));
            let envelope = Envelope::seal(arrival.header.clone(), &arrival.inbound, &shop.keys.shared.queue).unwrap();
            assert!(shop.store.keep_undeliverable(Some(&arrival.header), envelope.bytes(), "unknown key").await.unwrap());
            let letter = shop.store.dead_letters(&DeadFilter::default()).await.unwrap().remove(0);
            let frozen = freeze(&shop, &DeadFilter::of([letter.id])).await;
            if state == "replaying" {
                let id = shop.id(letter.id.uuid());
                shop.execute(format!("UPDATE dead SET state = 'replaying' WHERE id = {id}")).await;
                shop.execute(format!("UPDATE replay_item SET state = 'running' WHERE dead_id = {id}")).await;
                shop.store.redispatch(frozen.id).await.unwrap();
            } else {
                shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
            }
            let item = shop.store.replay_items(frozen.id, 0, 10).await.unwrap().remove(0);
            assert_eq!(item.state, ItemState::Refused, "{state}");
            assert!(item.result.unwrap().contains("tally"));
            assert!(shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap());
            letters.push(letter.id);
            shop.pass(std::time::Duration::from_secs(1));
        }
        shop.store.discard_dead(&letters, "ops", "later ones said more").await.unwrap();
        shop.assert_balanced().await;
    }
}
