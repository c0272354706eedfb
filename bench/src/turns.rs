//! What a worker costs around a model that answers at once and a channel that takes everything at once.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::bail;
use stand_ins::{FakeGraphApi, GraphSend};

use crate::deployment::{Deployment, Doors};
use crate::figures::{Rounds, percentile, table};
use crate::load::{self, Accepted};
use crate::say;

/// Messages that wait before the worker starts, one customer each.
const BACKLOG: usize = 600;
/// Messages that come at a steady rate, one customer each.
const STEADY: usize = 100;
const STEADY_RATE: u32 = 20;
const CONNECTIONS: usize = 16;
/// How long everything may take to be answered.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Default)]
struct Seen {
    turns: Rounds,
    median: Rounds,
    tail: Rounds,
}

/// Turns per second from a backlog, and what a turn adds at a steady rate.
pub(crate) async fn overhead(rounds: usize) -> anyhow::Result<String> {
    let doors = [Doors::Embedded, Doors::Servers];
    let mut seen: [Seen; 2] = Default::default();
    for round in 0..rounds {
        for (doors, seen) in doors.iter().zip(&mut seen) {
            say(&format!("worker overhead: round {}, {}", round + 1, doors.name()));
            measure(*doors, seen).await?;
        }
    }
    let row = |(doors, seen): (&Doors, &Seen)| {
        vec![doors.name().to_owned(), seen.turns.spread(0), seen.median.spread(1), seen.tail.spread(1)]
    };
    let rows: Vec<Vec<String>> = doors.iter().zip(&seen).map(row).collect();
    Ok(format!(
        "### Worker overhead, zero-latency model and channel\n\nOne worker process with 64 turn slots, settle window 0. \
         Median (least–most) of {rounds} alternating rounds on fresh stores: a backlog of {BACKLOG} conversations, \
         then {STEADY} new conversations at {STEADY_RATE}/s, each timed from its 200 to its send.\n\n{}",
        table(&["doors", "turns/s", "added latency, median ms", "p99 ms"], &rows)
    ))
}

async fn measure(doors: Doors, seen: &mut Seen) -> anyhow::Result<()> {
    let deployment = Deployment::prepare(doors).await?;
    let ingress = deployment.start("ingress", &[]).await?;
    load::pour(ingress.address, CONNECTIONS, load::requests(BACKLOG)?).await?;
    let worker = deployment.start("worker", &[]).await?;
    let sends = answered(&deployment.graph, BACKLOG).await?;
    let times = || sends.iter().map(|send| send.at);
    let (first, last) = (times().min().unwrap_or(SystemTime::UNIX_EPOCH), times().max().unwrap_or(SystemTime::now()));
    seen.turns.push((BACKLOG - 1) as f64 / last.duration_since(first)?.as_secs_f64());
    let accepted = load::drip(ingress.address, STEADY_RATE, load::requests(STEADY)?).await?;
    let latencies = latencies(&accepted, &answered(&deployment.graph, BACKLOG + STEADY).await?);
    seen.median.push(percentile(&latencies, 0.5));
    seen.tail.push(percentile(&latencies, 0.99));
    drop(worker);
    Ok(())
}

/// Every send, once there are so many.
pub(crate) async fn answered(graph: &FakeGraphApi, count: usize) -> anyhow::Result<Vec<GraphSend>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match graph.wait_for(count).await {
            Ok(sends) => return Ok(sends),
            // The stand-in's own patience is shorter than ours.
            Err(error) if Instant::now() > deadline => bail!("{error}"),
            Err(_) => {}
        }
    }
}

/// Milliseconds from each 200 to its send, sorted. A send that overtook its 200 took none.
pub(crate) fn latencies(accepted: &Accepted, sends: &[GraphSend]) -> Vec<f64> {
    let sent: HashMap<&str, SystemTime> = sends.iter().map(|send| (send.to.as_str(), send.at)).collect();
    let took = |(from, at): &(String, SystemTime)| {
        let sent = sent.get(from.as_str())?;
        Some(sent.duration_since(*at).unwrap_or_default().as_secs_f64() * 1_000.0)
    };
    let mut latencies: Vec<f64> = accepted.iter().filter_map(took).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}
