//! A loopback HTTP server whose connections can be broken on purpose, in the middle of an answer too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A running server; dropping it closes its port and its idle connections.
pub(crate) struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Serves `router` on a free port of 127.0.0.1.
    pub(crate) async fn start(router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let service = router.into_make_service_with_connect_info::<Wire>();
        let serving = axum::serve(Breakable(listener), service).with_graceful_shutdown(async move {
            // Ends when the sender is dropped: the error is the signal.
            let _dropped = stopped.await;
        });
        tokio::spawn(serving.into_future());
        Ok(Self { address, _stop: stop })
    }

    /// `http://127.0.0.1:port`, without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// An address on which nothing listens, so that a connection is refused.
///
/// # Errors
/// When no port can be had at all.
pub async fn refusing_url() -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(format!("http://{}", listener.local_addr()?))
}

/// An answer that says that a stand-in gave it.
pub(crate) fn answer(name: &'static str, status: u16, mut body: Value) -> Response {
    if let Some(object) = body.as_object_mut() {
        object.insert("stand_in".to_owned(), json!(true));
    }
    raw_answer(name, status, body.to_string())
}

/// An answer whose body need not be JSON.
pub(crate) fn raw_answer(name: &'static str, status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("x-stand-in", name), ("content-type", "application/json")], body).into_response()
}

/// Adds `Retry-After`.
pub(crate) fn with_retry_after(mut response: Response, retry_after: Option<&str>) -> Response {
    if let Some(value) = retry_after.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert("retry-after", value);
    }
    response
}

/// How a connection is to be broken; its number is how many bytes of the next answer are kept back.
const WHOLE: usize = 0;
const NOTHING: usize = usize::MAX;

/// The handle by which a handler breaks the connection that it answers on.
#[derive(Clone)]
pub(crate) struct Wire(Arc<AtomicUsize>);

impl Wire {
    /// Resets the connection instead of answering; give any response to end the call.
    pub(crate) fn reset(&self, name: &'static str) -> Response {
        self.0.store(NOTHING, Ordering::SeqCst);
        raw_answer(name, 500, String::new())
    }

    /// Sends the answer without its last `missing` bytes, then resets.
    pub(crate) fn cut(&self, response: Response, missing: usize) -> Response {
        self.0.store(missing.max(1), Ordering::SeqCst);
        response
    }
}

impl Connected<IncomingStream<'_, Breakable>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Breakable>) -> Self {
        stream.io().wire.clone()
    }
}

pub(crate) struct Breakable(TcpListener);

impl Listener for Breakable {
    type Io = BreakableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BreakableStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let wire = Wire(Arc::new(AtomicUsize::new(WHOLE)));
        (BreakableStream { stream, wire }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

pub(crate) struct BreakableStream {
    stream: TcpStream,
    wire: Wire,
}

impl BreakableStream {
    fn broken(&self) -> Poll<io::Result<usize>> {
        // Without lingering the close is a reset; a failure to set it leaves a plain close, which breaks as well.
        let _set = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncRead for BreakableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for BreakableStream {
    /// Vectored writes are off by default, so the server hands over a small answer, head and body, in one piece.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let kept_back = self.wire.0.load(Ordering::SeqCst);
        match buf.len().saturating_sub(kept_back) {
            _ if kept_back == WHOLE => Pin::new(&mut self.stream).poll_write(cx, buf),
            0 => self.broken(),
            part => {
                let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..part]);
                if matches!(written, Poll::Ready(Ok(_))) {
                    self.wire.0.store(NOTHING, Ordering::SeqCst);
                }
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
