//! Whether a message is about the business, taught by examples.
//!
//! A policy gives messages that are about it and messages that are not, and words that speak for either. From them a
//! small linear model over words, pairs of words and their beginnings is learnt when the policy is loaded: the same
//! examples always teach the same model. It leans towards the business where nothing speaks, since sending a customer
//! away costs more than answering a friend.

use std::collections::HashMap;

use aho_corasick::BuildError;

use crate::normal::{Span, View, Views};
use crate::phrases::Phrases;

/// What a topic is taught from.
#[derive(Clone, Debug, Default)]
pub struct Lesson<'a> {
    /// Messages about the business.
    pub on: Vec<&'a str>,
    /// Messages about something else.
    pub off: Vec<&'a str>,
    /// Words and stems that speak for the business.
    pub about: Vec<&'a str>,
    /// Words and stems that speak against it.
    pub besides: Vec<&'a str>,
}

/// A topic, learnt.
#[derive(Clone, Debug)]
pub struct Topic {
    about: Phrases,
    besides: Phrases,
    weights: HashMap<u64, f32>,
    bias: f32,
    about_weight: f32,
    besides_weight: f32,
}

/// How far a message is from the business.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    /// 0 is about the business, 1 is about something else.
    pub score: f32,
    /// The words that spoke for something else; all of it where none was listed.
    pub spans: Vec<Span>,
}

const EPOCHS: usize = 40;
const RATE: f32 = 0.3;
const DECAY: f32 = 2e-3;
/// More words of one kind say no more.
const MOST_WORDS: usize = 3;
/// Words of a message that are looked at one by one.
const MOST_FEATURED: usize = 200;
/// What an unknown message is taken for.
const LEANING: f32 = -0.8;

struct Example {
    features: Vec<u64>,
    about: f32,
    besides: f32,
    off: f32,
}

impl Topic {
    /// Learns a topic.
    ///
    /// # Errors
    /// When there are too many words for one automaton.
    pub fn learn(lesson: &Lesson<'_>) -> Result<Self, BuildError> {
        let mut topic = Self {
            about: Phrases::new(lesson.about.iter().copied())?,
            besides: Phrases::new(lesson.besides.iter().copied())?,
            weights: HashMap::new(),
            bias: LEANING,
            about_weight: -1.5,
            besides_weight: 1.5,
        };
        let mut examples: Vec<Example> = Vec::new();
        for (texts, off) in [(&lesson.on, 0.0), (&lesson.off, 1.0)] {
            examples.extend(texts.iter().map(|text| topic.example(&View::plain(text), off)));
        }
        let balance = lesson.on.len() as f32 / lesson.off.len().max(1) as f32;
        for epoch in 0..EPOCHS {
            let rate = RATE / (1.0 + epoch as f32 / 8.0);
            // Both kinds in turn, in an order that is always the same.
            for step in 0..examples.len() {
                let at = (step * 7919 + epoch) % examples.len();
                topic.step(&examples[at], rate, if examples[at].off > 0.5 { balance.clamp(0.5, 2.0) } else { 1.0 });
            }
        }
        Ok(topic)
    }

    fn example(&self, view: &View, off: f32) -> Example {
        let count = |phrases: &Phrases| {
            let mut words: Vec<usize> = phrases.find(view).map(|hit| hit.first).collect();
            words.dedup();
            words.len().min(MOST_WORDS) as f32
        };
        let (about, besides) = (count(&self.about), count(&self.besides));
        let mut features = features(view);
        // A long message in which nothing is known says something by that alone.
        let length = view.words.len().min(9) / 3;
        features.push(digest(if about > 0.0 { "+" } else { "-" }, &length.to_string()));
        Example { features, about, besides, off }
    }

    fn logit(&self, example: &Example) -> f32 {
        let scale = 1.0 / (example.features.len().max(4) as f32).sqrt();
        let learnt: f32 = example.features.iter().filter_map(|feature| self.weights.get(feature)).sum();
        self.bias + learnt * scale + example.about * self.about_weight + example.besides * self.besides_weight
    }

    fn step(&mut self, example: &Example, rate: f32, weight: f32) {
        let error = (sigmoid(self.logit(example)) - example.off) * weight;
        let scale = 1.0 / (example.features.len().max(4) as f32).sqrt();
        for feature in &example.features {
            let known = self.weights.entry(*feature).or_default();
            *known -= rate * 4.0 * (error * scale + DECAY * *known);
        }
        self.about_weight = (self.about_weight - rate * 0.1 * error * example.about).min(-0.5);
        self.besides_weight = (self.besides_weight - rate * 0.1 * error * example.besides).max(0.5);
    }

    /// How far a text is from the business.
    #[must_use]
    pub fn distance(&self, views: &Views<'_>) -> Distance {
        let view = views.plain();
        let score = sigmoid(self.logit(&self.example(view, 0.0)));
        let mut spans: Vec<Span> = self.besides.find(view).map(|hit| view.span(hit.first, hit.last)).collect();
        if spans.is_empty() && !view.words.is_empty() {
            spans.push(view.span(0, view.words.len() - 1));
        }
        Distance { score, spans }
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Words, pairs, and the beginnings of long words, which inflections share, each by its digest. Numbers are all alike.
fn features(view: &View) -> Vec<u64> {
    let mut features = Vec::with_capacity(view.words.len() * 4);
    let mut last = "^";
    for word in view.text.split(' ').filter(|word| !word.is_empty()).take(MOST_FEATURED) {
        let word = if word.starts_with(|c: char| c.is_ascii_digit()) { "0" } else { word };
        for beginning in [4, 6] {
            if let Some((end, _)) = word.char_indices().nth(beginning) {
                features.push(digest("*", &word[..end]));
            }
        }
        let letters: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        for four in letters.windows(5).skip(1).filter(|_| letters.len() > 5) {
            features.push(digest("+", &word[four[0]..four[4]]));
        }
        if letters.len() > 5 {
            features.push(digest("<", &word[letters[letters.len() - 4]..]));
        }
        features.push(digest(last, word));
        features.push(digest("", word));
        last = word;
    }
    features
}

fn digest(one: &str, other: &str) -> u64 {
    let bytes = one.bytes().chain([b' ']).chain(other.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        let on = [
            "¿cuánto cuesta la máquina?",
            "hola",
            "necesito agujas",
            "mi máquina no cose",
            "¿hacen envíos?",
            "gracias",
        ];
        let off = [
            "vamos al cine hoy",
            "te quiero mucho",
            "¿cómo está tu mamá?",
            "feliz cumpleaños",
            "¿quién ganó el partido?",
        ];
        let lesson =
            Lesson { on: on.to_vec(), off: off.to_vec(), about: vec!["maquin*", "aguja*"], besides: vec!["partido"] };
        Topic::learn(&lesson).unwrap()
    }

    #[test]
    fn what_was_taught_is_told_apart_and_the_unknown_is_taken_for_business() {
        let topic = topic();
        let score = |text: &str| topic.distance(&Views::of(text)).score;
        for text in ["¿cuánto cuestan las agujas?", "mi maquina hace ruido", "hola, gracias", "xyz", ""] {
            assert!(score(text) < 0.5, "{text}: {}", score(text));
        }
        for text in ["vamos al cine", "te quiero", "feliz cumpleaños mamá", "el partido de hoy"] {
            assert!(score(text) > 0.5, "{text}: {}", score(text));
        }
    }

    #[test]
    fn the_same_lesson_teaches_the_same() {
        let (one, other) = (topic(), topic());
        let views = Views::of("¿vamos al cine por la máquina?");
        assert_eq!(one.distance(&views), other.distance(&views));
    }
}
