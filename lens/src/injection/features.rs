//! What the model sees of a view: hashed n-grams word by word, and the groups of phrases that speak in it.

use super::patterns::{self, Classed, Hit};
use crate::normal::View;

/// How many buckets the n-grams are hashed into.
pub const BUCKETS: usize = 1 << 16;
/// The groups of phrases.
pub const GROUPS: usize = patterns::GROUPS.len();
/// Longer words are no words; only their beginning counts.
const LONGEST_WORD: usize = 48;
/// Letters of a word in a script that may not part its words at all.
const LONGEST_RUN: usize = 160;

/// How many words apart two classes still speak together, and how many n-grams each is worth.
const REACH: usize = 8;
const WORTH: usize = 3;

/// The classes that stood last.
#[derive(Default)]
struct Near {
    before: [Option<Classed>; 6],
    last: Option<Classed>,
}

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
        let (hits, classed) = patterns::find(view, original);
        let mut near = Near::default();
        let mut classed = classed.into_iter().peekable();
        let (mut before, mut last) = (0_u32, 0_u32);
        for (at, word) in view.text.split(' ').filter(|word| !word.is_empty()).enumerate() {
            let bytes = &word.as_bytes()[..word.len().min(LONGEST_WORD)];
            let whole = hash(1, if word.is_ascii() { bytes } else { word.as_bytes() });
            seen.push(whole);
            if last != 0 {
                seen.push(join(2, last, whole));
            }
            if before != 0 {
                seen.push(join(join(3, before, 0), last, whole));
            }
            if word.is_ascii() {
                seen.characters(bytes);
            } else {
                seen.letters(word);
            }
            while let Some(class) = classed.next_if(|class| class.word <= at) {
                seen.class(class, &mut near);
            }
            (before, last) = (last, whole);
            seen.ends.push(seen.buckets.len());
        }
        seen.hits = hits;
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

    /// A class of words, and with it each that stands shortly before.
    fn class(&mut self, Classed { class, word }: Classed, near: &mut Near) {
        if near.last.is_some_and(|last| last.class == class && last.word == word) {
            return;
        }
        let own = hash(9, &[class]);
        for _ in 0..WORTH {
            self.push(own);
        }
        for other in near.before.iter().flatten().filter(|other| word - other.word <= REACH) {
            let pair = join(10, hash(9, &[other.class]), own);
            for _ in 0..WORTH {
                self.push(pair);
            }
        }
        near.before.rotate_right(1);
        near.before[0] = Some(Classed { class, word });
        near.last = near.before[0];
    }

    /// Two to four letters in a row where a letter is more than a byte, or as good as a word.
    fn letters(&mut self, word: &str) {
        let mut last = [0_u32; 3];
        for c in word.chars().take(LONGEST_RUN) {
            let c = hash(5, &u32::from(c).to_le_bytes());
            let [third, second, first] = last;
            let two = join(6, first, c);
            let three = join(7, second, two);
            self.push(two);
            self.push(three);
            self.push(join(8, third, three));
            last = [second, first, c];
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
