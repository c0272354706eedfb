//! The chain: models in order of preference, and who is asked after whom.
//!
//! | failure | what follows |
//! |---|---|
//! | `timed_out`, `overloaded`, `unreachable` | the next: the provider has trouble |
//! | `rate_limited` | the same after the wait that it asks for, where that is [`SHORT`] and somebody else could be asked after it; else the next |
//! | `quota_exhausted`, `misconfigured` | the next: our trouble with this provider only |
//! | `malformed` | the next |
//! | `refused` | an end, unless the policy has the next one asked too |
//! | `context_too_long` | the next whose context is known to be larger |
//!
//! A model whose breaker is open is passed over, and so is one whose call no budget has room for. When nobody is left,
//! recovery judges the failure that leaves most hope: what passes by itself before what may go better another time, and
//! that before what never will. Nothing else repeats a call: the HTTP client does not.

use std::sync::Arc;
use std::time::Duration;

use common::config::ModelConfig;
use common::domain::{Charge, Money, Prices, Usage};

use super::{Answer, Model, ModelError, NoBaseUrl};
use crate::pipeline::prompt::Prompt;
use crate::policy::{AfterRefusal, Spending};
use crate::recovery::Class;

/// The longest wait that is worth a slot while somebody else could be asked.
pub const SHORT: Duration = Duration::from_secs(2);

/// Tokens for a message's role and separators, beyond its bytes.
const PER_LINE: u64 = 32;
/// Tokens for what a provider puts around every prompt.
const PER_PROMPT: u64 = 256;

/// One model of the chain.
pub struct Link {
    model: Arc<dyn Model>,
    provider: String,
    prices: Option<Prices>,
    context: Option<u32>,
}

/// Models in order of preference; never none. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    links: Vec<Arc<Link>>,
}

/// Why there is no chain.
#[derive(Debug, thiserror::Error)]
pub enum NoChain {
    /// Nothing is configured.
    #[error("none is configured")]
    Empty,
    /// A model cannot be spoken to.
    #[error(transparent)]
    Unusable(#[from] NoBaseUrl),
    /// A name that no model has.
    #[error("no [[model]] is named '{0}'")]
    Unknown(String),
    /// A budget in money, and a model of which nobody knows what it costs.
    #[error("'{model}' has no price in {currency}, in which the policy's [budget] is: give it a [model.price]")]
    Unpriced {
        /// The model.
        model: String,
        /// The budget's currency.
        currency: String,
    },
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The same model again, after a wait.
    Same(Duration),
    /// The next.
    Next,
    /// The next with a larger context.
    Larger,
    /// Nobody.
    End,
}

impl Link {
    /// A model with what is known of it.
    #[must_use]
    pub fn new(model: Arc<dyn Model>, provider: &str, prices: Option<Prices>, context: Option<u32>) -> Self {
        Self { model, provider: provider.to_owned(), prices, context }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// Its configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Who serves it.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// What it costs, if anybody knows.
    #[must_use]
    pub const fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    /// Whether its context is known to be larger than another's.
    fn holds_more_than(&self, other: &Self) -> bool {
        matches!((self.context, other.context), (Some(own), Some(other)) if own > other)
    }

    /// The most that asking it can cost. No token is shorter than a byte, so a prompt's bytes are more than its tokens.
    #[must_use]
    pub fn most(&self, prompt: &Prompt) -> Option<Money> {
        let lines: u64 = prompt.lines().iter().map(|_| PER_LINE).sum();
        let read = u64::try_from(prompt.bytes()).unwrap_or(u64::MAX) + lines + PER_PROMPT;
        self.prices.as_ref().map(|prices| prices.worst(read, prompt.max_output_tokens().into()))
    }

    /// What an answer is charged: what the provider says it used, and everything reserved where it does not say.
    #[must_use]
    pub fn charge(&self, answer: &Answer) -> Charge {
        match (&self.prices, answer.tokens_in, answer.tokens_out) {
            (Some(prices), Some(read), Some(written)) => {
                let cached = answer.tokens_cached.unwrap_or(0).into();
                Charge::Cost(prices.cost(Usage { read: read.into(), cached, written: written.into() }))
            }
            _ => Charge::Reserved,
        }
    }
}

impl Chain {
    /// A chain of these, in this order.
    ///
    /// # Errors
    /// [`NoChain::Empty`].
    pub fn new(links: Vec<Link>) -> Result<Self, NoChain> {
        if links.is_empty() {
            return Err(NoChain::Empty);
        }
        Ok(Self { links: links.into_iter().map(Arc::new).collect() })
    }

