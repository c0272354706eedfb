//! W3C trace context: one trace from a webhook to its send, through queue and store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A `traceparent` of version 00 (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// A new trace.
    #[must_use]
    pub fn start() -> Self {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        rand::fill(&mut trace);
        rand::fill(&mut span);
        // All-zero ids are invalid by the specification.
        trace[15] |= 1;
        span[7] |= 1;
        Self { trace, span, sampled: true }
    }

    /// A new span within this trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span: Self::start().span, ..*self }
    }

    /// The trace id, 32 hexadecimal digits: what every log line of one webhook shares.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace), hex::encode(self.span), u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A header that is no `traceparent`; a new trace starts instead.
#[derive(Debug, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct BadTraceparent;

impl FromStr for TraceContext {
    type Err = BadTraceparent;
    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let parts: Vec<&str> = text.split('-').collect();
        let (version, trace_hex, span_hex, flags) = match parts.as_slice() {
            [version, trace, span, flags] => (*version, *trace, *span, *flags),
            // A later version may append fields; version 00 may not.
            [version, trace, span, flags, ..] if *version != "00" => (*version, *trace, *span, *flags),
            _ => return Err(BadTraceparent),
        };
        let (mut trace, mut span, mut head, mut flag) = ([0; 16], [0; 8], [0; 1], [0; 1]);
        hex::decode_to_slice(version, &mut head).map_err(|_| BadTraceparent)?;
        hex::decode_to_slice(trace_hex, &mut trace).map_err(|_| BadTraceparent)?;
        hex::decode_to_slice(span_hex, &mut span).map_err(|_| BadTraceparent)?;
        hex::decode_to_slice(flags, &mut flag).map_err(|_| BadTraceparent)?;
        if head == [0xff] || trace == [0; 16] || span == [0; 8] {
            return Err(BadTraceparent);
        }
        Ok(Self { trace, span, sampled: flag[0] & 1 == 1 })
    }
}

impl TryFrom<String> for TraceContext {
    type Error = BadTraceparent;
    fn try_from(text: String) -> Result<Self, BadTraceparent> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_its_text_and_nonsense_is_refused() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.child().trace_id(), context.trace_id());
        assert_ne!(context.child(), context);
        for bad in [
            "",
            "00-zz-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }
}
