//! Faults, inflicted: each for its while, and every one undone at its end. A process has at most one fault of its own
//! at a time; what concerns a server waits for nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::Micros;
use nix::sys::signal::Signal;
use tokio::task::{JoinSet, spawn_blocking};

use super::Room;
use super::customers::Moods;
use super::house::{House, Pulse};
use super::proxy::Weather;
use super::schedule::{Fault, Hand, Link, Mood, Schedule, WORKERS};
use super::takeovers::Takeovers;

/// How long an armed process may take to come to its step; then it goes on unarmed.
const ARMED: Duration = Duration::from_secs(12);
/// What a process may take to end after SIGTERM, beyond its drain.
const DRAIN: Duration = Duration::from_secs(30);
/// Between two sessions ended by the server.
const POLL: Duration = Duration::from_millis(20);

/// A fault that was inflicted.
#[derive(Clone, Debug)]
pub(crate) struct Inflicted {
    pub(crate) kind: &'static str,
    /// When all was as before, apart from what is still to be recovered from.
    pub(crate) over: Micros,
    /// False where nothing fell: a step that no message came to.
    pub(crate) struck: bool,
}

/// Inflicts a schedule's faults at their times; returns once all are over.
pub(crate) async fn run(house: &Arc<House>, moods: &Arc<Moods>, schedule: &Schedule, begun: Instant) -> Vec<Inflicted> {
    let (mut tasks, mut inflicted) = (JoinSet::new(), Vec::new());
    for (at, fault) in schedule.faults.clone() {
        tokio::time::sleep_until((begun + at).into()).await;
        let (house, moods) = (house.clone(), moods.clone());
        tasks.spawn(async move {
            let struck = inflict(&house, &moods, fault).await;
            Inflicted { kind: fault.kind(), over: Micros::wall(), struck }
        });
        while let Some(Ok(one)) = tasks.try_join_next() {
            inflicted.push(one);
        }
    }
    while let Some(one) = tasks.join_next().await {
        inflicted.push(one.expect("a fault"));
    }
    inflicted
}

