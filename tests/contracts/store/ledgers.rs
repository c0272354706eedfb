//! Everything adds up at every moment, whatever was done in whatever order.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Author, Content, ConversationId, End, Event, Floor, Status};
use common::store::{Begun, DeadFilter, Finished, HandBack, NextSend};

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

contract! {
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
