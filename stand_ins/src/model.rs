//! A stand-in for a language model behind both protocols: `/v1/chat/completions` and `/v1/messages`.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::record::{Plan, Record, lock};
use crate::server::{Server, Wire, answer, raw_answer, with_retry_after};

const NAME: &str = "fake-model";

/// Which protocol a call spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelProtocol {
    /// Chat completions.
    Openai,
    /// Messages.
    Anthropic,
}

/// One call that reached the stand-in.
#[derive(Clone, Debug)]
pub struct ModelCall {
    /// The protocol.
    pub protocol: ModelProtocol,
    /// The model asked for.
    pub model: String,
    /// The instructions.
    pub system: String,
    /// The conversation as (role, text), without the instructions.
    pub lines: Vec<(String, String)>,
    /// The `Authorization` or `x-api-key` header.
    pub credential: Option<String>,
    /// When it came.
    pub at: SystemTime,
    /// The whole body.
    pub body: Value,
}

impl ModelCall {
    /// The last thing that the customer's side said.
    #[must_use]
    pub fn question(&self) -> &str {
        self.lines.iter().rev().find(|(role, _)| role == "user").map_or("", |(_, text)| text)
    }
}

/// What the stand-in does with a call.
#[derive(Clone, Debug)]
pub enum ModelBehaviour {
    /// Answers by the answer function.
    Reply,
    /// Answers with this text.
    Answer(String),
    /// Answers by the answer function after this long.
    Delay(Duration),
    /// Answers with this text and does not say what that used.
    Unmetered(String),
    /// 429.
    RateLimit {
        /// The `Retry-After` header, in any of its forms.
        retry_after: Option<String>,
    },
    /// Overloaded, in the protocol's own way: 503, or 529 with `overloaded_error`.
    Overloaded,
    /// Any status with an error of this type or code and message.
    Error {
        /// The HTTP status.
        http: u16,
        /// The error's type and code.
        code: String,
        /// Its message.
        message: String,
    },
    /// 200 with something that is no JSON.
    Garbage,
    /// A well-formed answer given twice over in one, as a second choice or block.
    Twice,
    /// A well-formed answer without text.
    EmptyText,
    /// A well-formed answer of this text that says that the token limit cut it off.
    OutOfTokens(String),
    /// A well-formed answer that breaks off half-way through its body.
    CutOff,
    /// A well-formed answer with this many characters of text.
    Huge(usize),
    /// Reads everything and never answers.
    Hang,
    /// Reads everything, then resets the connection.
    Reset,
    /// Declines, in the protocol's own way.
    Refuse,
    /// Says that the prompt does not fit, in the protocol's own words.
    ContextTooLong,
}

type Choose = dyn Fn(&ModelCall) -> Option<ModelBehaviour> + Send + Sync;
type AnswerFn = dyn Fn(&ModelCall) -> String + Send + Sync;

struct Shared {
    record: Record<ModelCall>,
    plan: Plan<ModelBehaviour>,
    choose: Mutex<Arc<Choose>>,
    answers: Mutex<Arc<AnswerFn>>,
    holders: Arc<watch::Sender<usize>>,
    in_flight: Mutex<(usize, usize)>,
}

/// The stand-in. Answers at once, from the question alone, unless told otherwise.
pub struct FakeModel {
    server: Server,
    shared: Arc<Shared>,
}

/// While this lives, calls are recorded and wait. Dropping the last one lets them all go on.
#[must_use = "dropping it releases the calls"]
pub struct Held(Arc<watch::Sender<usize>>);

impl Held {
    /// Lets the calls go on.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|holders| *holders = holders.saturating_sub(1));
    }
}

