//! A text as runs of letters and digits with what stands between them, every character knowing its place.

use unicode_normalization::char::decompose_compatible;

use crate::normal::Span;

/// One run of letters and digits.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Upper case, without accents or forms.
    pub(super) text: String,
    pub(super) span: Span,
    pub(super) digits: bool,
    /// What stands before it, back to the token before.
    pub(super) before: String,
    /// Part of a date, a time or an amount.
    pub(super) set_aside: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    pub(super) original: &'a str,
    all: Vec<Token>,
    /// What stands after the last.
    pub(super) rest: String,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(original: &'a str) -> Self {
        let mut tokens = Self { original, all: Vec::new(), rest: String::new() };
        let mut open = false;
        for (at, c) in original.char_indices() {
            let span = Span { start: at, end: at + c.len_utf8() };
            if c.is_ascii() {
                open = tokens.put(c, span, open);
            } else if !is_hidden(c) {
                decompose_compatible(c, |part| {
                    if !unicode_normalization::char::is_combining_mark(part) {
                        open = tokens.put(part, span, open);
                    }
                });
            }
        }
        tokens.set_aside();
        tokens
    }

    fn put(&mut self, c: char, span: Span, open: bool) -> bool {
        if !c.is_alphanumeric() {
            self.rest.push(if c == '\u{2010}' || c == '\u{2011}' || c == '\u{2013}' { '-' } else { c });
            return false;
        }
        if !open {
            let before = std::mem::take(&mut self.rest);
            self.all.push(Token { text: String::new(), span, digits: true, before, set_aside: false });
        }
        if let Some(token) = self.all.last_mut() {
            token.text.push(c.to_ascii_uppercase());
            token.span.end = span.end;
            token.digits &= c.is_ascii_digit();
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Token> {
        self.all.get(at)
    }

    /// What stands after a token.
    pub(super) fn after(&self, at: usize) -> &str {
        self.all.get(at + 1).map_or(&self.rest, |next| &next.before)
    }

    pub(super) fn span(&self, from: usize, to: usize) -> Span {
        Span { start: self.all[from].span.start, end: self.all[to].span.end }
    }

    /// Marks dates, times and amounts, which are made of the same digits.
    fn set_aside(&mut self) {
        for at in 0..self.all.len() {
            if !self.all[at].digits {
                continue;
            }
            let length = self.date(at).or_else(|| self.time(at)).or_else(|| self.amount(at)).unwrap_or(0);
            self.all[at..at + length].iter_mut().for_each(|token| token.set_aside = true);
        }
    }

    fn number(&self, at: usize) -> Option<(usize, u32)> {
        let token = self.all.get(at).filter(|token| token.digits && token.text.len() <= 4)?;
        Some((token.text.len(), token.text.parse().ok()?))
    }

    fn joined(&self, at: usize, by: &[&str]) -> bool {
        self.all.get(at).is_some_and(|token| by.contains(&token.before.as_str()))
    }

    fn date(&self, at: usize) -> Option<usize> {
        let by = ["-", "/", "."];
        if !(self.joined(at + 1, &by) && self.joined(at + 2, &by)) || self.all[at + 1].before != self.all[at + 2].before
        {
            return None;
        }
        let (one, two, three) = (self.number(at)?, self.number(at + 1)?, self.number(at + 2)?);
        let day = |n: (usize, u32)| n.0 <= 2 && (1..=31).contains(&n.1);
        let year = |n: (usize, u32)| (n.0 == 4 && (1900..2100).contains(&n.1)) || n.0 == 2;
        let is_date = day(two) && ((one.0 == 4 && year(one) && day(three)) || (day(one) && year(three)));
        let goes_on = self.joined(at + 3, &by) || (at > 0 && self.joined(at, &by) && self.all[at - 1].digits);
        (is_date && !goes_on).then_some(3)
    }

    fn time(&self, at: usize) -> Option<usize> {
        let (one, two) = (self.number(at)?, self.number(at + 1)?);
        (self.joined(at + 1, &[":"]) && one.1 < 24 && one.0 <= 2 && two.0 == 2 && two.1 < 60).then_some(2)
    }

    fn amount(&self, at: usize) -> Option<usize> {
        let more =
            (at + 1..self.all.len()).take_while(|next| self.all[*next].digits && self.joined(*next, &[".", ","]));
        let length = 1 + more.count();
        let before = &self.all[at].before;
        let word_before = at.checked_sub(1).map(|word| self.all[word].text.as_str());
        let word_after = self.all.get(at + length).filter(|token| token.before.trim().is_empty());
        let spoken = |word: &str| CURRENCIES.contains(&word);
        let told = before.trim_end().ends_with(['$', '€', '£', '¥', '₡', '₲'])
            || (before.trim().is_empty() && word_before.is_some_and(spoken))
            || word_after.is_some_and(|token| spoken(&token.text))
            || self.after(at + length - 1).trim_start().starts_with(['€', '$', '£', '%']);
        told.then_some(length)
    }
}

const CURRENCIES: &[&str] = &[
    "USD", "EUR", "COP", "MXN", "BRL", "ARS", "CLP", "PEN", "GBP", "EURO", "EUROS", "PESOS", "PESO", "DOLARES",
    "DOLLARS", "REAIS", "REAL", "SOLES", "KM", "KG", "GRAMOS", "METROS", "UNIDADES", "UNITS", "PIECES", "PIEZAS",
    "PUNTADAS", "RPM", "MM", "CM",
];

fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
