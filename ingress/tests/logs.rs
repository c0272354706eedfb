//! What an ingress logs, and what it never does.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Method;
use common::providers::samples;
use tracing_subscriber::EnvFilter;

use crate::stage::{Mood, NOW, header, request, stage};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_holds_a_token_a_secret_a_number_a_provider_id_or_a_text() {
    let lines = Lines::default();
    let writer = lines.clone();
    // For the whole process: a subscriber of one thread misses what other threads have met first. What the other
    // tests log meanwhile must hold nothing private either.
    let filter = EnvFilter::new("off,common=trace,face=trace,ingress=trace");
    let lines_of_all = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    lines_of_all.with_writer(move || writer.clone()).init();
    let stage = stage(Mood::Confirm).await;
    let body = samples::WHATSAPP_TEXT;
    stage.signed("whatsapp", body.as_bytes()).await;
    let wrong = [header("x-hub-signature-256", &format!("sha256={}", "ab".repeat(32)))];
    stage.post("whatsapp", &wrong, body).await;
    stage.post("a-made-up-name", &wrong, body).await;
    for token in ["a-handshake-token-of-32-characters!", "a-wrong-guess"] {
        let path =
            format!("/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=its-challenge&hub.verify_token={token}");
        stage.send(request(Method::GET, &path, &[], Body::empty())).await;
    }
    stage.queue.feel(Mood::Disconnected);
    stage.signed("whatsapp", body.as_bytes()).await;
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for expected in [
        "webhook{source=whatsapp request.id=",
        "event queued",
        "signature_mismatch",
        "unknown_source",
        "handshake answered",
        "queue_unavailable",
    ] {
        assert!(logged.contains(expected), "{expected} is not in\n{logged}");
    }
    let signature = &stage.proof("whatsapp", 0, body.as_bytes(), NOW)[0].1;
    for private in
        ["token", "wrong-guess", "its-challenge", "app-secret", "15550100", "wamid", "Lima", "made-up", &signature[7..]]
    {
        assert!(!logged.contains(private), "{private} is in\n{logged}");
    }
}
