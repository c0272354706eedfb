//! A scheme read the other way: the headers that prove a body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::{asymmetric, decode_for_signing};
use super::scheme::Presented;
use super::{Algorithm, BadSecret, Layout, Proof, Scheme, algorithm};
use crate::config::{Encoding, Secret};
use crate::domain::Micros;

/// Signs a body as the scheme's provider would. `id` is used where the scheme signs one. Gives the headers to send.
///
/// # Errors
/// [`BadSecret`] when the secret cannot sign under this scheme.
pub fn sign(
    scheme: &Scheme,
    secret: &Secret,
    body: &[u8],
    id: &str,
    now: Micros,
) -> Result<Vec<(String, String)>, BadSecret> {
    let wants_ed25519 = asymmetric(secret.expose().trim());
    let fits = |proof: &&Proof| (proof.algorithm == Algorithm::Ed25519) == wants_ed25519;
    // A secret that merely looks asymmetric is plain text to a scheme without ed25519.
    let proof = scheme.proofs.iter().find(fits).or(scheme.proofs.first()).ok_or(BadSecret::Undecodable)?;
    let names = scheme.names.first().ok_or(BadSecret::Undecodable)?;
    let key = decode_for_signing(proof.key, secret)?;
    let stamp = scheme.stamp(now);
    let presented = Presented { timestamp: Some(&stamp), id: Some(id), signatures: Vec::new() };
    let bytes = algorithm::make(proof.algorithm, &key, &scheme.signed_parts(&presented, body))?;
    let written = match proof.encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    };
    let signature = match &scheme.layout {
        Layout::Prefixed(prefix) => format!("{prefix}{written}"),
        Layout::Pairs { timestamp } => format!("{timestamp}={stamp},{}={written}", proof.label),
        Layout::Tagged => format!("{},{written}", proof.label),
    };
    let mut headers = vec![(names.signature.clone(), signature)];
    headers.extend(names.timestamp.clone().map(|name| (name, stamp.clone())));
    headers.extend(names.id.clone().map(|name| (name, id.to_owned())));
    Ok(headers)
}
