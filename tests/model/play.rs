//! Seeds to schedules, schedules to threads, and a broken promise to the shortest schedule that breaks it.
//!
//! A seed is a schedule: the same one every time. The runtime's clock stands still but where the schedule moves it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::actions::{Schedule, schedule};
use super::variants::Variant;
use super::world::{Played, World, locked};

/// As many threads as the machine that the time budget speaks of has cores.
const THREADS: u64 = 2;
/// How many shorter schedules are tried for a broken promise.
const SHRINKS: u32 = 600;

/// A promise that a schedule broke.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) seed: u64,
    pub(super) promise: String,
    /// The shortest schedule found that breaks one, step by step.
    pub(super) story: Vec<String>,
}

/// What a campaign of schedules came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) schedules: u64,
    pub(super) played: Played,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) found: Option<Found>,
    pub(super) took: Duration,
    /// How often a broken variant's text was used.
    pub(super) swapped: u64,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.count(&other.played);
        self.swapped += other.swapped;
        for (kind, times) in other.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        let first = [self.found.take(), other.found].into_iter().flatten().min_by_key(|found| found.seed);
        self.found = first;
    }

    fn count(&mut self, played: &Played) {
        self.played.steps += played.steps;
        self.played.events += played.events;
        self.played.sends += played.sends;
        self.played.unknowns += played.unknowns;
        self.played.late += played.late;
        self.played.take_overs += played.take_overs;
    }

    /// The table that `make model` prints.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        let violations = u64::from(self.found.is_some());
        let mut row = |name: &str, value: u64| {
            let _infallible = writeln!(table, "{name:<28} {value:>12}");
        };
        row("schedules", self.schedules);
        row("steps", self.played.steps);
        row("events", self.played.events);
        row("sends begun", self.played.sends);
        row("sends recorded unknown", self.played.unknowns);
        row("messages called late", self.played.late);
        row("take-overs", self.played.take_overs);
        for (kind, times) in &self.faults {
            row(&format!("fault: {kind}"), *times);
        }
        row("violations", violations);
        row("seconds", self.took.as_secs());
        table
    }

    /// Fails with all there is to know of a broken promise.
    pub(super) fn expect_kept(&self) {
        if let Some(found) = &self.found {
            let Found { seed, promise, story } = found;
            panic!(
                "seed {seed} breaks a promise: {promise}\n{}\nagain: MODEL_SEED={seed} cargo test -p tests model::one_seed -- --nocapture",
                story.join("\n")
            );
        }
    }
}

/// The schedule of a seed, ready to be shrunk.
fn tree(seed: u64) -> impl ValueTree<Value = Schedule> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    schedule().new_tree(&mut runner).expect("a schedule")
}

/// Runs something in a world of its own, under a clock that only the schedule moves.
fn in_world<T>(variant: Variant, run: impl AsyncFnOnce(&mut World) -> T) -> T {
    static WORLDS: AtomicU64 = AtomicU64::new(0);
    let name = format!("model-{}", WORLDS.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        // A paused clock runs ahead whenever nothing is runnable, unless something blocks; the store's own threads are not seen.
        let (release, held) = mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv().is_ok());
        let mut world = World::new(&name, variant).await;
        let result = run(&mut world).await;
        drop(release);
        holding.await.expect("held to the end");
        result
    })
}

/// Plays every seed of a range until one breaks a promise.
pub(super) fn campaign(variant: Variant, seeds: Range<u64>, shrinks: bool) -> Report {
    let begun = Instant::now();
    let (next, over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let whole = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let part = in_world(variant, async |world| play(world, &next, seeds.end, &over, shrinks).await);
                locked(&whole).add(part);
            });
        }
    });
    let mut report = locked(&whole).clone();
    report.took = begun.elapsed();
    report
}

async fn play(world: &mut World, next: &AtomicU64, end: u64, over: &AtomicBool, shrinks: bool) -> Report {
    let mut report = Report::default();
    while !over.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        report.schedules += 1;
        let mut tree = tree(seed);
        match world.play(&tree.current()).await {
            Ok(played) => report.count(&played),
            Err(promise) => {
                over.store(true, Ordering::Relaxed);
                report.faults = world.stage.faults().into_iter().collect();
                let story = if shrinks { shrink(world, &mut tree).await } else { Vec::new() };
                report.found = Some(Found { seed, promise, story });
            }
        }
    }
    if report.found.is_none() {
        report.faults = world.stage.faults().into_iter().collect();
    }
    report.swapped = world.stage.swapped();
    report
}

/// The story of the shortest schedule found that still breaks a promise.
async fn shrink(world: &mut World, tree: &mut impl ValueTree<Value = Schedule>) -> Vec<String> {
    let mut shortest = tree.current();
    for _ in 0..SHRINKS {
        let smaller = tree.simplify();
        if !smaller {
            break;
        }
        loop {
            if world.play(&tree.current()).await.is_err() {
                shortest = tree.current();
                break;
            }
            if !tree.complicate() {
                break;
            }
        }
    }
    story(world, &shortest).await
}

async fn story(world: &mut World, schedule: &Schedule) -> Vec<String> {
    world.story = Some(Vec::new());
    let result = world.play(schedule).await;
    let mut story = world.story.take().unwrap_or_default();
    if let Err(promise) = result {
        story.push(format!("  and so: {promise}"));
        story.push(format!("{schedule:?}"));
    }
    story
}

/// Plays one schedule.
pub(super) fn keeps(schedule: &Schedule) -> Result<(), String> {
    in_world(Variant::None, async |world| world.play(schedule).await.map(drop))
}

/// What happens in one seed, in words, and whether its promises hold.
pub(super) fn tell(seed: u64) -> (Vec<String>, Option<String>) {
    in_world(Variant::None, async |world| {
        let schedule = tree(seed).current();
        let told = story(world, &schedule).await;
        let promise = world.play(&schedule).await.err();
        (told, promise)
    })
}
