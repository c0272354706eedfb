//! What the model is told: the policy's instructions, inline or from a file, and those of its variants.
//!
//! A prompt's text may hold `{name}`, `{locale}`, `{language}`, `{facts}` and every fact by its name; an unknown one is
//! refused. What does not change from turn to turn is rendered once for each locale and stands first in every prompt,
//! so that a provider may cache it. Facts go where `{facts}` stands, else behind the instructions.

use std::collections::BTreeMap;

use common::digest::hex_digest;
use serde::Deserialize;
use toml::Spanned;

use super::error::Problems;
use super::facts::{FactTable, filled};
use super::files::Files;

/// One prompt, ready for every locale.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    hash: String,
    instructions: String,
    steady: BTreeMap<String, String>,
}

impl Frame {
    /// First 16 hexadecimal digits of the SHA-256 of the prompt as it was written.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The instructions without any fact: what must not be repeated to anybody.
    pub(super) fn instructions(&self) -> &str {
        &self.instructions
    }

    /// What every prompt in a locale begins with.
    pub(super) fn steady(&self, locale: &str) -> &str {
        self.steady.get(locale).map_or("", String::as_str)
    }
}

/// What a prompt's text is filled with.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) name: &'a str,
    pub(super) locales: &'a [String],
    pub(super) facts: &'a FactTable,
}

/// A prompt's text; `Err` says what is wrong with it.
pub(super) fn frame(source: &str, setting: Setting<'_>) -> Result<Frame, String> {
    let Setting { name, locales, facts } = setting;
    let steady_facts = facts.steady();
    let render = |locale: &str, name: &str| {
        let values = [("name", name), ("locale", locale), ("language", language(locale)), ("facts", &*steady_facts)];
        filled(source, &values, facts)
    };
    let mut steady = BTreeMap::new();
    for locale in locales {
        let mut text = render(locale, name)?;
        if !source.contains("{facts}") && !steady_facts.is_empty() {
            text.push_str("\n\nFacts:");
            text.push_str(&steady_facts);
        }
        steady.insert(locale.clone(), text);
    }
    let blank = FactTable::default();
    let names: Vec<(String, String)> = facts.values().into_iter().map(|(name, _)| (name, String::new())).collect();
    let mut values = vec![("name", name), ("locale", ""), ("language", ""), ("facts", "")];
    values.extend(names.iter().map(|(name, nothing)| (name.as_str(), nothing.as_str())));
    let instructions = filled(source, &values, &blank)?;
    Ok(Frame { hash: hex_digest(source.as_bytes(), 16), instructions, steady })
}

/// A locale's language as a model is told it; the locale itself where we know no name.
#[must_use]
pub fn language(locale: &str) -> &str {
    match locale.split(['-', '_']).next().unwrap_or(locale) {
        "ar" => "Arabic",
        "de" => "German",
        "en" => "English",
        "es" => "Spanish",
        "fr" => "French",
        "it" => "Italian",
        "nl" => "Dutch",
        "pt" => "Portuguese",
        _ => locale,
    }
}

/// What is written for an answer to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// The reply itself.
    #[default]
    Text,
    /// One JSON object with the reply in it.
    Json,
}

/// The type of a declared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text.
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl FieldType {
    /// Its word in JSON's schemas.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What form the model's answer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerForm {
    /// Text or JSON.
    pub format: AnswerFormat,
    /// Fields that a JSON answer holds besides the reply; each may be null.
    pub fields: BTreeMap<String, FieldType>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenForm {
    #[serde(default)]
    format: AnswerFormat,
    #[serde(default)]
    fields: BTreeMap<Spanned<String>, FieldType>,
}

/// Keys that every JSON answer has.
const RESERVED: [&str; 3] = ["reply", "handoff", "reason"];

pub(super) fn form(written: Option<WrittenForm>, problems: &mut Problems<'_>) -> AnswerForm {
    let WrittenForm { format, fields } = written.unwrap_or_default();
    for name in fields.keys() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
            problems.at(&name.span(), format!("'{}' is no field; use a-z, 0-9 and '_'", name.get_ref()));
        } else if RESERVED.contains(&name.get_ref().as_str()) {
            problems.at(&name.span(), format!("every answer has '{}' already", name.get_ref()));
        } else if format == AnswerFormat::Text {
            problems.at(&name.span(), "an answer that is text has no fields; write format = \"json\"");
        }
    }
    AnswerForm { format, fields: fields.into_iter().map(|(name, of)| (name.into_inner(), of)).collect() }
}

