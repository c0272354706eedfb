//! Two rules that would decide about the same thing, so that which of them is named in a trace is chance.

use std::collections::BTreeSet;

use lens::words_of;

use super::kinds::RuleKind;
use super::rule::{PerLocale, Rule, RuleMode};

/// Why two rules overlap; `None` where they do not. A shadow beside an enforced rule is how one is tried, and fine.
pub(super) fn between(one: &Rule, other: &Rule) -> Option<String> {
    let enforced = one.mode == RuleMode::Enforce && other.mode == RuleMode::Enforce;
    if !enforced || one.stage != other.stage || !one.scope.meets(&other.scope) {
        return None;
    }
    let told = |what: String| {
        let fix = "join them, or part them by channels or locales";
        format!("the rules '{}' and '{}' overlap: {what}; {fix}", one.name, other.name)
    };
    match (&one.kind, &other.kind) {
        (RuleKind::Words(one), RuleKind::Words(other)) => {
            shared(&one.words, &other.words).map(|word| told(format!("both look for '{word}'")))
        }
        (RuleKind::Promise(one), RuleKind::Promise(other)) => {
            shared(&one.phrases, &other.phrases).map(|word| told(format!("both look for '{word}'")))
        }
        (RuleKind::Pii(one), RuleKind::Pii(other)) => {
            let both = one.kinds.iter().any(|kind| other.kinds.contains(kind));
            both.then(|| told("both look for the same kind of personal data".to_owned()))
        }
        (RuleKind::Mention(one), RuleKind::Mention(other)) if one.all.is_empty() && other.all.is_empty() => {
            shared(&one.any, &other.any).map(|word| told(format!("both look for '{word}'")))
        }
        // Groups are looked for together, so that a word of one may well be a word of another.
        (RuleKind::Mention(_), RuleKind::Mention(_)) => None,
        (RuleKind::Trouble(one), RuleKind::Trouble(other)) => {
            let same = one.failures.is_some() == other.failures.is_some();
            same.then(|| told("both count the same".to_owned()))
        }
        // Of two limits the higher one may call for more.
        (RuleKind::Value(one), RuleKind::Value(other)) => {
            let same = [(one.money, other.money), (one.quantity, other.quantity)];
            let same = same.iter().any(|(one, other)| one.is_some() && one == other);
            same.then(|| told("both have the same limit".to_owned()))
        }
        (one, other) => (one.name() == other.name()).then(|| told("they are of one kind".to_owned())),
    }
}

fn shared(one: &PerLocale<Vec<String>>, other: &PerLocale<Vec<String>>) -> Option<String> {
    let words = |list: &PerLocale<Vec<String>>| -> BTreeSet<String> {
        list.values().flatten().map(|phrase| words_of(phrase)).collect()
    };
    words(one).intersection(&words(other)).next().cloned()
}
