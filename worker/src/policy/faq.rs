//! Questions that the policy answers itself, and the answers that are kept for a while.
//!
//! A question is met when a message, folded and without its greeting and politeness, is exactly one of those listed.
//! Nothing is guessed: a question that adds one word more goes to the model.

use std::collections::HashMap;

use lens::words_of;
use serde::Deserialize;
use toml::Spanned;

use super::error::Problems;
use super::facts::{FactTable, filled};
use super::reading::{check_locales, check_number};
use super::rule::{PerLocale, RuleMode};

/// Said before or after a question, in the shipped locales: it changes nothing of what is asked. Folded; the longer
/// ones first.
const MANNERS: &[&str] = &[
    "muito obrigado",
    "muito obrigada",
    "muchas gracias",
    "thank you very much",
    "thanks a lot",
    "thank you",
    "good morning",
    "good afternoon",
    "good evening",
    "good day",
    "hi there",
    "hello there",
    "excuse me",
    "quick question",
    "one question",
    "buenos dias",
    "buenas tardes",
    "buenas noches",
    "buen dia",
    "con permiso",
    "una pregunta",
    "una consulta",
    "por favor",
    "bom dia",
    "boa tarde",
    "boa noite",
    "com licenca",
    "uma pergunta",
    "tudo bem",
    "por gentileza",
    "hello",
    "hi",
    "hey",
    "please",
    "thanks",
    "sorry",
    "hola",
    "buenas",
    "gracias",
    "disculpe",
    "disculpa",
    "perdon",
    "oye",
    "oi",
    "ola",
    "obrigado",
    "obrigada",
    "desculpe",
];

/// A question without its dress: folded, and without greeting and politeness at either end.
#[must_use]
pub fn bare(text: &str) -> String {
    let words = words_of(text);
    let mut rest = words.as_str();
    loop {
        let begun = MANNERS.iter().find_map(|manner| match rest.strip_prefix(manner) {
            Some("") => None,
            Some(after) => after.strip_prefix(' '),
            None => None,
        });
        let ended = || MANNERS.iter().find_map(|manner| rest.strip_suffix(manner)?.strip_suffix(' '));
        match begun.or_else(ended) {
            Some(less) => rest = less,
            None => return rest.to_owned(),
        }
    }
}

/// An answer that is the policy's own.
#[derive(Clone, Debug)]
pub struct Faq {
    /// Its name, unique; traces give it.
    pub name: String,
    /// Its line in the policy.
    pub line: usize,
    questions: PerLocale<Vec<String>>,
    answer: PerLocale<String>,
}

impl Faq {
    /// Every way to ask it, in every locale.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        self.questions.values().flatten().map(String::as_str)
    }

    /// The answer, by locale.
    #[must_use]
    pub const fn answers(&self) -> &PerLocale<String> {
        &self.answer
    }
}

/// Every question that the policy answers itself.
#[derive(Clone, Debug, Default)]
pub struct Faqs {
    all: Vec<Faq>,
    asked: HashMap<String, Vec<(usize, String)>>,
}

impl Faqs {
    /// Every one, in the file's order.
    #[must_use]
    pub fn all(&self) -> &[Faq] {
        &self.all
    }

