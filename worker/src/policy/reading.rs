//! From a policy's text to a [`Policy`]: keys and types by serde, which names lines; sense by hand, all at once.

use std::collections::BTreeMap;
use std::ops::Range;

use common::digest::hex_digest;
use lens::words_of;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::DeTable;

use super::error::{PolicyError, Problems};
use super::fixtures;
use super::locale::Cues;
use super::rule::PerLocale;
use super::rules::Surroundings;
use super::template::Template;
use super::texts::{OTHER_MEDIA, TextKey, Texts};
use super::{AfterDead, OnUnknown, Policy, Rule, rules};
use super::{AfterRefusal, budget};
use crate::recovery::Class;

type Table<T> = BTreeMap<Spanned<String>, Spanned<PerLocale<T>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    assistant: Assistant,
    #[serde(default)]
    after_dead: BTreeMap<Spanned<String>, AfterDead>,
    #[serde(default)]
    budget: Option<Spanned<budget::Written>>,
    #[serde(default)]
    facts: Option<Spanned<BTreeMap<String, String>>>,
    cues: Spanned<PerLocale<Vec<String>>>,
    texts: Spanned<Table<Spanned<String>>>,
    media: Spanned<Table<String>>,
    #[serde(default)]
    fixture: Vec<Spanned<fixtures::Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assistant {
    name: Spanned<String>,
    instructions: Spanned<String>,
    default_locale: Spanned<String>,
    locales: Spanned<Vec<String>>,
    max_output_tokens: Spanned<u32>,
    history_tokens: Spanned<u32>,
    on_unknown: OnUnknown,
    #[serde(default)]
    after_refusal: AfterRefusal,
}

/// Checks that every locale has its part, and no other has one.
pub(super) fn check_locales<T>(
    problems: &mut Problems<'_>,
    locales: &[String],
    (span, what): (&Range<usize>, &str),
    given: &PerLocale<T>,
) {
    for missing in locales.iter().filter(|locale| !given.contains_key(*locale)) {
        problems.at(span, format!("'{what}' has nothing for '{missing}'; every locale of the policy needs its own"));
    }
    for other in given.keys().filter(|key| !locales.contains(key)) {
        problems.at(span, format!("'{what}' speaks '{other}', which is not among the assistant's locales"));
    }
}

/// Checks a number against its bounds.
pub(super) fn check_number(problems: &mut Problems<'_>, key: &str, number: u32, span: &Range<usize>, most: u32) {
    if !(1..=most).contains(&number) {
        problems.at(span, format!("'{key}' is {number}; it must be at least 1 and at most {most}"));
    }
}

pub(super) fn read(source: &str, file: &str) -> Result<Policy, PolicyError> {
    let mut problems = Problems::new(source);
    let policy = read_parts(source, file, &mut problems);
    problems.finish(file, policy)
}

fn read_parts(source: &str, file: &str, problems: &mut Problems<'_>) -> Option<Policy> {
    let document = DeTable::parse(source).map_err(|error| problems.toml(&error, &(0..0))).ok()?;
    let whole = document.span();
    let (rule, rest): (DeTable<'_>, DeTable<'_>) =
        document.into_inner().into_iter().partition(|(key, _)| key.get_ref() == "rule");
    let rest = Spanned::new(whole.clone(), rest);
    let mut written =
        Written::deserialize(rest.into_deserializer()).map_err(|error| problems.toml(&error, &whole)).ok()?;
    check_assistant(&written.assistant, problems);
    let around = Surroundings {
        locales: written.assistant.locales.get_ref(),
        has_facts: written.facts.as_ref().is_some_and(|facts| !facts.get_ref().is_empty()),
        instructions: written.assistant.instructions.get_ref(),
    };
    let rules = rules::read(rule.into_iter().next().map(|(_, value)| value), around, problems);
    let fixtures = fixtures::read(std::mem::take(&mut written.fixture), &rules, problems);
    let policy = assemble(source, &written, rules, problems)?;
    Some(Policy { file: file.to_owned(), fixtures, ..policy })
}

fn check_assistant(assistant: &Assistant, problems: &mut Problems<'_>) {
    let Assistant { name, instructions, default_locale, locales, max_output_tokens, history_tokens, .. } = assistant;
    for (key, text) in [("name", name), ("instructions", instructions)] {
        if text.get_ref().trim().is_empty() {
            problems.at(&text.span(), format!("'{key}' is empty"));
        }
    }
    if !locales.get_ref().contains(default_locale.get_ref()) {
        let reason = format!("the default locale '{}' is not among the locales", default_locale.get_ref());
        problems.at(&default_locale.span(), reason);
    }
    for (at, locale) in locales.get_ref().iter().enumerate() {
        if locale.is_empty() || !locale.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            problems.at(&locales.span(), format!("'{locale}' is no locale; write it like \"en\" or \"pt-BR\""));
        }
        if locales.get_ref()[..at].contains(locale) {
            problems.at(&locales.span(), format!("the locale '{locale}' stands twice"));
        }
    }
    check_number(problems, "max_output_tokens", *max_output_tokens.get_ref(), &max_output_tokens.span(), 100_000);
    check_number(problems, "history_tokens", *history_tokens.get_ref(), &history_tokens.span(), 1_000_000);
}

