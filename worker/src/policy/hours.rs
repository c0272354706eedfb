//! `[hours]`: when the business is open, and how a moment is told to a customer. A policy without it is for a business
//! that never closes.
//!
//! Promised: every interval, day and name is checked when it is read, hours that overlap are refused, and a locale that is
//! not spoken in `[hours.opens]` cannot be needed later.

use std::collections::BTreeMap;
use std::ops::Range;

use common::domain::Micros;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;

use super::error::Problems;
use super::reading::check_locales;
use super::rule::PerLocale;
use super::template::Template;
use crate::calendar::{Calendar, Holiday, Interval, minute};

/// What the text of a moment may hold.
const VARIABLES: [&str; 5] = ["weekday", "day", "month", "time", "time12"];

type Day = Vec<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    time_zone: Spanned<String>,
    #[serde(default)]
    new_until: Option<Spanned<String>>,
    #[serde(default)]
    monday: Day,
    #[serde(default)]
    tuesday: Day,
    #[serde(default)]
    wednesday: Day,
    #[serde(default)]
    thursday: Day,
    #[serde(default)]
    friday: Day,
    #[serde(default)]
    saturday: Day,
    #[serde(default)]
    sunday: Day,
    #[serde(default)]
    holidays: BTreeMap<Spanned<String>, Day>,
    opens: Spanned<PerLocale<Form>>,
}

/// How a moment is told in one locale.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    today: Spanned<String>,
    tomorrow: Spanned<String>,
    later: Spanned<String>,
    weekdays: Spanned<Vec<String>>,
}

/// The same, read.
#[derive(Clone, Debug)]
struct Told {
    today: Template,
    tomorrow: Template,
    later: Template,
    weekdays: Vec<String>,
}

/// When the business is open, and how that is said.
#[derive(Clone, Debug)]
pub struct Hours {
    calendar: Calendar,
    told: PerLocale<Told>,
    stated: bool,
}

impl Default for Hours {
    fn default() -> Self {
        Self { calendar: Calendar::always(), told: PerLocale::new(), stated: false }
    }
}

impl Hours {
    /// When it is open.
    #[must_use]
    pub const fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Whether the policy states any.
    #[must_use]
    pub const fn stated(&self) -> bool {
        self.stated
    }

    /// How a customer is told at `now` when conversations are taken again; empty where that cannot be told.
    pub(super) fn opens(&self, now: Micros, new: bool, locale: &str) -> String {
        let opens = if new { self.calendar.next_for_new(now) } else { self.calendar.next_opening(now) };
        let told = self.told.get(locale);
        opens
            .zip(told)
            .map_or_else(String::new, |(opens, told)| told.say(self.calendar.local(now), self.calendar.local(opens)))
    }
}

impl Told {
    fn say(&self, now: DateTime, opens: DateTime) -> String {
        let weekday = usize::try_from(opens.weekday().to_monday_zero_offset()).unwrap_or(0);
        let (hour, minute) = (opens.hour(), opens.minute());
        let half = if hour < 12 { "am" } else { "pm" };
        let values = [
            ("weekday", self.weekdays.get(weekday).cloned().unwrap_or_default()),
            ("day", opens.day().to_string()),
            ("month", opens.month().to_string()),
            ("time", format!("{hour}:{minute:02}")),
            ("time12", format!("{}:{minute:02} {half}", (hour + 11) % 12 + 1)),
        ];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        let tomorrow = now.date().tomorrow().is_ok_and(|tomorrow| tomorrow == opens.date());
        match (opens.date() == now.date(), tomorrow) {
            (true, _) => self.today.render(&values),
            (false, true) => self.tomorrow.render(&values),
            (false, false) => self.later.render(&values),
        }
    }
}

