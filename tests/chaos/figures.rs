//! What recovery costs, in figures: a takeover after SIGKILL, a rolling restart under load, and twice the load that a
//! deployment can take. Printed with date and machine; each promise among them is asserted.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::config::Timing;
use common::domain::Micros;
use common::providers::samples::{self, Text};
use stand_ins::ModelBehaviour;
use tokio::task::JoinSet;

use super::Room;
use super::customers::{Diary, event_of, micros, name, provider_id};
use super::house::{Ground, House};
use super::inflict;
use super::oracle::{self, Evidence, Verdict};
use crate::contracts::eventually;
use crate::faults::repeat_marks;
use crate::stack::WHATSAPP;

/// Takeovers at a time, and how many times.
const HELD: usize = 6;
const ROUNDS: usize = 4;
/// What is promised of a takeover beyond the lease, and of a rolling restart beyond the turn itself.
const PROMISED: Duration = Duration::from_secs(2);
/// What a process may grow by when its load doubles.
const GROWTH: u64 = 64 * 1024;

/// `make chaos-figures`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes of measuring: run it by `make chaos-figures`"]
async fn what_recovery_costs() {
    eprintln!("{}", machine());
    takeovers().await;
    rolling_restart().await;
    twice_the_load().await;
    eprintln!("load average at the end: {}", load());
}

/// A deployment with every wait at its default, on servers, all customers and the model well-behaved.
async fn house(folder: &Path, ingresses: usize, workers: usize, over: &[(&str, &str)]) -> Arc<House> {
    let house = House::furnish(Ground::Shared, WHATSAPP, folder, ingresses, workers, over).await;
    house.model.answer_with(repeat_marks);
    Arc::new(house)
}

/// One message of one customer, posted until it is accepted.
async fn say(house: &House, diary: &Diary, customer: usize) {
    let id = provider_id(0, customer, 1);
    let text = [Text { id: &id, from: &name(customer), body: "Do you have hats? #1" }];
    let body = samples::whatsapp_texts(&text, Micros::wall());
    diary.insist(house, customer, body, event_of(0, customer, 1), Some((customer, 1))).await;
}

