//! Reading `[[rule]]`: the keys that every rule has, then those of its kind, so that a kind owns its own shape and a
//! key of another kind is unknown to it.

use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;
use super::reading::{check_locales, check_number};
use super::rule::{
    Action, KindName, LengthRule, PerLocale, PersonRule, Rule, RuleKind, RuleMode, RuleStage, WordsRule,
};
use crate::pipeline::guardrails::words_of;

const COMMON_KEYS: [&str; 5] = ["name", "kind", "stage", "action", "mode"];

#[derive(Deserialize)]
struct Head {
    name: Spanned<String>,
    #[serde(default)]
    kind: Option<Spanned<String>>,
    stage: RuleStage,
    action: Spanned<Action>,
    mode: RuleMode,
}

pub(super) fn read(
    written: Option<Spanned<DeValue<'_>>>,
    locales: &[String],
    problems: &mut Problems<'_>,
) -> Vec<Rule> {
    let Some(written) = written else { return Vec::new() };
    let span = written.span();
    let DeValue::Array(entries) = written.into_inner() else {
        problems.at(&span, "'rule' is a list: write each rule under [[rule]]");
        return Vec::new();
    };
    let mut rules: Vec<Rule> = Vec::new();
    for entry in entries {
        let span = entry.span();
        let DeValue::Table(table) = entry.into_inner() else {
            problems.at(&span, "a rule is a table: write it under [[rule]]");
            continue;
        };
        let Some((rule, name_span)) = one(table, &span, locales, problems) else { continue };
        if rules.iter().any(|known| known.name == rule.name) {
            problems.at(&name_span, format!("two rules are named '{}'; a trace could not tell them apart", rule.name));
        }
        rules.push(rule);
    }
    rules
}

fn one(
    table: DeTable<'_>,
    span: &Range<usize>,
    locales: &[String],
    problems: &mut Problems<'_>,
) -> Option<(Rule, Range<usize>)> {
    let (head, body): (DeTable<'_>, DeTable<'_>) =
        table.into_iter().partition(|(key, _)| COMMON_KEYS.contains(&key.get_ref().as_ref()));
    let head: Head = part(head, span, problems)?;
    let name = head.name.get_ref().clone();
    if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        problems.at(&head.name.span(), "a rule's name is 1 to 64 letters, digits, '-', '_' and '.'");
    }
    let Some(kind) = &head.kind else {
        problems.at(span, format!("the rule '{name}' has no kind"));
        return None;
    };
    let kind_name = known_kind(kind, problems)?;
    check_action(kind_name, &head, problems);
    let kind = Body { name: &name, span, locales, problems }.read(kind_name, body)?;
    Some((Rule { name, stage: head.stage, action: *head.action.get_ref(), mode: head.mode, kind }, head.name.span()))
}

fn part<T: DeserializeOwned>(table: DeTable<'_>, span: &Range<usize>, problems: &mut Problems<'_>) -> Option<T> {
    let table = Spanned::new(span.clone(), table);
    T::deserialize(table.into_deserializer()).map_err(|error| problems.toml(&error, span)).ok()
}

fn known_kind(written: &Spanned<String>, problems: &mut Problems<'_>) -> Option<KindName> {
    let word: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        written.get_ref().as_str().into_deserializer();
    KindName::deserialize(word)
        .map_err(|_| {
            let reason = format!("unknown kind '{}'; the kinds are length, words, person", written.get_ref());
            problems.at(&written.span(), reason);
        })
        .ok()
}

fn check_action(kind: KindName, head: &Head, problems: &mut Problems<'_>) {
    if !kind.actions(head.stage).contains(head.action.get_ref()) {
        let (action, kind, stage) = (word(head.action.get_ref()), word(&kind), word(&head.stage));
        problems.at(&head.action.span(), format!("a rule of kind '{kind}' cannot '{action}' at the {stage} stage"));
    }
}

/// A closed enum's word in the file.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The keys of one rule's kind, on their way to becoming it.
struct Body<'a, 'p> {
    name: &'a str,
    span: &'a Range<usize>,
    locales: &'a [String],
    problems: &'a mut Problems<'p>,
}

impl Body<'_, '_> {
    fn read(&mut self, kind: KindName, table: DeTable<'_>) -> Option<RuleKind> {
        let number_span = table.values().next().map_or_else(|| self.span.clone(), Spanned::span);
        Some(match kind {
            KindName::Length => {
                let rule: LengthRule = part(table, self.span, self.problems)?;
                check_number(self.problems, "max_characters", rule.max_characters, &number_span, 1_000_000);
                RuleKind::Length(rule)
            }
            KindName::Words => {
                let rule: WordsRule = part(table, self.span, self.problems)?;
                self.check_lists(&[("words", &rule.words)]);
                RuleKind::Words(rule)
            }
            KindName::Person => {
                let rule: PersonRule = part(table, self.span, self.problems)?;
                self.check_lists(&[("alone", &rule.alone), ("phrases", &rule.phrases), ("ask", &rule.ask)]);
                self.check_lists(&[("who", &rule.who), ("negation", &rule.negation), ("rhetorical", &rule.rhetorical)]);
                RuleKind::Person(Box::new(rule))
            }
        })
    }

    fn check_lists(&mut self, lists: &[(&str, &PerLocale<Vec<String>>)]) {
        for (key, list) in lists {
            check_locales(self.problems, self.locales, (self.span, &format!("{}.{key}", self.name)), list);
            if list.values().all(Vec::is_empty) {
                self.problems.at(self.span, format!("'{}.{key}' has nothing to look for in any locale", self.name));
            }
            for empty in list.values().flatten().filter(|phrase| words_of(phrase).trim().is_empty()) {
                self.problems.at(self.span, format!("'{}.{key}' holds '{empty}', which has no words", self.name));
            }
        }
    }
}
