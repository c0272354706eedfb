//! The load: signed webhooks shaped like WhatsApp's, prepared before the clock starts, over kept-alive connections.
//!
//! A connection writes prepared bytes and reads until the answer is whole, no more, so that the load takes as little
//! as it can of the cores that it shares with what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use common::config::{Secret, Source};
use common::domain::{Micros, Provider, SourceName};
use common::providers::samples::{self, Text};
use common::signature::Scheme;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The app secret that every request is signed with.
pub(crate) const SECRET: &str = "an-app-secret-that-is-long-enough-for-a-benchmark";

/// A whole request, ready to be written.
pub(crate) struct Request {
    /// The customer who says it.
    pub(crate) from: String,
    bytes: Vec<u8>,
}

/// What a closed loop has seen within its window.
pub(crate) struct Pressure {
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
}

/// Requests of so many customers, one message each, all different.
pub(crate) fn requests(count: usize) -> anyhow::Result<Vec<Request>> {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let name = SourceName::parse("whatsapp").context("a source name")?;
    let scheme = common::providers::scheme(&Source::bare(name, Provider::Whatsapp)).context("Meta's scheme")?;
    let first = LAST.fetch_add(count, Ordering::Relaxed);
    (first..first + count).map(|number| request(&scheme, number)).collect()
}

fn request(scheme: &Scheme, number: usize) -> anyhow::Result<Request> {
    // Longer than any number of this country code, so nobody's.
    let from = format!("15550100{number:08}");
    let id = format!("wamid.HBgLMTU1NTAxMDAwMDAVAgASGBQzQTdCM0{number:016}");
    let texts =
        [Text { id: &id, from: &from, body: "Hello, do you have the blue shirt in large, and what is shipping?" }];
    let body = samples::whatsapp_texts(&texts, Micros::wall());
    let signed = common::signature::sign(scheme, &Secret::new(SECRET), body.as_bytes(), "", Micros::wall())?;
    let mut head = "POST /webhooks/whatsapp HTTP/1.1\r\nHost: localhost\r\nUser-Agent: facebookexternalua\r\n\
                    Accept: */*\r\nContent-Type: application/json\r\n"
        .to_owned();
    for (name, value) in signed {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    Ok(Request { from, bytes: head.into_bytes() })
}

/// One kept-alive connection.
struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(1024) })
    }

    /// Posts a request; an error unless it is accepted.
    async fn post(&mut self, request: &Request) -> anyhow::Result<()> {
        self.stream.write_all(&request.bytes).await?;
        self.answer.clear();
        while !whole(&self.answer)? {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the connection was closed");
        }
        if !self.answer.starts_with(b"HTTP/1.1 200") {
            bail!("not accepted: {}", String::from_utf8_lossy(&self.answer));
        }
        Ok(())
    }
}

/// Whether an answer with a Content-Length is all there.
fn whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without a length")?.trim().parse()?;
    Ok(answer.len() >= end + 4 + length)
}

/// As many requests as `connections` can get answered within `window`, after as long a tenth of it to warm up.
pub(crate) async fn press(
    address: SocketAddr,
    connections: usize,
    requests: &Arc<Vec<Request>>,
    window: Duration,
) -> anyhow::Result<Pressure> {
    let next = Arc::new(AtomicUsize::new(0));
    let from = Instant::now() + window / 10 + Duration::from_millis(200);
    let until = from + window;
    let mut lines = JoinSet::new();
    for _ in 0..connections {
        let (requests, next) = (requests.clone(), next.clone());
        lines.spawn(async move {
            let mut line = Line::open(address).await?;
            let mut seen = Vec::with_capacity(8 * 1024);
            while Instant::now() < until {
                let request =
                    requests.get(next.fetch_add(1, Ordering::Relaxed)).context("too few requests prepared")?;
                let begun = Instant::now();
                line.post(request).await?;
                let ended = Instant::now();
                if begun >= from && ended <= until {
                    seen.push((ended - begun).as_secs_f64() * 1_000.0);
                }
            }
            anyhow::Ok(seen)
        });
    }
    let mut seen = Vec::new();
    while let Some(line) = lines.join_next().await {
        seen.extend(line??);
    }
    seen.sort_by(f64::total_cmp);
    let per_second = seen.len() as f64 / window.as_secs_f64();
    Ok(Pressure { per_second, p99_ms: crate::figures::percentile(&seen, 0.99) })
}

/// When each customer's request was accepted.
pub(crate) type Accepted = Vec<(String, SystemTime)>;

/// Posts every request over `connections`, as fast as they are answered.
pub(crate) async fn pour(address: SocketAddr, connections: usize, requests: Vec<Request>) -> anyhow::Result<Accepted> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let mut lines = JoinSet::new();
    for _ in 0..connections {
        let (requests, next) = (requests.clone(), next.clone());
        lines.spawn(async move {
            let (mut line, mut accepted) = (Line::open(address).await?, Accepted::new());
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                line.post(request).await?;
                accepted.push((request.from.clone(), SystemTime::now()));
            }
            anyhow::Ok(accepted)
        });
    }
    let mut accepted = Accepted::new();
    while let Some(line) = lines.join_next().await {
        accepted.extend(line??);
    }
    Ok(accepted)
}

/// Posts the requests one after the other at a steady rate.
pub(crate) async fn drip(address: SocketAddr, per_second: u32, requests: Vec<Request>) -> anyhow::Result<Accepted> {
    let (mut line, mut accepted) = (Line::open(address).await?, Accepted::new());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
    for request in requests {
        tick.tick().await;
        line.post(&request).await?;
        accepted.push((request.from, SystemTime::now()));
    }
    Ok(accepted)
}
