//! The judge. It compares what the outside was told and got with what the store and its witness say, and names every
//! broken promise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use stand_ins::GraphSend;

use super::customers::{Told, micros, name};
use super::inflict::Inflicted;
use super::takeovers::Taken;
use super::witness::{Change, Event, Send, Testimony};
use crate::faults::marks;

/// Everything that a run has seen.
pub(crate) struct Evidence {
    pub(crate) told: Vec<Told>,
    pub(crate) arrivals: Vec<GraphSend>,
    pub(crate) testimony: Testimony,
    pub(crate) taken: Vec<Taken>,
    pub(crate) inflicted: Vec<Inflicted>,
}

impl Evidence {
    /// All of it, a line each, to be searched by hand.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Testimony { events, sends, letters, changes } = &self.testimony;
        let told = self.told.iter().map(|one| format!("{one:?}"));
        let arrivals = self.arrivals.iter().map(|one| {
            format!(
                "Arrival at {} to {} as {:?}, taken {}: {}",
                micros(one.at),
                one.to,
                one.callback_data,
                one.wamid.is_some(),
                one.text
            )
        });
        let lines = told.chain(arrivals).chain(events.iter().map(|one| format!("{one:?}")));
        let lines =
            lines.chain(sends.iter().map(|one| format!("{one:?}"))).chain(letters.iter().map(|one| format!("{one:?}")));
        let lines = lines.chain(changes.iter().map(|one| format!("{one:?}")));
        lines
            .chain(self.taken.iter().map(|one| format!("{one:?}")))
            .chain(self.inflicted.iter().map(|one| format!("{one:?}")))
            .collect()
    }
}

/// What became of it all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Every broken promise, in words.
    pub(crate) violations: Vec<String>,
    pub(crate) messages: usize,
    pub(crate) accepted: usize,
    pub(crate) ended: BTreeMap<String, usize>,
    pub(crate) dead: BTreeMap<String, usize>,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) reordered: usize,
    /// Surfaced after their successor was answered, and marked so.
    pub(crate) late: usize,
    /// Sends that were unknown at some time.
    pub(crate) unknown: usize,
    pub(crate) takeovers: usize,
    /// Commands of theirs that found the store away.
    pub(crate) refused_hands: usize,
    /// How long after the last fault until nothing was left to do.
    pub(crate) settled_in: Duration,
    /// How often the provider got each answer.
    pub(crate) answers: BTreeMap<String, usize>,
    /// Of each kind of fault: how often, and the longest time from its end to the end of what it had held up.
    pub(crate) faults: BTreeMap<&'static str, (usize, Duration)>,
}

/// The evidence, sorted for looking things up.
struct Case<'a> {
    evidence: &'a Evidence,
    events: HashMap<&'a str, &'a Event>,
    sends: HashMap<&'a str, &'a Send>,
    by_turn: HashMap<&'a str, Vec<&'a Send>>,
    changes: HashMap<&'a str, Vec<&'a Change>>,
    /// Of each customer and number: the sends that said it, with the time and the place in the text.
    said: HashMap<(String, u32), BTreeMap<String, (i64, usize)>>,
    times: HashMap<String, usize>,
    verdict: Verdict,
}

/// A message that was answered, its number, and when and where in the text.
type Answer<'a> = (&'a Told, u32, (i64, usize));

/// Judges a run.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let mut case = Case::open(evidence);
    case.count();
    case.nothing_accepted_is_absent_or_without_end();
    case.an_end_is_an_end();
    case.what_was_replied_arrived();
    case.nothing_is_said_twice();
    case.answers_are_in_order();
    case.nothing_begins_under_a_persons_floor();
    case.recoveries();
    case.verdict
}

fn send_id(arrival: &GraphSend) -> String {
    arrival.callback_data.clone().unwrap_or_default().replace('-', "")
}

const BEGUN: &str = "sending";
const UNKNOWN: &str = "unknown";

