//! What an ingress refuses, with the exact answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use common::domain::{Kind, Micros};
use common::providers::samples;
use face::Peer;

use crate::stage::{Mood, NOW, Stage, assert_accepted, assert_problem, header, request, stage, stage_with};

const TEXT: &[u8] = samples::WHATSAPP_TEXT.as_bytes();
const META: &str = "x-hub-signature-256";

fn at(seconds: i64) -> Micros {
    Micros::from_seconds(NOW.seconds() + seconds)
}

fn assert_nothing_queued(stage: &Stage) {
    assert_eq!(stage.queue.kept.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_wrong_missing_malformed_or_doubled_signature_is_401_each_with_its_code() {
    let stage = stage(Mood::Confirm).await;
    let good = stage.proof("whatsapp", 0, TEXT, NOW);
    let wrong = format!("sha256={}", "ab".repeat(32));
    for (headers, code) in [
        (vec![], "signature_missing"),
        (vec![header("x-hub-signature", "sha1=00")], "signature_missing"),
        (vec![header(META, &wrong)], "signature_mismatch"),
        (vec![header(META, "sha256=xyz")], "signature_malformed"),
        (vec![header(META, &good[0].1[7..])], "signature_malformed"),
        (vec![good[0].clone(), good[0].clone()], "signature_malformed"),
        (vec![good[0].clone(), header(META, &wrong)], "signature_malformed"),
    ] {
        assert_problem(&stage.post("whatsapp", &headers, TEXT).await, 401, code);
    }
    let mut changed = TEXT.to_vec();
    changed.push(b' ');
    assert_problem(&stage.post("whatsapp", &good, changed).await, 401, "signature_mismatch");
    // Right for one source is nothing to another.
    let answer = stage.post("elevenlabs", &good, TEXT).await;
    assert_problem(&answer, 401, "signature_missing");
    assert_nothing_queued(&stage);
}

#[tokio::test]
async fn a_timestamp_is_accepted_up_to_exactly_the_tolerance_and_refused_beyond_or_absent() {
    let stage = stage(Mood::Confirm).await;
    for (name, body, tolerance) in
        [("partner", samples::STANDARD_WEBHOOKS, 300), ("elevenlabs", samples::ELEVENLABS_TRANSCRIPTION, 1_800)]
    {
        for exact in [-tolerance, 0, tolerance] {
            assert_accepted(&stage.post(name, &stage.proof(name, 0, body.as_bytes(), at(exact)), body).await, 1);
        }
        let old = stage.post(name, &stage.proof(name, 0, body.as_bytes(), at(-tolerance - 1)), body).await;
        assert_problem(&old, 401, "timestamp_too_old");
        let new = stage.post(name, &stage.proof(name, 0, body.as_bytes(), at(tolerance + 1)), body).await;
        assert_problem(&new, 401, "timestamp_too_new");
    }
    let body = samples::STANDARD_WEBHOOKS;
    let mut headers = stage.proof("partner", 0, body.as_bytes(), NOW);
    headers.retain(|(name, _)| name != "webhook-timestamp");
    assert_problem(&stage.post("partner", &headers, body).await, 401, "signature_missing");
    let body = samples::ELEVENLABS_TRANSCRIPTION;
    let signed = stage.proof("elevenlabs", 0, body.as_bytes(), NOW)[0].1.clone();
    let untimed = header("elevenlabs-signature", signed.split_once(',').unwrap().1);
    assert_problem(&stage.post("elevenlabs", &[untimed], body).await, 401, "signature_malformed");
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_with_and_without_content_length() {
    let stage = stage(Mood::Confirm).await;
    let fits = vec![b' '; 1_000];
    assert_accepted(&stage.signed("small", &fits).await, 1);
    let large = vec![b' '; 1_001];
    let mut announced = stage.proof("small", 0, &large, NOW);
    announced.push(header("content-length", "1001"));
    assert_problem(&stage.post("small", &announced, large.clone()).await, 413, "body_too_large");
    let chunks = (0..1_001).map(|_| Ok::<_, std::io::Error>(" "));
    let streamed = Body::from_stream(futures_util::stream::iter(chunks));
    assert_problem(&stage.post("small", &stage.proof("small", 0, &large, NOW), streamed).await, 413, "body_too_large");
    assert_eq!(stage.queued().len(), 1);
}

#[tokio::test]
async fn an_endless_body_is_cut_off_at_the_limit() {
    let stage = stage(Mood::Confirm).await;
    let endless = Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(" ".repeat(100))));
    assert_problem(&stage.post("small", &[], endless).await, 413, "body_too_large");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let stage = stage_with(Mood::Confirm, |config| config.read_timeout = Duration::from_millis(20)).await;
    let silent = Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>());
    assert_problem(&stage.post("small", &[], silent).await, 408, "slow_body");
}

