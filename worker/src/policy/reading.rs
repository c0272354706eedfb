//! From a policy's text to a [`Policy`]: keys and types by serde, which names lines; sense by hand, all at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use lens::words_of;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::DeTable;

use super::error::{PolicyError, Problems};
use super::files::Files;
use super::locale::Cues;
use super::prompts::{Frame, Setting};
use super::rule::PerLocale;
use super::rules::Surroundings;
use super::template::Template;
use super::texts::{OTHER_MEDIA, TextKey, Texts};
use super::{
    AfterDead, AfterRefusal, FloorRules, Hours, OnUnknown, Policy, Rule, budget, facts, faq, fixtures, floor, hours,
    prompts, rules, teams,
};
use crate::recovery::Class;

type Table<T> = BTreeMap<Spanned<String>, Spanned<PerLocale<T>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    assistant: Assistant,
    #[serde(default)]
    after_dead: BTreeMap<Spanned<String>, AfterDead>,
    facts: Option<facts::Plain>,
    #[serde(default)]
    fact: Vec<Spanned<facts::Written>>,
    #[serde(default)]
    faq: Vec<Spanned<faq::Written>>,
    cache: Option<faq::WrittenCache>,
    answer: Option<prompts::WrittenForm>,
    #[serde(default)]
    variant: Vec<Spanned<prompts::WrittenVariant>>,
    budget: Option<Spanned<budget::Written>>,
    #[serde(default)]
    hours: Option<Spanned<hours::Written>>,
    cues: Spanned<PerLocale<Vec<String>>>,
    texts: Spanned<Table<Spanned<String>>>,
    media: Spanned<Table<String>>,
    #[serde(default)]
    floor: floor::Written,
    #[serde(default)]
    team: Vec<Spanned<teams::Written>>,
    #[serde(default)]
    fixture: Vec<Spanned<fixtures::Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assistant {
    name: Spanned<String>,
    instructions: Option<Spanned<String>>,
    prompt: Option<Spanned<String>>,
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

/// Reads a policy that lies at `path`; `None` for one that lies nowhere.
pub(super) fn read(source: &str, file: &str, path: Option<&Path>) -> Result<Policy, PolicyError> {
    let mut problems = Problems::new(source);
    let policy = read_parts(source, (file, path), &mut problems);
    problems.finish(file, policy)
}

fn read_parts(source: &str, (file, path): (&str, Option<&Path>), problems: &mut Problems<'_>) -> Option<Policy> {
    let document = DeTable::parse(source).map_err(|error| problems.toml(&error, &(0..0))).ok()?;
    let whole = document.span();
    let (rule, rest): (DeTable<'_>, DeTable<'_>) =
        document.into_inner().into_iter().partition(|(key, _)| key.get_ref() == "rule");
    let rest = Spanned::new(whole.clone(), rest);
    let mut written =
        Written::deserialize(rest.into_deserializer()).map_err(|error| problems.toml(&error, &whole)).ok()?;
    check_assistant(&written.assistant, problems);
    let hours = hours::read(written.hours.take(), written.assistant.locales.get_ref(), problems);
    let mut files = Files::beside(path);
    let locales = written.assistant.locales.get_ref();
    let locale = written.assistant.default_locale.get_ref();
    let facts = facts::read(written.facts.as_ref(), &written.fact, locale, (&mut files, problems));
    let setting = Setting { name: written.assistant.name.get_ref(), locales, facts: &facts };
    let frame = frame(&written.assistant, setting, (&mut files, problems));
    let variants = prompts::variants(&written.variant, setting, &mut files, problems);
    let faqs = faq::read(&written.faq, (setting.name, locales), &facts, problems);
    let instructions = frame.as_ref().map_or("", Frame::instructions);
    let around = Surroundings { locales, has_hours: hours.stated(), has_facts: !facts.all().is_empty(), instructions };
    let rules = rules::read(rule.into_iter().next().map(|(_, value)| value), around, problems);
    let fixtures = fixtures::read(std::mem::take(&mut written.fixture), &rules, problems);
    let (floor, teams) = (floor::read(&written.floor, problems), teams::read(&written.team, problems));
    teams::check_called(&teams, &rules, &whole, problems);
    let cache = faq::cache(written.cache.as_ref(), problems);
    let form = prompts::form(written.answer.take(), problems);
    let policy = Parts { written: &written, rules, hours, facts, frame: frame.unwrap_or_default(), variants, faqs }
        .assemble(problems);
    let version = files.version(source);
    let files = files.read();
    Some(Policy { version, file: file.to_owned(), files, fixtures, cache, form, floor, teams, ..policy })
}

/// The prompt: written where the policy stands, or in a file.
fn frame(
    assistant: &Assistant,
    setting: Setting<'_>,
    (files, problems): (&mut Files, &mut Problems<'_>),
) -> Option<Frame> {
    let (what, span, source) = match (&assistant.instructions, &assistant.prompt) {
        (Some(text), None) => ("instructions".to_owned(), text.span(), Ok(text.get_ref().clone())),
        (None, Some(path)) => (path.get_ref().clone(), path.span(), files.text(path.get_ref())),
        (Some(text), Some(_)) => {
            problems.at(&text.span(), "'instructions' and 'prompt' are two ways to write the same; keep one");
            return None;
        }
        (None, None) => {
            problems
                .at(&assistant.name.span(), "the assistant needs a 'prompt', the path of a file, or 'instructions'");
            return None;
        }
    };
    let made = source.and_then(|source| {
        let made = prompts::frame(&source, setting).map_err(|reason| format!("'{what}' {reason}"))?;
        if source.trim().is_empty() { Err(format!("'{what}' is empty")) } else { Ok(made) }
    });
    made.map_err(|reason| problems.at(&span, reason)).ok()
}

fn check_assistant(assistant: &Assistant, problems: &mut Problems<'_>) {
    let Assistant { name, default_locale, locales, max_output_tokens, history_tokens, .. } = assistant;
    if name.get_ref().trim().is_empty() {
        problems.at(&name.span(), "'name' is empty");
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

/// What has been read, on its way to becoming a policy.
struct Parts<'a> {
    written: &'a Written,
    rules: Vec<Rule>,
    hours: Hours,
    facts: facts::FactTable,
    frame: Frame,
    variants: Vec<prompts::Variant>,
    faqs: faq::Faqs,
}

impl Parts<'_> {
    fn assemble(self, problems: &mut Problems<'_>) -> Policy {
        let assistant = &self.written.assistant;
        let locales = assistant.locales.get_ref();
        Policy {
            version: String::new(),
            name: assistant.name.get_ref().clone(),
            frame: self.frame,
            variants: self.variants,
            locales: locales.clone(),
            default_locale: assistant.default_locale.get_ref().clone(),
            max_output_tokens: *assistant.max_output_tokens.get_ref(),
            history_tokens: *assistant.history_tokens.get_ref(),
            on_unknown: assistant.on_unknown,
            after_refusal: assistant.after_refusal,
            after_dead: after_dead(&self.written.after_dead, problems),
            spending: budget::read(self.written.budget.as_ref(), problems),
            facts: self.facts,
            hours: self.hours,
            faqs: self.faqs,
            cache: faq::AnswerCache::default(),
            form: prompts::AnswerForm::default(),
            cues: cues(&self.written.cues, locales, problems),
            texts: Texts {
                templates: templates(&self.written.texts, locales, problems),
                media: media(&self.written.media, locales, problems),
            },
            rules: self.rules,
            file: String::new(),
            files: Vec::new(),
            fixtures: Vec::new(),
            floor: FloorRules::default(),
            teams: Vec::new(),
        }
    }
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
