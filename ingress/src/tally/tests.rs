//! What a book of numbers promises.

use std::collections::BTreeSet;

use async_trait::async_trait;
use common::domain::{Event, Kind};
use common::queue::{PublishError, Publisher};
use common::seal::Key;
use common::shutdown;
use common::trace::TraceContext;

use super::*;

fn header(instance: InstanceId, sequence: i64) -> Header {
    Header {
        event_id: common::domain::EventId::random(),
        source: common::domain::SourceName::parse("shop").unwrap(),
        conversation: None,
        kind: Kind::Message,
        received_at: Micros(1),
        instance,
        sequence,
        previous: None,
        trace: TraceContext::start(),
        secret: String::new(),
    }
}

fn own(book: &Book) -> Tally {
    book.drafts(false).remove(0).1
}

/// What a ledger makes of tallies: the numbers that they vouch for.
#[derive(Default)]
struct Ledger {
    upto: i64,
    given_up: BTreeSet<i64>,
    recovered: BTreeSet<i64>,
}

impl Ledger {
    fn hear(&mut self, tally: &Tally) {
        self.upto = self.upto.max(tally.upto);
        let all = |spans: &[Span]| spans.iter().flat_map(|(start, end)| *start..=*end).collect::<Vec<i64>>();
        assert!(all(&tally.given_up).iter().all(|number| (tally.from + 1..=tally.upto).contains(number)), "{tally:?}");
        self.given_up.extend(all(&tally.given_up));
        self.recovered.extend(all(&tally.recovered));
    }

    fn vouched(&self) -> BTreeSet<i64> {
        let within = (1..=self.upto).filter(|number| !self.given_up.contains(number));
        within.chain(self.recovered.iter().copied()).collect()
    }
}

