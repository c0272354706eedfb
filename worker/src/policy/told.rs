//! What a turn asks a policy besides its rules: what the model is told, and what needs no model.

use super::prompts;
use super::{
    AnswerCache, AnswerForm, FactTable, Faqs, Frame, Policy, PolicyFile, Rule, RuleKind, RuleMode, RuleStage, Variant,
};

impl Policy {
    /// What every prompt in the default locale begins with: the instructions and the facts.
    #[must_use]
    pub fn system(&self) -> &str {
        self.steady(None, &self.default_locale)
    }

    /// What every prompt of a variant begins with in one of the policy's locales.
    #[must_use]
    pub fn steady(&self, variant: Option<&str>, locale: &str) -> &str {
        self.frame(variant).steady(self.locale_or_default(locale))
    }

    /// The prompt of a variant; the policy's own for one that has none.
    #[must_use]
    pub fn frame(&self, variant: Option<&str>) -> &Frame {
        let known = variant.and_then(|name| self.variants.iter().find(|variant| variant.name == name));
        known.and_then(|variant| variant.frame.as_ref()).unwrap_or(&self.frame)
    }

    /// The instructions without the facts: what must not be repeated to anybody.
    #[must_use]
    pub fn instructions(&self) -> &str {
        self.frame.instructions()
    }

    /// Every prompt's instructions: the policy's own, then its variants'.
    pub fn all_instructions(&self) -> impl Iterator<Item = &str> {
        let others = self.variants.iter().filter_map(|variant| variant.frame.as_ref());
        std::iter::once(&self.frame).chain(others).map(Frame::instructions)
    }

    /// Its variants, in the file's order.
    #[must_use]
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// The variant that a conversation has, by its id; `None` for the policy's own prompt and models.
    #[must_use]
    pub fn variant_of(&self, conversation: &str) -> Option<&Variant> {
        prompts::drawn(&self.variants, conversation)
    }

    /// What it answers itself.
    #[must_use]
    pub const fn faqs(&self) -> &Faqs {
        &self.faqs
    }

    /// Which of the model's answers are kept.
    #[must_use]
    pub const fn cache(&self) -> AnswerCache {
        self.cache
    }

    /// What form the model's answer has.
    #[must_use]
    pub const fn answer_form(&self) -> &AnswerForm {
        &self.form
    }

    /// The most characters that a rule at the output lets a draft have.
    #[must_use]
    pub fn most_characters(&self) -> Option<u32> {
        let limit = |rule: &Rule| match &rule.kind {
            RuleKind::Length(length) if rule.stage == RuleStage::Output && rule.mode == RuleMode::Enforce => {
                length.max_characters
            }
            _ => None,
        };
        self.rules.iter().filter_map(limit).min()
    }

    /// The files that it was read with.
    #[must_use]
    pub fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    /// What the assistant may state, with what each fact is.
    #[must_use]
    pub const fn fact_table(&self) -> &FactTable {
        &self.facts
    }
}
