//! Replies to a business's own address: a POST signed as the Standard Webhooks specification has it.
//!
//! The signed `webhook-id` is the send's id, and the receiver drops a second one with the same id; so an unknown send
//! may be sent again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::config::{Secret, Source};
use common::domain::Provider;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use url::Url;

use super::{Channel, Outgoing, Refusal, RefusalClass, SendOutcome, no_answer, refused};
use crate::http::{Call, Http, Reply};

/// As long as anything sensible; a business's own system states no limit.
const LIMIT: usize = 65_536;

/// A business's own address for replies.
pub(super) struct ReplyUrl {
    name: String,
    provider: Provider,
    url: Option<Url>,
    secret: Option<Secret>,
    timeout: Duration,
    http: Option<Http>,
}

impl ReplyUrl {
    pub(super) fn of(source: &Source, timeout: Duration) -> Self {
        Self {
            name: source.name.to_string(),
            provider: source.provider,
            url: source.reply_url.clone(),
            // The first one signs; the others only verify, while they are rotated out.
            secret: source.secrets.first().cloned(),
            timeout,
            http: source.reply_url.as_ref().map(|url| Http::towards(url, timeout)),
        }
    }
}

#[async_trait]
impl Channel for ReplyUrl {
    fn limit(&self) -> usize {
        LIMIT
    }

    fn window(&self) -> Option<Duration> {
        None
    }

    fn idempotent(&self) -> bool {
        true
    }

    async fn send(&self, outgoing: &Outgoing) -> SendOutcome {
        let (Some(url), Some(http)) = (&self.url, &self.http) else {
            return refused(RefusalClass::NotConfigured, "no_reply_url");
        };
        let Some(key) = self.secret.as_ref().and_then(|secret| key(secret, self.provider)) else {
            return refused(RefusalClass::NotConfigured, "no_signing_secret");
        };
        let (id, body) = (outgoing.send_id.to_string(), body(outgoing));
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let Some(signature) = sign(&key, &id, &timestamp, &body) else {
            return refused(RefusalClass::NotConfigured, "no_signing_secret");
        };
        let headers = vec![
            ("webhook-id", Secret::new(id)),
            ("webhook-timestamp", Secret::new(timestamp)),
            ("webhook-signature", Secret::new(signature)),
        ];
        match http.post(Call { url: url.clone(), headers, body, within: self.timeout, who: &self.name }).await {
            Ok(reply) => outcome(&reply),
            Err(trouble) => no_answer(trouble),
        }
    }
}

fn body(outgoing: &Outgoing) -> String {
    let in_reply_to: Vec<String> = outgoing.in_reply_to.iter().map(ToString::to_string).collect();
    json!({
        "type": "reply",
        "conversation": outgoing.conversation.to_string(),
        "in_reply_to": in_reply_to,
        "text": outgoing.text,
        "locale": outgoing.locale,
    })
    .to_string()
}

/// The bytes that sign. `whsec_` marks base64 everywhere; without it an `hmac` source's secret is its own text, and a
/// Standard Webhooks one is base64 all the same.
fn key(secret: &Secret, provider: Provider) -> Option<Vec<u8>> {
    let text = secret.expose();
    match (text.strip_prefix("whsec_"), provider) {
        (Some(encoded), _) => STANDARD.decode(encoded).ok(),
        (None, Provider::Hmac) => Some(text.as_bytes().to_vec()),
        (None, _) => STANDARD.decode(text).ok(),
    }
    .filter(|key| !key.is_empty())
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
fn sign(key: &[u8], id: &str, timestamp: &str, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in [id, ".", timestamp, ".", body] {
        mac.update(part.as_bytes());
    }
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// The status alone decides; the answer's body means nothing to us. Of the server errors only 503 says that nothing
/// was taken: behind 502 and 504 stands a gateway that may have passed the request on.
fn outcome(reply: &Reply) -> SendOutcome {
    let class = match reply.status {
        200..300 => return SendOutcome::Accepted { provider_id: None },
        408 => return SendOutcome::Unknown { why: "timeout" },
        429 => RefusalClass::RateLimited,
        503 => RefusalClass::Unavailable,
        300..=399 | 401 | 403 | 404 | 405 => RefusalClass::NotConfigured,
        400..500 => RefusalClass::Rejected,
        _ => return SendOutcome::Unknown { why: "server_error" },
    };
    SendOutcome::Refused(Refusal { class, code: reply.status.to_string(), retry_after: reply.retry_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_specifications_own_example() {
        // The example of the Standard Webhooks libraries' tests.
        let key = key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Provider::StandardWebhooks).unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_secrets_form_decides_its_key() {
        let of = |text: &str, provider| key(&Secret::new(text), provider);
        assert_eq!(of("whsec_aGVsbG8=", Provider::Hmac), Some(b"hello".to_vec()));
        assert_eq!(of("aGVsbG8=", Provider::StandardWebhooks), Some(b"hello".to_vec()));
        assert_eq!(of("aGVsbG8=", Provider::Hmac), Some(b"aGVsbG8=".to_vec()));
        assert_eq!(of("whsec_", Provider::Hmac), None);
        assert_eq!(of("not base64!", Provider::StandardWebhooks), None);
    }
}
