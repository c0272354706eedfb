//! Regular expressions that somebody else wrote. They run in linear time whatever they are; one that would not
//! elsewhere, or that is huge, is refused all the same, since it is hardly ever what was meant.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

use crate::normal::Span;

/// A compiled expression may not take more bytes than this.
const LARGEST: usize = 256 * 1024;
/// Nor be written in more characters.
const LONGEST: usize = 1_000;

/// Expressions, ready to be looked for.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Regex>);

impl Patterns {
    /// Makes expressions ready.
    ///
    /// # Errors
    /// The first that is refused, by its place in the list, and why.
    pub fn new(list: &[String]) -> Result<Self, (usize, String)> {
        let ready = list.iter().enumerate().map(|(at, pattern)| one(pattern).map_err(|reason| (at, reason)));
        ready.collect::<Result<_, _>>().map(Self)
    }

    /// Every match in a text.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Span> {
        let hits = self.0.iter().flat_map(|pattern| pattern.find_iter(text));
        hits.filter(|hit| !hit.is_empty()).map(|hit| Span { start: hit.start(), end: hit.end() }).collect()
    }
}

fn one(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} characters"));
    }
    let parsed = regex_syntax::parse(pattern).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "it cannot be read".to_owned(),
    })?;
    if parsed.properties().minimum_len() == Some(0) {
        return Err("it matches nothing at all, so it would match everywhere".to_owned());
    }
    if nests(&parsed, false) {
        return Err(
            "it repeats a repetition without bound, which takes exponential time elsewhere; unfold it".to_owned()
        );
    }
    RegexBuilder::new(pattern)
        .size_limit(LARGEST)
        .build()
        .map_err(|_| format!("compiled it takes more than {LARGEST} bytes; bound its repetitions"))
}

/// Whether an unbounded repetition stands within another.
fn nests(hir: &Hir, within: bool) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let endless = repetition.max.is_none();
            (endless && within) || nests(&repetition.sub, within || endless)
        }
        HirKind::Capture(capture) => nests(&capture.sub, within),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(|part| nests(part, within)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pattern: &str) -> String {
        Patterns::new(&["fine".to_owned(), pattern.to_owned()]).unwrap_err().1
    }

    #[test]
    fn what_is_sound_matches_and_what_is_not_is_refused_with_the_reason() {
        let patterns = Patterns::new(&[r"\bXK-\d{4}\b".to_owned()]).unwrap();
        assert_eq!(patterns.find("the XK-1234 and XK-12"), [Span { start: 4, end: 11 }]);
        assert!(refused("(a+)+$").contains("repeats a repetition"));
        assert!(refused(r"(\w*,)*x").contains("repeats a repetition"));
        assert!(refused("(").contains("unclosed"));
        assert!(refused(r"(?=a)b").contains("look-around"));
        assert!(refused("a*").contains("nothing at all"));
        assert!(refused(r"\w{500}{50}").contains("more than"));
        assert!(refused(&"a".repeat(2_000)).contains("longer"));
    }
}
