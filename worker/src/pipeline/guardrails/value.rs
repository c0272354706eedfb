//! How much is spoken of: amounts of money and quantities, written as people write them: `1.200.000`, `1,200.50`, `900k`,
//! "2 millones", "cincuenta unidades". A number alone is neither: a telephone, a street and a year are numbers too.

use aho_corasick::BuildError;
use lens::phrases::Phrases;
use lens::{Span, View, words_of};

use super::result::{Found, Reason};
use super::words::phrases;
use crate::policy::ValueRule;

/// Words between a number and what it counts: "50 of those machines".
const REACH: usize = 2;

/// The rule, ready to run.
#[derive(Debug)]
pub(super) struct Value {
    money: Option<f64>,
    signs: Vec<char>,
    currencies: Vec<String>,
    quantity: Option<f64>,
    units: Phrases,
}

/// A number in a text: how much, and its first and last word.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number {
    value: f64,
    first: usize,
    last: usize,
    /// It was written with "thousand" or "million": seldom anything but money.
    scaled: bool,
}

impl Value {
    pub(super) fn new(rule: &ValueRule) -> Result<Self, BuildError> {
        let words = rule.currencies.iter().map(|currency| words_of(currency)).filter(|word| !word.is_empty());
        let signs = rule.currencies.iter().filter_map(|currency| currency.trim().chars().last());
        Ok(Self {
            money: rule.money.map(f64::from),
            signs: signs.filter(|sign| !sign.is_alphanumeric()).collect(),
            currencies: words.collect(),
            quantity: rule.quantity.map(f64::from),
            units: phrases(&rule.units)?,
        })
    }

    pub(super) fn judge(&self, text: &str, view: &View) -> Found {
        let units: Vec<usize> = self.units.find(view).map(|hit| hit.first).collect();
        let mut spans: Vec<Span> = Vec::new();
        let mut at = 0;
        while at < view.words.len() {
            let Some(number) = number(text, view, at) else {
                at = past(text, view, at);
                continue;
            };
            at = number.last + 1;
            if self.is_much(number, text, view, &units) {
                spans.push(view.span(number.first, number.last));
            }
        }
        Found::any(Reason::Valuable, spans)
    }

    fn is_much(&self, number: Number, text: &str, view: &View, units: &[usize]) -> bool {
        let at_least = |limit: Option<f64>| limit.is_some_and(|limit| number.value >= limit);
        if self.is_money(number, text, view) {
            return at_least(self.money);
        }
        let counts = units.iter().any(|unit| {
            number.last < *unit
                && *unit <= number.last + REACH + 1
                && (number.last + 1..*unit).all(|word| !is_figure(view, word))
        });
        if counts { at_least(self.quantity) } else { number.scaled && at_least(self.money) }
    }

    fn is_money(&self, number: Number, text: &str, view: &View) -> bool {
        let span = view.span(number.first, number.last);
        let sign = |c: Option<char>| c.is_some_and(|c| self.signs.contains(&c));
        let word = |at: usize| self.currencies.iter().any(|currency| currency == view.word(at));
        sign(text[..span.start].trim_end().chars().next_back())
            || sign(text[span.end..].trim_start().chars().next())
            || number.first.checked_sub(1).is_some_and(word)
            || word(number.last + 1)
            || (!is_figure(view, number.last + 1) && word(number.last + 2))
    }
}

fn is_figure(view: &View, word: usize) -> bool {
    view.word(word).starts_with(|c: char| c.is_ascii_digit())
}

/// The number that begins with a word, if one does.
fn number(text: &str, view: &View, first: usize) -> Option<Number> {
    let (mut value, mut last, glued) = figure(text, view, first).or_else(|| spelt(view, first))?;
    let mut scaled = false;
    if !glued.is_empty() {
        value *= scale(glued)?;
        scaled = true;
    }
    while let Some(times) = scale(view.word(last + 1)) {
        value *= times;
        last += 1;
        scaled |= times >= 1_000.0;
    }
    Some(Number { value, first, last, scaled })
}

