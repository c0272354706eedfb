//! Standard Webhooks (<https://www.standardwebhooks.com>) and Svix, which it grew from: the same scheme under two
//! families of header names.

use std::time::Duration;

use crate::config::{Encoding, HmacAlgorithm};
use crate::signature::{Algorithm, KeyDecoding, Layout, Names, Piece, Proof, Scheme, TimestampUnit};

/// `v1` HMAC-SHA256 and `v1a` ed25519 over `id.timestamp.body`.
pub(super) fn scheme(tolerance: Duration) -> Scheme {
    let names = |family: &str| Names {
        signature: format!("{family}-signature"),
        timestamp: Some(format!("{family}-timestamp")),
        id: Some(format!("{family}-id")),
    };
    let dot = || Piece::Literal(".".to_owned());
    let proof = |label, algorithm, key| Proof { label, algorithm, encoding: Encoding::Base64, key };
    Scheme {
        names: vec![names("webhook"), names("svix")],
        layout: Layout::Tagged,
        signed: vec![Piece::Id, dot(), Piece::Timestamp, dot(), Piece::Body],
        proofs: vec![
            proof("v1", Algorithm::Hmac(HmacAlgorithm::Sha256), KeyDecoding::Whsec),
            proof("v1a", Algorithm::Ed25519, KeyDecoding::Ed25519),
        ],
        tolerance,
        unit: TimestampUnit::Seconds,
    }
}