    /// The answer to a message and the locale it is asked in; `locale` chooses where it is asked alike in several.
    #[must_use]
    pub fn find(&self, text: &str, locale: &str) -> Option<(&Faq, &str)> {
        let places = self.asked.get(&bare(text))?;
        let (at, locale) = places.iter().find(|(_, known)| known == locale).or_else(|| places.first())?;
        Some((self.all.get(*at)?, locale))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Spanned<String>,
    questions: Spanned<PerLocale<Vec<String>>>,
    answer: Spanned<PerLocale<Spanned<String>>>,
}

pub(super) fn read(
    written: &[Spanned<Written>],
    (name, locales): (&str, &[String]),
    facts: &FactTable,
    problems: &mut Problems<'_>,
) -> Faqs {
    let mut faqs = Faqs::default();
    for (at, entry) in written.iter().enumerate() {
        let Written { name: own, questions, answer } = entry.get_ref();
        let called = own.get_ref();
        if called.trim().is_empty() || faqs.all.iter().any(|known| known.name == *called) {
            problems.at(&own.span(), format!("'{called}' is no name of its own for an answer"));
        }
        check_locales(problems, locales, (&questions.span(), &format!("{called}.questions")), questions.get_ref());
        check_locales(problems, locales, (&answer.span(), &format!("{called}.answer")), answer.get_ref());
        for (locale, question) in questions.get_ref().iter().flat_map(|(l, list)| list.iter().map(move |q| (l, q))) {
            let words = bare(question);
            let places = faqs.asked.entry(words.clone()).or_default();
            if words.is_empty() {
                problems.near(&questions.span(), question, format!("'{called}' has a question without words"));
            } else if places.iter().any(|(other, _)| *other != at) {
                let reason = format!("'{question}' is asked under '{called}' and under another name");
                problems.near(&questions.span(), question, reason);
            } else {
                places.push((at, locale.clone()));
            }
        }
        let mut texts = PerLocale::new();
        for (locale, text) in answer.get_ref() {
            match filled(text.get_ref(), &[("name", name)], facts) {
                Ok(said) if said.trim().is_empty() => {
                    problems.at(&text.span(), format!("'{called}.answer.{locale}' is empty"));
                }
                Ok(said) => drop(texts.insert(locale.clone(), said)),
                Err(reason) => problems.at(&text.span(), format!("'{called}.answer.{locale}' {reason}")),
            }
        }
        let (line, questions) = (problems.line(&own.span()), questions.get_ref().clone());
        faqs.all.push(Faq { name: called.clone(), line, questions, answer: texts });
    }
    faqs
}

/// Which answers of the model's are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerCache {
    /// Off; shadow: looked up and told, and the model asked all the same; enforce: said again.
    pub mode: RuleMode,
    /// For how long.
    pub hours: u32,
    /// How many at once, for the whole deployment; the oldest go first.
    pub max_rows: u32,
    /// The longest question that is looked up.
    pub max_characters: u32,
}

impl Default for AnswerCache {
    fn default() -> Self {
        Self { mode: RuleMode::Off, hours: 12, max_rows: 1_000, max_characters: 160 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCache {
    mode: RuleMode,
    hours: Option<Spanned<u32>>,
    max_rows: Option<Spanned<u32>>,
    max_characters: Option<Spanned<u32>>,
}

pub(super) fn cache(written: Option<&WrittenCache>, problems: &mut Problems<'_>) -> AnswerCache {
    let mut cache = AnswerCache::default();
    let Some(written) = written else { return cache };
    cache.mode = written.mode;
    for (key, given, most, kept) in [
        ("hours", &written.hours, 168, &mut cache.hours),
        ("max_rows", &written.max_rows, 100_000, &mut cache.max_rows),
        ("max_characters", &written.max_characters, 1_000, &mut cache.max_characters),
    ] {
        if let Some(given) = given {
            check_number(problems, key, *given.get_ref(), &given.span(), most);
            *kept = *given.get_ref();
        }
    }
    cache
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_politeness_case_accents_and_punctuation_do_not_change_a_question() {
        for text in [
            "¿Cuál es el horario?",
            "Hola, buenas tardes, ¿cuál es el horario por favor?",
            "CUAL ES EL HORARIO",
            "disculpe… ¿cuál es el horario? Muchas gracias!",
        ] {
            assert_eq!(bare(text), "cual es el horario", "{text}");
        }
        assert_eq!(bare("Hola"), "hola", "a greeting alone is itself");
        assert_ne!(bare("¿Cuál es el horario de hoy?"), "cual es el horario");
        assert_eq!(bare("history please"), "history", "only whole words are taken away");
    }
}
