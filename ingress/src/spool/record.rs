//! The spool's file format: how a record is written, and how whole ones are told from what a power cut left. Pure.
//!
//! A file begins with a head of 16 bytes: `HRSPOOL`, the version (1 byte), and the first 8 bytes of the SHA-256 of
//! those. Records follow without gaps:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | mark: `A9 48 52 65` |
//! | 4 | length of the body, big endian |
//! | 8 | when it was kept, microseconds since 1970, big endian |
//! | 16 | first bytes of the SHA-256 over the 16 bytes before and the body |
//! | … | the body: an envelope as it travels, sealed |
//!
//! A record counts only whole and with its checksum; nothing else is ever replayed. Where one does not hold, reading
//! goes on at the next that does: what lies between is *damaged*, and what nothing whole follows is *torn*.

use std::ops::Range;

use common::domain::Micros;
use common::envelope::MAX_BYTES;
use sha2::{Digest, Sha256};

/// The version this build writes, and the newest it reads.
pub(super) const VERSION: u8 = 1;
/// Bytes before a file's first record.
pub(super) const FILE_HEAD: usize = 16;
/// Bytes before a record's body.
pub(super) const RECORD_HEAD: usize = 32;

const MAGIC: [u8; 7] = *b"HRSPOOL";
const MARK: [u8; 4] = [0xA9, b'H', b'R', b'e'];
/// The bytes of a record's head that its checksum covers.
const SUMMED: usize = 16;

/// What a file begins with.
pub(super) fn file_head(version: u8) -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..7].copy_from_slice(&MAGIC);
    head[7] = version;
    let sum = Sha256::digest(&head[..8]);
    head[8..].copy_from_slice(&sum[..8]);
    head
}

/// The version in a file's head, if that is whole.
pub(super) fn version_of(bytes: &[u8]) -> Option<u8> {
    let head = bytes.get(..FILE_HEAD)?;
    (head == file_head(head[7])).then_some(head[7])
}

/// Appends a record to `into`.
pub(super) fn encode(at: Micros, body: &[u8], into: &mut Vec<u8>) {
    let mut head = [0; RECORD_HEAD];
    head[..4].copy_from_slice(&MARK);
    // No envelope is longer than MAX_BYTES; one that were would never be read back.
    head[4..8].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    head[8..SUMMED].copy_from_slice(&at.0.to_be_bytes());
    let sum = checksum(&head[..SUMMED], body);
    head[SUMMED..].copy_from_slice(&sum);
    into.extend_from_slice(&head);
    into.extend_from_slice(body);
}

fn checksum(summed: &[u8], body: &[u8]) -> [u8; RECORD_HEAD - SUMMED] {
    let digest = Sha256::new().chain_update(summed).chain_update(body).finalize();
    let mut sum = [0; RECORD_HEAD - SUMMED];
    sum.copy_from_slice(&digest[..RECORD_HEAD - SUMMED]);
    sum
}

/// What a record's head says of itself, before its checksum is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Bytes of the body.
    pub(super) body: usize,
    /// When it was kept.
    pub(super) at: Micros,
}

/// Reads a record's head.
pub(super) fn announced(bytes: &[u8]) -> Option<Announced> {
    let head = bytes.get(..RECORD_HEAD)?;
    let body = u32::from_be_bytes(head[4..8].try_into().ok()?) as usize;
    let at = Micros(i64::from_be_bytes(head[8..SUMMED].try_into().ok()?));
    (head[..4] == MARK && body <= MAX_BYTES).then_some(Announced { body, at })
}

/// The record that `bytes` begin with, if it is whole and its checksum holds.
pub(super) fn whole(bytes: &[u8]) -> Option<Announced> {
    let said = announced(bytes)?;
    let body = bytes.get(RECORD_HEAD..RECORD_HEAD + said.body)?;
    (bytes[SUMMED..RECORD_HEAD] == checksum(&bytes[..SUMMED], body)).then_some(said)
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A record: where its body is, and when it was kept.
    Whole { body: Range<usize>, at: Micros },
    /// Unreadable, with whole records after it.
    Damaged(Range<usize>),
    /// Unreadable to the end.
    Torn(Range<usize>),
}