/// Customers `from..to`, at a steady rate.
async fn drip(house: &Arc<House>, diary: &Arc<Diary>, customers: std::ops::Range<usize>, rate: f64) {
    let (mut tick, mut tasks) = (tokio::time::interval(Duration::from_secs_f64(1.0 / rate)), JoinSet::new());
    for customer in customers {
        tick.tick().await;
        let (house, diary) = (house.clone(), diary.clone());
        tasks.spawn(async move { say(&house, &diary, customer).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a message");
    }
}

/// Waits until everything accepted is answered, as long as somebody more is, and judges.
async fn judged(house: &House, diary: &Diary) -> Verdict {
    let mut left = usize::MAX;
    while left > 0 {
        let before = left;
        eventually("somebody more is answered", async || {
            let answered = house.graph.sends_after(0).iter().filter(|send| send.wamid.is_some()).count();
            left = diary.told().len().saturating_sub(answered);
            left < before || left == 0
        })
        .await;
    }
    eventually("all is settled", async || matches!(house.witness.unsettled().await, Ok(left) if left.is_nothing()))
        .await;
    let testimony = house.witness.testimony().await.expect("the store");
    let (told, arrivals) = (diary.told(), house.graph.sends());
    let verdict = oracle::judge(&Evidence { told, arrivals, testimony, taken: Vec::new(), inflicted: Vec::new() });
    assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
    verdict
}

/// A worker with turns in hand is killed; the model is asked again, for each of them, by another.
async fn takeovers() {
    let lease = Timing::default().lease;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = house(folder.path(), 1, 2, &[]).await;
    let (diary, mut seen) = (Diary::default(), Vec::new());
    house.slot((Room::Ingress, 0)).lock().await.start(None);
    for round in 0..ROUNDS {
        let mut holder = house.slot((Room::Worker, round % 2)).lock().await;
        let mut heir = house.slot((Room::Worker, (round + 1) % 2)).lock().await;
        heir.crash();
        holder.crash();
        holder.start(None);
        let held = house.model.hold();
        let asked = house.model.calls().len();
        for customer in round * HELD..(round + 1) * HELD {
            say(&house, &diary, customer).await;
        }
        house.model.wait_for_calls(asked + HELD).await.expect("every turn is in hand");
        heir.start(None);
        eventually("the heir is ready", async || heir.is_ready(&house.http).await).await;
        let killed = SystemTime::now();
        holder.crash();
        eventually("every turn is taken over", async || house.model.calls().len() == asked + 2 * HELD).await;
        held.release();
        let again = house.model.calls().split_off(asked + HELD);
        seen.extend(again.iter().map(|call| call.at.duration_since(killed).unwrap_or_default().as_secs_f64()));
        judged(&house, &diary).await;
    }
    seen.sort_by(f64::total_cmp);
    eprintln!(
        "takeover after SIGKILL of the lease holder, lease {} s, n = {}: min {:.1} s, median {:.1} s, max {:.1} s",
        lease.as_secs(),
        seen.len(),
        seen[0],
        percentile(&seen, 0.5),
        seen[seen.len() - 1],
    );
    let most = (lease + PROMISED).as_secs_f64();
    assert!(seen[seen.len() - 1] <= most, "the slowest takeover took longer than {most} s: {seen:?}");
}

/// The same load twice: in peace, and while every worker is restarted.
async fn rolling_restart() {
    const RATE: f64 = 4.0;
    const EACH: usize = 160;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = house(folder.path(), 1, 3, &[]).await;
    house.model.always(ModelBehaviour::Delay(Duration::from_millis(400)));
    house.open().await;
    let diary = Arc::new(Diary::default());
    drip(&house, &diary, 0..20, RATE).await;
    judged(&house, &diary).await;
    drip(&house, &diary, 20..20 + EACH, RATE).await;
    judged(&house, &diary).await;
    let restarting = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let begun = Instant::now();
        inflict::rolling(&house).await;
        begun.elapsed()
    };
    let ((), took) = tokio::join!(drip(&house, &diary, 20 + EACH..20 + 2 * EACH, RATE), restarting);
    let verdict = judged(&house, &diary).await;
    let (calm, rolled) =
        (latencies(&house, &diary, 20..20 + EACH), latencies(&house, &diary, 20 + EACH..20 + 2 * EACH));
    let added = percentile(&rolled, 0.99) - percentile(&calm, 0.99);
    eprintln!(
        "rolling restart of 3 workers at {RATE} messages/s (it took {:.1} s): {} messages, {} lost, {} doubled, {} unknown; \
         from accepted to received by the customer: median {:.2} s in peace, {:.2} s while restarting; p99 {:.2} s and \
         {:.2} s, {added:+.2} s",
        took.as_secs_f64(),
        verdict.messages,
        verdict.lost,
        verdict.doubled,
        verdict.unknown,
        percentile(&calm, 0.5),
        percentile(&rolled, 0.5),
        percentile(&calm, 0.99),
        percentile(&rolled, 0.99),
    );
    assert!(added <= PROMISED.as_secs_f64(), "a rolling restart added {added:.2} s at p99");
}

/// From the provider's 200 to the customer's phone, in seconds, in order of size.
fn latencies(house: &House, diary: &Diary, customers: std::ops::Range<usize>) -> Vec<f64> {
    let arrived: HashMap<String, i64> =
        house.graph.sends().into_iter().map(|send| (send.to.clone(), micros(send.at))).collect();
    let waits = diary.told().into_iter().filter_map(|told| {
        let (customer, _) = told.message.filter(|(customer, _)| customers.contains(customer))?;
        Some((arrived.get(&name(customer))? - told.accepted_at?.0) as f64 / 1e6)
    });
    let mut waits: Vec<f64> = waits.collect();
    waits.sort_by(f64::total_cmp);
    waits
}

/// Measures what the deployment can take, then offers it twice as much.
async fn twice_the_load() {
    const POURED: usize = 240;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let house = house(folder.path(), 1, 2, &[("WORKER_CONCURRENCY", "4")]).await;
    house.model.always(ModelBehaviour::Delay(Duration::from_millis(500)));
    house.open().await;
    let diary = Arc::new(Diary::default());
    let begun = Instant::now();
    let (memory, ()) = watched(&house, drip(&house, &diary, 0..POURED, 60.0)).await;
    let (more, _) = watched(&house, judged(&house, &diary)).await;
    let capacity = POURED as f64 / begun.elapsed().as_secs_f64();
    let ordinary = largest(memory, more);
    let offered = (capacity * 2.0 * 30.0) as usize;
    let begun = Instant::now();
    let (memory, ()) = watched(&house, drip(&house, &diary, POURED..POURED + offered, capacity * 2.0)).await;
    let poured = begun.elapsed();
    let (more, verdict) = watched(&house, judged(&house, &diary)).await;
    let doubled = largest(memory, more);
    eprintln!(
        "capacity with 8 turn slots and a model of 0.5 s: {capacity:.1} messages/s. Twice that for {:.0} s: {offered} \
         messages, all accepted and answered {:.0} s after the last; answers {:?}; {} lost, {} doubled",
        poured.as_secs_f64(),
        (begun.elapsed() - poured).as_secs_f64(),
        diary.answers(),
        verdict.lost,
        verdict.doubled,
    );
    for (place, most) in &doubled {
        let before = ordinary.get(place).copied().unwrap_or(0);
        eprintln!("  most memory of {place:?}: {} MiB at capacity, {} MiB at twice it", before / 1024, most / 1024);
        assert!(*most <= before + GROWTH, "{place:?} grew from {before} to {most} KiB");
    }
}

type Memory = HashMap<super::schedule::Place, u64>;

/// Runs something and watches how much memory each process takes at most, in KiB.
async fn watched<T>(house: &House, work: impl Future<Output = T>) -> (Memory, T) {
    let mut most = Memory::new();
    tokio::pin!(work);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            done = &mut work => return (most, done),
            _ = tick.tick() => for (place, slot) in &house.slots {
                let id = slot.lock().await.id();
                let now = id.map_or(0, resident);
                let known = most.entry(*place).or_default();
                *known = now.max(*known);
            },
        }
    }
}

fn largest(mut one: Memory, other: Memory) -> Memory {
    for (place, memory) in other {
        let known = one.entry(place).or_default();
        *known = memory.max(*known);
    }
    one
}

fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = ((sorted.len() as f64 - 1.0) * part).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Date and machine, in one line.
pub(crate) fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{} on {} ({build} build), {cores} cores, Linux {}, load average {}",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("uname", &["-r"]),
        load(),
    )
}
