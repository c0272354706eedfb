//! Cutting a reply into parts that a channel takes.
//!
//! Lengths are counted in Unicode scalar values, the "characters" of WhatsApp's limit: one emoji may be several. A cut
//! falls between paragraphs if it can, else after a sentence, else between words, else between letters as a reader
//! sees them (grapheme clusters). Only a cluster that is longer than the whole limit is cut inside. The white space at
//! a cut is dropped, and nothing else: joined together, the parts say what the text said.

use unicode_segmentation::UnicodeSegmentation;

/// The parts of `text`, none empty and none longer than `limit` scalar values (a limit of zero counts as one).
#[must_use]
pub fn split(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(1);
    let mut parts = Vec::new();
    let mut rest = trimmed_end(trimmed_start(text));
    while let Some(window) = window(rest, limit) {
        let cut = cut(rest, window, limit);
        let part = trimmed_end(&rest[..cut]);
        if !part.is_empty() {
            parts.push(part.to_owned());
        }
        rest = trimmed_start(&rest[cut..]);
    }
    if !rest.is_empty() {
        parts.push(rest.to_owned());
    }
    parts
}

/// The bytes of the longest run of whole clusters within the limit, or `None` if all of the text is within.
fn window(text: &str, limit: usize) -> Option<usize> {
    let (over, _) = text.char_indices().nth(limit)?;
    let whole = text.grapheme_indices(true).map(|(at, _)| at).take_while(|at| *at <= over).last();
    // The first cluster alone is too long: cut inside it rather than not at all.
    Some(whole.filter(|at| *at > 0).unwrap_or(over))
}

/// Where to cut within the window. A boundary that would leave a part nearly empty is passed over for a lesser one.
fn cut(text: &str, window: usize, limit: usize) -> usize {
    let head = &text[..window];
    let long_enough = |share: usize| move |at: &usize| text[..*at].chars().take(limit / share).count() == limit / share;
    // A window that ends just before white space ends at a word's end, and perhaps at a better boundary still.
    let next = text[window..].chars().next();
    let paragraph = head.rmatch_indices("\n\n").map(|(at, _)| at).find(|at| *at > 0).filter(long_enough(2));
    let sentence = || sentence_end(text, window).filter(long_enough(4));
    let word = || match next {
        Some(next) if next.is_whitespace() => Some(window),
        _ => word_end(head),
    };
    paragraph.or_else(sentence).or_else(word).unwrap_or(window)
}

/// The last end of a sentence in the window. The sentence that runs into the window's edge is looked at with what
/// follows it, so that an edge is not taken for an end.
fn sentence_end(text: &str, window: usize) -> Option<usize> {
    let beyond = text[window..].grapheme_indices(true).nth(8).map_or(text.len(), |(at, _)| window + at);
    let starts = text[..beyond].split_sentence_bound_indices().map(|(at, _)| at);
    // A boundary inside the look-ahead would make the part too long; white space before it belongs to the cut.
    let ends = starts.filter(|at| *at > 0).map(|at| trimmed_end(&text[..at]).len());
    ends.take_while(|at| *at <= window).filter(|at| *at > 0).last()
}

/// The last white space of the window, between whole clusters.
fn word_end(head: &str) -> Option<usize> {
    head.grapheme_indices(true).filter(|(at, cluster)| *at > 0 && blank(cluster)).map(|(at, _)| at).next_back()
}

/// A cluster of nothing but white space; a space that carries an accent is a letter to its reader.
fn blank(cluster: &str) -> bool {
    cluster.chars().all(char::is_whitespace)
}

fn trimmed_start(text: &str) -> &str {
    let start = text.grapheme_indices(true).find(|(_, cluster)| !blank(cluster));
    start.map_or("", |(at, _)| &text[at..])
}

