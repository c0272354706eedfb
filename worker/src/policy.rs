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
mod kinds;
mod locale;
mod overlap;
mod prompts;
mod reading;
mod rule;
mod rules;
mod template;
mod texts;
mod told;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

pub use budget::Spending;
pub use error::{PolicyError, PolicyProblem};
pub use facts::{Fact, FactKind, FactTable};
pub use faq::{AnswerCache, Faq, Faqs, bare};
pub use files::PolicyFile;
pub use fixtures::{Expected, Fixture};
pub use prompts::{AnswerForm, AnswerFormat, FieldType, Frame, Variant, language};
pub use rule::{
    Action, GroundingRule, InjectionRule, KindName, LanguageRule, LeakRule, LengthRule, OnError, PerLocale, PersonRule,
    PiiRule, PromiseRule, RepeatRule, Rule, RuleKind, RuleMode, RuleStage, SchemaFormat, SchemaRule, Scope, TopicRule,
    UrlRule, WordsRule,
};
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
    cues: Cues,
    texts: Texts,
    rules: Vec<Rule>,
    file: String,
    files: Vec<PolicyFile>,
    fixtures: Vec<Fixture>,
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
        if let Notice::Stopped(rule) = notice {
            let rule = self.rules.iter().find(|known| known.name == *rule);
            if let Some(text) = rule.and_then(|rule| rule.reply.as_ref()).and_then(|reply| reply.get(locale)) {
                return text.trim().to_owned();
            }
        }
        self.texts.say(notice, locale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(source: &str) -> String {
        Policy::parse(source, "test.toml").unwrap_err().to_string()
    }

    fn changed(from: &str, to: &str) -> String {
        assert_eq!(STARTER.matches(from).count(), 1, "'{from}' must stand once in the starter");
        STARTER.replacen(from, to, 1)
    }

    fn line_of(part: &str) -> usize {
        1 + STARTER[..STARTER.find(part).unwrap()].matches('\n').count()
    }

    #[test]
    fn the_starter_is_sound_and_its_version_is_its_content() {
        let policy = Policy::starter().unwrap();
        assert_eq!(policy.locales(), ["en", "es", "pt"]);
        assert_eq!(policy.rules().len(), 19);
        assert_eq!(policy.on_unknown(), OnUnknown::Silent);
        assert_eq!(policy.version().len(), 12);
        assert_eq!(policy.version(), Policy::parse(STARTER, "elsewhere").unwrap().version());
        assert_ne!(policy.version(), Policy::parse(&format!("{STARTER}\n"), "test.toml").unwrap().version());
    }

    #[test]
    fn the_instructions_name_the_assistant_say_what_it_is_and_hold_every_fact() {
        let policy = Policy::starter().unwrap();
        assert!(policy.system().starts_with(&format!("You are {}.", policy.name())));
        assert!(policy.system().contains("automated assistant"));
        assert!(policy.facts().values().all(|fact| policy.system().contains(fact)));
    }

    #[test]
    fn every_notice_speaks_every_locale_and_an_unknown_locale_gets_the_default() {
        let policy = Policy::starter().unwrap();
        let unreadable = Notice::Unreadable(vec!["image".into(), "image".into(), "hologram".into()]);
        let notices =
            [Notice::Blocked, Notice::HandedOff, Notice::Failure, Notice::Holding, Notice::Returned, unreadable];
        for notice in &notices {
            let texts: Vec<_> = ["en", "es", "pt"].map(|locale| policy.say(notice, locale)).into();
            assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('{')), "{texts:?}");
            assert!(texts[0] != texts[1] && texts[1] != texts[2]);
            assert_eq!(policy.say(notice, "xx"), texts[0]);
            assert_eq!(policy.say(notice, "pt-BR"), texts[2]);
        }
        assert!(policy.say(&notices[5], "es").contains("imágenes, este tipo de mensaje"));
    }

    #[test]
    fn the_language_of_a_short_message_is_told_or_left_open() {
        let policy = Policy::starter().unwrap();
        for (text, locale) in [
            ("What are your opening hours?", Some("en")),
            ("Can I return this?", Some("en")),
            ("¿Cuándo llega mi pedido?", Some("es")),
            ("Hola, ¿cuánto cuesta el envío?", Some("es")),
            ("quiero hablar con una persona", Some("es")),
            ("Quando chega o meu pedido?", Some("pt")),
            ("Oi, vocês têm isso em azul?", Some("pt")),
            ("quero falar com uma pessoa", Some("pt")),
            ("ok", None),
            ("12345", None),
            ("", None),
        ] {
            assert_eq!(policy.detect(text), locale, "{text}");
        }
    }

    #[test]
    fn a_policy_with_a_mistake_is_refused_with_its_line_and_reason() {
        let rule = "name = \"forbidden-words\"";
        for (from, to, line, reason) in [
            (
                "history_tokens = 2000",
                "histroy_tokens = 2000",
                line_of("history_tokens"),
                "unknown field `histroy_tokens`",
            ),
            ("history_tokens = 2000", "history_tokens = -1", line_of("history_tokens"), "-1"),
            ("max_output_tokens = 500", "max_output_tokens = 0", line_of("max_output_tokens"), "at least 1"),
            ("default_locale = \"en\"", "default_locale = \"fr\"", line_of("default_locale"), "'fr' is not among"),
            ("on_unknown = \"silent\"", "on_unknown = \"loud\"", line_of("on_unknown"), "loud"),
            ("prompt = \"prompts/shop.txt\"", "prompt = \"shop.txt\"", line_of("prompt ="), "there is no 'shop.txt'"),
            ("prompt = \"prompts/shop.txt\"", "instructions = \"Hi, {nmae}\"", line_of("prompt ="), "'{nmae}'"),
            ("prompt = \"prompts/shop.txt\"", "instructions = \"\"", line_of("prompt ="), "'instructions' is empty"),
            ("I can't read {what} yet.", "I can't read {waht} yet.", line_of("I can't read"), "'{waht}'"),
            ("es = \"imágenes\"\n", "", line_of("[media.image]"), "'media.image' has nothing for 'es'"),
            ("[texts.failure]", "[texts.failing]", line_of("[texts.failure]"), "unknown text 'failing'"),
            ("[media.other]", "[media.another]", line_of("[media.image]"), "'other'"),
            (rule, "name = \"input-length\"", line_of(rule), "two rules are named 'input-length'"),
            (rule, "name = \"forbidden-words\"\nsampel = 3", line_of(rule) + 1, "unknown field `sampel`"),
            (rule, "name = \"forbidden-words\"\nsample = 3.0", line_of(rule) + 1, "'sample' is a share"),
            ("kind = \"person\"", "kind = \"alien\"", line_of("kind = \"person\""), "unknown kind 'alien'"),
            ("max_characters = 1200", "max_characters = 0", line_of("max_characters = 1200"), "at least 1"),
            ("max_characters = 1200", "max_characters = \"many\"", line_of("max_characters = 1200"), "invalid type"),
            ("[rule.rhetorical]", "[rule.rethorical]", line_of("[rule.rhetorical]"), "unknown field `rethorical`"),
        ] {
            let text = reasons(&changed(from, to));
            let found = text.lines().any(|l| l.contains(&format!("test.toml:{line}:")) && l.contains(reason));
            assert!(found, "'{to}' should be refused at line {line} for {reason}:\n{text}");
        }
    }

    #[test]
    fn what_follows_a_dead_message_is_the_policys_to_say_for_each_class() {
        let table = "[after_dead]\ndefault = \"hold\"\ncrash = \"park\"\n\n[facts]\nhours";
        let policy = Policy::parse(&changed("[facts]\nhours", table), "test.toml").unwrap();
        assert_eq!(policy.after_dead(Class::Crash), AfterDead::Park);
        assert_eq!(policy.after_dead(Class::Poison), AfterDead::Hold);
        assert!(Class::ALL.iter().all(|class| Policy::starter().unwrap().after_dead(*class) == AfterDead::Park));
        for (line, reason) in [("crush = \"hold\"", "unknown class 'crush'"), ("crash = \"stop\"", "stop")] {
            let text = reasons(&changed("[facts]\nhours", &format!("[after_dead]\n{line}\n\n[facts]\nhours")));
            assert!(text.contains(reason), "{line}\n{text}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once_and_in_order() {
        let source =
            changed("history_tokens = 2000", "history_tokens = 2000000").replace("[texts.failure]", "[texts.fail]");
        let error = Policy::parse(&source, "test.toml").unwrap_err();
        let lines: Vec<_> = error.problems.iter().map(|p| p.line).collect();
        assert!(lines.len() >= 3, "{error}");
        assert!(lines.is_sorted());
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused() {
        let rule = |body: &str| format!("{STARTER}\n[[rule]]\nname = \"new\"\nmode = \"enforce\"\n{body}\n");
        for (body, reason) in [
            ("kind = \"length\"\nstage = \"input\"\naction = \"redact\"\nmax_characters = 5", "cannot 'redact'"),
            ("kind = \"length\"\nstage = \"input\"\naction = \"block\"", "nothing would be too long"),
            (
                "kind = \"length\"\nstage = \"input\"\naction = \"block\"\nmax_bytes = 9",
                "overlap: they are of one kind",
            ),
            (
                "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"Fake   INVOICE\"], es = [], pt = [] }",
                "overlap: both look for 'fake invoice'",
            ),
            ("kind = \"words\"\nstage = \"input\"\naction = \"block\"\npatterns = ['(a+)+$']", "repeats a repetition"),
            ("kind = \"words\"\nstage = \"input\"\naction = \"block\"\npatterns = ['a{9}{999}{99}']", "more than"),
            ("kind = \"repeat\"\nstage = \"input\"\naction = \"block\"\ntimes = 1", "must be 2 to 20"),
            ("kind = \"topic\"\nstage = \"output\"\naction = \"block\"", "cannot 'block' at the output stage"),
            ("kind = \"language\"\nstage = \"input\"\naction = \"block\"\nallow = [\"english\"]", "two letters"),
            ("kind = \"schema\"\nstage = \"output\"\naction = \"block\"\nformat = \"json\"", "json needs it"),
            ("kind = \"url\"\nstage = \"input\"\naction = \"block\"\nallow = [\"http://x.example\"]", "is no host"),
            (
                "kind = \"leak\"\nstage = \"output\"\naction = \"block\"\ncanary = \"not in there\"",
                "stand in the instructions",
            ),
            (
                "kind = \"repeat\"\nstage = \"output\"\naction = \"block\"\ntimes = 3\nreply = { en = \"no {thing}\", es = \"no\", pt = \"no\" }",
                "'{thing}'",
            ),
            (
                "kind = \"repeat\"\nstage = \"output\"\naction = \"block\"\ntimes = 3\nreply = { en = \"no\" }",
                "nothing for 'pt'",
            ),
            (
                "kind = \"repeat\"\nstage = \"output\"\naction = \"allow\"\ntimes = 3\nreply = { en = \"a\", es = \"a\", pt = \"a\" }",
                "never be said",
            ),
            ("kind = \"repeat\"\nstage = \"output\"\naction = \"allow\"\ntimes = 3\nlocales = [\"fr\"]", "'fr'"),
            ("kind = \"repeat\"\nstage = \"output\"\naction = \"allow\"\ntimes = 3\non_error = \"shrug\"", "shrug"),
            ("kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"x\"], es = [\"x\"] }", "'pt'"),
            (
                "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [], es = [], pt = [] }",
                "nothing to",
            ),
            (
                "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"!?\"], es = [], pt = [] }",
                "'!?'",
            ),
            (
                "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"x\"], es = [], pt = [], fr = [] }",
                "'fr'",
            ),
            (
                "kind = \"words\"\nstage = \"sideways\"\naction = \"block\"\nwords = { en = [\"x\"], es = [], pt = [] }",
                "sideways",
            ),
            ("stage = \"input\"\naction = \"block\"", "has no kind"),
        ] {
            let text = reasons(&rule(body));
            assert!(text.contains(reason), "{body}\n{text}");
        }
    }

    #[test]
    fn figures_cannot_be_held_to_an_empty_fact_table() {
        let facts = &STARTER[STARTER.find("[facts]").unwrap()..STARTER.find("# Words that tell").unwrap()];
        let text = reasons(&changed(facts, ""));
        let line = changed(facts, "").lines().position(|line| line == "name = \"grounding\"").unwrap() + 1;
        assert!(text.contains(&format!("test.toml:{line}:")) && text.contains("needs [facts]"), "{text}");
        assert!(reasons(&changed(facts, "[facts]\n\n")).contains("the fact table is empty"));
    }

    #[test]
    fn a_fixture_that_names_no_rule_or_has_no_text_is_refused() {
        let with = |body: &str| reasons(&format!("{STARTER}\n[[fixture]]\noutcome = \"block\"\n{body}\n"));
        assert!(with("texts = [\"x\"]\nrule = \"nobody\"").contains("no rule of that stage is named 'nobody'"));
        assert!(with("texts = []").contains("proves nothing"));
        assert!(with("texts = [\"x\"]\ncolour = 1").contains("unknown field `colour`"));
    }

    #[test]
    fn a_file_that_is_no_toml_or_is_absent_is_refused_by_name() {
        assert!(reasons("[assistant\nname = 1").contains("test.toml:1:"));
        assert!(reasons("").contains("missing field `assistant`"));
        let absent = Policy::load(Path::new("/nowhere/at-all.toml")).unwrap_err().to_string();
        assert!(absent.contains("/nowhere/at-all.toml:1: cannot be read"), "{absent}");
    }
}