pub(super) fn read(written: Option<Spanned<Written>>, locales: &[String], problems: &mut Problems<'_>) -> Hours {
    let Some(written) = written else { return Hours::default() };
    let span = written.span();
    let written = written.into_inner();
    let zone = TimeZone::get(written.time_zone.get_ref()).unwrap_or_else(|_| {
        let reason = format!("'{:.60}' is no time zone; write it like \"America/Bogota\"", written.time_zone.get_ref());
        problems.at(&written.time_zone.span(), reason);
        TimeZone::UTC
    });
    let new_until = written.new_until.as_ref().and_then(|cutoff| {
        let read = minute(cutoff.get_ref());
        if read.is_none() {
            problems.at(&cutoff.span(), "'new_until' is a time of day; write it like \"17:30\"");
        }
        read
    });
    let week = [
        &written.monday,
        &written.tuesday,
        &written.wednesday,
        &written.thursday,
        &written.friday,
        &written.saturday,
        &written.sunday,
    ];
    let week = week.map(|day| intervals(day, problems));
    if week.iter().all(Vec::is_empty) {
        problems.at(&span, "'hours' never opens; give a weekday its hours, or leave the table out");
    }
    let holidays = holidays(&written.holidays, problems);
    let told = forms(&written.opens, locales, problems);
    Hours { calendar: Calendar::new(zone, week, holidays, new_until), told, stated: true }
}

fn intervals(day: &Day, problems: &mut Problems<'_>) -> Vec<Interval> {
    let mut read: Vec<Interval> = Vec::new();
    for written in day {
        match Interval::parse(written.get_ref()) {
            Ok(interval) if read.iter().any(|known| known.meets(interval)) => {
                problems.at(&written.span(), format!("'{}' overlaps other hours of its day", written.get_ref()));
            }
            Ok(interval) => read.push(interval),
            Err(reason) => problems.at(&written.span(), reason),
        }
    }
    read
}

fn holidays(written: &BTreeMap<Spanned<String>, Day>, problems: &mut Problems<'_>) -> BTreeMap<Holiday, Vec<Interval>> {
    let mut holidays = BTreeMap::new();
    for (date, hours) in written {
        match Holiday::parse(date.get_ref()) {
            Some(holiday) => drop(holidays.insert(holiday, intervals(hours, problems))),
            None => {
                let form = "write it like \"2026-12-25\", or \"12-25\" for every year";
                problems.at(&date.span(), format!("'{:.40}' is no day; {form}", date.get_ref()));
            }
        }
    }
    holidays
}

fn forms(written: &Spanned<PerLocale<Form>>, locales: &[String], problems: &mut Problems<'_>) -> PerLocale<Told> {
    check_locales(problems, locales, (&written.span(), "hours.opens"), written.get_ref());
    let read = written.get_ref().iter().filter_map(|(locale, form)| {
        let mut template = |key: &str, text: &Spanned<String>| form_of((locale, key), text, problems);
        let today = template("today", &form.today);
        let tomorrow = template("tomorrow", &form.tomorrow);
        let later = template("later", &form.later);
        check_weekdays(locale, &form.weekdays, problems);
        Some((
            locale.clone(),
            Told { today: today?, tomorrow: tomorrow?, later: later?, weekdays: form.weekdays.get_ref().clone() },
        ))
    });
    read.collect()
}

fn form_of((locale, key): (&str, &str), text: &Spanned<String>, problems: &mut Problems<'_>) -> Option<Template> {
    let refused = match Template::parse(text.get_ref(), &VARIABLES) {
        Ok(template) if !template.is_blank() => return Some(template),
        Ok(_) => "is empty".to_owned(),
        Err(reason) => reason,
    };
    problems.at(&text.span(), format!("'hours.opens.{locale}.{key}' {refused}"));
    None
}

