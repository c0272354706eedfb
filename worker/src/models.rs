//! Models: text in, a draft out. Each protocol is one file; an error says what recovery needs to know, and
//! [`chain`] who is asked after whom.

mod anthropic;
pub mod chain;
mod openai;
mod scripted;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::config::{ModelConfig, Protocol, Secret};
use url::Url;

use crate::http::Http;
use crate::pipeline::prompt::Prompt;

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text, not yet approved.
    pub text: String,
    /// Tokens read, as the provider counts them, those from its cache included; `None` when it does not say.
    pub tokens_in: Option<u32>,
    /// Tokens written.
    pub tokens_out: Option<u32>,
    /// Tokens read from the provider's cache.
    pub tokens_cached: Option<u32>,
    /// Whether the token limit cut it off.
    pub cut: bool,
}

/// Why a model gave no usable answer. Texts name no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// 429: wait as told.
    #[error("the model's provider limits the rate")]
    RateLimited {
        /// From `Retry-After` (seconds or HTTP date) or `retry-after-ms`.
        retry_after: Option<Duration>,
    },
    /// 5xx or an overload word: the provider has trouble.
    #[error("the model's provider is overloaded or failing (HTTP {status})")]
    Overloaded {
        /// The HTTP status.
        status: u16,
        /// As for [`ModelError::RateLimited`].
        retry_after: Option<Duration>,
    },
    /// No connection: nothing was sent.
    #[error("the model's provider cannot be reached")]
    Unreachable,
    /// No whole answer before the deadline; it may have been paid for.
    #[error("no answer within the deadline")]
    TimedOut,
    /// The provider or the model declines this content.
    #[error("the model declined to answer")]
    Refused,
    /// The prompt does not fit.
    #[error("the prompt is longer than the model's context")]
    ContextTooLong,
    /// The answer is not in the protocol's shape, holds no text, or broke off with its connection. (A provider that is
    /// down refuses the next connection; one that dies of this very prompt does it again.)
    #[error("the model's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The provider says that our account has nothing left to spend. It comes as a 429, and waiting does not help.
    #[error("the model's provider says that our account's quota is used up: add credit or raise its limit")]
    QuotaExhausted,
    /// 401, 403, 404 and every other 4xx or 3xx that says nothing else: our own configuration. Zero when our own key
    /// cannot be written into a header.
    #[error("the model's provider refuses our configuration (HTTP {0})")]
    Misconfigured(u16),
}

impl ModelError {
    /// A constant word for metrics and traces.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::ContextTooLong => "context_too_long",
            Self::Malformed(_) => "malformed",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// A language model behind one of the protocols.
#[async_trait]
pub trait Model: Send + Sync {
    /// Its configured name, for traces and metrics.
    fn name(&self) -> &str;

    /// One call, without retries: recovery owns those.
    ///
    /// # Errors
    /// [`ModelError`], at the latest when `deadline` has passed.
    async fn complete(&self, prompt: &Prompt, deadline: Duration) -> Result<Answer, ModelError>;
}

/// A model that configuration describes too little of.
#[derive(Debug, thiserror::Error)]
#[error("model '{0}' needs a base_url ('/v1' included) for its protocol")]
pub struct NoBaseUrl(String);

/// What both network protocols need to know of a model.
struct Endpoint {
    name: String,
    base_url: Url,
    api_key: Option<Secret>,
    model: String,
    http: Http,
}

/// The model that `config` describes. Nothing is called yet: the first call connects, within `deadline` at most.
///
/// # Errors
/// [`NoBaseUrl`], which a checked configuration has ruled out.
pub fn connect(config: &ModelConfig, deadline: Duration) -> Result<Arc<dyn Model>, NoBaseUrl> {
    let endpoint = || {
        let base_url = config.base_url.clone().ok_or_else(|| NoBaseUrl(config.name.clone()))?;
        Ok(Endpoint {
            name: config.name.clone(),
            http: Http::towards(&base_url, deadline),
            base_url,
            api_key: config.api_key.clone(),
            model: config.model.clone(),
        })
    };
    Ok(match config.protocol {
        Protocol::Openai => Arc::new(openai::OpenAi::new(endpoint()?)),
        Protocol::Anthropic => Arc::new(anthropic::Anthropic::new(endpoint()?)),
        Protocol::Scripted => Arc::new(scripted::Scripted::new(config.name.clone())),
    })
}

#[cfg(test)]
mod against_stand_in;
