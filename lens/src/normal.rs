//! The views of a text that everything else looks at: words of lower-case letters and digits, single spaces between.
//!
//! The *plain* view takes away compatibility forms, accents, look-alike letters, apostrophes and invisible characters,
//! so that a word is found however it is dressed. Further views exist only where the text gives cause: letters that
//! were spaced out are joined, digits that stand for letters are read as such, encoded stretches are decoded (twice,
//! if one hides another), and a text without one common word is tried turned round. Every word of every view knows
//! where it stood in the original and which clause it was part of. Linear in the text; a view is never longer than a
//! few times the original.

mod confusables;
mod decode;
mod fold;
mod spaced;
mod turned;

use serde::{Deserialize, Serialize};

pub use turned::common_share;

/// A stretch of the original text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it has ended.
    pub end: usize,
}

/// How a view came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewKind {
    /// The text itself, folded.
    Plain,
    /// Spaced-out letters joined.
    Joined,
    /// Digits and signs read as the letters they stand for.
    Leet,
    /// Encoded or hidden stretches, decoded.
    Decoded,
    /// The whole text through a letter cipher or read backwards.
    Turned,
}

/// One word: its place in the view, its place in the original, its clause.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Where it begins in the view's text.
    pub start: usize,
    /// Where it stood in the original.
    pub original: Span,
    /// The clause it was part of, counted from 0.
    pub clause: usize,
}

/// One view.
#[derive(Clone, Debug)]
pub struct View {
    /// How it came about.
    pub kind: ViewKind,
    /// The words, single spaces between them.
    pub text: String,
    /// Every word.
    pub words: Vec<Word>,
}

/// A text with its views; the plain one first, always.
#[derive(Clone, Debug)]
pub struct Views<'a> {
    original: &'a str,
    views: Vec<View>,
}

impl<'a> Views<'a> {
    /// Every view of a text.
    #[must_use]
    pub fn of(original: &'a str) -> Self {
        let plain = View::plain(original);
        let more = [
            spaced::joined(original, &plain),
            spaced::leet(original),
            decode::decoded(original),
            turned::turned(&plain),
        ];
        let mut views = vec![plain];
        views.extend(more.into_iter().flatten());
        Self { original, views }
    }

    /// The text as it came.
    #[must_use]
    pub const fn original(&self) -> &'a str {
        self.original
    }

    /// The plain view.
    #[must_use]
    pub fn plain(&self) -> &View {
        &self.views[0]
    }

    /// All of them, the plain one first.
    pub fn iter(&self) -> impl Iterator<Item = &View> {
        self.views.iter()
    }
}

impl View {
    /// The plain view of a text.
    #[must_use]
    pub fn plain(original: &str) -> Self {
        let mut writer = Writer::new(ViewKind::Plain, original.len());
        for (at, c) in original.char_indices() {
            writer.fold(c, Span { start: at, end: at + c.len_utf8() });
        }
        writer.finish()
    }

    /// The original stretch of the words from `first` to `last`.
    #[must_use]
    pub fn span(&self, first: usize, last: usize) -> Span {
        let start = self.words.get(first).map_or(0, |word| word.original.start);
        let end = self.words.get(last).map_or(start, |word| word.original.end);
        Span { start, end: end.max(start) }
    }

    /// The index of the word that begins at a byte of the view.
    #[must_use]
    pub fn word_at(&self, start: usize) -> Option<usize> {
        self.words.binary_search_by_key(&start, |word| word.start).ok()
    }

    /// A word's text.
    #[must_use]
    pub fn word(&self, index: usize) -> &str {
        let Some(word) = self.words.get(index) else { return "" };
        let end = self.words.get(index + 1).map_or(self.text.len(), |next| next.start - 1);
        &self.text[word.start..end]
    }
}

/// The words of a text as rules see them, single spaces between them.
#[must_use]
pub fn words_of(text: &str) -> String {
    View::plain(text).text
}

/// Writes a view character by character.
struct Writer {
    kind: ViewKind,
    text: String,
    words: Vec<Word>,
    clause: usize,
    open: bool,
}

impl Writer {
    fn new(kind: ViewKind, size: usize) -> Self {
        Self { kind, text: String::with_capacity(size), words: Vec::with_capacity(size / 6), clause: 0, open: false }
    }

    /// One character of a text, folded.
    fn fold(&mut self, c: char, span: Span) {
        fold::fold(c, |folded| self.put(folded, span));
    }

    fn put(&mut self, c: char, span: Span) {
        if c.is_alphanumeric() {
            if !self.open {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.words.push(Word { start: self.text.len(), original: span, clause: self.clause });
                self.open = true;
            }
            self.text.push(c);
            if let Some(word) = self.words.last_mut() {
                word.original.end = word.original.end.max(span.end);
            }
        } else {
            self.open = false;
            self.clause += usize::from(fold::ends_clause(c));
        }
    }

    fn finish(self) -> View {
        View { kind: self.kind, text: self.text, words: self.words }
    }
}

#[cfg(test)]
mod tests;
