//! Reading `[[rule]]`: the keys that every rule has, then those of its kind, so that a kind owns its own shape and a
//! key of another kind is unknown to it.

use std::ops::Range;

use common::domain::Priority;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::body::Body;
use super::error::Problems;
use super::overlap;
use super::reading::check_locales;
use super::rule::{Action, KindName, OnError, PerLocale, Rule, RuleMode, RuleStage, Scope};
use super::template::Template;

const COMMON_KEYS: [&str; 14] = [
    "name", "kind", "stage", "action", "mode", "channels", "locales", "sample", "on_error", "reply", "note", "team",
    "priority", "summary",
];
/// What the reply of a rule of kind `hours` may hold.
const REPLY_OF_HOURS: [&str; 1] = ["opens"];
/// What a summary may hold.
const SUMMARY: [&str; 4] = ["rule", "reason", "team", "priority"];

#[derive(Deserialize)]
struct Head {
    name: Spanned<String>,
    #[serde(default)]
    kind: Option<Spanned<String>>,
    stage: RuleStage,
    action: Spanned<Action>,
    mode: RuleMode,
    #[serde(default)]
    channels: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    locales: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    sample: Option<Spanned<f64>>,
    #[serde(default)]
    on_error: OnError,
    #[serde(default)]
    reply: Option<Spanned<PerLocale<String>>>,
    #[serde(default)]
    note: Option<Spanned<PerLocale<String>>>,
    #[serde(default)]
    team: Option<Spanned<String>>,
    #[serde(default)]
    priority: Option<Spanned<Priority>>,
    #[serde(default)]
    summary: Option<Spanned<PerLocale<String>>>,
}

impl Head {
    fn kind_word(&self) -> &str {
        self.kind.as_ref().map_or("", |kind| kind.get_ref().as_str())
    }
}

/// What a rule may name: the policy's locales and what its drafts are held against.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) locales: &'a [String],
    pub(super) has_facts: bool,
    pub(super) has_hours: bool,
    pub(super) instructions: &'a str,
}

pub(super) fn read(
    written: Option<Spanned<DeValue<'_>>>,
    around: Surroundings<'_>,
    problems: &mut Problems<'_>,
) -> Vec<Rule> {
    let Some(written) = written else { return Vec::new() };
    let span = written.span();
    let DeValue::Array(entries) = written.into_inner() else {
        problems.at(&span, "'rule' is a list: write each rule under [[rule]]");
        return Vec::new();
    };
    let mut rules: Vec<(Rule, Range<usize>)> = Vec::new();
    for entry in entries {
        let span = entry.span();
        let DeValue::Table(table) = entry.into_inner() else {
            problems.at(&span, "a rule is a table: write it under [[rule]]");
            continue;
        };
        let Some((rule, name_span)) = one(table, &span, around, problems) else { continue };
        if rules.iter().any(|(known, _)| known.name == rule.name) {
            problems.at(&name_span, format!("two rules are named '{}'; a trace could not tell them apart", rule.name));
        } else if let Some(reason) = rules.iter().find_map(|(known, _)| overlap::between(known, &rule)) {
            problems.at(&name_span, reason);
        }
        rules.push((rule, name_span));
    }
    rules.into_iter().map(|(rule, _)| rule).collect()
}

fn one(
    table: DeTable<'_>,
    span: &Range<usize>,
    around: Surroundings<'_>,
    problems: &mut Problems<'_>,
) -> Option<(Rule, Range<usize>)> {
    let (head, body): (DeTable<'_>, DeTable<'_>) =
        table.into_iter().partition(|(key, _)| COMMON_KEYS.contains(&key.get_ref().as_ref()));
    let head: Head = part(head, span, problems)?;
    let name = head.name.get_ref().clone();
    if !is_name(&name) {
        problems.at(&head.name.span(), "a rule's name is 1 to 64 letters, digits, '-', '_' and '.'");
    }
    let Some(kind) = &head.kind else {
        problems.at(span, format!("the rule '{name}' has no kind"));
        return None;
    };
    let kind_name = known_kind(kind, problems)?;
    check_action(kind_name, &head, problems);
    let scope = scope(&head, around.locales, problems);
    let reply = reply(&head, kind_name, around.locales, problems);
    let note = note(&head, around.locales, problems);
    let summary = called(&head, around.locales, problems);
    let kind = Body { name: &name, span, around, problems }.read(kind_name, body)?;
    let rule = Rule {
        name,
        stage: head.stage,
        action: *head.action.get_ref(),
        mode: head.mode,
        scope,
        on_error: head.on_error,
        reply,
        note,
        team: head.team.map(Spanned::into_inner),
        priority: head.priority.map(Spanned::into_inner).unwrap_or_default(),
        summary,
        kind,
    };
    Some((rule, head.name.span()))
}

