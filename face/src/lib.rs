//! The HTTP face that every process shows the same way: how errors look ([`problem`]), the private bind with health
//! and metrics ([`admin`]), and a server that nobody can hold open by being slow ([`serve`]).
//!
//! Knows nothing of webhooks, turns or calls.

pub mod admin;
pub mod problem;
pub mod serve;

pub use admin::Check;
pub use problem::Problem;
pub use serve::{Peer, Server};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use tower::util::MapResponseLayer;

/// The headers of every answer: nothing here is to be cached, sniffed, framed or run.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Puts the security headers on every answer of a router that has not set its own. One layer for all of them: every
/// request copies each layer of its route, so five cost more than what they do.
pub fn secured(router: Router) -> Router {
    router.layer(MapResponseLayer::new(with_headers))
}

fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
