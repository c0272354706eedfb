//! Posting to a running ingress: the one place of this crate that makes HTTP requests.

use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::output;

const TIMEOUT: Duration = Duration::from_secs(15);

/// A client for a running ingress.
#[derive(Clone, Debug)]
pub(crate) struct Http(reqwest::Client);

/// An ingress's answer.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn new() -> Result<Self, Failure> {
        let built = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        built.map(Self).map_err(|error| Failure::cannot_run(format!("cannot make an HTTP client: {error}")))
    }

    /// Posts a body, once.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Answered, Failure> {
        let mut request = self.0.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| unreachable(url, &error))?;
        let status = response.status().as_u16();
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = response.text().await.map_err(|error| unreachable(url, &error))?;
        let told = serde_json::from_str::<Value>(&body).unwrap_or_default();
        let request_id = request_id.or_else(|| Some(output::text(&told["request_id"])).filter(|id| !id.is_empty()));
        Ok(Answered { status, request_id, body })
    }
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    let why = if error.is_builder() {
        "is not a URL: give one like http://127.0.0.1:8080"
    } else if error.is_connect() {
        "nobody listens there: start it with `handrail up`"
    } else {
        "no answer"
    };
    Failure::cannot_run(format!("{url}: {why}"))
}
