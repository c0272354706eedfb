//! Assistant or person: one decision over everything that is pending, as a pure function.
//!
//! | the burst | who answers | what is said | ends |
//! |---|---|---|---|
//! | the floor is a person's, or one was asked for before | the person | now and then a courtesy ([`Plan::courteous`]) | all `handed_off` |
//! | any message hands off | a person, from now on | one text | all `handed_off`: the person sees them all |
//! | nothing for the model | the policy | a text for what was blocked, one for what is unreadable | `blocked`; `replied`, `joined` |
//! | otherwise | the assistant | one answer, then the same texts in the same send | `blocked`; `replied`, `joined` |
//!
//! Of the messages that are answered, the newest is `replied` and the others are `joined` to it. A blocked message is
//! `blocked` whatever becomes of its neighbours, unless a person takes them all.

use std::time::Duration;

use common::domain::{Call, End, EventId, Evidence, Floor};

use super::guardrails::{Outcome, Reading, Screened};
use crate::policy::Notice;

/// One pending message, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its event.
    pub event_id: EventId,
    /// What it says.
    pub reading: Reading,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A model drafts an answer to these, oldest first; never none.
    Assistant(Vec<Screened>),
    /// The plan's notices are the whole answer.
    Policy,
    /// A person is called: the floor becomes `queued`.
    Queue(Call),
    /// A person is there or called already.
    Person,
}

/// What is to become of one message, apart from its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Question,
    Unreadable,
    Blocked,
    HandedOff,
}

/// What is to be done about everything pending, and how each message ends when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    route: Route,
    notices: Vec<Notice>,
    locale: String,
    fates: Vec<(EventId, Fate)>,
    defer: Option<Duration>,
}

impl Plan {
    /// Who answers.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// What the policy says, after the answer if there is one.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// For how long it is better put off: a plan that hands off never is.
    #[must_use]
    pub const fn defer(&self) -> Option<Duration> {
        self.defer
    }

    /// The reply's locale.
    #[must_use]
    pub fn locale(&self) -> &str {
        &self.locale
    }

    /// Every message's end, in the order given, once the plan is committed.
    #[must_use]
    pub fn ends(&self) -> Vec<(EventId, End)> {
        let answered = |fate: Fate| matches!(fate, Fate::Question | Fate::Unreadable);
        let newest = self.fates.iter().rposition(|(_, fate)| answered(*fate));
        let end = |at: usize, fate: Fate| match fate {
            Fate::Question | Fate::Unreadable if Some(at) == newest => End::Replied,
            Fate::Question | Fate::Unreadable => End::Joined,
            Fate::Blocked => End::Blocked,
            Fate::HandedOff => End::HandedOff,
        };
        self.fates.iter().enumerate().map(|(at, (event_id, fate))| (*event_id, end(at, *fate))).collect()
    }

    /// The plan after its draft was refused: what it would have answered is blocked, and the policy says `said`.
    #[must_use]
    pub fn refused(mut self, said: Notice) -> Self {
        for (_, fate) in self.fates.iter_mut().filter(|(_, fate)| *fate == Fate::Question) {
            *fate = Fate::Blocked;
        }
        self.route = Route::Policy;
        let media = unreadable(&self.notices);
        let mut stops: Vec<Notice> =
            self.notices.into_iter().filter(|notice| !matches!(notice, Notice::Unreadable(_))).collect();
        stops.push(said);
        self.notices = notices(stops, media);
        self
    }

    /// As [`handed_over`](Self::handed_over), where the customer is told first that there is no answer.
    #[must_use]
    pub fn failed_over(self, call: Call) -> Self {
        let mut plan = self.handed_over(call);
        plan.notices.insert(0, Notice::Failure);
        plan
    }

    /// The plan with a word to a customer who writes while people have the conversation, and has not heard one lately.
    #[must_use]
    pub fn courteous(mut self) -> Self {
        if self.route == Route::Person {
            self.notices = vec![Notice::Courtesy];
        }
        self
    }

    /// The plan after something else than a message decided that a person must answer.
    #[must_use]
    pub fn handed_over(self, call: Call) -> Self {
        let fates = self.fates.into_iter().map(|(event_id, _)| (event_id, Fate::HandedOff)).collect();
        Self { route: Route::Queue(call), notices: vec![Notice::HandedOff], locale: self.locale, fates, defer: None }
    }
}

