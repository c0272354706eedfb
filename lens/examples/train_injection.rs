//! Trains the injection model and writes the weights that are compiled in.
//!
//! `cargo run --release -p lens --example train_injection -- injection-train.jsonl [--write]`
//!
//! Rows are split before anything is learnt: our own by the line that they were written from, the others by a hash of
//! their first words, so that near-twins stay together. A tenth is kept for the figures that are printed at the end;
//! on the rest the threshold is chosen by cross-validation, never on rows that the judging model has seen. Then each
//! source's attacks are left out in turn and looked for: what to expect of attacks from elsewhere.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool run by hand: it stops at what it cannot read")]

use std::collections::BTreeMap;

use base64::Engine;
use lens::injection::features::{BUCKETS, Seen};
use lens::injection::model::{share, windows};
use lens::injection::{Weights, judge_by};
use lens::{View, Views};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// One of so many folds: learnt from, and judged by what was learnt from the others.
    Fold(u64),
    Test,
}

const FOLDS: u64 = 5;
const AT_LENGTH: &str = "at length";
const IN_THE_MIDDLE: &str = "in the middle";

struct Row {
    text: String,
    attack: bool,
    source: String,
    /// Of our own attacks, what they try.
    family: String,
    part: Part,
}

impl Row {
    /// A row of ours or of a source's that is of no family.
    fn plain(text: String, attack: bool, source: &str, part: Part) -> Self {
        Self { text, attack, source: source.to_owned(), family: String::new(), part }
    }
}

fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn part_of(key: &str) -> Part {
    match (digest(key) >> 20) % 10 {
        0 => Part::Test,
        other => Part::Fold(other % FOLDS),
    }
}

/// One text written with choices, `{a|b}`, as a few of the texts it stands for.
fn expand(line: &str, most: usize, random: &mut StdRng) -> Vec<String> {
    if !line.contains('|') || line.contains("{{") {
        return vec![line.to_owned()];
    }
    let mut texts: Vec<String> = (0..most * 2).map(|_| choose(line, random)).collect();
    texts.sort();
    texts.dedup();
    texts.truncate(most);
    texts
}

fn choose(line: &str, random: &mut StdRng) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((inside, after)) = after.split_once('}') else { break };
        let options: Vec<&str> = inside.split('|').collect();
        text.push_str(options[random.random_range(0..options.len())]);
        rest = after;
    }
    text + rest
}

fn own(file: &str, attack: bool, rows: &mut Vec<Row>, random: &mut StdRng) {
    let file = std::fs::read_to_string(format!("{}/training/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut cells: Vec<&str> = line.split('\t').collect();
        let text = cells.pop().unwrap();
        let part = part_of(&format!("{attack} {number} {text}"));
        let kind = if attack { "attack" } else { cells[1] };
        let source = format!("own {kind} {}", cells[0]);
        for text in expand(text, if attack { 20 } else { 40 }, random) {
            let family = if attack { cells[1].to_owned() } else { String::new() };
            rows.push(Row { text, attack, source: source.clone(), family, part });
        }
    }
}

fn given(path: &str, rows: &mut Vec<Row>) {
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = row["text"].as_str().unwrap().to_owned();
        let key: Vec<&str> = text.split_whitespace().take(5).collect();
        let part = part_of(&key.join(" ").to_lowercase());
        rows.push(Row::plain(text, row["label"] == "attack", row["source"].as_str().unwrap(), part));
    }
}

/// Several ordinary sentences in a row: people write at length, too. In some of them stands one of attack.
fn at_length(rows: &mut Vec<Row>, random: &mut StdRng) {
    for part in (0..FOLDS).map(Part::Fold).chain([Part::Test]) {
        let of = |chosen: &dyn Fn(&Row) -> bool| -> Vec<String> {
            rows.iter().filter(|row| row.part == part && chosen(row)).map(|row| row.text.clone()).collect()
        };
        let short = of(&is_question);
        let attacks = of(&|row| row.attack && !row.source.contains("satml") && row.text.len() < 240);
        let innocent = |random: &mut StdRng, count: usize| -> Vec<String> {
            (0..count).map(|_| short[random.random_range(0..short.len())].clone()).collect()
        };
        let mut made = Vec::new();
        for at in 0..short.len() / 8 {
            let count = if at % 4 == 0 { random.random_range(9..30) } else { random.random_range(2..9) };
            made.push(Row::plain(innocent(random, count).join(". "), false, AT_LENGTH, part));
        }
        for attack in attacks.iter().step_by(5) {
            let (before, after) = (random.random_range(1..9), random.random_range(0..7));
            let mut text = innocent(random, before);
            text.push(attack.clone());
            text.extend(innocent(random, after));
            made.push(Row::plain(text.join(". "), true, IN_THE_MIDDLE, part));
        }
        rows.extend(made);
    }
}

