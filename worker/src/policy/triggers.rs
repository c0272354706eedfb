//! What the handoff triggers look for, as it is written in the policy: what a customer speaks of, how they speak, what
//! happened before, and when. Each may be used with any action that makes sense for it.

use serde::Deserialize;
use toml::de::DeTable;

use super::body::Body;
use super::kinds::RuleKind;
use super::rule::PerLocale;
use super::rules::part;

/// The most earlier lines that a rule may hear: as many as a turn reads.
const MOST_LINES: u32 = 20;
/// The longest window of time: as far back as a turn reads.
const MOST_MINUTES: u32 = 24 * 60;

/// Something is spoken of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MentionRule {
    /// Phrases and stems, one of which must be there.
    #[serde(default)]
    pub any: PerLocale<Vec<String>>,
    /// Groups of them, of each of which one must be there …
    #[serde(default)]
    pub all: Vec<PerLocale<Vec<String>>>,
    /// … or of so many groups.
    #[serde(default)]
    pub at_least: Option<u32>,
    /// One of these shortly before, in the same clause, turns a phrase around.
    #[serde(default)]
    pub negation: PerLocale<Vec<String>>,
    /// A phrase within one of these is not meant.
    #[serde(default)]
    pub except: PerLocale<Vec<String>>,
    /// Earlier lines of the customer's that count too, if this message says part of it.
    #[serde(default)]
    pub window: u32,
}

/// The customer is angry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AngerRule {
    /// What angry people say.
    pub words: PerLocale<Vec<String>>,
    /// One of these shortly before turns it around.
    pub negation: PerLocale<Vec<String>>,
    /// From this score on, of 1.
    #[serde(default = "AngerRule::threshold")]
    pub threshold: f64,
    /// Earlier lines of the customer's that count too, less and less.
    #[serde(default = "AngerRule::window")]
    pub window: u32,
}

impl AngerRule {
    const fn threshold() -> f64 {
        0.55
    }

    const fn window() -> u32 {
        4
    }
}

/// The conversation is not getting anywhere. At least one limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TroubleRule {
    /// From so many turns on that left a message without an answer.
    #[serde(default)]
    pub failures: Option<u32>,
    /// How long those count.
    #[serde(default = "TroubleRule::window_minutes")]
    pub window_minutes: u32,
    /// From so many times on that the same question was asked, in whatever words.
    #[serde(default)]
    pub repeats: Option<u32>,
}

impl TroubleRule {
    const fn window_minutes() -> u32 {
        60
    }
}

/// The business is closed, or takes no conversation that begins now.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursRule {
    /// A conversation that was silent for so long begins anew.
    #[serde(default = "HoursRule::new_after_minutes")]
    pub new_after_minutes: u32,
    /// Only conversations that begin are told.
    #[serde(default)]
    pub new_only: bool,
}

impl HoursRule {
    const fn new_after_minutes() -> u32 {
        12 * 60
    }
}

/// Much money or a large quantity is spoken of. At least one limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueRule {
    /// From this amount on.
    #[serde(default)]
    pub money: Option<u32>,
    /// Signs and words by which a number is money: `$`, `usd`, `pesos`.
    #[serde(default)]
    pub currencies: Vec<String>,
    /// From this number on.
    #[serde(default)]
    pub quantity: Option<u32>,
    /// Words and stems by which a number is a quantity.
    #[serde(default)]
    pub units: PerLocale<Vec<String>>,
}

/// A contact writes faster than anybody can be answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateRule {
    /// So many messages in a minute are answered as they come.
    pub per_minute: u32,
    /// Whoever has waited for so long is answered all the same.
    #[serde(default = "RateRule::patience_seconds")]
    pub patience_seconds: u32,
}

impl RateRule {
    const fn patience_seconds() -> u32 {
        300
    }
}

