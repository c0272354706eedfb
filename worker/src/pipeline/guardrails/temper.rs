//! How the customer speaks, and whether they get anywhere: anger by what is said and how, and the same question asked
//! again in other words.
//!
//! Anger is counted in hundredths: 35 for each phrase of the lexicon, up to three; 30 for a message in capitals; 10 or 20
//! for exclamation marks; 20 for what was just said before. Each earlier line weighs six tenths of the one after it.
//! Whoever only likes capitals is not angry: without a word of the lexicon, style alone is worth 40 at most.

use std::collections::HashSet;

use aho_corasick::BuildError;
use lens::phrases::{Match, Phrases};
use lens::{Span, View};

use super::mention::denied;
use super::result::{Found, Reason};
use super::talk::Heard;
use super::words::phrases;
use crate::policy::AngerRule;

/// What each sign is worth.
const PHRASE: u32 = 35;
const CAPITALS: u32 = 30;
const MARK: u32 = 10;
const AGAIN: u32 = 20;
/// The most that style alone is worth.
const STYLE_ALONE: u32 = 40;
/// Phrases and exclamation signs beyond which more do not make it worse.
const MOST_PHRASES: usize = 3;
/// Letters below which capitals are an abbreviation.
const FEWEST_LETTERS: usize = 10;
/// Words below which nothing is a question that could be asked again.
const FEWEST_WORDS: usize = 3;
/// The share of words, in tenths, that two writings of one question have in common.
const ALIKE: usize = 7;

/// The rule about anger, ready to run.
#[derive(Debug)]
pub(super) struct Anger {
    words: Phrases,
    negation: Phrases,
    threshold: u32,
    window: usize,
}

impl Anger {
    pub(super) fn new(rule: &AngerRule) -> Result<Self, BuildError> {
        Ok(Self {
            words: phrases(&rule.words)?,
            negation: phrases(&rule.negation)?,
            threshold: (rule.threshold * 100.0).round() as u32,
            window: usize::try_from(rule.window).unwrap_or(usize::MAX),
        })
    }

    pub(super) fn judge(&self, text: &str, view: &View, earlier: &[Heard]) -> Found {
        let said = self.said(view);
        let mut words = u32::try_from(said.len().min(MOST_PHRASES)).unwrap_or(0) * PHRASE;
        let window = || earlier.iter().rev().take(self.window);
        let again = view.words.len() > 1 && window().any(|line| line.view().text == view.text);
        let mut style = capitals(text) + marks(text) + if again { AGAIN } else { 0 };
        let clean = Found::nothing(Reason::Clean);
        if words + style == 0 {
            return clean.scored(0.0);
        }
        let mut share = 100;
        for line in window() {
            share = share * 6 / 10;
            let said = u32::try_from(self.said(line.view()).len().min(MOST_PHRASES)).unwrap_or(0);
            words += said * PHRASE * share / 100;
            style += (capitals(line.text()) + marks(line.text())) * share / 100;
        }
        let heat = if words == 0 { style.min(STYLE_ALONE) } else { words + style };
        let score = f64::from(heat.min(100)) / 100.0;
        if heat >= self.threshold { Found::at(Reason::Angry, said).scored(score) } else { clean.scored(score) }
    }

    /// What of the lexicon is there, and meant.
    fn said(&self, view: &View) -> Vec<Span> {
        let hits: Vec<Match> = self.words.find(view).collect();
        if hits.is_empty() {
            return Vec::new();
        }
        let negations: Vec<Match> = self.negation.find(view).collect();
        let mut said: Vec<Span> = Vec::new();
        for hit in hits.into_iter().filter(|hit| !denied(view, *hit, &negations)) {
            let span = view.span(hit.first, hit.last);
            // One of a longer phrase's words counts once.
            match said.last_mut().filter(|last| span.start < last.end) {
                Some(last) => last.start = last.start.min(span.start),
                None => said.push(span),
            }
        }
        said
    }
}

