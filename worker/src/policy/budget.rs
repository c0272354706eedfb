//! `[budget]`: how much may be spent on models, in money and in calls. Where the first of its budgets ends, a person
//! takes over.

use std::ops::Range;

use common::domain::{Budget, ContactId, ConversationId, Micros, Money};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;

use super::error::Problems;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    currency: Option<Spanned<String>>,
    time_zone: Option<Spanned<String>>,
    conversation: Option<Spanned<WrittenCap>>,
    contact_day: Option<Spanned<WrittenCap>>,
    deployment_day: Option<Spanned<WrittenCap>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCap {
    amount: Option<Spanned<String>>,
    calls: Option<Spanned<u32>>,
}

/// One cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cap {
    amount: Option<Money>,
    calls: Option<i64>,
}

/// A policy's budgets.
#[derive(Clone, Debug)]
pub struct Spending {
    currency: Option<String>,
    time_zone: TimeZone,
    conversation: Option<Cap>,
    contact_day: Option<Cap>,
    deployment_day: Option<Cap>,
}

impl Spending {
    /// The currency of its amounts; `None` where only calls are counted, or nothing.
    #[must_use]
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    /// The budgets that a call needs room in, narrowest first: those of a conversation since its floor's `epoch`, of its
    /// contact and of the deployment on the day of a moment.
    #[must_use]
    pub fn budgets(&self, (conversation, epoch): (ConversationId, i64), contact: ContactId, at: Micros) -> Vec<Budget> {
        let day = self.day(at);
        let of_conversation = |cap: Cap| Budget::of_conversation(conversation, epoch, cap.amount, cap.calls);
        let of_contact = |cap: Cap| Budget::of_contact(contact, &day, cap.amount, cap.calls);
        let narrow = [self.conversation.map(of_conversation), self.contact_day.map(of_contact)];
        narrow.into_iter().flatten().chain(self.of_deployment(at)).collect()
    }

    /// The deployment's budget on the day of a moment, if it has one.
    #[must_use]
    pub fn of_deployment(&self, at: Micros) -> Option<Budget> {
        self.deployment_day.map(|cap| Budget::of_deployment(&self.day(at), cap.amount, cap.calls))
    }

    /// The calendar day of a moment, `2026-01-31`.
    fn day(&self, at: Micros) -> String {
        let moment = Timestamp::from_microsecond(at.0).unwrap_or_default();
        self.time_zone.to_datetime(moment).date().to_string()
    }
}

pub(super) fn read(written: Option<&Spanned<Written>>, problems: &mut Problems<'_>) -> Spending {
    let (span, nothing) = (0..0, Written::default());
    let (span, written) = written.map_or((span, &nothing), |written| (written.span(), written.get_ref()));
    let currency = written.currency.as_ref();
    if let Some(currency) = currency
        && (currency.get_ref().len() != 3 || !currency.get_ref().bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        problems.at(&currency.span(), "'currency' is a currency's three capital letters, like \"USD\"");
    }
    let mut cap = |key: &str, cap: &Option<Spanned<WrittenCap>>| {
        cap.as_ref().and_then(|cap| read_cap(key, (cap.get_ref(), &cap.span()), problems))
    };
    let conversation = cap("conversation", &written.conversation);
    let contact_day = cap("contact_day", &written.contact_day);
    let deployment_day = cap("deployment_day", &written.deployment_day);
    let in_money = [conversation, contact_day, deployment_day].into_iter().flatten().any(|cap| cap.amount.is_some());
    if in_money && currency.is_none() {
        problems.at(&span, "'budget' has an amount and no 'currency'");
    }
    Spending {
        currency: currency.filter(|_| in_money).map(|currency| currency.get_ref().clone()),
        time_zone: written.time_zone.as_ref().map_or(TimeZone::UTC, |name| time_zone(name, problems)),
        conversation,
        contact_day,
        deployment_day,
    }
}

fn read_cap(key: &str, (written, span): (&WrittenCap, &Range<usize>), problems: &mut Problems<'_>) -> Option<Cap> {
    if written.amount.is_none() && written.calls.is_none() {
        problems.at(span, format!("'budget.{key}' caps nothing; give 'amount', 'calls' or both"));
    }
    let amount = written.amount.as_ref().and_then(|amount| match amount.get_ref().parse::<Money>() {
        Ok(Money::ZERO) => {
            problems
                .at(&amount.span(), "an amount of nothing lets no model be asked; leave the budget out or write more");
            None
        }
        Ok(money) => Some(money),
        Err(error) => {
            problems.at(&amount.span(), format!("'{}' {error}", amount.get_ref()));
            None
        }
    });
    if let Some(calls) = &written.calls
        && *calls.get_ref() == 0
    {
        problems.at(&calls.span(), "'calls' is 0, which lets no model be asked; it must be at least 1");
    }
    Some(Cap { amount, calls: written.calls.as_ref().map(|calls| i64::from(*calls.get_ref())) })
}

fn time_zone(name: &Spanned<String>, problems: &mut Problems<'_>) -> TimeZone {
    TimeZone::get(name.get_ref()).unwrap_or_else(|_| {
        let reason =
            format!("'{}' is no time zone that this machine knows; write it like \"America/Lima\"", name.get_ref());
        problems.at(&name.span(), reason);
        TimeZone::UTC
    })
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    use super::*;

    const STARTER: &str = include_str!("../../../policies/shop.toml");
    const ITS_OWN: &str = "contact_day = { calls = 500 }";

    fn with(budget: &str) -> Result<Policy, String> {
        assert_eq!(STARTER.matches(ITS_OWN).count(), 1);
        Policy::parse(&STARTER.replacen(ITS_OWN, budget, 1), "test.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_budget_with_a_mistake_is_refused_with_its_line_and_reason() {
        let line = 1 + STARTER[..STARTER.find(ITS_OWN).unwrap()].matches('\n').count();
        for (budget, at, reason) in [
            ("contact_day = { calls = 0 }", line, "at least 1"),
            ("contact_day = {}", line, "'budget.contact_day' caps nothing"),
            ("contact_day = { amount = \"0.00\" }\ncurrency = \"USD\"", line, "lets no model be asked"),
            ("contact_day = { amount = \"five\" }\ncurrency = \"USD\"", line, "'five' is no amount"),
            ("contact_day = { amount = 5 }\ncurrency = \"USD\"", line, "invalid type"),
            ("contact_day = { amount = \"5\" }", line - 1, "no 'currency'"),
            ("currency = \"usd\"\ncontact_day = { amount = \"5\" }", line, "three capital letters"),
            ("time_zone = \"Mars/Olympus\"\ncontact_day = { calls = 5 }", line, "'Mars/Olympus' is no time zone"),
            ("contact_week = { calls = 5 }", line, "unknown field `contact_week`"),
        ] {
            let text = with(budget).unwrap_err();
            assert!(text.contains(&format!("test.toml:{at}: ")) && text.contains(reason), "{budget}: {text}");
        }
    }

    #[test]
    fn a_day_is_the_calendars_in_the_policys_time_zone() {
        // 2026-01-31T03:00:00Z.
        let at = Micros(1_769_828_400_000_000);
        let scope = |budget: &str| format!("{:?}", with(budget).unwrap().spending().of_deployment(at).unwrap());
        assert!(scope("deployment_day = { calls = 5 }").contains("deployment/2026-01-31"));
        let west = scope("deployment_day = { calls = 5 }\ntime_zone = \"America/Lima\"");
        assert!(west.contains("deployment/2026-01-30"), "{west}");
        assert!(with("").unwrap().spending().of_deployment(at).is_none());
    }
}