fn assemble(source: &str, written: &Written, rules: Vec<Rule>, problems: &mut Problems<'_>) -> Option<Policy> {
    let assistant = &written.assistant;
    let locales = assistant.locales.get_ref();
    let facts = facts(written.facts.as_ref(), problems);
    let cues = cues(&written.cues, locales, problems);
    let after_dead = after_dead(&written.after_dead, problems);
    let spending = budget::read(written.budget.as_ref(), problems);
    let texts = Texts {
        templates: templates(&written.texts, locales, problems),
        media: media(&written.media, locales, problems),
    };
    let (instructions, system) = system(assistant, &facts, problems)?;
    Some(Policy {
        version: hex_digest(source.as_bytes(), 12),
        name: assistant.name.get_ref().clone(),
        instructions,
        system,
        locales: locales.clone(),
        default_locale: assistant.default_locale.get_ref().clone(),
        max_output_tokens: *assistant.max_output_tokens.get_ref(),
        history_tokens: *assistant.history_tokens.get_ref(),
        on_unknown: assistant.on_unknown,
        after_refusal: assistant.after_refusal,
        after_dead,
        spending,
        facts,
        cues,
        texts,
        rules,
        file: String::new(),
        fixtures: Vec::new(),
    })
}

/// What is written for each class; `default` speaks for the others.
fn after_dead(
    written: &BTreeMap<Spanned<String>, AfterDead>,
    problems: &mut Problems<'_>,
) -> BTreeMap<Class, AfterDead> {
    let class = |word: &str| Class::ALL.into_iter().find(|class| class.as_str() == word);
    for (name, _) in written.iter().filter(|(name, _)| name.get_ref() != "default" && class(name.get_ref()).is_none()) {
        let known = Class::ALL.map(Class::as_str).join(", ");
        problems.at(&name.span(), format!("unknown class '{}'; 'after_dead' knows default, {known}", name.get_ref()));
    }
    let said = |word: &str| written.iter().find(|(name, _)| name.get_ref() == word).map(|(_, after)| *after);
    let rest = said("default").unwrap_or(AfterDead::Park);
    Class::ALL.into_iter().map(|class| (class, said(class.as_str()).unwrap_or(rest))).collect()
}

fn facts(written: Option<&Spanned<BTreeMap<String, String>>>, problems: &mut Problems<'_>) -> BTreeMap<String, String> {
    let Some(facts) = written else { return BTreeMap::new() };
    if facts.get_ref().is_empty() {
        problems.at(&facts.span(), "the fact table is empty; state a fact or leave the table out");
    }
    for (name, _) in facts.get_ref().iter().filter(|(_, fact)| fact.trim().is_empty()) {
        problems.at(&facts.span(), format!("the fact '{name}' says nothing"));
    }
    facts.get_ref().clone()
}

fn cues(written: &Spanned<PerLocale<Vec<String>>>, locales: &[String], problems: &mut Problems<'_>) -> Cues {
    check_locales(problems, locales, (&written.span(), "cues"), written.get_ref());
    let mut cues = Cues::default();
    for (index, locale) in locales.iter().enumerate() {
        let words = written.get_ref().get(locale).into_iter().flatten();
        cues.add(index, words.map(|word| words_of(word).trim().to_owned()));
    }
    cues
}

fn templates(
    written: &Spanned<Table<Spanned<String>>>,
    locales: &[String],
    problems: &mut Problems<'_>,
) -> BTreeMap<(TextKey, String), Template> {
    let mut templates = BTreeMap::new();
    for (name, texts) in written.get_ref() {
        let Some(key) = TextKey::ALL.into_iter().find(|key| key.as_str() == name.get_ref()) else {
            let known = TextKey::ALL.map(TextKey::as_str).join(", ");
            problems.at(&name.span(), format!("unknown text '{}'; the texts are {known}", name.get_ref()));
            continue;
        };
        let what = format!("texts.{}", key.as_str());
        check_locales(problems, locales, (&name.span(), &what), texts.get_ref());
        for (locale, text) in texts.get_ref() {
            match Template::parse(text.get_ref(), key.variables()) {
                Ok(template) if template.is_blank() => problems.at(&text.span(), format!("'{what}.{locale}' is empty")),
                Ok(template) => drop(templates.insert((key, locale.clone()), template)),
                Err(reason) => problems.at(&text.span(), format!("'{what}.{locale}' {reason}")),
            }
        }
    }
    for missing in TextKey::ALL.iter().filter(|key| !written.get_ref().keys().any(|k| k.get_ref() == key.as_str())) {
        problems.at(&written.span(), format!("the text 'texts.{}' is missing", missing.as_str()));
    }
    templates
}

fn media(
    written: &Spanned<Table<String>>,
    locales: &[String],
    problems: &mut Problems<'_>,
) -> BTreeMap<(String, String), String> {
    let mut names = BTreeMap::new();
    for (what, words) in written.get_ref() {
        check_locales(problems, locales, (&what.span(), &format!("media.{}", what.get_ref())), words.get_ref());
        for (locale, word) in words.get_ref() {
            if word.trim().is_empty() {
                problems.at(&words.span(), format!("'media.{}.{locale}' is empty", what.get_ref()));
            }
            names.insert((what.get_ref().clone(), locale.clone()), word.clone());
        }
    }
    if !written.get_ref().keys().any(|what| what.get_ref() == OTHER_MEDIA) {
        problems.at(&written.span(), format!("'media' needs a row '{OTHER_MEDIA}' for everything without its own"));
    }
    names
}

fn system(
    assistant: &Assistant,
    facts: &BTreeMap<String, String>,
    problems: &mut Problems<'_>,
) -> Option<(String, String)> {
    let instructions = &assistant.instructions;
    let template = Template::parse(instructions.get_ref(), &["name"])
        .map_err(|reason| problems.at(&instructions.span(), format!("'instructions' {reason}")))
        .ok()?;
    let instructions = template.render(&[("name", assistant.name.get_ref())]);
    let mut system = instructions.clone();
    if !facts.is_empty() {
        system.push_str("\n\nFacts:");
        for (name, fact) in facts {
            system.push_str(&format!("\n- {name}: {}", fact.trim()));
        }
    }
    Some((instructions, system))
}
