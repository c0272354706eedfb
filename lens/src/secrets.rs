//! Credentials: what opens something by itself, told by the form that its issuer gives it, or by what stands before it.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use crate::normal::Span;

const FORMS: &[&str] = &[
    r"(?-u:\b)(?:AKIA|ASIA)[0-9A-Z]{16}(?-u:\b)",
    r"(?-u:\b)gh[pousr]_[A-Za-z0-9]{36,}(?-u:\b)",
    r"(?-u:\b)github_pat_[A-Za-z0-9_]{40,}(?-u:\b)",
    r"(?-u:\b)glpat-[A-Za-z0-9_-]{20,}",
    r"(?-u:\b)xox[abprs]-[A-Za-z0-9-]{10,}",
    r"(?-u:\b)[rs]k_(?:live|test)_[A-Za-z0-9]{16,}(?-u:\b)",
    r"(?-u:\b)sk-[A-Za-z0-9_-]{20,}",
    r"(?-u:\b)AIza[0-9A-Za-z_-]{35}(?-u:\b)",
    r"(?-u:\b)EAA[A-Za-z0-9]{30,}(?-u:\b)",
    r"(?-u:\b)npm_[A-Za-z0-9]{36}(?-u:\b)",
    r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
    r"[a-z]{2,10}://[^\s/:@]{1,64}:[^\s/@]{3,128}@",
];

/// A word for a credential, then the credential: letters and digits together.
const SAID: &str = r"(?i)(?-u:\b)(?:password|passwd|pwd|passcode|contrase(?:ñ|n)a|senha|clave|api[_ -]?key|access[_ -]?token|secret)(?-u:\b)\s*(?:is|es|é|:|=)\s*(\S{6,64})";

static READY: LazyLock<Option<(RegexSet, Vec<Regex>, Regex)>> = LazyLock::new(|| {
    let each: Result<Vec<Regex>, _> = FORMS.iter().map(|form| Regex::new(form)).collect();
    Some((RegexSet::new(FORMS).ok()?, each.ok()?, Regex::new(SAID).ok()?))
});

/// Every credential in a text.
#[must_use]
pub fn find(text: &str) -> Vec<Span> {
    let Some((any, each, said)) = READY.as_ref() else { return Vec::new() };
    let formed = any.matches(text).into_iter().flat_map(|form| each[form].find_iter(text));
    let mut spans: Vec<Span> = formed.map(|hit| Span { start: hit.start(), end: hit.end() }).collect();
    let values = said.captures_iter(text).filter_map(|captures| captures.get(1));
    let mixed = |value: &str| value.chars().any(char::is_alphabetic) && value.chars().any(|c| c.is_ascii_digit());
    spans.extend(values.filter(|hit| mixed(hit.as_str())).map(|hit| Span { start: hit.start(), end: hit.end() }));
    spans.sort_unstable();
    spans.dedup_by(|next, first| next.start < first.end);
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_compile() {
        assert!(READY.is_some());
    }

    #[test]
    fn credentials_are_found_and_talk_about_them_is_not() {
        // Put together here, so that no scanner takes this file for a leak.
        let aws = format!("AKIA{}", "ABCDEFGHIJKLMNOP");
        let stripe = format!("sk_{}_{}", "live", "0123456789abcdefXYZ");
        for (text, part) in [
            (format!("use {aws} please"), aws.as_str()),
            (format!("key={stripe}"), stripe.as_str()),
            ("my password is hunter2x".to_owned(), "hunter2x"),
            ("la contraseña es Perro-77".to_owned(), "Perro-77"),
            ("postgres://shop:pa55word@db.example/x".to_owned(), "postgres://shop:pa55word@"),
            ("-----BEGIN RSA PRIVATE KEY-----".to_owned(), "-----BEGIN RSA PRIVATE KEY-----"),
        ] {
            let spans = find(&text);
            assert!(spans.iter().any(|span| &text[span.start..span.end] == part), "{text}: {spans:?}");
        }
        for text in
            ["my password is incorrect", "olvidé la contraseña", "the secret: love", "sk-short", "order AKIA-12"]
        {
            assert!(find(text).is_empty(), "{text}");
        }
    }
}
