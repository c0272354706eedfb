//! Everything adds up at every moment, whatever was done in whatever order.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Author, Content, ConversationId, End, Event, Floor, Status};
use common::store::{Begun, DeadFilter, Finished, HandBack, Ledger, NextSend, Sums};

use super::{ANNA, BORIS, SENDING, Shop, accepted, contract};

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // The 64-bit linear congruential generator of Knuth's MMIX, its high bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn turn(shop: &Shop, conversation: ConversationId, dice: &mut Dice) {
    let Some(claim) = shop.claim(conversation).await else { return };
    let pending = shop.store.pending(&claim).await.unwrap();
    let first = pending[0].event_id;
    match dice.roll(7) {
        0 => {
            let at = shop.now() + Duration::from_secs(dice.roll(30));
            shop.store.hand_back(&claim, HandBack::Retry { at, counted: 1, one_by_one: false }).await.unwrap();
        }
        1 => shop.store.hand_back(&claim, HandBack::Uncounted).await.map(drop).unwrap(),
        2 => {
            let letter = shop.letter(&claim, first);
            let notice = [shop.send(Author::Policy, "sorry")];
            shop.commit(&claim, &[(first, End::Dead, Some("parked"))], &notice, None, &[letter]).await;
        }
        3 => {
            let notice = [shop.send(Author::Policy, "somebody will come")];
            shop.commit(&claim, &[(first, End::HandedOff, None)], &notice, Some(Floor::Queued), &[]).await;
        }
        4 => {}
        _ => {
            let parts: Vec<_> = (0..=dice.roll(2)).map(|_| shop.send(Author::Assistant, "yes")).collect();
            shop.reply_with(&claim, &parts).await;
        }
    }
}

async fn delivery(shop: &Shop, conversation: ConversationId, dice: &mut Dice) {
    let Some(mut claim) = shop.store.claim_delivery(conversation, shop.worker).await.unwrap() else { return };
    if let NextSend::Send(id) = shop.store.next_send(&claim).await.unwrap()
        && let Begun::Yes(_) = shop.store.begin_send(&claim, id, SENDING).await.unwrap()
    {
        let end = match dice.roll(6) {
            0 => Some(Finished::Unknown { why: "timeout" }),
            1 => Some(Finished::Retry { at: shop.now(), error: "busy".into(), class: "outage".into(), held: false }),
            2 => Some(shop.refusal(&claim, id)),
            // Its sender dies.
            3 => return,
            _ => Some(accepted(&format!("wamid.{id}"))),
        };
        shop.finish(&claim, id, end.unwrap()).await;
    }
    shop.store.release_delivery(&mut claim, None).await.unwrap();
}

async fn status(shop: &Shop, conversation: ConversationId, dice: &mut Dice) {
    let sends = shop.store.outbox_of(conversation).await.unwrap();
    if sends.is_empty() {
        return;
    }
    let send = sends[usize::try_from(dice.roll(sends.len() as u64)).unwrap()].id;
    let status =
        [Status::Sent, Status::Delivered, Status::Read, Status::Failed][usize::try_from(dice.roll(4)).unwrap()];
    shop.admit(&shop.status(Some(send), "wamid.x", status)).await;
}

/// What people and chores do.
async fn by_hand(shop: &Shop, conversation: ConversationId, dice: &mut Dice) {
    match dice.roll(7) {
        0 => shop.store.take(conversation, "ops", None).await.map(drop).unwrap(),
        1 | 5 | 6 => shop.store.return_floor(conversation, "ops").await.map(drop).unwrap(),
        2 => shop.store.person_reply(conversation, "ops", &[shop.send(Author::Person, "hi")]).await.unwrap(),
        3 => {
            for letter in shop.store.dead_letters(&DeadFilter::default()).await.unwrap() {
                // Some are not open; that is refused.
                let _refused = shop.store.replay(letter.id, "ops").await;
            }
        }
        _ => {
            shop.pass(shop.timing.unknown_wait);
            for unknown in shop.store.open_unknowns(10).await.unwrap() {
                shop.store.close_unknown(unknown.id, dice.roll(2) == 0).await.unwrap();
            }
        }
    }
}

