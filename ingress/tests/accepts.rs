//! What an ingress accepts, and what it hands to the queue.

use std::sync::Arc;

use common::domain::{Content, Event, Kind};
use common::providers::samples;
use common::trace::TraceContext;

use crate::stage::{Mood, NOW, PROVIDERS, assert_accepted, header, stage};

#[tokio::test]
async fn a_signed_webhook_is_queued_sealed_under_a_header_that_names_no_person() {
    let stage = stage(Mood::Confirm).await;
    assert_accepted(&stage.signed("whatsapp", samples::WHATSAPP_TEXT.as_bytes()).await, 1);
    let (envelope, inbound) = stage.queued().remove(0);
    assert!(inbound.event == Event::Message(Content::Text("Do you ship to Lima?".into())));
    let head = envelope.header();
    assert_eq!((head.kind, head.sequence, head.previous, head.received_at), (Kind::Message, 1, None, NOW));
    let party = inbound.party.unwrap();
    let pseudonym = stage.config.secrets.pseudonyms.of_conversation(&inbound.source, &party);
    assert_eq!(head.conversation, Some(pseudonym));
    let readable = String::from_utf8_lossy(envelope.bytes()).into_owned();
    for private in ["15550100", "Lima", "wamid", "Sample Customer", "app-secret"] {
        assert!(!readable.contains(private), "{private}");
    }
}

#[tokio::test]
async fn a_burst_is_queued_whole_each_message_naming_the_one_before() {
    let stage = stage(Mood::Confirm).await;
    assert_accepted(&stage.signed("whatsapp", samples::WHATSAPP_BURST.as_bytes()).await, 3);
    assert_accepted(&stage.signed("whatsapp", samples::WHATSAPP_TEXT.as_bytes()).await, 1);
    let heads: Vec<_> = stage.queued().into_iter().map(|(envelope, _)| envelope.header().clone()).collect();
    assert_eq!(heads.iter().map(|head| head.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let previous: Vec<_> = heads.iter().map(|head| head.previous).collect();
    assert_eq!(previous, [None, Some(heads[0].event_id), Some(heads[1].event_id), None]);
    assert!(heads.iter().all(|head| head.instance == heads[0].instance));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_received_at_once_form_one_unbroken_line() {
    let stage = Arc::new(stage(Mood::Confirm).await);
    let post = |number: usize| {
        let stage = stage.clone();
        let id = format!("wamid.AT-ONCE-{number}");
        let body = samples::whatsapp_texts(&[samples::Text { id: &id, from: "15550106", body: "hi" }], NOW);
        tokio::spawn(async move { assert_accepted(&stage.signed("whatsapp", body.as_bytes()).await, 1) })
    };
    for posted in (0..100).map(post).collect::<Vec<_>>() {
        posted.await.unwrap();
    }
    let mut before = None;
    for (at, (envelope, _)) in stage.queued().iter().enumerate() {
        assert_eq!((envelope.header().sequence, envelope.header().previous), (at as i64 + 1, before));
        before = Some(envelope.header().event_id);
    }
}

#[tokio::test]
async fn an_old_secret_still_proves_during_rotation_and_its_fingerprint_tells_which() {
    let stage = stage(Mood::Confirm).await;
    let body = samples::WHATSAPP_TEXT;
    for secret in [0, 1] {
        assert_accepted(&stage.post("whatsapp", &stage.proof("whatsapp", secret, body.as_bytes(), NOW), body).await, 1);
    }
    let queued = stage.queued();
    let (new, old) = (queued[0].0.header(), queued[1].0.header());
    assert_eq!(new.event_id, old.event_id, "the same event told twice");
    assert_ne!(new.secret, old.secret);
    assert_eq!(new.secret.len(), 8);
    assert_eq!(old.previous, None, "a duplicate does not wait for itself");
}

#[tokio::test]
async fn a_post_without_events_is_accepted_with_none() {
    let stage = stage(Mood::Disconnected).await;
    assert_accepted(&stage.signed("whatsapp", br#"{"object":"whatsapp_business_account","entry":[]}"#).await, 0);
}

#[tokio::test]
async fn the_content_type_is_no_reason_to_refuse() {
    let stage = stage(Mood::Confirm).await;
    let body = samples::WHATSAPP_TEXT;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let mut headers = stage.proof("whatsapp", 0, body.as_bytes(), NOW);
        headers.push(header("content-type", content_type));
        assert_accepted(&stage.post("whatsapp", &headers, body).await, 1);
    }
}

#[tokio::test]
async fn a_trace_is_continued_where_one_comes_in_and_begun_where_none_does() {
    let stage = stage(Mood::Confirm).await;
    let body = samples::WHATSAPP_TEXT;
    let parent = TraceContext::start();
    for traceparent in [parent.to_string(), "nonsense".to_owned()] {
        let mut headers = stage.proof("whatsapp", 0, body.as_bytes(), NOW);
        headers.push(header("traceparent", &traceparent));
        assert_accepted(&stage.post("whatsapp", &headers, body).await, 1);
    }
    let queued = stage.queued();
    assert_eq!(queued[0].0.header().trace.trace_id(), parent.trace_id());
    assert_ne!(queued[0].0.header().trace, parent);
    assert_ne!(queued[1].0.header().trace.trace_id(), parent.trace_id());
}

#[tokio::test]
async fn every_provider_has_a_signed_way_in() {
    let stage = stage(Mood::Confirm).await;
    for (name, body, count) in [
        ("whatsapp", samples::WHATSAPP_STATUS, 1),
        ("whatsapp", samples::WHATSAPP_ECHO, 1),
        ("whatsapp", samples::MESSENGER, 3),
        ("elevenlabs", samples::ELEVENLABS_TRANSCRIPTION, 1),
        ("partner", samples::STANDARD_WEBHOOKS, 1),
        ("small", samples::GENERIC, 1),
    ] {
        assert_accepted(&stage.signed(name, body.as_bytes()).await, count);
    }
    assert_eq!(PROVIDERS.len(), 6, "a new provider needs its line above");
}
