//! What a seed means: which faults come when, who says what, and when people take and give back the floor. All drawn
//! before the run begins, from one generator, so that a seed repeats its schedule.

use std::fmt;
use std::time::Duration;

use common::steps::Step;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::Room;
use crate::stack::Doors;

/// Ingresses of a deployment under test.
pub(crate) const INGRESSES: usize = 2;
/// Its workers.
pub(crate) const WORKERS: usize = 3;
/// The time before the first fault and after the last.
const CALM: Duration = Duration::from_secs(2);

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How long customers write and faults come.
    pub(crate) length: Duration,
    pub(crate) customers: usize,
    /// Messages a second, of all customers together.
    pub(crate) rate: f64,
    /// The mean time between two faults.
    pub(crate) between: Duration,
    /// The lease of the deployment; a process that stops, stops for longer.
    pub(crate) lease: Duration,
    /// Whether logs and evidence go when no promise was broken.
    pub(crate) forgets: bool,
}

/// Everything that will happen, in order of time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) faults: Vec<(Duration, Fault)>,
    pub(crate) says: Vec<(Duration, Say)>,
    pub(crate) hands: Vec<(Duration, Hand)>,
}

/// One message of one customer.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) customer: usize,
    /// Its number among the customer's, from 1.
    pub(crate) number: u32,
    pub(crate) text: String,
    /// Which ingress it is posted to first.
    pub(crate) ingress: usize,
    /// Posted again after it was accepted, as providers do.
    pub(crate) repeated: bool,
    /// Posted at the same time as the next, or retried beside it: the provider keeps no order.
    pub(crate) loose: bool,
}

/// A person's hand on the floor of a customer's conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand {
    pub(crate) customer: usize,
    pub(crate) takes: bool,
}

/// A process of the deployment.
pub(crate) type Place = (Room, usize);

/// Which server a relay leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Broker,
    Store,
}

/// A process's way to a server.
pub(crate) type Link = (Place, Side);

/// How the model, or the provider, is for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Failing,
    Slow,
    Limiting,
    Hanging,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Kill(Place, Duration),
    Stop(Place, Duration),
    /// The process is started anew and falls at the given passing of a step: killed, or stopped for a while.
    Fall {
        place: Place,
        step: Step,
        nth: u32,
        stopped: Option<Duration>,
    },
    Rolling,
    BrokerRestart(Duration),
    BrokerStall(Duration),
    BrokerCloses,
    Alarm(Duration),
    ConsumerTimeout(Duration),
    StoreRestart(Duration),
    StoreStall(Duration),
    StoreKicks,
    Cut(Link),
    HalfOpen(Link),
    Swallow(Link, Duration),
    Slow(Link, Duration),
    Refuse(Link, Duration),
    Model(Mood, Duration),
    Provider(Mood, Duration),
}

/// Draws one fault of one kind.
type Draw = fn(&mut StdRng, Duration) -> Fault;

const ANYWHERE: &[Draw] = &[
    |rng, _| Fault::Kill((Room::Worker, rng.random_range(0..WORKERS)), short(rng)),
    |rng, _| Fault::Kill((Room::Ingress, rng.random_range(0..INGRESSES)), short(rng)),
    |rng, lease| Fault::Stop((Room::Worker, rng.random_range(0..WORKERS)), beyond(rng, lease)),
    |rng, lease| Fault::Stop((Room::Ingress, rng.random_range(0..INGRESSES)), beyond(rng, lease)),
    |rng, _| fall(rng, None),
    |rng, lease| {
        let stopped = beyond(rng, lease);
        fall(rng, Some(stopped))
    },
    |_, _| Fault::Rolling,
    |rng, _| Fault::Model(mood(rng), long(rng)),
    |rng, _| Fault::Provider(mood(rng), long(rng)),
];

const ON_SERVERS: &[Draw] = &[
    |rng, _| Fault::BrokerRestart(short(rng)),
    |rng, _| Fault::BrokerStall(long(rng)),
    |_, _| Fault::BrokerCloses,
    |rng, _| Fault::Alarm(long(rng)),
    |rng, _| Fault::ConsumerTimeout(long(rng)),
    |rng, _| Fault::StoreRestart(short(rng)),
    |rng, _| Fault::StoreStall(long(rng)),
    |_, _| Fault::StoreKicks,
    |rng, _| Fault::Cut(link(rng)),
    |rng, _| Fault::HalfOpen(link(rng)),
    |rng, lease| Fault::Swallow(link(rng), beyond(rng, lease)),
    |rng, _| Fault::Slow(link(rng), long(rng)),
    |rng, _| Fault::Refuse(link(rng), long(rng)),
];

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn draw(seed: u64, size: Size, doors: Doors) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let faults = faults(&mut rng, size, doors);
        let says = says(&mut rng, size);
        let hands = hands(&mut rng, size);
        Self { seed, faults, says, hands }
    }
}

/// Kinds are dealt like cards: none comes again before all have come.
fn faults(rng: &mut StdRng, size: Size, doors: Doors) -> Vec<(Duration, Fault)> {
    let more: &[Draw] = if doors == Doors::Servers { ON_SERVERS } else { &[] };
    let (mut deck, mut at, mut faults) = (Vec::new(), CALM, Vec::new());
    while at + CALM < size.length {
        if deck.is_empty() {
            deck = ANYWHERE.iter().chain(more).collect();
            deck.shuffle(rng);
        }
        let Some(draw) = deck.pop() else { break };
        faults.push((at, draw(rng, size.lease)));
        at += size.between.mul_f64(rng.random_range(0.4..1.6));
    }
    faults
}

/// What customers ask; nothing in it means anything to the policy.
const WORDS: &[&str] = &["shirts", "hats", "boots", "scarves", "gloves", "coats", "belts", "socks"];

