//! JSON as it comes from outside: proved to be UTF-8, JSON, and no deeper than we are ready to follow.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::Micros;

/// The deepest nesting that is read.
pub(super) const MAX_DEPTH: usize = 64;

/// The whole body as one JSON text, or what is wrong with it. Depth is judged by a plain scan before any parser
/// runs, so that no nesting can exhaust a stack.
pub(super) fn checked(raw: &[u8]) -> Result<&RawValue, &'static str> {
    let text = std::str::from_utf8(raw).map_err(|_| "not UTF-8")?;
    if depth(text) > MAX_DEPTH {
        return Err("nested deeper than 64 levels");
    }
    serde_json::from_str(text).map_err(|_| "not JSON")
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The fields of one element, if it has this shape.
pub(super) fn shape<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Seconds since 1970, in a string or as a number; only ever displayed, so anything else is nothing.
pub(super) fn seconds(raw: Option<&RawValue>) -> Option<Micros> {
    raw?.get().trim_matches('"').parse().ok().map(Micros::from_seconds)
}