/// Another prompt, or other models, for a share of the conversations.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its name, unique; traces say which conversation had it.
    pub name: String,
    /// Its share of the conversations, above 0 and at most 1.
    pub share: f64,
    /// The models it asks, in order; the configured ones where it names none.
    pub models: Vec<String>,
    /// Its prompt; the policy's where it names none.
    pub(super) frame: Option<Frame>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenVariant {
    name: Spanned<String>,
    share: Spanned<f64>,
    prompt: Option<Spanned<String>>,
    #[serde(default)]
    models: Vec<String>,
}

pub(super) fn variants(
    written: &[Spanned<WrittenVariant>],
    setting: Setting<'_>,
    files: &mut Files,
    problems: &mut Problems<'_>,
) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    for variant in written {
        let WrittenVariant { name, share, prompt, models } = variant.get_ref();
        if !(*share.get_ref() > 0.0 && *share.get_ref() <= 1.0) {
            problems.at(&share.span(), "'share' is above 0 and at most 1");
        }
        if name.get_ref().trim().is_empty() || variants.iter().any(|known| known.name == *name.get_ref()) {
            problems.at(&name.span(), format!("'{}' is no name of its own for a variant", name.get_ref()));
        }
        if prompt.is_none() && models.is_empty() {
            problems.at(&name.span(), "a variant has a prompt or models of its own, else it varies nothing");
        }
        let made = prompt.as_ref().and_then(|path| {
            let made = files.text(path.get_ref()).and_then(|source| frame(&source, setting));
            made.map_err(|reason| problems.at(&path.span(), format!("'{}' {reason}", path.get_ref()))).ok()
        });
        let (name, models) = (name.get_ref().clone(), models.clone());
        variants.push(Variant { name, share: *share.get_ref(), models, frame: made });
    }
    let whole: f64 = variants.iter().map(|variant| variant.share).sum();
    if let Some(last) = written.last().filter(|_| whole > 1.0 + 1e-9) {
        problems.at(&last.span(), format!("the variants' shares come to {whole:.2}; together they are at most 1"));
    }
    variants
}

/// The variant of a conversation: always the same one while the variants keep their names. The key is those names, so
/// that a new trial draws anew, and a share that only grows takes nobody out.
pub(super) fn drawn<'a>(variants: &'a [Variant], conversation: &str) -> Option<&'a Variant> {
    let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
    let digits = hex_digest(serde_json::json!([names, conversation]).to_string().as_bytes(), 12);
    let drawn = u64::from_str_radix(&digits, 16).unwrap_or(0) as f64 / (1_u64 << 48) as f64;
    let mut upto = 0.0;
    variants.iter().find(|variant| {
        upto += variant.share;
        drawn < upto
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(name: &str, share: f64) -> Variant {
        Variant { name: name.to_owned(), share, models: vec!["other".to_owned()], frame: None }
    }

    #[test]
    fn a_conversation_keeps_its_variant_and_the_shares_are_kept() {
        let variants = [variant("canary", 0.1), variant("short", 0.4)];
        let drawn_of = |variants: &[Variant], at: usize| drawn(variants, &format!("c-{at}")).map(|v| v.name.clone());
        let count = |name: Option<&str>| (0..4_000).filter(|at| drawn_of(&variants, *at).as_deref() == name).count();
        assert!((320..480).contains(&count(Some("canary"))), "{}", count(Some("canary")));
        assert!((1_480..1_720).contains(&count(Some("short"))), "{}", count(Some("short")));
        assert!((0..200).all(|at| drawn_of(&variants, at) == drawn_of(&variants, at)));
        // More of the last one takes nobody out of either.
        let more = [variant("canary", 0.1), variant("short", 0.8)];
        assert!(
            (0..4_000).all(|at| drawn_of(&variants, at).is_none() || drawn_of(&more, at) == drawn_of(&variants, at))
        );
        assert!(drawn(&[], "c-1").is_none());
    }

    #[test]
    fn what_must_not_be_repeated_holds_no_fact_and_what_is_steady_holds_them_once() {
        let facts = FactTable::default();
        let setting = Setting { name: "Ana", locales: &["es".to_owned()], facts: &facts };
        let made = frame("You are {name}. Answer in {language}.", setting).unwrap();
        assert_eq!(made.steady("es"), "You are Ana. Answer in Spanish.");
        assert_eq!(made.instructions(), "You are Ana. Answer in .");
        assert!(frame("You are {nmae}.", setting).unwrap_err().contains("'{nmae}'"));
    }
}
