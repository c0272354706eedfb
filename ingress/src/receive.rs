//! The spine of the ingress: admit → read → verify → parse → seal → hand over → 200.
//!
//! Nothing parses a byte before its signature is proved, and the 200 leaves only after the queue has confirmed every
//! event of the request or, where there is a spool, after what it did not confirm is on disk there.

use std::sync::Arc;
use std::time::Duration;

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
use crate::spool::{Seat, Spool};
use crate::tally::Ticket;
use crate::visit::Visit;

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
    let receipts = hand_over(door, entrance, letters, received_at).await?;
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

/// A sealed event, what the order knows of it, and its number, given up unless confirmed.
struct Letter {
    entry: Entry,
    envelope: Envelope,
    ticket: Ticket,
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
            sequence: place.ticket.number(),
            previous: place.previous,
            trace: visit.trace,
            secret: secret.clone(),
        };
        match sealed(door, head, event) {
            Ok(envelope) => letters.push(Letter { entry: entry.clone(), envelope, ticket: place.ticket }),
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

/// To the queue or, while that takes none, to the spool; good only if every one is safe.
async fn hand_over(
    door: &Door,
    entrance: &Entrance,
    letters: Vec<Letter>,
    at: Micros,
) -> Result<Vec<Receipt>, Rejection> {
    let receipts = letters.iter().map(|l| Receipt { event_id: l.entry.event, kind: l.entry.kind }).collect();
    let spool = door.spool_of(entrance);
    let seat = match spool {
        Some(spool) if !letters.is_empty() => spool.enter(door.outlet.patience()).await,
        Some(_) | None => None,
    };
    match (spool, seat) {
        (Some(spool), Some(seat)) => keep(door, spool, seat, letters, at).await?,
        (spool, _) => publish(door, spool, letters, at).await?,
    }
    Ok(receipts)
}

/// Publishes all at once. What is not confirmed goes to the spool, if there is one.
async fn publish(door: &Door, spool: Option<&Spool>, letters: Vec<Letter>, at: Micros) -> Result<(), Rejection> {
    let results = join_all(letters.iter().map(|letter| door.outlet.confirmed(&letter.envelope))).await;
    let mut failed = Vec::new();
    for (letter, result) in letters.into_iter().zip(results) {
        match result {
            Ok(()) => letter.ticket.confirm(),
            Err(error) => failed.push((letter, error)),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    if let Some(spool) = spool {
        let letters = failed.into_iter().map(|(letter, _)| letter).collect();
        return keep(door, spool, spool.seat(), letters, at).await;
    }
    let mut first = None;
    for (letter, error) in failed.into_iter().rev() {
        // One that timed out may still arrive, and then it did come before what follows.
        if !matches!(error, PublishError::TimedOut(_)) {
            door.sequencer.forget(&letter.entry);
        }
        first = Some(error);
    }
    Err(first.map_or(Rejection::Internal, Rejection::Queue))
}

/// Keeps all of them in the spool. Their numbers are given up until it has drained.
async fn keep(door: &Door, spool: &Spool, seat: Seat, letters: Vec<Letter>, at: Micros) -> Result<(), Rejection> {
    let kept = spool.keep(seat, letters.iter().map(|letter| &letter.envelope), at).await;
    kept.map_err(|refused| {
        letters.iter().rev().for_each(|letter| door.sequencer.forget(&letter.entry));
        Rejection::Spool(refused)
    })
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
