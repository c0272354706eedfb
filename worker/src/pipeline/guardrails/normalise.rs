//! The one view of a text that rules match on: words of lower-case letters and digits, single spaces between them.
//!
//! Compatibility forms, accents, apostrophes and invisible characters are taken away, so that a word is found however
//! it is dressed. Every word knows where it stood in the original and which clause it was part of, so that a match is
//! shown, cut or weighed there. One pass, linear in the text.

use serde::{Deserialize, Serialize};
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// A stretch of the original text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it has ended.
    pub end: usize,
}

/// One word: its place in the view, its place in the original, its clause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) original: Span,
    pub(super) clause: usize,
}

/// A text with its view.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) original: &'a str,
    pub(super) text: String,
    pub(super) words: Vec<Word>,
}

impl<'a> View<'a> {
    pub(super) fn of(original: &'a str) -> Self {
        let mut writer =
            Writer { text: String::with_capacity(original.len()), words: Vec::new(), clause: 0, open: false };
        for (at, c) in original.char_indices() {
            if is_apostrophe(c) || is_invisible(c) {
                continue;
            }
            let span = Span { start: at, end: at + c.len_utf8() };
            if c.is_ascii() {
                writer.put(c.to_ascii_lowercase(), span);
            } else {
                decompose_compatible(c, |part| part.to_lowercase().for_each(|lower| writer.put(lower, span)));
            }
        }
        Self { original, text: writer.text, words: writer.words }
    }

    /// The original stretch of the words from `first` to `last`.
    pub(super) fn span(&self, first: usize, last: usize) -> Span {
        let start = self.words.get(first).map_or(0, |word| word.original.start);
        let end = self.words.get(last).map_or(self.original.len(), |word| word.original.end);
        Span { start, end }
    }

    /// The index of the word that begins at a byte of the view.
    pub(super) fn word_at(&self, start: usize) -> Option<usize> {
        self.words.binary_search_by_key(&start, |word| word.start).ok()
    }
}

struct Writer {
    text: String,
    words: Vec<Word>,
    clause: usize,
    open: bool,
}

impl Writer {
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
                word.original.end = span.end;
            }
        } else if !is_combining_mark(c) {
            self.open = false;
            self.clause += usize::from(ends_clause(c));
        }
    }
}

/// The words of a text as rules see them, single spaces between them.
pub(crate) fn words_of(text: &str) -> String {
    View::of(text).text
}

/// Before decomposition: some of these would become a space.
const fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{b4}' | '\u{2b9}' | '\u{2bc}' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{ff07}'
    )
}

/// Characters that show nothing and may stand inside a word: soft hyphen, joiners, marks of direction, tags,
/// variation selectors.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

const fn ends_clause(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '¡' | '¿' | '\n' | '\u{2013}' | '\u{2014}' | '(' | ')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_forms_and_invisible_characters_do_not_matter() {
        for (text, words) in [
            ("  No  QUIERO, hablar! ", "no quiero hablar"),
            ("Está MAÑANA às três", "esta manana as tres"),
            ("don't don’t don´t", "dont dont dont"),
            ("ｆａｋｅ ﬁsh 𝐛𝐨𝐥𝐝", "fake fish bold"),
            ("fa\u{200b}ke\u{ad}d e\u{301}", "faked e"),
            ("a-b_c/d 9:30", "a b c d 9 30"),
            ("İstanbul", "istanbul"),
            ("👍🏽", ""),
            ("", ""),
        ] {
            assert_eq!(words_of(text), words, "{text}");
        }
    }

    #[test]
    fn every_word_knows_its_place_in_the_original_and_its_clause() {
        let view = View::of("¡Olá, você!\nＯＫ");
        let originals: Vec<_> = view.words.iter().map(|w| &view.original[w.original.start..w.original.end]).collect();
        assert_eq!(originals, ["Olá", "você", "ＯＫ"]);
        assert!(view.words.windows(2).all(|pair| pair[0].clause < pair[1].clause));
        assert_eq!(view.word_at(4), Some(1));
        assert_eq!(view.word_at(5), None);
    }
}
