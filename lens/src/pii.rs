//! Personal data with a structure of its own: e-mail addresses, telephones, bank accounts, payment cards, national
//! ids of several countries.
//!
//! A checksum decides where there is one; where a number alone could be anything (an order, a parcel, a price), its
//! shape and the words just before it do. Dates, times and amounts are set aside first.

mod checks;
mod codes;
mod context;
mod numbers;
mod phone;
mod text;

use serde::{Deserialize, Serialize};

use crate::normal::Span;
use text::Tokens;

/// What kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PiiKind {
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A bank account.
    Iban,
    /// A payment card.
    Card,
    /// A national or tax id of a country.
    NationalId,
}

impl PiiKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Email, Self::Phone, Self::Iban, Self::Card, Self::NationalId];

    /// What stands in a placeholder: the model sees `<PHONE_1>`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::Iban => "IBAN",
            Self::Card => "CARD",
            Self::NationalId => "ID",
        }
    }
}

/// One piece of personal data and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: PiiKind,
    /// Where.
    pub span: Span,
}

/// Every piece in a text, in order, none overlapping another.
#[must_use]
pub fn find(text: &str) -> Vec<Finding> {
    if !text.bytes().any(|b| b == b'@' || b.is_ascii_digit() || b >= 0x80) {
        return Vec::new();
    }
    let tokens = Tokens::of(text);
    let mut found = codes::emails(&tokens);
    found.extend(codes::ids(&tokens));
    let taken = |from: usize, to: usize, found: &[Finding]| {
        let span = tokens.span(from, to);
        found.iter().any(|finding| finding.span.start < span.end && span.start < finding.span.end)
    };
    let mut at = 0;
    while at < tokens.len() {
        match numbers::at(&tokens, at) {
            Some((kind, to)) if !taken(at, to, &found) => {
                found.push(Finding { kind, span: tokens.span(at, to) });
                at = to + 1;
            }
            Some(_) | None => at += 1,
        }
    }
    found.sort_by_key(|finding| finding.span);
    found.dedup_by(|next, first| next.span.start < first.span.end);
    found
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod drawn;
