//! Moments as people write them on a command line: RFC 3339, or a span back from now.

use common::domain::Micros;

/// A moment, or a span back from now.
pub(crate) fn moment(text: &str) -> Result<Micros, String> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Micros(moment.as_microsecond()));
    }
    let expected = || "expected RFC 3339, such as 2026-01-31T00:00:00Z, or a span, such as 90m, 24h or 7d".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| expected())?;
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    let back = std::time::Duration::try_from(span).map_err(|_| expected())?;
    Ok(Micros::wall() - back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_or_a_span_is_understood_and_nothing_else() {
        assert_eq!(moment("2023-11-14T22:13:20Z"), Ok(Micros::from_seconds(1_700_000_000)));
        for (span, seconds) in [("90m", 5_400), ("24h", 86_400), ("7d", 604_800)] {
            let back = Micros::wall().since(moment(span).unwrap()).as_secs();
            assert!((seconds - 5..=seconds + 5).contains(&back), "{span}: {back}");
        }
        for bad in ["yesterday", "-1h", "12", ""] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