impl<'a> Case<'a> {
    fn open(evidence: &'a Evidence) -> Self {
        let testimony = &evidence.testimony;
        let mut by_turn: HashMap<&str, Vec<&Send>> = HashMap::new();
        for send in &testimony.sends {
            by_turn.entry(send.turn.as_deref().unwrap_or_default()).or_default().push(send);
        }
        let mut changes: HashMap<&str, Vec<&Change>> = HashMap::new();
        for change in &testimony.changes {
            changes.entry(&change.id).or_default().push(change);
        }
        let (mut said, mut times) = (HashMap::new(), HashMap::new());
        for arrival in evidence.arrivals.iter().filter(|arrival| arrival.wamid.is_some()) {
            let id = send_id(arrival);
            for (place, mark) in marks(&arrival.text).into_iter().enumerate() {
                let sends: &mut BTreeMap<String, (i64, usize)> = said.entry((arrival.to.clone(), mark)).or_default();
                sends.entry(id.clone()).or_insert((micros(arrival.at), place));
            }
            *times.entry(id).or_insert(0) += 1;
        }
        Self {
            evidence,
            events: testimony.events.iter().map(|event| (event.id.as_str(), event)).collect(),
            sends: testimony.sends.iter().map(|send| (send.id.as_str(), send)).collect(),
            by_turn,
            changes,
            said,
            times,
            verdict: Verdict::default(),
        }
    }

    fn break_promise(&mut self, words: String) {
        self.verdict.violations.push(words);
    }

    fn changes_of(&self, id: &str) -> impl Iterator<Item = &'a Change> + use<'a> {
        self.changes.get(id).cloned().unwrap_or_default().into_iter()
    }

