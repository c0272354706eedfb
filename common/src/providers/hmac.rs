//! A sender that signs with an HMAC of its own design: the scheme comes from configuration.

use std::time::Duration;

use crate::config::{HmacConfig, KeyForm};
use crate::signature::{Algorithm, KeyDecoding, Layout, Names, Piece, Proof, Scheme, TimestampUnit};

/// The configured scheme.
pub(super) fn scheme(config: &HmacConfig, tolerance: Duration) -> Scheme {
    let (algorithm, key) = (Algorithm::Hmac(config.algorithm), key(config));
    Scheme {
        names: vec![Names { signature: config.header.clone(), timestamp: config.timestamp_header.clone(), id: None }],
        layout: Layout::Prefixed(config.prefix.clone()),
        signed: Piece::template(&config.signed),
        proofs: vec![Proof { label: "", algorithm, encoding: config.encoding, key }],
        tolerance,
        unit: TimestampUnit::Seconds,
    }
}

/// How the configured secret becomes a key.
pub(super) const fn key(config: &HmacConfig) -> KeyDecoding {
    match config.key {
        KeyForm::Text => KeyDecoding::Text,
        KeyForm::Base64 => KeyDecoding::Base64,
        KeyForm::Hex => KeyDecoding::Hex,
    }
}
