//! What an ingress vouched for is here, or it is missed: not too early, not for a pause, and not for ever.

use std::time::Duration;

use common::domain::{Event, InstanceId, Span, Tally};
use common::store::{Admitted, InstanceLedger, Ledger};

use super::{ANNA, Arrival, Shop, contract, text};

impl Shop {
    /// A tally of an instance comes in.
    async fn tally_of(&self, instance: InstanceId, tally: Tally) {
        let mut arrival = self.arrival_by("tally", None, Event::Tally(tally));
        arrival.header.instance = instance;
        arrival.header.sequence = 0;
        assert_eq!(self.admit(&arrival).await, Admitted::Tallied);
    }

    async fn tally(&self, tally: Tally) {
        self.tally_of(self.instance, tally).await;
    }

    /// Every number up to this one was confirmed.
    async fn vouch(&self, from: i64, upto: i64) {
        self.tally(Tally { from, upto, ..Tally::default() }).await;
    }

    /// Intake runs for so long: it beats, and numbers are looked for.
    async fn run_intake(&self, time: Duration) {
        let beat = self.timing.beat();
        self.store.intake_runs().await.unwrap();
        for _ in 0..time.as_micros().div_ceil(beat.as_micros()) {
            self.pass(beat);
            self.store.intake_runs().await.unwrap();
            self.store.look_for_numbers().await.unwrap();
        }
    }

    async fn ledger(&self) -> Ledger {
        self.store.ledger(None).await.unwrap()
    }

    async fn told(&self, instance: InstanceId) -> InstanceLedger {
        self.ledger().await.instances.into_iter().find(|told| told.instance == instance).expect("told of")
    }

    /// Messages of this fixture's ingress, numbered on from the last; not taken in.
    fn messages(&self, count: usize) -> Vec<Arrival> {
        (0..count).map(|_| self.arrival(ANNA, text("hello"))).collect()
    }

    async fn admit_but(&self, messages: &[Arrival], absent: &[i64]) {
        for message in messages.iter().filter(|message| !absent.contains(&message.header.sequence)) {
            self.admit(message).await;
        }
    }
}

fn spans(given_up: &[Span]) -> Vec<Span> {
    given_up.to_vec()
}

