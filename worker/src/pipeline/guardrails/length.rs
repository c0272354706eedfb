//! A text too long, and where to cut it: never inside a character as a reader sees it, and a draft at the end of a
//! sentence where there is one in its second half.

use unicode_segmentation::GraphemeCursor;

use super::normalise::{Span, View};
use super::{Found, Reason};
use crate::policy::RuleStage;

/// The longest text that goes on whole.
#[derive(Debug)]
pub(super) struct Length {
    pub(super) most: usize,
    pub(super) stage: RuleStage,
}

impl Length {
    /// The span found is the part that is too much.
    pub(super) fn judge(&self, view: &View<'_>) -> Found {
        let text = view.original;
        let Some((limit, _)) = text.char_indices().nth(self.most) else {
            return Found::nothing(Reason::Clean);
        };
        let whole = whole_characters(text, limit);
        let start = match self.stage {
            RuleStage::Input => whole,
            RuleStage::Output => sentence_end(&text[..whole]).unwrap_or(whole),
        };
        Found { hit: true, reason: Reason::TooLong, spans: vec![Span { start, end: text.len() }] }
    }
}

/// The last boundary between readers' characters up to `limit`; `limit` itself where one character fills it all.
fn whole_characters(text: &str, limit: usize) -> usize {
    let mut cursor = GraphemeCursor::new(limit, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(true) | Err(_) => limit,
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten().filter(|at| *at > 0).unwrap_or(limit),
    }
}

fn sentence_end(text: &str) -> Option<usize> {
    let end = text
        .match_indices(['.', '!', '?', '\n'])
        .map(|(at, mark)| at + mark.len())
        .rfind(|end| text[*end..].chars().next().is_none_or(char::is_whitespace) || text[..*end].ends_with('\n'))?;
    (end * 2 >= text.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, most: usize, stage: RuleStage) -> &str {
        let found = Length { most, stage }.judge(&View::of(text));
        found.spans.first().map_or(text, |span| &text[..span.start])
    }

    #[test]
    fn up_to_the_limit_a_text_is_whole_and_one_more_is_cut_between_readers_characters() {
        for (text, most, expected) in [
            ("abcde", 5, "abcde"),
            ("abcdef", 5, "abcde"),
            ("áéíóú", 3, "áéí"),
            ("ab👩‍👩‍👧", 4, "ab"),
            ("e\u{301}e\u{301}", 3, "e\u{301}"),
            ("e\u{301}\u{301}\u{301}", 2, "e\u{301}"),
        ] {
            assert_eq!(kept(text, most, RuleStage::Input), expected, "{text}");
        }
    }

    #[test]
    fn a_draft_is_cut_at_the_end_of_a_sentence_where_that_does_not_lose_too_much() {
        assert_eq!(kept("One two. Three four. Five", 23, RuleStage::Output), "One two. Three four.");
        assert_eq!(
            kept("It costs 3.50 in all and that is it", 30, RuleStage::Output),
            "It costs 3.50 in all and that "
        );
        assert_eq!(kept("Hi. aaaaaaaaaaaaaaaaaaaaaaaa", 20, RuleStage::Output), "Hi. aaaaaaaaaaaaaaaa");
    }
}