/// Lays the hands of a schedule on its floors.
pub(crate) async fn lay_hands(house: &Arc<House>, takeovers: &Arc<Takeovers>, schedule: &Schedule, begun: Instant) {
    let mut tasks = JoinSet::new();
    for (at, Hand { customer, takes }) in schedule.hands.clone() {
        tokio::time::sleep_until((begun + at).into()).await;
        let (house, takeovers, seed) = (house.clone(), takeovers.clone(), schedule.seed);
        tasks.spawn(async move { takeovers.hand(&house, seed, customer, takes).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a hand");
    }
}

/// Whether anything fell.
async fn inflict(house: &Arc<House>, moods: &Arc<Moods>, fault: Fault) -> bool {
    match fault {
        Fault::Kill(place, down) => {
            let mut slot = house.slot(place).lock().await;
            slot.crash();
            tokio::time::sleep(down).await;
            slot.start(None);
        }
        Fault::Stop(place, long) => {
            let slot = house.slot(place).lock().await;
            slot.signal(Signal::SIGSTOP);
            tokio::time::sleep(long).await;
            slot.signal(Signal::SIGCONT);
        }
        Fault::Fall { .. } => return fall(house, fault).await,
        Fault::Rolling => rolling(house).await,
        Fault::Cut(link) => on_link(house, link, |proxy| proxy.cut()).await,
        Fault::HalfOpen(link) => on_link(house, link, |proxy| proxy.half_open()).await,
        Fault::Swallow(link, long) => weather(house, link, Weather::Swallowing, long).await,
        Fault::Refuse(link, long) => {
            on_link(house, link, |proxy| proxy.cut()).await;
            weather(house, link, Weather::Refusing, long).await;
        }
        Fault::Slow(link, long) => weather(house, link, Weather::Slow(Duration::from_millis(60)), long).await,
        Fault::Model(mood, long) => moody(&moods.model, mood, long).await,
        Fault::Provider(mood, long) => moody(&moods.provider, mood, long).await,
        Fault::BrokerRestart(_)
        | Fault::BrokerStall(_)
        | Fault::BrokerCloses
        | Fault::Alarm(_)
        | Fault::ConsumerTimeout(_)
        | Fault::StoreRestart(_)
        | Fault::StoreStall(_)
        | Fault::StoreKicks => on_servers(house, fault).await,
    }
    true
}

async fn moody(which: &std::sync::Mutex<Option<Mood>>, mood: Mood, long: Duration) {
    let set = |mood| *which.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = mood;
    set(Some(mood));
    tokio::time::sleep(long).await;
    set(None);
}

async fn on_link(house: &House, (place, side): Link, touch: impl FnOnce(&super::proxy::Proxy)) {
    if let Some(proxy) = house.relay(place, side) {
        touch(proxy);
    }
}

async fn weather(house: &House, (place, side): Link, weather: Weather, long: Duration) {
    let Some(proxy) = house.relay(place, side) else { return };
    proxy.set(weather);
    tokio::time::sleep(long).await;
    proxy.set(Weather::Clear);
}

/// Starts a process armed and waits until it falls; afterwards an unarmed one is in its place.
async fn fall(house: &House, fault: Fault) -> bool {
    let Fault::Fall { place, step, nth, stopped } = fault else { return false };
    let mut slot = house.slot(place).lock().await;
    slot.crash();
    let how = if stopped.is_some() { "stop" } else { "kill" };
    slot.start(Some(&format!("{step}={how}@{nth}")));
    let begun = Instant::now();
    let pulse = loop {
        let pulse = slot.pulse();
        if pulse != Pulse::Runs || begun.elapsed() > ARMED {
            break pulse;
        }
        tokio::time::sleep(POLL).await;
    };
    match (pulse, stopped) {
        (Pulse::Stopped, Some(long)) => {
            tokio::time::sleep(long).await;
            // It goes on, with nothing armed any more.
            slot.signal(Signal::SIGCONT);
        }
        (Pulse::Gone, _) => slot.start(None),
        (Pulse::Runs | Pulse::Stopped, _) => {
            slot.crash();
            slot.start(None);
        }
    }
    pulse != Pulse::Runs
}

/// Every worker is told to end, and the next one only after its successor says that it is ready.
pub(crate) async fn rolling(house: &House) {
    let _alone = house.quiet.lock().await;
    for number in 0..WORKERS {
        let Some(slot) = house.slots.get(&(Room::Worker, number)) else { continue };
        let mut slot = slot.lock().await;
        slot.end(DRAIN).await;
        slot.start(None);
        let begun = Instant::now();
        while !slot.is_ready(&house.http).await && begun.elapsed() < ARMED {
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn on_servers(house: &House, fault: Fault) {
    let Some(servers) = &house.servers else { return };
    let (broker, postgres) = (servers.broker.clone(), servers.postgres.clone());
    // One thing at a time with a server: what is killed cannot be stalled as well.
    let _one = house.one_server.lock().await;
    match fault {
        Fault::BrokerRestart(down) => {
            blocking(move || broker.stop()).await;
            tokio::time::sleep(down).await;
            let broker = servers.broker.clone();
            blocking(move || broker.start()).await;
        }
        Fault::BrokerStall(long) => {
            broker.freeze(true);
            tokio::time::sleep(long).await;
            broker.freeze(false);
        }
        Fault::BrokerCloses => {
            let vhost = servers.vhost.name.clone();
            blocking(move || broker.ctl(&["close_all_connections", "--vhost", &vhost, "a fault"])).await;
        }
        Fault::Alarm(long) => {
            let again = broker.clone();
            blocking(move || broker.alarm(true)).await;
            tokio::time::sleep(long).await;
            blocking(move || again.alarm(false)).await;
        }
        Fault::ConsumerTimeout(long) => {
            let again = broker.clone();
            // What is out while the store is away is not acked in time.
            blocking(move || broker.eval("application:set_env(rabbit, consumer_timeout, 1000).")).await;
            postgres.freeze(true);
            tokio::time::sleep(long).await;
            postgres.freeze(false);
            blocking(move || again.eval("application:set_env(rabbit, consumer_timeout, 1800000).")).await;
        }
        Fault::StoreRestart(down) => {
            let again = postgres.clone();
            blocking(move || postgres.stop()).await;
            tokio::time::sleep(down).await;
            blocking(move || again.start()).await;
        }
        Fault::StoreStall(long) => {
            postgres.freeze(true);
            tokio::time::sleep(long).await;
            postgres.freeze(false);
        }
        Fault::StoreKicks => {
            house.witness.end_sessions().await;
        }
        _ => {}
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) {
    spawn_blocking(work).await.expect("a server obeys");
}
