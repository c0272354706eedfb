//! The fact table: what the assistant may state. Short facts by name under `[facts]`, typed ones as `[[fact]]`, in the
//! policy or in a file of their own.
//!
//! What is typed is held strictly: of a product only its price is a price. A table that is larger than its budget goes
//! to the model in part: everything that is no product, then the products that share words with the conversation,
//! rarer words first, then the others in the file's order. Which these are depends on the words alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use lens::claims::{ClaimKind, Facts};
use lens::words_of;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::error::Problems;
use super::files::Files;
use super::template::Template;

/// What the model may be given of the table, in tokens, unless the policy says otherwise.
const BUDGET: u32 = 2_000;

/// What a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// Something with a price.
    Product,
    /// When the business is open.
    Hours,
    /// A telephone.
    Phone,
    /// Where the business is.
    Address,
    /// A link.
    Link,
    /// Anything else.
    Note,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its name, unique.
    pub name: String,
    /// What it is; `None` for one that is only a text.
    pub kind: Option<FactKind>,
    /// The fact in words.
    pub text: String,
    /// A product's price as it is written, with its currency.
    pub price: Option<String>,
    title: BTreeSet<String>,
    words: BTreeSet<String>,
}

impl Fact {
    fn new(name: &str, kind: Option<FactKind>, text: String, titles: &str) -> Self {
        let set = |text: &str| words_of(text).split(' ').filter(|word| word.len() > 2).map(str::to_owned).collect();
        Self { name: name.to_owned(), kind, title: set(titles), words: set(&text), text, price: None }
    }

    fn line(&self) -> String {
        format!("\n- {}: {}", self.name, self.text)
    }
}

/// Every fact, in the file's order.
#[derive(Clone, Debug, Default)]
pub struct FactTable {
    facts: Vec<Fact>,
    texts: BTreeMap<String, String>,
    budget: usize,
}

fn tokens(text: &str) -> usize {
    text.len().div_ceil(3)
}

impl FactTable {
    /// Every fact.
    #[must_use]
    pub fn all(&self) -> &[Fact] {
        &self.facts
    }

    /// Every fact's words, by its name.
    pub(super) const fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// Whether the model is given it in part.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.facts.iter().map(|fact| tokens(&fact.line())).sum::<usize>() > self.budget
    }

    /// What a claim is held against.
    #[must_use]
    pub fn claims(&self) -> Facts {
        let mut claims = Facts::default();
        for fact in &self.facts {
            match fact.kind {
                None => claims.add(&fact.text),
                Some(FactKind::Phone) => claims.state(ClaimKind::Phone, &fact.text),
                Some(FactKind::Address) => claims.state(ClaimKind::Address, &fact.text),
                Some(FactKind::Hours) => claims.state(ClaimKind::Hour, &fact.text),
                Some(FactKind::Product | FactKind::Link | FactKind::Note) => claims.add_claims(&fact.text),
            }
        }
        claims
    }

    /// What every prompt holds: the same for every conversation, so that a provider may cache it.
    pub(super) fn steady(&self) -> String {
        let large = self.is_large();
        let always = |fact: &&Fact| !large || fact.kind != Some(FactKind::Product);
        let mut text: String = self.facts.iter().filter(always).map(Fact::line).collect();
        if large {
            text.push_str("\n- (The products are many: those that fit the conversation stand at the end.)");
        }
        text
    }

    /// The products that fit the words of a conversation, as far as the budget goes, and how many were left out;
    /// `None` for a table that is given whole.
    #[must_use]
    pub fn fitting(&self, words: &str) -> Option<(String, usize)> {
        if !self.is_large() {
            return None;
        }
        let mut left = self.budget.saturating_sub(tokens(&self.steady()));
        let products: Vec<&Fact> = self.facts.iter().filter(|fact| fact.kind == Some(FactKind::Product)).collect();
        let scores = scores(&products, words);
        let mut order: Vec<usize> = (0..products.len()).collect();
        order.sort_by_key(|at| (std::cmp::Reverse(scores[*at]), *at));
        let mut text = String::new();
        let mut given = 0;
        for at in order {
            let line = products[at].line();
            let Some(rest) = left.checked_sub(tokens(&line)) else { break };
            (left, given) = (rest, given + 1);
            text.push_str(&line);
        }
        Some((text, products.len() - given))
    }

    /// Values for the variables of a text: each fact by its name, a price as `name.price`, `hours` if there are any.
    pub(super) fn values(&self) -> Vec<(String, String)> {
        let mut values: Vec<(String, String)> = self.texts.clone().into_iter().collect();
        let price = |fact: &Fact| Some((format!("{}.price", fact.name), fact.price.clone()?));
        values.extend(self.facts.iter().filter_map(price));
        let hours = self.facts.iter().find(|fact| fact.kind == Some(FactKind::Hours));
        if let Some(hours) = hours.filter(|_| !self.texts.contains_key("hours")) {
            values.push(("hours".to_owned(), hours.text.clone()));
        }
        values
    }
}

