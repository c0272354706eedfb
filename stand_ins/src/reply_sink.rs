//! A stand-in for a business's own `reply_url`: it takes signed replies and keeps them whole, so that a test can check
//! the signature over the very bytes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde_json::json;

use crate::record::{Plan, Record};
use crate::server::{Server, Wire, answer, with_retry_after};

const NAME: &str = "reply-sink";

/// One reply that reached the sink.
#[derive(Clone, Debug)]
pub struct SunkReply {
    /// The path it was posted to.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes, as signed.
    pub body: Vec<u8>,
    /// When it came.
    pub at: SystemTime,
}

/// What the sink does with a call.
#[derive(Clone, Debug)]
pub enum ReplyBehaviour {
    /// Answers with this status.
    Status {
        /// The HTTP status.
        http: u16,
        /// The `Retry-After` header.
        retry_after: Option<String>,
    },
    /// Reads and records everything, and never answers.
    HangAfterReading,
    /// Reads and records everything, then resets the connection.
    ResetAfterReading,
}

struct Shared {
    record: Record<SunkReply>,
    plan: Plan<ReplyBehaviour>,
}

/// The sink. Answers 200 unless told otherwise.
pub struct ReplySink {
    server: Server,
    shared: Arc<Shared>,
}

impl ReplySink {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let standing = ReplyBehaviour::Status { http: 200, retry_after: None };
        let shared = Arc::new(Shared { record: Record::new(), plan: Plan::new(standing) });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(router).await?, shared })
    }

    /// What a source's `reply_url` is to be.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/replies", self.server.url())
    }

    /// What to do with the next call that has no behaviour yet.
    pub fn next(&self, behaviour: ReplyBehaviour) {
        self.shared.plan.push(behaviour);
    }

    /// What to do with calls once the queue of behaviours is empty.
    pub fn always(&self, behaviour: ReplyBehaviour) {
        self.shared.plan.always(behaviour);
    }

    /// Every reply so far.
    #[must_use]
    pub fn replies(&self) -> Vec<SunkReply> {
        self.shared.record.all()
    }

    /// Every reply, once there are `count` of them.
    ///
    /// # Errors
    /// When they do not come within 30 seconds.
    pub async fn wait_for(&self, count: usize) -> io::Result<Vec<SunkReply>> {
        self.shared.record.wait_for(count).await
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let readable = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    shared.record.push(SunkReply {
        path: uri.path().to_owned(),
        headers: headers.iter().map(|(name, value)| (name.as_str().to_owned(), readable(value))).collect(),
        body: body.to_vec(),
        at: SystemTime::now(),
    });
    match shared.plan.take() {
        ReplyBehaviour::Status { http, retry_after } => {
            with_retry_after(answer(NAME, http, json!({})), retry_after.as_deref())
        }
        ReplyBehaviour::HangAfterReading => std::future::pending().await,
        ReplyBehaviour::ResetAfterReading => wire.reset(NAME),
    }
}
