//! Which of the policy's locales a message is in: a count of small words, enough to choose a fixed text by.

use std::collections::HashMap;

/// The cue words of every locale, normalised.
#[derive(Clone, Debug, Default)]
pub(super) struct Cues {
    locales: usize,
    by_word: HashMap<String, Vec<usize>>,
}

impl Cues {
    pub(super) fn add(&mut self, locale: usize, words: impl IntoIterator<Item = String>) {
        self.locales = self.locales.max(locale + 1);
        for word in words {
            let known = self.by_word.entry(word).or_default();
            if !known.contains(&locale) {
                known.push(locale);
            }
        }
    }

    /// The locale with the most cues among the normalised words; `None` for none or a tie.
    pub(super) fn detect(&self, words: &str) -> Option<usize> {
        let mut counts = vec![0_u32; self.locales];
        for locale in words.split(' ').filter_map(|word| self.by_word.get(word)).flatten() {
            counts[*locale] += 1;
        }
        let most = counts.iter().copied().max().filter(|most| *most > 0)?;
        let mut winners = counts.iter().enumerate().filter(|(_, count)| **count == most);
        let (winner, _) = winners.next()?;
        winners.next().is_none().then_some(winner)
    }
}