async fn walk(shop: &Shop, seed: u64, steps: u32) {
    let mut dice = Dice(seed);
    let mut conversations = Vec::new();
    for from in [ANNA, BORIS] {
        conversations.push(shop.say(from, "hello").await.1);
    }
    for step in 0..steps {
        let which = usize::try_from(dice.roll(2)).unwrap();
        let conversation = conversations[which];
        match dice.roll(10) {
            0..=2 => drop(shop.say([ANNA, BORIS][which], "more").await),
            3..=4 => turn(shop, conversation, &mut dice).await,
            5..=6 => delivery(shop, conversation, &mut dice).await,
            7 => status(shop, conversation, &mut dice).await,
            8 => by_hand(shop, conversation, &mut dice).await,
            _ => shop.pass(Duration::from_secs(dice.roll(40))),
        }
        let ledger = shop.store.ledger(None).await.unwrap();
        assert!(ledger.balances(), "seed {seed}, step {step}: {ledger:?}");
    }
    let ledger = shop.store.ledger(None).await.unwrap();
    assert!(ledger.sends.accepted > 0 && ledger.accepted > ledger.pending, "seed {seed} went nowhere: {ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_balances_at_every_step_on_sqlite() {
    for seed in 1..=5 {
        let shop = Shop::on_sqlite().await;
        walk(&shop, seed, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_walk_balances_at_every_step_on_postgres() {
    for seed in 6..=7 {
        let shop = Shop::on_postgres().await;
        walk(&shop, seed, 150).await;
    }
}

/// Every number of a set of sums, by name.
fn numbers(sums: &Sums) -> Vec<i64> {
    let sends = &sums.sends;
    let mut numbers = vec![sums.accepted, sums.pending, sums.late, sums.duplicates, sums.unknown_sends];
    numbers.extend(sums.ended.values());
    numbers.extend([sends.committed, sends.accepted, sends.superseded, sends.unknown, sends.dead, sends.open]);
    numbers
}

fn whole(ledger: &Ledger) -> Sums {
    let Ledger { accepted, pending, late, duplicates, unknown_sends, .. } = *ledger;
    let (ended, sends) = (ledger.ended.clone(), ledger.sends.clone());
    Sums { accepted, ended, pending, late, duplicates, unknown_sends, sends }
}

fn sum<'a>(of: impl Iterator<Item = &'a Sums>) -> Vec<i64> {
    of.map(numbers).reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect()).expect("some")
}

/// What tampering did is settling at first; later it is broken, and named.
async fn assert_found(shop: &Shop, named: &[&str]) {
    let ledger = shop.store.ledger(None).await.unwrap();
    assert!(!ledger.balances() && ledger.broken().count() == 0, "{ledger:?}");
    shop.pass(shop.timing.lost_after);
    let ledger = shop.store.ledger(None).await.unwrap();
    let broken: Vec<_> = ledger.broken().collect();
    for name in named {
        assert!(broken.iter().any(|one| one.what.contains(name)), "{name}: {broken:?}");
    }
    assert!(broken.iter().all(|one| one.age_seconds >= shop.timing.lost_after.as_secs()), "{broken:?}");
}

contract! {
    async fn the_days_and_the_sources_each_add_up_to_the_whole(shop) {
        let mut dice = Dice(11);
        for (day, from) in [(0, ANNA), (0, BORIS), (1, ANNA), (3, BORIS), (3, ANNA)] {
            shop.pass(Duration::from_secs(day * 86_400 / 2 + 3_600));
            let (event, conversation) = shop.say(from, "hello").await;
            for _ in 0..6 {
                turn(&shop, conversation, &mut dice).await;
                delivery(&shop, conversation, &mut dice).await;
                shop.quiet();
            }
            let mut again = shop.arrival(from, super::text("hello"));
            again.header.event_id = event;
            again.inbound.event_id = event;
            shop.admit(&again).await;
            shop.admit(&shop.arrival_by("desk", Some(from), Event::Record { what: "note".into() })).await;
        }
        let ledger = shop.store.ledger(None).await.unwrap();
        assert!(ledger.days.len() >= 3 && ledger.sources.len() == 2 && ledger.duplicates == 5, "{ledger:?}");
        let whole = numbers(&whole(&ledger));
        assert_eq!(sum(ledger.days.iter().map(|day| &day.sums)), whole);
        assert_eq!(sum(ledger.sources.iter().map(|source| &source.sums)), whole);
        let last = ledger.days.last().unwrap();
        let since = shop.now() - Duration::from_micros((shop.now().0 % 86_400_000_000) as u64);
        let today = shop.store.ledger(Some(since)).await.unwrap();
        assert_eq!((today.days.len(), &today.days[0].day), (1, &last.day));
        assert_eq!(numbers(&today.days[0].sums), numbers(&last.sums));
        assert!(since.to_string().starts_with(&last.day));
    }

    async fn an_event_in_a_state_that_nobody_knows_is_found_and_named(shop) {
        let (event, _) = shop.say(ANNA, "hello").await;
        let id = shop.id(event.uuid());
        shop.execute(format!("UPDATE inbox SET state = 'gone' WHERE id = {id}")).await;
        assert_found(&shop, &[&format!("event {event} is in the unknown state 'gone'"), "counts 1 pending messages"]).await;
    }

    async fn an_event_that_ended_at_no_time_is_found_and_named(shop) {
        let (event, conversation, _) = shop.answered(ANNA).await;
        shop.deliver(conversation).await;
        let id = shop.id(event.uuid());
        shop.execute(format!("UPDATE inbox SET ended_at = NULL WHERE id = {id}")).await;
        assert_found(&shop, &[&format!("event {event} is replied without an end's time")]).await;
    }

    async fn an_event_that_is_pending_again_beneath_its_conversation_is_found_and_named(shop) {
        let (event, conversation, _) = shop.answered(ANNA).await;
        let id = shop.id(event.uuid());
        shop.execute(format!("UPDATE inbox SET state = 'pending', ended_at = NULL WHERE id = {id}")).await;
        assert_found(&shop, &[&format!("conversation {conversation} counts 0 pending messages and has 1")]).await;
    }

    async fn a_counter_that_was_turned_is_found_and_named(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        let id = shop.id(conversation.uuid());
        shop.execute(format!("UPDATE conversation SET tail = tail + 2 WHERE id = {id}")).await;
        assert_found(&shop, &[&format!("conversation {conversation} counts 2 pending messages and has 0")]).await;
    }

    async fn a_dead_event_without_a_dead_letter_is_found_and_named(shop) {
        let (event, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let letter = shop.letter(&claim, event);
        shop.commit(&claim, &[(event, End::Dead, Some("parked"))], &[], None, &[letter]).await;
        shop.assert_balanced().await;
        shop.execute("DELETE FROM dead".to_owned()).await;
        assert_found(&shop, &[&format!("event {event} is dead, and no dead letter says why")]).await;
    }

    async fn a_send_in_a_state_that_nobody_knows_is_found_and_named(shop) {
        let (_, _, send) = shop.answered(ANNA).await;
        shop.execute("UPDATE outbox SET state = 'flying'".to_owned()).await;
        assert_found(&shop, &[&format!("send {send} is in the unknown state 'flying'")]).await;
    }

    async fn an_event_that_vanished_beneath_its_duplicate_is_found_and_named(shop) {
        let (event, _, _) = shop.answered(ANNA).await;
        let mut again = shop.arrival(ANNA, super::text("again"));
        again.header.event_id = event;
        again.inbound.event_id = event;
        shop.admit(&again).await;
        shop.assert_balanced().await;
        shop.execute(format!("DELETE FROM inbox WHERE id = {}", shop.id(event.uuid()))).await;
        assert_found(&shop, &[&format!("event {event} has a duplicate and is not in the inbox itself")]).await;
    }

    async fn the_ledger_names_every_state_and_counts_each_event_once(shop) {
        let (_, conversation, _) = shop.answered(ANNA).await;
        shop.deliver(conversation).await;
        shop.admit(&shop.arrival(BORIS, Event::Record { what: "sticker".into() })).await;
        shop.admit(&shop.arrival(BORIS, Event::Echo(Content::Text("mine".into())))).await;
        shop.say(BORIS, "waiting").await;
        let ledger = shop.store.ledger(None).await.unwrap();
        assert_eq!(ledger.ended.len(), End::ALL.len());
        assert_eq!((ledger.accepted, ledger.pending), (4, 1));
        assert_eq!((ledger.ended["replied"], ledger.ended["recorded"]), (1, 2));
        assert_eq!((ledger.sends.committed, ledger.sends.accepted, ledger.lost), (1, 1, 0));
        assert!(ledger.balances());
        let after = shop.store.ledger(Some(shop.now() + Duration::from_micros(1))).await.unwrap();
        assert_eq!((after.accepted, after.sends.committed), (0, 0));
    }

    async fn a_number_that_never_arrived_shows_as_unvouched(shop) {
        shop.say(ANNA, "one").await;
        let skipped = shop.arrival(ANNA, super::text("two"));
        shop.say(ANNA, "three").await;
        assert_eq!(shop.store.ledger(None).await.unwrap().unvouched, 1);
        shop.admit(&skipped).await;
        assert_eq!(shop.store.ledger(None).await.unwrap().unvouched, 0);
    }

    async fn the_ledger_adds_up_while_messages_come_in_and_are_answered(shop) {
        let (_, conversation) = shop.say(ANNA, "0").await;
        let writer = { let shop = Arc::clone(&shop); tokio::spawn(async move {
            for _ in 0..25 {
                shop.say(ANNA, "more").await;
                let claim = shop.claim_quiet(conversation).await;
                shop.reply_with(&claim, &[shop.send(Author::Assistant, "yes")]).await.unwrap();
            }
        }) };
        while !writer.is_finished() {
            shop.assert_balanced().await;
        }
        writer.await.unwrap();
        shop.assert_balanced().await;
    }
}
