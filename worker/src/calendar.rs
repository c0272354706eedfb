//! Business hours: when the business is open, and how its own time runs.
//!
//! A calendar is the hours of a week in one place's time, with holidays. Promised: everything here is a pure function of
//! the moment asked about; a day whose clocks change has the hours that its own clocks show; an interval past midnight
//! belongs to the day that it begins on, so that a holiday does not end the night before it. Whoever is given a moment
//! to wait for ("we open on Monday at 8:30") is given one at which the business is open.

use std::collections::BTreeMap;
use std::time::Duration;

use common::domain::Micros;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// How far ahead an opening is looked for: over a year, for a business that opens for one season.
const HORIZON_DAYS: usize = 800;

/// Opening hours of one day, in minutes after its midnight; from 1,440 on they are the next day's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    from: u16,
    until: u16,
}

impl Interval {
    /// The whole day.
    pub const ALL_DAY: Self = Self { from: 0, until: DAY };

    /// Reads `08:30-18:00`; an end at or before the beginning is the next day's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(written: &str) -> Result<Self, String> {
        let wrong = || format!("'{written:.40}' is no interval; write it like \"08:30-18:00\"");
        let (from, until) = written.split_once('-').ok_or_else(wrong)?;
        let from = minute(from).filter(|minute| *minute < DAY).ok_or_else(wrong)?;
        let until = minute(until).ok_or_else(wrong)?;
        Ok(Self { from, until: if until <= from { until + DAY } else { until } })
    }

    /// Whether both hold some minute of the day that they begin on.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.from < other.until && other.from < self.until
    }
}

/// A minute of the day, `00:00` to `24:00`.
#[must_use]
pub fn minute(written: &str) -> Option<u16> {
    let (hour, minute) = written.trim().split_once(':')?;
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok());
    let (hour, minute) = (number(hour)??, number(minute).filter(|_| minute.len() == 2)??);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

/// A day that is not as its weekday is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holiday {
    /// This one.
    Once(Date),
    /// Every year, by month and day.
    Yearly(i8, i8),
}

impl Holiday {
    /// Reads `2026-12-25`, or `12-25` for every year.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        match written.len() {
            // A leap year, so that 29 February is a day.
            5 => format!("2024-{written}").parse().ok().map(|date: Date| Self::Yearly(date.month(), date.day())),
            10 => written.parse().ok().map(Self::Once),
            _ => None,
        }
    }
}

/// When the business is open.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    /// From Monday.
    week: [Vec<Interval>; 7],
    holidays: BTreeMap<Holiday, Vec<Interval>>,
    new_until: Option<u16>,
}

/// Opening hours as moments, in microseconds.
#[derive(Clone, Copy)]
struct Opening {
    from: i64,
    until: i64,
    new_until: i64,
}

impl Calendar {
    /// A week's hours in a time zone, from Monday; `new_until` is the minute of the day from which conversations that
    /// begin are not taken any more.
    #[must_use]
    pub fn new(
        zone: TimeZone,
        mut week: [Vec<Interval>; 7],
        mut holidays: BTreeMap<Holiday, Vec<Interval>>,
        new_until: Option<u16>,
    ) -> Self {
        week.iter_mut().chain(holidays.values_mut()).for_each(|day| day.sort_unstable());
        Self { zone, week, holidays, new_until }
    }

    /// A business that never closes.
    #[must_use]
    pub fn always() -> Self {
        Self::new(TimeZone::UTC, std::array::from_fn(|_| vec![Interval::ALL_DAY]), BTreeMap::new(), None)
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, at: Micros) -> bool {
        self.today(at).any(|open| open.from <= at.0 && at.0 < open.until)
    }

    /// Whether it is open and takes conversations that begin now.
    #[must_use]
    pub fn takes_new(&self, at: Micros) -> bool {
        self.today(at).any(|open| open.from <= at.0 && at.0 < open.new_until)
    }

    /// When it opens next, having been closed; `None` if it never closes, or not within two years.
    #[must_use]
    pub fn next_opening(&self, at: Micros) -> Option<Micros> {
        let mut open_until = i64::MIN;
        for open in self.openings(at) {
            if open.from > at.0 && open.from > open_until {
                return Some(Micros(open.from));
            }
            open_until = open_until.max(open.until);
        }
        None
    }

