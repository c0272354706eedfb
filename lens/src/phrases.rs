//! Whole words and phrases in a view, found in one pass however many there are.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};

use crate::normal::{View, words_of};

/// Bytes of phrases up to which speed is worth the memory: some megabytes.
const LARGEST_FAST: usize = 32 * 1024;

/// A match: which phrase, and the indices of its first and last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The phrase's place in the list that was given.
    pub phrase: usize,
    /// Its first word.
    pub first: usize,
    /// Its last word.
    pub last: usize,
}

/// Phrases ready to be looked for. One that ends in `*` is a stem: its last word may go on.
#[derive(Clone, Debug)]
pub struct Phrases {
    automaton: AhoCorasick,
    /// For each pattern: where it stood in the list, and whether it is a stem.
    told: Vec<(usize, bool)>,
}

impl Phrases {
    /// Makes phrases ready. What has no words in it is left out.
    ///
    /// # Errors
    /// When there are too many for one automaton.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, BuildError> {
        let (mut patterns, mut told) = (Vec::new(), Vec::new());
        for (at, phrase) in list.into_iter().enumerate() {
            let words = words_of(phrase);
            if !words.is_empty() {
                patterns.push(words);
                told.push((at, phrase.trim_end().ends_with('*')));
            }
        }
        let size: usize = patterns.iter().map(String::len).sum();
        // The fastest automaton takes the most memory.
        let kind = (size <= LARGEST_FAST).then_some(AhoCorasickKind::DFA);
        Ok(Self { automaton: AhoCorasick::builder().kind(kind).build(patterns)?, told })
    }

    /// Every match on whole words, in the order of their ends. All are told, overlapping ones too, since a phrase
    /// must not hide behind a longer one.
    pub fn find<'a>(&'a self, view: &'a View) -> impl Iterator<Item = Match> + 'a {
        let text = view.text.as_bytes();
        self.automaton.find_overlapping_iter(&view.text).filter_map(move |hit| {
            let (phrase, stem) = self.told[hit.pattern().as_usize()];
            if !stem && text.get(hit.end()).is_some_and(|byte| *byte != b' ') {
                return None;
            }
            let first = view.word_at(hit.start())?;
            let inside = text[hit.start()..hit.end()].iter().filter(|byte| **byte == b' ').count();
            Some(Match { phrase, first, last: first + inside })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &[&str], text: &str) -> Vec<(usize, String)> {
        let view = View::plain(text);
        let phrases = Phrases::new(list.iter().copied()).unwrap();
        let shown = |hit: Match| view.span(hit.first, hit.last);
        phrases.find(&view).map(|hit| (hit.phrase, text[shown(hit).start..shown(hit).end].to_owned())).collect()
    }

    #[test]
    fn words_are_found_whole_stems_go_on_and_both_are_shown_where_they_stand() {
        let list = ["ass", "fake invoice", "reembols*"];
        assert_eq!(found(&list, "a classic assistant"), []);
        assert_eq!(found(&list, "What an ASS!"), [(0, "ASS".to_owned())]);
        assert_eq!(found(&list, "a Fáke,\n invoice please"), [(1, "Fáke,\n invoice".to_owned())]);
        assert_eq!(found(&list, "fake invoices"), []);
        assert_eq!(found(&list, "quiero un reembolso"), [(2, "reembolso".to_owned())]);
    }

    #[test]
    fn a_phrase_does_not_hide_behind_another_that_overlaps_it() {
        let list = ["a b", "b c", "a b c d"];
        assert_eq!(found(&list, "a b c").len(), 2);
        assert_eq!(found(&list, "a b c d").len(), 3);
    }
}
