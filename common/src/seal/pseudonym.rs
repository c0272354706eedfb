//! Keyed pseudonyms: how a person or a conversation is named where their address must not appear.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{BadKeys, Key, Keyring};
use crate::domain::{Address, Party, SourceName};

/// 128 bits of HMAC-SHA256 under a named key. Says nothing to anybody without that key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pseudonym {
    key_id: String,
    digest: [u8; 16],
}

impl Pseudonym {
    /// The key it was made with.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Its 16 bytes, as the store holds them.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key_id, hex::encode(self.digest))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonym({self})")
    }
}

/// Text that is no pseudonym.
#[derive(Debug, thiserror::Error)]
#[error("not a pseudonym: expected key-id:32 hexadecimal digits")]
pub struct BadPseudonym;

impl FromStr for Pseudonym {
    type Err = BadPseudonym;
    fn from_str(text: &str) -> Result<Self, BadPseudonym> {
        let (key_id, digits) = text.split_once(':').ok_or(BadPseudonym)?;
        let mut digest = [0; 16];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| BadPseudonym)?;
        Ok(Self { key_id: key_id.to_owned(), digest })
    }
}

impl TryFrom<String> for Pseudonym {
    type Error = BadPseudonym;
    fn try_from(text: String) -> Result<Self, BadPseudonym> {
        text.parse()
    }
}

impl From<Pseudonym> for String {
    fn from(pseudonym: Pseudonym) -> Self {
        pseudonym.to_string()
    }
}

/// The keys that make pseudonyms. The first makes new ones; all are looked up, so rotation never splits a person.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    ring: Keyring,
}

impl Pseudonyms {
    /// Parses bare base64 (which gets the id `default`) or a comma list `id:base64`.
    ///
    /// # Errors
    /// [`BadKeys`] says which entry and why.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        if text.contains(':') {
            return Ok(Self { ring: Keyring::parse(text)? });
        }
        let key = STANDARD.decode(text.trim()).ok().and_then(|bytes| Key::from_bytes(&bytes));
        Ok(Self { ring: Keyring::single("default", key.ok_or_else(|| BadKeys::Length("default".into()))?) })
    }

    /// Pseudonyms under these keys.
    #[must_use]
    pub fn from_ring(ring: Keyring) -> Self {
        Self { ring }
    }

    /// Every pseudonym of a person's address, the current one first.
    #[must_use]
    pub fn of_address(&self, address: &Address) -> Vec<Pseudonym> {
        self.all(&["contact", &address.space, &address.value])
    }

    /// The current pseudonym of a conversation.
    #[must_use]
    pub fn of_conversation(&self, source: &SourceName, party: &Party) -> Pseudonym {
        let parts = ["conversation", source.as_str(), &party.account, &party.address.space, &party.address.value];
        self.ring.entries().first().map_or_else(
            || Pseudonym { key_id: String::new(), digest: [0; 16] },
            |(id, key)| Pseudonym { key_id: id.clone(), digest: mac(key, &parts) },
        )
    }

    /// Every pseudonym of a provider's message id, the current one first.
    #[must_use]
    pub fn of_provider_id(&self, source: &SourceName, provider_id: &str) -> Vec<Pseudonym> {
        self.all(&["provider-id", source.as_str(), provider_id])
    }

    /// Eight hexadecimal digits that tell secrets apart, and help nobody to guess a weak one.
    #[must_use]
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        let digits = hex::encode(secret);
        self.all(&["secret", &digits]).first().map_or_else(String::new, |p| hex::encode(&p.digest[..4]))
    }

    /// What stands for a question that was asked, so that it can be met again and not read.
    #[must_use]
    pub fn of_question(&self, asked: &str) -> String {
        self.all(&["question", asked]).first().map_or_else(String::new, |p| hex::encode(p.digest))
    }

    fn all(&self, parts: &[&str]) -> Vec<Pseudonym> {
        let one = |(id, key): &(String, Key)| Pseudonym { key_id: id.clone(), digest: mac(key, parts) };
        self.ring.entries().iter().map(one).collect()
    }
}

/// HMAC-SHA256 over the length-prefixed parts, cut to 128 bits.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &Key, parts: &[&str]) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes any key");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    let full = mac.finalize().into_bytes();
    let mut cut = [0; 16];
    cut.copy_from_slice(&full[..16]);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_depends_on_key_and_person_and_survives_its_text() {
        let address = |value: &str| Address { space: "phone".into(), value: value.into() };
        let ours = Pseudonyms::from_ring(Keyring::single("p1", Key::generate()));
        let theirs = Pseudonyms::from_ring(Keyring::single("p1", Key::generate()));
        let one = ours.of_address(&address("15550001"));
        assert_eq!(one, ours.of_address(&address("15550001")));
        assert_ne!(one, ours.of_address(&address("15550002")));
        assert_ne!(one, theirs.of_address(&address("15550001")));
        assert!(!one[0].to_string().contains("15550001"));
        assert_eq!(one[0].to_string().parse::<Pseudonym>().unwrap(), one[0]);
    }
}