impl Body<'_, '_> {
    pub(super) fn mention(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: MentionRule = part(table, self.span, self.problems)?;
        if rule.any.is_empty() && rule.all.is_empty() {
            self.problem("any", "is missing, and so is all: there is nothing to look for");
        }
        if !rule.any.is_empty() {
            self.check_lists(&[("any", &rule.any)], true);
        }
        for group in &rule.all {
            self.check_lists(&[("all", group)], true);
        }
        for (key, list) in [("negation", &rule.negation), ("except", &rule.except)] {
            if !list.is_empty() {
                self.check_lists(&[(key, list)], false);
            }
        }
        let groups = u32::try_from(rule.all.len()).unwrap_or(u32::MAX);
        if rule.at_least.is_some_and(|least| !(1..=groups).contains(&least)) {
            self.problem("at_least", "must be 1 to the number of the groups under all");
        }
        self.check_window(rule.window, 0);
        Some(RuleKind::Mention(Box::new(rule)))
    }

    pub(super) fn anger(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: AngerRule = part(table, self.span, self.problems)?;
        self.check_lists(&[("words", &rule.words)], true);
        self.check_lists(&[("negation", &rule.negation)], false);
        if !(rule.threshold > 0.0 && rule.threshold <= 1.0) {
            self.problem("threshold", "must be above 0 and at most 1");
        }
        self.check_window(rule.window, 0);
        Some(RuleKind::Anger(Box::new(rule)))
    }

    pub(super) fn trouble(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: TroubleRule = part(table, self.span, self.problems)?;
        if rule.failures.is_none() && rule.repeats.is_none() {
            self.problem("failures", "is missing, and so is repeats: nothing would be trouble");
        }
        self.check_range("failures", rule.failures, (1, 20));
        self.check_range("repeats", rule.repeats, (2, MOST_LINES));
        self.check_range("window_minutes", Some(rule.window_minutes), (1, MOST_MINUTES));
        Some(RuleKind::Trouble(rule))
    }

    pub(super) fn hours(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: HoursRule = part(table, self.span, self.problems)?;
        if !self.around.has_hours {
            self.problem("hours", "needs [hours]: without it the business never closes");
        }
        self.check_range("new_after_minutes", Some(rule.new_after_minutes), (1, 30 * 24 * 60));
        Some(RuleKind::Hours(rule))
    }

    pub(super) fn value(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: ValueRule = part(table, self.span, self.problems)?;
        if rule.money.is_none() && rule.quantity.is_none() {
            self.problem("money", "is missing, and so is quantity: nothing would be much");
        }
        self.check_range("money", rule.money, (1, u32::MAX));
        self.check_range("quantity", rule.quantity, (1, u32::MAX));
        if rule.money.is_some() == rule.currencies.is_empty() {
            self.problem("currencies", "belongs to money, and money needs it");
        }
        if rule.currencies.iter().any(|currency| currency.trim().is_empty()) {
            self.problem("currencies", "holds one that is empty");
        }
        match rule.quantity {
            Some(_) => self.check_lists(&[("units", &rule.units)], true),
            None if !rule.units.is_empty() => self.problem("units", "belongs to quantity"),
            None => {}
        }
        Some(RuleKind::Value(rule))
    }

    pub(super) fn rate(&mut self, table: DeTable<'_>) -> Option<RuleKind> {
        let rule: RateRule = part(table, self.span, self.problems)?;
        self.check_range("per_minute", Some(rule.per_minute), (1, 199));
        self.check_range("patience_seconds", Some(rule.patience_seconds), (1, 3_600));
        Some(RuleKind::Rate(rule))
    }

    fn check_window(&mut self, window: u32, least: u32) {
        self.check_range("window", Some(window), (least, MOST_LINES));
    }

    fn check_range(&mut self, key: &str, number: Option<u32>, (least, most): (u32, u32)) {
        if let Some(number) = number.filter(|number| !(least..=most).contains(number)) {
            self.problem(key, &format!("is {number}; it must be {least} to {most}"));
        }
    }
}

#[cfg(test)]
mod tests;
