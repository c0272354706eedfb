//! Reading the keys of one rule's kind, and whether they make sense.

use std::ops::Range;

use lens::patterns::Patterns;
use lens::words_of;
use serde::Deserialize;
use toml::de::DeTable;

use super::error::Problems;
use super::kinds::{
    GroundingRule, InjectionRule, LanguageRule, LeakRule, LengthRule, PersonRule, PiiRule, PromiseRule, RepeatRule,
    RuleKind, SchemaFormat, SchemaRule, TopicRule, UrlRule, WordsRule,
};
use super::reading::{check_locales, check_number};
use super::rule::{KindName, PerLocale};
use super::rules::{Surroundings, part};

/// A rule of which nothing is to be said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The keys of one rule's kind, on their way to becoming it.
pub(super) struct Body<'a, 'p> {
    pub(super) name: &'a str,
    pub(super) span: &'a Range<usize>,
    pub(super) around: Surroundings<'a>,
    pub(super) problems: &'a mut Problems<'p>,
}

pub(super) type Lists<'l> = [(&'l str, &'l PerLocale<Vec<String>>)];

impl Body<'_, '_> {
    pub(super) fn read(mut self, kind: KindName, table: DeTable<'_>) -> Option<RuleKind> {
        Some(match kind {
            KindName::Length => self.length(table)?,
            KindName::Words => self.words(table)?,
            KindName::Person => self.person(table)?,
            KindName::Topic => self.topic(table)?,
            KindName::Injection => self.injection(table)?,
            KindName::Pii => self.pii(table)?,
            KindName::Secrets => self.nothing(table, RuleKind::Secrets)?,
            KindName::Url => self.url(table)?,
            KindName::Language => self.language(table)?,
            KindName::Repeat => {
                let rule: RepeatRule = part(table, self.span, self.problems)?;
                if !(2..=20).contains(&rule.times) {
                    self.problem("times", "must be 2 to 20: once is no repetition");
                }
                RuleKind::Repeat(rule)
            }
            KindName::Grounding => {
                let rule: GroundingRule = part(table, self.span, self.problems)?;
                if !self.around.has_facts {
                    self.problem("grounding", "needs [facts]: against an empty fact table every figure is wrong");
                }
                RuleKind::Grounding(rule)
            }
            KindName::Leak => self.leak(table)?,
            KindName::Promise => {
                let rule: PromiseRule = part(table, self.span, self.problems)?;
                self.check_lists(&[("phrases", &rule.phrases)], true);
                self.check_lists(&[("negation", &rule.negation)], false);
                RuleKind::Promise(rule)
            }
            KindName::Schema => self.schema(table)?,
            KindName::Mention => self.mention(table)?,
            KindName::Anger => self.anger(table)?,
            KindName::Trouble => self.trouble(table)?,
            KindName::Hours => self.hours(table)?,
            KindName::Value => self.value(table)?,
            KindName::Rate => self.rate(table)?,
            KindName::Request => self.nothing(table, RuleKind::Request)?,
        })
    }

    fn nothing(&mut self, table: DeTable<'_>, kind: RuleKind) -> Option<RuleKind> {
        let Nothing {} = part(table, self.span, self.problems)?;
        Some(kind)
    }

    pub(super) fn problem(&mut self, key: &str, reason: &str) {
        self.problems.near(self.span, key, format!("'{}.{key}' {reason}", self.name));
    }

    fn length(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let number_span = table.values().next().map_or_else(|| self.span.clone(), toml::Spanned::span);
        let rule: LengthRule = part(table, self.span, self.problems)?;
        let limits =
            [("max_characters", rule.max_characters), ("max_bytes", rule.max_bytes), ("max_tokens", rule.max_tokens)];
        for (key, limit) in limits {
            if let Some(limit) = limit {
                check_number(self.problems, key, limit, &number_span, 1_000_000);
            }
        }
        if limits.iter().all(|(_, limit)| limit.is_none()) {
            self.problem(
                "max_characters",
                "is missing, and so are max_bytes and max_tokens: nothing would be too long",
            );
        }
        Some(RuleKind::Length(rule))
    }

