//! The algorithms. Comparison is constant in time over decoded bytes.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{Algorithm, BadSecret};
use crate::config::HmacAlgorithm;

impl Algorithm {
    /// A signature's length in bytes.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Hmac(HmacAlgorithm::Sha1) => 20,
            Self::Hmac(HmacAlgorithm::Sha256) => 32,
            Self::Hmac(HmacAlgorithm::Sha512) | Self::Ed25519 => 64,
        }
    }

    /// Whether a key's bytes are one of its keys.
    pub(super) fn takes(self, key: &[u8]) -> bool {
        match self {
            Self::Hmac(_) => !key.is_empty(),
            Self::Ed25519 => public_key(key).is_some(),
        }
    }
}

/// Whether any candidate is the signature of `parts` under `key`.
pub(super) fn matches<'a>(
    algorithm: Algorithm,
    key: &[u8],
    parts: &[&[u8]],
    mut candidates: impl Iterator<Item = &'a [u8]>,
) -> bool {
    match algorithm {
        Algorithm::Hmac(digest) => {
            let Some(first) = candidates.next() else { return false };
            let Some(expected) = mac(digest, key, parts) else { return false };
            // Every candidate is compared: the time says nothing about which one matched.
            candidates.fold(expected.ct_eq(first), |found, one| found | expected.ct_eq(one)).into()
        }
        Algorithm::Ed25519 => {
            let Some(key) = public_key(key) else { return false };
            let message = parts.concat();
            candidates.any(|one| Signature::from_slice(one).is_ok_and(|s| key.verify_strict(&message, &s).is_ok()))
        }
    }
}

/// The signature of `parts`.
pub(super) fn make(algorithm: Algorithm, key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, BadSecret> {
    match algorithm {
        Algorithm::Hmac(digest) => mac(digest, key, parts).ok_or(BadSecret::Empty),
        Algorithm::Ed25519 => {
            // A seed of 32 bytes, or the seed and its public key in 64: both are in use.
            let seed = key.first_chunk::<32>().filter(|_| key.len() == 32 || key.len() == 64);
            let signing = SigningKey::from_bytes(seed.ok_or(BadSecret::Undecodable)?);
            Ok(signing.sign(&parts.concat()).to_bytes().to_vec())
        }
    }
}

fn public_key(key: &[u8]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(key.try_into().ok()?).ok().filter(|key| !key.is_weak())
}

fn mac(digest: HmacAlgorithm, key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    match digest {
        HmacAlgorithm::Sha1 => run::<Hmac<Sha1>>(key, parts),
        HmacAlgorithm::Sha256 => run::<Hmac<Sha256>>(key, parts),
        HmacAlgorithm::Sha512 => run::<Hmac<Sha512>>(key, parts),
    }
}

/// `None` for an empty key, which anybody holds.
fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    if key.is_empty() {
        return None;
    }
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().to_vec())
}
