//! What a scheme is: header names, how a signature is written there, what is signed, and how a secret becomes a key.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Headers, Refusal};
use crate::config::{Encoding, HmacAlgorithm};
use crate::domain::Micros;

/// More signatures than any rotation needs; each costs a comparison, with ed25519 a verification.
const MAX_SIGNATURES: usize = 16;

/// A provider's way of signing, as data.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// The header names; of several sets, the first whose signature header is there counts.
    pub names: Vec<Names>,
    /// How the signature header is written.
    pub layout: Layout,
    /// What is signed, in order.
    pub signed: Vec<Piece>,
    /// How a signature may be made. In a labelled layout each has its own label.
    pub proofs: Vec<Proof>,
    /// The largest age of the signed timestamp, both ways; whole seconds. Unused where no timestamp is signed.
    pub tolerance: Duration,
    /// What the timestamp counts.
    pub unit: TimestampUnit,
}

/// One set of header names.
#[derive(Clone, Debug)]
pub struct Names {
    /// Carries the signature.
    pub signature: String,
    /// Carries the timestamp, where it has a header of its own.
    pub timestamp: Option<String>,
    /// Carries the event's id, where one is signed.
    pub id: Option<String>,
}

/// How the signature header is written.
#[derive(Clone, Debug)]
pub enum Layout {
    /// One signature behind a fixed text, such as `sha256=`.
    Prefixed(String),
    /// `name=value` pairs between commas, in any order: the timestamp under this name, signatures under labels.
    Pairs {
        /// The timestamp's name.
        timestamp: &'static str,
    },
    /// `label,signature` entries between spaces.
    Tagged,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The raw body.
    Body,
    /// The timestamp's text as received.
    Timestamp,
    /// The event id's text as received.
    Id,
    /// Fixed text.
    Literal(String),
}

/// One accepted way to make a signature.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// Its label in the header; empty in a prefixed layout.
    pub label: &'static str,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// How the signature's bytes are written.
    pub encoding: Encoding,
    /// How the secret's text becomes the key.
    pub key: KeyDecoding,
}

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with a digest.
    Hmac(HmacAlgorithm),
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// How a secret's text becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDecoding {
    /// The text's own bytes.
    Text,
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
    /// Base64, with or without `whsec_` before it. Never a `whpk_` or `whsk_` key: a public key known to everybody
    /// would otherwise serve as a shared secret.
    Whsec,
    /// `whpk_` and base64 of an ed25519 public key to verify; `whsk_` and base64 of a private one to sign.
    Ed25519,
}

/// What a timestamp counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampUnit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// What a request presents, read but not believed.
#[derive(Debug)]
pub(super) struct Presented<'a> {
    pub(super) timestamp: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    /// Decoded signatures, each with the index of the proof that it claims.
    pub(super) signatures: Vec<(usize, Vec<u8>)>,
}

impl Piece {
    /// A template with `{body}` and `{timestamp}`, as configuration writes it.
    #[must_use]
    pub fn template(text: &str) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let marks = [("{body}", Self::Body), ("{timestamp}", Self::Timestamp)];
            let next = marks.into_iter().filter_map(|(mark, piece)| Some((rest.find(mark)?, mark, piece)));
            let Some((at, mark, piece)) = next.min_by_key(|(at, _, _)| *at) else { break };
            if at > 0 {
                pieces.push(Self::Literal(rest[..at].to_owned()));
            }
            pieces.push(piece);
            rest = &rest[at + mark.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Self::Literal(rest.to_owned()));
        }
        pieces
    }
}

impl Scheme {
    /// Reads the headers without believing them.
    pub(super) fn read<'a>(&self, headers: &Headers<'a>) -> Result<Presented<'a>, Refusal> {
        let (names, text) = self.signature_header(headers)?;
        let header = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => headers.only(name)?.map(Some).ok_or(Refusal::Missing),
        };
        let (timestamp, id) = (header(&names.timestamp)?, header(&names.id)?);
        let mut presented = Presented { timestamp, id, signatures: Vec::new() };
        match &self.layout {
            Layout::Prefixed(prefix) => {
                let written = text.trim().strip_prefix(prefix.as_str()).ok_or(Refusal::Malformed)?;
                self.claim(&mut presented, "", written)?;
            }
            Layout::Pairs { timestamp } => self.read_pairs(&mut presented, timestamp, text)?,
            Layout::Tagged => {
                for entry in text.split_ascii_whitespace() {
                    let (label, written) = entry.split_once(',').unwrap_or(("", entry));
                    self.claim(&mut presented, label, written)?;
                }
            }
        }
        if presented.signatures.is_empty() { Err(Refusal::Malformed) } else { Ok(presented) }
    }

    fn signature_header<'a>(&self, headers: &Headers<'a>) -> Result<(&Names, &'a str), Refusal> {
        for names in &self.names {
            if let Some(text) = headers.only(&names.signature)? {
                return Ok((names, text));
            }
        }
        Err(Refusal::Missing)
    }

    fn read_pairs<'a>(&self, to: &mut Presented<'a>, timestamp: &str, text: &'a str) -> Result<(), Refusal> {
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').ok_or(Refusal::Malformed)?;
            let (name, value) = (name.trim(), value.trim());
            if name == timestamp {
                if to.timestamp.replace(value).is_some() {
                    return Err(Refusal::Malformed);
                }
            } else {
                self.claim(to, name, value)?;
            }
        }
        if to.timestamp.is_some() { Ok(()) } else { Err(Refusal::Malformed) }
    }

    /// Adds a signature under its label. One with a label of another version, or that does not decode to its
    /// algorithm's length, is passed over: another entry may be right.
    fn claim(&self, to: &mut Presented<'_>, label: &str, written: &str) -> Result<(), Refusal> {
        let Some(index) = self.proofs.iter().position(|proof| proof.label == label) else { return Ok(()) };
        let proof = &self.proofs[index];
        let bytes = match proof.encoding {
            Encoding::Hex => hex::decode(written).ok(),
            Encoding::Base64 => STANDARD.decode(written).ok(),
        };
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == proof.algorithm.length()) else { return Ok(()) };
        if to.signatures.len() == MAX_SIGNATURES {
            return Err(Refusal::Malformed);
        }
        to.signatures.push((index, bytes));
        Ok(())
    }

    /// The moment that a timestamp's text names.
    pub(super) fn moment(&self, text: &str) -> Result<Micros, Refusal> {
        let count: i64 = text.trim().parse().map_err(|_| Refusal::Malformed)?;
        Ok(match self.unit {
            TimestampUnit::Seconds => Micros::from_seconds(count),
            TimestampUnit::Millis => Micros(count.saturating_mul(1_000)),
        })
    }

    /// The timestamp's text for a moment.
    pub(super) fn stamp(&self, moment: Micros) -> String {
        match self.unit {
            TimestampUnit::Seconds => moment.seconds().to_string(),
            TimestampUnit::Millis => moment.0.div_euclid(1_000).to_string(),
        }
    }

    /// What is signed, piece by piece, so that a large body is not copied.
    pub(super) fn signed_parts<'a>(&'a self, presented: &Presented<'a>, body: &'a [u8]) -> Vec<&'a [u8]> {
        let piece = |piece: &'a Piece| match piece {
            Piece::Body => body,
            Piece::Timestamp => presented.timestamp.unwrap_or_default().as_bytes(),
            Piece::Id => presented.id.unwrap_or_default().as_bytes(),
            Piece::Literal(text) => text.as_bytes(),
        };
        self.signed.iter().map(piece).collect()
    }
}
