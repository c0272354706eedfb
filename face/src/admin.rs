//! The private bind: `/healthz` (the process runs), `/readyz` (its doors answer), `/metrics` (Prometheus).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::{Problem, secured};

/// How often what metrics have gathered is folded together when nobody reads them; unread samples grow otherwise.
const UPKEEP: Duration = Duration::from_secs(5);

/// The result of asking one door.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name: `queue`, `store`, `drain`.
    pub name: &'static str,
    /// `Err` holds a constant word of why it is not ready.
    pub result: Result<(), &'static str>,
    /// Whether something else stands in for it meanwhile, so that it is shown and stops nobody.
    pub covered: bool,
}

impl Check {
    /// A door that nothing stands in for.
    #[must_use]
    pub const fn of(name: &'static str, result: Result<(), &'static str>) -> Self {
        Self { name, result, covered: false }
    }

    /// The same, with something standing in for it.
    #[must_use]
    pub const fn covered(self, covered: bool) -> Self {
        Self { covered, ..self }
    }
}

/// Asks every door; called for each probe.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// The private routes.
///
/// # Errors
/// When another metrics recorder has been installed in this process.
pub fn router(ready: Readiness) -> Result<Router, String> {
    let metrics = common::metrics::install()?;
    let render = metrics.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(readyz).with_state(ready))
        .route("/metrics", get(move || async move { exposition(render.render()) }))
        .fallback(|| async { Problem::not_found() });
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    Ok(secured(router))
}

async fn readyz(State(ready): State<Readiness>) -> Response {
    let checks = ready().await;
    let ready = checks.iter().all(|check| check.result.is_ok() || check.covered);
    let whole = checks.iter().all(|check| check.result.is_ok());
    let told: serde_json::Map<String, Value> =
        checks.iter().map(|check| (check.name.to_owned(), check.result.err().unwrap_or("ok").into())).collect();
    let (status, word) = match (ready, whole) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (status, Json(json!({"status": word, "checks": told}))).into_response()
}

fn exposition(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