fn trimmed_end(text: &str) -> &str {
    let end = text.grapheme_indices(true).rev().find(|(_, cluster)| !blank(cluster));
    end.map_or("", |(at, cluster)| &text[..at + cluster.len()])
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn what_fits_is_one_part_and_nothing_is_none() {
        assert_eq!(split("  Hello there. ", 20), ["Hello there."]);
        assert_eq!(split("12345", 5), ["12345"]);
        assert!(split(" \n ", 5).is_empty());
        assert!(split("", 5).is_empty());
    }

    #[test]
    fn a_paragraph_is_preferred_to_a_sentence_and_a_sentence_to_a_word() {
        assert_eq!(split("One two. Three.\n\nFour five. Six", 28), ["One two. Three.", "Four five. Six"]);
        assert_eq!(split("One two three. Four five six", 24), ["One two three.", "Four five six"]);
        assert_eq!(split("one two three four", 13), ["one two three", "four"]);
        assert_eq!(split("abcdefgh", 3), ["abc", "def", "gh"]);
    }

    #[test]
    fn a_boundary_that_leaves_a_crumb_is_passed_over() {
        assert_eq!(split("Hi.\n\nThis one is a longer paragraph", 24), ["Hi.\n\nThis one is a", "longer paragraph"]);
    }

    #[test]
    fn a_sentence_that_ends_at_the_very_limit_is_whole() {
        assert_eq!(split("One two. Three four.", 8), ["One two.", "Three", "four."]);
    }

    #[test]
    fn a_number_at_the_edge_is_not_taken_for_a_sentence() {
        assert_eq!(split("It costs you 1.50 euros", 15), ["It costs you", "1.50 euros"]);
    }

    #[test]
    fn a_cluster_is_cut_only_when_it_alone_is_too_long() {
        let family = "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}";
        assert_eq!(split(&format!("abc{family}"), 5), ["abc", family]);
        assert_eq!(split(family, 2).concat(), family);
        assert!(split(family, 2).iter().all(|part| part.chars().count() <= 2));
    }

    /// Fragments that make breaks and clusters of every kind likely.
    const FRAGMENTS: &[&str] = &[
        "a",
        "word",
        "Longer",
        ". ",
        "! ",
        "? ",
        "\n\n",
        "\n",
        " ",
        "  ",
        "\r\n",
        "\u{a0}",
        "é",
        "e\u{301}",
        " \u{308}",
        "\u{1F1EA}\u{1F1F8}",
        "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
        "日本語。",
        "¿Qué?",
        "1.5",
        "Dr. ",
        "…",
    ];

    fn random_text(random: &mut StdRng) -> String {
        let length = random.random_range(0..60);
        (0..length).map(|_| FRAGMENTS[random.random_range(0..FRAGMENTS.len())]).collect()
    }

    /// Finds the parts in the text again, in order, with nothing but blank clusters between them.
    fn assert_faithful(text: &str, parts: &[String], boundaries: &[usize]) {
        let mut at = 0;
        for part in parts {
            let found = at + text[at..].find(part.as_str()).expect("a part is of the text");
            assert!(text[at..found].chars().all(char::is_whitespace), "lost {:?}", &text[at..found]);
            at = found + part.len();
            assert!(boundaries.contains(&found) && boundaries.contains(&at), "cut inside a cluster of {text:?}");
        }
        assert!(text[at..].chars().all(char::is_whitespace), "lost {:?}", &text[at..]);
    }

    #[test]
    fn any_text_at_any_limit_keeps_its_letters_its_order_and_the_limit() {
        let mut random = StdRng::seed_from_u64(0x5EED);
        for _ in 0..4_000 {
            let text = random_text(&mut random);
            // The longest fragment that is one cluster has five scalar values.
            let limit = random.random_range(6..50);
            let parts = split(&text, limit);
            for part in &parts {
                assert!(!part.trim().is_empty(), "an empty part of {text:?}");
                assert!(part.chars().count() <= limit, "{} > {limit}: {part:?}", part.chars().count());
            }
            let mut boundaries: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
            boundaries.push(text.len());
            assert_faithful(&text, &parts, &boundaries);
        }
    }
}
