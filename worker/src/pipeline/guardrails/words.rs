//! Whole words and phrases in a text, found in one pass however many there are.

use aho_corasick::{AhoCorasick, BuildError};

use super::normalise::{View, words_of};
use super::{Found, Reason};
use crate::policy::{PerLocale, WordsRule};

/// A match: the indices of its first and last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Phrases of every locale, ready to be looked for.
#[derive(Debug)]
pub(super) struct Phrases(AhoCorasick);

impl Phrases {
    pub(super) fn new(lists: &PerLocale<Vec<String>>) -> Result<Self, BuildError> {
        let mut phrases: Vec<String> = lists.values().flatten().map(|phrase| words_of(phrase)).collect();
        phrases.retain(|phrase| !phrase.is_empty());
        phrases.sort_unstable();
        phrases.dedup();
        AhoCorasick::new(phrases).map(Self)
    }

    /// Every whole-word match, in the order of their last words. All are told, overlapping ones too, since a phrase
    /// must not hide behind a longer one.
    pub(super) fn find(&self, view: &View<'_>) -> Vec<Range> {
        let text = view.text.as_bytes();
        let whole = |end: usize| text.get(end).is_none_or(|byte| *byte == b' ');
        self.0
            .find_overlapping_iter(&view.text)
            .filter(|hit| whole(hit.end()))
            .filter_map(|hit| {
                let first = view.word_at(hit.start())?;
                let inside = text[hit.start()..hit.end()].iter().filter(|byte| **byte == b' ').count();
                Some(Range { first, last: first + inside })
            })
            .collect()
    }
}

/// Forbidden words. Every locale's list applies to every text: a text's language cannot be told well enough to let
/// it choose what it is judged by.
#[derive(Debug)]
pub(super) struct Words(Phrases);

impl Words {
    pub(super) fn new(rule: &WordsRule) -> Result<Self, BuildError> {
        Phrases::new(&rule.words).map(Self)
    }

    pub(super) fn judge(&self, view: &View<'_>) -> Found {
        let hits = self.0.find(view);
        if hits.is_empty() {
            return Found::nothing(Reason::Clean);
        }
        Found {
            hit: true,
            reason: Reason::Word,
            spans: hits.iter().map(|hit| view.span(hit.first, hit.last)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Words {
        let words = PerLocale::from([("en".to_owned(), list.iter().map(|w| (*w).to_owned()).collect())]);
        Words::new(&WordsRule { words }).unwrap()
    }

    #[test]
    fn words_are_found_whole_and_shown_where_they_stand() {
        let rule = words(&["ass", "fake invoice", "puta"]);
        for (text, expected) in [
            ("a classic assistant", None),
            ("What an ASS!", Some("ASS")),
            ("a Fáke,\n invoice please", Some("Fáke,\n invoice")),
            ("a fake invoices", None),
            ("reputation, computador", None),
            ("fake", None),
        ] {
            let found = rule.judge(&View::of(text));
            let shown = found.spans.first().map(|span| &text[span.start..span.end]);
            assert_eq!(shown, expected, "{text}");
            assert_eq!(found.hit, expected.is_some());
        }
    }

    #[test]
    fn a_phrase_does_not_hide_behind_another_that_overlaps_it() {
        let rule = words(&["a b", "b c", "a b c d"]);
        assert_eq!(rule.judge(&View::of("a b c")).spans.len(), 2);
        assert_eq!(rule.judge(&View::of("a b c d")).spans.len(), 3);
    }
}
