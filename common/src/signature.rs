//! The signature engine: proof that a webhook comes from who holds the source's secret.
//!
//! A [`Scheme`] is data; [`verify`] is the one engine that reads any of them. It works on decoded bytes, compares in
//! constant time, and takes several live secrets, so that a secret can be rotated without a gap. [`Verified`] can
//! only be made here: whoever holds one holds a body that was proved. [`sign`] is the same data read the other way,
//! for samples, tests and signed replies.

mod algorithm;
mod key;
mod scheme;
mod sign;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use key::BadSecret;
pub use scheme::{Algorithm, KeyDecoding, Layout, Names, Piece, Proof, Scheme, TimestampUnit};
pub use sign::sign;

use crate::config::Secret;
use crate::domain::Micros;
use scheme::Presented;

/// A request's headers, as far as the engine is concerned: names in any case, values as bytes, repeats kept.
#[derive(Debug, Default)]
pub struct Headers<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> FromIterator<(&'a str, &'a [u8])> for Headers<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<'a> Headers<'a> {
    /// The only value of a header. A repeated one is malformed: of two values nobody can say which was meant.
    fn only(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Refusal::Malformed);
        }
        std::str::from_utf8(value).map(Some).map_err(|_| Refusal::Malformed)
    }
}

/// Why a webhook is not believed. Each has a stable code; none says what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header that the scheme needs is absent.
    #[error("a header of the signature is missing")]
    Missing,
    /// The signature or its timestamp is not written as the scheme writes it, or is given twice.
    #[error("the signature is malformed")]
    Malformed,
    /// Nothing in it was made with a live secret of this source.
    #[error("the signature does not match")]
    Mismatch,
    /// Rightly signed, too long ago.
    #[error("the signed timestamp is too old")]
    TooOld,
    /// Rightly signed, too far ahead of our clock.
    #[error("the signed timestamp is too new")]
    TooNew,
}

impl Refusal {
    /// Its stable code in answers, logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Malformed => "signature_malformed",
            Self::Mismatch => "signature_mismatch",
            Self::TooOld => "timestamp_too_old",
            Self::TooNew => "timestamp_too_new",
        }
    }
}

/// A body whose sender was proved.
#[derive(Clone)]
pub struct Verified {
    body: Bytes,
    secret: usize,
    id: Option<String>,
    signed_at: Option<Micros>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verified({} bytes, secret {})", self.body.len(), self.secret)
    }
}

impl Verified {
    /// The bytes as they came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Which of the secrets given to [`verify`] proved it.
    #[must_use]
    pub const fn secret_index(&self) -> usize {
        self.secret
    }

    /// The signed event id, where the scheme has one in a header.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The signed time, where the scheme has one.
    #[must_use]
    pub const fn signed_at(&self) -> Option<Micros> {
        self.signed_at
    }
}

/// Proves a body against the scheme and any of the live secrets, at the wall clock's `now`.
///
/// # Errors
/// [`Refusal`]. Age is judged only after the signature, so that nobody learns about our clock without a secret.
pub fn verify(
    scheme: &Scheme,
    secrets: &[Secret],
    headers: &Headers<'_>,
    body: Bytes,
    now: Micros,
) -> Result<Verified, Refusal> {
    let presented = scheme.read(headers)?;
    let signed_at = presented.timestamp.map(|text| scheme.moment(text)).transpose()?;
    let parts = scheme.signed_parts(&presented, &body);
    let secret = (0..secrets.len())
        .find(|index| proves(scheme, &secrets[*index], &presented, &parts))
        .ok_or(Refusal::Mismatch)?;
    if let Some(signed_at) = signed_at {
        check_age(scheme, signed_at, now)?;
    }
    let id = presented.id.map(str::to_owned);
    Ok(Verified { body, secret, id, signed_at })
}

/// Whether one secret made any of the signatures presented. Each MAC is computed once, however many are presented.
fn proves(scheme: &Scheme, secret: &Secret, presented: &Presented<'_>, parts: &[&[u8]]) -> bool {
    scheme.proofs.iter().enumerate().any(|(index, proof)| {
        let candidates = presented.signatures.iter().filter(|(of, _)| *of == index).map(|(_, bytes)| bytes.as_slice());
        match key::decode(proof.key, secret) {
            Ok(key) => algorithm::matches(proof.algorithm, &key, parts, candidates),
            Err(_) => false,
        }
    })
}

/// Whole seconds of the wall clock; exactly the tolerance is still accepted, both ways.
fn check_age(scheme: &Scheme, signed_at: Micros, now: Micros) -> Result<(), Refusal> {
    let tolerance = i64::try_from(scheme.tolerance.as_secs()).unwrap_or(i64::MAX);
    let age = now.seconds().saturating_sub(signed_at.seconds());
    if age > tolerance {
        Err(Refusal::TooOld)
    } else if age < tolerance.saturating_neg() {
        Err(Refusal::TooNew)
    } else {
        Ok(())
    }
}

/// Whether `given` is the secret, or one of its comma-separated values; in constant time for each. An empty secret
/// matches nothing.
#[must_use]
pub fn token_matches(secret: &Secret, given: &str) -> bool {
    let same = |known: &str| {
        !known.is_empty() && bool::from(subtle::ConstantTimeEq::ct_eq(known.as_bytes(), given.as_bytes()))
    };
    same(secret.expose()) | secret.expose().split(',').map(str::trim).fold(false, |found, one| found | same(one))
}