/// The word after a figure that is no number, such as a date: its parts are no numbers either.
fn past(text: &str, view: &View, first: usize) -> usize {
    if is_figure(view, first) { groups(text, view, first).1 + 1 } else { first + 1 }
}

/// The figures from a word on that are written together, with the sign before each; and the last one's word.
fn groups<'v>(text: &str, view: &'v View, first: usize) -> (Vec<(char, &'v str)>, usize) {
    let mut groups = vec![(' ', view.word(first))];
    let mut last = first;
    while is_figure(view, last + 1) && view.word(last).bytes().all(|byte| byte.is_ascii_digit()) {
        let between = &text[view.words[last].original.end..view.words[last + 1].original.start];
        let mut between = between.chars();
        let (Some(sign), None) = (between.next(), between.next()) else { break };
        groups.push((sign, view.word(last + 1)));
        last += 1;
    }
    (groups, last)
}

/// A number in figures: its value, its last word, and the letters that are glued to it.
fn figure<'v>(text: &str, view: &'v View, first: usize) -> Option<(f64, usize, &'v str)> {
    if !is_figure(view, first) {
        return None;
    }
    let (groups, last) = groups(text, view, first);
    let end = groups.last()?.1;
    let (end, glued) = end.split_at(end.find(|c: char| !c.is_ascii_digit()).unwrap_or(end.len()));
    let (sign, rest) = (groups.last()?.0, &groups[1..]);
    // The last sign parts a fraction off if it is another than those before it, or no three figures follow it.
    let parts_before = &rest[..rest.len().saturating_sub(1)];
    let is_fraction = matches!(sign, '.' | ',')
        && !rest.is_empty()
        && end.len() != 3
        && parts_before.iter().all(|(other, _)| *other != sign);
    let thousands = if is_fraction { parts_before } else { rest };
    let grouped = |(at, (sign, group)): (usize, &(char, &str))| {
        let group = if at + 1 == rest.len() { end } else { group };
        matches!(sign, '.' | ',' | '\'' | '’' | ' ') && *sign == thousands[0].0.max(*sign) && group.len() == 3
    };
    let head = if rest.is_empty() { end } else { groups[0].1 };
    if !thousands.iter().enumerate().all(grouped) || (!thousands.is_empty() && head.len() > 3) {
        return None;
    }
    let whole: String = std::iter::once(head)
        .chain(thousands.iter().enumerate().map(|(at, (_, group))| if at + 1 == rest.len() { end } else { group }))
        .collect();
    let fraction = if is_fraction { format!(".{end}") } else { String::new() };
    format!("{whole}{fraction}").parse().ok().map(|value| (value, last, glued))
}

/// A number in words, of the languages that the shipped policies speak.
fn spelt(view: &View, first: usize) -> Option<(f64, usize, &'static str)> {
    let mut value = word_value(view.word(first))?;
    let mut last = first;
    loop {
        let joined = matches!(view.word(last + 1), "y" | "e" | "and");
        let next = last + 1 + usize::from(joined);
        // Twenty-five is a sum; "two, three" is not.
        let Some(more) = word_value(view.word(next)).filter(|more| *more < value && value >= 20.0) else { break };
        value += more;
        last = next;
    }
    Some((value, last, ""))
}

