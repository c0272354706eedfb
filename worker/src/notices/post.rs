//! Notices by HTTP: to a system of the business's own, signed by Standard Webhooks, and to Slack-compatible rooms.

use std::time::Duration;

use async_trait::async_trait;
use common::config::{Encoding, HmacAlgorithm, HmacConfig, KeyForm, Secret, Source};
use common::domain::{Micros, Provider, SourceName};
use common::providers;
use common::signature::{self, Scheme};
use common::store::BegunNotice;
use serde_json::json;
use url::Url;

use super::{Message, Notifier, refused};
use crate::channels::{Refusal, RefusalClass, SendOutcome, no_answer};
use crate::http::{Call, Http, Reply};

/// A system of the business's own. The signed `webhook-id` is the notice's id, the same for every try.
pub(super) struct Webhook {
    name: String,
    url: Url,
    secret: Secret,
    scheme: Scheme,
    timeout: Duration,
    http: Http,
}

impl Webhook {
    pub(super) fn new(name: &str, url: Url, secret: Secret, timeout: Duration) -> Result<Self, String> {
        let scheme = scheme(&secret)?;
        signature::sign(&scheme, &secret, b"", "", Micros::wall()).map_err(|error| format!("secret {error}"))?;
        Ok(Self { name: name.to_owned(), http: Http::towards(&url, timeout), url, secret, scheme, timeout })
    }
}

/// Standard Webhooks, by a secret as the specification writes it, or by any other text's own bytes.
fn scheme(secret: &Secret) -> Result<Scheme, String> {
    let name = SourceName::parse("notice").map_err(|error| error.to_string())?;
    let mut source = Source::bare(name, Provider::StandardWebhooks);
    if !["whsec_", "whsk_"].iter().any(|prefix| secret.expose().trim().starts_with(prefix)) {
        source.hmac = Some(HmacConfig {
            header: String::new(),
            prefix: String::new(),
            algorithm: HmacAlgorithm::Sha256,
            encoding: Encoding::Base64,
            signed: String::new(),
            timestamp_header: None,
            key: KeyForm::Text,
        });
    }
    Ok(providers::reply_scheme(&source))
}

#[async_trait]
impl Notifier for Webhook {
    async fn tell(&self, notice: &BegunNotice, message: &Message) -> SendOutcome {
        let mut body = message.data.clone();
        body["type"] = message.kind.as_str().into();
        body["id"] = notice.id.to_string().into();
        body["subject"] = message.subject.as_str().into();
        body["text"] = message.text.as_str().into();
        let (id, body) = (notice.id.to_string(), body.to_string());
        let signed = signature::sign(&self.scheme, &self.secret, body.as_bytes(), &id, Micros::wall());
        let Ok(headers) = signed else { return refused(RefusalClass::NotConfigured, "no_signing_secret") };
        let headers = headers.into_iter().map(|(name, value)| (name.into(), Secret::new(value))).collect();
        let call = Call { url: self.url.clone(), headers, body, within: self.timeout, who: &self.name };
        match self.http.post(call).await {
            Ok(reply) => outcome(&reply),
            Err(trouble) => no_answer(trouble),
        }
    }
}

/// A room that takes incoming webhooks as Slack does.
pub(super) struct Slack {
    name: String,
    url: Url,
    timeout: Duration,
    http: Http,
}

impl Slack {
    pub(super) fn new(name: &str, url: &Secret, timeout: Duration) -> Result<Self, String> {
        let url = Url::parse(url.expose()).map_err(|_| "url is no URL".to_owned())?;
        Ok(Self { name: name.to_owned(), http: Http::towards(&url, timeout), url, timeout })
    }
}

#[async_trait]
impl Notifier for Slack {
    async fn tell(&self, _notice: &BegunNotice, message: &Message) -> SendOutcome {
        let body = json!({ "text": format!("*{}*\n{}", plain(&message.subject), plain(&message.text)) }).to_string();
        let call = Call { url: self.url.clone(), headers: Vec::new(), body, within: self.timeout, who: &self.name };
        match self.http.post(call).await {
            Ok(reply) => outcome(&reply),
            Err(trouble) => no_answer(trouble),
        }
    }
}

/// A customer's words must not call everybody in the room, or hide a link behind another.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

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
    fn a_customers_words_call_nobody_in_a_room() {
        assert_eq!(
            plain("<!channel> & <https://example.com|here>"),
            "&lt;!channel&gt; &amp; &lt;https://example.com|here&gt;"
        );
    }
}