/// How much a row counts: what a shop meets counts more than attacks on mail assistants, which are most of the data.
fn weight(row: &Row) -> f32 {
    if row.source.starts_with("own trigger") {
        4.0
    } else if row.source == IN_THE_MIDDLE {
        setting("MIDDLE", 1.0)
    } else if row.source.starts_with("own") {
        3.0
    } else if row.source.contains("llmail") || row.source.contains("satml") {
        0.5
    } else if row.attack {
        4.0
    } else {
        1.0
    }
}

struct Trainer {
    rate: f32,
    decay: f32,
    buckets: Vec<f32>,
    bucket_steps: Vec<f32>,
    groups: Vec<f32>,
    group_steps: Vec<f32>,
    bias: f32,
    bias_step: f32,
}

/// A setting from the environment, for trying others.
fn setting(name: &str, otherwise: f32) -> f32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

impl Trainer {
    fn new(groups: usize) -> Self {
        Self {
            rate: setting("RATE", 0.15),
            decay: setting("DECAY", 7e-4),
            buckets: vec![0.0; BUCKETS],
            bucket_steps: vec![1e-2; BUCKETS],
            groups: vec![0.5; groups],
            group_steps: vec![1e-2; groups],
            bias: -1.0,
            bias_step: 1e-2,
        }
    }

    fn range(seen: &Seen, (from, to): (usize, usize)) -> &[u16] {
        let begins = if from == 0 { 0 } else { seen.ends[from - 1] };
        &seen.buckets[begins..seen.ends[to - 1]]
    }

    fn score(&self, seen: &Seen, window: (usize, usize)) -> f32 {
        let buckets = Self::range(seen, window);
        let sum: f32 = buckets.iter().map(|bucket| self.buckets[usize::from(*bucket)]).sum();
        sum / share(buckets.len())
    }

    fn spoken(&self, seen: &Seen) -> f32 {
        seen.groups.iter().zip(&self.groups).filter(|(on, _)| **on).map(|(_, weight)| weight).sum()
    }

    /// One step on the window that scores highest, as it will be judged.
    fn learn(&mut self, seen: &Seen, attack: bool, weight: f32, whole: bool) {
        let all = windows(seen.ends.len());
        let window = if whole {
            windows(seen.ends.len()).next()
        } else {
            all.max_by(|a, b| self.score(seen, *a).total_cmp(&self.score(seen, *b)))
        };
        let Some(window) = window else { return };
        let z = self.score(seen, window) + self.spoken(seen) + self.bias;
        let wanted = f32::from(u8::from(attack));
        let error = (1.0 / (1.0 + (-z).exp()) - wanted) * weight;
        let buckets = Self::range(seen, window);
        let each = error / share(buckets.len());
        for bucket in buckets {
            let at = usize::from(*bucket);
            let slope = each + self.decay * self.buckets[at];
            self.bucket_steps[at] += slope * slope;
            self.buckets[at] -= self.rate * slope / self.bucket_steps[at].sqrt();
        }
        for (at, _) in seen.groups.iter().enumerate().filter(|(_, on)| **on) {
            self.group_steps[at] += error * error;
            self.groups[at] = (self.groups[at] - self.rate * error / self.group_steps[at].sqrt()).max(0.0);
        }
        self.bias_step += error * error;
        self.bias -= self.rate * error / self.bias_step.sqrt();
    }

