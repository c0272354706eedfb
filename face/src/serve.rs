//! A server for one bind: HTTP/1.1, with a bound on how long a peer may take over its headers, and a drain that
//! stops accepting, finishes what has begun, and ends in time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use common::shutdown::Stop;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// How long a peer may take to send a request's headers; also how long an idle connection is kept. Not shorter:
/// providers keep connections, and one closed under a request costs them a retry.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most header lines of one request.
const MAX_HEADERS: usize = 100;
/// Most bytes of one request's line and headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Rest after a failed accept, so that a full file table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The address at the other end of a connection; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// A bound listener and what it serves.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Takes a listener and its routes.
    #[must_use]
    pub const fn new(listener: TcpListener, router: Router) -> Self {
        Self { listener, router }
    }

    /// Serves until the stop is raised, then finishes what has begun for at most `drain`.
    pub async fn run_until(self, mut stop: Stop, drain: Duration) {
        let connections = GracefulShutdown::new();
        loop {
            tokio::select! {
                () = stop.wait() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        tokio::spawn(connection(stream, peer, self.router.clone(), connections.watcher()));
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        if tokio::time::timeout(drain, connections.shutdown()).await.is_err() {
            tracing::warn!(outcome = "cut", "requests were still open when the drain's time was over");
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    // Without it small answers wait for the peer's delayed ack; an error leaves only that wait.
    let _slower = stream.set_nodelay(true);
    let service = tower::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(serving).await {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