/// Takes records apart from `from` to the end of `bytes`.
pub(super) fn scan(bytes: &[u8], from: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = from;
    while at < bytes.len() {
        if let Some(said) = whole(&bytes[at..]) {
            let body = at + RECORD_HEAD..at + RECORD_HEAD + said.body;
            at = body.end;
            pieces.push(Piece::Whole { body, at: said.at });
            continue;
        }
        let Some(next) = (at + 1..bytes.len()).find(|next| whole(&bytes[*next..]).is_some()) else {
            pieces.push(Piece::Torn(at..bytes.len()));
            break;
        };
        pieces.push(Piece::Damaged(at..next));
        at = next;
    }
    pieces
}

/// Takes a whole file apart. A damaged head costs only itself.
pub(super) fn scan_file(bytes: &[u8]) -> Vec<Piece> {
    if version_of(bytes).is_some() {
        return scan(bytes, FILE_HEAD);
    }
    scan(bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODIES: [&[u8]; 4] = [b"the first", b"", b"the third, a little longer", b"HRSPOOL\x01 in a body"];

    fn file() -> Vec<u8> {
        let mut bytes = file_head(VERSION).to_vec();
        BODIES.iter().zip(1..).for_each(|(body, at)| encode(Micros(at), body, &mut bytes));
        bytes
    }

    fn bodies(bytes: &[u8]) -> Vec<&[u8]> {
        let body = |piece: Piece| match piece {
            Piece::Whole { body, .. } => Some(&bytes[body]),
            Piece::Damaged(_) | Piece::Torn(_) => None,
        };
        scan_file(bytes).into_iter().filter_map(body).collect()
    }

    fn unreadable(bytes: &[u8]) -> usize {
        scan_file(bytes).iter().filter(|piece| !matches!(piece, Piece::Whole { .. })).count()
    }

    /// Where each record ends, the head's end first.
    fn ends() -> Vec<usize> {
        let mut ends = vec![FILE_HEAD];
        for body in BODIES {
            ends.push(ends[ends.len() - 1] + RECORD_HEAD + body.len());
        }
        ends
    }

    #[test]
    fn what_is_written_is_read_back_in_order_with_its_time() {
        let bytes = file();
        assert_eq!(bodies(&bytes), BODIES);
        assert_eq!((unreadable(&bytes), version_of(&bytes)), (0, Some(VERSION)));
        assert!(matches!(scan_file(&bytes)[2], Piece::Whole { at: Micros(3), .. }));
    }

    #[test]
    fn every_cut_leaves_exactly_the_records_that_are_whole_before_it() {
        let bytes = file();
        for cut in 0..bytes.len() {
            let left = &bytes[..cut];
            let whole = ends().iter().skip(1).filter(|end| **end <= cut).count();
            assert_eq!(bodies(left), BODIES[..whole], "cut at {cut}");
            let clean = cut == 0 || ends().contains(&cut);
            let torn = scan_file(left).iter().filter(|piece| matches!(piece, Piece::Torn(_))).count();
            assert_eq!((torn, unreadable(left)), if clean { (0, 0) } else { (1, 1) }, "cut at {cut}");
        }
    }

    #[test]
    fn every_changed_byte_costs_at_most_its_own_record_and_is_seen() {
        let bytes = file();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let hit = ends().iter().position(|end| at < *end).unwrap();
                let left: Vec<&[u8]> =
                    BODIES.iter().enumerate().filter(|(n, _)| *n + 1 != hit).map(|(_, body)| *body).collect();
                assert_eq!(bodies(&changed), left, "byte {at}, bit {bit}");
                assert_eq!(unreadable(&changed), 1, "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn zeros_and_noise_where_a_file_was_extended_hold_nothing() {
        let mut bytes = file();
        bytes.extend_from_slice(&[0; 4_096]);
        assert_eq!((bodies(&bytes).len(), unreadable(&bytes)), (BODIES.len(), 1));
        assert!(bodies(&[0xA9; 500]).is_empty());
        // A length that reaches beyond the file, or beyond what an envelope may have, is no reason to read on.
        let mut head = Vec::new();
        encode(Micros(1), b"", &mut head);
        head[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(announced(&head), None);
    }

    #[test]
    fn a_newer_version_is_told_from_a_damaged_head() {
        let mut newer = file();
        newer[..FILE_HEAD].copy_from_slice(&file_head(9));
        assert_eq!(version_of(&newer), Some(9));
        newer[7] = 8;
        assert_eq!(version_of(&newer), None);
    }
}
