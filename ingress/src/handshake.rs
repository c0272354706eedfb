//! Meta's proof that we own the address: it asks with our token, we answer with its challenge. Enqueues nothing.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use common::domain::Provider;
use common::signature::token_matches;
use face::Peer;

use crate::door::{Door, Entrance};
use crate::rejection::Rejection;
use crate::visit::Visit;

/// A challenge is a short number; longer than this it is something else.
const MAX_CHALLENGE: usize = 1_024;

type Pairs = Vec<(String, String)>;

/// `GET /webhooks/{source}`.
pub(crate) async fn handshake(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Pairs>, QueryRejection>,
    request: Request,
) -> Response {
    let entrance = name.ok().and_then(|Path(name)| door.entrance(&name));
    let (parts, _) = request.into_parts();
    let visit = Visit::begin(entrance.map_or("unknown", |e| e.source.name.as_str()), &parts.headers);
    visit.span().in_scope(|| {
        let outcome =
            entrance.ok_or(Rejection::UnknownSource).and_then(|entrance| answer(entrance, &parts, query.ok()));
        visit.answer(outcome)
    })
}

fn answer(entrance: &Entrance, parts: &Parts, query: Option<Query<Pairs>>) -> Result<Response, Rejection> {
    if !matches!(entrance.source.provider, Provider::Whatsapp | Provider::Messenger | Provider::Instagram) {
        return Err(Rejection::MethodNotAllowed("POST"));
    }
    entrance.admission.admit(parts.extensions.get::<Peer>().copied(), &parts.headers)?;
    let Query(pairs) = query.ok_or(Rejection::HandshakeRefused)?;
    let value = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let known = entrance.source.verify_token.as_ref().ok_or(Rejection::HandshakeRefused)?;
    let proved = token_matches(known, value("hub.verify_token").unwrap_or_default());
    match (value("hub.mode"), value("hub.challenge")) {
        (Some("subscribe"), Some(challenge)) if proved && challenge.len() <= MAX_CHALLENGE => {
            tracing::info!(outcome = "handshake", "handshake answered");
            Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], challenge.to_owned()).into_response())
        }
        _ => Err(Rejection::HandshakeRefused),
    }
}
