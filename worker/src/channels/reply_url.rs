//! Replies to a business's own address: a POST signed as the Standard Webhooks specification has it.
//!
//! The signed `webhook-id` is the send's id, and the receiver drops a second one with the same id; so an unknown send
//! may be sent again.

use std::time::Duration;

use async_trait::async_trait;
use common::config::{Secret, Source};
use common::domain::Micros;
use common::providers;
use common::signature::{self, Scheme};
use serde_json::json;
use url::Url;

use super::{Channel, Outgoing, Refusal, RefusalClass, SendOutcome, no_answer, refused};
use crate::http::{Call, Http, Reply};

/// As long as anything sensible; a business's own system states no limit.
const LIMIT: usize = 65_536;

/// A business's own address for replies.
pub(super) struct ReplyUrl {
    name: String,
    scheme: Scheme,
    url: Option<Url>,
    secret: Option<Secret>,
    timeout: Duration,
    http: Option<Http>,
}

impl ReplyUrl {
    pub(super) fn of(source: &Source, timeout: Duration) -> Self {
        Self {
            name: source.name.to_string(),
            scheme: providers::reply_scheme(source),
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
        let Some(secret) = &self.secret else {
            return refused(RefusalClass::NotConfigured, "no_signing_secret");
        };
        let (id, body) = (outgoing.send_id.to_string(), body(outgoing));
        let Ok(headers) = signature::sign(&self.scheme, secret, body.as_bytes(), &id, Micros::wall()) else {
            return refused(RefusalClass::NotConfigured, "no_signing_secret");
        };
        let headers = headers.into_iter().map(|(name, value)| (name.into(), Secret::new(value))).collect();
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
