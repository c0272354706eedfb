//! From a secret's text to a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{KeyDecoding, Scheme};
use crate::config::Secret;

/// Why a secret cannot serve a scheme. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Nothing is left of it.
    #[error("is empty")]
    Empty,
    /// Its text does not decode as this scheme needs.
    #[error("is not written as this provider's secrets are: check that it was copied whole")]
    Undecodable,
    /// A public key signs nothing.
    #[error("is a public key: it verifies, and signs nothing")]
    VerifiesOnly,
}

/// The key's bytes, wiped after use. An empty secret is no key.
pub(super) fn decode(form: KeyDecoding, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, BadSecret> {
    let text = secret.expose().trim();
    let base64 = |text: &str| STANDARD.decode(text).map_err(|_| BadSecret::Undecodable);
    let bytes = match form {
        KeyDecoding::Text => secret.expose().as_bytes().to_vec(),
        KeyDecoding::Base64 => base64(text)?,
        KeyDecoding::Hex => hex::decode(text).map_err(|_| BadSecret::Undecodable)?,
        KeyDecoding::Whsec if asymmetric(text) => return Err(BadSecret::Undecodable),
        KeyDecoding::Whsec => base64(text.strip_prefix("whsec_").unwrap_or(text))?,
        KeyDecoding::Ed25519 => base64(text.strip_prefix("whpk_").ok_or(BadSecret::Undecodable)?)?,
    };
    if bytes.is_empty() { Err(BadSecret::Empty) } else { Ok(Zeroizing::new(bytes)) }
}

/// The private half for signing: the key itself, or a `whsk_` seed.
pub(super) fn decode_for_signing(form: KeyDecoding, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, BadSecret> {
    if form != KeyDecoding::Ed25519 {
        return decode(form, secret);
    }
    let text = secret.expose().trim();
    let written = text.strip_prefix("whsk_").ok_or(BadSecret::VerifiesOnly)?;
    STANDARD.decode(written).map(Zeroizing::new).map_err(|_| BadSecret::Undecodable)
}

pub(super) fn asymmetric(text: &str) -> bool {
    text.starts_with("whpk_") || text.starts_with("whsk_")
}

impl Scheme {
    /// Whether a configured secret can prove anything under this scheme; for the check at start.
    ///
    /// # Errors
    /// [`BadSecret`] says why not.
    pub fn check(&self, secret: &Secret) -> Result<(), BadSecret> {
        let mut why = BadSecret::Undecodable;
        for proof in &self.proofs {
            match decode(proof.key, secret) {
                Ok(key) if proof.algorithm.takes(&key) => return Ok(()),
                Ok(_) => {}
                Err(BadSecret::Empty) => why = BadSecret::Empty,
                Err(_) => {}
            }
        }
        Err(why)
    }
}
