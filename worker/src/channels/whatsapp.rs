//! Replies through WhatsApp's Cloud API, as text.
//!
//! Our send's id travels as `biz_opaque_callback_data`; every status that Meta reports names it again, which is how an
//! unknown send is reconciled. Meta does not drop a second send with the same id, so an unknown one is not repeated.

use std::time::Duration;

use async_trait::async_trait;
use common::config::{Secret, Source};
use serde_json::{Value, json};
use url::Url;

use super::{Channel, Outgoing, Refusal, RefusalClass, SendOutcome, no_answer, refused, unread};
use crate::http::{Call, Http, Reply, under};

/// The longest text of one message.
const LIMIT: usize = 4_096;

/// How long after the customer's last message free text is allowed.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// A business's WhatsApp account.
pub(super) struct WhatsApp {
    name: String,
    api_url: Url,
    token: Option<Secret>,
    number: Option<String>,
    timeout: Duration,
    http: Http,
}

impl WhatsApp {
    /// `None` without an API to send to.
    pub(super) fn of(source: &Source, timeout: Duration) -> Option<Self> {
        let api_url = source.api_url.clone()?;
        Some(Self {
            name: source.name.to_string(),
            http: Http::towards(&api_url, timeout),
            api_url,
            token: source.access_token.clone(),
            number: source.phone_number_id.clone(),
            timeout,
        })
    }

    /// The reply leaves from the number that received.
    fn sender<'a>(&'a self, outgoing: &'a Outgoing) -> Option<&'a str> {
        let received_by = Some(outgoing.party.account.as_str()).filter(|account| !account.is_empty());
        received_by.or(self.number.as_deref())
    }
}

#[async_trait]
impl Channel for WhatsApp {
    fn limit(&self) -> usize {
        LIMIT
    }

    fn window(&self) -> Option<Duration> {
        Some(WINDOW)
    }

    fn idempotent(&self) -> bool {
        false
    }

    async fn send(&self, outgoing: &Outgoing) -> SendOutcome {
        let Some(token) = &self.token else { return refused(RefusalClass::NotConfigured, "no_access_token") };
        let Some(sender) = self.sender(outgoing) else {
            return refused(RefusalClass::NotConfigured, "no_phone_number_id");
        };
        let call = Call {
            url: under(&self.api_url, &[sender, "messages"]),
            headers: vec![("authorization".into(), Secret::new(format!("Bearer {}", token.expose())))],
            body: body(outgoing),
            within: self.timeout,
            who: &self.name,
        };
        match self.http.post(call).await {
            Ok(reply) => outcome(reply),
            Err(trouble) => no_answer(trouble),
        }
    }
}

fn body(outgoing: &Outgoing) -> String {
    json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": outgoing.party.address.value,
        "type": "text",
        "text": { "preview_url": false, "body": outgoing.text },
        "biz_opaque_callback_data": outgoing.send_id.to_string(),
    })
    .to_string()
}

fn outcome(reply: Reply) -> SendOutcome {
    let json = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap_or_default();
    match reply.status {
        200..300 => match reply.body {
            Ok(body) => match json(&body)["messages"][0]["id"].as_str() {
                Some(id) if !id.is_empty() => SendOutcome::Accepted { provider_id: Some(id.to_owned()) },
                _ => SendOutcome::Unknown { why: "unreadable_answer" },
            },
            Err(why) => unread(why),
        },
        408 => SendOutcome::Unknown { why: "timeout" },
        300..500 => {
            let body = reply.body.map(|body| json(&body)).unwrap_or_default();
            SendOutcome::Refused(refusal(reply.status, reply.retry_after, &body["error"]))
        }
        _ => SendOutcome::Unknown { why: "server_error" },
    }
}

fn refusal(status: u16, retry_after: Option<Duration>, error: &Value) -> Refusal {
    let code = error["code"].as_i64();
    let subcode = error["error_subcode"].as_i64();
    let class = match (status, code, subcode) {
        (429, _, _) => RefusalClass::RateLimited,
        // 33: the object in the path, here our own number, does not exist or is not ours.
        (_, Some(100), Some(33)) => RefusalClass::NotConfigured,
        (_, Some(code), _) => by_code(code).unwrap_or_else(|| by_status(status)),
        (_, None, _) => by_status(status),
    };
    Refusal { class, code: code.map_or_else(|| status.to_string(), |code| code.to_string()), retry_after }
}

/// Meta's error codes, as far as they mean something to us.
fn by_code(code: i64) -> Option<RefusalClass> {
    match code {
        131_047 | 470 => Some(RefusalClass::WindowClosed),
        // The app's, the account's, the number's throughput, the pair's; 131048 is Meta's brake on spam.
        4 | 80_007 | 130_429 | 131_056 | 131_048 => Some(RefusalClass::RateLimited),
        // Token, permissions, access; a locked account, unpaid bills, a number that is not registered.
        0 | 3 | 10 | 190 | 200..=299 | 131_005 | 131_031 | 131_042 | 133_010 => Some(RefusalClass::NotConfigured),
        2 | 131_016 | 133_004 => Some(RefusalClass::Unavailable),
        _ => None,
    }
}

fn by_status(status: u16) -> RefusalClass {
    match status {
        // A redirect or a missing page is an API address that is not one.
        300..=399 | 401 | 403 | 404 | 405 => RefusalClass::NotConfigured,
        429 => RefusalClass::RateLimited,
        _ => RefusalClass::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_metas_has_its_class() {
        use RefusalClass::{NotConfigured, RateLimited, Rejected, Unavailable, WindowClosed};
        let rows = [
            (400, 131_047, WindowClosed),
            (400, 470, WindowClosed),
            (400, 130_429, RateLimited),
            (400, 131_056, RateLimited),
            (400, 80_007, RateLimited),
            (400, 4, RateLimited),
            (429, 999, RateLimited),
            (401, 190, NotConfigured),
            (403, 10, NotConfigured),
            (403, 200, NotConfigured),
            (403, 131_005, NotConfigured),
            (400, 2, Unavailable),
            (400, 131_026, Rejected),
            (400, 100, Rejected),
        ];
        for (status, code, class) in rows {
            let refusal = refusal(status, None, &json!({ "code": code }));
            assert_eq!((refusal.class, refusal.code), (class, code.to_string()), "{status} {code}");
        }
        assert_eq!(refusal(400, None, &json!({ "code": 100, "error_subcode": 33 })).class, NotConfigured);
        for (status, class) in [(401, NotConfigured), (403, NotConfigured), (302, NotConfigured), (400, Rejected)] {
            assert_eq!(refusal(status, None, &Value::Null).class, class, "{status}");
        }
    }

    #[test]
    fn the_body_is_text_without_preview_and_names_our_send() {
        let outgoing = super::super::tests::outgoing();
        let body: Value = serde_json::from_str(&body(&outgoing)).unwrap();
        assert_eq!(body["text"], json!({ "preview_url": false, "body": outgoing.text }));
        assert_eq!(body["biz_opaque_callback_data"], outgoing.send_id.to_string());
        assert_eq!(body["to"], "15550100");
    }
}