    fn weights(&self) -> Weights {
        let mut sizes: Vec<f32> = self.buckets.iter().map(|weight| weight.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let scale = sizes[sizes.len() * 9995 / 10000] / 127.0;
        let step = |weight: &f32| (weight / scale).round().clamp(-127.0, 127.0) as i8;
        let mut weights = Weights { bias: self.bias, scale, ..Weights::default() };
        weights.buckets = self.buckets.iter().map(step).collect();
        weights.groups.copy_from_slice(&self.groups);
        weights
    }
}

fn train(rows: &[&Row], random: &mut StdRng) -> Weights {
    let seen: Vec<Seen> = rows.iter().map(|row| Seen::of(&View::plain(&row.text), &row.text)).collect();
    let mut trainer = Trainer::new(Weights::default().groups.len());
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let epochs = setting("EPOCHS", 6.0) as usize;
    for epoch in 0..epochs {
        order.shuffle(random);
        for at in &order {
            // At first a text is learnt whole, except one of which most is innocent.
            let (whole, mixed) = (epoch < 2, rows[*at].source == IN_THE_MIDDLE);
            if !(whole && mixed) {
                trainer.learn(&seen[*at], rows[*at].attack, weight(rows[*at]), whole);
            }
        }
    }
    trainer.weights()
}

fn logit(weights: &Weights, text: &str) -> f32 {
    let score = judge_by(weights, &Views::of(text)).score.clamp(1e-6, 1.0 - 1e-6);
    (score / (1.0 - score)).ln()
}

fn is_question(row: &Row) -> bool {
    !row.attack && !row.source.starts_with("own trigger")
}

fn is_trigger(row: &Row) -> bool {
    row.source.starts_with("own trigger")
}

/// What every row scores under a model that has not seen its fold.
fn unseen<'a>(rows: &'a [Row], random: &mut StdRng) -> Vec<(&'a Row, f32)> {
    let mut scored = Vec::new();
    for fold in 0..FOLDS {
        let others: Vec<&Row> =
            rows.iter().filter(|row| row.part != Part::Fold(fold) && row.part != Part::Test).collect();
        let weights = train(&others, random);
        let own = rows.iter().filter(|row| row.part == Part::Fold(fold));
        scored.extend(own.map(|row| (row, logit(&weights, &row.text))));
    }
    scored
}

