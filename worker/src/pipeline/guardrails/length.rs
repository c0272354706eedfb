//! A text too long, and where to cut it: never inside a character as a reader sees it, and a draft at the end of a
//! sentence where there is one in its second half.

use lens::Span;
use unicode_segmentation::GraphemeCursor;

use super::result::{Found, Reason};
use crate::policy::{LengthRule, RuleStage};

/// Bytes of text per token, as prompts are estimated.
const BYTES_PER_TOKEN: usize = 3;

/// Where the longest text that goes on whole ends; the span found is the part that is too much.
pub(super) fn judge(rule: &LengthRule, text: &str, stage: RuleStage) -> Found {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let characters = rule.max_characters.and_then(|most| text.char_indices().nth(size(most))).map(|(at, _)| at);
    let bytes = rule.max_bytes.map(size).into_iter();
    let tokens = rule.max_tokens.map(|most| size(most).saturating_mul(BYTES_PER_TOKEN));
    let limits = bytes.chain(tokens).filter(|most| *most < text.len()).map(|most| text.floor_char_boundary(most));
    let Some(limit) = limits.chain(characters).min() else { return Found::nothing(Reason::Clean) };
    let whole = whole_characters(text, limit);
    let start = match stage {
        RuleStage::Input => whole,
        RuleStage::Output => sentence_end(&text[..whole]).unwrap_or(whole),
    };
    Found::at(Reason::TooLong, vec![Span { start, end: text.len() }])
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

    fn kept(text: &str, most: u32, stage: RuleStage) -> &str {
        let rule = LengthRule { max_characters: Some(most), ..LengthRule::default() };
        let found = judge(&rule, text, stage);
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

    #[test]
    fn the_strictest_of_several_limits_holds_and_no_character_is_cut_in_two() {
        for (characters, bytes, tokens, expected) in [
            (Some(4), None, None, 8),
            (Some(4), Some(5), None, 4),
            (None, Some(9), Some(1), 2),
            (None, Some(100), Some(100), 12),
        ] {
            let rule = LengthRule { max_characters: characters, max_bytes: bytes, max_tokens: tokens };
            let found = judge(&rule, "éééééé", RuleStage::Input);
            assert_eq!(found.spans.first().map_or(12, |span| span.start), expected);
        }
    }
}
