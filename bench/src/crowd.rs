//! Two thousand conversations in one worker, whose model takes its time.

use std::time::Duration;

use stand_ins::ModelBehaviour;

use crate::deployment::{Deployment, Doors};
use crate::figures::{percentile, table, verdict};
use crate::load;
use crate::say;
use crate::turns::{answered, latencies};

const CROWD: usize = 2_000;
const MODEL: Duration = Duration::from_secs(2);
/// A rate that leaves the two cores of a small machine some air, so that what is seen is waiting and not work.
const STEADY_RATE: u32 = 20;
const STEADY: usize = 100;
const CONNECTIONS: usize = 16;
const MEMORY_TARGET: f64 = 300.0;
const SLOTS: &str = "2000";
/// The same, and one for each customer who comes beside the crowd.
const SLOTS_AND_MORE: &str = "2100";

/// Memory and waiting, with 2,000 conversations in flight at once and with a model that takes 2 s.
pub(crate) async fn crowd() -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for doors in [Doors::Embedded, Doors::Servers] {
        say(&format!("{CROWD} conversations: {}", doors.name()));
        rows.push(measure(doors).await?);
    }
    let head = [
        "doors",
        "most model calls open at once",
        "peak resident memory, MiB",
        "target ≤ 300",
        "all held: 200 → send of one more customer, median / p99 / most ms",
        "burst: 200 → send, p50 / p99 / most s",
        "open at once in the burst",
        "turns/s in the burst",
    ];
    Ok(format!(
        "### {CROWD} conversations in flight in one worker\n\nFirst, with {SLOTS_AND_MORE} turn slots, {CROWD} conversations \
         are held in the model while {STEADY} more customers come at {STEADY_RATE}/s and are answered at once; then, in \
         a fresh deployment with {SLOTS} slots, {CROWD} customers write in one burst to a model that takes {} s. Memory \
         is the larger peak of the two.\n\n{}",
        MODEL.as_secs(),
        table(&head, &rows)
    ))
}

async fn measure(doors: Doors) -> anyhow::Result<Vec<String>> {
    let (held, held_memory, beside) = beside_held(doors).await?;
    let burst = burst(doors).await?;
    let memory = held_memory.max(burst.memory);
    let three = |sorted: &[f64], unit: f64, digits: usize| {
        let shares = [0.5, 0.99, 1.0].map(|share| format!("{:.digits$}", percentile(sorted, share) / unit));
        shares.join(" / ")
    };
    Ok(vec![
        doors.name().to_owned(),
        held.to_string(),
        format!("{memory:.0}"),
        verdict(memory <= MEMORY_TARGET),
        three(&beside, 1.0, 1),
        three(&burst.latencies, 1_000.0, 2),
        burst.open.to_string(),
        format!("{:.0}", CROWD as f64 / (percentile(&burst.latencies, 1.0) / 1_000.0)),
    ])
}

/// Most calls open at once, the worker's peak, and how long customers waited who came beside all those.
async fn beside_held(doors: Doors) -> anyhow::Result<(usize, f64, Vec<f64>)> {
    let deployment = Deployment::prepare(doors).await?;
    for _ in 0..CROWD {
        // Far longer than the rest takes; within the model's deadline of 60 s nothing of it comes back.
        deployment.model.next(ModelBehaviour::Hang);
    }
    let ingress = deployment.start("ingress", &[]).await?;
    let worker = deployment.start("worker", &[("WORKER_CONCURRENCY", SLOTS_AND_MORE)]).await?;
    load::pour(ingress.address, CONNECTIONS, load::requests(CROWD)?).await?;
    called(&deployment, CROWD).await?;
    let accepted = load::drip(ingress.address, STEADY_RATE, load::requests(STEADY)?).await?;
    let sends = answered(&deployment.graph, STEADY).await?;
    Ok((deployment.model.most_in_flight(), worker.peak_memory()?, latencies(&accepted, &sends)))
}

async fn called(deployment: &Deployment, count: usize) -> anyhow::Result<()> {
    // Twice the stand-in's own patience, which is for tests.
    if deployment.model.wait_for_calls(count).await.is_err() {
        deployment.model.wait_for_calls(count).await?;
    }
    Ok(())
}

struct Burst {
    memory: f64,
    open: usize,
    latencies: Vec<f64>,
}

async fn burst(doors: Doors) -> anyhow::Result<Burst> {
    let deployment = Deployment::prepare(doors).await?;
    deployment.model.always(ModelBehaviour::Delay(MODEL));
    let ingress = deployment.start("ingress", &[]).await?;
    let worker = deployment.start("worker", &[("WORKER_CONCURRENCY", SLOTS)]).await?;
    let accepted = load::pour(ingress.address, CONNECTIONS, load::requests(CROWD)?).await?;
    let sends = answered(&deployment.graph, CROWD).await?;
    let (memory, open) = (worker.peak_memory()?, deployment.model.most_in_flight());
    Ok(Burst { memory, open, latencies: latencies(&accepted, &sends) })
}
