//! A reply is sent once, head first, by one sender.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Author, WorkerId};
use common::store::{Begun, Finished, NextSend};

use super::{ANNA, BORIS, SENDING, Shop, accepted, contract};

/// A reply in two parts, committed.
async fn two_parts(
    shop: &Shop,
) -> (common::domain::EventId, common::domain::ConversationId, [common::domain::SendId; 2]) {
    let (event, conversation) = shop.say(ANNA, "a long answer, please").await;
    let claim = shop.claim_quiet(conversation).await;
    let parts = ["one", "two"].map(|words| shop.send(Author::Assistant, words));
    shop.reply_with(&claim, &parts).await.unwrap();
    (event, conversation, parts.map(|part| part.id))
}

contract! {
    async fn of_sixteen_senders_at_once_exactly_one_wins(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        let tasks: Vec<_> = (0..16).map(|_| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                shop.store.claim_delivery(conversation, WorkerId::random()).await.unwrap().is_some()
            })
        }).collect();
        let mut won = 0;
        for task in tasks {
            won += i32::from(task.await.unwrap());
        }
        assert_eq!(won, 1);
        assert!(shop.store.deliverable(10).await.unwrap().is_empty());
    }

    async fn parts_go_out_head_first_and_each_once(shop) {
        let (_, conversation, parts) = two_parts(&shop).await;
        assert_eq!(shop.store.deliverable(10).await.unwrap(), [conversation]);
        assert_eq!(shop.deliver(conversation).await, parts);
        assert!(shop.deliver(conversation).await.is_empty());
        assert!(shop.store.deliverable(10).await.unwrap().is_empty());
        shop.assert_balanced().await;
    }

    async fn the_longest_waiting_outbox_is_found_first(shop) {
        let (_, first, _) = shop.answered(BORIS).await;
        shop.pass(Duration::from_secs(1));
        let (_, second, _) = shop.answered(ANNA).await;
        assert_eq!(shop.store.deliverable(10).await.unwrap(), [first, second]);
        assert_eq!(shop.store.deliverable(1).await.unwrap(), [first]);
    }

    async fn beginning_marks_the_row_before_anything_leaves_and_only_once(shop) {
        let (event, conversation, send) = shop.answered(ANNA).await;
        let claim = shop.sender(conversation).await;
        let Begun::Yes(begun) = shop.store.begin_send(&claim, send, SENDING).await.unwrap() else { panic!() };
        assert_eq!((begun.attempts, begun.text.as_str()), (1, "yes, we do"));
        assert_eq!(begun.in_reply_to, [event]);
        assert_eq!(shop.send_state(conversation, send).await, "sending");
        assert!(!matches!(shop.store.begin_send(&claim, send, SENDING).await.unwrap(), Begun::Yes(_)));
    }

    async fn what_a_dead_sender_left_is_unknown_and_never_queued_again_by_itself(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let dead = shop.sender(conversation).await;
        shop.begin(&dead).await;
        assert!(shop.store.deliverable(10).await.unwrap().is_empty(), "its sender may be alive");
        shop.pass(shop.timing.lease + SENDING);
        assert_eq!(shop.store.deliverable(10).await.unwrap(), [conversation]);
        let next = shop.store.claim_delivery(conversation, WorkerId::random()).await.unwrap().unwrap();
        assert_eq!(shop.store.next_send(&next).await.unwrap(), NextSend::Nothing);
        assert_eq!(shop.send_state(conversation, send).await, "unknown");
        shop.finish(&dead, send, Finished::Retry { at: shop.now(), error: "busy".into(), class: "outage".into(), held: false }).await;
        assert_eq!(shop.send_state(conversation, send).await, "unknown");
        assert_eq!(shop.store.ledger(None).await.unwrap().unknown_sends, 1);
        shop.assert_balanced().await;
    }

    async fn a_sender_who_lost_the_claim_does_not_declare_his_successors_send_unknown(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let stalled = shop.sender(conversation).await;
        shop.pass(shop.timing.lease);
        let live = shop.store.claim_delivery(conversation, WorkerId::random()).await.unwrap().unwrap();
        shop.begin(&live).await;
        shop.store.next_send(&stalled).await.unwrap();
        assert_eq!(shop.send_state(conversation, send).await, "sending");
        assert!(matches!(shop.store.begin_send(&stalled, send, SENDING).await.unwrap(), Begun::Lost));
        shop.finish(&live, send, Finished::Retry { at: shop.now(), error: "busy".into(), class: "outage".into(), held: false }).await;
        assert_eq!(shop.send_state(conversation, send).await, "queued");
    }

    async fn a_sender_given_up_for_gone_may_still_say_that_it_was_accepted(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        let slow = shop.sender(conversation).await;
        shop.begin(&slow).await;
        shop.pass(shop.timing.lease + SENDING);
        let next = shop.store.claim_delivery(conversation, WorkerId::random()).await.unwrap().unwrap();
        shop.store.next_send(&next).await.unwrap();
        shop.finish(&slow, send, accepted("wamid.1")).await;
        assert_eq!(shop.send_state(conversation, send).await, "accepted");
        shop.assert_balanced().await;
    }

    async fn a_claim_dropped_without_a_word_runs_out_though_its_worker_renews(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        shop.sender(conversation).await;
        for _ in 0..3 {
            shop.pass(shop.timing.renewal);
            shop.store.renew(shop.worker).await.unwrap();
        }
        assert_eq!(shop.store.deliverable(10).await.unwrap(), [conversation]);
        assert_eq!(shop.deliver(conversation).await.len(), 1);
    }

    async fn a_send_under_way_is_renewed_until_its_deadline_and_no_longer(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        let claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        shop.pass(SENDING - Duration::from_micros(1));
        shop.store.renew(shop.worker).await.unwrap();
        shop.pass(shop.timing.lease - Duration::from_micros(1));
        assert!(shop.store.deliverable(10).await.unwrap().is_empty());
        shop.store.renew(shop.worker).await.unwrap();
        shop.pass(Duration::from_micros(2));
        assert_eq!(shop.store.deliverable(10).await.unwrap(), [conversation]);
    }

    async fn an_unknown_part_holds_the_later_ones_briefly_and_then_they_go(shop) {
        let (_, conversation, [first, second]) = two_parts(&shop).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        shop.finish(&claim, first, Finished::Unknown { why: "timeout" }).await;
        let until = shop.now() + shop.timing.unknown_hold;
        assert_eq!(shop.store.next_send(&claim).await.unwrap(), NextSend::Wait(until));
        assert!(shop.store.release_delivery(&mut claim, Some(until)).await.unwrap());
        assert!(shop.store.deliverable(10).await.unwrap().is_empty());
        shop.pass(shop.timing.unknown_hold);
        assert_eq!(shop.deliver(conversation).await, [second]);
        assert_eq!(shop.send_state(conversation, first).await, "unknown");
    }

    async fn a_retry_keeps_the_order(shop) {
        let (_, conversation, [first, second]) = two_parts(&shop).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        let at = shop.now() + Duration::from_secs(5);
        shop.finish(&claim, first, Finished::Retry { at, error: "busy".into(), class: "outage".into(), held: false }).await;
        assert_eq!(shop.store.next_send(&claim).await.unwrap(), NextSend::Wait(at));
        assert!(shop.store.release_delivery(&mut claim, Some(at)).await.unwrap());
        assert!(shop.deliver(conversation).await.is_empty());
        shop.pass(Duration::from_secs(5));
        assert_eq!(shop.deliver(conversation).await, [first, second]);
        assert_eq!(shop.store.outbox_of(conversation).await.unwrap()[0].attempts, 2);
    }

    async fn a_final_refusal_kills_the_messages_and_the_later_parts_of_that_reply_alone(shop) {
        let (event, conversation, [first, second]) = two_parts(&shop).await;
        let (later, _, third) = shop.answered(ANNA).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        let refusal = shop.refusal(&claim, first);
        shop.finish(&claim, first, refusal).await;
        assert_eq!(shop.event_state(event).await, "dead");
        for part in [first, second] {
            assert_eq!(shop.send_state(conversation, part).await, "dead");
        }
        let letters = shop.store.dead_letters(&Default::default()).await.unwrap();
        assert_eq!((letters.len(), letters[0].event_id), (1, Some(event)));
        assert!(shop.store.release_delivery(&mut claim, None).await.unwrap());
        assert_eq!(shop.deliver(conversation).await, [third]);
        assert_eq!(shop.event_state(later).await, "replied");
        shop.assert_balanced().await;
    }

    async fn an_unknown_send_is_closed_by_policy_left_or_sent_again(shop) {
        for resend in [false, true] {
            let (_, conversation, send) = shop.answered(if resend { ANNA } else { BORIS }).await;
            let mut claim = shop.sender(conversation).await;
            shop.begin(&claim).await;
            shop.finish(&claim, send, Finished::Unknown { why: "timeout" }).await;
            shop.store.release_delivery(&mut claim, None).await.unwrap();
            shop.pass(shop.timing.unknown_wait - Duration::from_micros(1));
            assert!(shop.store.open_unknowns(10).await.unwrap().is_empty());
            shop.pass(Duration::from_micros(1));
            assert_eq!(shop.store.open_unknowns(10).await.unwrap()[0].id, send);
            shop.store.close_unknown(send, resend).await.unwrap();
            assert!(shop.store.open_unknowns(10).await.unwrap().is_empty());
            let sent = shop.deliver(conversation).await;
            assert_eq!(sent, if resend { vec![send] } else { Vec::new() });
            let expected = if resend { "accepted" } else { "unknown" };
            assert_eq!(shop.send_state(conversation, send).await, expected);
        }
        assert_eq!(shop.store.ledger(None).await.unwrap().unknown_sends, 0);
        shop.assert_balanced().await;
    }

    async fn an_unknown_send_that_a_take_over_keeps_from_going_again_stays_unknown_and_said(shop) {
        let (event, conversation, send) = shop.answered(ANNA).await;
        let mut claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        shop.finish(&claim, send, Finished::Unknown { why: "timeout" }).await;
        shop.store.release_delivery(&mut claim, None).await.unwrap();
        shop.store.close_unknown(send, true).await.unwrap();
        assert_eq!(shop.send_state(conversation, send).await, "queued");
        shop.store.take(conversation, "ana", None).await.unwrap();
        assert_eq!(shop.send_state(conversation, send).await, "unknown");
        assert!(shop.deliver(conversation).await.is_empty());
        assert_eq!(shop.event_state(event).await, "replied", "the customer may have read it");
        assert_eq!(shop.store.ledger(None).await.unwrap().unknown_sends, 0);
        shop.assert_balanced().await;
    }

    async fn an_unknown_send_that_is_unknown_again_is_looked_after_again(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        for _ in 0..2 {
            let mut claim = shop.sender(conversation).await;
            shop.begin(&claim).await;
            shop.finish(&claim, send, Finished::Unknown { why: "timeout" }).await;
            shop.store.release_delivery(&mut claim, None).await.unwrap();
            shop.pass(shop.timing.unknown_wait);
            assert_eq!(shop.store.open_unknowns(10).await.unwrap()[0].id, send);
            shop.store.close_unknown(send, true).await.unwrap();
        }
        assert_eq!(shop.deliver(conversation).await, [send]);
    }

    async fn a_claim_is_not_released_past_rows_queued_meanwhile(shop) {
        let (_, conversation, first) = shop.answered(ANNA).await;
        let mut claim = shop.sender(conversation).await;
        assert_eq!(shop.begin(&claim).await, first);
        shop.finish(&claim, first, accepted("wamid.1")).await;
        assert_eq!(shop.store.next_send(&claim).await.unwrap(), NextSend::Nothing);
        let (_, _, second) = shop.answered(ANNA).await;
        assert!(!shop.store.release_delivery(&mut claim, None).await.unwrap());
        assert_eq!(shop.begin(&claim).await, second);
        shop.finish(&claim, second, accepted("wamid.2")).await;
        assert!(shop.store.release_delivery(&mut claim, None).await.unwrap());
    }
}