fn scope(head: &Head, locales: &[String], problems: &mut Problems<'_>) -> Scope {
    let mut scope = Scope::default();
    if let Some(channels) = &head.channels {
        let is_name = |name: &String| common::domain::SourceName::parse(name).is_ok();
        if channels.get_ref().is_empty() || !channels.get_ref().iter().all(is_name) {
            problems.at(&channels.span(), "'channels' names sources, at least one; leave it out for all of them");
        }
        scope.channels.clone_from(channels.get_ref());
    }
    if let Some(chosen) = &head.locales {
        if chosen.get_ref().is_empty() {
            problems.at(&chosen.span(), "'locales' names at least one; leave it out for all of them");
        }
        for other in chosen.get_ref().iter().filter(|locale| !locales.contains(locale)) {
            problems.at(&chosen.span(), format!("'{other}' is not among the assistant's locales"));
        }
        scope.locales.clone_from(chosen.get_ref());
    }
    if let Some(sample) = &head.sample {
        scope.sample = *sample.get_ref();
        if !(scope.sample > 0.0 && scope.sample <= 1.0) {
            problems.at(&sample.span(), "'sample' is a share: above 0, at most 1");
        }
    }
    scope
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn reply(head: &Head, kind: KindName, locales: &[String], problems: &mut Problems<'_>) -> Option<PerLocale<String>> {
    let reply = head.reply.as_ref()?;
    if !matches!(head.action.get_ref(), Action::Block | Action::Handoff) {
        let name = head.name.get_ref();
        problems
            .at(&reply.span(), format!("'{name}.reply' would never be said: the rule neither blocks nor hands off"));
    }
    let variables: &[&str] = if kind == KindName::Hours { &REPLY_OF_HOURS } else { &[] };
    Some(texts((head, "reply"), reply, variables, locales, problems))
}

/// Whom the rule calls and what they are told make sense only where it calls somebody.
fn called(head: &Head, locales: &[String], problems: &mut Problems<'_>) -> Option<PerLocale<String>> {
    let [team, priority, summary] = [
        head.team.as_ref().map(Spanned::span),
        head.priority.as_ref().map(Spanned::span),
        head.summary.as_ref().map(Spanned::span),
    ];
    let calls = *head.action.get_ref() == Action::Handoff;
    for (key, span) in [("team", team), ("priority", priority), ("summary", summary)] {
        if let Some(span) = span.filter(|_| !calls) {
            let name = head.name.get_ref();
            problems.at(&span, format!("'{name}.{key}' would never be used: the rule does not hand off"));
        }
    }
    if let Some(team) = head.team.as_ref().filter(|team| !is_name(team.get_ref())) {
        problems.at(&team.span(), "a team's name is 1 to 64 letters, digits, '-', '_' and '.'");
    }
    head.summary.as_ref().map(|summary| texts((head, "summary"), summary, &SUMMARY, locales, problems))
}

fn texts(
    (head, key): (&Head, &str),
    written: &Spanned<PerLocale<String>>,
    variables: &[&str],
    locales: &[String],
    problems: &mut Problems<'_>,
) -> PerLocale<String> {
    let what = format!("{}.{key}", head.name.get_ref());
    check_locales(problems, locales, (&written.span(), &what), written.get_ref());
    for (locale, text) in written.get_ref() {
        match Template::parse(text, variables) {
            Ok(template) if template.is_blank() => problems.at(&written.span(), format!("'{what}.{locale}' is empty")),
            Ok(_) => {}
            Err(reason) => problems.near(&written.span(), text, format!("'{what}.{locale}' {reason}")),
        }
    }
    written.get_ref().clone()
}

/// What the model is told by a rule that hits and lets the text go on.
fn note(head: &Head, locales: &[String], problems: &mut Problems<'_>) -> Option<PerLocale<String>> {
    let note = head.note.as_ref()?;
    let what = format!("{}.note", head.name.get_ref());
    check_locales(problems, locales, (&note.span(), &what), note.get_ref());
    let stops = matches!(head.action.get_ref(), Action::Block | Action::Handoff)
        && !["topic", "injection"].contains(&head.kind_word());
    if stops || head.stage == RuleStage::Output {
        problems.at(&note.span(), format!("'{what}' would never be told: the rule lets nothing go on to the model"));
    }
    if let Some((locale, _)) = note.get_ref().iter().find(|(_, text)| text.trim().is_empty()) {
        problems.at(&note.span(), format!("'{what}.{locale}' is empty"));
    }
    Some(note.get_ref().clone())
}

pub(super) fn part<T: DeserializeOwned>(
    table: DeTable<'_>,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let table = Spanned::new(span.clone(), table);
    T::deserialize(table.into_deserializer()).map_err(|error| problems.toml(&error, span)).ok()
}

fn known_kind(written: &Spanned<String>, problems: &mut Problems<'_>) -> Option<KindName> {
    let named: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        written.get_ref().as_str().into_deserializer();
    KindName::deserialize(named)
        .map_err(|_| {
            let kinds: Vec<String> = KindName::ALL.iter().map(word).collect();
            let reason = format!("unknown kind '{}'; the kinds are {}", written.get_ref(), kinds.join(", "));
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