impl FakeModel {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            record: Record::new(),
            plan: Plan::new(ModelBehaviour::Reply),
            choose: Mutex::new(Arc::new(|_| None)),
            answers: Mutex::new(Arc::new(default_answer)),
            holders: Arc::new(watch::Sender::new(0)),
            in_flight: Mutex::new((0, 0)),
        });
        let router = Router::new()
            .route("/v1/chat/completions", post(chat_completions))
            .route("/v1/messages", post(messages))
            .with_state(Arc::clone(&shared));
        Ok(Self { server: Server::start(router).await?, shared })
    }

    /// What `LLM_BASE_URL` is to be, for either protocol.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/v1", self.server.url())
    }

    /// What to do with the next call that has no behaviour yet.
    pub fn next(&self, behaviour: ModelBehaviour) {
        self.shared.plan.push(behaviour);
    }

    /// What to do with calls once the queue of behaviours is empty.
    pub fn always(&self, behaviour: ModelBehaviour) {
        self.shared.plan.always(behaviour);
    }

    /// Chooses what to do by the call itself; where it says `None`, the behaviours above hold.
    pub fn choose_with(&self, choose: impl Fn(&ModelCall) -> Option<ModelBehaviour> + Send + Sync + 'static) {
        *lock(&self.shared.choose) = Arc::new(choose);
    }

    /// How [`ModelBehaviour::Reply`] and [`ModelBehaviour::Delay`] make their text.
    pub fn answer_with(&self, answer: impl Fn(&ModelCall) -> String + Send + Sync + 'static) {
        *lock(&self.shared.answers) = Arc::new(answer);
    }

    /// Holds every call from now on, after it was recorded, until the guard is dropped.
    pub fn hold(&self) -> Held {
        self.shared.holders.send_modify(|holders| *holders += 1);
        Held(Arc::clone(&self.shared.holders))
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<ModelCall> {
        self.shared.record.all()
    }

    /// Every call, once there are `count` of them.
    ///
    /// # Errors
    /// When they do not come within 30 seconds.
    pub async fn wait_for_calls(&self, count: usize) -> io::Result<Vec<ModelCall>> {
        self.shared.record.wait_for(count).await
    }

    /// The most calls that were open at the same time.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        lock(&self.shared.in_flight).1
    }
}

/// Deterministic: the same question has the same answer.
fn default_answer(call: &ModelCall) -> String {
    let question: String = call.question().chars().take(60).collect();
    format!("[fake model stand-in] You said: {question}")
}

async fn chat_completions(
    state: State<Arc<Shared>>,
    wire: ConnectInfo<Wire>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    serve(ModelProtocol::Openai, &state.0, &wire.0, &headers, &body).await
}

async fn messages(state: State<Arc<Shared>>, wire: ConnectInfo<Wire>, headers: HeaderMap, body: Bytes) -> Response {
    serve(ModelProtocol::Anthropic, &state.0, &wire.0, &headers, &body).await
}

async fn serve(protocol: ModelProtocol, shared: &Shared, wire: &Wire, headers: &HeaderMap, body: &[u8]) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return error(protocol, 400, "invalid_request_error", "the stand-in wants JSON");
    };
    let call = call(protocol, headers, body);
    let _open = Open::count(shared);
    let choose = Arc::clone(&lock(&shared.choose));
    let behaviour = choose(&call).unwrap_or_else(|| shared.plan.take());
    shared.record.push(call.clone());
    let mut holders = shared.holders.subscribe();
    // An error would mean that the sender is gone, and it lives in what we hold.
    drop(holders.wait_for(|holders| *holders == 0).await);
    behave(shared, wire, &call, behaviour).await
}

async fn behave(shared: &Shared, wire: &Wire, call: &ModelCall, behaviour: ModelBehaviour) -> Response {
    let protocol = call.protocol;
    let by_function = || {
        let function = Arc::clone(&lock(&shared.answers));
        success(call, &function(call), Finish::Whole)
    };
    match behaviour {
        ModelBehaviour::Reply => by_function(),
        ModelBehaviour::Answer(text) => success(call, &text, Finish::Whole),
        ModelBehaviour::OutOfTokens(text) => success(call, &text, Finish::Limit),
        ModelBehaviour::Unmetered(text) => {
            let mut body = body_of(call, &text, Finish::Whole);
            body["usage"] = Value::Null;
            answer(NAME, 200, body)
        }
        ModelBehaviour::Delay(delay) => {
            tokio::time::sleep(delay).await;
            by_function()
        }
        ModelBehaviour::RateLimit { retry_after } => {
            with_retry_after(error(protocol, 429, "rate_limit_error", "slow down"), retry_after.as_deref())
        }
        ModelBehaviour::Overloaded => match protocol {
            ModelProtocol::Openai => error(protocol, 503, "server_error", "overloaded"),
            ModelProtocol::Anthropic => error(protocol, 529, "overloaded_error", "overloaded"),
        },
        ModelBehaviour::Error { http, code, message } => error(protocol, http, &code, &message),
        ModelBehaviour::Garbage => raw_answer(NAME, 200, "<html>stand-in garbage".to_owned()),
        ModelBehaviour::EmptyText => success(call, "", Finish::Whole),
        ModelBehaviour::Twice => {
            let function = Arc::clone(&lock(&shared.answers));
            answer(NAME, 200, twice(body_of(call, &function(call), Finish::Whole)))
        }
        ModelBehaviour::CutOff => {
            let text = default_answer(call);
            wire.cut(success(call, &text, Finish::Whole), text.len())
        }
        ModelBehaviour::Huge(characters) => success(call, &"a".repeat(characters), Finish::Whole),
        ModelBehaviour::Hang => std::future::pending().await,
        ModelBehaviour::Reset => wire.reset(NAME),
        ModelBehaviour::Refuse => success(call, "", Finish::Declined),
        ModelBehaviour::ContextTooLong => match protocol {
            ModelProtocol::Openai => error(protocol, 400, "context_length_exceeded", "the context is full"),
            ModelProtocol::Anthropic => error(protocol, 400, "invalid_request_error", "prompt is too long: 9 > 8"),
        },
    }
}

