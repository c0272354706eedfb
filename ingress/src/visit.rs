//! One request from its arrival to its answer: its id, its trace, its span, its line in log and metrics.

use std::time::Instant;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::metrics as names;
use common::trace::TraceContext;
use face::problem::REQUEST_ID;
use tracing::Span;

use crate::rejection::Rejection;

/// A request under way.
pub(crate) struct Visit {
    pub(crate) request_id: String,
    /// The sender's trace continued, or a new one.
    pub(crate) trace: TraceContext,
    source: String,
    started: Instant,
}

impl Visit {
    /// Begins one at `source`, which must be a configured name or `unknown`: it becomes a metric's label.
    pub(crate) fn begin(source: &str, headers: &HeaderMap) -> Self {
        let parent = headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse::<TraceContext>().ok());
        Self {
            request_id: uuid::Uuid::new_v4().to_string(),
            trace: parent.map_or_else(TraceContext::start, |parent| parent.child()),
            source: source.to_owned(),
            started: Instant::now(),
        }
    }

    /// The span that everything within the request is logged under. Never the path's query: it carries tokens.
    pub(crate) fn span(&self) -> Span {
        let trace_id = self.trace.trace_id();
        tracing::info_span!("webhook", source = %self.source, request.id = %self.request_id, trace.id = %trace_id)
    }

    /// The answer, counted and logged.
    pub(crate) fn answer(self, outcome: Result<Response, Rejection>) -> Response {
        let mut response = match outcome {
            Ok(response) => response,
            Err(rejection) => self.reject(&rejection),
        };
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let status = status_word(response.status());
        metrics::histogram!(names::REQUEST_SECONDS, "status" => status).record(self.started.elapsed());
        response
    }

    fn reject(&self, rejection: &Rejection) -> Response {
        let mut problem = rejection.problem();
        metrics::counter!(names::REJECTED, "source" => self.source.clone(), "code" => problem.code).increment(1);
        let (status, code) = (problem.status.as_u16(), problem.code);
        if problem.status.is_server_error() {
            tracing::warn!(http.status = status, error.code = code, outcome = rejection.reason(), "webhook not taken");
        } else {
            tracing::info!(http.status = status, error.code = code, outcome = rejection.reason(), "webhook refused");
        }
        problem.request_id = Some(self.request_id.clone());
        problem.into_response()
    }
}

/// A closed set of label values, whatever the status.
fn status_word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        401 => "401",
        403 => "403",
        404 => "404",
        413 => "413",
        429 => "429",
        503 => "503",
        400..500 => "4xx",
        _ => "other",
    }
}
