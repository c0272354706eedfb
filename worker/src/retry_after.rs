//! How long a provider asks us to wait: the one place that reads `Retry-After`.
//!
//! Three forms are in use: whole or decimal seconds, an HTTP date, and the `retry-after-ms` header, which is the most
//! exact and therefore read first. What cannot be read is treated as not said.

use std::time::{Duration, SystemTime};

/// The longest wait that is believed; a mistaken header must not park a conversation for years.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait that these headers ask for, if they ask for one. A date in the past asks for none at all.
pub(crate) fn read<'a>(header: impl Fn(&str) -> Option<&'a str>, now: SystemTime) -> Option<Duration> {
    let milliseconds = header("retry-after-ms").and_then(|text| number(text, 1_000.0));
    let wait = milliseconds.or_else(|| {
        let text = header("retry-after")?;
        number(text, 1.0).or_else(|| date(text, now))
    });
    wait.map(|wait| wait.min(LONGEST))
}

fn number(text: &str, per_second: f64) -> Option<Duration> {
    let value: f64 = text.trim().parse().ok().filter(|value: &f64| !value.is_nan())?;
    Duration::try_from_secs_f64((value / per_second).min(LONGEST.as_secs_f64())).ok()
}

fn date(text: &str, now: SystemTime) -> Option<Duration> {
    let when = httpdate::parse_http_date(text.trim()).ok()?;
    Some(when.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        read(|name| headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value), now)
    }

    #[test]
    fn seconds_dates_and_milliseconds_are_read() {
        assert_eq!(read_at(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(read_at(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        let date = read_at(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]);
        assert_eq!(date, Some(Duration::from_secs(30)));
        assert_eq!(read_at(&[("retry-after-ms", "1250")]), Some(Duration::from_millis(1_250)));
    }

    #[test]
    fn the_more_exact_header_wins() {
        assert_eq!(read_at(&[("retry-after", "2"), ("retry-after-ms", "1500")]), Some(Duration::from_millis(1_500)));
        assert_eq!(read_at(&[("retry-after", "2"), ("retry-after-ms", "soon")]), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_past_date_is_now_and_nonsense_is_nothing() {
        assert_eq!(read_at(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-1", "NaN"] {
            assert_eq!(read_at(&[("retry-after", nonsense)]), None, "{nonsense:?}");
        }
        assert_eq!(read_at(&[]), None);
    }

    #[test]
    fn no_header_parks_anything_for_more_than_a_day() {
        for long in ["99999999", "1e300", "inf", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(read_at(&[("retry-after", long)]), Some(LONGEST), "{long:?}");
        }
    }
}
