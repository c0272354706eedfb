//! Metric names, in one place, and the Prometheus exporter. Labels are constant words, never ids or people (P7).

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Events accepted by an ingress. Labels: `source`, `kind`.
pub const ACCEPTED: &str = "handrail_ingress_accepted_total";
/// Requests refused by an ingress. Labels: `source`, `code`.
pub const REJECTED: &str = "handrail_ingress_rejected_total";
/// Seconds from publish to confirm.
pub const CONFIRM_SECONDS: &str = "handrail_ingress_confirm_seconds";
/// Seconds of a whole webhook request. Label: `status`.
pub const REQUEST_SECONDS: &str = "handrail_ingress_request_seconds";
/// Events that were answered from the spool, on disk and not yet in the queue.
pub const SPOOLED: &str = "handrail_spool_events_total";
/// Events that the spool has handed to the queue.
pub const SPOOL_DRAINED: &str = "handrail_spool_drained_total";
/// Requests that the spool could not keep. Label: `reason`.
pub const SPOOL_REFUSED: &str = "handrail_spool_refused_total";
/// Stretches of spool files set aside as unreadable. Label: `what` (`torn`, `damaged`, `unknown`).
pub const SPOOL_SET_ASIDE: &str = "handrail_spool_set_aside_total";
/// Bytes of the spool's files.
pub const SPOOL_BYTES: &str = "handrail_spool_bytes";
/// Seconds of one write to the spool and its sync.
pub const SPOOL_SYNC_SECONDS: &str = "handrail_spool_sync_seconds";
/// Events in the spool.
pub const SPOOL_RECORDS: &str = "handrail_spool_records";
/// Age in seconds of the spool's oldest event.
pub const SPOOL_OLDEST_SECONDS: &str = "handrail_spool_oldest_seconds";
/// Tallies by outcome. Label: `outcome` (`confirmed`, `unconfirmed`).
pub const TALLIES: &str = "handrail_ingress_tallies_total";
/// Deliveries by what intake did. Label: `outcome`.
pub const INTAKE: &str = "handrail_intake_total";
/// Tallies of an ingress that no worker could open, dropped after their retries.
pub const TALLIES_DROPPED: &str = "handrail_intake_tallies_dropped_total";
/// Acks that the queue had already given to somebody else.
pub const ACKS_LATE: &str = "handrail_acks_late_total";
/// Turns by how they ended. Label: `outcome`.
pub const TURNS: &str = "handrail_turns_total";
/// Seconds from a customer's last message to its turn's commit.
pub const TURN_SECONDS: &str = "handrail_turn_seconds";
/// Turns under way in this process.
pub const TURNS_IN_FLIGHT: &str = "handrail_turns_in_flight";
/// Age in seconds of the oldest turn that nobody serves: what to scale workers by.
pub const TURNS_WAITING_SECONDS: &str = "handrail_turns_waiting_seconds";
/// Seconds of a model call. Labels: `model`, `outcome`.
pub const MODEL_SECONDS: &str = "handrail_model_seconds";
/// Tokens. Labels: `model`, `direction` (`in`, `out`, `cached`).
pub const TOKENS: &str = "handrail_model_tokens_total";
/// Answers by where they came from. Label: `from` (`faq`, `saved`, `model`).
pub const ANSWERS: &str = "handrail_answers_total";
/// Questions that were looked up among the saved answers. Label: `outcome` (`hit`, `would_hit`, `miss`, `refused`).
pub const SAVED_ANSWERS: &str = "handrail_saved_answers_total";
/// Answers that had not the form they were asked for. Label: `outcome` (`repaired`, `given_up`).
pub const MALFORMED_ANSWERS: &str = "handrail_malformed_answers_total";
/// What calls were charged, in nano-units. Labels: `model`, `currency`.
pub const SPEND: &str = "handrail_model_spend_nanos_total";
/// Calls that were charged as reserved since nobody said what they used. Label: `model`.
pub const SPEND_ASSUMED: &str = "handrail_model_spend_assumed_total";
/// Calls that cost more than was reserved: a provider wrote more than it was asked to. Label: `model`.
pub const SPEND_ABOVE_RESERVE: &str = "handrail_model_spend_above_reserve_total";
/// Calls whose worker died or slept too long, charged in full.
pub const ATTEMPTS_EXPIRED: &str = "handrail_model_attempts_expired_total";
/// Turns handed to people since a budget had no room. Label: `budget` (`conversation`, `contact`, `deployment`).
pub const BUDGET_ENDED: &str = "handrail_budget_ended_total";
/// Sends by outcome. Labels: `source`, `outcome`.
pub const SENDS: &str = "handrail_sends_total";
/// Where the breaker of a model or channel stands: 0 closed, 1 half-open, 2 open. Labels: `kind`, `name`.
pub const BREAKER_STATE: &str = "handrail_breaker_state";
/// Times that a breaker opened. Labels: `kind`, `name`.
pub const BREAKER_OPENED: &str = "handrail_breaker_opened_total";
/// Conversations that a breaker holds. Labels: `kind`, `name`.
pub const BREAKER_HELD: &str = "handrail_breaker_held";
/// Conversations that wait until a person has dealt with a dead letter.
pub const CONVERSATIONS_HELD: &str = "handrail_conversations_held";
/// Conversations that were given to people. Label: `team`.
pub const HANDOFFS: &str = "handrail_handoffs_total";
/// Handoffs that stand so: open ones, and of the last day those answered in time or not. Label: `state` (`unclaimed`,
/// `claimed`, `overdue`, `met`, `missed`).
pub const HANDOFFS_NOW: &str = "handrail_handoffs";
/// Tries to tell a team, by how they ended. Labels: `destination`, `outcome`.
pub const NOTICES: &str = "handrail_notices_total";
/// Notices on their way (`open`), and those of the last day that never arrived, for all we know (`failed`). Label: `state`.
pub const NOTICES_NOW: &str = "handrail_notices";
/// Whether a process is connected to the broker. Label: `purpose` (`publishing`, `consuming work`, …).
pub const BROKER_CONNECTED: &str = "handrail_broker_connected";
/// Connections to the broker that ended otherwise than by us. Label: `purpose`.
pub const BROKER_RECONNECTS: &str = "handrail_broker_reconnects_total";
/// Consumers of a queue as the broker tells it. Label: `queue`.
pub const QUEUE_CONSUMERS: &str = "handrail_queue_consumers";
/// Deliveries that this process may hold unsettled. Label: `queue`.
pub const CONSUMER_PREFETCH: &str = "handrail_consumer_prefetch";
/// Deliveries that this process holds unsettled. Label: `queue`.
pub const CONSUMER_UNACKED: &str = "handrail_consumer_unacked";
/// Consumers rebuilt because they were silent. Labels: `queue`, `reason`.
pub const CONSUMERS_REBUILT: &str = "handrail_consumers_rebuilt_total";
/// Messages in a queue. Labels: `queue`, `state`.
pub const QUEUE_DEPTH: &str = "handrail_queue_depth";
/// Age in seconds of a queue's oldest message. Label: `queue`.
pub const QUEUE_OLDEST_SECONDS: &str = "handrail_queue_oldest_seconds";
/// Dead letters made or opened again, counted once they are committed. Label: `class`.
pub const DEAD: &str = "handrail_dead_letters_total";
/// Numbers that an ingress vouched for and intake never saw; anything but 0 is a loss.
pub const LEDGER_LOST: &str = "handrail_ledger_lost";
/// Messages that intake sent back into the broker and that are overdue.
pub const LEDGER_STUCK: &str = "handrail_ledger_stuck";
/// Numbers that never came and that no ingress vouches for.
pub const LEDGER_UNVOUCHED: &str = "handrail_ledger_unvouched";
/// Imbalances that will not settle by themselves; anything but 0 is a fault.
pub const LEDGER_IMBALANCES: &str = "handrail_ledger_imbalances";
/// Second envelopes of accepted events, ever.
pub const LEDGER_DUPLICATES: &str = "handrail_ledger_duplicates";
/// Sends whose outcome nobody knows and no policy has closed.
pub const SENDS_UNKNOWN: &str = "handrail_sends_unknown";
/// Messages that await their turn, by how long ago they were taken in. Label: `age` (`10s`, `1m`, `10m`, `more`).
pub const PENDING: &str = "handrail_pending";
/// Age in seconds of the oldest dead letter that waits for a person; 0 without one.
pub const DEAD_OLDEST_SECONDS: &str = "handrail_dead_letters_oldest_seconds";
/// Times that the policy was read again. Label: `outcome` (`replaced`, `unchanged`, `refused`).
pub const POLICY_RELOADS: &str = "handrail_policy_reloads_total";
/// 1 while the policy's file is one that was refused, so that an older one is in force.
pub const POLICY_REFUSED: &str = "handrail_policy_refused";
/// 1 while a door answers. Label: `door` (`queue`, `store`).
pub const DOOR_UP: &str = "handrail_door_up";

/// Upper bounds of every histogram, in seconds.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Installs the process's recorder, or gives the one that is there.
///
/// # Errors
/// When another kind of recorder has been installed.
pub fn install() -> Result<PrometheusHandle, String> {
    static HANDLE: std::sync::OnceLock<Result<PrometheusHandle, String>> = std::sync::OnceLock::new();
    let make = || {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
            .map_err(|error| error.to_string())?;
        builder.install_recorder().map_err(|error| error.to_string())
    };
    HANDLE.get_or_init(make).clone()
}
