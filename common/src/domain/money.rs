//! Money: whole nano-units of a currency that is named beside them. A token costs fractions of a cent, and fractions
//! that are rounded before they are added up are how a cap is passed.
//!
//! What a price leaves over a whole nano-unit is rounded up, so that a sum of costs is never less than what is owed.

use std::fmt;
use std::str::FromStr;

use crate::digest::hex_digest;

/// Decimal places of a unit.
const PLACES: usize = 9;
/// What a price is for so many of.
const PER_TOKENS: i128 = 1_000_000;
/// The largest amount that may be written: what is added up from such stays far below an integer's end.
const MOST: i64 = 1_000_000 * 1_000_000_000;

/// An amount, in nano-units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
}

/// A text that is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no amount: write it as text, like \"0.15\", with nine decimal places and a million at most")]
pub struct NotMoney;

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > PLACES || whole.len() > 7 {
            return Err(NotMoney);
        }
        let nanos: i64 = format!("{whole}{part:0<PLACES$}").parse().map_err(|_| NotMoney)?;
        if nanos > MOST { Err(NotMoney) } else { Ok(Self(nanos)) }
    }
}

impl fmt::Display for Money {
    /// As it would be written: no exponent, at least two decimal places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let part = format!("{part:0PLACES$}");
        let shown = part.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{whole}.{}", &part[..shown])
    }
}

/// What is charged for a call that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// What it cost.
    Cost(Money),
    /// What was reserved: it left, and nobody says what it used.
    Reserved,
    /// Nothing, not even the call: it is proved that it was not sent.
    Nothing,
}

/// What one call used, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read, those from the provider's cache included.
    pub read: u64,
    /// Of them, read from the cache.
    pub cached: u64,
    /// Written.
    pub written: u64,
}

/// What a model costs, for each million tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    currency: Option<String>,
    read: Money,
    cached: Money,
    written: Money,
    version: String,
}

impl Prices {
    /// A table; its version is a hash of it.
    #[must_use]
    pub fn new(currency: &str, read: Money, cached: Money, written: Money) -> Self {
        let table = format!("{currency} {} {} {}", read.0, cached.0, written.0);
        let version = hex_digest(table.as_bytes(), 12);
        Self { currency: Some(currency.to_owned()), read, cached, written, version }
    }

    /// Of what is known to cost nothing, in any currency.
    #[must_use]
    pub fn free() -> Self {
        Self { currency: None, read: Money::ZERO, cached: Money::ZERO, written: Money::ZERO, version: "free".into() }
    }

    /// The currency; `None` where it does not matter.
    #[must_use]
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    /// First 12 hexadecimal digits of the table's SHA-256.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a call that used so much costs.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> Money {
        let cached = usage.cached.min(usage.read);
        let parts = [(usage.read - cached, self.read), (cached, self.cached), (usage.written, self.written)];
        of_tokens(&parts)
    }

    /// The most that a call can cost which reads and writes at most so many tokens.
    #[must_use]
    pub fn worst(&self, read: u64, written: u64) -> Money {
        of_tokens(&[(read, self.read.max(self.cached)), (written, self.written)])
    }
}

fn of_tokens(parts: &[(u64, Money)]) -> Money {
    let sum: i128 = parts.iter().map(|(tokens, price)| i128::from(*tokens) * i128::from(price.0)).sum();
    Money(i64::try_from((sum + PER_TOKENS - 1) / PER_TOKENS).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn an_amount_is_read_and_written_without_a_rounding() {
        for (text, nanos, written) in [
            ("0", 0, "0.00"),
            ("12", 12_000_000_000, "12.00"),
            ("0.15", 150_000_000, "0.15"),
            ("0.000000001", 1, "0.000000001"),
            ("1000000", MOST, "1000000.00"),
        ] {
            assert_eq!((money(text).0, money(text).to_string().as_str()), (nanos, written), "{text}");
        }
        assert_eq!(Money(-1_500_000_000).to_string(), "-1.50");
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000000001", "1000000.000000001", "99999999", "١"]
        {
            assert_eq!(text.parse::<Money>(), Err(NotMoney), "{text}");
        }
    }

    #[test]
    fn a_cost_is_exact_rounded_up_and_never_above_the_worst_case() {
        let prices = Prices::new("USD", money("0.15"), money("0.075"), money("0.6"));
        let usage = Usage { read: 1_000_000, cached: 400_000, written: 500_000 };
        assert_eq!(prices.cost(usage), money("0.42"));
        assert_eq!(prices.worst(1_000_000, 500_000), money("0.45"));
        let tiny = Prices::new("USD", Money(1), Money(1), Money(1));
        assert_eq!(tiny.cost(Usage { read: 1, cached: 0, written: 0 }), Money(1));
        assert_eq!(tiny.cost(Usage::default()), Money::ZERO);
        // A provider that says it read more from its cache than it read at all.
        assert_eq!(prices.cost(Usage { read: 10, cached: 99, written: 0 }), Money(750));
        // A cache that costs more than reading anew is the dearest.
        let odd = Prices::new("USD", Money(1_000_000), Money(2_000_000), Money::ZERO);
        assert_eq!(odd.worst(1, 0), Money(2));
    }

    #[test]
    fn a_table_is_known_by_its_content() {
        let table = |read: &str| Prices::new("USD", money(read), money("0.1"), money("0.2"));
        assert_eq!(table("0.1").version(), table("0.10").version());
        assert_ne!(table("0.1").version(), table("0.2").version());
        assert_eq!(Prices::free().cost(Usage { read: 9, cached: 0, written: 9 }), Money::ZERO);
    }
}
