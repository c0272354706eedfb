//! Handoffs: a stretch of a conversation that people have, from the call to the return, with the time that they have
//! for their first answer. A row changes only in the transaction that moves the floor, or by a chore's condition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::intake::party_context;
use super::notice::{self, NewNotice, NoticeView};
use super::sql::{Row, Tx, args};
use super::turn::{Commit, Position};
use super::{Store, StoreError};
use crate::domain::{
    Call, ContactId, ConversationId, Evidence, HandoffId, Line, Micros, Party, Priority, Sla, SourceName, Speaker,
};
use crate::seal::Keyring;

/// The rule of a handoff that nobody called for: a person came of their own accord.
const CAME: &str = "taken";

/// A person is called, in the commit that queues the floor.
#[derive(Clone)]
pub struct NewHandoff {
    /// Its id.
    pub id: HandoffId,
    /// Who calls whom, and how soon.
    pub call: Call,
    /// Since when the customer waits for this answer.
    pub waiting_since: Micros,
    /// By when the first answer is due, if somebody set a time.
    pub due_at: Option<Micros>,
    /// Whom to tell.
    pub notices: Vec<NewNotice>,
}

/// A handoff, as it is shown to people and programs. Names no customer.
#[derive(Clone, Debug, Serialize)]
pub struct HandoffView {
    /// Its id.
    pub id: HandoffId,
    /// The rule that called, the cause where no rule did, or `taken` where nobody called.
    pub rule: String,
    /// Whether the customer asked for a person.
    pub asked: bool,
    /// The team called.
    pub team: Option<String>,
    /// How soon.
    pub priority: Priority,
    /// What the rule tells whoever comes, by locale.
    pub summary: BTreeMap<String, String>,
    /// What spoke for it: rules and events, never text.
    pub evidence: Vec<Evidence>,
    /// Since when the customer waited.
    pub waiting_since: Micros,
    /// When it began.
    pub opened_at: Micros,
    /// By when the first answer is due.
    pub due_at: Option<Micros>,
    /// Where that time stands.
    pub sla: Sla,
    /// Whether it is open, unanswered, and late.
    pub overdue: bool,
    /// Reminders so far.
    pub reminders: i64,
    /// When a person took it.
    pub claimed_at: Option<Micros>,
    /// Who.
    pub claimed_by: Option<String>,
    /// When a person first answered.
    pub first_answer_at: Option<Micros>,
    /// When the assistant was back.
    pub closed_at: Option<Micros>,
    /// How: `returned` or `expired`.
    pub outcome: Option<String>,
    /// Who was told, and whether it arrived.
    pub notices: Vec<NoticeView>,
}

/// An open handoff whose first answer is overdue, to be reminded of.
#[derive(Clone, Debug)]
pub struct OverdueHandoff {
    /// Its id.
    pub id: HandoffId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Who called whom.
    pub call: Call,
    /// Since when the customer waits.
    pub waiting_since: Micros,
    /// When it began.
    pub opened_at: Micros,
    /// By when the first answer was due.
    pub due_at: Option<Micros>,
    /// Reminders so far.
    pub reminders: i64,
}

/// How many handoffs stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HandoffCounts {
    /// Open, and nobody has come.
    pub unclaimed: i64,
    /// Open, and somebody has.
    pub claimed: i64,
    /// Open, unanswered and late.
    pub overdue: i64,
    /// Of those that began in the last day: answered in time.
    pub met: i64,
    /// Likewise: too late, or never.
    pub missed: i64,
}

/// What a colleague must know of a conversation. Holds personal data.
#[derive(Clone)]
pub struct Story {
    /// The source it came in by.
    pub source: SourceName,
    /// Who it is with.
    pub party: Party,
    /// The language last replied in.
    pub locale: Option<String>,
    /// When the customer last wrote.
    pub last_inbound_at: Option<Micros>,
    /// What was said, oldest first, without what policy stopped and what was never sent.
    pub lines: Vec<Line>,
}

