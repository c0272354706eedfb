//! Letters pulled apart ("i g n o r e", "i.g.n.o.r.e") and digits or signs in letters' places ("1gn0re").

use super::{Span, View, ViewKind, Writer, fold};

/// Fewer single letters in a row than this are words of their own, as in Spanish "y", "a", "o".
const SHORTEST_RUN: usize = 4;

/// The view with every run of single letters joined; `None` where there is none. Inside a run the narrowest gap
/// separates letters, a wider one separates words.
pub(super) fn joined(original: &str, plain: &View) -> Option<View> {
    let single = |at: usize| {
        let word = plain.word(at);
        let mut chars = word.chars();
        chars.next().is_some() && chars.next().is_none()
    };
    let mut run = 0;
    let any = (0..plain.words.len()).any(|at| {
        run = if single(at) { run + 1 } else { 0 };
        run >= SHORTEST_RUN
    });
    if !any {
        return None;
    }
    let mut writer = Writer::new(ViewKind::Joined, plain.text.len());
    let (mut at, mut found) = (0, false);
    while at < plain.words.len() {
        let end = (at..plain.words.len()).find(|next| !single(*next)).unwrap_or(plain.words.len());
        if end - at >= SHORTEST_RUN && letters(plain, at, end) * 3 >= (end - at) * 2 {
            found = true;
            join(original, plain, (at, end), &mut writer);
            at = end;
        } else {
            copy(plain, at, &mut writer);
            at += 1;
        }
    }
    found.then(|| writer.finish())
}

fn letters(plain: &View, from: usize, to: usize) -> usize {
    (from..to).filter(|at| plain.word(*at).starts_with(char::is_alphabetic)).count()
}

fn gap(original: &str, plain: &View, at: usize) -> usize {
    let (before, after) = (plain.words[at].original.end, plain.words[at + 1].original.start);
    original.get(before..after).map_or(1, |between| between.chars().count())
}

fn join(original: &str, plain: &View, (from, to): (usize, usize), writer: &mut Writer) {
    let narrowest = (from..to - 1).map(|at| gap(original, plain, at)).min().unwrap_or(1);
    writer.open = false;
    for at in from..to {
        for c in plain.word(at).chars() {
            writer.put(c, plain.words[at].original);
        }
        if at + 1 < to && gap(original, plain, at) > narrowest {
            writer.open = false;
        }
    }
    writer.open = false;
}

fn copy(plain: &View, at: usize, writer: &mut Writer) {
    writer.open = false;
    writer.clause = writer.clause.max(plain.words[at].clause);
    for c in plain.word(at).chars() {
        writer.put(c, plain.words[at].original);
    }
    writer.open = false;
}

/// The letter that a digit or sign stands for.
const fn letter(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        '9' => 'g',
        _ => return None,
    })
}

/// The view with every mixed word read as letters; `None` where there is none. A sign counts only where a letter or
/// digit follows, so that an exclamation mark stays one.
pub(super) fn leet(original: &str) -> Option<View> {
    original.bytes().any(|b| b.is_ascii_digit() || matches!(b, b'@' | b'$' | b'!' | b'|')).then_some(())?;
    let mixed = |word: &str| word.chars().any(char::is_alphabetic) && is_leet(word);
    if !original.split_whitespace().any(mixed) {
        return None;
    }
    let mut writer = Writer::new(ViewKind::Leet, original.len());
    let mut at = 0;
    for token in original.split_inclusive(char::is_whitespace) {
        let bare = token.trim_end();
        let mixed = mixed(bare);
        let mut previous = None;
        let mut chars = token.char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            let span = Span { start: at + offset, end: at + offset + c.len_utf8() };
            let next = chars.peek().map(|(_, next)| *next);
            match letter(c).filter(|_| mixed && counts(c, next)) {
                // Doubled, it is the end of "all", "will", "still".
                Some(_) if c == '1' && (next == Some('1') || previous == Some('1')) => writer.put('l', span),
                Some(plain) => writer.put(plain, span),
                None => writer.fold(c, span),
            }
            previous = Some(c);
        }
        at += token.len();
    }
    Some(writer.finish())
}

fn counts(c: char, next: Option<char>) -> bool {
    c.is_ascii_digit() || next.is_some_and(|next| next.is_alphanumeric() || letter(next).is_some())
}

/// A word in which a stand-in touches a letter.
fn is_leet(word: &str) -> bool {
    let mut before: Option<char> = None;
    for c in word.chars() {
        let touches =
            |one: char, other: char| letter(one).is_some() && other.is_alphabetic() && !fold::is_invisible(other);
        if before.is_some_and(|before| (touches(before, c)) || (c.is_ascii_digit() && touches(c, before))) {
            return true;
        }
        before = Some(c);
    }
    false
}