fn capitals(text: &str) -> u32 {
    let letters = || text.chars().filter(|c| c.is_lowercase() || c.is_uppercase());
    let (all, upper) = (letters().count(), letters().filter(|c| c.is_uppercase()).count());
    if all >= FEWEST_LETTERS && upper * 10 >= all * 7 { CAPITALS } else { 0 }
}

fn marks(text: &str) -> u32 {
    match text.chars().filter(|c| *c == '!').count() {
        0 | 1 => 0,
        2 => MARK,
        _ => 2 * MARK,
    }
}

/// How often one question was asked, this time included: nearly the same words, and the same figures.
pub(super) fn times_asked(view: &View, earlier: &[Heard]) -> usize {
    let words = |view: &View| -> HashSet<String> { view.text.split(' ').map(str::to_owned).collect() };
    let asked = words(view);
    if asked.len() < FEWEST_WORDS {
        return 1;
    }
    let figures = |words: &HashSet<String>| -> HashSet<String> {
        words.iter().filter(|word| word.bytes().any(|byte| byte.is_ascii_digit())).cloned().collect()
    };
    let alike = earlier.iter().map(|line| words(line.view())).filter(|before| {
        let (both, either) = (asked.intersection(before).count(), asked.union(before).count());
        both * 10 >= either * ALIKE && figures(&asked) == figures(before)
    });
    1 + alike.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PerLocale;

    fn anger() -> Anger {
        let list = |words: &[&str]| {
            PerLocale::from([("en".to_owned(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())])
        };
        let words = list(&["ridiculous", "unacceptable", "worst", "worst service", "estafa*", "angry"]);
        Anger::new(&AngerRule { words, negation: list(&["not"]), threshold: 0.55, window: 4 }).unwrap()
    }

    fn heard(lines: &[&str]) -> Vec<Heard> {
        lines.iter().map(|line| Heard::of(line)).collect()
    }

    #[test]
    fn anger_grows_over_a_window_of_lines_and_shouting_alone_is_no_anger() {
        for (earlier, text, angry) in [
            (&[][..], "This is ridiculous and unacceptable", true),
            (&[], "This is ridiculous!!!", true),
            (&[], "this is ridiculous", false),
            (&["this is ridiculous"], "the worst service ever", true),
            (&["this is ridiculous", "hm"], "it is the worst", false),
            (&["this is ridiculous", "really, the worst"], "what an estafa", true),
            (&["THIS IS RIDICULOUS!!!"], "where is it", false),
            (&["THIS IS RIDICULOUS!!!"], "WHERE IS MY ORDER!!!", true),
            (&[], "HOLA!!! CUANTO CUESTA LA MAQUINA???", false),
            (&["HOLA!!! CUANTO CUESTA LA MAQUINA???"], "HOLA!!! CUANTO CUESTA LA MAQUINA???", false),
            (&[], "I am not angry, thank you!!!", false),
            (&[], "worst service", false),
            (&[], "thanks!!!", false),
            (&[], "", false),
        ] {
            let found = anger().judge(text, &View::plain(text), &heard(earlier));
            assert_eq!(found.hit, angry, "{earlier:?} {text}: {:?}", found.score);
        }
    }

    #[test]
    fn one_question_in_other_words_is_the_same_and_about_another_thing_it_is_not() {
        let asked = |earlier: &[&str], text: &str| times_asked(&View::plain(text), &heard(earlier));
        assert_eq!(asked(&["where is my order", "hello", "Where is my order??"], "so where is my order"), 3);
        assert_eq!(asked(&["¿Cuánto cuesta la Alba 20?"], "¿Cuánto cuesta la Alba 50?"), 1);
        assert_eq!(asked(&["where is my order"], "where is my refund"), 1);
        assert_eq!(asked(&["ok thanks", "ok thanks"], "ok thanks"), 1);
    }
}
