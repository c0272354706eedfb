//! Every constant of the protocol, with its default; `[timing]` in `handrail.toml` changes them, in seconds.

use std::time::Duration;

use serde::Deserialize;

macro_rules! timing {
    ($($(#[$doc:meta])* $field:ident : $key:literal = $seconds:literal),+ $(,)?) => {
        /// How long the protocol waits for things.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Timing { $($(#[$doc])* pub $field: Duration),+ }

        impl Default for Timing {
            fn default() -> Self {
                Self { $($field: Duration::from_micros(($seconds * 1_000_000.0) as u64)),+ }
            }
        }

        /// The table as written: every key optional.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct TimingTable { $(#[serde(rename = $key)] $field: Option<f64>),+ }

        impl TimingTable {
            /// The defaults with what is written over them.
            pub(super) fn apply(&self, findings: &mut super::Findings) -> Timing {
                let mut timing = Timing::default();
                $(if let Some(seconds) = self.$field {
                    match Duration::try_from_secs_f64(seconds) {
                        Ok(duration) => timing.$field = duration,
                        Err(_) => findings.problem(concat!("timing.", $key), "must be seconds, zero or more"),
                    }
                })+
                timing
            }
        }
    };
}

timing! {
    /// How long a claim holds without renewal.
    lease: "lease_seconds" = 15.0,
    /// How often a worker renews its claims.
    renewal: "renewal_seconds" = 5.0,
    /// How often a worker looks for work that nobody rang for.
    sweep: "sweep_seconds" = 1.0,
    /// The silence after which a burst counts as finished.
    settle_quiet: "settle_quiet_seconds" = 1.5,
    /// The longest a burst may go on.
    settle_max: "settle_max_seconds" = 10.0,
    /// How long a turn waits for a named predecessor that has not come in.
    predecessor: "predecessor_seconds" = 30.0,
    /// A model call's deadline.
    model_deadline: "model_deadline_seconds" = 60.0,
    /// A send's timeout.
    send_timeout: "send_timeout_seconds" = 10.0,
    /// How long an unknown send waits for a status that names it.
    unknown_wait: "unknown_wait_seconds" = 120.0,
    /// How long an unknown send holds the later parts of its conversation.
    unknown_hold: "unknown_hold_seconds" = 15.0,
    /// How long a process finishes what it has begun after SIGTERM.
    drain: "drain_seconds" = 25.0,
    /// How long a customer waits in an outage before the holding text.
    holding_after: "holding_after_seconds" = 60.0,
    /// How long the breaker of a model or channel stays open at first; each failed probe doubles it.
    breaker_first: "breaker_first_seconds" = 2.0,
    /// How long it stays open at most.
    breaker_most: "breaker_most_seconds" = 60.0,
    /// How long a conversation stays with people before it returns to the assistant.
    floor_return: "floor_return_seconds" = 43200.0,
    /// How long intake runs without a message that an ingress vouched for before it counts as lost; a younger
    /// imbalance of the ledger is still settling.
    lost_after: "lost_after_seconds" = 60.0,
    /// The broker's heartbeat.
    heartbeat: "heartbeat_seconds" = 10.0,
    /// How long a publish waits for its confirm.
    confirm: "confirm_seconds" = 0.8,
    /// How often an ingress tells what became of the numbers it gave out.
    tally: "tally_seconds" = 10.0,
}

impl Timing {
    /// How often workers beat the intake's clock and look for numbers.
    #[must_use]
    pub fn beat(&self) -> Duration {
        (self.lost_after / 12).max(Duration::from_millis(100))
    }

    /// The longest time between two beats during which intake counts as having run.
    #[must_use]
    pub fn longest_beat(&self) -> Duration {
        self.beat() * 3
    }
}
