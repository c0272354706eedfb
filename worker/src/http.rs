//! Calling out: the only file that knows the HTTP client.
//!
//! It promises three things. A request is sent once: redirects are not followed, and the client repeats one of its own
//! accord only where it never left, or where an HTTP/2 peer states that it did not process it. An error says whether
//! bytes may have left, since a send that may have arrived must never be repeated lightly (P4): only
//! [`Trouble::NotConnected`] and [`Trouble::Unsendable`] are certain that nothing did. And no answer, however large or
//! slow, takes more than its share: bodies are read up to a cap, everything within one deadline.
//!
//! A client is built on first use, because building one fails on a machine without CA certificates, where clear text
//! to loopback needs none; and a failure is not remembered, so that installing them heals. Loopback never goes
//! through a proxy; beyond it the operator's `HTTPS_PROXY` and `NO_PROXY` hold.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use common::config::Secret;
use common::telemetry::field;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::retry_after;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept: short, since a peer that closes one just as we write makes an unknown send.
const IDLE: Duration = Duration::from_secs(15);

/// The largest answer that is read.
const ANSWER_CAP: usize = 1024 * 1024;

/// A client towards one endpoint.
pub(crate) struct Http {
    client: OnceLock<Client>,
    connect_timeout: Duration,
    direct: bool,
    clear_text: bool,
}

/// What one call sends.
pub(crate) struct Call<'a> {
    /// Where to.
    pub(crate) url: Url,
    /// Header names and values; the values never reach a log.
    pub(crate) headers: Vec<(Cow<'static, str>, Secret)>,
    /// The JSON body.
    pub(crate) body: String,
    /// How long all of it may take.
    pub(crate) within: Duration,
    /// What to call it in a log line: a model's or a source's name.
    pub(crate) who: &'a str,
}

/// An answer's head, with as much of its body as came.
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// How long the peer asks us to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The body, or why it could not be read.
    pub(crate) body: Result<Vec<u8>, Unread>,
}

/// Why an answer's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than anything that makes sense.
    TooLarge,
    /// The connection broke.
    Broken,
    /// The deadline passed.
    TimedOut,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No connection was made: nothing was sent.
    NotConnected,
    /// The request cannot be written, a header's value for instance: nothing was sent.
    Unsendable,
    /// The deadline passed; the request may have arrived.
    TimedOut,
    /// The connection broke; the request may have arrived.
    Broken,
}

impl Http {
    /// A client for `url`, whose calls are given `within` at most.
    pub(crate) fn towards(url: &Url, within: Duration) -> Self {
        Self {
            client: OnceLock::new(),
            // Well before the whole deadline, so that a connection that hangs is told from an answer that does.
            connect_timeout: CONNECT_TIMEOUT.min(within / 2),
            direct: is_loopback(url),
            clear_text: url.scheme() == "http",
        }
    }

    /// Posts JSON and reads the answer.
    pub(crate) async fn post(&self, call: Call<'_>) -> Result<Reply, Trouble> {
        let deadline = Instant::now() + call.within;
        let client = self.client(call.who)?;
        let mut request = client.post(call.url).body(call.body);
        request = request.headers(headers(&call.headers)?);
        let response = match timeout_at(deadline, request.send()).await {
            Err(_) => return Err(Trouble::TimedOut),
            Ok(Err(error)) => return Err(trouble(&error)),
            Ok(Ok(response)) => response,
        };
        let read = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = retry_after::read(read, SystemTime::now());
        let status = response.status().as_u16();
        let body = timeout_at(deadline, read_capped(response)).await.unwrap_or(Err(Unread::TimedOut));
        Ok(Reply { status, retry_after, body })
    }

    fn client(&self, who: &str) -> Result<Client, Trouble> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = self.build().map_err(|error| {
            tracing::error!(
                { field::CODE } = "http_client",
                { field::ERROR } = %error.without_url(),
                "cannot build the HTTP client towards '{who}': is the system's ca-certificates package installed?"
            );
            Trouble::NotConnected
        })?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    fn build(&self) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .user_agent(concat!("handrail/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE);
        if self.direct {
            builder = builder.no_proxy();
        }
        if self.clear_text {
            // No certificate is looked at, so a machine that has none may still speak.
            builder = builder.tls_certs_only([]);
        }
        builder.build()
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn headers(pairs: &[(Cow<'static, str>, Secret)]) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::with_capacity(pairs.len() + 1);
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in pairs {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| Trouble::Unsendable)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| Trouble::Unsendable)?, value);
    }
    Ok(headers)
}

fn trouble(error: &reqwest::Error) -> Trouble {
    // Asked first: a connection that timed out is both, and the first is the certain one.
    if error.is_connect() {
        Trouble::NotConnected
    } else if error.is_builder() {
        Trouble::Unsendable
    } else if error.is_timeout() {
        Trouble::TimedOut
    } else {
        Trouble::Broken
    }
}

async fn read_capped(mut response: reqwest::Response) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_CAP => return Err(Unread::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(_) => return Err(Unread::Broken),
        }
    }
}

/// `base` with more path segments; a query, as some deployments need one, stays where it is.
pub(crate) fn under(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    // An error means a URL that cannot have a path; configuration takes http and https only.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// Tests install the TLS provider that `main` installs in a process.
#[cfg(test)]
pub(crate) fn install_tls_for_tests() {
    // A second installation is refused, and the first one holds.
    let _already = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_appended_whatever_the_base_ends_with() {
        for base in ["http://127.0.0.1/v1", "http://127.0.0.1/v1/"] {
            assert_eq!(under(&url(base), &["chat", "completions"]).as_str(), "http://127.0.0.1/v1/chat/completions");
        }
        let with_query = under(&url("https://example.com/openai?api-version=1"), &["x/../y"]);
        assert_eq!(with_query.as_str(), "https://example.com/openai/x%2F..%2Fy?api-version=1");
    }

    #[test]
    fn a_key_that_is_no_header_is_unsendable_and_not_printed() {
        let pairs = [("authorization".into(), Secret::new("Bearer a\nb"))];
        assert_eq!(headers(&pairs).unwrap_err(), Trouble::Unsendable);
        let sound = headers(&[("authorization".into(), Secret::new("Bearer hush"))]).unwrap();
        assert!(!format!("{sound:?}").contains("hush"));
    }

    #[tokio::test]
    async fn a_refused_connection_is_known_to_have_sent_nothing() {
        install_tls_for_tests();
        let target = url(&stand_ins::refusing_url().await.unwrap());
        let within = Duration::from_secs(5);
        let http = Http::towards(&target, within);
        let call = Call { url: target, headers: Vec::new(), body: "{}".to_owned(), within, who: "test" };
        assert_eq!(http.post(call).await.err(), Some(Trouble::NotConnected));
    }
}
