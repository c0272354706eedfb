//! The spine of the ingress: admit → read → verify → parse → seal → publish → 200.
//!
//! Nothing parses a byte before its signature is proved, and the 200 leaves only after the queue has confirmed every
//! event of the request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use common::domain::{Inbound, Micros, Receipt};
use common::envelope::{Envelope, Header, MAX_BYTES};
use common::queue::PublishError;
use common::signature::{self, Verified};
use common::steps::{self, Step};
use common::{metrics as names, providers};
use face::Peer;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;
use tracing::Instrument;

use crate::door::{Door, Entrance};
use crate::rejection::Rejection;
use crate::sequence::Entry;
use crate::visit::Visit;

/// What a publish may take beyond its own timeout before we stop waiting for it to say so.
const CONFIRM_GRACE: Duration = Duration::from_millis(200);

/// `POST /webhooks/{source}`.
pub(crate) async fn webhook(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let entrance = name.ok().and_then(|Path(name)| door.entrance(&name));
    let visit = Visit::begin(entrance.map_or("unknown", |e| e.source.name.as_str()), request.headers());
    let span = visit.span();
    let outcome = async {
        let entrance = entrance.ok_or(Rejection::UnknownSource)?;
        take_in(&door, entrance, &visit, request).await
    };
    let outcome = outcome.instrument(span.clone()).await;
    span.in_scope(|| visit.answer(outcome))
}

async fn take_in(door: &Door, entrance: &Entrance, visit: &Visit, request: Request) -> Result<Response, Rejection> {
    let (parts, body) = request.into_parts();
    entrance.admission.admit(parts.extensions.get::<Peer>().copied(), &parts.headers)?;
    let body = read(body, &parts.headers, entrance.source.body_limit, door.read_timeout).await?;
    let received_at = (door.clock)();
    let verified = verify(entrance, &parts.headers, body, received_at)?;
    let events = providers::parse(&entrance.source, &verified);
    let letters = seal(door, entrance, visit, &verified, &events, received_at)?;
    steps::reached(Step::IngressSealed);
    let receipts = publish(door, &letters).await?;
    steps::reached(Step::IngressConfirmed);
    Ok(accepted(entrance, visit, &receipts))
}

/// Reads the raw body, refusing it as soon as it is known to be too large, and never for longer than the timeout.
async fn read(body: Body, headers: &HeaderMap, limit: usize, timeout: Duration) -> Result<Bytes, Rejection> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Rejection::BodyTooLarge);
    }
    let reading = async {
        let mut chunks = body.into_data_stream();
        let mut whole = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Rejection::BrokenBody)?;
            if whole.len() + chunk.len() > limit {
                return Err(Rejection::BodyTooLarge);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(timeout, reading).await.unwrap_or(Err(Rejection::SlowBody))
}

fn verify(entrance: &Entrance, headers: &HeaderMap, body: Bytes, now: Micros) -> Result<Verified, Rejection> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    Ok(signature::verify(&entrance.scheme, &entrance.source.secrets, &headers, body, now)?)
}

/// A sealed event and what the order knows of it.
struct Letter {
    entry: Entry,
    envelope: Envelope,
}

/// Seals every event in the order of the request. Their places are given at once, before any of them is published.
fn seal(
    door: &Door,
    entrance: &Entrance,
    visit: &Visit,
    verified: &Verified,
    events: &[Inbound],
    received_at: Micros,
) -> Result<Vec<Letter>, Rejection> {
    let entry = |event: &Inbound| Entry {
        event: event.event_id,
        kind: event.event.kind(),
        conversation: event.party.as_ref().map(|party| door.keys.pseudonyms.of_conversation(&event.source, party)),
    };
    let entries: Vec<Entry> = events.iter().map(entry).collect();
    let places = door.sequencer.place(&entries);
    let secret = entrance.fingerprints.get(verified.secret_index()).cloned().unwrap_or_default();
    let mut letters = Vec::with_capacity(events.len());
    for ((event, entry), place) in events.iter().zip(&entries).zip(places) {
        let head = Header {
            event_id: event.event_id,
            source: event.source.clone(),
            conversation: entry.conversation.clone(),
            kind: entry.kind,
            received_at,
            instance: door.sequencer.instance,
            sequence: place.sequence,
            previous: place.previous,
            trace: visit.trace,
            secret: secret.clone(),
        };
        match sealed(door, head, event) {
            Ok(envelope) => letters.push(Letter { entry: entry.clone(), envelope }),
            Err(rejection) => {
                entries.iter().rev().for_each(|entry| door.sequencer.forget(entry));
                return Err(rejection);
            }
        }
    }
    Ok(letters)
}

fn sealed(door: &Door, head: Header, event: &Inbound) -> Result<Envelope, Rejection> {
    let envelope = Envelope::seal(head, event, &door.keys.queue).map_err(|_| Rejection::Internal)?;
    if envelope.bytes().len() > MAX_BYTES { Err(Rejection::EventTooLarge) } else { Ok(envelope) }
}

/// Publishes all at once; good only if every one is confirmed.
async fn publish(door: &Door, letters: &[Letter]) -> Result<Vec<Receipt>, Rejection> {
    let results = join_all(letters.iter().map(|letter| confirmed(door, &letter.envelope))).await;
    let mut failure = None;
    for (letter, result) in letters.iter().zip(results).rev() {
        let Err(error) = result else { continue };
        // One that timed out may still arrive, and then it did come before what follows.
        if !matches!(error, PublishError::TimedOut(_)) {
            door.sequencer.forget(&letter.entry);
        }
        failure = Some(error);
    }
    match failure {
        Some(error) => Err(Rejection::Queue(error)),
        None => Ok(letters.iter().map(|l| Receipt { event_id: l.entry.event, kind: l.entry.kind }).collect()),
    }
}

async fn confirmed(door: &Door, envelope: &Envelope) -> Result<(), PublishError> {
    let started = Instant::now();
    let patience = door.confirm_timeout + CONFIRM_GRACE;
    let result = tokio::time::timeout(patience, door.publisher.publish(envelope)).await;
    let result = result.unwrap_or(Err(PublishError::TimedOut(patience)));
    if result.is_ok() {
        metrics::histogram!(names::CONFIRM_SECONDS).record(started.elapsed());
    }
    result
}

fn accepted(entrance: &Entrance, visit: &Visit, receipts: &[Receipt]) -> Response {
    for receipt in receipts {
        let source = entrance.source.name.to_string();
        metrics::counter!(names::ACCEPTED, "source" => source, "kind" => receipt.kind.as_str()).increment(1);
        tracing::debug!(event.id = %receipt.event_id, event.kind = %receipt.kind, outcome = "accepted", "event queued");
    }
    let body = json!({"status": "accepted", "accepted": receipts.len(), "request_id": visit.request_id});
    Json(body).into_response()
}
