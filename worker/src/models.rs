//! Models: text in, a draft out. Each protocol is one file; an error says what recovery needs to know.

use std::time::Duration;

use async_trait::async_trait;

use crate::pipeline::prompt::Prompt;

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text, not yet approved.
    pub text: String,
    /// Tokens read, as the provider counts them; `None` when it does not say.
    pub tokens_in: Option<u32>,
    /// Tokens written.
    pub tokens_out: Option<u32>,
    /// Tokens read from the provider's cache.
    pub tokens_cached: Option<u32>,
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
    /// The answer is not in the protocol's shape, or holds no text.
    #[error("the model's answer is malformed: {0}")]
    Malformed(&'static str),
    /// 401, 403, 404: our own configuration.
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
