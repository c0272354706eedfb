//! Names for content: the first digits of its SHA-256. For versions and groups, never for secrecy.

use sha2::{Digest, Sha256};

/// The first `digits` (at most 64) hexadecimal digits of the content's SHA-256.
#[must_use]
pub fn hex_digest(content: &[u8], digits: usize) -> String {
    let mut text = hex::encode(Sha256::digest(content));
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::hex_digest;

    #[test]
    fn the_digits_are_those_of_sha_256() {
        assert_eq!(hex_digest(b"abc", 12), "ba7816bf8f01");
        assert_eq!(hex_digest(b"abc", 99).len(), 64);
    }
}
