//! The oracle: when everything has come to rest, what must be true of all that was said, answered and sent.

use std::collections::{HashMap, HashSet};

use common::domain::EventId;
use common::store::Store;
use uuid::Uuid;

use super::fakes::{Call, questions};
use super::watch::{Message, Tables, Watch};

/// An event as the ingress published it.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) id: EventId,
    pub(super) customer: u8,
    /// Whether it is a message that wants an answer.
    pub(super) asks: bool,
    /// The question that its text names.
    pub(super) question: Option<u32>,
}

/// Everything that a schedule leaves behind.
pub(super) struct Remains<'a> {
    pub(super) store: &'a Store,
    pub(super) watch: &'a mut Watch,
    pub(super) published: &'a [Published],
    pub(super) calls: &'a [Call],
    pub(super) predecessor_micros: i64,
}

impl Remains<'_> {
    /// The first promise that was broken, in words.
    pub(super) async fn judge(self) -> Result<(), String> {
        let ledger = self.store.ledger(None).await.map_err(|error| error.to_string())?;
        if !ledger.balances() || ledger.pending != 0 || ledger.sends.open != 0 || ledger.unknown_sends != 0 {
            return Err(format!("P2: the ledger does not balance: {ledger:?}"));
        }
        let tables = self.watch.seen.clone();
        let by_id: HashMap<Uuid, &Message> = tables.messages.iter().map(|message| (message.id, message)).collect();
        nothing_lost(self.published, &by_id)?;
        // A copy that the provider sends again is received after the first: what was published first stands first.
        let published = Said { events: self.published, by_id: &by_id, tables: &tables };
        in_order(&published, self.watch)?;
        predecessors(&published, self.watch, self.predecessor_micros)?;
        sent_once(self.calls, self.watch)?;
        nothing_silent(&tables, self.watch).await?;
        answered_what_was_asked(&published, self.watch, self.calls)
    }
}

/// Everything published, in the order in which the ingresses received it, and what became of it.
struct Said<'a> {
    events: &'a [Published],
    by_id: &'a HashMap<Uuid, &'a Message>,
    tables: &'a Tables,
}

impl Said<'_> {
    fn became(&self, event: &Published) -> &Message {
        self.by_id[&event.id.uuid()]
    }
}

fn nothing_lost(published: &[Published], by_id: &HashMap<Uuid, &Message>) -> Result<(), String> {
    for event in published {
        let Some(message) = by_id.get(&event.id.uuid()) else {
            return Err(format!("P1: a published event of customer {} was lost", event.customer));
        };
        if event.asks && message.position.is_none() {
            return Err(format!("P2: a message of customer {} is {} and has no turn", event.customer, message.state));
        }
    }
    let distinct: HashSet<Uuid> = published.iter().map(|event| event.id.uuid()).collect();
    if distinct.len() != by_id.len() {
        return Err(format!("P2: {} events were published and {} taken in", distinct.len(), by_id.len()));
    }
    Ok(())
}

/// Per conversation: a message that was known when a turn read what is pending is answered by it or before what came
/// after it; and exactly those that were overtaken are called late.
fn in_order(said: &Said<'_>, watch: &Watch) -> Result<(), String> {
    let asking: Vec<&Published> = said.events.iter().filter(|event| event.asks).collect();
    for (place, first) in asking.iter().enumerate() {
        let early = said.became(first);
        let mut overtaken = false;
        for second in asking[place + 1..].iter().filter(|event| event.customer == first.customer) {
            let later = said.became(second);
            if early.position <= later.position {
                continue;
            }
            overtaken = true;
            let at = |message: &Message, read| watch.courses[&message.id].place_at(read).map(|place| place.received_at);
            let read = watch.courses[&later.id].read;
            // Before it, as far as was known then: its first copy may have come in after another.
            if read.is_some_and(|read| at(early, read).is_some_and(|place| Some(place) < at(later, read))) {
                return Err(format!(
                    "P3: customer {}'s message {:?} was answered before message {:?}, which was there",
                    first.customer, second.question, first.question
                ));
            }
        }
        if overtaken != early.late {
            let (is, called) = (if overtaken { "was" } else { "was not" }, if early.late { "is" } else { "is not" });
            return Err(format!("P3: message {:?} {is} overtaken and {called} called late", first.question));
        }
    }
    Ok(())
}

