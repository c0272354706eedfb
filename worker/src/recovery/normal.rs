//! Errors as they are recorded: without numbers, ids, addresses or quoted text, so that they hold nothing personal
//! (P7) and the same fault has the same text however often it strikes. The store names groups of letters by it.

/// The longest text kept, in characters.
const MOST: usize = 200;
/// A word longer than this is taken for an id.
const LONGEST_WORD: usize = 32;
/// Hexadecimal digits that make a word an id even without a decimal one.
const LEAST_HEX: usize = 8;

/// An error's text with everything taken out that differs from case to case.
#[must_use]
pub fn normalise(error: &str) -> String {
    let unquoted = without_quotes(error);
    let words = unquoted.split_whitespace().map(plain);
    let mut text = String::new();
    for word in words {
        // Repeats say nothing: "1 2 3" and "1 2" are the same fault.
        if word == "#" && text.ends_with('#') {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word);
    }
    text.chars().take(MOST).collect::<String>().trim_end().to_owned()
}

/// Quoted text becomes `'…'`. A quote opens only where a word could begin, so that an apostrophe is none; one that
/// never closes takes the rest with it, since what follows may be anybody's words.
fn without_quotes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut closing: Option<char> = None;
    let mut before = ' ';
    for c in text.chars() {
        match closing {
            Some(close) if c == close => closing = None,
            Some(_) => {}
            None => match partner(c).filter(|_| !before.is_alphanumeric()) {
                Some(close) => {
                    plain.push_str("'…'");
                    closing = Some(close);
                }
                None => plain.push(c),
            },
        }
        before = c;
    }
    plain
}

const fn partner(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '“' => Some('”'),
        '‘' => Some('’'),
        '«' => Some('»'),
        _ => None,
    }
}

fn plain(word: &str) -> String {
    if word.contains("://") {
        return "<url>".to_owned();
    }
    if word.contains('@') {
        return "<address>".to_owned();
    }
    let core = word.trim_matches(|c: char| !c.is_alphanumeric());
    let hex = core.len() >= LEAST_HEX && core.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let id = core.chars().any(char::is_numeric) || core.chars().count() > LONGEST_WORD || hex;
    if id { "#".to_owned() } else { word.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_case_to_case_is_taken_out_and_the_fault_stays() {
        for (error, expected) in [
            ("HTTP 503 from provider", "http # from provider"),
            ("no answer within 60s", "no answer within #"),
            ("message wamid.HBgLMTU1NTUwMTAw failed", "message # failed"),
            ("conversation deadbeef-cafe-babe-feed-facefeedbeef gone", "conversation # gone"),
            ("call +1 555 0100 or +1 (555) 01-00", "call # or #"),
            ("connect https://api.example/v1?key=abc: refused", "connect <url> refused"),
            ("mail to someone@example.com bounced", "mail to <address> bounced"),
            ("unexpected \"my secret text 1\" near 'x y'", "unexpected '…' near '…'"),
            ("the provider's answer isn't JSON", "the provider's answer isn't json"),
            ("bad value “my name is", "bad value '…'"),
            ("  spaced \n out ", "spaced out"),
            ("", ""),
        ] {
            assert_eq!(normalise(error), expected, "{error}");
        }
    }

    #[test]
    fn a_normalised_text_has_no_digit_is_short_and_stays_as_it_is() {
        let long = "word ".repeat(100);
        for error in ["5 ducks and 7 cows", "²³ ½ ٣ pieces", "id=0x7f a1b2", "x'1'", long.as_str()] {
            let text = normalise(error);
            assert!(!text.chars().any(char::is_numeric), "{text}");
            assert!(text.chars().count() <= MOST);
            assert_eq!(normalise(&text), text);
        }
    }
}
