//! Whether the customer asks for a person. Erring is not symmetric: a needless handoff costs a colleague a minute, a
//! missed one costs the customer; so only a clear "don't" nearby, in the same clause, turns a request around.

use std::collections::HashSet;

use aho_corasick::BuildError;
use lens::phrases::{Match, Phrases};
use lens::{View, words_of};

use super::result::{Found, Reason};
use super::words::phrases;
use crate::policy::PersonRule;

/// Words between "talk to" and "person": "talk to a real person".
const ASK_TO_WHO: usize = 2;
/// Words between "don't" and "talk to a person": "don't really want to talk to a person".
const NEGATION_REACH: usize = 3;
/// More words than any negation has; bounds the search for one that overlaps.
const LONGEST_NEGATION: usize = 8;

/// The rule, ready to run.
#[derive(Debug)]
pub(super) struct Person {
    alone: HashSet<String>,
    phrases: Phrases,
    ask: Phrases,
    who: Phrases,
    negation: Phrases,
    rhetorical: Phrases,
}

impl Person {
    pub(super) fn new(rule: &PersonRule) -> Result<Self, BuildError> {
        Ok(Self {
            alone: rule.alone.values().flatten().map(|text| words_of(text)).collect(),
            phrases: phrases(&rule.phrases)?,
            ask: phrases(&rule.ask)?,
            who: phrases(&rule.who)?,
            negation: phrases(&rule.negation)?,
            rhetorical: phrases(&rule.rhetorical)?,
        })
    }

    pub(super) fn judge(&self, view: &View) -> Found {
        if self.alone.contains(&view.text) {
            let span = view.span(0, view.words.len().saturating_sub(1));
            return Found::at(Reason::Asked, vec![span]);
        }
        let requests = self.requests(view);
        if requests.is_empty() {
            return Found::nothing(Reason::Clean);
        }
        let negations = self.negations(view);
        let meant = requests.iter().filter(|request| !negated(view, **request, &negations));
        let spans: Vec<_> = meant.map(|request| view.span(request.first, request.last)).collect();
        if spans.is_empty() { Found::nothing(Reason::Negated) } else { Found::at(Reason::Asked, spans) }
    }

    fn requests(&self, view: &View) -> Vec<Match> {
        let mut requests: Vec<Match> = self.phrases.find(view).collect();
        let asks: Vec<Match> = self.ask.find(view).collect();
        if asks.is_empty() {
            return requests;
        }
        let mut who: Vec<Match> = self.who.find(view).collect();
        who.sort_unstable_by_key(|range| (range.first, range.last));
        requests.extend(asks.iter().filter_map(|ask| {
            let next = who.get(who.partition_point(|range| range.first <= ask.last))?;
            let near = next.first - ask.last - 1 <= ASK_TO_WHO && same_clause(view, ask.last, next.first);
            near.then_some(Match { first: ask.first, ..*next })
        }));
        requests
    }

    /// Negations that are meant, in the order of their last words.
    fn negations(&self, view: &View) -> Vec<Match> {
        let mut negations: Vec<Match> = self.negation.find(view).collect();
        let rhetorical: Vec<Match> = self.rhetorical.find(view).collect();
        negations.retain(|range| {
            let from = rhetorical.partition_point(|figure| figure.last < range.last);
            let near = rhetorical[from..].iter().take_while(|figure| figure.last <= range.last + LONGEST_NEGATION);
            !near.into_iter().any(|figure| figure.first <= range.first)
        });
        negations
    }
}

fn negated(view: &View, request: Match, negations: &[Match]) -> bool {
    let from = negations.partition_point(|range| range.last + NEGATION_REACH + 1 < request.first);
    let near = negations[from..].iter().take_while(|range| range.last < request.first + LONGEST_NEGATION);
    near.into_iter().any(|range| range.first < request.first && same_clause(view, range.first, request.first))
}

fn same_clause(view: &View, one: usize, other: usize) -> bool {
    let clause = |index: usize| view.words.get(index).map(|word| word.clause);
    clause(one) == clause(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Policy, RuleKind};

    fn starter() -> Person {
        let policy = Policy::starter().unwrap();
        let rule = policy.rules().iter().find_map(|rule| match &rule.kind {
            RuleKind::Person(person) => Some(Person::new(person).unwrap()),
            _ => None,
        });
        rule.unwrap()
    }

    #[test]
    fn who_asks_for_a_person_is_heard_in_every_language() {
        let person = starter();
        for text in [
            "I want to talk to a person",
            "can I speak with a real human being?",
            "AGENT",
            "human please",
            "No, I want to talk to a person.",
            "No! Transfer me to an agent now",
            "why don't you transfer me to a human?",
            "I don't know how to talk to a person here",
            "Is there someone I can talk to?",
            "connect me to one of your agents",
            "I’d like to be transferred to customer service",
            "I don't want a bot. Let me speak to somebody",
            "Quiero hablar con una persona",
            "¿me puede atender un asesor?",
            "asesor por favor",
            "páseme con un humano",
            "No, quiero hablar con alguien",
            "¿No puedo hablar con una persona?",
            "necesito comunicarme con un agente",
            "¿Por qué no me pasas con una persona?",
            "QUIERO  HABLAR   CON UNA PERSONA!!!",
            "Quero falar com uma pessoa",
            "Posso falar com um atendente?",
            "atendente",
            "me transfere para um humano",
            "Não, quero falar com alguém",
            "preciso de atendimento humano",
        ] {
            assert!(person.judge(&View::plain(text)).hit, "should hand off: {text}");
        }
    }

    #[test]
    fn who_does_not_want_a_person_or_speaks_of_something_else_stays() {
        let person = starter();
        for text in [
            "don't transfer me to an agent",
            "I do not want to talk to a person",
            "no need to talk to a human",
            "please answer without me having to talk to a person",
            "I'd rather not speak with anyone or an agent",
            "I didn't ask to be transferred to an agent",
            "Am I talking to a person?",
            "Are you human?",
            "How many people does the tent hold?",
            "I need a human hair wig",
            "I talked to a person yesterday",
            "Do you sell agent 007 posters?",
            "I want a refund from someone",
            "a cleaning agent for leather",
            "no quiero hablar con una persona",
            "No me pases con un asesor",
            "no hace falta hablar con una persona",
            "prefiero seguir sin hablar con un agente",
            "¿Estoy hablando con una persona?",
            "¿cuánto cuesta por persona?",
            "não quero falar com uma pessoa",
            "não preciso falar com um atendente",
            "não me transfere para um atendente",
            "Estou falando com uma pessoa?",
            "quanto custa por pessoa?",
            "",
        ] {
            assert!(!person.judge(&View::plain(text)).hit, "should stay: {text}");
        }
    }

    #[test]
    fn the_request_is_shown_where_it_stands_and_a_negated_one_is_told_apart() {
        let person = starter();
        let text = "Hello. Let me talk to a real person!";
        let found = person.judge(&View::plain(text));
        let shown: Vec<_> = found.spans.iter().map(|span| &text[span.start..span.end]).collect();
        assert_eq!(shown, ["talk to a real person"]);
        assert_eq!(person.judge(&View::plain("don't transfer me to an agent")).reason, Reason::Negated);
        assert_eq!(person.judge(&View::plain("where is my order")).reason, Reason::Clean);
    }
}