impl Store {
    /// A conversation's handoffs, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn handoffs(&self, conversation: ConversationId) -> Result<Vec<HandoffView>, StoreError> {
        let key = match self.contact_key(self.contact_of(conversation).await?).await {
            Ok(key) => Some(key),
            Err(StoreError::Erased) => None,
            Err(error) => return Err(error),
        };
        let now = self.main.now().await?;
        let notices = self.notices_of(conversation).await?;
        let sql = "SELECT id, rule, asked, team, priority, evidence, waiting_since, opened_at, due_at, sla, reminders, \
                     claimed_at, claimed_by, first_answer_at, closed_at, outcome FROM handoff \
                   WHERE conversation_id = $1 ORDER BY opened_at, id";
        let rows = self.main.read(sql, args![conversation.uuid()]).await?;
        let mut handoffs: Vec<HandoffView> =
            rows.iter().map(|row| view(row, key.as_ref(), now)).collect::<Result<_, _>>()?;
        for (handoff, notice) in notices {
            if let Some(known) = handoffs.iter_mut().find(|known| known.id == handoff) {
                known.notices.push(notice);
            }
        }
        Ok(handoffs)
    }

    /// What a colleague must know of a conversation, with at most so many lines, the newest.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Erased`], [`StoreError::Unavailable`].
    pub async fn story(&self, conversation: ConversationId, lines: usize) -> Result<Story, StoreError> {
        let sql = "SELECT source, contact_id, party, locale, last_inbound_at FROM conversation WHERE id = $1";
        let row = self.main.read_maybe(sql, args![conversation.uuid()]).await?;
        let row = row.ok_or_else(|| StoreError::Absent("conversation", conversation.to_string()))?;
        let key = self.contact_key(ContactId::from_uuid(row.get("contact_id")?)).await?;
        let party = key.open(&party_context(conversation), &row.get::<Vec<u8>>("party")?)?;
        let said = self.lines(conversation, &key, lines, true).await?;
        Ok(Story {
            source: SourceName::parse(&row.get::<String>("source")?)
                .map_err(|error| StoreError::Broken(error.to_string()))?,
            party: serde_json::from_slice(&party).map_err(|error| StoreError::Broken(error.to_string()))?,
            locale: row.get("locale")?,
            last_inbound_at: row.get("last_inbound_at")?,
            lines: said.into_iter().map(|(_, line)| line).collect(),
        })
    }

    /// Open handoffs without a first answer whose next reminder is due, the most overdue first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn overdue_handoffs(&self, limit: usize) -> Result<Vec<OverdueHandoff>, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT id, conversation_id, contact_id, rule, asked, team, priority, evidence, waiting_since, \
                     opened_at, due_at, reminders FROM handoff \
                   WHERE remind_at IS NOT NULL AND remind_at <= $1 ORDER BY remind_at LIMIT $2";
        let rows = self.main.read(sql, args![now, i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        let mut found = Vec::new();
        for row in &rows {
            let id = HandoffId::from_uuid(row.get("id")?);
            // Who was erased meanwhile leaves no evidence; the handoff is answered by its own end.
            let key = self.contact_key(ContactId::from_uuid(row.get("contact_id")?)).await.ok();
            found.push(OverdueHandoff {
                id,
                conversation: ConversationId::from_uuid(row.get("conversation_id")?),
                call: call(row, id, key.as_ref())?,
                waiting_since: row.get("waiting_since")?,
                opened_at: row.get("opened_at")?,
                due_at: row.get("due_at")?,
                reminders: row.get("reminders")?,
            });
        }
        Ok(found)
    }

    /// Writes down that a first answer is overdue, and queues the reminders. `next` is when to look again. False:
    /// somebody answered, closed or reminded first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Erased`].
    pub async fn remind(
        &self,
        handoff: &OverdueHandoff,
        next: Option<Micros>,
        notices: &[NewNotice],
    ) -> Result<bool, StoreError> {
        let contact = self.contact_of(handoff.conversation).await?;
        let key = self.contact_key(contact).await?;
        let mut tx = self.main.begin().await?;
        let sql = "UPDATE handoff SET sla = 'missed', reminders = reminders + 1, remind_at = $3 \
                   WHERE id = $1 AND reminders = $2 AND closed_at IS NULL AND first_answer_at IS NULL";
        if tx.run(sql, args![handoff.id.uuid(), handoff.reminders, next]).await? == 0 {
            return Ok(false);
        }
        for new in notices {
            notice::insert(&mut tx, &key, (handoff.id, handoff.conversation, contact), new).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// No reminder of this handoff any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_reminder(&self, handoff: HandoffId) -> Result<u64, StoreError> {
        self.main.write("UPDATE handoff SET remind_at = NULL WHERE id = $1", args![handoff.uuid()]).await
    }

    /// How many handoffs stand how.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn handoff_counts(&self) -> Result<HandoffCounts, StoreError> {
        let now = self.main.now().await?;
        let sql = "SELECT COALESCE(sum(CASE WHEN claimed_at IS NULL THEN 1 ELSE 0 END), 0) AS unclaimed, \
                     COALESCE(sum(CASE WHEN claimed_at IS NULL THEN 0 ELSE 1 END), 0) AS claimed, \
                     COALESCE(sum(CASE WHEN first_answer_at IS NULL AND due_at < $1 THEN 1 ELSE 0 END), 0) AS overdue \
                   FROM handoff WHERE closed_at IS NULL";
        let open = self.main.read_one(sql, args![now]).await?;
        let sql = "SELECT COALESCE(sum(CASE WHEN sla = 'met' THEN 1 ELSE 0 END), 0) AS met, \
                     COALESCE(sum(CASE WHEN sla = 'missed' THEN 1 ELSE 0 END), 0) AS missed \
                   FROM handoff WHERE opened_at > $1";
        let day = self.main.read_one(sql, args![now - std::time::Duration::from_hours(24)]).await?;
        Ok(HandoffCounts {
            unclaimed: open.get("unclaimed")?,
            claimed: open.get("claimed")?,
            overdue: open.get("overdue")?,
            met: day.get("met")?,
            missed: day.get("missed")?,
        })
    }

    /// The stretches that people had, as lines of history: the assistant is to know that it was not its own.
    pub(super) async fn stretches(
        &self,
        conversation: ConversationId,
        limit: i64,
    ) -> Result<Vec<(Position, Line)>, StoreError> {
        let sql = "SELECT position, claimed_at, closed_at FROM handoff \
                   WHERE conversation_id = $1 AND closed_at IS NOT NULL AND claimed_at IS NOT NULL \
                   ORDER BY opened_at DESC LIMIT $2";
        self.main.read(sql, args![conversation.uuid(), limit]).await?.iter().map(stretch).collect()
    }
}