    fn words(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: WordsRule = part(table, self.span, self.problems)?;
        if rule.patterns.is_empty() || !rule.words.is_empty() {
            self.check_lists(&[("words", &rule.words)], true);
        }
        if let Err((at, reason)) = Patterns::new(&rule.patterns) {
            let pattern = &rule.patterns[at];
            self.problems.near(self.span, pattern, format!("'{}.patterns' holds '{pattern:.80}': {reason}", self.name));
        }
        Some(RuleKind::Words(rule))
    }

    fn person(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: PersonRule = part(table, self.span, self.problems)?;
        self.check_lists(&[("alone", &rule.alone), ("phrases", &rule.phrases), ("ask", &rule.ask)], true);
        self.check_lists(&[("who", &rule.who), ("negation", &rule.negation), ("rhetorical", &rule.rhetorical)], true);
        Some(RuleKind::Person(Box::new(rule)))
    }

    fn topic(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: TopicRule = part(table, self.span, self.problems)?;
        self.check_lists(&[("about", &rule.about), ("on", &rule.on), ("off", &rule.off)], true);
        self.check_lists(&[("besides", &rule.besides)], false);
        if !(rule.unsure_at > 0.0 && rule.unsure_at <= rule.off_at && rule.off_at < 1.0) {
            self.problem("off_at", "and unsure_at must be between 0 and 1, unsure_at not above off_at");
        }
        Some(RuleKind::Topic(Box::new(rule)))
    }

    fn injection(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: InjectionRule = part(table, self.span, self.problems)?;
        if !(rule.threshold > 0.0 && rule.threshold < 1.0) {
            self.problem("threshold", "must be between 0 and 1");
        }
        Some(RuleKind::Injection(rule))
    }

    fn pii(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: PiiRule = part(table, self.span, self.problems)?;
        if rule.kinds.is_empty() {
            self.problem("kinds", "is empty; leave it out for all kinds");
        }
        Some(RuleKind::Pii(rule))
    }

    fn url(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: UrlRule = part(table, self.span, self.problems)?;
        let is_host = |host: &&String| {
            host.contains('.')
                && host.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '-')
                && !host.starts_with('.')
        };
        if let Some(other) = rule.allow.iter().find(|host| !is_host(host)) {
            self.problem("allow", &format!("holds '{other}', which is no host; write it like \"shop.example\""));
        }
        Some(RuleKind::Url(rule))
    }

    fn language(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: LanguageRule = part(table, self.span, self.problems)?;
        let is_code = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase());
        if rule.allow.is_empty() || !rule.allow.iter().all(is_code) {
            self.problem("allow", "names languages by two letters, like \"en\"; at least one");
        }
        Some(RuleKind::Language(rule))
    }

    fn leak(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: LeakRule = part(table, self.span, self.problems)?;
        if !(4..=50).contains(&rule.words) {
            self.problem("words", "must be 4 to 50: fewer words in a row are said by chance");
        }
        if let Some(canary) = &rule.canary
            && (canary.trim().len() < 8 || !self.around.instructions.contains(canary.as_str()))
        {
            self.problem(
                "canary",
                "must be 8 characters or more and stand in the instructions, else nothing can leak it",
            );
        }
        Some(RuleKind::Leak(rule))
    }

    fn schema(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: SchemaRule = part(table, self.span, self.problems)?;
        const TYPES: [&str; 5] = ["string", "number", "boolean", "array", "object"];
        if let Some((key, other)) = rule.keys.iter().find(|(_, of)| !TYPES.contains(&of.as_str())) {
            self.problem("keys", &format!("gives '{key}' the type '{other}'; the types are {}", TYPES.join(", ")));
        }
        if (rule.format == SchemaFormat::Json) == rule.keys.is_empty() {
            self.problem("keys", "belongs to the format json, and json needs it");
        }
        Some(RuleKind::Schema(rule))
    }

    pub(super) fn check_lists(&mut self, lists: &Lists<'_>, needed: bool) {
        for (key, list) in lists {
            check_locales(self.problems, self.around.locales, (self.span, &format!("{}.{key}", self.name)), list);
            if needed && list.values().all(Vec::is_empty) {
                self.problems.at(self.span, format!("'{}.{key}' has nothing to look for in any locale", self.name));
            }
            for empty in list.values().flatten().filter(|phrase| words_of(phrase).trim().is_empty()) {
                self.problems.at(self.span, format!("'{}.{key}' holds '{empty}', which has no words", self.name));
            }
        }
    }
}
