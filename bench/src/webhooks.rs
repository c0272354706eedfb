//! Webhooks taken in: the ingress beside the bare yardstick on one RabbitMQ, and alone on the embedded queue.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueuePurgeOptions;
use lapin::{Channel, Connection, ConnectionProperties};

use crate::deployment::{self, Deployment, Doors, Process};
use crate::figures::{Rounds, table, verdict};
use crate::load::{self, Request};
use crate::say;

const BROKER_LEVELS: [usize; 3] = [16, 64, 256];
const EMBEDDED_LEVELS: [usize; 2] = [16, 64];
/// How long each measurement lasts.
const WINDOW: Duration = Duration::from_secs(3);
/// More than any window uses up.
const PREPARED: usize = 120_000;
/// Rest after each measurement, in which the broker forgets what it held.
const REST: Duration = Duration::from_millis(400);

const RATE_TARGET: f64 = 0.90;
const TAIL_TARGET: f64 = 1.2;

/// One of the two programs, with a virtual host of its own.
struct Side {
    process: Process,
    queue: &'static str,
    channel: Channel,
    /// Kept open for the channel's sake.
    _connection: Connection,
    /// For each level: requests per second, p99 in milliseconds.
    seen: [(Rounds, Rounds); BROKER_LEVELS.len()],
}

impl Side {
    async fn start(deployment: &Deployment, program: &str, queue: &'static str) -> anyhow::Result<Self> {
        let url = deployment::vhost().await?;
        let process = deployment.start(program, &[("QUEUE_URL", &url)]).await?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Self { process, queue, channel, _connection: connection, seen: Default::default() })
    }

    async fn measure(&mut self, level: usize, requests: &Arc<Vec<Request>>) -> anyhow::Result<()> {
        let pressure = load::press(self.process.address, BROKER_LEVELS[level], requests, WINDOW).await?;
        self.seen[level].0.push(pressure.per_second);
        self.seen[level].1.push(pressure.p99_ms);
        self.channel.queue_purge(self.queue.into(), QueuePurgeOptions::default()).await?;
        tokio::time::sleep(REST).await;
        Ok(())
    }
}

/// The ingress divided by the bare path.
pub(crate) async fn against_bare(rounds: usize) -> anyhow::Result<String> {
    let deployment = Deployment::prepare(Doors::Embedded).await?;
    let mut bare = Side::start(&deployment, "bare", "bare").await?;
    let mut ingress = Side::start(&deployment, "ingress", "handrail.work").await?;
    for round in 0..rounds {
        let requests = Arc::new(load::requests(PREPARED)?);
        for (level, connections) in BROKER_LEVELS.iter().enumerate() {
            say(&format!("ingress and bare: round {}, {connections} connections", round + 1));
            // Who goes first changes, so that a drift of the machine favours neither.
            let (first, second) = if round % 2 == 0 { (&mut bare, &mut ingress) } else { (&mut ingress, &mut bare) };
            first.measure(level, &requests).await?;
            second.measure(level, &requests).await?;
        }
    }
    Ok(compared(&ingress, &bare, rounds))
}

fn compared(ingress: &Side, bare: &Side, rounds: usize) -> String {
    let row = |level: usize| {
        let ((rate, tail), (bare_rate, bare_tail)) = (&ingress.seen[level], &bare.seen[level]);
        let (rates, tails) = (rate.over(bare_rate), tail.over(bare_tail));
        vec![
            BROKER_LEVELS[level].to_string(),
            rate.spread(0),
            bare_rate.spread(0),
            rates.spread(2),
            verdict(rates.median() >= RATE_TARGET),
            tail.spread(1),
            bare_tail.spread(1),
            tails.spread(2),
            verdict(tails.median() <= TAIL_TARGET),
        ]
    };
    let head = [
        "connections",
        "ingress, requests/s",
        "bare, requests/s",
        "ratio",
        "target ≥ 0.90",
        "ingress, p99 ms",
        "bare, p99 ms",
        "ratio",
        "target ≤ 1.2",
    ];
    let rows: Vec<Vec<String>> = (0..BROKER_LEVELS.len()).map(row).collect();
    let window = WINDOW.as_secs();
    format!(
        "### Ingress ÷ bare path, RabbitMQ\n\nMedian (least–most) of {rounds} alternating rounds of {window} s.\n\n{}",
        table(&head, &rows)
    )
}

/// What the ingress takes in on one SQLite file with every answer synced to disk.
pub(crate) async fn embedded(rounds: usize) -> anyhow::Result<String> {
    let mut seen: [(Rounds, Rounds); EMBEDDED_LEVELS.len()] = Default::default();
    for round in 0..rounds {
        let requests = Arc::new(load::requests(PREPARED)?);
        for (level, (rate, tail)) in EMBEDDED_LEVELS.iter().zip(&mut seen) {
            say(&format!("embedded: round {}, {level} connections", round + 1));
            let deployment = Deployment::prepare(Doors::Embedded).await?;
            let ingress = deployment.start("ingress", &[]).await?;
            let pressure = load::press(ingress.address, *level, &requests, WINDOW).await?;
            rate.push(pressure.per_second);
            tail.push(pressure.p99_ms);
        }
    }
    let row =
        |(level, (rate, tail)): (&usize, &(Rounds, Rounds))| vec![level.to_string(), rate.spread(0), tail.spread(1)];
    let rows: Vec<Vec<String>> = EMBEDDED_LEVELS.iter().zip(&seen).map(row).collect();
    let window = WINDOW.as_secs();
    Ok(format!(
        "### Embedded: accepted on SQLite with fsync\n\nMedian (least–most) of {rounds} rounds of {window} s, each on a \
         fresh file.\n\n{}",
        table(&["connections", "accepted/s", "p99 ms"], &rows)
    ))
}
