//! How fast a replay goes: a schedule from one start instant, so that no delay adds up and the rate holds.

use std::time::Duration;

use tokio::time::Instant;

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    per_second: f64,
}

impl Rate {
    /// Reads `5/s`, `300/m` or `100/h`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("'{text}' is no rate: write how many in how long, such as 5/s, 300/m or 100/h");
        let (count, unit) = text.trim().split_once('/').ok_or_else(expected)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(expected()),
        };
        let count: f64 = count.trim().parse().map_err(|_| expected())?;
        let per_second = count / seconds;
        let sane = 0.000_1..=100_000.0;
        if sane.contains(&per_second) { Ok(Self { per_second }) } else { Err(expected()) }
    }

    pub(crate) const fn of(per_second: f64) -> Self {
        Self { per_second }
    }

    pub(crate) const fn per_second(self) -> f64 {
        self.per_second
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per_second {
            rate if rate >= 1.0 => write!(f, "{}/s", round(rate)),
            rate if rate * 60.0 >= 1.0 => write!(f, "{}/m", round(rate * 60.0)),
            rate => write!(f, "{}/h", round(rate * 3_600.0)),
        }
    }
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// When the next one may go. It counts from the moment it was made, not from the last one gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    rate: Option<Rate>,
    start: Instant,
    gone: u64,
}

impl Pace {
    /// A schedule that begins now; without a rate everything may go at once.
    pub(crate) fn begin(rate: Option<Rate>) -> Self {
        Self { rate, start: Instant::now(), gone: 0 }
    }

    /// How many may go now, at most `most`.
    pub(crate) fn room(&self, now: Instant, most: u64) -> u64 {
        let Some(rate) = self.rate else { return most };
        // The first goes at once, the n-th after n - 1 intervals.
        let due = (now.duration_since(self.start).as_secs_f64() * rate.per_second) as u64 + 1;
        due.saturating_sub(self.gone).min(most)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Instant {
        let Some(rate) = self.rate else { return self.start };
        // A hair later, lest rounding find it not yet due.
        self.start + Duration::from_secs_f64(self.gone as f64 / rate.per_second) + Duration::from_micros(50)
    }

    /// So many have gone. One that could not keep up starts its schedule anew rather than rush to catch up.
    pub(crate) fn went(&mut self, count: u64, now: Instant) {
        self.gone += count;
        let Some(rate) = self.rate else { return };
        let behind = now.duration_since(self.start).as_secs_f64() * rate.per_second - self.gone as f64;
        if behind > rate.per_second.max(1.0) * LONGEST_CATCH_UP.as_secs_f64() {
            *self = Self::begin(self.rate);
        }
    }
}

/// What a schedule may be behind and still catch up with.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_per_second_minute_or_hour_and_nothing_else_is_one() {
        for (text, per_second, told) in
            [("5/s", 5.0, "5/s"), ("300/m", 5.0, "5/s"), ("90/h", 0.025, "1.5/m"), (" 0.5/s ", 0.5, "30/m")]
        {
            let rate = Rate::parse(text).unwrap();
            assert!((rate.per_second() - per_second).abs() < 1e-9, "{text}");
            assert_eq!(rate.to_string(), told);
        }
        for text in ["", "5", "5/d", "/s", "0/s", "-1/s", "fast", "nan/s", "inf/s", "5/s/s"] {
            assert!(Rate::parse(text).unwrap_err().contains("is no rate"), "{text}");
        }
    }

    #[test]
    fn ten_thousand_leave_at_the_rate_that_was_set_however_late_each_look_is() {
        let rate = Rate::parse("500/s").unwrap();
        let mut pace = Pace::begin(Some(rate));
        let (start, mut now, mut gone) = (pace.start, pace.start, 0);
        // Every look is late by another amount, as a busy machine's are.
        for late in [0, 3, 11, 29, 1, 7].iter().cycle() {
            let room = pace.room(now, 64);
            gone += room;
            pace.went(room, now);
            if gone >= 10_000 {
                break;
            }
            now = pace.next().max(now) + Duration::from_millis(*late);
        }
        let taken = now.duration_since(start).as_secs_f64();
        assert!((19.0..=21.0).contains(&taken), "{taken}");
    }

    #[test]
    fn after_a_long_stall_it_does_not_rush() {
        let mut pace = Pace::begin(Some(Rate::parse("10/s").unwrap()));
        let late = pace.start + Duration::from_secs(60);
        pace.went(1, late);
        assert!(pace.room(Instant::now(), 1_000) <= 2);
    }
}
