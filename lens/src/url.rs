//! Links in a text, and the host that each one really leads to.

use crate::normal::Span;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The host in lower case; empty where there is none, as in `javascript:`.
    pub host: String,
    /// Where.
    pub span: Span,
}

const SCHEMES: &[&str] = &["https://", "http://", "ftp://", "hxxp://", "hxxps://", "wss://", "ws://"];
const HOSTLESS: &[&str] = &["javascript:", "data:text", "vbscript:"];
/// Endings by which a bare name is taken for a host.
const ENDINGS: &[&str] = &[
    "com", "net", "org", "io", "co", "info", "biz", "app", "dev", "shop", "store", "online", "site", "xyz", "link",
    "click", "top", "me", "ly", "gl", "es", "mx", "ar", "cl", "pe", "br", "pt", "uk", "us", "ca", "de", "fr", "it",
    "eu", "ai", "ru", "cn", "tk", "cc", "ws", "example",
];

/// Every link in a text, in order.
#[must_use]
pub fn find(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut at = 0;
    for word in
        text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '(' | ')' | '[' | ']' | ','))
    {
        let bare = word.trim_end_matches(|c: char| c.is_whitespace() || "<>\"()[],.;:!?'".contains(c));
        let lower = bare.to_lowercase();
        // A character whose lower case has another length would shift every place behind it.
        if lower.len() == bare.len() {
            links.extend(
                link(&lower).map(|(host, start)| Link { host, span: Span { start: at + start, end: at + bare.len() } }),
            );
        }
        at += word.len();
    }
    links
}

fn link(word: &str) -> Option<(String, usize)> {
    if let Some(start) = HOSTLESS.iter().find_map(|scheme| word.find(scheme)) {
        return Some((String::new(), start));
    }
    if let Some((start, scheme)) = SCHEMES.iter().find_map(|scheme| word.find(scheme).map(|start| (start, scheme))) {
        return Some((host(&word[start + scheme.len()..]), start));
    }
    let host = host(word);
    let (name, ending) = host.rsplit_once('.')?;
    let named =
        name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.') && name.chars().any(char::is_alphabetic);
    let is_host = !word.contains('@') && named && !name.contains("..") && ENDINGS.contains(&ending);
    is_host.then_some((host, 0))
}

/// The host of what stands after a scheme: a name before an @ is a user, not a host.
fn host(rest: &str) -> String {
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let after_user = authority.rsplit('@').next().unwrap_or_default();
    let host = if after_user.starts_with('[') { after_user } else { after_user.split(':').next().unwrap_or_default() };
    host.trim_matches('.').to_owned()
}

/// Whether a host is one of those listed, or below one of them.
#[must_use]
pub fn is_allowed(host: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|known| {
        let known = known.to_lowercase();
        host == known || host.strip_suffix(&known).is_some_and(|below| below.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_with_the_host_that_they_lead_to() {
        let hosts = |text: &str| find(text).into_iter().map(|link| link.host).collect::<Vec<_>>();
        assert_eq!(hosts("see https://Shop.example/a?b=1, or www.shop.example."), ["shop.example", "www.shop.example"]);
        assert_eq!(hosts("https://shop.example@evil.example:8080/x"), ["evil.example"]);
        assert_eq!(hosts("[click](javascript:alert(1))"), [""]);
        assert_eq!(hosts("mail ana@shop.example or 3.50 or e.g. this"), Vec::<String>::new());
        assert_eq!(hosts("http://192.0.2.7/x"), ["192.0.2.7"]);
    }

    #[test]
    fn a_host_below_an_allowed_one_is_allowed_and_one_that_only_ends_alike_is_not() {
        let allowed = ["shop.example".to_owned()];
        assert!(is_allowed("shop.example", &allowed) && is_allowed("www.shop.example", &allowed));
        assert!(!is_allowed("myshop.example", &allowed) && !is_allowed("shop.example.evil.example", &allowed));
        assert!(!is_allowed("", &allowed));
    }
}
