//! Keys that seal and open.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key's length in bytes.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const VERSION: u8 = 1;

/// 32 secret bytes. Never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A new key from the operating system's generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes);
        Self(bytes)
    }

    /// A key from exactly 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, for wrapping under another key.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key as configuration writes it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// A key for another purpose, by HKDF-SHA256.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let mut bytes = [0; KEY_BYTES];
        // HKDF refuses only outputs above 255 blocks; 32 bytes are one.
        let expanded = Hkdf::<Sha256>::new(None, &self.0).expand(purpose.as_bytes(), &mut bytes);
        debug_assert!(expanded.is_ok());
        Self(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// A key list that cannot be used. Never quotes key material.
#[derive(Debug, thiserror::Error)]
pub enum BadKeys {
    /// No entry at all.
    #[error("holds no key: expected a comma list of id:base64")]
    Empty,
    /// An entry is not `id:base64`.
    #[error("entry {0} is not id:base64 with an id of 1 to 32 characters of a-z, A-Z, 0-9, '-' and '_'")]
    Shape(usize),
    /// An entry's key is not 32 bytes.
    #[error("the key '{0}' is not 32 bytes in base64: make one with `handrail keys generate`")]
    Length(String),
    /// Two entries share an id.
    #[error("the key id '{0}' is given twice")]
    Twice(String),
}

/// Why sealed bytes do not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key it names is not here (yet, during a rotation or a rolling deploy).
    #[error("sealed with the key '{0}', which this process does not have")]
    UnknownKey(String),
    /// Changed, cut, moved to another place, or sealed with another key of the same id.
    #[error("sealed bytes do not open: they were changed, or belong elsewhere")]
    Broken,
    /// Not in the sealed format.
    #[error("not in the sealed format")]
    Malformed,
}

/// One or more keys by id. The first seals; all open.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<(String, Key)>,
}

impl Keyring {
    /// Parses a comma list `id:base64`; the first key seals.
    ///
    /// # Errors
    /// [`BadKeys`] says which entry and why.
    pub fn parse(list: &str) -> Result<Self, BadKeys> {
        let mut keys: Vec<(String, Key)> = Vec::new();
        for (index, entry) in list.split(',').map(str::trim).filter(|e| !e.is_empty()).enumerate() {
            let (id, text) = entry.split_once(':').ok_or(BadKeys::Shape(index + 1))?;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if id.is_empty() || id.len() > 32 || !id.chars().all(plain) {
                return Err(BadKeys::Shape(index + 1));
            }
            let key = STANDARD.decode(text.trim()).ok().and_then(|bytes| Key::from_bytes(&bytes));
            let key = key.ok_or_else(|| BadKeys::Length(id.to_owned()))?;
            if keys.iter().any(|(known, _)| known == id) {
                return Err(BadKeys::Twice(id.to_owned()));
            }
            keys.push((id.to_owned(), key));
        }
        if keys.is_empty() { Err(BadKeys::Empty) } else { Ok(Self { keys }) }
    }

    /// A ring of one key.
    #[must_use]
    pub fn single(id: impl Into<String>, key: Key) -> Self {
        Self { keys: vec![(id.into(), key)] }
    }

    /// A ring of keys for another purpose, under the same ids.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self { keys: self.keys.iter().map(|(id, key)| (id.clone(), key.derive(purpose))).collect() }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing_id(&self) -> &str {
        self.keys.first().map_or("", |(id, _)| id)
    }

    pub(super) fn entries(&self) -> &[(String, Key)] {
        &self.keys
    }

    /// Seals `plain` for the place that `context` names.
    ///
    /// # Panics
    /// Never in practice: the cipher refuses only messages of more than 256 GiB.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a ring is never empty, and no message reaches the cipher's 256 GiB limit")]
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let (id, key) = self.keys.first().expect("a keyring holds a key");
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce);
        let payload = Payload { msg: plain, aad: context };
        let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload).expect("below the cipher's limit");
        let mut out = Vec::with_capacity(2 + id.len() + NONCE_BYTES + sealed.len());
        out.push(VERSION);
        out.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`seal`](Self::seal) made for the same context.
    ///
    /// # Errors
    /// [`SealError`]: the key is absent, the bytes were changed or moved, or they are not sealed bytes.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = split_id(sealed)?;
        let (_, key) =
            self.keys.iter().find(|(known, _)| known == id).ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let (nonce, message) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
        cipher(key)
            .decrypt(&XNonce::from(*nonce), Payload { msg: message, aad: context })
            .map_err(|_| SealError::Broken)
    }

    /// The id of the key that sealed these bytes.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when they are not sealed bytes.
    pub fn key_id(sealed: &[u8]) -> Result<&str, SealError> {
        split_id(sealed).map(|(id, _)| id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(*key.expose()).into())
}

fn split_id(sealed: &[u8]) -> Result<(&str, &[u8]), SealError> {
    let [VERSION, length, rest @ ..] = sealed else { return Err(SealError::Malformed) };
    let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or(SealError::Malformed)?;
    Ok((std::str::from_utf8(id).map_err(|_| SealError::Malformed)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(id: &str) -> Keyring {
        Keyring::single(id, Key::generate())
    }

    #[test]
    fn sealed_bytes_open_only_in_their_place_and_unchanged() {
        let ring = ring("k1");
        let sealed = ring.seal(b"row 1", b"hello");
        assert_eq!(ring.open(b"row 1", &sealed).unwrap(), b"hello");
        assert_eq!(ring.open(b"row 2", &sealed), Err(SealError::Broken));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(ring.open(b"row 1", &changed).is_err(), "byte {place}");
            assert!(ring.open(b"row 1", &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_rotated_ring_opens_the_old_and_seals_with_the_new() {
        let old = Keyring::parse(&format!("old:{}", Key::generate().to_base64())).unwrap();
        let sealed = old.seal(b"", b"kept");
        let both = Keyring { keys: [ring("new").keys, old.keys.clone()].concat() };
        assert_eq!(both.open(b"", &sealed).unwrap(), b"kept");
        assert_eq!(Keyring::key_id(&both.seal(b"", b"x")).unwrap(), "new");
        assert_eq!(ring("new").open(b"", &sealed), Err(SealError::UnknownKey("old".into())));
    }

    #[test]
    fn a_bad_key_list_is_refused_by_entry_without_its_key() {
        let good = Key::generate().to_base64();
        for (list, says) in [
            (String::new(), "no key"),
            ("onlybase64".into(), "entry 1"),
            (format!("a:{good},b c:{good}"), "entry 2"),
            ("a:c2hvcnQ=".into(), "'a' is not 32 bytes"),
            (format!("a:{good},a:{good}"), "'a' is given twice"),
        ] {
            let error = Keyring::parse(&list).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains(&good) && !error.contains("c2hvcnQ"), "{error}");
        }
    }
}
