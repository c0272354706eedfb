//! A replay is frozen before it starts, runs in order, once, and is confirmed by what the worker committed.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{
    Author, ConversationId, DeadId, DeadState, End, EventId, Floor, ItemState, ReplayId, ReplayMode, ReplayState,
};
use common::store::{DeadFilter, Dispatch, Frozen, NewReplay, Progress, ReplayRefused, StoreError};

use super::dead_letters::parked;
use super::{ANNA, Arrival, BORIS, Shop, accepted, contract, text};

pub(super) fn wish(mode: ReplayMode) -> NewReplay {
    let note = (mode == ReplayMode::Note).then(|| "called them instead".to_owned());
    NewReplay { who: "ops".into(), why: "mended".into(), mode, note, rate_per_second: None, ladder: false }
}

pub(super) async fn freeze(shop: &Shop, filter: &DeadFilter) -> Frozen {
    shop.store.freeze_replay(filter, &wish(ReplayMode::Regenerate)).await.unwrap()
}

/// A message of this person that died, alone in its turn.
pub(super) async fn died(shop: &Shop, from: &str) -> (EventId, ConversationId, DeadId) {
    let (event, conversation) = shop.say(from, "poison").await;
    let claim = shop.claim_quiet(conversation).await;
    let letter = shop.letter(&claim, event);
    let id = letter.id;
    shop.commit(&claim, &[(event, End::Dead, Some("parked"))], &[], None, &[letter]).await.unwrap();
    (event, conversation, id)
}

/// A message whose reply the provider refused for good.
pub(super) async fn refused(shop: &Shop, from: &str) -> (EventId, ConversationId, DeadId) {
    let (event, conversation, send) = shop.answered(from).await;
    let mut sender = shop.sender(conversation).await;
    assert_eq!(shop.begin(&sender).await, send);
    let refusal = shop.refusal(&sender, send);
    shop.finish(&sender, send, refusal).await;
    shop.store.release_delivery(&mut sender, None).await.unwrap();
    let letters = shop.store.dead_letters(&DeadFilter { conversation: Some(conversation), ..Default::default() }).await;
    (event, conversation, letters.unwrap()[0].id)
}

async fn state(shop: &Shop, id: DeadId) -> DeadState {
    shop.store.dead_letter(id).await.unwrap().state
}

async fn items(shop: &Shop, id: ReplayId) -> Vec<(DeadId, ItemState)> {
    shop.store.replay_items(id, 0, 100).await.unwrap().iter().map(|item| (item.dead, item.state)).collect()
}

async fn dispatched(shop: &Shop, id: ReplayId) -> Vec<DeadId> {
    shop.store.replay_dispatch(id, 100).await.unwrap().iter().map(|letter| letter.dead).collect()
}

/// What a test compares to see that nothing changed.
async fn everything(shop: &Shop) -> Vec<i64> {
    let mut counts = Vec::new();
    for sql in [
        "SELECT count(*) FROM replay",
        "SELECT count(*) FROM replay_item",
        "SELECT count(*) FROM audit",
        "SELECT count(*) FROM dead WHERE state = 'open'",
        "SELECT count(*) FROM inbox WHERE state = 'dead'",
        "SELECT count(*) FROM outbox",
        "SELECT count(*) FROM conversation WHERE done < tail",
    ] {
        counts.push(shop.number(sql).await);
    }
    counts
}