fn says(rng: &mut StdRng, size: Size) -> Vec<(Duration, Say)> {
    let mut numbers = vec![0_u32; size.customers];
    let (mut at, mut says) = (Duration::ZERO, Vec::new());
    while at < size.length {
        let customer = rng.random_range(0..size.customers);
        // Most come alone, some in a burst.
        for _ in 0..if rng.random_bool(0.2) { rng.random_range(2..4) } else { 1 } {
            numbers[customer] += 1;
            let number = numbers[customer];
            let word = WORDS[rng.random_range(0..WORDS.len())];
            let text = match rng.random_range(0..100) {
                0..2 => format!("Can you write me a fake invoice #{number}"),
                2..3 => format!("I want to talk to a person #{number}"),
                _ => format!("Do you have {word}? #{number}"),
            };
            let (ingress, repeated, loose) =
                (rng.random_range(0..INGRESSES), rng.random_bool(0.1), rng.random_bool(0.25));
            says.push((at, Say { customer, number, text, ingress, repeated, loose }));
        }
        at += Duration::from_secs_f64(rng.random_range(0.2..1.8) / size.rate);
    }
    says
}

/// Every few seconds somebody takes a floor, and gives it back a few seconds later.
fn hands(rng: &mut StdRng, size: Size) -> Vec<(Duration, Hand)> {
    let (mut at, mut hands) = (CALM, Vec::new());
    while at + CALM < size.length {
        let customer = rng.random_range(0..size.customers);
        hands.push((at, Hand { customer, takes: true }));
        hands.push((at + Duration::from_secs_f64(rng.random_range(1.0..6.0)), Hand { customer, takes: false }));
        at += Duration::from_secs_f64(rng.random_range(1.5..5.0));
    }
    hands.sort_by_key(|(at, _)| *at);
    hands
}

fn link(rng: &mut StdRng) -> Link {
    // An ingress has no store.
    match rng.random_range(0..INGRESSES + 2 * WORKERS) {
        number if number < INGRESSES => ((Room::Ingress, number), Side::Broker),
        number if number < INGRESSES + WORKERS => ((Room::Worker, number - INGRESSES), Side::Broker),
        number => ((Room::Worker, number - INGRESSES - WORKERS), Side::Store),
    }
}

fn mood(rng: &mut StdRng) -> Mood {
    [Mood::Failing, Mood::Slow, Mood::Limiting, Mood::Hanging][rng.random_range(0..4)]
}

fn fall(rng: &mut StdRng, stopped: Option<Duration>) -> Fault {
    let step = Step::ALL[rng.random_range(0..Step::ALL.len())];
    let place = match Room::of(step) {
        Room::Ingress => (Room::Ingress, rng.random_range(0..INGRESSES)),
        Room::Worker => (Room::Worker, rng.random_range(0..WORKERS)),
    };
    Fault::Fall { place, step, nth: rng.random_range(1..4), stopped }
}

fn short(rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(100..1_500))
}

fn long(rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(1_500..6_000))
}

fn beyond(rng: &mut StdRng, lease: Duration) -> Duration {
    lease + Duration::from_millis(rng.random_range(500..4_000))
}

impl Fault {
    /// Its kind, as the table names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kill((Room::Worker, _), _) => "worker killed",
            Self::Kill((Room::Ingress, _), _) => "ingress killed",
            Self::Stop((Room::Worker, _), _) => "worker stalled beyond its lease",
            Self::Stop((Room::Ingress, _), _) => "ingress stalled",
            Self::Fall { stopped: None, .. } => "killed at a step",
            Self::Fall { stopped: Some(_), .. } => "stalled at a step",
            Self::Rolling => "all workers restarted, one by one",
            Self::BrokerRestart(_) => "broker killed and restarted",
            Self::BrokerStall(_) => "broker stalled",
            Self::BrokerCloses => "broker closed every connection",
            Self::Alarm(_) => "broker in alarm",
            Self::ConsumerTimeout(_) => "consumer timeout",
            Self::StoreRestart(_) => "PostgreSQL killed and restarted",
            Self::StoreStall(_) => "PostgreSQL stalled",
            Self::StoreKicks => "PostgreSQL ended every session",
            Self::Cut(..) => "connections cut",
            Self::HalfOpen(..) => "connections half open",
            Self::Swallow(..) => "connections swallowed",
            Self::Slow(..) => "connections slow",
            Self::Refuse(..) => "connections refused",
            Self::Model(..) => "model failing, slow, limiting or silent",
            Self::Provider(..) => "provider failing, slow, limiting or silent",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (faults, says, hands) = (self.faults.len(), self.says.len(), self.hands.len());
        writeln!(f, "seed {}: {says} messages, {faults} faults, {hands} hands on the floor", self.seed)?;
        for (at, fault) in &self.faults {
            writeln!(f, "  {:>8.3} s  {fault:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

mod tests {
    use super::*;

    const SIZE: Size = Size {
        length: Duration::from_secs(120),
        customers: 9,
        rate: 4.0,
        between: Duration::from_secs(2),
        lease: Duration::from_secs(3),
        forgets: true,
    };

    #[test]
    fn a_seed_repeats_its_schedule_and_another_does_not() {
        let all = |seed| format!("{:?}", Schedule::draw(seed, SIZE, Doors::Servers));
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
    }

    #[test]
    fn every_kind_of_fault_comes_before_any_comes_twice() {
        let kinds = ANYWHERE.len() + ON_SERVERS.len();
        let schedule = Schedule::draw(1, SIZE, Doors::Servers);
        let first: std::collections::HashSet<_> =
            schedule.faults[..kinds].iter().map(|(_, fault)| fault.kind()).collect();
        assert_eq!(first.len(), kinds);
    }
}