/// How well each product fits: the rarer a shared word, the more it says; in a title it says three times as much.
fn scores(products: &[&Fact], text: &str) -> Vec<usize> {
    let asked: BTreeSet<String> = words_of(text).split(' ').filter(|word| word.len() > 2).map(str::to_owned).collect();
    let hits = |set: &BTreeSet<String>, word: &str| set.iter().any(|known| akin(known, word));
    let mut scores = vec![0; products.len()];
    for word in &asked {
        let weight = |fact: &&Fact| if hits(&fact.title, word) { 3 } else { usize::from(hits(&fact.words, word)) };
        let weights: Vec<usize> = products.iter().map(weight).collect();
        let holders = weights.iter().filter(|weight| **weight > 0).count();
        for (score, weight) in scores.iter_mut().zip(weights) {
            *score += weight * 1_000 / holders.max(1);
        }
    }
    scores
}

/// The same word, or two endings of one: "aguja" and "agujas".
fn akin(one: &str, other: &str) -> bool {
    let shorter = one.len().min(other.len());
    one == other
        || (shorter >= 4
            && one.len().abs_diff(other.len()) <= 2
            && one.as_bytes()[..shorter] == other.as_bytes()[..shorter])
}

/// One entry of `[facts]`: a fact, or one of the table's own keys.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Number(u32),
    Text(String),
}

pub(super) type Plain = Spanned<BTreeMap<Spanned<String>, Spanned<Entry>>>;

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Amount {
    Whole(u64),
    Written(String),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Spanned<String>,
    kind: FactKind,
    title: Option<String>,
    text: Option<Spanned<String>>,
    price: Option<Spanned<Amount>>,
    currency: Option<Spanned<String>>,
    number: Option<Spanned<String>>,
    url: Option<Spanned<String>>,
    #[serde(default)]
    words: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    #[serde(default)]
    fact: Vec<Spanned<Written>>,
}

