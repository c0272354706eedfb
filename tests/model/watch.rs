//! The watch: looks at the tables after every step that wrote, and knows what no step may do.
//!
//! Since one step is at most one transaction, what changed between two looks is what that step did, and what stood
//! before is what it had to respect. This is where P3, P4 and P6 are checked to the step.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::domain::Micros;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor, FromRow};
use uuid::Uuid;

use super::stage::Touched;

/// The clock that the schedule moves.
#[derive(Clone, Debug)]
pub(super) struct Now(pub(super) Arc<AtomicI64>);

impl Now {
    pub(super) fn get(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

/// What kind of actor made a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Intake,
    Turn,
    Delivery,
    Chores,
    Renewal,
    Person,
}

/// A row of a table, each column under its field's name.
macro_rules! row {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident: $of:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $name { $(pub(super) $field: $of),+ }

        impl<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &'r sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    )+};
}

row! {
    struct Conversation {
        id: Uuid,
        tail: i64,
        done: i64,
        fence: i64,
        lease_owner: Option<Uuid>,
        lease_until: Option<i64>,
        floor: String,
        epoch: i64,
        send_fence: i64,
        send_until: Option<i64>,
        pending: i64,
    }

    struct Message {
        id: Uuid,
        kind: String,
        state: String,
        position: Option<i64>,
        late: bool,
        turn_id: Option<Uuid>,
        received_at: i64,
        previous: Option<Uuid>,
        accepted_at: i64,
    }

    struct Sent {
        id: Uuid,
        conversation_id: Uuid,
        turn_id: Option<Uuid>,
        ordinal: i64,
        author: String,
        state: String,
        epoch: i64,
    }

    struct Turned {
        id: Uuid,
        conversation_id: Uuid,
        position: i64,
        fence: i64,
        outcome: String,
        started_at: i64,
    }
}

/// The tables at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) conversations: Vec<Conversation>,
    pub(super) messages: Vec<Message>,
    pub(super) sends: Vec<Sent>,
    pub(super) turns: Vec<Turned>,
}

impl Tables {
    pub(super) fn conversation(&self, id: Uuid) -> Option<&Conversation> {
        self.conversations.iter().find(|row| row.id == id)
    }
}

impl Sent {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "sending")
    }
}

/// When a message came in and was answered.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) admitted: u64,
    /// The step in which the turn that ended it had read what was pending.
    pub(super) read: Option<u64>,
    /// The places that its copies gave it, each from its step on.
    places: Vec<(u64, Place)>,
}

/// Where a copy of a message stood: when the ingress had it, and after which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) received_at: i64,
    pub(super) previous: Option<Uuid>,
}

impl Course {
    /// Its place as whoever read in that step saw it; `None` if it had not come in.
    pub(super) fn place_at(&self, read: u64) -> Option<Place> {
        self.places.iter().rev().find(|(step, _)| *step < read).map(|(_, place)| *place)
    }
}

/// Who looks, and what was seen.
pub(super) struct Watch {
    look: SqliteConnection,
    /// What empties every table, but for those of which the store remembers what is in them.
    all: String,
    pub(super) seen: Tables,
    pub(super) courses: HashMap<Uuid, Course>,
    /// How often each send was recorded as unknown.
    pub(super) unknowns: HashMap<Uuid, u64>,
    claims: HashMap<usize, (Uuid, i64)>,
    deliveries: HashMap<usize, (Uuid, i64)>,
    senders: HashMap<Uuid, usize>,
    pub(super) begun: u64,
    pub(super) take_overs: u64,
}

/// Who made the step that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) number: u64,
    pub(super) actor: usize,
    pub(super) kind: Kind,
    pub(super) read_pending: Option<u64>,
    pub(super) now: Micros,
}

const CONVERSATIONS: &str = "SELECT id, tail, done, fence, lease_owner, lease_until, floor, epoch, send_fence, send_until, \
     (SELECT count(*) FROM inbox i WHERE i.conversation_id = c.id AND i.state = 'pending') AS pending \
   FROM conversation c ORDER BY rowid";
const MESSAGES: &str =
    "SELECT id, kind, state, position, late, turn_id, received_at, previous, accepted_at FROM inbox ORDER BY rowid";
const SENDS: &str = "SELECT id, conversation_id, turn_id, ordinal, author, state, epoch FROM outbox ORDER BY rowid";
const TURNS: &str = "SELECT id, conversation_id, position, fence, outcome, started_at FROM turn ORDER BY rowid";