/// Decides for all pending messages, oldest first; never none. `locale` is for when none of them tells its own.
#[must_use]
pub fn route(floor: Floor, pending: &[Pending], locale: &str) -> Plan {
    let locale = pending.iter().rev().find_map(locale_of).unwrap_or(locale).to_owned();
    match floor {
        Floor::Queued | Floor::Human => to_person(Route::Person, Vec::new(), pending, locale),
        Floor::Assistant => match handoff(pending) {
            Some((route, notice)) => to_person(route, vec![notice], pending, locale),
            None => to_assistant(pending, locale),
        },
    }
}

fn locale_of(pending: &Pending) -> Option<&str> {
    match &pending.reading {
        Reading::Text(screening) => screening.locale.as_deref(),
        Reading::Unreadable(_) => None,
    }
}

/// The handoff to name, and what is said: one that was asked for before any other, then the most urgent one, then the
/// first. Whatever else would have called speaks for it too.
fn handoff(pending: &[Pending]) -> Option<(Route, Notice)> {
    let found = pending.iter().filter_map(|message| match &message.reading {
        Reading::Text(screening) => match &screening.outcome {
            Outcome::Handoff(call) => Some((message.event_id, call, &screening.notice)),
            Outcome::Pass(_) | Outcome::Block { .. } => None,
        },
        Reading::Unreadable(_) => None,
    });
    let mut calls: Vec<_> = found.collect();
    // Stable, so that the first of equals stays first.
    calls.sort_by_key(|(_, call, _)| std::cmp::Reverse((call.asked, call.priority)));
    let (_, call, notice) = calls.first()?;
    let of = |(event, call, _): &(EventId, &Call, &Notice)| {
        let event = *event;
        call.evidence.clone().into_iter().map(move |evidence| Evidence { event: Some(event), ..evidence })
    };
    let evidence = calls.iter().flat_map(of).collect();
    Some((Route::Queue(Call { evidence, ..(*call).clone() }), (*notice).clone()))
}

fn to_person(route: Route, notices: Vec<Notice>, pending: &[Pending], locale: String) -> Plan {
    let fates = pending.iter().map(|message| (message.event_id, Fate::HandedOff)).collect();
    Plan { route, notices, locale, fates, defer: None }
}

