//! Sealing: authenticated encryption of everything that a person said, and pseudonyms for who said it.
//!
//! One format for all: `1 | key id length | key id | 24-byte nonce | ciphertext`. The key id travels with the
//! ciphertext, so rotation is a chore and never a flag day. Every ciphertext is bound to its place by a context
//! (a row's id, an envelope's header): moved elsewhere, it does not open. Keys come in from configuration.

mod keyring;
mod pseudonym;

pub use keyring::{BadKeys, KEY_BYTES, Key, Keyring, SealError};
pub use pseudonym::{BadPseudonym, Pseudonym, Pseudonyms};
