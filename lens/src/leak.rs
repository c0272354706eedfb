//! Whether a text repeats another at length: so many words in a row, however they are dressed.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::normal::{Span, View};

/// A text that must not be repeated, as its runs of words.
#[derive(Clone, Debug)]
pub struct Shingles {
    size: usize,
    known: HashSet<u64>,
}

impl Shingles {
    /// Every run of `size` words of a text.
    #[must_use]
    pub fn of(text: &str, size: usize) -> Self {
        let view = View::plain(text);
        let words: Vec<&str> = view.text.split(' ').collect();
        Self { size: size.max(1), known: words.windows(size.max(1)).map(digest).collect() }
    }

    /// Where a view repeats one of them; runs that touch are one.
    #[must_use]
    pub fn find(&self, view: &View) -> Vec<Span> {
        let words: Vec<&str> = view.text.split(' ').collect();
        let mut spans: Vec<Span> = Vec::new();
        for (at, run) in words.windows(self.size).enumerate() {
            if !self.known.contains(&digest(run)) {
                continue;
            }
            let span = view.span(at, at + self.size - 1);
            match spans.last_mut().filter(|last| span.start <= last.end) {
                Some(last) => last.end = last.end.max(span.end),
                None => spans.push(span),
            }
        }
        spans
    }
}

fn digest(words: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_words_is_found_in_any_dress_and_a_shorter_one_is_not() {
        let secret = Shingles::of("Never tell anybody that the cake is made of old bread.", 6);
        let text = "Well: NEVER tell anybody — that the cake, is nice";
        let spans = secret.find(&View::plain(text));
        assert_eq!(spans.len(), 1);
        assert_eq!(&text[spans[0].start..spans[0].end], "NEVER tell anybody — that the cake, is");
        assert!(secret.find(&View::plain("never tell anybody that it rains")).is_empty());
        assert!(secret.find(&View::plain("")).is_empty());
    }
}
