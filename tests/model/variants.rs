//! Protocols broken on purpose, each by taking one safeguard away: what the oracle must catch. No broken code is in the
//! product; a variant changes a statement's text on its way through the tap, or how the queue behaves.

use super::play::campaign;

/// Which protocol is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Variant {
    /// Ours, unbroken.
    #[default]
    None,
    /// By the queue: a delivery is acked when it is handed out.
    AckBeforeIntake,
    /// By a statement's text.
    Text(&'static Broken),
}

/// A safeguard taken out of the statements that hold it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    name: &'static str,
    /// What to look for in a statement, and what stands there instead; every pair applies to every statement.
    swaps: &'static [(&'static str, &'static str)],
}

impl Variant {
    /// The text to run in place of `sql`.
    pub(super) fn instead(self, sql: &'static str) -> &'static str {
        let Self::Text(broken) = self else { return sql };
        if !broken.swaps.iter().any(|(safe, _)| sql.contains(safe)) {
            return sql;
        }
        let text = broken.swaps.iter().fold(sql.to_owned(), |text, (safe, unsafe_)| text.replace(safe, unsafe_));
        interned(text)
    }
}

/// A statement's text has to live for ever; the few that variants make are kept once each.
fn interned(text: String) -> &'static str {
    use std::collections::HashSet;
    use std::sync::{Mutex, PoisonError};
    static KEPT: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    if let Some(same) = kept.get(text.as_str()) {
        return same;
    }
    let leaked: &'static str = Box::leak(text.into_boxed_str());
    kept.insert(leaked);
    leaked
}

/// Plays a broken protocol until a promise breaks, within so many schedules.
fn caught(name: &str, variant: Variant, within: u64) {
    let report = campaign(variant, 0..within, false);
    let used = report.swapped > 0 || variant == Variant::AckBeforeIntake;
    assert!(used, "'{name}' changes no statement any more: the text that it looks for is gone");
    match report.found {
        Some(found) => eprintln!("caught at schedule {:>5}: {name}: {}", found.seed, found.promise),
        None => panic!("'{name}' was not caught within {within} schedules"),
    }
}

#[test]
fn a_delivery_is_acked_before_intake_commits() {
    caught("a delivery is acked before intake commits", Variant::AckBeforeIntake, 1_000);
}

/// One test for each; the pairs are what stands in a statement, and what stands there instead.
macro_rules! broken {
    ($($name:ident within $within:literal: $swaps:expr;)+) => {$(
        #[test]
        fn $name() {
            static BROKEN: Broken = Broken { name: stringify!($name), swaps: &$swaps };
            caught(&BROKEN.name.replace('_', " "), Variant::Text(&BROKEN), $within);
        }
    )+};
}

