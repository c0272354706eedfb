//! The linear model: a byte for each bucket of n-grams, a number for each group of phrases.

use super::features::{BUCKETS, GROUPS, Seen};

/// Words in a window, and how far it moves: an attack of two sentences fills the long one, a short sentence the other.
const WINDOWS: [(usize, usize); 2] = [(40, 20), (16, 8)];
/// N-grams below which a text is too short for each of them to weigh in full: "and now?" is nobody's command.
const FEWEST: usize = 60;
const MAGIC: &[u8; 8] = b"lens-i03";

/// The model's numbers.
#[derive(Clone, Debug)]
pub struct Weights {
    /// What every text starts with; the threshold is taken off already.
    pub bias: f32,
    /// What one step of a bucket's weight is worth.
    pub scale: f32,
    /// A weight for each group of phrases.
    pub groups: [f32; GROUPS],
    /// A weight for each bucket.
    pub buckets: Vec<i8>,
}

impl Default for Weights {
    fn default() -> Self {
        Self { bias: -1.0, scale: 0.0, groups: [1.0; GROUPS], buckets: vec![0; BUCKETS] }
    }
}

impl Weights {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (numbers, buckets) = rest.split_at_checked((2 + GROUPS) * 4)?;
        let mut floats = numbers.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
        let (bias, scale) = (floats.next()?, floats.next()?);
        let mut groups = [0.0; GROUPS];
        groups.iter_mut().zip(floats).for_each(|(weight, read)| *weight = read);
        let buckets: Vec<i8> = buckets.iter().map(|byte| byte.cast_signed()).collect();
        (buckets.len() == BUCKETS).then_some(Self { bias, scale, groups, buckets })
    }

    /// The file that ships.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let floats = [self.bias, self.scale].into_iter().chain(self.groups);
        floats.for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(self.buckets.iter().map(|weight| weight.cast_unsigned()));
        bytes
    }

    /// How much speaks for an attack, and the window (first and last word) that says most.
    #[must_use]
    pub fn logit(&self, seen: &Seen) -> (f32, (usize, usize)) {
        let spoken: f32 = seen.groups.iter().zip(self.groups).filter(|(on, _)| **on).map(|(_, weight)| weight).sum();
        let mut sums = Vec::with_capacity(seen.ends.len() + 1);
        let (mut sum, mut at) = (0_i32, 0);
        sums.push(sum);
        for end in &seen.ends {
            sum +=
                seen.buckets[at..*end].iter().map(|bucket| i32::from(self.buckets[usize::from(*bucket)])).sum::<i32>();
            at = *end;
            sums.push(sum);
        }
        let score = |(from, to): (usize, usize)| {
            let begins = if from == 0 { 0 } else { seen.ends[from - 1] };
            (sums[to] - sums[from]) as f32 / share(seen.ends[to - 1] - begins)
        };
        let best = windows(seen.ends.len()).map(|window| (score(window), window)).max_by(|a, b| a.0.total_cmp(&b.0));
        let (most, (from, to)) = best.unwrap_or((0.0, (0, 1)));
        (self.bias + spoken + most * self.scale, (from, to - 1))
    }
}

/// What the sum over so many n-grams is divided by.
#[must_use]
pub fn share(count: usize) -> f32 {
    (count.max(FEWEST) as f32).sqrt()
}

/// Windows over so many words, as (first, after the last): the whole, and each stretch of a long text.
pub fn windows(words: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = (words > 0).then_some((0, words));
    let parts = WINDOWS
        .iter()
        .filter(move |(size, _)| words > *size)
        .flat_map(move |(size, stride)| (0..words).step_by(*stride).map(move |from| (from, (from + size).min(words))));
    whole.into_iter().chain(parts)
}
