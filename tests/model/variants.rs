//! Protocols broken on purpose, each by taking one safeguard away: what the oracle must catch. No broken code is in the
//! product; a variant changes a statement's text on its way through the tap, or how the queue behaves.

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
    pub(super) name: &'static str,
    /// What to look for in a statement, and what stands there instead; every pair applies to every statement.
    pub(super) swaps: &'static [(&'static str, &'static str)],
    /// Within how many schedules it must be caught.
    pub(super) within: u64,
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

const fn broken(name: &'static str, within: u64, swaps: &'static [(&'static str, &'static str)]) -> Broken {
    Broken { name, swaps, within }
}

/// Every variant by text.
pub(super) static BROKEN: &[Broken] = &[
    broken(
        "a commit asks for no fence",
        1_000,
        &[("WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND done = $4 AND epoch = $14",
           "WHERE id = $1 AND $2 = $2 AND $3 = $3 AND done = $4 AND epoch = $14")],
    ),
    broken(
        "a commit asks for no fence, for no done, and for no pending message",
        1_000,
        &[
            ("WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND done = $4 AND epoch = $14",
             "WHERE id = $1 AND $2 = $2 AND $3 = $3 AND $4 = $4 AND epoch = $14"),
            ("position = $6 WHERE id = $1 AND state = 'pending'", "position = $6 WHERE id = $1"),
        ],
    ),
    broken(
        "a commit releases without comparing tail",
        1_000,
        &[
            ("lease_owner = CASE WHEN done + $5 = tail THEN NULL ELSE lease_owner END", "lease_owner = NULL"),
            ("lease_until = CASE WHEN done + $5 = tail THEN NULL ELSE $9 END", "lease_until = NULLIF($9, $9)"),
        ],
    ),
    broken(
        "a commit counts everything as done that came in meanwhile",
        1_000,
        &[("SET done = done + $5, position", "SET done = tail + 0 * $5, position")],
    ),
    broken(
        "a commit asks for no epoch",
        2_000,
        &[("AND done = $4 AND epoch = $14", "AND done = $4 AND $14 = $14")],
    ),
    broken(
        "a claim asks for no lease",
        1_000,
        &[("AND (settle_at IS NULL OR settle_at <= $3) AND (lease_until IS NULL OR lease_until <= $3)",
           "AND (settle_at IS NULL OR settle_at <= $3)")],
    ),
    broken(
        "a hand-back asks for no fence",
        2_000,
        &[
            ("settle_at = $4 WHERE id = $1 AND lease_owner = $2 AND fence = $3", "settle_at = $4 WHERE id = $1 AND $2 = $2 AND $3 = $3"),
            ("OR $6) WHERE id = $1 AND lease_owner = $2 AND fence = $3", "OR $6) WHERE id = $1 AND $2 = $2 AND $3 = $3"),
            ("ELSE 0 END WHERE id = $1 AND lease_owner = $2 AND fence = $3", "ELSE 0 END WHERE id = $1 AND $2 = $2 AND $3 = $3"),
        ],
    ),
    broken(
        "a delivery asks for no claim",
        1_000,
        &[("WHERE id = $2 AND (send_until IS NULL OR send_until <= $1) AND", "WHERE id = $2 AND")],
    ),
    broken(
        "a send begins without asking for its claim",
        2_000,
        &[("SET send_until = $4 WHERE id = $1 AND send_owner = $2 AND send_fence = $3",
           "SET send_until = $4 WHERE id = $1 AND $2 = $2 AND $3 = $3")],
    ),
    broken(
        "a send begins whoever holds the floor",
        4_000,
        &[("AND send_fence = $3 RETURNING floor, epoch",
           "AND send_fence = $3 RETURNING 'assistant' AS floor, (SELECT o.epoch FROM outbox o \
            WHERE o.conversation_id = conversation.id AND o.state = 'queued' ORDER BY o.ordinal LIMIT 1) AS epoch")],
    ),
    broken(
        "a take-over leaves the epoch as it is",
        2_000,
        &[("SET floor = 'human', floor_by = $2, floor_until = $3, position = position + 1, epoch = epoch + 1",
           "SET floor = 'human', floor_by = $2, floor_until = $3, position = position + 1, epoch = epoch")],
    ),
    broken(
        "a send whose sender is gone is queued again",
        1_000,
        &[("UPDATE outbox SET state = 'unknown', ended_at = $2, error = CASE WHEN status = $5 THEN error ELSE 'sender_gone' END",
           "UPDATE outbox SET state = 'queued', ended_at = NULLIF($2, $2), error = CASE WHEN status = $5 THEN error ELSE 'sender_gone' END")],
    ),
    broken(
        "a send whose outcome nobody knows is queued again",
        1_000,
        &[("UPDATE outbox SET state = 'unknown', ended_at = $3,", "UPDATE outbox SET state = 'queued', ended_at = NULLIF($3, $3),")],
    ),
    broken(
        "an unknown send is sent again though word of it has come",
        4_000,
        &[("ended_at = NULL, closed_at = $2 WHERE id = $1 AND state = 'unknown' AND closed_at IS NULL",
           "ended_at = NULL, closed_at = $2 WHERE id = $1")],
    ),
    broken(
        "a take-over calls an unknown send unsent",
        2_000,
        &[("SET state = CASE WHEN closed_at IS NULL THEN 'superseded' ELSE 'unknown' END", "SET state = 'superseded'")],
    ),
    broken(
        "a sender who lost the claim gives up the work of the next",
        2_000,
        &[("AND c.send_owner = $3 AND c.send_fence = $4) RETURNING id", "AND $3 = $3 AND $4 = $4) RETURNING id")],
    ),
    broken(
        "an event that comes twice is taken in twice",
        1_000,
        &[
            ("SELECT conversation_id, instance, sequence FROM inbox WHERE id = $1",
             "SELECT conversation_id, instance, sequence FROM inbox WHERE id = $1 AND 1 = 0"),
            ("ON CONFLICT (id) DO NOTHING", "ON CONFLICT (id) DO UPDATE SET state = 'pending', seq = excluded.seq"),
        ],
    ),
    broken(
        "a turn does not wait for a named predecessor",
        1_000,
        &[("(p.previous IS NOT NULL AND NOT EXISTS", "(p.previous IS NULL AND p.previous IS NOT NULL AND NOT EXISTS")],
    ),
    broken(
        "messages are taken in the order of their coming in",
        2_000,
        &[("AND p.state = 'pending' ORDER BY p.received_at, p.instance, p.sequence", "AND p.state = 'pending' ORDER BY p.seq")],
    ),
    broken(
        "what comes in too late is not called late",
        1_000,
        &[("AND position IS NOT NULL AND (received_at > $2 OR", "AND position IS NOT NULL AND 1 = 0 AND (received_at > $2 OR")],
    ),
    broken(
        "what is overtaken by its successor is not called late",
        1_000,
        &[("UPDATE inbox SET late = TRUE WHERE conversation_id = $1", "UPDATE inbox SET late = late WHERE conversation_id = $1")],
    ),
    broken(
        "the outbox is sent from its end",
        2_000,
        &[("AND o.state = 'queued' ORDER BY o.ordinal LIMIT 1", "AND o.state = 'queued' ORDER BY o.ordinal DESC LIMIT 1")],
    ),
    broken(
        "a take-over leaves what is queued in the queue, and sends ask for no floor",
        1_000,
        &[
            ("ELSE 'unknown' END, ended_at = $2 WHERE conversation_id = $1",
             "ELSE 'unknown' END, ended_at = $2 WHERE 1 = 0 AND conversation_id = $1"),
            ("AND send_fence = $3 RETURNING floor, epoch",
             "AND send_fence = $3 RETURNING 'assistant' AS floor, (SELECT o.epoch FROM outbox o \
              WHERE o.conversation_id = conversation.id AND o.state = 'queued' ORDER BY o.ordinal LIMIT 1) AS epoch"),
        ],
    ),
];
