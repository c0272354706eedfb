//! The desk: everything that the parts of one worker share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::config::Timing;
use common::domain::{Micros, SendId, SourceName, WorkerId};
use common::seal::Keyring;
use common::store::{NewSend, Store};
use common::trace::TraceContext;

use crate::bell::Bell;
use crate::channels::{self, Channels};
use crate::models::chain::Chain;
use crate::notices::Notifiers;
use crate::outages::Outages;
use crate::pipeline::guardrails::{Approved, Guardrails};

/// What every part of a worker can reach.
pub struct Desk {
    /// This worker's life.
    pub worker: WorkerId,
    /// The store.
    pub store: Store,
    /// Opens envelopes.
    pub queue_keys: Keyring,
    /// The policy in force, ready to judge.
    pub policies: ArcSwap<Guardrails>,
    /// The models, in order of preference.
    pub chain: Chain,
    /// The ways to customers.
    pub channels: Channels,
    /// The ways to teams.
    pub notifiers: Notifiers,
    /// Who may call them, and who waits.
    pub outages: Outages,
    /// The protocol's constants.
    pub timing: Timing,
    /// Rings for turns.
    pub turns: Bell,
    /// Rings for deliveries.
    pub deliveries: Bell,
    /// Rolls recovery's jitter, from 0 to 1.
    pub dice: fn() -> f64,
}

/// A limit for sources whose channel does not exist: such sends are refused later, whole.
const NO_CHANNEL_LIMIT: usize = 65_536;

impl Desk {
    /// The policy in force now; whoever holds it goes on with it when another comes into force.
    #[must_use]
    pub fn guardrails(&self) -> Arc<Guardrails> {
        self.policies.load_full()
    }

    /// Cuts an approved text into the parts that its source's channel takes. The only way from text to outbox (P5).
    #[must_use]
    pub fn parts(
        &self,
        source: &SourceName,
        approved: &Approved,
        purpose: &'static str,
        trace: TraceContext,
    ) -> Vec<NewSend> {
        let limit = self.channels.for_source(source).map_or(NO_CHANNEL_LIMIT, |channel| channel.limit());
        let texts = channels::split(approved.text(), limit);
        let count = i64::try_from(texts.len()).unwrap_or(i64::MAX);
        let part = |(number, text): (i64, String)| NewSend {
            id: SendId::random(),
            author: approved.author(),
            person: None,
            purpose,
            text,
            locale: approved.locale().to_owned(),
            part: (number, count),
            trace: trace.to_string(),
        };
        (1..).zip(texts).map(part).collect()
    }
}

/// How long from `now` until `at`; zero when it has passed.
#[must_use]
pub fn until(now: Micros, at: Micros) -> Duration {
    at.since(now)
}