broken! {
    a_commit_asks_for_no_fence within 1_000: [
        (
            "WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND done = $4 AND epoch = $14",
            "WHERE id = $1 AND $2 = $2 AND $3 = $3 AND done = $4 AND epoch = $14",
        ),
    ];
    a_commit_asks_for_no_fence_for_no_done_and_for_no_pending_message within 1_000: [
        (
            "WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND done = $4 AND epoch = $14",
            "WHERE id = $1 AND $2 = $2 AND $3 = $3 AND $4 = $4 AND epoch = $14",
        ),
        (
            "position = $6 WHERE id = $1 AND state = 'pending'",
            "position = $6 WHERE id = $1",
        ),
    ];
    a_commit_releases_without_comparing_tail within 1_000: [
        (
            "lease_owner = CASE WHEN done + $5 = tail THEN NULL ELSE lease_owner END",
            "lease_owner = NULL",
        ),
        (
            "lease_until = CASE WHEN done + $5 = tail THEN NULL ELSE $9 END",
            "lease_until = NULLIF($9, $9)",
        ),
    ];
    a_commit_counts_everything_as_done_that_came_in_meanwhile within 1_000: [
        (
            "SET done = done + $5, position",
            "SET done = tail + 0 * $5, position",
        ),
    ];
    a_commit_asks_for_no_epoch within 2_000: [
        (
            "AND done = $4 AND epoch = $14",
            "AND done = $4 AND $14 = $14",
        ),
    ];
    a_claim_asks_for_no_lease within 1_000: [
        (
            "AND (settle_at IS NULL OR settle_at <= $3) AND (lease_until IS NULL OR lease_until <= $3)",
            "AND (settle_at IS NULL OR settle_at <= $3)",
        ),
    ];
    a_hand_back_asks_for_no_fence within 2_000: [
        (
            "settle_at = $4 WHERE id = $1 AND lease_owner = $2 AND fence = $3",
            "settle_at = $4 WHERE id = $1 AND $2 = $2 AND $3 = $3",
        ),
        (
            "OR $6) WHERE id = $1 AND lease_owner = $2 AND fence = $3",
            "OR $6) WHERE id = $1 AND $2 = $2 AND $3 = $3",
        ),
        (
            "ELSE 0 END WHERE id = $1 AND lease_owner = $2 AND fence = $3",
            "ELSE 0 END WHERE id = $1 AND $2 = $2 AND $3 = $3",
        ),
    ];
    a_delivery_asks_for_no_claim within 1_000: [
        (
            "WHERE id = $2 AND (send_until IS NULL OR send_until <= $1) AND",
            "WHERE id = $2 AND",
        ),
    ];
    a_send_begins_without_asking_for_its_claim within 2_000: [
        (
            "SET send_until = $4 WHERE id = $1 AND send_owner = $2 AND send_fence = $3",
            "SET send_until = $4 WHERE id = $1 AND $2 = $2 AND $3 = $3",
        ),
    ];
    a_send_begins_whoever_holds_the_floor within 4_000: [
        (
            "AND send_fence = $3 RETURNING floor, epoch",
            "AND send_fence = $3 RETURNING 'assistant' AS floor, (SELECT o.epoch FROM outbox o WHERE \
             o.conversation_id = conversation.id AND o.state = 'queued' ORDER BY o.ordinal LIMIT 1) AS epoch",
        ),
    ];
    a_take_over_leaves_the_epoch_as_it_is within 2_000: [
        (
            "SET floor = 'human', floor_by = $2, floor_since = $3, position = position + 1, epoch = epoch + 1",
            "SET floor = 'human', floor_by = $2, floor_since = $3, position = position + 1, epoch = epoch",
        ),
    ];
    a_send_whose_sender_is_gone_is_queued_again within 1_000: [
        (
            "UPDATE outbox SET state = 'unknown', ended_at = $2, error = CASE WHEN status = $5 THEN error \
             ELSE 'sender_gone' END",
            "UPDATE outbox SET state = 'queued', ended_at = NULLIF($2, $2), error = CASE WHEN status = $5 \
             THEN error ELSE 'sender_gone' END",
        ),
    ];
    a_send_whose_outcome_nobody_knows_is_queued_again within 1_000: [
        (
            "UPDATE outbox SET state = 'unknown', ended_at = $3,",
            "UPDATE outbox SET state = 'queued', ended_at = NULLIF($3, $3),",
        ),
    ];
    an_unknown_send_is_sent_again_though_word_of_it_has_come within 4_000: [
        (
            "ended_at = NULL, closed_at = $2 WHERE id = $1 AND state = 'unknown' AND closed_at IS NULL",
            "ended_at = NULL, closed_at = $2 WHERE id = $1",
        ),
    ];
    a_take_over_calls_an_unknown_send_unsent within 2_000: [
        (
            "SET state = CASE WHEN closed_at IS NULL THEN 'superseded' ELSE 'unknown' END",
            "SET state = 'superseded'",
        ),
    ];
    a_sender_who_lost_the_claim_gives_up_the_work_of_the_next within 2_000: [
        (
            "AND c.send_owner = $3 AND c.send_fence = $4) RETURNING id",
            "AND $3 = $3 AND $4 = $4) RETURNING id",
        ),
    ];
    an_event_that_comes_twice_is_taken_in_twice within 1_000: [
        (
            "SELECT conversation_id, instance, sequence, received_at FROM inbox WHERE id = $1",
            "SELECT conversation_id, instance, sequence, received_at FROM inbox WHERE id = $1 AND 1 = 0",
        ),
        (
            "ON CONFLICT (id) DO NOTHING",
            "ON CONFLICT (id) DO UPDATE SET state = 'pending', seq = excluded.seq",
        ),
    ];
    a_turn_does_not_wait_for_a_named_predecessor within 1_000: [
        (
            "(p.previous IS NOT NULL AND NOT EXISTS",
            "(p.previous IS NULL AND p.previous IS NOT NULL AND NOT EXISTS",
        ),
    ];
    messages_are_taken_in_the_order_of_their_coming_in within 2_000: [
        (
            "AND p.state = 'pending' ORDER BY p.received_at, p.instance, p.sequence",
            "AND p.state = 'pending' ORDER BY p.seq",
        ),
    ];
    what_comes_in_too_late_is_not_called_late within 1_000: [
        (
            "AND position IS NOT NULL AND (received_at > $2 OR",
            "AND position IS NOT NULL AND 1 = 0 AND (received_at > $2 OR",
        ),
    ];
    what_is_overtaken_by_its_successor_is_not_called_late within 1_000: [
        (
            "UPDATE inbox SET late = TRUE WHERE conversation_id = $1",
            "UPDATE inbox SET late = late WHERE conversation_id = $1",
        ),
    ];
    a_message_stands_where_the_copy_stood_that_came_in_first within 2_000: [
        (
            "sequence = $4, previous = $5 WHERE id = $1",
            "sequence = $4, previous = $5 WHERE id = $1 AND 1 = 0",
        ),
    ];
    an_earlier_copy_does_not_show_that_its_message_is_late within 2_000: [
        (
            "UPDATE inbox SET late = TRUE WHERE id = $1",
            "UPDATE inbox SET late = late WHERE id = $1",
        ),
    ];
    the_outbox_is_sent_from_its_end within 2_000: [
        (
            "AND o.state = 'queued' ORDER BY o.ordinal LIMIT 1",
            "AND o.state = 'queued' ORDER BY o.ordinal DESC LIMIT 1",
        ),
    ];
    a_take_over_leaves_what_is_queued_in_the_queue_and_sends_ask_for_no_floor within 1_000: [
        (
            "ELSE 'unknown' END, ended_at = $2 WHERE conversation_id = $1",
            "ELSE 'unknown' END, ended_at = $2 WHERE 1 = 0 AND conversation_id = $1",
        ),
        (
            "AND send_fence = $3 RETURNING floor, epoch",
            "AND send_fence = $3 RETURNING 'assistant' AS floor, (SELECT o.epoch FROM outbox o WHERE \
             o.conversation_id = conversation.id AND o.state = 'queued' ORDER BY o.ordinal LIMIT 1) AS epoch",
        ),
    ];
}