    fn sends_of(&self, event: &Event) -> Vec<&'a Send> {
        event.turn.as_deref().and_then(|turn| self.by_turn.get(turn)).cloned().unwrap_or_default()
    }

    fn was_unknown(&self, send: &str) -> usize {
        self.changes_of(send).filter(|change| change.became == UNKNOWN).count()
    }

    fn count(&mut self) {
        let told = &self.evidence.told;
        self.verdict.messages = told.iter().filter(|told| told.message.is_some()).count();
        self.verdict.accepted = told.iter().filter(|told| told.message.is_some() && told.accepted.is_some()).count();
        self.verdict.takeovers = self.evidence.taken.len();
        let testimony = &self.evidence.testimony;
        for event in testimony.events.iter().filter(|event| event.kind == "message") {
            *self.verdict.ended.entry(event.state.clone()).or_default() += 1;
            self.verdict.late += usize::from(event.late != 0);
        }
        for letter in &testimony.letters {
            *self.verdict.dead.entry(letter.class.clone()).or_default() += 1;
        }
        self.verdict.unknown = testimony.sends.iter().filter(|send| self.was_unknown(&send.id) > 0).count();
    }

    fn nothing_accepted_is_absent_or_without_end(&mut self) {
        let evidence = self.evidence;
        let letters: HashSet<_> = evidence.testimony.letters.iter().filter_map(|one| one.event.as_deref()).collect();
        for told in evidence.told.iter().filter(|told| told.accepted.is_some()) {
            match self.events.get(told.event.as_str()) {
                None if letters.contains(told.event.as_str()) => {}
                None => {
                    self.verdict.lost += 1;
                    self.break_promise(format!("P2: {} {:?} was accepted and is nowhere", told.event, told.message));
                }
                Some(event) if event.state == "pending" => {
                    self.verdict.lost += 1;
                    self.break_promise(format!("P2: {} {:?} never ended", told.event, told.message));
                }
                Some(_) => {}
            }
        }
        for send in &evidence.testimony.sends {
            if matches!(send.state.as_str(), "queued" | BEGUN) {
                self.break_promise(format!("P2: send {} is still {}", send.id, send.state));
            }
        }
    }

    /// The end is set once; only what becomes of the reply may still move it.
    fn an_end_is_an_end(&mut self) {
        for change in &self.evidence.testimony.changes {
            let (was, became) = (change.was.as_deref().unwrap_or(""), change.became.as_str());
            let allowed = match change.what.as_str() {
                "inbox" => match was {
                    "" | "pending" => true,
                    "replied" | "joined" | "blocked" => matches!(became, "dead" | "handed_off"),
                    _ => false,
                },
                "outbox" => match was {
                    "accepted" => became == "dead",
                    "superseded" | "dead" => false,
                    _ => true,
                },
                _ => true,
            };
            if !allowed {
                self.break_promise(format!("P2: {} {} went from {was} to {became}", change.what, change.id));
            }
        }
    }

    /// What ended replied or joined was said, unless its send is known to be unknown.
    fn what_was_replied_arrived(&mut self) {
        for told in &self.evidence.told {
            let Some((customer, number)) = told.message else { continue };
            let Some(event) = self.events.get(told.event.as_str()).copied() else { continue };
            if !matches!(event.state.as_str(), "replied" | "joined") {
                continue;
            }
            let sends = self.sends_of(event);
            let uncertain = sends.iter().any(|send| self.was_unknown(&send.id) > 0);
            if sends.is_empty() {
                self.break_promise(format!("P9: customer {customer} #{number} is {} without a send", event.state));
            } else if !uncertain && !self.said.contains_key(&(name(customer), number)) {
                self.break_promise(format!("P4: customer {customer} #{number} is {} and nobody said it", event.state));
            }
        }
    }

    /// A send arrives once, and once more for each time that nobody knew; an answer is in one send.
    fn nothing_is_said_twice(&mut self) {
        let mut found = Vec::new();
        for (id, times) in &self.times {
            if !self.sends.contains_key(id.as_str()) {
                found.push(format!("P4: {id} arrived and was never committed"));
            }
            let allowed = 1 + self.was_unknown(id);
            if *times > allowed {
                found.push(format!("P4: send {id} arrived {times} times, {allowed} at most were allowed"));
            }
        }
        for ((customer, number), sends) in self.said.iter().filter(|(_, sends)| sends.len() > 1) {
            found.push(format!("P4: {customer} #{number} was answered by {:?}", sends.keys()));
        }
        self.verdict.doubled += found.len();
        self.verdict.violations.extend(found);
    }

    /// What was accepted before the next was even posted is answered before it.
    fn answers_are_in_order(&mut self) {
        let mut customers: HashMap<usize, Vec<Answer<'a>>> = HashMap::new();
        for told in &self.evidence.told {
            let Some((customer, number)) = told.message else { continue };
            let Some(event) = self.events.get(told.event.as_str()).copied() else { continue };
            let answered = matches!(event.state.as_str(), "replied" | "joined");
            let said = self.said.get(&(name(customer), number)).and_then(|sends| sends.iter().next());
            let Some((send, when)) = said.filter(|_| answered && told.accepted.is_some()) else { continue };
            // Nobody can promise an order for what nobody knew to be sent.
            if event.late == 0 && self.was_unknown(send) == 0 {
                customers.entry(customer).or_default().push((told, number, *when));
            }
        }
        for (customer, mut answers) in customers {
            answers.sort_by_key(|(.., when)| *when);
            for (place, (later, number, _)) in answers.iter().enumerate() {
                let before = answers[..place].iter().find(|(earlier, ..)| later.accepted < Some(earlier.first_posted));
                if let Some((_, first, ..)) = before {
                    self.verdict.reordered += 1;
                    self.break_promise(format!("P3: customer {customer}: #{number} was answered after #{first}"));
                }
            }
        }
    }

    /// From a take-over's commit, which was before its command ended, no send of the assistant's or the policy's begins,
    /// but for the word to a customer who writes to the person.
    fn nothing_begins_under_a_persons_floor(&mut self) {
        let evidence = self.evidence;
        for taken in &evidence.taken {
            let from = taken.held_from.0;
            let mut human = false;
            let mut until = i64::MAX;
            for change in self.changes_of(&taken.conversation) {
                if change.at <= from {
                    human = change.became == "human";
                } else if change.became != "human" {
                    until = until.min(change.at);
                }
            }
            if !human {
                continue;
            }
            let of_this = |send: &&Send| {
                send.conversation == taken.conversation && send.author != "person" && send.purpose != "courtesy"
            };
            for send in evidence.testimony.sends.iter().filter(of_this) {
                let begins: Vec<i64> =
                    self.changes_of(&send.id).filter(|change| change.became == BEGUN).map(|change| change.at).collect();
                if begins.iter().any(|at| (from..until).contains(at)) {
                    self.break_promise(format!("P6: send {} began while a person held {}", send.id, send.conversation));
                }
                let arrivals = evidence.arrivals.iter().filter(|arrival| send_id(arrival) == send.id);
                for at in arrivals.map(|arrival| micros(arrival.at)).filter(|at| (from..until).contains(at)) {
                    let begun_before = begins.iter().any(|begun| *begun < from.min(at));
                    if !begun_before && !taken.begun.contains(&send.id) {
                        self.break_promise(format!("P6: send {} arrived under a person's floor", send.id));
                    }
                }
            }
        }
    }

    /// When a message's story was over: its own end, and the first end of each of its sends.
    fn over(&self, event: &Event) -> Option<i64> {
        let ends = ["accepted", UNKNOWN, "superseded", "dead"];
        let first = |send: &&Send| self.changes_of(&send.id).find(|change| ends.contains(&change.became.as_str()));
        let sends = self.sends_of(event);
        sends.iter().filter_map(first).map(|change| change.at).chain(event.ended).max()
    }

    fn recoveries(&mut self) {
        let mut waits: Vec<(i64, i64)> = Vec::new();
        for told in self.evidence.told.iter().filter(|told| told.message.is_some()) {
            let over = self.events.get(told.event.as_str()).and_then(|event| self.over(event));
            if let (Some(accepted), Some(over)) = (told.accepted_at, over) {
                waits.push((accepted.0, over));
            }
        }
        for fault in self.evidence.inflicted.iter().filter(|fault| fault.struck) {
            let end = fault.over.0;
            let held_up = waits.iter().filter(|(accepted, over)| *accepted <= end && *over > end);
            let longest = held_up.map(|(_, over)| over - end).max().unwrap_or(0);
            let entry = self.verdict.faults.entry(fault.kind).or_default();
            entry.0 += 1;
            entry.1 = entry.1.max(Duration::from_micros(u64::try_from(longest).unwrap_or(0)));
        }
    }
}