fn check_weekdays(locale: &str, weekdays: &Spanned<Vec<String>>, problems: &mut Problems<'_>) {
    let span: Range<usize> = weekdays.span();
    if weekdays.get_ref().len() != 7 || weekdays.get_ref().iter().any(|day| day.trim().is_empty()) {
        problems.at(&span, format!("'hours.opens.{locale}.weekdays' names the seven days, from Monday"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;

    const HOURS: &str = r#"
[hours]
time_zone = "America/Bogota"
new_until = "17:30"
monday = ["08:30-12:00", "13:00-18:00"]
saturday = ["09:00-13:00"]
[hours.holidays]
"2026-12-25" = []
"01-05" = ["10:00-11:00"]
[hours.opens.en]
today = "today at {time12}"
tomorrow = "tomorrow at {time12}"
later = "on {weekday}, {day}/{month}, at {time12}"
weekdays = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
[hours.opens.es]
today = "hoy a las {time}"
tomorrow = "mañana a las {time}"
later = "el {weekday} {day}/{month} a las {time}"
weekdays = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]
[hours.opens.pt]
today = "hoje às {time}"
tomorrow = "amanhã às {time}"
later = "{weekday} {day}/{month} às {time}"
weekdays = ["segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo"]
"#;

    fn starter() -> String {
        let starter = include_str!("../../../policies/shop.toml");
        let Some(from) = starter.find("[hours]") else { return starter.to_owned() };
        let until = starter[from..].find("# Words that tell").unwrap() + from;
        format!("{}{}", &starter[..from], &starter[until..])
    }

    fn policy(hours: &str) -> Result<Policy, String> {
        let source = starter().replacen("[cues]", &format!("{hours}\n[cues]"), 1);
        Policy::parse(&source, "test.toml").map_err(|error| error.to_string())
    }

    fn at(written: &str) -> Micros {
        Micros(written.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn the_next_opening_is_told_in_the_customers_language_as_people_say_it() {
        let policy = policy(HOURS).unwrap();
        let hours = policy.hours();
        for (now, new, locale, told) in [
            ("2026-01-12T07:00:00-05:00", false, "es", "hoy a las 8:30"),
            ("2026-01-12T07:00:00-05:00", false, "en", "today at 8:30 am"),
            ("2026-01-12T12:30:00-05:00", false, "en", "today at 1:00 pm"),
            ("2026-01-12T17:45:00-05:00", true, "pt", "sábado 17/1 às 9:00"),
            ("2026-01-11T22:00:00-05:00", false, "pt", "amanhã às 8:30"),
            ("2026-01-13T10:00:00-05:00", false, "es", "el sábado 17/1 a las 9:00"),
            ("2026-01-04T10:00:00-05:00", false, "en", "tomorrow at 10:00 am"),
        ] {
            assert_eq!(hours.opens(at(now), new, locale), told, "{now} {locale}");
        }
    }

    #[test]
    fn hours_that_make_no_sense_are_refused_with_line_and_reason() {
        let line = |part: &str| 1 + HOURS[..HOURS.find(part).unwrap()].matches('\n').count();
        let before = starter()[..starter().find("[cues]").unwrap()].matches('\n').count();
        for (from, to, reason) in [
            ("America/Bogota", "America/Atlantis", "no time zone"),
            ("\"17:30\"", "\"half past five\"", "'new_until' is a time of day"),
            ("\"08:30-12:00\"", "\"08:30\"", "'08:30' is no interval"),
            ("\"13:00-18:00\"", "\"11:00-18:00\"", "overlaps"),
            ("\"2026-12-25\"", "\"Christmas\"", "'Christmas' is no day"),
            ("monday =", "mondy =", "unknown field `mondy`"),
            ("today = \"hoy a las {time}\"", "today = \"hoy a las {hora}\"", "'{hora}'"),
            ("later = \"{weekday} {day}/{month} às {time}\"", "later = \" \"", "'hours.opens.pt.later' is empty"),
            ("\"lunes\", ", "", "names the seven days"),
            ("[hours.opens.pt]", "[hours.opens.fr]", "nothing for 'pt'"),
        ] {
            let error = policy(&HOURS.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(reason), "{to}\n{error}");
            if !reason.starts_with("nothing for") {
                assert!(error.contains(&format!("test.toml:{}:", before + line(from))), "{to}\n{error}");
            }
        }
        let closed = HOURS.replace("monday = [", "# [").replace("saturday = [", "# [");
        assert!(policy(&closed).unwrap_err().contains("never opens"));
        assert!(policy("").unwrap_err().contains("'out-of-hours.hours' needs [hours]"));
        assert!(!Hours::default().stated() && Hours::default().calendar().is_open(Micros(0)));
    }
}
