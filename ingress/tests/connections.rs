//! Slow, long and half-closed connections.

use std::net::SocketAddr;
use std::sync::Arc;

use common::providers::samples;
use common::shutdown::{self, Stopper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::stage::{Mood, NOW, StandIn, stage};

struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    queue: Arc<StandIn>,
    stopper: Stopper,
    ended: JoinHandle<()>,
    /// The sample's request head, without the end of its headers.
    head: String,
}

const BODY: &str = samples::WHATSAPP_TEXT;

async fn running(mood: Mood) -> Running {
    let stage = stage(mood).await;
    let (name, value) = stage.proof("whatsapp", 0, BODY.as_bytes(), NOW).remove(0);
    let head = format!("POST /webhooks/whatsapp HTTP/1.1\r\nhost: x\r\n{name}: {value}\r\n");
    let (public, admin) = (stage.ingress.address(), stage.ingress.admin_address());
    let (stopper, stop) = shutdown::channel();
    let ended = tokio::spawn(stage.ingress.run_until(stop));
    Running { public, admin, queue: stage.queue, stopper, ended, head }
}

/// Sends what is given and reads to the end of the connection.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn a_webhook_comes_in_over_a_connection_whole_or_in_chunks() {
    let running = running(Mood::Confirm).await;
    let whole = format!("{}content-length: {}\r\nconnection: close\r\n\r\n{BODY}", running.head, BODY.len());
    assert!(exchange(running.public, &whole).await.starts_with("HTTP/1.1 200 OK"));
    let (first, second) = BODY.split_at(100);
    let chunks = format!("64\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", second.len());
    let chunked = format!("{}transfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunks}", running.head);
    assert!(exchange(running.public, &chunked).await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(running.queue.kept.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_announced_body_above_the_limit_is_refused_before_it_is_sent() {
    let running = running(Mood::Confirm).await;
    // Only the head is sent: an answer proves that nobody waited for the body.
    let answer = exchange(running.public, &format!("{}content-length: 99999999\r\n\r\n", running.head)).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn more_headers_than_any_provider_sends_are_refused() {
    let running = running(Mood::Confirm).await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = exchange(running.public, &format!("{}{many}content-length: 0\r\n\r\n", running.head)).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn the_private_bind_tells_health_readiness_and_metrics() {
    let running = running(Mood::Confirm).await;
    assert!(get(running.admin, "/healthz").await.ends_with(r#"{"status":"ok"}"#));
    let ready = get(running.admin, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains(r#""queue":"ok""#), "{ready}");
    running.queue.feel(Mood::Disconnected);
    let unready = get(running.admin, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503 ") && unready.contains(r#""queue":"disconnected""#), "{unready}");
    assert!(get(running.admin, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let refused = format!("{}content-length: {}\r\nconnection: close\r\n\r\n{BODY}", running.head, BODY.len());
    assert!(exchange(running.public, &refused).await.starts_with("HTTP/1.1 503 "));
    let metrics = get(running.admin, "/metrics").await;
    assert!(
        metrics.contains(r#"handrail_ingress_rejected_total{source="whatsapp",code="queue_unavailable"}"#),
        "{metrics}"
    );
    assert!(metrics.contains("handrail_ingress_request_seconds_bucket"), "{metrics}");
    assert!(metrics.contains(r#"handrail_door_up{door="queue"} 0"#), "{metrics}");
}

#[tokio::test]
async fn a_drain_finishes_what_has_begun_and_accepts_no_more() {
    let running = running(Mood::Confirm).await;
    let mut begun = TcpStream::connect(running.public).await.unwrap();
    let head = format!("{}content-length: {}\r\nexpect: 100-continue\r\n\r\n", running.head, BODY.len());
    begun.write_all(head.as_bytes()).await.unwrap();
    // The ingress asks for the body: from here on the request has begun.
    let mut go_on = [0; 25];
    begun.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    running.stopper.stop();
    while TcpStream::connect(running.public).await.is_ok() {
        tokio::task::yield_now().await;
    }
    begun.write_all(BODY.as_bytes()).await.unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    running.ended.await.unwrap();
    assert_eq!(running.queue.kept.lock().unwrap().len(), 1);
}