mod tests {
    use std::time::Instant;

    use common::domain::Micros;

    use super::*;

    const FLOOR: &str = "c0";

    type Spoil = fn(&mut Evidence);

    /// A run in which two messages of one customer were answered in order, and a floor was taken and given back.
    fn good() -> Evidence {
        let begun = Instant::now();
        let told = |number: u32| Told {
            message: Some((0, number)),
            event: format!("e{number}"),
            first_posted: begun + Duration::from_secs(u64::from(number) * 10),
            accepted: Some(begun + Duration::from_secs(u64::from(number) * 10 + 1)),
            accepted_at: Some(Micros(i64::from(number) * 10_000_000)),
        };
        let event = |number: u32| Event {
            id: format!("e{number}"),
            kind: "message".into(),
            state: "replied".into(),
            late: 0,
            turn: Some(format!("t{number}")),
            ended: Some(i64::from(number) * 10_000_000 + 500_000),
            received: i64::from(number) * 10_000_000,
            taken_in: i64::from(number) * 10_000_000,
        };
        let send = |number: u32| Send {
            id: format!("5{number}"),
            turn: Some(format!("t{number}")),
            state: "accepted".into(),
            author: "assistant".into(),
            purpose: "reply".into(),
            conversation: FLOOR.into(),
        };
        let change = |at: i64, what: &str, id: String, was: &str, became: &str| Change {
            at,
            what: what.into(),
            id,
            was: Some(was.into()),
            became: became.into(),
        };
        let mut changes = Vec::new();
        for number in [1, 2] {
            let at = i64::from(number) * 10_000_000 + 600_000;
            changes.push(change(at, "outbox", format!("5{number}"), "queued", "sending"));
            changes.push(change(at + 2, "outbox", format!("5{number}"), "sending", "accepted"));
        }
        changes.push(change(30_000_000, "conversation", FLOOR.into(), "assistant", "human"));
        changes.push(change(40_000_000, "conversation", FLOOR.into(), "human", "assistant"));
        let arrivals = [1, 2].map(arrival).into();
        let testimony =
            Testimony { events: vec![event(1), event(2)], sends: vec![send(1), send(2)], letters: Vec::new(), changes };
        let taken = vec![Taken { conversation: FLOOR.into(), held_from: Micros(30_500_000), begun: Vec::new() }];
        Evidence { told: vec![told(1), told(2)], arrivals, testimony, taken, inflicted: Vec::new() }
    }

