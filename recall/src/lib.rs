//! Recall: answers a voice agent in the middle of a call. Today a shell: its routes exist and say that they are not
//! available, its health and metrics are real.

mod config;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use common::config::ConfigError;
use common::shutdown::{self, Stop};
use face::{Problem, Server, secured};
use tokio::net::TcpListener;

pub use config::RecallConfig;

/// How long a caller may wait before asking again.
const RETRY_AFTER: u64 = 60;
/// How long the private bind may finish its answers after the public one has drained.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Why recall does not start. Names the setting and the fix.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Bind {
        /// The variable.
        setting: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The process may not listen for its stop signal.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] std::io::Error),
    /// Metrics cannot be gathered.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// The public routes, without a fallback, so that another router can take them in.
pub fn routes() -> Router {
    Router::new()
        .route("/recall/{source}/initiation", post(not_available))
        .route("/recall/{source}/search", post(not_available))
}

async fn not_available() -> Problem {
    let detail = "Recall is not available in this build.";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "recall_not_available", detail);
    Problem { retry_after: Some(RETRY_AFTER), ..problem }
}

/// A recall that listens and does not serve yet.
#[derive(Debug)]
pub struct Recall {
    public: Server,
    admin: Server,
    address: SocketAddr,
    admin_address: SocketAddr,
    drain: Duration,
}

impl Recall {
    /// Binds both addresses; port 0 picks a free one.
    ///
    /// # Errors
    /// [`StartError`] names the address that cannot be listened on.
    pub async fn bind(config: RecallConfig) -> Result<Self, StartError> {
        let (public, address) = listen("RECALL_BIND", config.bind).await?;
        let (admin, admin_address) = listen("RECALL_ADMIN_BIND", config.admin_bind).await?;
        let ready: face::admin::Readiness = Arc::new(|| Box::pin(async { Vec::new() }));
        let admin_routes = face::admin::router(ready).map_err(StartError::Metrics)?;
        let public_routes = secured(routes().fallback(|| async { Problem::not_found() }));
        Ok(Self {
            public: Server::new(public, public_routes),
            admin: Server::new(admin, admin_routes),
            address,
            admin_address,
            drain: config.timing.drain,
        })
    }

    /// Where calls ask.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until the stop is raised, then finishes what has begun within the drain's time.
    pub async fn run_until(self, stop: Stop) {
        let (admin_stopper, admin_stop) = shutdown::channel();
        let admin = tokio::spawn(self.admin.run_until(admin_stop, ADMIN_DRAIN));
        self.public.run_until(stop, self.drain).await;
        admin_stopper.stop();
        // An error means that the task panicked, and there is nothing left to serve.
        let _ended = admin.await;
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use common::config::Vars;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_shell_says_that_recall_is_not_available_and_is_healthy_itself() {
        let binds = ["RECALL_BIND", "RECALL_ADMIN_BIND"].map(|name| (name.to_owned(), "127.0.0.1:0".to_owned()));
        let config = RecallConfig::load(&Vars::from_map(HashMap::from(binds))).unwrap();
        let recall = Recall::bind(config).await.unwrap();
        let (public, admin) = (recall.address(), recall.admin_address());
        let (stopper, stop) = shutdown::channel();
        let ended = tokio::spawn(recall.run_until(stop));
        for path in ["/recall/elevenlabs/initiation", "/recall/elevenlabs/search"] {
            let answer = ask(public, &format!("POST {path}")).await;
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("recall_not_available"), "{answer}");
            assert!(answer.contains("retry-after: 60") && answer.contains("application/problem+json"), "{answer}");
        }
        assert!(ask(public, "GET /healthz").await.starts_with("HTTP/1.1 404 "));
        assert!(ask(admin, "GET /healthz").await.starts_with("HTTP/1.1 200 "));
        assert!(ask(admin, "GET /readyz").await.starts_with("HTTP/1.1 200 "));
        stopper.stop();
        ended.await.unwrap();
    }
}
