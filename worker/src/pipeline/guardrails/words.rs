//! Whole words and phrases in a text, in every view of it, and patterns in the text as it stands.

use aho_corasick::BuildError;
use lens::patterns::Patterns;
use lens::phrases::Phrases;
use lens::{Span, View, Views};

use super::result::{Found, Reason};
use crate::policy::{PerLocale, PromiseRule, WordsRule};

/// Words between "cannot" and "guarantee": "cannot at this moment guarantee".
const NEGATION_REACH: usize = 4;

/// The phrases of every locale, ready to be looked for.
pub(super) fn phrases(lists: &PerLocale<Vec<String>>) -> Result<Phrases, BuildError> {
    Phrases::new(lists.values().flatten().map(String::as_str))
}

/// Forbidden words. Every locale's list applies to every text: a text's language cannot be told well enough to let
/// it choose what it is judged by.
#[derive(Debug)]
pub(super) struct Words {
    phrases: Phrases,
    patterns: Patterns,
}

impl Words {
    pub(super) fn new(rule: &WordsRule) -> Result<Self, BuildError> {
        // The policy was refused at load if a pattern is unsound.
        Ok(Self { phrases: phrases(&rule.words)?, patterns: Patterns::new(&rule.patterns).unwrap_or_default() })
    }

    pub(super) fn judge(&self, views: &Views<'_>) -> Found {
        for view in views.iter() {
            let mut spans = places(&self.phrases, view);
            if view.kind == views.plain().kind {
                spans.extend(self.patterns.find(views.original()));
            }
            if !spans.is_empty() {
                return Found::at(Reason::Word, spans).seen_in(view.kind);
            }
        }
        Found::nothing(Reason::Clean)
    }
}

fn places(phrases: &Phrases, view: &View) -> Vec<Span> {
    phrases.find(view).map(|hit| view.span(hit.first, hit.last)).collect()
}

/// Commitments, unless they are being refused: "we cannot guarantee".
#[derive(Debug)]
pub(super) struct Promise {
    phrases: Phrases,
    negation: Phrases,
}

impl Promise {
    pub(super) fn new(rule: &PromiseRule) -> Result<Self, BuildError> {
        Ok(Self { phrases: phrases(&rule.phrases)?, negation: phrases(&rule.negation)? })
    }

    pub(super) fn judge(&self, views: &Views<'_>) -> Found {
        let view = views.plain();
        let clause = |word: usize| view.words.get(word).map(|word| word.clause);
        let negations: Vec<_> = self.negation.find(view).collect();
        let (mut spans, mut negated) = (Vec::new(), false);
        for hit in self.phrases.find(view) {
            let turned = negations.iter().any(|no| {
                no.first <= hit.first
                    && hit.first <= no.last + NEGATION_REACH + 1
                    && clause(no.first) == clause(hit.first)
            });
            negated |= turned;
            if !turned {
                spans.push(view.span(hit.first, hit.last));
            }
        }
        match (spans.is_empty(), negated) {
            (true, true) => Found::nothing(Reason::Negated),
            (true, false) => Found::nothing(Reason::Clean),
            (false, _) => Found::at(Reason::Promised, spans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> PerLocale<Vec<String>> {
        PerLocale::from([("en".to_owned(), words.iter().map(|w| (*w).to_owned()).collect())])
    }

    #[test]
    fn words_are_found_in_every_dress_and_shown_where_they_stand() {
        let rule = WordsRule { words: list(&["fake invoice", "reembols*"]), patterns: vec![r"\bXK-\d{4}\b".into()] };
        let rule = Words::new(&rule).unwrap();
        for (text, expected) in [
            ("a Fáke,\n invoice please", Some("Fáke,\n invoice")),
            ("a f4k3 1nv0ice please", Some("f4k3 1nv0ice")),
            ("one f a k e  i n v o i c e please", Some("f a k e  i n v o i c e")),
            ("un reembolso", Some("reembolso")),
            ("part XK-1234", Some("XK-1234")),
            ("a fake invoices", None),
            ("fake", None),
        ] {
            let found = rule.judge(&Views::of(text));
            assert_eq!(found.spans.first().map(|span| &text[span.start..span.end]), expected, "{text}");
        }
    }

    #[test]
    fn a_commitment_is_found_unless_it_is_refused_in_the_same_clause() {
        let rule = PromiseRule { phrases: list(&["guarante*", "full refund"]), negation: list(&["cannot", "no"]) };
        let rule = Promise::new(&rule).unwrap();
        let judge = |text: &str| rule.judge(&Views::of(text)).reason;
        assert_eq!(judge("We guarantee it arrives on Monday"), Reason::Promised);
        assert_eq!(judge("We cannot really guarantee that"), Reason::Negated);
        assert_eq!(judge("I cannot say, but you get a full refund"), Reason::Promised);
        assert_eq!(judge("It usually arrives on Monday"), Reason::Clean);
    }
}
