//! Faults by the dozen, from a seed: real servers, several ingresses and workers as processes, a model and a provider
//! that record every call, and a judge that knows the promises. `make chaos` runs it for as long as one likes.

mod customers; // the outside: webhooks, statuses, manners
mod fallen; // every step of the story, killed and stalled there
mod figures; // what recovery costs
mod house; // the deployment that is ill-treated
mod inflict; // faults, and their undoing
mod oracle; // the judge
mod proxy; // a TCP relay with weather
mod run; // one seed from start to verdict
mod schedule; // what a seed means
mod table; // the table at the end
mod takeovers; // people who take the floor
mod witness; // triggers that see every state

use std::time::Duration;

use common::domain::Micros;
use common::providers::samples::{self, Text};
use common::steps::Step;

use crate::faults;
use crate::stack::Doors;
use customers::Diary;
use house::{Ground, House};
use oracle::Verdict;
use schedule::{Side, Size};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Room {
    Ingress,
    Worker,
}

impl Room {
    /// The name of its binary.
    const fn binary(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Worker => "worker",
        }
    }

    /// Whose step it is.
    fn of(step: Step) -> Self {
        if step.name().starts_with("ingress.") { Self::Ingress } else { Self::Worker }
    }
}

/// The lease of every deployment here.
const LEASE: Duration = Duration::from_secs(3);

/// A `handrail.toml` with short waits; a predecessor is awaited for longer than anything is stalled.
fn file(lease: Duration) -> String {
    let lease = lease.as_secs_f64();
    let waits = [
        ("lease_seconds", lease),
        ("renewal_seconds", lease / 3.0),
        ("model_deadline_seconds", 4.0),
        ("predecessor_seconds", 20.0),
        ("heartbeat_seconds", 4.0),
        ("confirm_seconds", 1.0),
        ("drain_seconds", 6.0),
    ];
    faults::file(crate::stack::WHATSAPP, &waits)
}

/// As long as a test may take.
const BRIEF: Size = Size {
    length: Duration::from_secs(25),
    customers: 8,
    rate: 3.0,
    between: Duration::from_millis(1_300),
    lease: LEASE,
    forgets: true,
};

async fn nothing_is_lost_doubled_or_reordered(seed: u64, doors: Doors) {
    let verdict = run::run(seed, BRIEF, doors).await;
    eprintln!("seed {seed} on {doors:?}\n{}", table::of(std::slice::from_ref(&verdict)));
    assert!(verdict.violations.is_empty(), "seed {seed}: {:#?}", verdict.violations);
    assert!(verdict.accepted > 30 && !verdict.faults.is_empty(), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_reordered_whatever_falls_on_servers() {
    nothing_is_lost_doubled_or_reordered(1, Doors::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_reordered_whatever_falls_on_servers_again() {
    nothing_is_lost_doubled_or_reordered(2, Doors::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_reordered_whatever_falls_embedded() {
    nothing_is_lost_doubled_or_reordered(3, Doors::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_store_has_gone_without_a_word_gives_its_connections_up_and_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = House::furnish(Ground::Own, &file(LEASE), folder.path(), 1, 1, &[]).await;
    house.model.answer_with(faults::repeat_marks);
    house.open().await;
    let relay = house.relay((Room::Worker, 0), Side::Store).expect("a relay");
    for customer in [0, 1] {
        let (id, from) = (customers::provider_id(0, customer, 1), customers::name(customer));
        let body = samples::whatsapp_texts(&[Text { id: &id, from: &from, body: "Hello #1" }], Micros::wall());
        let diary = Diary::default();
        diary.insist(&house, 0, body, customers::event_of(0, customer, 1), Some((customer, 1))).await;
        house.graph.wait_for(customer + 1).await.expect("an answer within half a minute");
        relay.half_open();
    }
}

/// `make chaos SEEDS=1,2,3 MINUTES=30`: each seed for its share of the time, one after the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as MINUTES says: run it by `make chaos`"]
async fn for_minutes_on_end() {
    let setting = |name: &str, default: &str| {
        std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let seeds: Vec<u64> =
        setting("SEEDS", "1,2,3").split(',').map(|seed| seed.trim().parse().expect("a seed")).collect();
    let minutes: f64 = setting("MINUTES", "6").parse().expect("minutes");
    let each = Duration::from_secs_f64(minutes * 60.0 / seeds.len() as f64);
    let mut verdicts: Vec<Verdict> = Vec::new();
    for seed in seeds {
        // Every fourth seed stands on the embedded doors.
        let doors = if seed % 4 == 3 { Doors::Embedded } else { Doors::Servers };
        let between = Duration::from_secs(3);
        let size = Size { length: each, customers: 20, rate: 5.0, between, lease: LEASE, forgets: false };
        verdicts.push(run::run(seed, size, doors).await);
        eprintln!("so far:\n{}", table::of(&verdicts));
    }
    println!("{}\n\n{}", figures::machine(), table::of(&verdicts));
    assert!(verdicts.iter().all(|verdict| verdict.violations.is_empty()), "a promise was broken");
}