/// The logit that at most these shares of unseen questions and unseen trigger sentences exceed.
fn threshold(scored: &[(&Row, f32)]) -> f32 {
    let quantile = |chosen: &dyn Fn(&Row) -> bool, share: f32| {
        let mut scores: Vec<f32> = scored.iter().filter(|(row, _)| chosen(row)).map(|(_, score)| *score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let at = (scores.len() as f32 * share) as usize;
        println!("  {} rows, {} of them above {:.3}", scores.len(), at, scores[at]);
        scores[at]
    };
    let long = |row: &Row| row.source == AT_LENGTH;
    let own = |row: &Row| row.source.starts_with("own");
    quantile(&|row| is_question(row) && !long(row) && !own(row), setting("QUESTIONS", 0.001))
        .max(quantile(&|row| is_question(row) && own(row), setting("OWN", 0.01)))
        .max(quantile(&long, setting("LONG", 0.005)))
        .max(quantile(&is_trigger, setting("TRIGGERS", 0.015)))
}

fn recall(scored: &[(&Row, f32)], threshold: f32) {
    let mut by_source: BTreeMap<(bool, &str), (usize, usize)> = BTreeMap::new();
    for (row, score) in scored {
        let counts = by_source.entry((row.attack, row.source.as_str())).or_default();
        counts.0 += 1;
        counts.1 += usize::from(*score >= threshold);
    }
    print(by_source);
}

fn print(by_source: BTreeMap<(bool, &str), (usize, usize)>) {
    for ((attack, source), (all, flagged)) in by_source {
        let kind = if attack { "attack" } else { "benign" };
        println!("  {kind} {source:42} {flagged:5} of {all:5} flagged, {:.2} %", 100.0 * flagged as f64 / all as f64);
    }
}

fn figures(weights: &Weights, rows: &[Row], shown: impl Fn(&Row) -> bool, verbose: bool) {
    let mut by_source: BTreeMap<(bool, &str), (usize, usize)> = BTreeMap::new();
    let mut told = 0;
    for row in rows.iter().filter(|row| shown(row)) {
        let flagged = judge_by(weights, &Views::of(&row.text)).score >= 0.5;
        let counts = by_source.entry((row.attack, row.source.as_str())).or_default();
        counts.0 += 1;
        counts.1 += usize::from(flagged);
        if verbose && flagged != row.attack && told < 60 {
            told += 1;
            println!("  wrong {} {:.110}", row.source, row.text.replace('\n', " "));
        }
    }
    print(by_source);
}

const LEFT_OUT: [&str; 8] =
    ["safeguard", "trustai", "lakera", "satml", "llmail", "own attack en", "own attack es", "own attack pt"];
const FAMILIES: [&str; 15] = [
    "override",
    "persona",
    "extraction",
    "authority",
    "delimiter",
    "puppetry",
    "tool",
    "indirect",
    "exfil",
    "story",
    "encoding",
    "suppression",
    "emotional",
    "shop",
    "harm",
];

/// How many of the rows are found by a model that has learnt from none like them.
fn left_out(rows: &[Row], threshold: f32, name: &str, chosen: impl Fn(&Row) -> bool) {
    let (of, others): (Vec<&Row>, Vec<&Row>) =
        rows.iter().filter(|row| row.part != Part::Test && row.source != IN_THE_MIDDLE).partition(|row| chosen(row));
    let weights = train(&others, &mut StdRng::seed_from_u64(7));
    let found = of.iter().filter(|row| logit(&weights, &row.text) >= threshold).count();
    println!("  {name:16} {found:5} of {:5}, {:.2} %", of.len(), 100.0 * found as f64 / of.len() as f64);
}

/// A way to dress a text up.
type Dress = (&'static str, fn(&str) -> String);

const DRESSES: [Dress; 11] = [
    ("plain", str::to_owned),
    ("zero-width", |text| text.chars().flat_map(|c| [c, '\u{200b}']).collect()),
    ("full width", |text| text.chars().map(wide).collect()),
    ("leet", |text| text.chars().map(leet).collect()),
    ("base64", |text| base64::engine::general_purpose::STANDARD.encode(text)),
    ("hex", |text| text.bytes().map(|byte| format!("{byte:02x}")).collect()),
    ("percent", |text| text.bytes().map(|byte| format!("%{byte:02X}")).collect()),
    ("spaced", |text| text.split(' ').map(|word| spaced(word, " ")).collect::<Vec<_>>().join("   ")),
    ("rot13", |text| text.chars().map(rot13).collect()),
    ("backwards", |text| text.chars().rev().collect()),
    ("run together", |text| text.replace(' ', "")),
];

fn wide(c: char) -> char {
    if c.is_ascii_graphic() { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c }
}

fn leet(c: char) -> char {
    "oieast".find(c).map_or(c, |at| char::from(b"013457"[at]))
}

fn rot13(c: char) -> char {
    match c {
        'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
        'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
        _ => c,
    }
}

fn spaced(word: &str, by: &str) -> String {
    word.chars().map(String::from).collect::<Vec<_>>().join(by)
}

/// How many of our attacks are found in each dress, by the weights that are written.
fn twins(weights: &Weights, rows: &[Row]) {
    let ours = rows.iter().filter(|row| row.attack && row.source.starts_with("own") && row.text.is_ascii());
    let some: Vec<&Row> = ours.filter(|row| row.text.len() > 40 && row.text.len() < 200).step_by(9).take(250).collect();
    for (name, dress) in DRESSES {
        let found = some.iter().filter(|row| logit(weights, &dress(&row.text)) >= 0.0).count();
        println!("  {name:16} {found:5} of {:5}, {:.1} %", some.len(), 100.0 * found as f64 / some.len() as f64);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut random = StdRng::seed_from_u64(7);
    let mut rows = Vec::new();
    own("attacks.tsv", true, &mut rows, &mut random);
    own("benign.tsv", false, &mut rows, &mut random);
    given(&arguments[0], &mut rows);
    at_length(&mut rows, &mut random);
    println!("{} rows, {} of them attacks", rows.len(), rows.iter().filter(|row| row.attack).count());
    let flag = |name: &str| arguments.iter().any(|word| word == name);
    let scored = unseen(&rows, &mut random);
    let threshold = threshold(&scored);
    println!("unseen folds, threshold {threshold:.3}:");
    recall(&scored, threshold);
    if flag("--verbose") {
        for (row, score) in scored
            .iter()
            .filter(|(row, score)| row.attack != (*score >= threshold) && !row.source.starts_with("prompt"))
        {
            println!("  wrong {score:6.2} {:.110} [{}]", row.text, row.source);
        }
    }
    println!("left out, then looked for:");
    for source in LEFT_OUT {
        left_out(&rows, threshold, source, |row| row.attack && row.source.contains(source));
    }
    for family in FAMILIES {
        left_out(&rows, threshold, family, |row| row.family == family);
    }
    let learnt: Vec<&Row> = rows.iter().filter(|row| row.part != Part::Test).collect();
    let mut weights = train(&learnt, &mut random);
    weights.bias -= threshold;
    println!("groups {:?}\nbias {:.3} scale {:.5}\ntest:", weights.groups, weights.bias, weights.scale);
    figures(&weights, &rows, |row| row.part == Part::Test, flag("--verbose"));
    println!("dressed up:");
    twins(&weights, &rows);
    if flag("--write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/injection/weights.bin");
        std::fs::write(path, weights.to_bytes()).unwrap();
        println!("written to {path}");
    }
}
