//! What a text states that can be checked: prices, hours, telephones, addresses; and the facts to check it against.
//!
//! A claim is held by the facts if its value stands among them in any form: 1.250.000, 1250000 and "1.25 million" are
//! one price, 18:00 and 6 pm one hour. The facts are read generously (every number of theirs is a value), the text
//! strictly (only what looks like a claim is one).

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::normal::{Span, words_of};
use crate::pii::{self, PiiKind};

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// An amount of money.
    Price,
    /// A time of day.
    Hour,
    /// A telephone number.
    Phone,
    /// A street and a number.
    Address,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub kind: ClaimKind,
    /// Its value, in one form: hundredths, minutes, digits, words.
    value: String,
    /// Where.
    pub span: Span,
}

const PRICE: &str = r"(?ix)
    (?: (?:(?:us|r|s/|mx|cop|ars)\s?)?[$€£] | \b(?:usd|eur|cop|mxn|brl|ars|clp|pen)\b ) \s? (?P<a>\d[\d.,]*\d|\d) (?:\s?(?P<am>millones|milh[oõ]es|million|mil|k)\b)?
  | (?P<b>\d[\d.,]*\d|\d) \s? (?P<bm>millones|milh[oõ]es|million|mil|k)? (?:\s?de)? \s?
    (?: € | \$ | £ | \b(?:euros?|dollars?|d[oó]lares|pesos|reais|soles|usd|eur|cop|mxn|brl)\b )";
const HOUR: &str = r"(?ix)
    \b(?P<h1>[01]?\d|2[0-4])(?:[:h])(?P<m1>[0-5]\d)\s?(?P<p1>[ap]\.?\s?m\b)?
  | \b(?P<h2>1[0-2]|0?[1-9])\s?(?P<p2>[ap]\.?\s?m\b)
  | \b(?:a\ las|hasta\ las|desde\ las|[àa]s|at[eé]\ [àa]s|at|until|till)\s(?P<h3>1\d|2[0-4]|0?[1-9])(?:[:h](?P<m3>[0-5]\d))?(?:\s?(?P<p3>[ap]\.?\s?m))?\b";
const STREET: &str = r"(?ix)
    \b(?:calle|carrera|cra|avenida|av|diagonal|transversal|plaza|rua|travessa|rue)\b\.?\s(?:[\p{L}.]+\s){0,4}?(?:\#|n[°º.]|no\.?\s)?\s?\d+[a-z]?(?:\s?[\#\-]\s?\d+[a-z]?)*
  | \b\d{1,5}\s(?:\p{Lu}?[\p{L}.]+\s){1,3}(?:street|st|road|rd|avenue|ave|lane|ln|boulevard|blvd|drive|square)\b";
const RANGE: &str = r"(?i)\b(\d{1,2})\s?(?:to|till|until|a|às|até|hasta|-|–)\s?(?:las\s|as\s|às\s)?(\d{1,2})\b";
const NUMBER: &str = r"\d[\d.,]*\d|\d";

struct Forms {
    price: Regex,
    hour: Regex,
    street: Regex,
    range: Regex,
    number: Regex,
}

static FORMS: LazyLock<Option<Forms>> = LazyLock::new(|| {
    let ready = |form: &str| Regex::new(form).ok();
    Some(Forms {
        price: ready(PRICE)?,
        hour: ready(HOUR)?,
        street: ready(STREET)?,
        range: ready(RANGE)?,
        number: ready(NUMBER)?,
    })
});

/// Every claim of a text.
#[must_use]
pub fn find(text: &str) -> Vec<Claim> {
    let Some(forms) = FORMS.as_ref() else { return Vec::new() };
    let mut claims: Vec<Claim> = Vec::new();
    let mut put = |kind, value: Option<String>, at: regex::Match<'_>| {
        claims.extend(value.map(|value| Claim { kind, value, span: Span { start: at.start(), end: at.end() } }));
    };
    for found in forms.price.captures_iter(text) {
        found.get(0).into_iter().for_each(|at| put(ClaimKind::Price, price(&found), at));
    }
    for found in forms.hour.captures_iter(text) {
        found.get(0).into_iter().for_each(|at| put(ClaimKind::Hour, hour(&found), at));
    }
    for at in forms.street.find_iter(text) {
        put(ClaimKind::Address, Some(words_of(at.as_str())), at);
    }
    for finding in pii::find(text).into_iter().filter(|finding| finding.kind == PiiKind::Phone) {
        let digits = digits(&text[finding.span.start..finding.span.end]);
        claims.push(Claim { kind: ClaimKind::Phone, value: digits, span: finding.span });
    }
    claims.sort_by_key(|claim| claim.span);
    claims
}

