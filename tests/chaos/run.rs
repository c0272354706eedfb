//! One run of one seed: build, let customers speak while faults come, wait until all is settled, judge.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::customers::{self, Diary, Moods};
use super::file;
use super::house::House;
use super::inflict;
use super::oracle::{self, Evidence, Verdict};
use super::schedule::{Schedule, Size};
use super::takeovers::Takeovers;
use super::witness::Unsettled;
use crate::stack::Doors;

/// How long after the last fault everything may take to settle. Holds back off for up to a minute.
const SETTLES: Duration = Duration::from_secs(150);

/// Runs a seed and tells what became of it. The folder with all logs stays where a promise was broken.
pub(crate) async fn run(seed: u64, size: Size, doors: Doors) -> Verdict {
    let schedule = Schedule::draw(seed, size, doors);
    let folder = tempfile::Builder::new().prefix(&format!("handrail-chaos-{seed}-")).disable_cleanup(true).tempdir();
    let folder: PathBuf = folder.expect("a temporary folder").path().to_owned();
    eprintln!("{doors:?} in {}: {schedule}", folder.display());
    let house = Arc::new(House::build(doors.into(), &file(size.lease), &folder, spools(seed, doors)).await);
    let (diary, moods, takeovers) =
        (Arc::new(Diary::default()), Arc::new(Moods::default()), Arc::new(Takeovers::default()));
    customers::mannered(&house, &moods, seed);
    let begun = Instant::now();
    let reporter = tokio::spawn(customers::report(house.clone(), diary.clone(), seed));
    let (_, inflicted, _) = tokio::join!(
        customers::speak(&house, &diary, &schedule, begun),
        inflict::run(&house, &moods, &schedule, begun),
        inflict::lay_hands(&house, &takeovers, &schedule, begun),
    );
    let (settled, took) = settle(&house, &diary).await;
    reporter.abort();
    let _ended = reporter.await;
    // A status that came in after all had settled is a moment behind its 200.
    let settled = settled.and(settle(&house, &diary).await.0);
    let told = diary.told();
    let testimony = house.witness.testimony().await.expect("the store is there again");
    let arrivals = house.graph.sends();
    let evidence = Evidence { told, arrivals, testimony, taken: takeovers.taken(), inflicted };
    let mut verdict = oracle::judge(&evidence);
    verdict.settled_in = took;
    verdict.refused_hands = takeovers.failed();
    verdict.answers = diary.answers().into_iter().collect();
    if let Err(left) = settled {
        verdict.violations.push(format!("after {} s there was left: {left:?}", SETTLES.as_secs()));
    }
    verdict.violations.extend(ledger(&house).await);
    tell(&schedule, &verdict, &evidence, &folder);
    if verdict.violations.is_empty() && size.forgets {
        drop(house);
        // What a dying server still holds open is swept with the rest of the temporary folder.
        let _swept = std::fs::remove_dir_all(&folder);
    }
    verdict
}

/// Every other seed on servers has ingresses with a spool.
fn spools(seed: u64, doors: Doors) -> bool {
    seed.is_multiple_of(2) && doors == Doors::Servers
}

/// Waits until the store has all that was accepted and nothing of it is left to do, three times in a row: what still
/// lies in the queue is not in the store, and a status may still come in.
async fn settle(house: &House, diary: &Diary) -> (Result<(), Unsettled>, Duration) {
    let begun = Instant::now();
    let (mut calm, mut left) = (0, Unsettled::default());
    while calm < 3 {
        match unsettled(house, diary).await {
            Ok(now) if now.is_nothing() => calm += 1,
            Ok(now) => (calm, left) = (0, now),
            Err(_) => calm = 0,
        }
        if begun.elapsed() > SETTLES {
            return (Err(left), begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    (Ok(()), begun.elapsed())
}

/// What is on its way: in the queue first, for an event leaves it by coming into the store.
async fn unsettled(house: &House, diary: &Diary) -> sqlx::Result<Unsettled> {
    let accepted = diary.told().into_iter().filter(|one| one.accepted.is_some());
    let known: HashSet<String> = house.witness.events().await?.into_iter().map(|event| event.id).collect();
    let queued = accepted.filter(|one| !known.contains(&one.event)).count();
    Ok(Unsettled { queued, ..house.witness.unsettled().await? })
}

/// What the operator's own ledger has to complain of.
async fn ledger(house: &House) -> Option<String> {
    let (code, printed, said) = house.handrail(&["ledger", "--json"]).await;
    let ledger: Value = serde_json::from_str(&printed).unwrap_or_default();
    let pending = ledger["pending"].as_i64();
    (code != 0 || pending != Some(0)).then(|| format!("P2: `handrail ledger` ends with {code}: {printed} {said}"))
}

/// Keeps what the judge saw beside the logs, and says where.
fn tell(schedule: &Schedule, verdict: &Verdict, evidence: &Evidence, folder: &std::path::Path) {
    let mut words = format!("{schedule}");
    for violation in &verdict.violations {
        // Writing into a String cannot fail.
        let _written = writeln!(words, "VIOLATION {violation}");
    }
    let _written = std::fs::write(folder.join("verdict.txt"), &words);
    let _written = std::fs::write(folder.join("evidence.txt"), evidence.lines().join("\n"));
    if !verdict.violations.is_empty() {
        eprintln!("{words}the logs are in {}", folder.display());
    }
}
