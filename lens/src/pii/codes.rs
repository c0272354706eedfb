//! What is written with letters: e-mail addresses, bank accounts, ids of letters and digits.

use super::context::{self, Said};
use super::text::Tokens;
use super::{Finding, PiiKind, checks};
use crate::normal::Span;

/// Every address: what may stand before an @, and a domain with a dot after it.
pub(super) fn emails(tokens: &Tokens<'_>) -> Vec<Finding> {
    let text = tokens.original;
    let mut found: Vec<Finding> = Vec::new();
    for (at, sign) in text.match_indices(['@', '\u{ff20}']) {
        let floor = found.last().map_or(0, |finding| finding.span.end);
        let local = |c: char| c.is_alphanumeric() || "._%+-'".contains(c) || is_joiner(c);
        let start = text[floor..at]
            .rfind(|c| !local(c))
            .map_or(floor, |before| floor + before + text[floor + before..].chars().next().map_or(1, char::len_utf8));
        let start = start + (text[start..at].len() - text[start..at].trim_start_matches(['.', '\'', '-']).len());
        let after = at + sign.len();
        let domain = |c: char| c.is_alphanumeric() || c == '.' || c == '-' || is_joiner(c);
        let end = text[after..].find(|c| !domain(c)).map_or(text.len(), |end| after + end);
        let end = after + text[after..end].trim_end_matches(['.', '-']).len();
        let Some((host, last)) = text[after..end].rsplit_once('.') else { continue };
        let last_letters = last.chars().filter(|c| c.is_alphabetic()).count();
        let whole = start < at && !host.is_empty() && !host.starts_with('.') && last_letters >= 2;
        if whole && last.chars().all(|c| c.is_alphabetic() || is_joiner(c) || c == '-') {
            found.push(Finding { kind: PiiKind::Email, span: Span { start, end } });
        }
    }
    found
}

const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

/// The longest run of tokens that one id is written over.
const MOST_TOKENS: usize = 10;

/// Bank accounts and ids with letters in them, written together or in groups.
pub(super) fn ids(tokens: &Tokens<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match id(tokens, at) {
            Some((kind, to)) => {
                found.push(Finding { kind, span: tokens.span(at, to) });
                at = to + 1;
            }
            None => at += 1,
        }
    }
    found
}

fn id(tokens: &Tokens<'_>, at: usize) -> Option<(PiiKind, usize)> {
    // Every id has digits in one of its first groups: prose is passed over.
    let near =
        (at..at + 3).any(|near| tokens.get(near).is_some_and(|token| token.text.bytes().any(|b| b.is_ascii_digit())));
    let first = &tokens.get(at)?.text;
    // "Ref. 150312 437" is no id that begins with REF.
    if !near || !first.is_ascii() || first.len() > 34 || context::said(first) == Said::Other {
        return None;
    }
    let mut text = String::new();
    let mut best = None;
    for to in at..(at + MOST_TOKENS).min(tokens.len()) {
        let token = tokens.get(to)?;
        let joined = to == at
            || (!token.before.is_empty() && token.before.len() <= 2 && token.before.chars().all(|c| " -.".contains(c)));
        if !joined || !token.text.is_ascii() || text.len() + token.text.len() > 34 {
            break;
        }
        text.push_str(&token.text);
        if let Some(kind) = known(tokens, &text, (at, to)) {
            best = Some((kind, to));
        }
    }
    best
}

fn known(tokens: &Tokens<'_>, text: &str, (at, to): (usize, usize)) -> Option<PiiKind> {
    if iban(text) {
        return Some(PiiKind::Iban);
    }
    if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let strong =
        checks::codice_fiscale(text) || checks::curp(text) || (text.len() == 15 && corsican(text) && checks::nir(text));
    if strong {
        return Some(PiiKind::NationalId);
    }
    let nif = text.len() == 9 && text.bytes().skip(1).take(7).all(|byte| byte.is_ascii_digit()) && checks::nif(text);
    let rut = text.ends_with('K')
        && text[..text.len() - 1].bytes().all(|b| b.is_ascii_digit())
        && checks::rut(&text[..text.len() - 1], 'K');
    if !(nif || rut || checks::rfc(text)) {
        return None;
    }
    // One in a score of codes passes such a check by chance; what the words say of it decides.
    (context::around(tokens, at, to) != Said::Other).then_some(PiiKind::NationalId)
}

fn corsican(text: &str) -> bool {
    matches!(&text[5..7], "2A" | "2B") && text.bytes().enumerate().all(|(at, b)| at == 6 || b.is_ascii_digit())
}

/// Lengths by country, for those that publish one.
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

fn iban(text: &str) -> bool {
    let Some((country, rest)) = text.split_at_checked(2) else { return false };
    let fits = LENGTHS.iter().any(|(known, length)| *known == country && *length == text.len());
    fits && rest.as_bytes()[..2].iter().all(u8::is_ascii_digit)
        && checks::mod97(text[4..].chars().chain(text[..4].chars())) == Some(1)
}
