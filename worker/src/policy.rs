//! The policy: what may be said, as data. One TOML file, read whole before any of it is used.
//!
//! Promised: a policy with an unknown key or kind, a missing locale, an unknown variable or an impossible number is
//! refused with every reason, each with its line; what loads is complete, so that nothing downstream asks "is there a
//! text for that?". Its version is a hash of its bytes and those of the files it names: the same version is the same
//! policy, and a trace that names it can be judged again later.

mod body;
mod budget;
mod error;
mod facts;
mod faq;
mod files;
mod fixtures;
mod floor;
mod hours;
mod kinds;
mod locale;
mod overlap;
mod prompts;
mod reading;
mod rule;
mod rules;
mod teams;
mod template;
mod texts;
mod told;
mod triggers;

use std::collections::BTreeMap;
use std::path::Path;

use common::domain::Call;
use serde::Deserialize;

pub use budget::Spending;
pub use error::{PolicyError, PolicyProblem};
pub use facts::{Fact, FactKind, FactTable};
pub use faq::{AnswerCache, Faq, Faqs, bare};
pub use files::PolicyFile;
pub use fixtures::{Expected, Fixture};
pub use floor::FloorRules;
pub use hours::Hours;
pub use prompts::{AnswerForm, AnswerFormat, FieldType, Frame, Variant, language};
pub use rule::{
    Action, AngerRule, GroundingRule, HoursRule, InjectionRule, KindName, LanguageRule, LeakRule, LengthRule,
    MentionRule, OnError, PerLocale, PersonRule, PiiRule, PromiseRule, RateRule, RepeatRule, Rule, RuleKind, RuleMode,
    RuleStage, SchemaFormat, SchemaRule, Scope, TopicRule, TroubleRule, UrlRule, ValueRule, WordsRule,
};
pub use teams::{ShownContact, Team};
pub use texts::Notice;

use crate::recovery::Class;
use lens::View;
use locale::Cues;
use texts::Texts;

const STARTER: &str = include_str!("../../policies/shop.toml");

/// What to do with a send of which nobody can say whether it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Say nothing again; list it for a person.
    Silent,
    /// Say it again.
    Resend,
}

/// What follows when a model declines to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRefusal {
    /// No other model is asked.
    #[default]
    End,
    /// The next of the chain is asked.
    Next,
}

/// What becomes of the rest of a conversation after one of its messages was parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterDead {
    /// It goes on without that message.
    Park,
    /// It waits until a person has dealt with it.
    Hold,
}

