//! What a provider says of a send: applied forwards only, whenever it comes.

use std::sync::Arc;

use common::domain::Status;
use common::store::{Admitted, Finished};

use super::{ANNA, Shop, accepted, contract};

async fn status_of(shop: &Shop, conversation: common::domain::ConversationId) -> Option<Status> {
    shop.store.outbox_of(conversation).await.unwrap()[0].status
}

contract! {
    async fn a_status_that_comes_before_its_send_has_a_name_is_kept_and_applied_then(shop) {
        let early = shop.status(None, "wamid.1", Status::Delivered);
        assert_eq!(shop.admit(&early).await, Admitted::Recorded { conversation: None });
        let (_, conversation, _) = shop.answered(ANNA).await;
        let claim = shop.sender(conversation).await;
        let id = shop.begin(&claim).await;
        shop.finish(&claim, id, accepted("wamid.1")).await;
        assert_eq!(status_of(&shop, conversation).await, Some(Status::Delivered));
        assert_eq!(shop.number("SELECT count(*) FROM status_early").await, 0);
        shop.assert_balanced().await;
    }

    async fn a_status_never_goes_backwards(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        let id = shop.deliver(conversation).await[0];
        for (status, stands) in [
            (Status::Delivered, Status::Delivered),
            (Status::Sent, Status::Delivered),
            (Status::Read, Status::Read),
            (Status::Delivered, Status::Read),
        ] {
            let told = shop.status(None, &format!("wamid.{id}"), status);
            assert_eq!(shop.admit(&told).await, Admitted::Recorded { conversation: Some(conversation) });
            assert_eq!(status_of(&shop, conversation).await, Some(stands));
        }
    }

    async fn a_failed_status_makes_send_and_messages_dead_with_one_letter(shop) {
        let (event, conversation, send) = shop.answered(ANNA).await;
        shop.deliver(conversation).await;
        shop.admit(&shop.status(Some(send), "wamid.other", Status::Failed)).await;
        assert_eq!(shop.send_state(conversation, send).await, "dead");
        assert_eq!(shop.event_state(event).await, "dead");
        let letters = shop.store.dead_letters(&Default::default()).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!((letters[0].event_id, letters[0].send_id), (Some(event), Some(send)));
        shop.assert_balanced().await;
    }

    async fn the_failed_parts_of_one_reply_leave_one_letter(shop) {
        let (event, conversation) = shop.say(ANNA, "a long answer, please").await;
        let claim = shop.claim_quiet(conversation).await;
        let parts = ["one", "two"].map(|words| shop.send(common::domain::Author::Assistant, words));
        shop.reply_with(&claim, &parts).await.unwrap();
        assert_eq!(shop.deliver(conversation).await.len(), 2);
        for part in &parts {
            shop.admit(&shop.status(Some(part.id), "wamid.x", Status::Failed)).await;
        }
        assert_eq!(shop.event_state(event).await, "dead");
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1);
        shop.assert_balanced().await;
    }

    async fn a_status_that_overtakes_the_providers_answer_counts_when_the_answer_comes(shop) {
        let (event, conversation, send) = shop.answered(ANNA).await;
        let claim = shop.sender(conversation).await;
        shop.begin(&claim).await;
        shop.admit(&shop.status(Some(send), "wamid.1", Status::Failed)).await;
        assert_eq!(shop.send_state(conversation, send).await, "sending");
        shop.finish(&claim, send, accepted("wamid.1")).await;
        assert_eq!(shop.send_state(conversation, send).await, "dead");
        assert_eq!(shop.event_state(event).await, "dead");
        shop.assert_balanced().await;
    }

    async fn a_status_proves_that_a_send_arrived_though_its_sender_cannot_say(shop) {
        // Before the sender gave up, after it, after it was found gone, and even when it was to be sent again.
        for case in ["before", "after", "gone", "resent"] {
            let (_, conversation, send) = shop.answered(ANNA).await;
            let claim = shop.sender(conversation).await;
            shop.begin(&claim).await;
            let told = shop.status(Some(send), "wamid.1", Status::Delivered);
            if case == "before" || case == "gone" {
                shop.admit(&told).await;
            }
            if case == "gone" {
                shop.pass(shop.timing.lease + super::SENDING);
                let next = shop.sender(conversation).await;
                shop.store.next_send(&next).await.unwrap();
            } else {
                shop.finish(&claim, send, Finished::Unknown { why: "timeout" }).await;
            }
            if case == "resent" {
                shop.store.close_unknown(send, true).await.unwrap();
                assert_eq!(shop.send_state(conversation, send).await, "queued");
            }
            shop.admit(&told).await;
            assert_eq!(shop.send_state(conversation, send).await, "accepted", "{case}");
            shop.pass(shop.timing.lease + super::SENDING);
            assert!(shop.deliver(conversation).await.is_empty(), "{case}");
        }
        shop.assert_balanced().await;
    }

    async fn a_status_and_the_providers_answer_in_the_same_moment_find_each_other(shop) {
        for round in 0..12 {
            let (_, conversation, _) = shop.answered(ANNA).await;
            let claim = shop.sender(conversation).await;
            let id = shop.begin(&claim).await;
            let name = format!("wamid.race.{round}");
            let told = shop.status(None, &name, Status::Read);
            let finishing = { let (shop, claim, name) = (Arc::clone(&shop), claim.clone(), name.clone());
                tokio::spawn(async move { shop.finish(&claim, id, accepted(&name)).await }) };
            shop.admit(&told).await;
            finishing.await.unwrap();
            let mut claim = claim;
            shop.store.release_delivery(&mut claim, None).await.unwrap();
            shop.store.forget_early_statuses().await.unwrap();
            let sends = shop.store.outbox_of(conversation).await.unwrap();
            assert_eq!(sends.last().unwrap().status, Some(Status::Read), "round {round}");
        }
    }

    async fn an_early_status_is_forgotten_after_seven_days_and_not_before(shop) {
        shop.admit(&shop.status(None, "wamid.1", Status::Sent)).await;
        shop.pass(std::time::Duration::from_hours(7 * 24));
        assert_eq!(shop.store.forget_early_statuses().await.unwrap(), 0);
        shop.pass(std::time::Duration::from_micros(1));
        assert_eq!(shop.store.forget_early_statuses().await.unwrap(), 1);
    }

    async fn a_status_of_another_source_touches_nothing(shop) {
        let (_, conversation, send) = shop.answered(ANNA).await;
        shop.deliver(conversation).await;
        let mut told = shop.status(Some(send), &format!("wamid.{send}"), Status::Failed);
        told.inbound.source = super::source("voice");
        assert_eq!(shop.admit(&told).await, Admitted::Recorded { conversation: None });
        assert_eq!(shop.send_state(conversation, send).await, "accepted");
    }
}