fn stretch(row: &Row) -> Result<(Position, Line), StoreError> {
    let (from, to): (Micros, Micros) = (row.get("claimed_at")?, row.get("closed_at")?);
    let position = Position(row.get::<Option<i64>>("position")?.unwrap_or_default(), 3, to.0);
    let text = format!(
        "A colleague (name not given) had this conversation from {from} to {to}; what the business wrote in that time \
         was theirs. The assistant answers again from here."
    );
    Ok((position, Line { speaker: Speaker::Record, at: to, text }))
}

/// Writes a call down, and whom to tell; in the commit that queues the floor.
pub(super) async fn open(tx: &mut Tx, key: &Keyring, commit: &Commit<'_>) -> Result<(), StoreError> {
    let Some(new) = commit.handoff else { return Ok(()) };
    let (claim, now) = (commit.claim, tx.now());
    let why = Why { summary: new.call.summary.clone(), evidence: new.call.evidence.clone() };
    let why = serde_json::to_vec(&why).map_err(|error| StoreError::Broken(error.to_string()))?;
    let sealed = key.seal(&context(new.id), &why);
    let sla = if new.due_at.is_some() { Sla::Due } else { Sla::None };
    let sql = "INSERT INTO handoff (id, conversation_id, contact_id, turn_id, rule, asked, team, priority, evidence, \
                 waiting_since, opened_at, due_at, sla, remind_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12) ON CONFLICT DO NOTHING";
    let values = args![
        new.id.uuid(),
        claim.conversation.uuid(),
        claim.contact.uuid(),
        Some(commit.turn.uuid()),
        &new.call.rule,
        new.call.asked,
        new.call.team.as_deref(),
        new.call.priority.as_str(),
        &sealed,
        new.waiting_since,
        now,
        new.due_at,
        sla.as_str(),
    ];
    if tx.run(sql, values).await? == 1 {
        for notice in &new.notices {
            notice::insert(tx, key, (new.id, claim.conversation, claim.contact), notice).await?;
        }
    }
    Ok(())
}

