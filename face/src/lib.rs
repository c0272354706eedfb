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
use tower_http::set_header::SetResponseHeaderLayer;

/// The headers of every answer: nothing here is to be cached, sniffed, framed or run.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Puts the security headers on every answer of a router that has not set its own.
pub fn secured(router: Router) -> Router {
    HEADERS.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value)))
    })
}