impl Watch {
    /// A connection of its own to the store's memory.
    pub(super) async fn open(name: &str) -> Self {
        let options = SqliteConnectOptions::new().filename(format!("/{name}")).vfs("memdb");
        let mut look = SqliteConnection::connect_with(&options).await.expect("the store's memory");
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '_sqlx%' \
                     AND name NOT IN ('intake_clock', 'ingress') ORDER BY rowid DESC";
        let names: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&mut look).await.expect("tables");
        let all = names.iter().map(|(name,)| format!("DELETE FROM {name};"));
        let all = std::iter::once("PRAGMA foreign_keys = OFF;".to_owned()).chain(all).collect();
        Self {
            look,
            all,
            seen: Tables::default(),
            courses: HashMap::new(),
            unknowns: HashMap::new(),
            claims: HashMap::new(),
            deliveries: HashMap::new(),
            senders: HashMap::new(),
            begun: 0,
            take_overs: 0,
        }
    }

    /// Empties every table, and forgets.
    pub(super) async fn forget(&mut self) {
        let all = std::mem::take(&mut self.all);
        self.look.execute(sqlx::AssertSqlSafe(all.as_str())).await.expect("empty tables");
        self.all = all;
        self.seen = Tables::default();
        self.courses.clear();
        self.unknowns.clear();
        self.claims.clear();
        self.deliveries.clear();
        self.senders.clear();
        self.begun = 0;
        self.take_overs = 0;
    }

    /// Rows of any shape, for the last look.
    pub(super) async fn rows<T>(&mut self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
    {
        sqlx::query_as(sql).fetch_all(&mut self.look).await.expect(sql)
    }

    /// Looks again, and says what the step did that it may not.
    pub(super) async fn look(&mut self, step: Step, written: Touched) -> Result<(), String> {
        let before = self.seen.clone();
        if written.conversations || written.messages {
            self.seen.conversations = self.rows(CONVERSATIONS).await;
        }
        if written.messages {
            self.seen.messages = self.rows(MESSAGES).await;
        }
        if written.sends {
            self.seen.sends = self.rows(SENDS).await;
        }
        if written.turns {
            self.seen.turns = self.rows(TURNS).await;
        }
        let now = self.seen.clone();
        self.conversations(step, &before, &now)?;
        self.turns(step, &before, &now)?;
        self.messages(step, &before, &now)?;
        self.sends(step, &before, &now)
    }

    fn conversations(&mut self, step: Step, before: &Tables, now: &Tables) -> Result<(), String> {
        let free = |until: Option<i64>| until.is_none_or(|until| until <= step.now.0);
        for row in &now.conversations {
            if row.tail - row.done != row.pending {
                return Err(format!(
                    "tail {} - done {} is not the number of pending messages, {}",
                    row.tail, row.done, row.pending
                ));
            }
            let Some(old) = before.conversation(row.id) else { continue };
            if row.done < old.done || row.tail < old.tail || row.fence < old.fence || row.epoch < old.epoch {
                return Err("a counter went back".to_owned());
            }
            if row.fence > old.fence {
                if !free(old.lease_until) {
                    return Err(format!(
                        "P3: the turn was claimed (fence {}) while fence {} held it",
                        row.fence, old.fence
                    ));
                }
                self.claims.insert(step.actor, (row.id, row.fence));
            } else if old.lease_owner.is_some() && row.lease_owner.is_none() {
                self.holds_turn(step, row.id, old.fence, "released")?;
            }
            if row.send_fence > old.send_fence {
                if !free(old.send_until) {
                    return Err("P4: the outbox was claimed while another sender held it".to_owned());
                }
                self.deliveries.insert(step.actor, (row.id, row.send_fence));
            }
            if row.floor == "human" && row.epoch > old.epoch {
                self.take_overs += 1;
            }
            if (old.floor != row.floor) && row.epoch == old.epoch {
                return Err(format!("P6: the floor went from {} to {} and the epoch stayed", old.floor, row.floor));
            }
        }
        Ok(())
    }

    fn holds_turn(&self, step: Step, conversation: Uuid, fence: i64, what: &str) -> Result<(), String> {
        match self.claims.get(&step.actor) {
            Some(held) if *held == (conversation, fence) => Ok(()),
            Some((_, held)) => Err(format!("P3: a claim of fence {fence} was {what} by the holder of fence {held}")),
            None => Err(format!("P3: a claim of fence {fence} was {what} by somebody who holds none")),
        }
    }

    fn turns(&self, step: Step, before: &Tables, now: &Tables) -> Result<(), String> {
        for turn in &now.turns[before.turns.len().min(now.turns.len())..] {
            let Some(row) = now.conversation(turn.conversation_id) else { continue };
            if turn.fence != row.fence {
                return Err(format!("P3: a turn of fence {} was committed under fence {}", turn.fence, row.fence));
            }
            self.holds_turn(step, row.id, row.fence, "committed")?;
            let earlier = before.turns.iter().filter(|earlier| earlier.conversation_id == turn.conversation_id);
            if earlier.map(|earlier| earlier.position).max() >= Some(turn.position) {
                return Err(format!("P3: a turn was committed at {}, which is not behind the last", turn.position));
            }
            if row.lease_owner.is_some() != (row.done < row.tail) {
                return Err(format!(
                    "a commit left done {} of tail {} and the lease {}",
                    row.done,
                    row.tail,
                    if row.lease_owner.is_some() { "held" } else { "released" }
                ));
            }
        }
        Ok(())
    }

    fn messages(&mut self, step: Step, before: &Tables, now: &Tables) -> Result<(), String> {
        if now.messages.len() < before.messages.len() {
            return Err("P2: an accepted event is gone".to_owned());
        }
        for (at, message) in now.messages.iter().enumerate() {
            let old = before.messages.get(at);
            let place = Place { received_at: message.received_at, previous: message.previous };
            let fresh = || Course { admitted: step.number, read: None, places: Vec::new() };
            let course = self.courses.entry(message.id).or_insert_with(fresh);
            if course.places.last().is_none_or(|(_, last)| *last != place) {
                course.places.push((step.number, place));
            }
            let was_pending = old.is_some_and(|old| old.state == "pending");
            if old.is_some() && !was_pending && message.state == "pending" {
                return Err("P4: a message that had ended is pending again".to_owned());
            }
            if was_pending && message.state != "pending" {
                if step.kind != Kind::Turn {
                    return Err(format!("P2: {:?} ended a pending message", step.kind));
                }
                course.read = step.read_pending;
            }
        }
        Ok(())
    }

    fn sends(&mut self, step: Step, before: &Tables, now: &Tables) -> Result<(), String> {
        for (at, send) in now.sends.iter().enumerate() {
            let Some(row) = now.conversation(send.conversation_id) else { continue };
            let Some(old) = before.sends.get(at) else {
                let floor = before.conversation(row.id).map_or("assistant", |old| old.floor.as_str());
                if send.author == "assistant" && floor != "assistant" {
                    return Err(format!("P6: an assistant's reply was committed while the floor was {floor}"));
                }
                continue;
            };
            match (old.state.as_str(), send.state.as_str()) {
                ("queued", "sending") => self.begins(step, before, send)?,
                ("sending", "queued") if self.senders.get(&send.id) != Some(&step.actor) => {
                    return Err("P4: a begun send was queued again by somebody who did not begin it".to_owned());
                }
                ("queued", "unknown") if self.unknowns.contains_key(&send.id) => {}
                (from, "unknown") if from != "unknown" => {
                    *self.unknowns.entry(send.id).or_default() += 1;
                    let sender = self.senders.get(&send.id) == Some(&step.actor);
                    let claimed = self.deliveries.get(&step.actor) == Some(&(row.id, row.send_fence));
                    if !sender && !claimed {
                        return Err("P4: a send was given up by somebody who does not hold the outbox".to_owned());
                    }
                }
                ("unknown", "queued") if step.kind != Kind::Chores => {
                    return Err(format!("P4: {:?} queued an unknown send again", step.kind));
                }
                ("accepted" | "superseded" | "dead", "queued" | "sending" | "unknown") => {
                    return Err(format!("P4: a send that was {} is {} again", old.state, send.state));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A send begins: by the floor that stood before this step, under the claim that holds, the first in line.
    fn begins(&mut self, step: Step, before: &Tables, send: &Sent) -> Result<(), String> {
        let Some(row) = before.conversation(send.conversation_id) else { return Ok(()) };
        let may = match (send.author.as_str(), row.floor.as_str()) {
            ("person", _) | ("policy", "assistant" | "queued") => true,
            // Under a person's floor, only the policy's word to a customer who wrote while it was that person's.
            ("assistant", "assistant") | ("policy", "human") => send.epoch == row.epoch,
            _ => false,
        };
        if !may {
            return Err(format!(
                "P6: a send of the {}'s (epoch {}) began while the floor was {} (epoch {})",
                send.author, send.epoch, row.floor, row.epoch
            ));
        }
        if self.deliveries.get(&step.actor) != Some(&(row.id, row.send_fence)) {
            return Err("P4: a send was begun by somebody who does not hold the outbox".to_owned());
        }
        let ahead = |other: &&Sent| {
            other.conversation_id == send.conversation_id
                && other.ordinal < send.ordinal
                && other.state == "queued"
                && !self.unknowns.contains_key(&other.id)
        };
        if let Some(ahead) = before.sends.iter().find(ahead) {
            return Err(format!("P3: send {} of a conversation began before send {}", send.ordinal, ahead.ordinal));
        }
        self.senders.insert(send.id, step.actor);
        self.begun += 1;
        Ok(())
    }
}