fn to_assistant(pending: &[Pending], locale: String) -> Plan {
    let (mut questions, mut media, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    let mut fates = Vec::with_capacity(pending.len());
    for message in pending {
        let fate = match &message.reading {
            Reading::Unreadable(what) => {
                media.push(what.clone());
                Fate::Unreadable
            }
            Reading::Text(screening) => match &screening.outcome {
                Outcome::Pass(screened) => {
                    questions.push(screened.clone());
                    Fate::Question
                }
                Outcome::Block { .. } => {
                    stops.push(screening.notice.clone());
                    Fate::Blocked
                }
                Outcome::Handoff(_) => Fate::HandedOff,
            },
        };
        fates.push((message.event_id, fate));
    }
    let defer = pending.iter().filter_map(|message| match &message.reading {
        Reading::Text(screening) => screening.defer,
        Reading::Unreadable(_) => None,
    });
    let defer = defer.max();
    let route = if questions.is_empty() { Route::Policy } else { Route::Assistant(questions) };
    Plan { route, notices: notices(stops, media), locale, fates, defer }
}

/// Each text once, in the order of what it answers.
fn notices(stops: Vec<Notice>, media: Vec<String>) -> Vec<Notice> {
    let unreadable = (!media.is_empty()).then_some(Notice::Unreadable(media));
    let mut notices: Vec<Notice> = Vec::new();
    for notice in stops.into_iter().chain(unreadable) {
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }
    notices
}

fn unreadable(notices: &[Notice]) -> Vec<String> {
    let media = |notice: &Notice| match notice {
        Notice::Unreadable(media) => Some(media.clone()),
        Notice::Blocked
        | Notice::Stopped(_)
        | Notice::Closed { .. }
        | Notice::HandedOff
        | Notice::Failure
        | Notice::Holding
        | Notice::Returned
        | Notice::Courtesy => None,
    };
    notices.iter().find_map(media).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::domain::{Content, SourceName};

    use super::*;
    use crate::pipeline::guardrails::{Guardrails, Talk};
    use crate::policy::Policy;

    const ASK: &str = "What are your opening hours?";
    const MORE: &str = "Do you ship to the islands?";
    const BAD: &str = "write me a fake invoice";
    const PERSON: &str = "I want to talk to a person";
    const PHOTO: &str = "<image>";

    fn event(at: usize) -> EventId {
        let source = SourceName::parse("shop").unwrap();
        let identity = common::domain::Identity { kind: "message", id: at.to_string(), status: None };
        EventId::derive(&source, &identity)
    }

    fn plan(floor: Floor, messages: &[&str]) -> Plan {
        let guardrails = Guardrails::new(Arc::new(Policy::starter().unwrap())).unwrap();
        let read = |text: &str| match text {
            PHOTO => guardrails.read(&Content::Unreadable("image".into()), &mut Talk::default()),
            text => guardrails.read(&Content::Text(text.into()), &mut Talk::default()),
        };
        let pending: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(at, text)| Pending { event_id: event(at), reading: read(text) })
            .collect();
        route(floor, &pending, "pt")
    }

    fn questions(plan: &Plan) -> Vec<&str> {
        match plan.route() {
            Route::Assistant(questions) => questions.iter().map(Screened::text).collect(),
            Route::Policy | Route::Queue { .. } | Route::Person => Vec::new(),
        }
    }

    fn ends(plan: &Plan) -> Vec<End> {
        let ends = plan.ends();
        assert!(ends.iter().enumerate().all(|(at, (event_id, _))| *event_id == event(at)), "in the order given");
        ends.into_iter().map(|(_, end)| end).collect()
    }

    fn photos(count: usize) -> Notice {
        Notice::Unreadable(vec!["image".to_owned(); count])
    }

    #[test]
    fn every_burst_the_assistant_answers_is_one_prompt_and_every_message_has_its_end() {
        use End::{Blocked, Joined, Replied};
        for (burst, asked, notices, expected) in [
            (vec![ASK], vec![ASK], vec![], vec![Replied]),
            (vec![ASK, MORE, ASK], vec![ASK, MORE, ASK], vec![], vec![Joined, Joined, Replied]),
            (vec![BAD], vec![], vec![Notice::Blocked], vec![Blocked]),
            (vec![BAD, BAD], vec![], vec![Notice::Blocked], vec![Blocked, Blocked]),
            (vec![ASK, BAD], vec![ASK], vec![Notice::Blocked], vec![Replied, Blocked]),
            (vec![PHOTO], vec![], vec![photos(1)], vec![Replied]),
            (
                vec![PHOTO, "  "],
                vec![],
                vec![Notice::Unreadable(vec!["image".into(), "empty".into()])],
                vec![Joined, Replied],
            ),
            (vec![PHOTO, ASK], vec![ASK], vec![photos(1)], vec![Joined, Replied]),
            (vec![ASK, PHOTO], vec![ASK], vec![photos(1)], vec![Joined, Replied]),
            (
                vec![BAD, PHOTO, ASK, PHOTO, BAD],
                vec![ASK],
                vec![Notice::Blocked, photos(2)],
                vec![Blocked, Joined, Joined, Replied, Blocked],
            ),
        ] {
            let plan = plan(Floor::Assistant, &burst);
            assert_eq!(questions(&plan), asked, "{burst:?}");
            assert_eq!(matches!(plan.route(), Route::Policy), asked.is_empty(), "{burst:?}");
            assert_eq!(plan.notices(), notices, "{burst:?}");
            assert_eq!(ends(&plan), expected, "{burst:?}");
        }
    }

    #[test]
    fn one_message_that_asks_for_a_person_hands_off_the_whole_burst_with_one_text() {
        for burst in
            [vec![PERSON], vec![ASK, PERSON], vec![PERSON, ASK], vec![BAD, PERSON, PHOTO], vec![PERSON, PERSON]]
        {
            let plan = plan(Floor::Assistant, &burst);
            let Route::Queue(call) = plan.route() else { panic!("{burst:?}: {:?}", plan.route()) };
            assert_eq!((call.rule.as_str(), call.asked), ("asks-for-a-person", true), "{burst:?}");
            let asks = burst.iter().position(|text| *text == PERSON).unwrap();
            let first = Evidence { event: Some(event(asks)), rule: call.rule.clone(), reason: "asked".into() };
            assert_eq!(call.evidence.first(), Some(&first), "{burst:?}");
            assert_eq!(plan.notices(), [Notice::HandedOff], "{burst:?}");
            assert!(ends(&plan).iter().all(|end| *end == End::HandedOff), "{burst:?}");
        }
    }

    #[test]
    fn of_several_calls_the_asked_one_counts_then_the_most_urgent_then_the_first_and_all_of_them_speak() {
        const ANGRY: &str = "THIS IS RIDICULOUS!!!";
        const URGENT: &str = "it is urgent";
        for (burst, rule) in [
            ([ANGRY, URGENT, ASK], "urgent"),
            ([URGENT, ANGRY, ASK], "urgent"),
            ([URGENT, ANGRY, PERSON], "asks-for-a-person"),
            ([ANGRY, "I want my money back", ASK], "angry"),
            (["I want my money back", ANGRY, ASK], "complaint"),
        ] {
            let plan = plan(Floor::Assistant, &burst);
            let Route::Queue(call) = plan.route() else { panic!("{burst:?}") };
            assert_eq!((call.rule.as_str(), call.evidence[0].rule.as_str()), (rule, rule), "{burst:?}");
            let calls = burst.iter().filter(|text| **text != ASK).count();
            assert_eq!(call.evidence.len(), calls, "{burst:?}: {:?}", call.evidence);
        }
    }

    #[test]
    fn while_a_person_has_the_floor_or_is_called_nothing_is_said() {
        for floor in [Floor::Queued, Floor::Human] {
            for burst in [vec![ASK], vec![PERSON], vec![BAD, PHOTO, ASK]] {
                let plan = plan(floor, &burst);
                assert_eq!((plan.route(), plan.notices()), (&Route::Person, &[][..]), "{burst:?}");
                assert!(ends(&plan).iter().all(|end| *end == End::HandedOff), "{burst:?}");
            }
        }
    }

    #[test]
    fn a_courtesy_is_a_word_of_the_policys_to_whoever_is_with_people_and_to_nobody_else() {
        let with_people = plan(Floor::Human, &[ASK, MORE]).courteous();
        assert_eq!((with_people.route(), with_people.notices()), (&Route::Person, &[Notice::Courtesy][..]));
        assert_eq!(ends(&with_people), [End::HandedOff; 2]);
        for floor_of_the_assistants in [plan(Floor::Assistant, &[ASK]), plan(Floor::Assistant, &[PERSON])] {
            assert_eq!(floor_of_the_assistants.clone().courteous(), floor_of_the_assistants);
        }
    }

    #[test]
    fn the_reply_speaks_the_language_of_the_newest_message_that_tells_it() {
        for (burst, locale) in [
            (vec![ASK, "¿Cuánto cuesta el envío?"], "es"),
            (vec!["¿Cuánto cuesta el envío?", "ok", PHOTO], "es"),
            (vec!["¿Cuánto cuesta el envío?", ASK], "en"),
            (vec!["ok", PHOTO], "pt"),
        ] {
            assert_eq!(plan(Floor::Assistant, &burst).locale(), locale, "{burst:?}");
        }
    }

    #[test]
    fn a_refused_draft_blocks_what_it_answered_and_keeps_what_the_policy_answers() {
        let plan = plan(Floor::Assistant, &[ASK, PHOTO, MORE]).refused(Notice::Blocked);
        assert_eq!(plan.route(), &Route::Policy);
        assert_eq!(plan.notices(), [Notice::Blocked, photos(1)]);
        assert_eq!(ends(&plan), [End::Blocked, End::Replied, End::Blocked]);
    }

    #[test]
    fn a_plan_handed_over_ends_as_one_that_hands_off() {
        let plan = plan(Floor::Assistant, &[ASK, BAD]).handed_over(Call::because("budget"));
        assert_eq!(plan.route(), &Route::Queue(Call::because("budget")));
        assert_eq!((plan.notices(), ends(&plan)), (&[Notice::HandedOff][..], vec![End::HandedOff; 2]));
    }
}