/// A turn that answered a message whose named predecessor was not there had waited for it.
fn predecessors(said: &Said<'_>, watch: &Watch, wait: i64) -> Result<(), String> {
    for event in said.events.iter().filter(|event| event.asks) {
        let message = said.became(event);
        let course = &watch.courses[&message.id];
        let Some(read) = course.read else { continue };
        let Some(previous) = course.place_at(read).and_then(|place| place.previous) else { continue };
        let absent = watch.courses.get(&previous).is_none_or(|course| course.admitted > read);
        let turn = said.tables.turns.iter().find(|turn| Some(turn.id) == message.turn_id);
        if let (true, Some(turn)) = (absent, turn)
            && turn.started_at < message.accepted_at + wait
        {
            return Err(format!("P3: message {:?} was answered without waiting for the one before it", event.question));
        }
    }
    Ok(())
}

fn sent_once(calls: &[Call], watch: &Watch) -> Result<(), String> {
    let mut received: HashMap<Uuid, u64> = HashMap::new();
    for call in calls.iter().filter(|call| call.received) {
        *received.entry(call.send.uuid()).or_default() += 1;
    }
    for (send, times) in received {
        let allowed = 1 + watch.unknowns.get(&send).copied().unwrap_or(0);
        if times > allowed {
            return Err(format!("P4: a send was sent {times} times, with {} recorded as unknown", allowed - 1));
        }
        let row = watch.seen.sends.iter().find(|row| row.id == send);
        if row.is_none_or(|row| row.state == "superseded") {
            return Err("P4: a customer has what is recorded as never sent".to_owned());
        }
    }
    Ok(())
}

/// Every message has a reply, a notice or a dead letter with a failure text, or a person has it.
async fn nothing_silent(tables: &Tables, watch: &mut Watch) -> Result<(), String> {
    let letters: Vec<(Option<Uuid>, Option<Uuid>)> = watch.rows("SELECT event_id, send_id FROM dead").await;
    let sends_of = |turn: Option<Uuid>| tables.sends.iter().filter(move |send| send.turn_id == turn && turn.is_some());
    for message in tables.messages.iter().filter(|message| message.kind == "message") {
        let spoken = sends_of(message.turn_id).any(|send| matches!(send.state.as_str(), "accepted" | "unknown"));
        let turn = tables.turns.iter().find(|turn| Some(turn.id) == message.turn_id);
        let turn_letter = || {
            letters.iter().any(|(event, send)| {
                *event == Some(message.id)
                    || tables.messages.iter().any(|other| Some(other.id) == *event && other.turn_id == message.turn_id)
                    || sends_of(message.turn_id).any(|row| Some(row.id) == *send)
            })
        };
        let answered = match message.state.as_str() {
            "replied" | "joined" => spoken,
            "blocked" => sends_of(message.turn_id).next().is_some(),
            "handed_off" => turn.is_some(),
            "dead" => turn_letter() && sends_of(message.turn_id).next().is_some(),
            _ => false,
        };
        if !answered {
            let outcome = turn.map(|turn| turn.outcome.as_str());
            let sends: Vec<&str> = sends_of(message.turn_id).map(|send| send.state.as_str()).collect();
            return Err(format!("P9: a message ended {} by {outcome:?} with sends {sends:?}: silence", message.state));
        }
    }
    Ok(())
}

/// A reply names every question of its turn, once, in the order received as far as the turn could know.
fn answered_what_was_asked(said: &Said<'_>, watch: &Watch, calls: &[Call]) -> Result<(), String> {
    for turn in said.tables.turns.iter().filter(|turn| turn.outcome == "answered") {
        let mut rows: Vec<_> = said.tables.sends.iter().filter(|send| send.turn_id == Some(turn.id)).collect();
        rows.sort_by_key(|send| send.ordinal);
        let texts: Option<Vec<&str>> =
            rows.iter().map(|row| Some(calls.iter().find(|call| call.send.uuid() == row.id)?.text.as_str())).collect();
        // What was never sent has no text that anybody saw.
        let Some(texts) = texts else { continue };
        let text = texts.join(" ");
        let mut of_turn: Vec<&Published> =
            said.events.iter().filter(|event| said.became(event).turn_id == Some(turn.id)).collect();
        of_turn.sort_by_key(|event| {
            let course = &watch.courses[&event.id.uuid()];
            course.read.and_then(|read| course.place_at(read)).map(|place| place.received_at)
        });
        let asked: Vec<u32> = of_turn.iter().filter_map(|event| event.question).collect();
        // What a person was given before may be answered again with it.
        let answered: Vec<u32> = questions(&text).filter(|number| asked.contains(number)).collect();
        if answered != asked {
            return Err(format!("P3: a turn over the questions {asked:?} was answered with {answered:?}"));
        }
    }
    Ok(())
}