#[tokio::test]
async fn signed_bytes_that_cannot_be_read_are_accepted_and_kept_as_unparsed() {
    for body in
        [b"not json".to_vec(), "[".repeat(10_000).into_bytes(), b"{\"a\":\"\xff\xfe\"}".to_vec(), b"[]".to_vec()]
    {
        let stage = stage(Mood::Confirm).await;
        assert_accepted(&stage.signed("whatsapp", &body).await, 1);
        let (envelope, inbound) = stage.queued().remove(0);
        assert_eq!(envelope.header().kind, Kind::Unparsed);
        let common::domain::Event::Unparsed { raw, .. } = inbound.event else { panic!("parsed") };
        assert_eq!(raw, body);
    }
}

#[tokio::test]
async fn one_bad_element_in_a_good_batch_is_unparsed_alone() {
    let stage = stage(Mood::Confirm).await;
    let body = samples::WHATSAPP_BURST.replace("\"one question\"", "42");
    assert_accepted(&stage.signed("whatsapp", body.as_bytes()).await, 3);
    let kinds: Vec<Kind> = stage.queued().iter().map(|(envelope, _)| envelope.header().kind).collect();
    assert_eq!(kinds, [Kind::Message, Kind::Unparsed, Kind::Message]);
}

#[tokio::test]
async fn an_unknown_source_is_404_and_another_method_405() {
    let stage = stage(Mood::Confirm).await;
    for name in ["nobody", "WhatsApp", "%ff", "..%2fwhatsapp"] {
        assert_problem(&stage.post(name, &[], TEXT).await, 404, "unknown_source");
    }
    let get = |path: &str| request(Method::GET, path, &[], Body::empty());
    assert_problem(&stage.send(get("/webhooks/nobody")).await, 404, "unknown_source");
    assert_problem(&stage.send(get("/elsewhere")).await, 404, "not_found");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_problem(&stage.send(get(path)).await, 404, "not_found");
    }
    let partner = stage.send(get("/webhooks/partner")).await;
    assert_problem(&partner, 405, "method_not_allowed");
    assert_eq!(partner.headers["allow"], "POST");
    let put = stage.send(request(Method::PUT, "/webhooks/whatsapp", &[], TEXT)).await;
    assert_problem(&put, 405, "method_not_allowed");
}

#[tokio::test]
async fn a_handshake_is_answered_only_with_the_right_token_and_queues_nothing() {
    let stage = stage(Mood::Disconnected).await;
    let ask =
        async |query: &str| stage.send(request(Method::GET, &format!("/webhooks/{query}"), &[], Body::empty())).await;
    let token = "hub.verify_token=a-handshake-token-of-32-characters!";
    let good = ask(&format!("whatsapp?hub.mode=subscribe&hub.challenge=1158201444&{token}")).await;
    assert_eq!((good.status, good.text.as_str()), (200, "1158201444"));
    assert!(good.headers["content-type"].starts_with("text/plain"));
    assert_eq!(good.headers["x-content-type-options"], "nosniff");
    for bad in [
        "whatsapp".to_owned(),
        "whatsapp?hub.mode=subscribe&hub.challenge=1".to_owned(),
        "whatsapp?hub.mode=subscribe&hub.challenge=1&hub.verify_token=".to_owned(),
        "whatsapp?hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong".to_owned(),
        format!("whatsapp?hub.mode=unsubscribe&hub.challenge=1&{token}"),
        format!("whatsapp?hub.mode=subscribe&{token}"),
        format!("quiet?hub.mode=subscribe&hub.challenge=1&{token}"),
        "quiet?hub.mode=subscribe&hub.challenge=1&hub.verify_token=".to_owned(),
    ] {
        assert_problem(&ask(&bad).await, 403, "handshake_refused");
    }
}