#[test]
fn nothing_beyond_the_first_undecided_number_is_told() {
    let book = Book::of(InstanceId::random());
    assert!(book.drafts(false).is_empty(), "nothing to tell");
    let mut tickets: Vec<Ticket> = (0..5).map(|_| book.ticket()).collect();
    assert_eq!(tickets.iter().map(Ticket::number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    tickets.remove(4).confirm();
    drop(tickets.remove(3));
    tickets.remove(0).confirm();
    assert_eq!(own(&book), Tally { from: 0, upto: 1, ..Tally::default() });
    drop(tickets.remove(0));
    assert_eq!(own(&book), Tally { from: 0, upto: 2, given_up: vec![(2, 2)], ..Tally::default() });
    drop(tickets);
    assert_eq!(own(&book), Tally { from: 0, upto: 5, given_up: vec![(2, 4)], ..Tally::default() });
}

#[test]
fn a_tally_that_was_lost_is_covered_by_the_next_and_of_one_that_was_confirmed_only_the_mark_is_told_again() {
    let book = Book::of(InstanceId::random());
    drop(book.ticket());
    let lost = own(&book);
    book.ticket().confirm();
    let next = own(&book);
    assert_eq!((lost.upto, next.from, next.upto, next.given_up.clone()), (1, 0, 2, vec![(1, 1)]));
    book.told(book.instance, &next);
    assert_eq!(own(&book), Tally { from: 2, upto: 2, ..Tally::default() });
    drop(book.ticket());
    assert_eq!(own(&book), Tally { from: 2, upto: 3, given_up: vec![(3, 3)], ..Tally::default() });
    // Confirmed after all, though a newer one has been confirmed since: it takes nothing back.
    book.told(book.instance, &lost);
    assert_eq!(own(&book).from, 2);
}

#[test]
fn what_a_spool_has_drained_is_told_under_the_instance_whose_numbers_they_are() {
    let (mine, dead) = (InstanceId::random(), InstanceId::random());
    let book = Book::of(mine);
    for (instance, number) in [(dead, 8), (dead, 7), (mine, 1), (dead, 9)] {
        book.recovered(&header(instance, number));
    }
    drop(book.ticket());
    let drafts = book.drafts(false);
    assert_eq!(drafts[0].1, Tally { upto: 1, given_up: vec![(1, 1)], recovered: vec![(1, 1)], ..Tally::default() });
    assert_eq!(drafts[1], (dead, Tally { recovered: vec![(7, 9)], ..Tally::default() }));
    // More comes in while the tally is on its way: that is kept for the next.
    book.recovered(&header(dead, 10));
    drafts.iter().for_each(|(instance, tally)| book.told(*instance, tally));
    let again = (mine, Tally { from: 1, upto: 1, ..Tally::default() });
    assert_eq!(book.drafts(false), [again, (dead, Tally { recovered: vec![(10, 10)], ..Tally::default() })]);
}

#[test]
fn the_last_tally_leaves_nothing_undecided_and_says_that_it_is_the_last() {
    let book = Book::of(InstanceId::random());
    assert!(book.drafts(true).is_empty(), "it never gave out a number");
    let undecided = book.ticket();
    book.ticket().confirm();
    book.close();
    let last = book.drafts(true).remove(0).1;
    assert_eq!(last, Tally { upto: 2, given_up: vec![(1, 1)], last: true, ..Tally::default() });
    undecided.confirm();
    assert_eq!(book.drafts(true).remove(0).1, last, "decided once");
    book.told(book.instance, &last);
    let repeated = book.drafts(true).remove(0).1;
    assert!(repeated.last && repeated.from == repeated.upto);
}

#[test]
fn too_much_for_one_tally_is_told_in_several() {
    let book = Book::of(InstanceId::random());
    let mut ledger = Ledger::default();
    let numbers = 2 * MOST as i64 * 2 + 10;
    for number in 1..=numbers {
        let ticket = book.ticket();
        if number % 2 == 0 {
            ticket.confirm();
        }
    }
    let mut tallies = 0;
    loop {
        let (instance, tally) = book.drafts(false).remove(0);
        if tally.from == tally.upto {
            break;
        }
        assert!(tally.given_up.len() <= MOST);
        ledger.hear(&tally);
        book.told(instance, &tally);
        tallies += 1;
    }
    assert_eq!(tallies, 3);
    assert_eq!(ledger.vouched(), (1..=numbers).filter(|number| number % 2 == 0).collect());
}

/// Confirms or loses tallies by a coin.
struct Coin {
    told: Mutex<Vec<Vec<u8>>>,
    fair: bool,
}

#[async_trait]
impl Publisher for Coin {
    async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        let lost = self.fair && rand::random();
        // Lost, or confirmed and not heard of: in both cases the ingress must tell it again.
        if !lost || rand::random() {
            self.told.lock().unwrap().push(envelope.bytes().to_vec());
        }
        if lost { Err(PublishError::Disconnected) } else { Ok(()) }
    }

    fn ready(&self) -> Result<(), PublishError> {
        Ok(())
    }
}

fn teller(book: &Arc<Book>, fair: bool) -> (Teller, Arc<Coin>) {
    let coin = Arc::new(Coin { told: Mutex::default(), fair });
    let outlet = Outlet::new(coin.clone(), Duration::from_secs(5));
    let keys = Keyring::single("q1", Key::generate());
    (Teller { book: book.clone(), outlet, keys, clock: || Micros(7) }, coin)
}

fn opened(teller: &Teller, coin: &Coin) -> Vec<(InstanceId, Tally)> {
    let open = |bytes: &Vec<u8>| {
        let envelope = Envelope::decode(bytes.clone()).unwrap();
        let head = envelope.header();
        assert_eq!((head.kind, head.sequence, head.received_at), (Kind::Tally, 0, Micros(7)));
        match envelope.open(&teller.keys).unwrap().event {
            Event::Tally(tally) => (head.instance, tally),
            _ => panic!("not a tally"),
        }
    };
    coin.told.lock().unwrap().iter().map(open).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_concurrency_and_lost_tallies_every_number_is_decided_exactly_once() {
    let book = Book::of(InstanceId::random());
    let (teller, coin) = teller(&book, true);
    let (stopper, stop) = shutdown::channel();
    let telling = async { teller.run(Duration::from_millis(1), stop).await };
    let work = async {
        let worker = |_| {
            let book = book.clone();
            tokio::spawn(async move {
                let (mut confirmed, mut recovered) = (Vec::new(), Vec::new());
                for round in 0..500 {
                    let ticket = book.ticket();
                    let number = ticket.number();
                    tokio::task::yield_now().await;
                    match (number + round) % 4 {
                        0 => drop(ticket),
                        1 => {
                            book.recovered(&header(book.instance, number));
                            drop(ticket);
                            recovered.push(number);
                        }
                        _ => {
                            ticket.confirm();
                            confirmed.push(number);
                        }
                    }
                }
                confirmed.into_iter().chain(recovered).collect::<Vec<_>>()
            })
        };
        let mut vouched = BTreeSet::new();
        for one in (0..8).map(worker).collect::<Vec<_>>() {
            vouched.extend(one.await.unwrap());
        }
        stopper.stop();
        vouched
    };
    let ((), expected) = tokio::join!(telling, work);
    let mut heard = opened(&teller, &coin);
    // The end must not be lost here, or there would be nothing to compare.
    while !heard.last().is_some_and(|(_, tally)| tally.last) {
        teller.finish().await;
        heard = opened(&teller, &coin);
    }
    let mut ledger = Ledger::default();
    // In any order, since a queue promises none.
    heard.reverse();
    heard.iter().for_each(|(_, tally)| ledger.hear(tally));
    assert_eq!(ledger.upto, 4_000);
    assert_eq!(ledger.vouched(), expected);
}

#[tokio::test]
async fn an_idle_ingress_repeats_its_mark_and_the_end_is_told_once() {
    let book = Book::of(InstanceId::random());
    let (teller, coin) = teller(&book, false);
    book.ticket().confirm();
    for _ in 0..3 {
        teller.tell(false).await;
    }
    teller.finish().await;
    let told: Vec<(i64, i64, bool)> = opened(&teller, &coin).iter().map(|(_, t)| (t.from, t.upto, t.last)).collect();
    assert_eq!(told, [(0, 1, false), (1, 1, false), (1, 1, false), (1, 1, true)]);
}
