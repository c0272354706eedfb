//! One character, made plain: lower case, without accents, forms, look-alikes, or what cannot be seen.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use super::confusables::look_alike;

/// Gives what a character comes to; nothing for one that only dresses its neighbour.
pub(super) fn fold(c: char, mut give: impl FnMut(char)) {
    if c.is_ascii() {
        if c != '\'' && c != '`' {
            give(c.to_ascii_lowercase());
        }
        return;
    }
    if is_apostrophe(c) || is_invisible(c) {
        return;
    }
    decompose_compatible(c, |part| {
        if is_combining_mark(part) {
            return;
        }
        let plain = look_alike(part);
        if plain.is_ascii() {
            give(plain.to_ascii_lowercase());
        } else {
            plain.to_lowercase().map(look_alike).filter(|lower| !is_combining_mark(*lower)).for_each(&mut give);
        }
    });
}

/// Before decomposition: some of these would become a space.
const fn is_apostrophe(c: char) -> bool {
    matches!(c, '\u{b4}' | '\u{2b9}' | '\u{2bc}' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{ff07}')
}

/// Characters that show nothing and may stand inside a word: soft hyphen, joiners, marks of direction, tags,
/// variation selectors.
pub(super) const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

pub(super) const fn ends_clause(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '¡' | '¿' | '\n' | '\u{2013}' | '\u{2014}' | '(' | ')')
}