    fn arrival(number: u32) -> GraphSend {
        let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_micros(u64::from(number) * 10_000_000 + 600_001);
        GraphSend {
            number: String::new(),
            to: name(0),
            text: format!("About #{number}."),
            callback_data: Some(format!("5{number}")),
            authorization: None,
            wamid: Some(format!("wamid.{number}")),
            at,
            body: serde_json::Value::Null,
        }
    }

    fn broken(spoil: impl FnOnce(&mut Evidence)) -> Vec<String> {
        let mut evidence = good();
        spoil(&mut evidence);
        judge(&evidence).violations
    }

    #[test]
    fn a_good_run_breaks_no_promise() {
        assert_eq!(broken(|_| {}), [""; 0]);
    }

    #[test]
    fn every_kind_of_wrong_is_seen() {
        let spoils: [(&str, Spoil); 9] = [
            ("is nowhere", |run| drop(run.testimony.events.remove(0))),
            ("never ended", |run| run.testimony.events[0].state = "pending".into()),
            ("is still queued", |run| run.testimony.sends[0].state = "queued".into()),
            ("went from dead to replied", |run| {
                let (was, became) = (Some("dead".into()), "replied".into());
                run.testimony.changes.push(Change { at: 0, what: "inbox".into(), id: "e1".into(), was, became });
            }),
            ("nobody said it", |run| drop(run.arrivals.remove(0))),
            ("arrived 2 times", |run| run.arrivals.push(arrival(1))),
            ("was answered by", |run| run.arrivals[1].text = "About #1 #2.".into()),
            ("was answered after", |run| {
                let (first, second) = (run.arrivals[0].at, run.arrivals[1].at);
                (run.arrivals[0].at, run.arrivals[1].at) = (second, first);
            }),
            ("began while a person held", |run| {
                let (was, became) = (Some("queued".into()), BEGUN.into());
                let id = "51".into();
                run.testimony.changes.push(Change { at: 35_000_000, what: "outbox".into(), id, was, became });
            }),
        ];
        for (words, spoil) in spoils {
            let violations = broken(spoil);
            assert!(violations.iter().any(|violation| violation.contains(words)), "{words}: {violations:?}");
        }
    }

    #[test]
    fn what_nobody_knew_to_be_sent_may_arrive_once_more_and_out_of_order() {
        let unknown = |run: &mut Evidence| {
            let (was, became) = (Some(BEGUN.into()), UNKNOWN.into());
            run.testimony.changes.push(Change { at: 0, what: "outbox".into(), id: "51".into(), was, became });
            run.arrivals.push(arrival(1));
        };
        assert_eq!(broken(unknown), [""; 0]);
    }
}