/// A policy that was read whole and found sound.
#[derive(Clone, Debug)]
pub struct Policy {
    version: String,
    name: String,
    frame: Frame,
    variants: Vec<Variant>,
    locales: Vec<String>,
    default_locale: String,
    max_output_tokens: u32,
    history_tokens: u32,
    on_unknown: OnUnknown,
    after_refusal: AfterRefusal,
    after_dead: BTreeMap<Class, AfterDead>,
    spending: Spending,
    facts: FactTable,
    faqs: Faqs,
    cache: AnswerCache,
    form: AnswerForm,
    hours: Hours,
    cues: Cues,
    texts: Texts,
    rules: Vec<Rule>,
    file: String,
    files: Vec<PolicyFile>,
    fixtures: Vec<Fixture>,
    floor: FloorRules,
    teams: Vec<Team>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] with every reason, by line.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(source) => reading::read(&source, &file, Some(path)),
            Err(error) => {
                let reason = format!("cannot be read ({}); name a UTF-8 file that this user may read", error.kind());
                Err(PolicyError { file, problems: vec![PolicyProblem { line: 1, reason }] })
            }
        }
    }

    /// The policy that is compiled in: a starter for any shop.
    ///
    /// # Errors
    /// None once its test has passed; it is held to the rules of every other policy.
    pub fn starter() -> Result<Self, PolicyError> {
        Self::parse(STARTER, "policies/shop.toml (compiled in)")
    }

    /// Reads a policy that lies nowhere: what it names must be compiled in. `file` is its name in errors.
    ///
    /// # Errors
    /// As for [`Policy::load`].
    pub fn parse(source: &str, file: &str) -> Result<Self, PolicyError> {
        reading::read(source, file, None)
    }

    /// First 12 hexadecimal digits of the SHA-256 of the policy and every file that it names.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The assistant's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its locales, in the file's order.
    #[must_use]
    pub fn locales(&self) -> &[String] {
        &self.locales
    }

    /// The locale where none can be told.
    #[must_use]
    pub fn default_locale(&self) -> &str {
        &self.default_locale
    }

    /// The most a model may write.
    #[must_use]
    pub const fn max_output_tokens(&self) -> u32 {
        self.max_output_tokens
    }

    /// The most history a model is given.
    #[must_use]
    pub const fn history_tokens(&self) -> u32 {
        self.history_tokens
    }

    /// What to do with an unknown send.
    #[must_use]
    pub const fn on_unknown(&self) -> OnUnknown {
        self.on_unknown
    }

    /// What follows when a model declines to answer.
    #[must_use]
    pub const fn after_refusal(&self) -> AfterRefusal {
        self.after_refusal
    }

    /// How much may be spent on models.
    #[must_use]
    pub const fn spending(&self) -> &Spending {
        &self.spending
    }

    /// What becomes of the rest of a conversation after a message that died of this class.
    #[must_use]
    pub fn after_dead(&self, class: Class) -> AfterDead {
        self.after_dead.get(&class).copied().unwrap_or(AfterDead::Park)
    }

    /// The words of the classes after which a conversation is held: what [`Store::hold_after`] wants to know.
    ///
    /// [`Store::hold_after`]: common::store::Store::hold_after
    pub fn held_classes(&self) -> impl Iterator<Item = &'static str> {
        Class::ALL.into_iter().filter(|class| self.after_dead(*class) == AfterDead::Hold).map(Class::as_str)
    }

    /// What the assistant may state, by name.
    #[must_use]
    pub const fn facts(&self) -> &BTreeMap<String, String> {
        self.facts.texts()
    }

    /// When the business is open; always, where the policy does not say.
    #[must_use]
    pub const fn hours(&self) -> &Hours {
        &self.hours
    }

    /// Its rules, in the file's order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What it expects of itself, in the file's order.
    #[must_use]
    pub fn fixtures(&self) -> &[Fixture] {
        &self.fixtures
    }

    /// How long people have a conversation, and what its customer hears meanwhile.
    #[must_use]
    pub const fn floor(&self) -> &FloorRules {
        &self.floor
    }

    /// Its teams, in the file's order.
    #[must_use]
    pub fn teams(&self) -> &[Team] {
        &self.teams
    }

    /// The team that a call is for: the one it names, else the first.
    #[must_use]
    pub fn team(&self, call: &Call) -> Option<&Team> {
        teams::called(&self.teams, call)
    }

    /// The file that it was read from, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The locale that a text's words speak for; `None` when none does, or several do alike.
    #[must_use]
    pub fn detect(&self, text: &str) -> Option<&str> {
        self.detect_in(&View::plain(text))
    }

    /// As [`detect`](Self::detect), of a text that was folded already.
    #[must_use]
    pub fn detect_in(&self, plain: &View) -> Option<&str> {
        self.cues.detect(&plain.text).map(|index| self.locales[index].as_str())
    }

    /// The policy's own locale for one of another origin: itself, its language, or the default.
    #[must_use]
    pub fn locale_or_default(&self, locale: &str) -> &str {
        let language = locale.split(['-', '_']).next().unwrap_or(locale);
        let known = |wanted: &str| self.locales.iter().find(|known| known.eq_ignore_ascii_case(wanted));
        known(locale).or_else(|| known(language)).map_or(self.default_locale(), String::as_str)
    }

    /// A text of the policy's own. Only the guardrails may make it fit to send.
    pub(crate) fn say(&self, notice: &Notice, locale: &str) -> String {
        let locale = self.locale_or_default(locale);
        let replies = |name: &str| {
            let rule = self.rules.iter().find(|known| known.name == name)?;
            rule.reply.as_ref()?.get(locale)
        };
        let reply = match notice {
            Notice::Stopped(rule) => replies(rule).map(|text| template::fill(text, &[])),
            Notice::Closed { rule, at, new } => {
                replies(rule).map(|text| template::fill(text, &[("opens", &self.hours.opens(*at, *new, locale))]))
            }
            Notice::Blocked
            | Notice::HandedOff
            | Notice::Unreadable(_)
            | Notice::Failure
            | Notice::Holding
            | Notice::Courtesy
            | Notice::Returned => None,
        };
        reply.unwrap_or_else(|| self.texts.say(notice, locale))
    }

    /// What whoever comes is told of a call, by locale.
    pub(crate) fn summary(&self, rule: &Rule, reason: &str) -> PerLocale<String> {
        let team = rule.team.as_deref().unwrap_or_default();
        let values =
            [("rule", rule.name.as_str()), ("reason", reason), ("team", team), ("priority", rule.priority.as_str())];
        let texts = rule.summary.iter().flatten();
        texts.map(|(locale, text)| (locale.clone(), template::fill(text, &values))).collect()
    }
}

#[cfg(test)]
mod tests;