    /// The configured models. Nothing is called yet.
    ///
    /// # Errors
    /// [`NoChain`].
    pub fn connect(configs: &[ModelConfig], deadline: Duration) -> Result<Self, NoChain> {
        let link = |config: &ModelConfig| {
            let model = super::connect(config, deadline)?;
            Ok(Link::new(model, &config.provider, config.prices.clone(), config.context_tokens))
        };
        Self::new(configs.iter().map(link).collect::<Result<_, NoBaseUrl>>()?)
    }

    /// The models of these names, in this order.
    ///
    /// # Errors
    /// [`NoChain::Unknown`] names the first that there is none of.
    pub fn of<S: AsRef<str>>(&self, names: &[S]) -> Result<Self, NoChain> {
        let link = |name: &S| {
            let found = self.links.iter().find(|link| link.name() == name.as_ref());
            found.cloned().ok_or_else(|| NoChain::Unknown(name.as_ref().to_owned()))
        };
        let links: Vec<_> = names.iter().map(link).collect::<Result<_, _>>()?;
        if links.is_empty() { Err(NoChain::Empty) } else { Ok(Self { links }) }
    }

    /// Its models, in order.
    #[must_use]
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Their names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.links.iter().map(|link| link.name()).collect()
    }

    /// Whether every model may be used under a policy's budgets.
    ///
    /// # Errors
    /// [`NoChain::Unpriced`]: what cannot be counted cannot be kept within a cap.
    pub fn affords(&self, spending: &Spending) -> Result<(), NoChain> {
        let Some(currency) = spending.currency() else { return Ok(()) };
        match self.links.iter().find(|link| !priced_in(link, currency)) {
            Some(link) => Err(NoChain::Unpriced { model: link.name().to_owned(), currency: currency.to_owned() }),
            None => Ok(()),
        }
    }

    /// Which link, behind the one at `at`, is asked after it went this way; `None` for nobody.
    #[must_use]
    pub fn after(&self, at: usize, way: Way) -> Option<usize> {
        match way {
            Way::Same(_) => Some(at),
            Way::End => None,
            Way::Next => Some(at + 1).filter(|next| *next < self.links.len()),
            Way::Larger => (at + 1..self.links.len()).find(|next| self.links[*next].holds_more_than(&self.links[at])),
        }
    }
}

/// Whether a model's costs are known in a currency.
pub(crate) fn priced_in(link: &Link, currency: &str) -> bool {
    link.prices().is_some_and(|prices| prices.currency().is_none_or(|own| own == currency))
}

/// What follows a failure, by the table above; `left` is the time in which somebody must have answered, `alone` says
/// that nobody is left to be asked after this model.
#[must_use]
pub fn way(error: &ModelError, after_refusal: AfterRefusal, left: Duration, alone: bool) -> Way {
    match error {
        ModelError::RateLimited { retry_after: Some(wait) } if !alone && *wait <= SHORT && *wait < left / 2 => {
            Way::Same(*wait)
        }
        ModelError::RateLimited { .. }
        | ModelError::Overloaded { .. }
        | ModelError::Unreachable
        | ModelError::TimedOut
        | ModelError::QuotaExhausted
        | ModelError::Misconfigured(_)
        | ModelError::Malformed(_) => Way::Next,
        ModelError::ContextTooLong => Way::Larger,
        ModelError::Refused => match after_refusal {
            AfterRefusal::End => Way::End,
            AfterRefusal::Next => Way::Next,
        },
    }
}

/// Of two failures of one prompt, the one that leaves more hope; of two alike, the first.
#[must_use]
pub fn more_hopeful(first: ModelError, second: ModelError) -> ModelError {
    let hope = |error: &ModelError| match Class::from(error) {
        Class::RateLimited | Class::Outage | Class::Misconfigured | Class::Budget | Class::Store => 2,
        Class::Transient | Class::Refused | Class::Malformed | Class::Crash => 1,
        Class::Context | Class::Poison | Class::Rejected | Class::Stale | Class::Undelivered => 0,
    };
    if hope(&second) > hope(&first) { second } else { first }
}

/// What a failed call is charged. Only one that was certainly not sent costs nothing: a provider that answers with an
/// error may have worked for it.
#[must_use]
pub const fn charge_of(error: &ModelError) -> Charge {
    match error {
        ModelError::Unreachable | ModelError::Misconfigured(0) => Charge::Nothing,
        ModelError::RateLimited { .. }
        | ModelError::Overloaded { .. }
        | ModelError::TimedOut
        | ModelError::Refused
        | ModelError::ContextTooLong
        | ModelError::Malformed(_)
        | ModelError::QuotaExhausted
        | ModelError::Misconfigured(_) => Charge::Reserved,
    }
}

#[cfg(test)]
mod tests;