contract! {
    async fn a_selection_is_frozen_with_count_and_hash_and_what_dies_later_never_joins(shop) {
        let (_, _, first) = died(&shop, ANNA).await;
        let (_, _, second) = died(&shop, BORIS).await;
        let filter = DeadFilter { class: Some("poison".into()), ..Default::default() };
        let frozen = freeze(&shop, &filter).await;
        let (_, _, late) = died(&shop, ANNA).await;
        let hash = common::digest::hex_digest(format!("{first}\n{second}\n").as_bytes(), 64);
        assert_eq!((frozen.count, frozen.joined, frozen.hash.as_str()), (2, false, hash.as_str()));
        assert_eq!(dispatched(&shop, frozen.id).await, [first, second]);
        assert!(dispatched(&shop, frozen.id).await.is_empty(), "each is dispatched once");
        assert_eq!(state(&shop, late).await, DeadState::Open);
        let again = freeze(&shop, &filter).await;
        assert_eq!((again.id, again.count, again.joined), (frozen.id, 2, true));
        let replay = shop.store.replay_of(frozen.id).await.unwrap();
        assert_eq!((replay.filter, replay.hash, replay.why.as_str()), (filter, frozen.hash, "mended"));
        shop.assert_balanced().await;
    }

    async fn many_who_ask_for_the_same_at_once_get_one_replay(shop) {
        for from in [ANNA, BORIS] {
            died(&shop, from).await;
        }
        let ask = |shop: Arc<Shop>| tokio::spawn(async move { freeze(&shop, &DeadFilter::default()).await });
        let asked: Vec<_> = (0..6).map(|_| ask(Arc::clone(&shop))).collect();
        let mut frozen = Vec::new();
        for task in asked {
            frozen.push(task.await.unwrap());
        }
        assert!(frozen.iter().all(|other| other.id == frozen[0].id && other.count == 2));
        assert_eq!(frozen.iter().filter(|other| !other.joined).count(), 1);
        assert_eq!(shop.number("SELECT count(*) FROM replay_item").await, 2);
    }

    async fn the_same_letters_in_other_words_are_joined_and_some_of_them_are_refused_by_name(shop) {
        let (_, _, anna) = died(&shop, ANNA).await;
        let (_, _, boris) = died(&shop, BORIS).await;
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        let named = freeze(&shop, &DeadFilter::of([boris, anna])).await;
        assert_eq!((named.id, named.joined), (frozen.id, true));
        let before = everything(&shop).await;
        let some = shop.store.freeze_replay(&DeadFilter::of([anna]), &wish(ReplayMode::Regenerate)).await.unwrap_err();
        let told = some.to_string();
        assert!(matches!(some, ReplayRefused::Letters(letters) if letters.len() == 1 && letters[0].0 == anna), "{told}");
        assert!(told.contains(&anna.to_string()) && told.contains(&frozen.id.to_string()), "{told}");
        assert_eq!(everything(&shop).await, before);
    }

    async fn what_cannot_be_replayed_is_refused_by_name_and_nothing_changes(shop) {
        let (_, conversation, answered) = died(&shop, ANNA).await;
        shop.store.replay(answered, "ops").await.unwrap();
        let claim = shop.claim_quiet(conversation).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        let (_, _, open) = died(&shop, BORIS).await;
        let before = everything(&shop).await;
        let regenerate = wish(ReplayMode::Regenerate);
        for (filter, wish, says) in [
            (DeadFilter::of([answered, open]), regenerate.clone(), "is resolved"),
            (DeadFilter { state: Some(DeadState::Resolved), ..Default::default() }, regenerate.clone(), "is resolved"),
            (DeadFilter { class: Some("nothing".into()), ..Default::default() }, regenerate.clone(), "nothing to replay"),
            (DeadFilter { since: Some(shop.now()), until: Some(shop.now()), ..Default::default() }, regenerate.clone(), "no letter can match"),
            (DeadFilter::of([open]), NewReplay { why: " ".into(), ..regenerate.clone() }, "reason"),
            (DeadFilter::of([open]), NewReplay { rate_per_second: Some(0.0), ..regenerate.clone() }, "a rate is"),
            (DeadFilter::of([open]), NewReplay { rate_per_second: Some(f64::NAN), ..regenerate.clone() }, "a rate is"),
            (DeadFilter::of([open]), NewReplay { note: Some("x".into()), ..regenerate.clone() }, "a note closes"),
            (DeadFilter::of([open]), NewReplay { note: None, ..wish(ReplayMode::Note) }, "needs the note"),
            (DeadFilter::of([open]), wish(ReplayMode::SendStored), "no stored reply"),
        ] {
            let refused = shop.store.freeze_replay(&filter, &wish).await.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
            assert_eq!(everything(&shop).await, before, "{says}");
        }
    }

    async fn letters_of_a_conversation_run_one_after_the_other_in_the_order_of_their_first_places(shop) {
        let (first, conversation, one) = died(&shop, ANNA).await;
        let (second, _, two) = died(&shop, ANNA).await;
        let (_, elsewhere, other) = died(&shop, BORIS).await;
        // The newest is named first; what counts is where they stood.
        let frozen = freeze(&shop, &DeadFilter::of([other, two, one])).await;
        assert_eq!(dispatched(&shop, frozen.id).await, [one, other]);
        assert!(dispatched(&shop, frozen.id).await.is_empty(), "the second waits for the first");
        let claim = shop.claim_quiet(conversation).await;
        let pending: Vec<_> = shop.store.pending(&claim).await.unwrap().iter().map(|m| m.event_id).collect();
        assert_eq!(pending, [first]);
        shop.reply_with(&claim, &[]).await.unwrap();
        assert_eq!(dispatched(&shop, frozen.id).await, [two]);
        let claim = shop.claim_quiet(conversation).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        assert_eq!(shop.event_state(second).await, "replied");
        let progress = shop.store.replay_progress(frozen.id).await.unwrap();
        assert_eq!(progress, Progress { total: 3, running: 1, succeeded: 2, ..Default::default() });
        assert!(matches!(shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await, Err(StoreError::Refused(_))));
        let claim = shop.claim_quiet(elsewhere).await;
        shop.reply_with(&claim, &[]).await.unwrap();
        assert!(shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap());
        assert!(!shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap());
        shop.assert_balanced().await;
    }

    async fn a_replay_that_dies_again_reopens_its_letter_and_counts_as_failed(shop) {
        let (event, conversation, dead) = parked(&shop).await;
        let frozen = freeze(&shop, &DeadFilter::of([dead])).await;
        dispatched(&shop, frozen.id).await;
        assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Running)]);
        let claim = shop.claim_quiet(conversation).await;
        let letter = shop.letter(&claim, event);
        shop.commit(&claim, &[(event, End::Dead, None)], &[], None, &[letter]).await.unwrap();
        assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Failed)]);
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!((letter.state, letter.attempts, letter.replay), (DeadState::Open, 6, None));
        assert_eq!(shop.store.dead_attempts(&letter).await.unwrap().len(), 2);
        // The replay is over for it, so it may be tried again.
        assert!(shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap());
        assert!(!freeze(&shop, &DeadFilter::of([dead])).await.joined);
        shop.assert_balanced().await;
    }

    async fn a_refused_reply_is_resolved_only_when_the_provider_has_the_new_one(shop) {
        let (event, conversation, dead) = refused(&shop, ANNA).await;
        let frozen = freeze(&shop, &DeadFilter::of([dead])).await;
        for last in [false, true] {
            dispatched(&shop, frozen.id).await;
            let claim = shop.claim_quiet(conversation).await;
            shop.reply_with(&claim, &[shop.send(Author::Assistant, "once more")]).await.unwrap();
            assert_eq!((shop.event_state(event).await.as_str(), state(&shop, dead).await), ("replied", DeadState::Replaying));
            if last {
                assert_eq!(shop.deliver(conversation).await.len(), 1);
                break;
            }
            let mut sender = shop.sender(conversation).await;
            let send = shop.begin(&sender).await;
            let refusal = shop.refusal(&sender, send);
            shop.finish(&sender, send, refusal).await;
            shop.store.release_delivery(&mut sender, None).await.unwrap();
            assert_eq!((shop.event_state(event).await.as_str(), state(&shop, dead).await), ("dead", DeadState::Open));
            assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Failed)]);
            assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1);
            shop.store.replay(dead, "ops").await.unwrap();
        }
        assert_eq!(state(&shop, dead).await, DeadState::Resolved);
        shop.assert_balanced().await;
    }

    async fn a_stored_reply_goes_out_again_without_a_turn_and_its_message_is_replied(shop) {
        let (event, conversation, dead) = refused(&shop, ANNA).await;
        let frozen = shop.store.freeze_replay(&DeadFilter::of([dead]), &wish(ReplayMode::SendStored)).await.unwrap();
        let sent = shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        assert!(matches!(sent[0].how, Dispatch::Queued(queued) if queued == conversation));
        assert_eq!((shop.event_state(event).await.as_str(), shop.pending_count(conversation).await), ("replied", 0));
        assert_eq!(state(&shop, dead).await, DeadState::Replaying);
        let sender = shop.sender(conversation).await;
        let common::store::NextSend::Send(id) = shop.store.next_send(&sender).await.unwrap() else { panic!() };
        let common::store::Begun::Yes(begun) = shop.store.begin_send(&sender, id, super::SENDING).await.unwrap() else { panic!() };
        assert_eq!((begun.text.as_str(), begun.in_reply_to.as_slice()), ("yes, we do", [event].as_slice()));
        shop.finish(&sender, id, accepted("wamid.again")).await;
        assert_eq!(state(&shop, dead).await, DeadState::Resolved);
        assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Succeeded)]);
        assert_eq!(shop.number("SELECT count(*) FROM turn").await, 1);
        shop.assert_balanced().await;
    }

    async fn a_stored_reply_that_is_refused_again_reopens_its_letter(shop) {
        let (event, conversation, dead) = refused(&shop, ANNA).await;
        let frozen = shop.store.freeze_replay(&DeadFilter::of([dead]), &wish(ReplayMode::SendStored)).await.unwrap();
        dispatched(&shop, frozen.id).await;
        let sender = shop.sender(conversation).await;
        let send = shop.begin(&sender).await;
        let refusal = shop.refusal(&sender, send);
        shop.finish(&sender, send, refusal).await;
        assert_eq!((shop.event_state(event).await.as_str(), state(&shop, dead).await), ("dead", DeadState::Open));
        assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Failed)]);
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1);
        shop.assert_balanced().await;
    }

    async fn a_replayed_reply_that_a_person_overtakes_is_superseded_and_nothing_is_sent(shop) {
        let (event, conversation, dead) = refused(&shop, ANNA).await;
        let frozen = shop.store.freeze_replay(&DeadFilter::of([dead]), &wish(ReplayMode::SendStored)).await.unwrap();
        dispatched(&shop, frozen.id).await;
        shop.store.take(conversation, "ops", None).await.unwrap();
        assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Superseded)]);
        assert_eq!((shop.event_state(event).await.as_str(), state(&shop, dead).await), ("handed_off", DeadState::Resolved));
        assert!(shop.deliver(conversation).await.is_empty());
        assert_eq!(shop.floor(conversation).await, Floor::Human);
        shop.assert_balanced().await;
    }

    async fn a_note_closes_a_letter_without_sending_and_its_message_is_recorded(shop) {
        let (event, conversation, dead) = refused(&shop, ANNA).await;
        shop.execute("UPDATE conversation SET held = TRUE, held_by = (SELECT d.id FROM dead d WHERE d.conversation_id = conversation.id)".into()).await;
        let frozen = shop.store.freeze_replay(&DeadFilter::of([dead]), &wish(ReplayMode::Note)).await.unwrap();
        let noted = shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        assert!(matches!(noted[0].how, Dispatch::Noted));
        assert_eq!((shop.event_state(event).await.as_str(), state(&shop, dead).await), ("recorded", DeadState::Resolved));
        assert_eq!(items(&shop, frozen.id).await, [(dead, ItemState::Succeeded)]);
        assert_eq!(shop.store.dead_note(dead).await.unwrap().as_deref(), Some("called them instead"));
        assert!(shop.deliver(conversation).await.is_empty() && shop.pending_count(conversation).await == 0);
        assert_eq!(shop.number("SELECT count(*) FROM conversation WHERE held").await, 0);
        shop.assert_balanced().await;
    }

    async fn what_was_undeliverable_goes_back_to_the_queue_and_is_resolved_when_intake_has_it(shop) {
        let (one, two) = (shop.arrival(ANNA, text("hello")), shop.arrival(BORIS, text("hello")));
        let queue = &shop.keys.shared.queue;
        let mut sealed = Vec::new();
        for Arrival { header, inbound } in [&one, &two] {
            let bytes = common::envelope::Envelope::seal(header.clone(), inbound, queue).unwrap().bytes().to_vec();
            assert!(shop.store.keep_undeliverable(Some(header), &bytes, "unknown key").await.unwrap());
            sealed.push(bytes);
        }
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        let handed = shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        let bytes: Vec<_> = handed.iter().map(|letter| match &letter.how {
            Dispatch::Publish(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        }).collect();
        assert!(bytes == sealed, "as they came, in their order");
        assert_eq!(shop.store.redispatch(frozen.id).await.unwrap().len(), 2, "an interrupted caller may do it again");
        assert_eq!(shop.store.replay_progress(frozen.id).await.unwrap().running, 2);
        shop.admit(&one).await;
        assert!(shop.store.keep_undeliverable(Some(&two.header), &sealed[1], "unknown key").await.unwrap());
        let progress = shop.store.replay_progress(frozen.id).await.unwrap();
        assert_eq!(progress, Progress { total: 2, succeeded: 1, failed: 1, ..Default::default() });
        let states = [state(&shop, handed[0].dead).await, state(&shop, handed[1].dead).await];
        assert_eq!(states, [DeadState::Resolved, DeadState::Open]);
    }

    async fn what_was_undeliverable_and_dies_in_its_turn_later_is_one_letter_that_can_be_replayed(shop) {
        let arrival = shop.arrival(ANNA, text("hello"));
        let queue = &shop.keys.shared.queue;
        let envelope = common::envelope::Envelope::seal(arrival.header.clone(), &arrival.inbound, queue).unwrap();
        assert!(shop.store.keep_undeliverable(Some(&arrival.header), envelope.bytes(), "unknown key").await.unwrap());
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        dispatched(&shop, frozen.id).await;
        // Nobody knows whether the caller's queue has it: a cancelled replay leaves it to the next.
        assert!(shop.store.end_replay(frozen.id, ReplayState::Cancelled, "ops").await.unwrap());
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        let dead = dispatched(&shop, frozen.id).await[0];
        shop.admit(&arrival).await;
        assert_eq!(shop.store.replay_progress(frozen.id).await.unwrap().succeeded, 1);
        let conversation = shop.store.event(arrival.id()).await.unwrap().1.unwrap();
        let claim = shop.claim_quiet(conversation).await;
        let letter = shop.letter(&claim, arrival.id());
        shop.commit(&claim, &[(arrival.id(), End::Dead, None)], &[], None, &[letter]).await.unwrap();
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!((letter.state, letter.conversation, letter.place), (DeadState::Open, Some(conversation), Some(1)));
        assert_eq!(shop.store.replay(dead, "ops").await.unwrap(), conversation);
    }

    async fn bytes_that_are_no_envelope_are_not_handed_to_the_queue(shop) {
        shop.store.keep_undeliverable(None, b"noise", "malformed").await.unwrap();
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        let refused = shop.store.replay_dispatch(frozen.id, 10).await.unwrap();
        assert!(matches!(&refused[0].how, Dispatch::Refused(why) if why.contains("not an envelope")));
        assert_eq!(items(&shop, frozen.id).await, [(refused[0].dead, ItemState::Refused)]);
        assert_eq!(state(&shop, refused[0].dead).await, DeadState::Open);
    }

    async fn a_webhook_is_read_again_by_the_caller_and_ends_recorded_or_open_as_before(shop) {
        let mut letters = Vec::new();
        for raw in [b"one".to_vec(), b"two".to_vec()] {
            let arrival = shop.arrival_by("shop", None, common::domain::Event::Unparsed { problem: "not JSON".into(), raw });
            let common::store::Admitted::Dead { dead } = shop.admit(&arrival).await else { panic!() };
            letters.push((arrival.id(), dead));
        }
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        for letter in shop.store.replay_dispatch(frozen.id, 10).await.unwrap() {
            let Dispatch::ReadAgain(letter) = letter.how else { panic!() };
            if letter.id == letters[0].1 {
                shop.store.resolve_unparsed(&letter, "ops").await.unwrap();
            } else {
                shop.store.reopen_unparsed(&letter, "not json", "ops").await.unwrap();
            }
        }
        let progress = shop.store.replay_progress(frozen.id).await.unwrap();
        assert_eq!(progress, Progress { total: 2, succeeded: 1, failed: 1, ..Default::default() });
        assert_eq!(shop.event_state(letters[0].0).await, "recorded");
        assert_eq!((shop.event_state(letters[1].0).await.as_str(), state(&shop, letters[1].1).await), ("dead", DeadState::Open));
        shop.assert_balanced().await;
    }

    async fn a_halted_replay_is_joined_and_goes_on_and_a_cancelled_one_frees_its_letters(shop) {
        let (_, _, one) = died(&shop, ANNA).await;
        let (_, _, two) = died(&shop, ANNA).await;
        let filter = DeadFilter::default();
        let frozen = freeze(&shop, &filter).await;
        assert_eq!(dispatched(&shop, frozen.id).await, [one]);
        assert!(shop.store.end_replay(frozen.id, ReplayState::Halted, "ops").await.unwrap());
        assert!(matches!(shop.store.replay_dispatch(frozen.id, 1).await, Err(StoreError::Refused(_))));
        assert_eq!(shop.store.replays(true).await.unwrap().len(), 1);
        assert!(freeze(&shop, &filter).await.joined);
        assert_eq!(shop.store.replay_of(frozen.id).await.unwrap().state, ReplayState::Running);
        assert!(shop.store.end_replay(frozen.id, ReplayState::Cancelled, "ops").await.unwrap());
        assert_eq!(items(&shop, frozen.id).await, [(one, ItemState::Running), (two, ItemState::Left)]);
        assert!(shop.store.replays(true).await.unwrap().is_empty());
        assert!(!freeze(&shop, &DeadFilter::of([two])).await.joined);
        assert_eq!(shop.number("SELECT count(*) FROM audit WHERE action LIKE 'dead.replay%'").await, 5);
    }

    async fn a_row_whose_text_does_not_open_is_dead_with_a_letter_and_those_behind_it_go_out(shop) {
        let (event, conversation, broken) = shop.answered(ANNA).await;
        let (_, _, whole) = shop.answered(ANNA).await;
        shop.execute(format!("UPDATE outbox SET body = {} WHERE id = {}", shop.bytes(b"x"), shop.id(broken.uuid()))).await;
        assert_eq!(shop.deliver(conversation).await, [whole]);
        assert_eq!((shop.send_state(conversation, broken).await.as_str(), shop.event_state(event).await.as_str()), ("dead", "dead"));
        let letter = shop.store.dead_letters(&DeadFilter::default()).await.unwrap().remove(0);
        assert_eq!((letter.send_id, letter.event_id, letter.class.as_str()), (Some(broken), Some(event), "poison"));
        // Its stored text is lost, so only a new turn helps.
        let frozen = shop.store.freeze_replay(&DeadFilter::of([letter.id]), &wish(ReplayMode::SendStored)).await.unwrap();
        let refused = shop.store.replay_dispatch(frozen.id, 1).await.unwrap();
        assert!(matches!(&refused[0].how, Dispatch::Refused(why) if why.contains("does not open")));
        assert!(!freeze(&shop, &DeadFilter::of([letter.id])).await.joined);
        shop.pass(Duration::from_secs(1));
        shop.assert_balanced().await;
    }

    async fn whoever_joins_a_replay_with_another_note_is_refused_and_the_first_note_stands(shop) {
        let (_, _, dead) = died(&shop, ANNA).await;
        let filter = DeadFilter { class: Some("poison".into()), ..Default::default() };
        let frozen = shop.store.freeze_replay(&filter, &wish(ReplayMode::Note)).await.unwrap();
        assert!(shop.store.end_replay(frozen.id, ReplayState::Halted, "ops").await.unwrap());
        let before = everything(&shop).await;
        let other = NewReplay { note: Some("wrote them a letter".into()), ..wish(ReplayMode::Note) };
        for filter in [&filter, &DeadFilter::of([dead])] {
            let refused = shop.store.freeze_replay(filter, &other).await.unwrap_err().to_string();
            assert!(refused.contains("another note") && refused.contains(&frozen.id.to_string()), "{refused}");
        }
        assert_eq!(everything(&shop).await, before);
        shop.store.resume_replay(frozen.id, "ops", "go on").await.unwrap();
        assert_eq!(dispatched(&shop, frozen.id).await, [dead]);
        assert_eq!(shop.store.dead_note(dead).await.unwrap().as_deref(), Some("called them instead"));
        assert!(shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap());
        assert!(matches!(shop.store.resume_replay(frozen.id, "ops", "go on").await, Err(StoreError::Refused(_))));
    }

    async fn a_selection_is_frozen_in_few_statements_and_in_order_and_one_too_large_is_refused(shop) {
        let mut died_in_order = Vec::new();
        for _ in 0..37 {
            died_in_order.push(died(&shop, ANNA).await.2);
            shop.pass(Duration::from_secs(1));
        }
        let frozen = freeze(&shop, &DeadFilter::default()).await;
        let items = shop.store.replay_items(frozen.id, 0, 100).await.unwrap();
        assert_eq!(items.iter().map(|item| item.dead).collect::<Vec<_>>(), died_in_order);
        assert_eq!(items.iter().map(|item| item.ordinal).collect::<Vec<_>>(), (1..=37).collect::<Vec<_>>());
        assert!(shop.store.end_replay(frozen.id, ReplayState::Cancelled, "ops").await.unwrap());
        let id = if shop.folder().is_some() { "randomblob(16)" } else { "gen_random_uuid()" };
        shop.execute(format!(
            "INSERT INTO dead (id, source, stage, class, error, fingerprint, attempts, policy, build, state, created_at, \
               updated_at, cause, tags) \
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000) \
             SELECT {id}, source, stage, class, error, fingerprint, attempts, policy, build, state, created_at, updated_at, \
               cause, tags FROM n, (SELECT * FROM dead LIMIT 1) d"
        ))
        .await;
        let before = everything(&shop).await;
        let refused = shop.store.freeze_replay(&DeadFilter::default(), &wish(ReplayMode::Regenerate)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("100037 letters match") && refused.contains("narrow"), "{refused}");
        assert_eq!(everything(&shop).await, before);
    }
}
