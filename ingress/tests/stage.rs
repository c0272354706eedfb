//! What the ingress's tests share: a queue that does as it is told, requests, and answers taken apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use common::config::{Secret, Source, Vars};
use common::domain::{Inbound, Kind, Micros, Provider};
use common::envelope::Envelope;
use common::providers;
use common::queue::{PublishError, Publisher};
use common::seal::Key;
use common::signature::sign;
use ingress::{Ingress, IngressConfig};
use serde_json::Value;
use tower::ServiceExt;

/// The wall clock of every test.
pub(crate) const NOW: Micros = Micros::from_seconds(1_700_000_000);

/// What the stand-in queue does with a publish.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Confirm,
    Disconnected,
    Hang,
    Panic,
    /// Confirms all but one.
    FailSecond,
}

/// A stand-in queue: keeps what it confirmed.
pub(crate) struct StandIn {
    mood: Mutex<Mood>,
    pub(crate) kept: Mutex<Vec<Vec<u8>>>,
    pub(crate) tallies: Mutex<Vec<Vec<u8>>>,
    asked: Mutex<usize>,
}

impl StandIn {
    pub(crate) fn feeling(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(mood),
            kept: Mutex::default(),
            tallies: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        *self.asked.lock().unwrap() = 0;
    }
}

#[async_trait]
impl Publisher for StandIn {
    async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        let mood = *self.mood.lock().unwrap();
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            *asked
        };
        match mood {
            Mood::Disconnected => return Err(PublishError::Disconnected),
            Mood::Hang => std::future::pending().await,
            Mood::Panic => panic!("the stand-in queue was told to panic"),
            Mood::FailSecond if asked == 2 => return Err(PublishError::Refused),
            Mood::FailSecond | Mood::Confirm => {}
        }
        let tally = envelope.header().kind == Kind::Tally;
        let kept = if tally { &self.tallies } else { &self.kept };
        kept.lock().unwrap().push(envelope.bytes().to_vec());
        Ok(())
    }

    fn ready(&self) -> Result<(), PublishError> {
        match *self.mood.lock().unwrap() {
            Mood::Disconnected => Err(PublishError::Disconnected),
            Mood::Confirm | Mood::Hang | Mood::Panic | Mood::FailSecond => Ok(()),
        }
    }
}

/// An ingress on the stage.
pub(crate) struct Stage {
    pub(crate) ingress: Ingress,
    pub(crate) queue: Arc<StandIn>,
    pub(crate) config: IngressConfig,
}

/// A status, its `code` (empty for a 200), the body and the headers.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) body: Value,
    pub(crate) text: String,
    pub(crate) headers: HashMap<String, String>,
}

pub(crate) const FILE: &str = r#"
[[source]]
name = "whatsapp"
provider = "whatsapp"
secrets = ["the-new-app-secret-of-32-characters", "the-old-app-secret-of-32-characters"]
verify_token = "a-handshake-token-of-32-characters!"

[[source]]
name = "quiet"
provider = "whatsapp"
secrets = ["the-new-app-secret-of-32-characters"]

[[source]]
name = "elevenlabs"
provider = "elevenlabs"
secrets = ["the-webhook-secret-of-32-characters"]

[[source]]
name = "partner"
provider = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]

[[source]]
name = "small"
provider = "hmac"
header = "X-Sign"
secrets = ["the-shared-secret-of-32-characters!"]
body_limit = 1000

[[source]]
name = "guarded"
provider = "hmac"
header = "X-Sign"
secrets = ["the-shared-secret-of-32-characters!"]
allow_ips = ["192.0.2.0/24"]
trusted_proxies = ["10.0.0.0/8"]

[[source]]
name = "slow"
provider = "hmac"
header = "X-Sign"
secrets = ["the-shared-secret-of-32-characters!"]
rate_per_minute = 2
"#;

/// The environment of a configuration file's text; the folder must outlive its reading.
pub(crate) fn environment(folder: &tempfile::TempDir, file: &str, more: &[(&str, &str)]) -> Vars {
    let path = folder.path().join("handrail.toml");
    std::fs::write(&path, file).unwrap();
    let mut map: HashMap<String, String> = HashMap::from([
        ("HANDRAIL_CONFIG".into(), path.display().to_string()),
        ("HANDRAIL_QUEUE_KEYS".into(), format!("q1:{}", Key::generate().to_base64())),
        ("HANDRAIL_PSEUDONYM_KEY".into(), Key::generate().to_base64()),
        ("INGRESS_BIND".into(), "127.0.0.1:0".into()),
        ("INGRESS_ADMIN_BIND".into(), "127.0.0.1:0".into()),
    ]);
    map.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Vars::from_map(map)
}

pub(crate) async fn stage(mood: Mood) -> Stage {
    stage_with(mood, |_| {}).await
}

pub(crate) async fn stage_with(mood: Mood, change: impl FnOnce(&mut IngressConfig)) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let mut config = IngressConfig::load(&environment(&folder, FILE, &[])).unwrap();
    config.clock = || NOW;
    change(&mut config);
    let queue = StandIn::feeling(mood);
    let ingress = Ingress::bind(config.clone(), queue.clone()).await.unwrap();
    Stage { ingress, queue, config }
}

impl Stage {
    pub(crate) fn source(&self, name: &str) -> &Source {
        self.config.sources.values().find(|source| source.name.as_str() == name).unwrap()
    }

    /// The headers that prove a body to a source, signed with one of its secrets.
    pub(crate) fn proof(&self, name: &str, secret: usize, body: &[u8], at: Micros) -> Vec<(String, String)> {
        let source = self.source(name);
        let secret: &Secret = &source.secrets[secret];
        sign(&providers::scheme(source).unwrap(), secret, body, "msg_1", at).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.ingress.routes().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let headers: HashMap<String, String> =
            response.headers().iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        let text = String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Answer { status, code, body, text, headers }
    }

    pub(crate) async fn post(&self, name: &str, headers: &[(String, String)], body: impl Into<Body>) -> Answer {
        self.send(request(Method::POST, &format!("/webhooks/{name}"), headers, body)).await
    }

    /// A rightly signed post.
    pub(crate) async fn signed(&self, name: &str, body: &[u8]) -> Answer {
        self.post(name, &self.proof(name, 0, body, NOW), body.to_vec()).await
    }

    /// Everything that the queue has confirmed, opened, in the order of its sequence.
    pub(crate) fn queued(&self) -> Vec<(Envelope, Inbound)> {
        let open = |bytes: &Vec<u8>| {
            let envelope = Envelope::decode(bytes.clone()).unwrap();
            let inbound = envelope.open(&self.config.secrets.queue).unwrap();
            (envelope, inbound)
        };
        let mut all: Vec<_> = self.queue.kept.lock().unwrap().iter().map(open).collect();
        all.sort_by_key(|(envelope, _)| envelope.header().sequence);
        all
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(String, String)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(body.into()).unwrap()
}

pub(crate) fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What every refusal must look like: RFC 9457, a stable code, the request's id, security headers, nothing inner.
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code.as_str()), (status, code), "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], status);
    assert_eq!(answer.body["request_id"], answer.headers["x-request-id"].as_str());
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut keys: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["code", "detail", "request_id", "status", "title", "type"]);
}

pub(crate) fn assert_accepted(answer: &Answer, count: usize) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.body["status"], "accepted");
    assert_eq!(answer.body["accepted"], count);
    assert_eq!(answer.body["request_id"], answer.headers["x-request-id"].as_str());
    assert_eq!(answer.body.as_object().unwrap().len(), 3);
}

pub(crate) const PROVIDERS: [Provider; 6] = Provider::ALL;