    /// The first moment from `at` on at which it takes conversations that begin then.
    #[must_use]
    pub fn next_for_new(&self, at: Micros) -> Option<Micros> {
        let taken = |open: Opening| (open.new_until > at.0).then(|| Micros(open.from.max(at.0)));
        self.openings(at).filter(|open| open.from < open.new_until).find_map(taken)
    }

    /// The moment at which it will have been open for `wanted`, counted from `at`. Beyond the horizon every minute
    /// counts, so that a clock which was set does run out.
    #[must_use]
    pub fn business_time_after(&self, at: Micros, wanted: Duration) -> Micros {
        let mut left = i64::try_from(wanted.as_micros()).unwrap_or(i64::MAX);
        let mut now = at.0;
        if left == 0 {
            return at;
        }
        for open in self.openings(at) {
            let from = open.from.max(now);
            if from >= open.until {
                continue;
            }
            if left <= open.until - from {
                return Micros(from + left);
            }
            left -= open.until - from;
            now = open.until;
        }
        Micros(now.saturating_add(left))
    }

    /// For how long it is open between two moments.
    #[must_use]
    pub fn business_time_between(&self, at: Micros, end: Micros) -> Duration {
        let (mut now, mut sum) = (at.0, 0);
        for open in self.openings(at).take_while(|open| open.from < end.0) {
            let (from, until) = (open.from.max(now), open.until.min(end.0));
            sum += (until - from).max(0);
            now = now.max(until);
        }
        Duration::from_micros(u64::try_from(sum).unwrap_or(0))
    }

    /// What the clocks of the place show.
    #[must_use]
    pub fn local(&self, at: Micros) -> DateTime {
        let moment = Timestamp::from_microsecond(at.0);
        self.zone.to_datetime(moment.unwrap_or(if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX }))
    }

    /// What may hold a moment: the hours that began on its day or the day before.
    fn today(&self, at: Micros) -> impl Iterator<Item = Opening> {
        self.openings(at).take_while(move |open| open.from <= at.0)
    }

    /// All hours from the day before a moment on, in order; some may overlap.
    fn openings(&self, at: Micros) -> impl Iterator<Item = Opening> {
        let today = self.local(at).date();
        let first = today.yesterday().unwrap_or(today);
        let days = std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(HORIZON_DAYS);
        days.flat_map(move |date| {
            let hours = self.hours(date);
            let cutoff = self.new_until.map(|cutoff| {
                // In a night that goes on past midnight, an hour before its beginning is the next morning's.
                let overnight = hours.first().is_some_and(|first| cutoff <= first.from);
                self.moment(date, if overnight { cutoff + DAY } else { cutoff })
            });
            hours.iter().map(move |hours| {
                let until = self.moment(date, hours.until);
                let new_until = cutoff.map_or(until, |cutoff| cutoff.min(until));
                Opening { from: self.moment(date, hours.from), until, new_until }
            })
        })
    }

    fn hours(&self, date: Date) -> &[Interval] {
        let yearly = Holiday::Yearly(date.month(), date.day());
        let holiday = self.holidays.get(&Holiday::Once(date)).or_else(|| self.holidays.get(&yearly));
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        holiday.unwrap_or(&self.week[weekday])
    }

    /// When the place's clocks first show this minute of a day, or would have if they were not put forward over it.
    fn moment(&self, date: Date, minute: u16) -> i64 {
        let date = if minute >= DAY { date.tomorrow().unwrap_or(Date::MAX) } else { date };
        let (hour, minute) = (minute % DAY / 60, minute % 60);
        let local = date.at(hour as i8, minute as i8, 0, 0);
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let moment = match ambiguous.offset() {
            // There was no such hour: it is the moment at which the clocks were changed.
            AmbiguousOffset::Gap { after, .. } => {
                let before = after.to_timestamp(local).unwrap_or(Timestamp::MAX);
                self.zone.following(before).next().map_or(before, |change| change.timestamp())
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                ambiguous.compatible().unwrap_or(Timestamp::MAX)
            }
        };
        moment.as_microsecond()
    }
}

#[cfg(test)]
mod tests;
