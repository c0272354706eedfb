//! Every step of the story, once with a process killed there and once with one stalled there beyond its lease: a cell
//! for each, all of them with the same end. The cells share two servers and run a few at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::Micros;
use common::providers::samples::{self, Text};
use common::steps::Step;
use futures_util::StreamExt;
use nix::sys::signal::Signal;

use super::customers::{Diary, event_of, name, provider_id};
use super::house::{Ground, House, Pulse};
use super::oracle::{self, Evidence};
use super::schedule::Place;
use super::{LEASE, Room, file};
use crate::contracts::eventually;
use crate::faults::repeat_marks;

/// Cells at once: each has three processes.
const AT_ONCE: usize = 6;
/// Messages until the armed process must have fallen.
const PATIENCE: u32 = 12;
/// What a takeover may take beyond the lease. The promise is two seconds; a machine shared with five other cells that
/// start processes gets more, and `make chaos` measures.
const GRACE: Duration = Duration::from_secs(10);

/// How an armed process falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Killed,
    Stalled,
}

/// What became of one cell: from the fall until nothing was left to do.
type Cell = (Step, How, Duration);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_falls_at_any_step_costs_nothing_but_time() {
    let ways = Step::ALL.iter().flat_map(|step| [(*step, How::Killed), (*step, How::Stalled)]);
    let cells: Vec<Cell> = futures_util::stream::iter(ways.map(cell)).buffer_unordered(AT_ONCE).collect().await;
    let mut told = BTreeMap::new();
    for (step, how, took) in cells {
        told.insert((how == How::Stalled, Step::ALL.iter().position(|one| *one == step)), (step, how, took));
    }
    for (step, how, took) in told.into_values() {
        eprintln!("{step} {how:?}: settled {:.1} s after the fall", took.as_secs_f64());
        let most = LEASE + GRACE;
        assert!(how == How::Stalled || took <= most, "{step}: {took:?}");
    }
}

async fn cell((step, how): (Step, How)) -> Cell {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ingresses, workers) = if Room::of(step) == Room::Ingress { (2, 1) } else { (1, 2) };
    let house = House::furnish(Ground::Shared, &file(LEASE), folder.path(), ingresses, workers, &[]).await;
    let house = Arc::new(house);
    house.model.answer_with(repeat_marks);
    let armed = (Room::of(step), 0);
    for (place, slot) in &house.slots {
        let word = if how == How::Killed { "kill" } else { "stop" };
        let faults = format!("{step}={word}@1");
        slot.lock().await.start((*place == armed).then_some(faults.as_str()));
    }
    house.ready().await;
    let diary = Diary::default();
    let fell = until_it_falls(&house, &diary, armed).await;
    assert!(fell, "{step} {how:?}: no message came to it");
    let fallen = Instant::now();
    let took = recover(&house, &diary, armed, how, fallen).await;
    let testimony = house.witness.testimony().await.expect("the store");
    let (told, arrivals) = (diary.told(), house.graph.sends());
    let verdict = oracle::judge(&Evidence { told, arrivals, testimony, taken: Vec::new(), inflicted: Vec::new() });
    assert!(verdict.violations.is_empty(), "{step} {how:?}: {:#?}", verdict.violations);
    let (code, printed, _) = house.handrail(&["ledger", "--json"]).await;
    assert_eq!(code, 0, "{step} {how:?}: {printed}");
    (step, how, took)
}

/// One customer after the other says something, until the armed process has fallen.
async fn until_it_falls(house: &Arc<House>, diary: &Diary, armed: Place) -> bool {
    for customer in 0..usize::try_from(PATIENCE).expect("few") {
        let id = provider_id(0, customer, 1);
        let text = [Text { id: &id, from: &name(customer), body: "Do you have hats? #1" }];
        let body = samples::whatsapp_texts(&text, Micros::wall());
        diary.insist(house, 0, body, event_of(0, customer, 1), Some((customer, 1))).await;
        // Once it is answered, it went another way.
        let mut fell = false;
        eventually("it falls, or the message is answered without it", async || {
            fell = house.slot(armed).lock().await.pulse() != Pulse::Runs;
            fell || all_answered(house, diary).await
        })
        .await;
        if fell {
            return true;
        }
    }
    false
}

/// Whether every message has ended, and every send of its turn.
async fn all_answered(house: &House, diary: &Diary) -> bool {
    let (Ok(events), Ok(sends)) = (house.witness.events().await, house.witness.sends().await) else { return false };
    diary.told().iter().all(|told| {
        let ended = events.iter().find(|event| event.id == told.event && event.state != "pending");
        let open = |turn: &Option<String>| {
            sends.iter().any(|send| send.turn == *turn && matches!(send.state.as_str(), "queued" | "sending"))
        };
        ended.is_some_and(|event| !open(&event.turn))
    })
}

/// Waits until nothing is left to do; a stalled process comes back once it is beyond its lease.
async fn recover(house: &House, diary: &Diary, armed: Place, how: How, fallen: Instant) -> Duration {
    let slot = house.slot(armed);
    match how {
        How::Killed => {}
        How::Stalled => {
            tokio::time::sleep_until((fallen + LEASE + Duration::from_secs(1)).into()).await;
            slot.lock().await.signal(Signal::SIGCONT);
        }
    }
    eventually("everybody is answered", async || all_answered(house, diary).await).await;
    let took = fallen.elapsed();
    eventually("nothing is left", async || matches!(house.witness.unsettled().await, Ok(left) if left.is_nothing()))
        .await;
    took
}