/// A person has the conversation: they take the open handoff, or begin one of their own; `spoke` when they have just
/// said something to the customer.
pub(super) async fn claim(
    tx: &mut Tx,
    (conversation, contact): (ConversationId, ContactId),
    who: &str,
    spoke: bool,
) -> Result<(), StoreError> {
    let now = tx.now();
    let sql = "UPDATE handoff SET claimed_at = COALESCE(claimed_at, $2), claimed_by = $3, \
                 first_answer_at = CASE WHEN $4 THEN COALESCE(first_answer_at, $2) ELSE first_answer_at END, \
                 sla = CASE WHEN $4 AND sla = 'due' THEN CASE WHEN due_at >= $2 THEN 'met' ELSE 'missed' END \
                   ELSE sla END, \
                 remind_at = CASE WHEN $4 THEN NULL ELSE remind_at END \
               WHERE conversation_id = $1 AND closed_at IS NULL";
    if tx.run(sql, args![conversation.uuid(), now, who, spoke]).await? > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO handoff (id, conversation_id, contact_id, rule, asked, priority, waiting_since, opened_at, sla, \
                 claimed_at, claimed_by, first_answer_at) \
               VALUES ($1, $2, $3, $4, FALSE, $5, $6, $6, 'none', $6, $7, $8)";
    let values = args![
        HandoffId::random().uuid(),
        conversation.uuid(),
        contact.uuid(),
        CAME,
        Priority::default().as_str(),
        now,
        who,
        spoke.then_some(now),
    ];
    tx.run(sql, values).await.map(drop)
}

/// The assistant is back: whatever is open is closed, and what has not been told need not be any more.
pub(super) async fn close(tx: &mut Tx, conversation: ConversationId, outcome: &str) -> Result<(), StoreError> {
    let now = tx.now();
    let sql = "UPDATE handoff SET closed_at = $2, outcome = $3, remind_at = NULL, \
                 position = (SELECT c.position FROM conversation c WHERE c.id = $1), \
                 sla = CASE WHEN sla = 'due' THEN CASE WHEN due_at < $2 THEN 'missed' ELSE 'void' END ELSE sla END \
               WHERE conversation_id = $1 AND closed_at IS NULL RETURNING id";
    for row in tx.all(sql, args![conversation.uuid(), now, outcome]).await? {
        notice::withdraw(tx, HandoffId::from_uuid(row.get("id")?)).await?;
    }
    Ok(())
}

fn context(id: HandoffId) -> Vec<u8> {
    format!("handoff/{id}").into_bytes()
}

/// Why a person was called; sealed.
#[derive(Default, Serialize, Deserialize)]
struct Why {
    summary: BTreeMap<String, String>,
    evidence: Vec<Evidence>,
}

fn call(row: &Row, id: HandoffId, key: Option<&Keyring>) -> Result<Call, StoreError> {
    let sealed: Option<Vec<u8>> = row.get("evidence")?;
    let why = match (sealed, key) {
        (Some(sealed), Some(key)) => serde_json::from_slice(&key.open(&context(id), &sealed)?)
            .map_err(|error| StoreError::Broken(error.to_string()))?,
        (None, _) | (_, None) => Why::default(),
    };
    let mut call = Call::because(&row.get::<String>("rule")?);
    call.asked = row.get("asked")?;
    call.team = row.get("team")?;
    call.priority = row.word("priority")?;
    call.summary = why.summary;
    call.evidence = why.evidence;
    Ok(call)
}

fn view(row: &Row, key: Option<&Keyring>, now: Micros) -> Result<HandoffView, StoreError> {
    let id = HandoffId::from_uuid(row.get("id")?);
    let Call { rule, asked, team, priority, summary, evidence } = call(row, id, key)?;
    let (due_at, closed_at): (Option<Micros>, Option<Micros>) = (row.get("due_at")?, row.get("closed_at")?);
    let first_answer_at: Option<Micros> = row.get("first_answer_at")?;
    Ok(HandoffView {
        id,
        rule,
        asked,
        team,
        priority,
        summary,
        evidence,
        waiting_since: row.get("waiting_since")?,
        opened_at: row.get("opened_at")?,
        due_at,
        sla: row.word("sla")?,
        overdue: closed_at.is_none() && first_answer_at.is_none() && due_at.is_some_and(|due| due < now),
        reminders: row.get("reminders")?,
        claimed_at: row.get("claimed_at")?,
        claimed_by: row.get("claimed_by")?,
        first_answer_at,
        closed_at,
        outcome: row.get("outcome")?,
        notices: Vec::new(),
    })
}
