//! A stand-in for the sending half of WhatsApp's Cloud API. It takes sends, and tells nobody.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Router, http::header::AUTHORIZATION};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::record::{Plan, Record, lock};
use crate::server::{Server, Wire, answer, raw_answer, with_retry_after};

const NAME: &str = "fake-graph-api";

/// One send that reached the stand-in, accepted or not.
#[derive(Clone, Debug)]
pub struct GraphSend {
    /// The phone number id in the path: whom it leaves from.
    pub number: String,
    /// The recipient.
    pub to: String,
    /// The text.
    pub text: String,
    /// `biz_opaque_callback_data`: the sender's own id.
    pub callback_data: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The id it was answered with, when it was accepted.
    pub wamid: Option<String>,
    /// When it came.
    pub at: SystemTime,
    /// The whole body.
    pub body: Value,
}

/// What the stand-in does with a call.
#[derive(Clone, Debug)]
pub enum GraphBehaviour {
    /// Takes it and answers with a synthetic id.
    Accept,
    /// Refuses it with a Meta error code.
    Refuse {
        /// The HTTP status.
        http: u16,
        /// The error code.
        code: i64,
    },
    /// 429 with error code 130429.
    RateLimit {
        /// The `Retry-After` header, in any of its forms.
        retry_after: Option<String>,
    },
    /// HTTP 500.
    ServerError,
    /// Reads and records everything, and never answers.
    HangAfterReading,
    /// Reads and records everything, then resets the connection.
    ResetAfterReading,
    /// Answers 200 with something that is no JSON.
    Garbage,
    /// Takes it after this long.
    Delay(Duration),
    /// Takes it, and never answers.
    AcceptThenHang,
    /// Takes it, then resets the connection.
    AcceptThenReset,
}

type Choose = dyn Fn(&GraphSend) -> Option<GraphBehaviour> + Send + Sync;

struct Shared {
    record: Record<GraphSend>,
    plan: Plan<GraphBehaviour>,
    choose: Mutex<Arc<Choose>>,
}

/// The stand-in. Accepts everything unless told otherwise.
pub struct FakeGraphApi {
    server: Server,
    shared: Arc<Shared>,
}

impl FakeGraphApi {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            record: Record::new(),
            plan: Plan::new(GraphBehaviour::Accept),
            choose: Mutex::new(Arc::new(|_| None)),
        });
        let router = Router::new().route("/{version}/{number}/messages", post(receive)).with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(router).await?, shared })
    }

    /// What `WHATSAPP_API_URL` is to be: the base URL with a version.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/v23.0", self.server.url())
    }

    /// What to do with the next call that has no behaviour yet.
    pub fn next(&self, behaviour: GraphBehaviour) {
        self.shared.plan.push(behaviour);
    }

    /// What to do with calls once the queue of behaviours is empty.
    pub fn always(&self, behaviour: GraphBehaviour) {
        self.shared.plan.always(behaviour);
    }

    /// Chooses what to do by the call itself; where it says `None`, the behaviours above hold.
    pub fn choose_with(&self, choose: impl Fn(&GraphSend) -> Option<GraphBehaviour> + Send + Sync + 'static) {
        *lock(&self.shared.choose) = Arc::new(choose);
    }

    /// Every send after the first `seen`.
    #[must_use]
    pub fn sends_after(&self, seen: usize) -> Vec<GraphSend> {
        self.shared.record.after(seen)
    }

    /// Every send so far.
    #[must_use]
    pub fn sends(&self) -> Vec<GraphSend> {
        self.shared.record.all()
    }

    /// Every send, once there are `count` of them.
    ///
    /// # Errors
    /// When they do not come within 30 seconds.
    pub async fn wait_for(&self, count: usize) -> io::Result<Vec<GraphSend>> {
        self.shared.record.wait_for(count).await
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path((_version, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return answer(NAME, 400, error(100, "the stand-in wants JSON"));
    };
    let mut send = recorded(number, &headers, body.clone());
    let choose = Arc::clone(&lock(&shared.choose));
    let behaviour = choose(&send).unwrap_or_else(|| shared.plan.take());
    let wamid = behaviour.accepts().then(synthetic_wamid);
    send.wamid.clone_from(&wamid);
    shared.record.push(send);
    match behaviour {
        GraphBehaviour::Accept => accepted(&body, wamid),
        GraphBehaviour::Refuse { http, code } => answer(NAME, http, error(code, "refused by the stand-in")),
        GraphBehaviour::RateLimit { retry_after } => {
            with_retry_after(answer(NAME, 429, error(130_429, "rate limited by the stand-in")), retry_after.as_deref())
        }
        GraphBehaviour::ServerError => answer(NAME, 500, error(131_000, "broken by the stand-in")),
        GraphBehaviour::HangAfterReading | GraphBehaviour::AcceptThenHang => std::future::pending().await,
        GraphBehaviour::ResetAfterReading | GraphBehaviour::AcceptThenReset => wire.reset(NAME),
        GraphBehaviour::Garbage => raw_answer(NAME, 200, "<html>stand-in garbage".to_owned()),
        GraphBehaviour::Delay(delay) => {
            tokio::time::sleep(delay).await;
            accepted(&body, wamid)
        }
    }
}

impl GraphBehaviour {
    /// Whether the customer gets it.
    const fn accepts(&self) -> bool {
        match self {
            Self::Accept | Self::Delay(_) | Self::AcceptThenHang | Self::AcceptThenReset => true,
            Self::Refuse { .. }
            | Self::RateLimit { .. }
            | Self::ServerError
            | Self::HangAfterReading
            | Self::ResetAfterReading
            | Self::Garbage => false,
        }
    }
}

fn recorded(number: String, headers: &HeaderMap, body: Value) -> GraphSend {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    GraphSend {
        number,
        to: text("/to").unwrap_or_default(),
        text: text("/text/body").unwrap_or_default(),
        callback_data: text("/biz_opaque_callback_data"),
        authorization: headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned),
        wamid: None,
        at: SystemTime::now(),
        body,
    }
}

/// Shaped like a real id, yet made of nothing but a random number.
fn synthetic_wamid() -> String {
    format!("wamid.{}", STANDARD.encode(format!("stand-in:{}", Uuid::new_v4())))
}

fn accepted(body: &Value, wamid: Option<String>) -> Response {
    let answer_body = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": body["to"], "wa_id": body["to"] }],
        "messages": [{ "id": wamid }],
    });
    answer(NAME, 200, answer_body)
}

fn error(code: i64, message: &str) -> Value {
    json!({ "error": {
        "message": format!("(#{code}) {message}"), "type": "OAuthException", "code": code, "fbtrace_id": "stand-in",
    } })
}
