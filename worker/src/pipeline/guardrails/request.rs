//! The model's own request for a person: a mark in its draft. The customer never sees it, whatever the rules say.

/// How the mark begins, written in any case, and how it ends: there, or with its line.
const OPENS: &str = "[[handoff";
const CLOSES: &str = "]]";

/// A draft without its marks, and whether it had any.
pub(super) fn take(draft: &str) -> (String, bool) {
    let lower = draft.to_ascii_lowercase();
    let mut rest = String::with_capacity(draft.len());
    let (mut done, mut asked) = (0, false);
    while let Some(at) = lower[done..].find(OPENS).map(|at| done + at) {
        let line = lower[at..].find('\n').map_or(draft.len(), |end| at + end);
        let end = lower[at..line].find(CLOSES).map_or(line, |end| at + end + CLOSES.len());
        rest.push_str(draft[done..at].trim_end_matches([' ', '\t']));
        (done, asked) = (end, true);
    }
    rest.push_str(&draft[done..]);
    (if asked { rest.trim().to_owned() } else { rest }, asked)
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn the_mark_is_heard_and_taken_out_wherever_it_stands() {
        for (draft, rest) in [
            ("I will ask a colleague.\n[[handoff: refund]]", "I will ask a colleague."),
            ("[[handoff]]", ""),
            ("[[HANDOFF: wants José]] One moment.", "One moment."),
            ("One moment [[handoff: a]] please [[handoff: b]]", "One moment please"),
            ("One moment\n[[handoff: never closed\nplease", "One moment\n\nplease"),
        ] {
            assert_eq!(take(draft), (rest.to_owned(), true), "{draft}");
        }
        for draft in ["We open at nine.", "[handoff]", "[[hand", "", " spaced "] {
            assert_eq!(take(draft), (draft.to_owned(), false));
        }
    }
}