/// What may be claimed.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    amounts: HashSet<String>,
    minutes: HashSet<u32>,
    digits: String,
    words: String,
}

impl Facts {
    /// Everything that some texts state.
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut facts = Self::default();
        texts.into_iter().for_each(|text| facts.add(text));
        facts
    }

    /// States one text more.
    pub fn add(&mut self, text: &str) {
        let Some(forms) = FORMS.as_ref() else { return };
        for found in forms.price.captures_iter(text) {
            self.amounts.extend(price(&found));
        }
        for number in forms.number.find_iter(text) {
            self.amounts.extend(hundredths(number.as_str(), None));
        }
        for found in forms.range.captures_iter(text) {
            let hours = [1, 2].map(|at| found.get(at).and_then(|hour| hour.as_str().parse::<u32>().ok()).unwrap_or(0));
            // "9 to 18" are hours; "3 to 5" are days as likely.
            if hours[0] < hours[1] && (12..=24).contains(&hours[1]) {
                self.minutes.extend(hours.map(|hour| hour * 60 % 720));
            }
        }
        for found in forms.hour.captures_iter(text) {
            self.minutes
                .extend(hour(&found).and_then(|minutes| minutes.parse::<u32>().ok()).map(|minutes| minutes % 720));
        }
        self.digits.push(' ');
        self.digits.push_str(&digits(text));
        self.words.push_str(&format!(" {} ", words_of(text)));
    }

    /// States what a text claims, and nothing else of it: a number that is no price does not become one.
    pub fn add_claims(&mut self, text: &str) {
        for claim in find(text) {
            match claim.kind {
                ClaimKind::Price => drop(self.amounts.insert(claim.value)),
                ClaimKind::Hour => self.minutes.extend(claim.value.parse::<u32>().ok().map(|minutes| minutes % 720)),
                ClaimKind::Phone | ClaimKind::Address => {
                    self.state(claim.kind, &text[claim.span.start..claim.span.end])
                }
            }
        }
    }

    /// States one thing of a known kind.
    pub fn state(&mut self, kind: ClaimKind, text: &str) {
        match kind {
            ClaimKind::Price => self.amounts.extend(hundredths(text, None)),
            ClaimKind::Phone => self.digits.push_str(&format!(" {}", digits(text))),
            ClaimKind::Address => self.words.push_str(&format!(" {} ", words_of(text))),
            // Hours are written in too many ways to be read strictly; the numbers in them are no amounts.
            ClaimKind::Hour => {
                let mut hours = Self::default();
                hours.add(text);
                self.minutes.extend(hours.minutes);
            }
        }
    }

    /// Whether a claim stands among them.
    #[must_use]
    pub fn hold(&self, claim: &Claim) -> bool {
        match claim.kind {
            ClaimKind::Price => self.amounts.contains(&claim.value),
            // Morning or evening is told by the talk around it; the hour itself must be right.
            ClaimKind::Hour => claim.value.parse::<u32>().is_ok_and(|minutes| self.minutes.contains(&(minutes % 720))),
            ClaimKind::Phone => {
                let tail = &claim.value[claim.value.len().saturating_sub(9)..];
                self.digits.contains(tail)
            }
            ClaimKind::Address => self.words.contains(&format!(" {} ", claim.value)),
        }
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn price(found: &Captures<'_>) -> Option<String> {
    let (number, unit) =
        found.name("a").map(|a| (a, found.name("am"))).or_else(|| found.name("b").map(|b| (b, found.name("bm"))))?;
    hundredths(number.as_str(), unit.map(|unit| unit.as_str()))
}

/// A number in hundredths. The last separator is a decimal mark only if one or two digits follow it and it stands once.
fn hundredths(written: &str, unit: Option<&str>) -> Option<String> {
    let last = written.rfind(['.', ',']);
    let decimal = last.filter(|at| {
        let mark = &written[*at..=*at];
        let behind = written.len() - at - 1;
        written.matches(mark).count() == 1 && (behind <= 2 || (unit.is_some() && behind <= 3))
    });
    let (whole, part) = decimal.map_or((written, ""), |at| (&written[..at], &written[at + 1..]));
    let whole: u64 = digits(whole).parse().ok()?;
    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    let times: u64 = match unit.map(str::to_lowercase).as_deref() {
        None => 1,
        Some("mil" | "k") => 1_000,
        Some(_) => 1_000_000,
    };
    let thousandths = whole.checked_mul(1_000)?.checked_add(part)?.checked_mul(times)?;
    Some((thousandths / 10).to_string())
}

fn hour(found: &Captures<'_>) -> Option<String> {
    let number = |name: &str| found.name(name).and_then(|digits| digits.as_str().parse::<u32>().ok());
    let hour = number("h1").or_else(|| number("h2")).or_else(|| number("h3"))?;
    let half = ["p1", "p2", "p3"].iter().find_map(|name| found.name(name)).map(|half| half.as_str().to_lowercase());
    let hour = match half.as_deref().and_then(|half| half.chars().next()) {
        Some('p') if hour < 12 => hour + 12,
        Some('a') if hour == 12 => 0,
        _ => hour,
    };
    Some((hour * 60 + number("m1").or_else(|| number("m3")).unwrap_or(0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: [&str; 3] = [
        "Open 9:00 to 18:00, Saturday 10:00 to 14:00.",
        "The Aurora costs $1.250.000, the small one 89,90 €. Free shipping above 50.",
        "We are at Calle 10 #20-30, tel. 300 555 0100.",
    ];

    fn unheld(text: &str) -> Vec<&str> {
        let facts = Facts::of(FACTS);
        let wrong = find(text).into_iter().filter(|claim| !facts.hold(claim));
        wrong.map(|claim| &text[claim.span.start..claim.span.end]).collect()
    }

    #[test]
    fn what_the_facts_say_in_any_form_is_held() {
        for text in [
            "We open at 9 and close at 6 pm.",
            "Abrimos a las 9:00 y cerramos a las 18h00.",
            "It costs 1250000 pesos, or 1.25 million pesos.",
            "$1,250,000 and €89.90",
            "Free above 50 euros",
            "Los sábados abrimos a las 10:00",
            "Estamos en la Calle 10 # 20-30, tel +57 300 555 0100",
            "It has 3 speeds and weighs 7 kg",
        ] {
            assert_eq!(unheld(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn what_is_stated_by_its_kind_is_nothing_else() {
        let mut facts = Facts::default();
        facts.add_claims("Alba 50: 890.000 COP. 50 stitches, 7 kg, 12 months.");
        facts.state(ClaimKind::Phone, "601 555 0142");
        facts.state(ClaimKind::Hour, "Lunes a viernes de 8:30 a 18:00");
        facts.state(ClaimKind::Address, "Calle 12 # 8-40, local 3");
        let held = |text: &str| find(text).iter().all(|claim| facts.hold(claim));
        for text in ["$890.000", "a las 8:30", "llame al 601 555 0142", "Calle 12 # 8-40", "50 stitches"] {
            assert!(held(text), "{text}");
        }
        for text in ["50 COP", "12 pesos", "$601", "a las 9:30", "18 pesos"] {
            assert!(!held(text), "{text}");
        }
    }

    #[test]
    fn what_they_do_not_say_is_told_where_it_stands() {
        for (text, part) in [
            ("It costs $999 today", "$999"),
            ("Son 1.350.000 pesos", "1.350.000 pesos"),
            ("We close at 8 pm", "at 8 pm"),
            ("Estamos en la Calle 11 # 20-30", "Calle 11 # 20-30"),
            ("Call 300 555 0199", "300 555 0199"),
        ] {
            assert!(unheld(text).contains(&part), "{text}: {:?}", unheld(text));
        }
    }
}
