//! Every public route on one screen. Health and metrics are on the private bind only.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use face::{Problem, secured};
use tower_http::catch_panic::CatchPanicLayer;

use crate::door::Door;
use crate::handshake::handshake;
use crate::receive::webhook;
use crate::rejection::Rejection;
use crate::visit::Visit;

/// The public routes.
pub(crate) fn routes(door: Arc<Door>) -> Router {
    let router = Router::new()
        .route("/webhooks/{source}", get(handshake).post(webhook).fallback(other_method))
        .fallback(nothing_here)
        .with_state(door)
        .layer(CatchPanicLayer::custom(panicked));
    secured(router)
}

async fn other_method(State(_door): State<Arc<Door>>, request: Request) -> Response {
    Visit::begin("unknown", request.headers()).answer(Err(Rejection::MethodNotAllowed("GET, POST")))
}

async fn nothing_here() -> Problem {
    named(Problem::not_found())
}

/// A problem outside any visit, with a request id of its own.
fn named(problem: Problem) -> Problem {
    Problem { request_id: Some(uuid::Uuid::new_v4().to_string()), ..problem }
}

/// A panic is our fault, so it is a 503 and the provider comes again. What it says stays in the log of the panic.
fn panicked(_said: Box<dyn Any + Send>) -> Response {
    named(Rejection::Internal.problem()).into_response()
}