fn call(protocol: ModelProtocol, headers: &HeaderMap, body: Value) -> ModelCall {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<(String, String)> = body["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|message| (text(&message["role"]), text(&message["content"])))
        .collect();
    let system = match protocol {
        ModelProtocol::Anthropic => text(&body["system"]),
        ModelProtocol::Openai => match lines.first() {
            Some((role, _)) if role == "system" => lines.remove(0).1,
            _ => String::new(),
        },
    };
    let header = match protocol {
        ModelProtocol::Openai => "authorization",
        ModelProtocol::Anthropic => "x-api-key",
    };
    ModelCall {
        protocol,
        model: text(&body["model"]),
        system,
        lines,
        credential: headers.get(header).and_then(|value| value.to_str().ok()).map(str::to_owned),
        at: SystemTime::now(),
        body,
    }
}

/// Why an answer ends.
#[derive(Clone, Copy)]
enum Finish {
    Whole,
    Limit,
    Declined,
}

impl Finish {
    const fn word(self, protocol: ModelProtocol) -> &'static str {
        match (protocol, self) {
            (ModelProtocol::Openai, Self::Whole) => "stop",
            (ModelProtocol::Openai, Self::Limit) => "length",
            (ModelProtocol::Openai, Self::Declined) => "content_filter",
            (ModelProtocol::Anthropic, Self::Whole) => "end_turn",
            (ModelProtocol::Anthropic, Self::Limit) => "max_tokens",
            (ModelProtocol::Anthropic, Self::Declined) => "refusal",
        }
    }
}

fn success(call: &ModelCall, text: &str, finish: Finish) -> Response {
    answer(NAME, 200, body_of(call, text, finish))
}

fn twice(mut body: Value) -> Value {
    for list in ["choices", "content"] {
        if let Some(list) = body.get_mut(list).and_then(Value::as_array_mut) {
            list.extend(list.clone());
        }
    }
    body
}

fn body_of(call: &ModelCall, text: &str, finish: Finish) -> Value {
    let (read, written) = (words(&call.system) + words(call.question()), words(text));
    match call.protocol {
        ModelProtocol::Openai => json!({
            "id": "chatcmpl-stand-in", "object": "chat.completion", "model": call.model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": text },
                "finish_reason": finish.word(call.protocol),
            }],
            "usage": {
                "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
                "prompt_tokens_details": { "cached_tokens": 1 },
            },
        }),
        ModelProtocol::Anthropic => json!({
            "id": "msg_stand_in", "type": "message", "role": "assistant", "model": call.model,
            "content": [{ "type": "text", "text": text }],
            "stop_reason": finish.word(call.protocol),
            "usage": {
                "input_tokens": read, "output_tokens": written,
                "cache_read_input_tokens": 1, "cache_creation_input_tokens": 0,
            },
        }),
    }
}

/// A stand-in's idea of a token.
fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn error(protocol: ModelProtocol, http: u16, code: &str, message: &str) -> Response {
    let body = match protocol {
        ModelProtocol::Openai => json!({ "error": { "message": message, "type": code, "code": code } }),
        ModelProtocol::Anthropic => json!({ "type": "error", "error": { "type": code, "message": message } }),
    };
    answer(NAME, http, body)
}

/// A call under way, counted until it is answered or its caller has gone.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn count(shared: &'a Shared) -> Self {
        let mut counts = lock(&shared.in_flight);
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        drop(counts);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        lock(&self.0.in_flight).0 -= 1;
    }
}