contract! {
    async fn a_vouched_number_that_never_came_is_lost_once_intake_has_run_for_its_time(shop) {
        let messages = shop.messages(5);
        shop.admit_but(&messages, &[3]).await;
        shop.vouch(0, 5).await;
        shop.run_intake(shop.timing.lost_after - shop.timing.beat()).await;
        let early = shop.ledger().await;
        assert_eq!((early.lost, early.unvouched, early.instances[0].waiting), (0, 0, 1));
        assert!(early.balances(), "{early:?}");
        shop.run_intake(shop.timing.beat() * 2).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.lost, ledger.instances[0].lost_numbers.clone()), (1, vec![(3, 3)]));
        let named = format!("ingress {}: 1 number (3), vouched for, never arrived", shop.instance);
        assert_eq!(ledger.broken().map(|one| one.what.clone()).collect::<Vec<_>>(), [named]);
    }

    async fn a_pause_of_intake_makes_nothing_lost_however_long(shop) {
        let messages = shop.messages(2);
        shop.admit_but(&messages, &[1]).await;
        shop.vouch(0, 2).await;
        shop.run_intake(shop.timing.lost_after / 2).await;
        for _ in 0..50 {
            // Beats too far apart for intake to have run between them.
            shop.pass(shop.timing.longest_beat() + Duration::from_micros(1));
            shop.store.intake_runs().await.unwrap();
            shop.store.look_for_numbers().await.unwrap();
        }
        assert_eq!(shop.ledger().await.lost, 0);
        shop.run_intake(shop.timing.lost_after).await;
        assert_eq!(shop.ledger().await.lost, 1);
    }

    async fn a_loss_heals_when_its_message_comes_in_after_all(shop) {
        let messages = shop.messages(3);
        shop.admit_but(&messages, &[1, 2]).await;
        shop.vouch(0, 3).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        assert_eq!(shop.ledger().await.lost, 2);
        shop.admit(&messages[1]).await;
        assert_eq!((shop.ledger().await.lost, shop.told(shop.instance).await.lost_numbers), (1, vec![(1, 1)]));
        shop.admit(&messages[0]).await;
        shop.assert_balanced().await;
        shop.run_intake(shop.timing.beat()).await;
        assert_eq!(shop.number("SELECT count(*) FROM missing").await, 0);
    }

    async fn what_was_given_up_is_not_missed_and_may_still_come(shop) {
        let messages = shop.messages(6);
        shop.admit_but(&messages, &[2, 4, 5]).await;
        shop.tally(Tally { upto: 6, given_up: spans(&[(2, 2), (4, 5)]), ..Tally::default() }).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.lost, ledger.unvouched, ledger.instances[0].given_up), (0, 0, 3));
        shop.admit(&messages[3]).await;
        shop.assert_balanced().await;
        assert_eq!(shop.ledger().await.accepted, 4);
    }

    async fn what_was_given_up_and_recovered_is_vouched_for_again(shop) {
        let messages = shop.messages(6);
        shop.admit_but(&messages, &[2, 4, 5]).await;
        shop.tally(Tally { upto: 6, given_up: spans(&[(2, 2), (4, 5)]), ..Tally::default() }).await;
        shop.run_intake(shop.timing.beat()).await;
        shop.tally(Tally { from: 6, upto: 6, recovered: spans(&[(4, 5)]), ..Tally::default() }).await;
        shop.admit(&messages[4]).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        let told = shop.told(shop.instance).await;
        assert_eq!((told.lost, told.lost_numbers, told.given_up), (1, vec![(4, 4)], 1));
        shop.admit(&messages[3]).await;
        shop.assert_balanced().await;
    }

    async fn tallies_say_the_same_in_any_order_and_however_often(shop) {
        let tallies = [
            Tally { upto: 4, given_up: spans(&[(2, 3)]), ..Tally::default() },
            Tally { from: 4, upto: 8, given_up: spans(&[(6, 7)]), ..Tally::default() },
            Tally { from: 8, upto: 9, recovered: spans(&[(3, 3), (7, 7)]), last: true, ..Tally::default() },
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let instance = InstanceId::random();
            let mut messages = shop.messages(9);
            for (message, number) in messages.iter_mut().zip(1..) {
                (message.header.instance, message.header.sequence) = (instance, number);
            }
            shop.admit_but(&messages, &[2, 3, 6, 7]).await;
            for which in order {
                shop.tally_of(instance, tallies[which].clone()).await;
                shop.run_intake(shop.timing.lost_after * 2).await;
                shop.tally_of(instance, tallies[which].clone()).await;
            }
            shop.run_intake(shop.timing.lost_after * 2).await;
            let told = shop.told(instance).await;
            assert_eq!((told.lost, told.lost_numbers), (2, vec![(3, 3), (7, 7)]), "{order:?}");
            assert_eq!((told.upto, told.given_up, told.state), (9, 2, "finished"), "{order:?}");
        }
    }

    async fn the_tail_of_an_ingress_that_died_is_unvouched_and_no_imbalance(shop) {
        let messages = shop.messages(8);
        shop.admit_but(&messages, &[5, 7]).await;
        shop.vouch(0, 4).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        assert_eq!((shop.ledger().await.unvouched, shop.told(shop.instance).await.state), (2, "running"));
        shop.run_intake(Duration::from_secs(700)).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.lost, ledger.unvouched), (0, 2));
        assert!(ledger.balances(), "{ledger:?}");
        assert_eq!((shop.told(shop.instance).await.state, shop.told(shop.instance).await.verified), ("silent", 8));
        shop.admit(&messages[4]).await;
        assert_eq!(shop.ledger().await.unvouched, 1);
    }

    async fn the_heir_of_a_spool_vouches_for_what_it_published_of_the_dead(shop) {
        let messages = shop.messages(8);
        shop.admit_but(&messages, &[5, 6, 7]).await;
        shop.vouch(0, 4).await;
        shop.run_intake(Duration::from_secs(700)).await;
        assert_eq!(shop.ledger().await.unvouched, 3);
        shop.tally(Tally { recovered: spans(&[(6, 7)]), ..Tally::default() }).await;
        shop.admit(&messages[6]).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        let told = shop.told(shop.instance).await;
        assert_eq!((told.lost_numbers, told.unvouched, told.state), (vec![(6, 6)], 1, "silent"));
        shop.admit(&messages[5]).await;
        shop.assert_balanced().await;
    }

    async fn a_tally_that_comes_late_turns_unvouched_numbers_into_lost_ones(shop) {
        let messages = shop.messages(3);
        shop.admit_but(&messages, &[2]).await;
        shop.run_intake(Duration::from_secs(700)).await;
        assert_eq!(shop.ledger().await.unvouched, 1);
        shop.vouch(0, 3).await;
        assert_eq!((shop.ledger().await.unvouched, shop.ledger().await.lost), (0, 0));
        shop.run_intake(shop.timing.lost_after * 2).await;
        assert_eq!((shop.ledger().await.unvouched, shop.ledger().await.lost), (0, 1));
    }

    async fn a_second_envelope_of_an_event_counts_as_arrived_and_not_as_accepted(shop) {
        let mut messages = shop.messages(2);
        shop.admit(&messages[0]).await;
        // The provider told it again, and this ingress numbered it again.
        messages[1].header.event_id = messages[0].header.event_id;
        messages[1].inbound = messages[0].inbound.clone();
        assert!(matches!(shop.admit(&messages[1]).await, Admitted::Duplicate { .. }));
        shop.vouch(0, 2).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.accepted, ledger.duplicates, ledger.lost, ledger.unvouched), (1, 1, 0, 0));
        assert!(ledger.balances(), "{ledger:?}");
    }

    async fn what_intake_sent_back_is_not_lost_and_is_stuck_when_it_does_not_come_again(shop) {
        let messages = shop.messages(3);
        shop.admit_but(&messages, &[2]).await;
        let tier = Duration::from_secs(600);
        shop.store.note_detour(&messages[1].header, tier).await.unwrap();
        shop.vouch(0, 3).await;
        shop.run_intake(tier).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.lost, ledger.stuck, ledger.unvouched), (0, 0, 0));
        assert!(ledger.balances(), "{ledger:?}");
        shop.run_intake(shop.timing.lost_after * 2).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.lost, ledger.stuck, ledger.broken().count()), (0, 1, 1));
        shop.admit(&messages[1]).await;
        shop.assert_balanced().await;
    }

    async fn a_letter_that_nobody_can_take_in_is_not_lost(shop) {
        let messages = shop.messages(3);
        shop.admit_but(&messages, &[2, 3]).await;
        let (instance, event) = (shop.id(shop.instance.uuid()), shop.id(messages[1].id().uuid()));
        let (id, now) = (shop.id(uuid::Uuid::new_v4()), shop.moment(shop.now()));
        shop.execute(format!(
            "INSERT INTO dead (id, event_id, source, stage, class, error, fingerprint, attempts, policy, build, state, \
               created_at, updated_at, instance, sequence) \
             VALUES ({id}, {event}, 'shop', 'intake', 'undeliverable', '', '', 1, '', '', 'open', {now}, {now}, \
               {instance}, 2)"
        ))
        .await;
        // A second envelope of the same event finds the letter, and is not kept.
        let mut again = messages[2].header.clone();
        again.event_id = messages[1].id();
        shop.store.note_duplicate(&again).await.unwrap();
        shop.store.note_duplicate(&messages[1].header).await.unwrap();
        shop.vouch(0, 3).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.accepted, ledger.duplicates, ledger.lost), (1, 1, 0));
        assert!(ledger.balances(), "{ledger:?}");
    }

    async fn a_tally_is_no_event(shop) {
        shop.vouch(0, 7).await;
        shop.tally(Tally { from: 7, upto: 7, last: true, ..Tally::default() }).await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.accepted, ledger.duplicates, ledger.days.len(), ledger.sources.len()), (0, 0, 0, 0));
        assert_eq!((ledger.instances[0].upto, ledger.instances[0].state), (7, "finished"));
    }

    async fn the_signs_show_what_the_ledger_shows(shop) {
        let messages = shop.messages(5);
        shop.admit_but(&messages, &[2, 4]).await;
        shop.vouch(0, 3).await;
        shop.run_intake(shop.timing.lost_after * 2).await;
        let (ledger, signs) = (shop.ledger().await, shop.store.ledger_signs().await.unwrap());
        assert_eq!((signs.lost, signs.unvouched, signs.imbalances), (1, 1, 1));
        assert_eq!((ledger.lost, ledger.unvouched), (1, 1));
        assert_eq!(signs.pending, [("10s", 0), ("1m", 0), ("10m", 3), ("more", 0)]);
    }
}
