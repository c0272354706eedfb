//! What can be counted of decisions without opening them: notes of how claims ended that committed nothing, so that a
//! conversation's decision path has no gaps, and what rules hit. Both hold constant words and rule names only, never
//! text; equal ends before the same turn are one note that counts.

use serde::Serialize;

use super::claim::Claimed;
use super::sql::{Row, Tx, args};
use super::{Store, StoreError};
use crate::domain::{ConversationId, EventId, Micros, TurnId};

/// An end to be noted, in constant words.
#[derive(Clone, Copy, Debug)]
pub struct NewNote<'a> {
    /// How the claim ended.
    pub ending: &'a str,
    /// What failed, by recovery's classes; empty where nothing did.
    pub class: &'a str,
    /// The version of the policy that the turn began with, if it came as far.
    pub policy: Option<&'a str>,
    /// When the next try is due, where that is known.
    pub again_at: Option<Micros>,
}

/// A rule's hit in a turn, in constant words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHit {
    /// The message that it hit; `None` for a draft.
    pub event: Option<EventId>,
    /// The rule.
    pub rule: String,
    /// Its kind, stage, action and mode, and why it hit.
    pub words: [String; 5],
    /// Whether it decided what became of the message or draft.
    pub decided: bool,
}

/// Ends of one kind before one turn.
#[derive(Clone, Debug, Serialize)]
pub struct NoteView {
    /// The position of the turn before; the next one is what they delayed.
    pub behind: i64,
    /// How claims ended.
    pub ending: String,
    /// What failed; empty where nothing did.
    pub class: String,
    /// How many of them.
    pub times: i64,
    /// The policy's version, if the last one came as far.
    pub policy: Option<String>,
    /// The first.
    pub first_at: Micros,
    /// The last.
    pub last_at: Micros,
    /// When the last one was to be tried again, if it said.
    pub again_at: Option<Micros>,
}

impl Store {
    /// Notes how a claim ended that committed nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the path has a gap, and nothing else is wrong.
    pub async fn note(&self, claim: &Claimed, note: NewNote<'_>) -> Result<(), StoreError> {
        // By the fence, and not by what the conversation says now: a zombie's end belongs before the turn it lost.
        let sql = "INSERT INTO turn_note (conversation_id, behind, ending, class, times, fence, worker, policy, \
                     first_at, last_at, again_at) \
                   VALUES ($1, COALESCE((SELECT t.position FROM turn t WHERE t.conversation_id = $1 AND t.fence <= $2 \
                     ORDER BY t.position DESC LIMIT 1), 0), $3, $4, 1, $2, $5, $6, $7, $7, $8) \
                   ON CONFLICT (conversation_id, behind, ending, class) DO UPDATE SET times = turn_note.times + 1, \
                     fence = excluded.fence, worker = excluded.worker, policy = excluded.policy, \
                     last_at = excluded.last_at, again_at = excluded.again_at";
        let now = self.main.now().await?;
        let values = args![
            claim.conversation.uuid(),
            claim.fence,
            note.ending,
            note.class,
            claim.worker.uuid(),
            note.policy,
            now,
            note.again_at,
        ];
        self.main.write(sql, values).await.map(drop)
    }

    /// A conversation's notes, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn notes_of(&self, conversation: ConversationId) -> Result<Vec<NoteView>, StoreError> {
        let sql = "SELECT behind, ending, class, times, policy, first_at, last_at, again_at FROM turn_note \
                   WHERE conversation_id = $1 ORDER BY behind, first_at, ending, class";
        self.main.read(sql, args![conversation.uuid()]).await?.iter().map(note_view).collect()
    }
}

/// Writes a turn's hits.
pub(super) async fn insert_hits(tx: &mut Tx, turn: TurnId, hits: &[NewHit]) -> Result<(), StoreError> {
    let sql = "INSERT INTO turn_hit (turn_id, ordinal, event_id, hit_at, rule, kind, stage, action, mode, reason, \
                 decided) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let now = tx.now();
    for (ordinal, hit) in (0_i64..).zip(hits) {
        let [kind, stage, action, mode, reason] = &hit.words;
        let event = hit.event.map(EventId::uuid);
        let values = args![turn.uuid(), ordinal, event, now, &hit.rule, kind, stage, action, mode, reason, hit.decided];
        tx.run(sql, values).await?;
    }
    Ok(())
}

fn note_view(row: &Row) -> Result<NoteView, StoreError> {
    Ok(NoteView {
        behind: row.get("behind")?,
        ending: row.get("ending")?,
        class: row.get("class")?,
        times: row.get("times")?,
        policy: row.get("policy")?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
        again_at: row.get("again_at")?,
    })
}
