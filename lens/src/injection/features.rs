//! What the model sees of a view: hashed n-grams word by word, and the groups of phrases that speak in it.

use super::patterns::{self, Hit};
use crate::normal::View;

/// How many buckets the n-grams are hashed into.
pub const BUCKETS: usize = 1 << 16;
/// The groups of phrases.
pub const GROUPS: usize = patterns::GROUPS.len();
/// Longer words are no words; only their beginning counts.
const LONGEST_WORD: usize = 48;

/// A view as the model sees it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The bucket of every n-gram, in the order of the words that end it.
    pub buckets: Vec<u16>,
    /// For each word, how many buckets there are up to its end.
    pub ends: Vec<usize>,
    /// Phrases that speak.
    pub(super) hits: Vec<Hit>,
    /// Which groups they belong to.
    pub groups: [bool; GROUPS],
}

impl Seen {
    /// Looks at a view of a text.
    #[must_use]
    pub fn of(view: &View, original: &str) -> Self {
        let words = view.words.len();
        let mut seen =
            Self { buckets: Vec::with_capacity(words * 14), ends: Vec::with_capacity(words), ..Self::default() };
        let (mut before, mut last) = (0_u32, 0_u32);
        for word in view.text.split(' ').filter(|word| !word.is_empty()) {
            let bytes = &word.as_bytes()[..word.len().min(LONGEST_WORD)];
            let whole = hash(1, bytes);
            seen.push(whole);
            if last != 0 {
                seen.push(join(2, last, whole));
            }
            if before != 0 {
                seen.push(join(join(3, before, 0), last, whole));
            }
            seen.characters(bytes);
            (before, last) = (last, whole);
            seen.ends.push(seen.buckets.len());
        }
        seen.hits = patterns::find(view, original);
        for hit in &seen.hits {
            seen.groups[hit.group] = true;
        }
        seen
    }

    /// The names of the groups that speak.
    #[must_use]
    pub fn groups(&self) -> Vec<&'static str> {
        patterns::GROUPS.iter().zip(self.groups).filter(|(_, speaks)| *speaks).map(|(name, _)| *name).collect()
    }

    /// Three to five characters in a row, a word's edges being characters too.
    fn characters(&mut self, word: &[u8]) {
        let edge = [b'<'];
        let all = || edge.iter().chain(word).chain(b">").copied();
        let length = word.len() + 2;
        for start in 0..length.saturating_sub(2) {
            let mut state = seed(4);
            for (at, byte) in all().skip(start).take(5).enumerate() {
                state = step(state, byte);
                if at >= 2 {
                    self.push(state);
                }
            }
        }
    }

    fn push(&mut self, state: u32) {
        // The upper bits of a multiplicative hash are the mixed ones.
        let mixed = (state ^ (state >> 15)).wrapping_mul(0x9e37_79b1);
        self.buckets.push((mixed >> 16) as u16);
    }
}

const fn seed(kind: u32) -> u32 {
    0x811c_9dc5 ^ kind.wrapping_mul(0x85eb_ca6b)
}

const fn step(state: u32, byte: u8) -> u32 {
    (state ^ byte as u32).wrapping_mul(0x0100_0193)
}

fn hash(kind: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed(kind), |state, byte| step(state, *byte)) | 1
}

const fn join(kind: u32, one: u32, other: u32) -> u32 {
    (seed(kind) ^ one).wrapping_mul(0x27d4_eb2f).rotate_left(13) ^ other.wrapping_mul(0x1656_67b1)
}