fn word_value(word: &str) -> Option<f64> {
    Some(match word {
        "un" | "una" | "one" | "um" | "uma" => 1.0,
        "dos" | "two" | "dois" | "duas" => 2.0,
        "tres" | "three" => 3.0,
        "cuatro" | "four" | "quatro" => 4.0,
        "cinco" | "five" => 5.0,
        "seis" | "six" => 6.0,
        "siete" | "seven" | "sete" => 7.0,
        "ocho" | "eight" | "oito" => 8.0,
        "nueve" | "nine" | "nove" => 9.0,
        "diez" | "ten" | "dez" => 10.0,
        "doce" | "twelve" | "doze" => 12.0,
        "quince" | "fifteen" | "quinze" => 15.0,
        "veinte" | "twenty" | "vinte" => 20.0,
        "treinta" | "thirty" | "trinta" => 30.0,
        "cuarenta" | "forty" | "quarenta" => 40.0,
        "cincuenta" | "fifty" | "cinquenta" => 50.0,
        "sesenta" | "sixty" | "sessenta" => 60.0,
        "setenta" | "seventy" => 70.0,
        "ochenta" | "eighty" | "oitenta" => 80.0,
        "noventa" | "ninety" => 90.0,
        "cien" | "ciento" | "cem" | "cento" => 100.0,
        "doscientos" | "doscientas" | "duzentos" | "duzentas" => 200.0,
        "trescientos" | "trescientas" | "trezentos" | "trezentas" => 300.0,
        "quinientos" | "quinientas" | "quinhentos" | "quinhentas" => 500.0,
        _ => return None,
    })
}

fn scale(word: &str) -> Option<f64> {
    Some(match word {
        "docena" | "docenas" | "dozen" | "dozens" | "duzia" | "duzias" => 12.0,
        "hundred" => 100.0,
        "mil" | "thousand" | "k" => 1_000.0,
        "millon" | "millones" | "million" | "millions" | "milhao" | "milhoes" => 1_000_000.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PerLocale;

    fn read(text: &str) -> Vec<f64> {
        let view = View::plain(text);
        let (mut at, mut found) = (0, Vec::new());
        while at < view.words.len() {
            match number(text, &view, at) {
                Some(number) => {
                    found.push(number.value);
                    at = number.last + 1;
                }
                None => at = past(text, &view, at),
            }
        }
        found
    }

    #[test]
    fn a_number_is_read_as_people_write_it() {
        for (text, expected) in [
            ("2", vec![2.0]),
            ("1.200.000", vec![1_200_000.0]),
            ("1,200,000", vec![1_200_000.0]),
            ("1 200 000", vec![1_200_000.0]),
            ("2'500.000", vec![]),
            ("1.500", vec![1_500.0]),
            ("1,5 millones", vec![1_500_000.0]),
            ("1.200,50", vec![1_200.5]),
            ("1,200.50", vec![1_200.5]),
            ("12.50", vec![12.5]),
            ("900k", vec![900_000.0]),
            ("dos millones", vec![2_000_000.0]),
            ("cincuenta y cinco", vec![55.0]),
            ("two hundred", vec![200.0]),
            ("3 docenas", vec![36.0]),
            ("12.05.2026", vec![]),
            ("300 555 0100", vec![]),
            ("1.2.3.4", vec![]),
            ("10 o 20", vec![10.0, 20.0]),
            ("99999999999999999999", vec![1e20]),
            ("mil gracias", vec![]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn only_money_and_quantities_count_and_only_from_their_limits_on() {
        let units = PerLocale::from([("es".to_owned(), vec!["unidades".to_owned(), "maquinas".to_owned()])]);
        let currencies = ["$", "pesos", "cop", "US$"].map(str::to_owned).to_vec();
        let rule = ValueRule { money: Some(2_000_000), currencies, quantity: Some(10), units };
        let rule = Value::new(&rule).unwrap();
        for (text, much) in [
            ("tengo 2 millones", true),
            ("tengo $2.000.000 para gastar", true),
            ("son 2.500.000 pesos", true),
            ("COP 3,000,000", true),
            ("2 millones de pesos", true),
            ("US$ 2000000", true),
            ("2500 mil", true),
            ("$ 1.999.999", false),
            ("890.000 pesos", false),
            ("necesito 50 unidades", true),
            ("necesito cincuenta de esas máquinas", true),
            ("una docena de maquinas", true),
            ("2 máquinas", false),
            ("a las 10 necesito 2 máquinas", false),
            ("2000000 de unidades", true),
            ("mi teléfono es 3005550100", false),
            ("mi cédula es 52.123.456", false),
            ("100 pesos por unidades", false),
            ("en 2026", false),
            ("", false),
        ] {
            assert_eq!(rule.judge(text, &View::plain(text)).hit, much, "{text}");
        }
    }
}