/// Everything that a policy states.
pub(super) fn read(
    plain: Option<&Plain>,
    typed: &[Spanned<Written>],
    locale: &str,
    (files, problems): (&mut Files, &mut Problems<'_>),
) -> FactTable {
    let mut table = FactTable { budget: BUDGET as usize, ..FactTable::default() };
    let mut file = None;
    for (name, entry) in plain.iter().flat_map(|plain| plain.get_ref()) {
        match (name.get_ref().as_str(), entry.get_ref()) {
            ("file", Entry::Text(path)) => file = Some((path, entry.span())),
            ("budget_tokens", Entry::Number(tokens @ 100..=100_000)) => table.budget = *tokens as usize,
            ("file" | "budget_tokens", _) => {
                problems.at(&entry.span(), "'facts.file' is a path, 'facts.budget_tokens' a number from 100 to 100000");
            }
            (name, Entry::Text(text)) if !text.trim().is_empty() => {
                table.facts.push(Fact::new(name, None, text.trim().to_owned(), name));
            }
            (name, _) => problems.at(&entry.span(), format!("the fact '{name}' says nothing")),
        }
    }
    add(&mut table, typed, locale, problems);
    if let Some((path, span)) = file {
        from_file(&mut table, path, &span, locale, (files, problems));
    } else if let Some(plain) = plain.filter(|_| table.facts.is_empty()) {
        problems.at(&plain.span(), "the fact table is empty; state a fact or leave the table out");
    }
    table.texts = table.facts.iter().map(|fact| (fact.name.clone(), fact.text.clone())).collect();
    table
}

fn from_file(
    table: &mut FactTable,
    path: &str,
    span: &Range<usize>,
    locale: &str,
    (files, problems): (&mut Files, &mut Problems<'_>),
) {
    let text = match files.text(path) {
        Ok(text) => text,
        Err(reason) => return problems.at(span, format!("'facts.file': {reason}")),
    };
    let mut inside = Problems::new(&text);
    match toml::from_str::<WrittenFile>(&text) {
        Err(error) => inside.toml(&error, &(0..0)),
        Ok(written) if written.fact.is_empty() => inside.at(&(0..0), "the fact table is empty; state a fact"),
        Ok(written) => add(table, &written.fact, locale, &mut inside),
    }
    problems.within(span, path, inside);
}

fn add(table: &mut FactTable, written: &[Spanned<Written>], locale: &str, problems: &mut Problems<'_>) {
    for fact in written {
        let name = fact.get_ref().name.get_ref();
        let span = fact.get_ref().name.span();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            problems.at(&span, format!("'{name}' is no name for a fact; use a-z, 0-9, '-' and '_'"));
        }
        if table.facts.iter().any(|known| known.name == *name) {
            problems.at(&span, format!("two facts are named '{name}'"));
        }
        match one(fact.get_ref(), locale) {
            Ok(fact) => table.facts.push(fact),
            Err(reason) => problems.at(&span, format!("the fact '{name}' {reason}")),
        }
    }
}

fn one(written: &Written, locale: &str) -> Result<Fact, String> {
    strangers(written)?;
    let text = |of: &Option<Spanned<String>>| of.as_ref().map(|text| text.get_ref().trim().to_owned());
    let needed = |of: &Option<Spanned<String>>, key: &str| {
        text(of).filter(|text| !text.is_empty()).ok_or(format!("needs '{key}'"))
    };
    let titled = |text: String| match &written.title {
        Some(title) => format!("{}: {text}", title.trim()),
        None => text,
    };
    let mut price = None;
    let said = match written.kind {
        FactKind::Product => {
            let amount = amount(written, locale)?;
            let title = written.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
            let title = title.ok_or("needs 'title'")?;
            let said =
                text(&written.text).map_or_else(|| format!("{title}: {amount}"), |t| format!("{title}: {amount}. {t}"));
            price = Some(amount);
            said
        }
        FactKind::Phone => {
            let number = needed(&written.number, "number")?;
            if !(7..=15).contains(&number.chars().filter(char::is_ascii_digit).count()) {
                return Err("needs a 'number' of 7 to 15 digits".to_owned());
            }
            titled(number)
        }
        FactKind::Link => {
            let link = needed(&written.url, "url")?;
            let sound = url::Url::parse(&link).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
            if !sound {
                return Err("has a 'url' that is none; write it with https://".to_owned());
            }
            titled(link)
        }
        FactKind::Hours | FactKind::Address | FactKind::Note => titled(needed(&written.text, "text")?),
    };
    if said.contains(['\n', '\r']) {
        return Err("has more than one line".to_owned());
    }
    let words =
        format!("{} {} {}", written.name.get_ref(), written.title.as_deref().unwrap_or(""), written.words.join(" "));
    Ok(Fact { price, ..Fact::new(written.name.get_ref(), Some(written.kind), said, &words) })
}

/// Keys that belong to another kind.
fn strangers(written: &Written) -> Result<(), String> {
    let given = [
        ("price", written.price.is_some(), FactKind::Product),
        ("currency", written.currency.is_some(), FactKind::Product),
        ("number", written.number.is_some(), FactKind::Phone),
        ("url", written.url.is_some(), FactKind::Link),
    ];
    let strange = given.iter().find(|(_, given, kind)| *given && written.kind != *kind);
    strange.map_or(Ok(()), |(key, ..)| Err(format!("has '{key}', which is of another kind")))
}

/// A price as people of that locale write it: 890.000 COP, 890,000 COP.
fn amount(written: &Written, locale: &str) -> Result<String, String> {
    let currency = written.currency.as_ref().map(|currency| currency.get_ref().as_str()).unwrap_or_default();
    if currency.len() != 3 || !currency.chars().all(|c| c.is_ascii_uppercase()) {
        return Err("needs a 'currency' of three capital letters".to_owned());
    }
    let price = match written.price.as_ref().map(Spanned::get_ref) {
        None => return Err("needs 'price'".to_owned()),
        Some(Amount::Whole(whole)) => whole.to_string(),
        Some(Amount::Written(text)) => text.clone(),
    };
    let (whole, part) = price.split_once('.').map_or((price.as_str(), None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || whole.len() > 12 || part.is_some_and(|part| !digits(part) || part.len() > 2) {
        return Err("has a 'price' that is none; write 890000 or \"89.90\"".to_owned());
    }
    let (group, point) = if locale.starts_with("en") { (',', '.') } else { ('.', ',') };
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(group);
        }
        grouped.push(digit);
    }
    let part = part.map(|part| format!("{point}{part}")).unwrap_or_default();
    Ok(format!("{grouped}{part} {currency}"))
}

/// A text of the policy with the facts in it.
pub(super) fn filled(text: &str, more: &[(&str, &str)], table: &FactTable) -> Result<String, String> {
    let values = table.values();
    let mut known: Vec<(&str, &str)> = more.to_vec();
    known.extend(values.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    Ok(Template::parse(text, &names)?.render(&known))
}

#[cfg(test)]
mod tests;