#[tokio::test]
async fn a_queue_that_fails_is_503_with_retry_after_and_recovers_without_restart() {
    let stage = stage(Mood::Disconnected).await;
    let refused = stage.signed("whatsapp", TEXT).await;
    assert_problem(&refused, 503, "queue_unavailable");
    assert!((1..=5).contains(&refused.headers["retry-after"].parse::<u64>().unwrap()));
    stage.queue.feel(Mood::Confirm);
    assert_accepted(&stage.signed("whatsapp", TEXT).await, 1);
}

#[tokio::test]
async fn a_queue_that_hangs_is_503_within_the_confirm_timeout() {
    let stage = stage_with(Mood::Hang, |config| config.timing.confirm = Duration::from_millis(50)).await;
    let started = Instant::now();
    let refused = stage.signed("whatsapp", samples::WHATSAPP_BURST.as_bytes()).await;
    assert_problem(&refused, 503, "queue_unavailable");
    assert!((1..=5).contains(&refused.headers["retry-after"].parse::<u64>().unwrap()));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_fault_of_our_own_is_503_with_retry_after_and_says_nothing_inner() {
    let stage = stage(Mood::Panic).await;
    let refused = stage.signed("whatsapp", TEXT).await;
    assert_problem(&refused, 503, "internal");
    assert!((1..=5).contains(&refused.headers["retry-after"].parse::<u64>().unwrap()));
    assert!(!refused.text.contains("stand-in"));
}

#[tokio::test]
async fn one_unconfirmed_event_of_a_batch_refuses_the_whole_post() {
    let stage = stage(Mood::FailSecond).await;
    let refused = stage.signed("whatsapp", samples::WHATSAPP_BURST.as_bytes()).await;
    assert_problem(&refused, 503, "queue_unavailable");
}

#[tokio::test]
async fn an_event_larger_than_the_queue_takes_is_413() {
    let stage = stage(Mood::Confirm).await;
    let text = "a".repeat(1024 * 1024);
    let body = samples::whatsapp_texts(&[samples::Text { id: "wamid.L", from: "15550100", body: &text }], NOW);
    assert_problem(&stage.signed("whatsapp", body.as_bytes()).await, 413, "event_too_large");
    assert_nothing_queued(&stage);
}

#[tokio::test]
async fn a_network_that_is_not_listed_is_403_and_a_proxy_is_believed_only_if_trusted() {
    let stage = stage(Mood::Confirm).await;
    let post = async |peer: &str, forwarded: &str| {
        let mut headers = stage.proof("guarded", 0, b"{}", NOW);
        headers.push(header("x-forwarded-for", forwarded));
        let mut request = request(Method::POST, "/webhooks/guarded", &headers, "{}");
        request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        stage.send(request).await
    };
    assert_accepted(&post("192.0.2.1:5000", "203.0.113.5").await, 1);
    assert_accepted(&post("10.1.1.1:5000", "192.0.2.1").await, 1);
    assert_problem(&post("10.1.1.1:5000", "192.0.2.1, 203.0.113.5").await, 403, "address_not_allowed");
    assert_problem(&post("203.0.113.5:5000", "192.0.2.1").await, 403, "address_not_allowed");
}

#[tokio::test]
async fn a_rate_is_kept_for_each_client_address_where_it_is_set() {
    let stage = stage(Mood::Confirm).await;
    let post = async |peer: &str| {
        let mut request = request(Method::POST, "/webhooks/slow", &stage.proof("slow", 0, b"{}", NOW), "{}");
        request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        stage.send(request).await
    };
    for _ in 0..2 {
        assert_accepted(&post("192.0.2.1:1").await, 1);
    }
    let refused = post("192.0.2.1:2").await;
    assert_problem(&refused, 429, "too_many_requests");
    assert!((1..=30).contains(&refused.headers["retry-after"].parse::<u64>().unwrap()));
    assert_accepted(&post("192.0.2.2:1").await, 1);
}
