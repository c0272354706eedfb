//! What a calendar promises: by hand where people notice, drawn at random where clocks change.

use proptest::prelude::*;

use super::*;

fn at(written: &str) -> Micros {
    Micros(written.parse::<Timestamp>().unwrap().as_microsecond())
}

fn day(written: &[&str]) -> Vec<Interval> {
    written.iter().map(|interval| Interval::parse(interval).unwrap()).collect()
}

/// Monday to Friday with a lunch break, Saturday morning, and a long Saturday night.
fn shop(zone: &str) -> Calendar {
    let week = std::array::from_fn(|weekday| match weekday {
        0..5 => day(&["13:00-18:00", "08:30-12:00"]),
        5 => day(&["09:00-13:00", "20:00-02:00"]),
        _ => Vec::new(),
    });
    let holidays = [("2026-01-06", vec![]), ("12-24", day(&["09:00-12:00"])), ("2026-01-05", day(&["10:00-11:00"]))];
    let holidays = holidays.into_iter().map(|(date, hours)| (Holiday::parse(date).unwrap(), hours)).collect();
    Calendar::new(TimeZone::get(zone).unwrap(), week, holidays, Some(17 * 60))
}

#[test]
fn it_is_open_in_its_hours_and_takes_new_conversations_until_the_cutoff() {
    let shop = shop("America/Bogota");
    for (moment, open, new) in [
        ("2026-01-08T08:29:59-05:00", false, false),
        ("2026-01-08T08:30:00-05:00", true, true),
        ("2026-01-08T12:00:00-05:00", false, false),
        ("2026-01-08T16:59:59-05:00", true, true),
        ("2026-01-08T17:00:00-05:00", true, false),
        ("2026-01-08T18:00:00-05:00", false, false),
        // A Saturday night, and the Sunday morning that belongs to it.
        ("2026-01-10T21:00:00-05:00", true, false),
        ("2026-01-11T01:59:00-05:00", true, false),
        ("2026-01-11T02:00:00-05:00", false, false),
        // Holidays: one with hours of its own, one closed, one of every year.
        ("2026-01-05T09:00:00-05:00", false, false),
        ("2026-01-05T10:30:00-05:00", true, true),
        ("2026-01-06T10:30:00-05:00", false, false),
        ("2031-12-24T13:30:00-05:00", false, false),
    ] {
        assert_eq!((shop.is_open(at(moment)), shop.takes_new(at(moment))), (open, new), "{moment}");
    }
}

#[test]
fn the_next_opening_is_past_breaks_nights_weekends_and_holidays() {
    let shop = shop("America/Bogota");
    for (moment, opens, new) in [
        ("2026-01-08T07:00:00-05:00", "2026-01-08T08:30:00-05:00", "2026-01-08T08:30:00-05:00"),
        ("2026-01-08T12:10:00-05:00", "2026-01-08T13:00:00-05:00", "2026-01-08T13:00:00-05:00"),
        ("2026-01-08T17:30:00-05:00", "2026-01-09T08:30:00-05:00", "2026-01-09T08:30:00-05:00"),
        ("2026-01-03T13:30:00-05:00", "2026-01-03T20:00:00-05:00", "2026-01-05T10:00:00-05:00"),
        ("2026-01-04T22:00:00-05:00", "2026-01-05T10:00:00-05:00", "2026-01-05T10:00:00-05:00"),
        ("2026-01-05T12:00:00-05:00", "2026-01-07T08:30:00-05:00", "2026-01-07T08:30:00-05:00"),
    ] {
        assert_eq!(shop.next_opening(at(moment)), Some(at(opens)), "{moment}");
        assert_eq!(shop.next_for_new(at(moment)), Some(at(new)), "{moment}");
    }
    assert_eq!(shop.next_for_new(at("2026-01-08T16:00:00-05:00")), Some(at("2026-01-08T16:00:00-05:00")));
    let now = at("2026-01-08T16:00:00-05:00");
    assert_eq!(Calendar::always().next_opening(now), None);
    assert_eq!(Calendar::always().next_for_new(now), Some(now));
    let never = Calendar::new(TimeZone::UTC, Default::default(), BTreeMap::new(), None);
    assert_eq!((never.next_opening(now), never.next_for_new(now)), (None, None));
    assert!(never.business_time_after(now, Duration::from_secs(60)) > now, "a clock that was set runs out");
}

#[test]
fn business_time_runs_only_while_it_is_open() {
    let shop = shop("America/Bogota");
    for (moment, hours, expected) in [
        ("2026-01-08T09:00:00-05:00", 2, "2026-01-08T11:00:00-05:00"),
        ("2026-01-08T11:00:00-05:00", 1, "2026-01-08T12:00:00-05:00"),
        ("2026-01-08T11:00:00-05:00", 2, "2026-01-08T14:00:00-05:00"),
        ("2026-01-09T17:00:00-05:00", 2, "2026-01-10T10:00:00-05:00"),
        ("2026-01-04T10:00:00-05:00", 2, "2026-01-07T09:30:00-05:00"),
    ] {
        let wanted = Duration::from_secs(hours * 3600);
        assert_eq!(shop.business_time_after(at(moment), wanted), at(expected), "{moment} and {hours} h");
        assert_eq!(shop.business_time_between(at(moment), at(expected)), wanted);
    }
}

#[test]
fn a_day_whose_clocks_change_has_the_hours_that_they_show() {
    let week = std::array::from_fn(|_| day(&["01:30-02:30", "09:00-17:00"]));
    let shop = Calendar::new(TimeZone::get("America/New_York").unwrap(), week, BTreeMap::new(), None);
    let open = |date: &str| {
        let start = at(date);
        shop.business_time_between(start, start + Duration::from_secs(20 * 3600)).as_secs() / 60
    };
    assert_eq!(open("2026-03-07T00:00:00-05:00"), 60 + 480);
    // From 2:00 to 3:00 there is nothing, so that 2:30 is 3:00; in autumn 1:30 comes twice, and the first one opens.
    assert_eq!(open("2026-03-08T00:00:00-05:00"), 30 + 480);
    assert_eq!(open("2026-11-01T00:00:00-04:00"), 120 + 480);
    assert!(shop.is_open(at("2026-03-09T09:00:00-04:00")) && !shop.is_open(at("2026-03-09T08:59:00-04:00")));
}

#[test]
fn what_is_no_interval_or_day_is_refused() {
    for wrong in
        ["", "8", "08:30", "08:30-", "25:00-26:00", "24:00-01:00", "08:60-09:00", "8:3-9:00", "a-b", "-1:00-2:00"]
    {
        assert!(Interval::parse(wrong).is_err(), "{wrong}");
    }
    assert_eq!(Interval::parse("8:30 - 18:00"), Interval::parse("08:30-18:00"));
    assert!(
        ["", "13-01", "2026-02-30", "02-30", "2026-1-1", "tomorrow!!"].iter().all(|day| Holiday::parse(day).is_none())
    );
    assert_eq!(Holiday::parse("02-29"), Some(Holiday::Yearly(2, 29)));
}

const ZONES: [&str; 8] = [
    "America/Bogota",
    "America/New_York",
    "America/Sao_Paulo",
    "Europe/Madrid",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

fn interval() -> impl Strategy<Value = Interval> {
    (0..96_u16, 1..=96_u16).prop_map(|(from, long)| Interval { from: from * 15, until: (from + long) * 15 })
}

fn calendar() -> impl Strategy<Value = Calendar> {
    let week = prop::array::uniform7(prop::collection::vec(interval(), 0..3));
    let holidays = prop::collection::vec(((1..=12_i8, 1..=28_i8), prop::collection::vec(interval(), 0..2)), 0..6);
    let zone = prop::sample::select(&ZONES[..]).prop_map(|zone| TimeZone::get(zone).unwrap());
    (zone, week, holidays, prop::option::of(0..DAY)).prop_map(|(zone, week, holidays, new_until)| {
        let holidays = holidays.into_iter().map(|((month, day), hours)| (Holiday::Yearly(month, day), hours)).collect();
        Calendar::new(zone, week, holidays, new_until)
    })
}

/// Any second from 2005 to 2035: clocks changed by other rules then, and Apia lost a day.
fn moment() -> impl Strategy<Value = Micros> {
    (1_104_537_600_i64..2_051_222_400).prop_map(Micros::from_seconds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whoever_waits_for_the_opening_finds_it_open_and_it_was_closed_until_then(shop in calendar(), now in moment()) {
        if let Some(opens) = shop.next_opening(now) {
            prop_assert!(opens > now && shop.is_open(opens) && !shop.is_open(Micros(opens.0 - 1)));
            let step = Duration::from_micros(u64::try_from((opens.0 - now.0) / 50 + 1).unwrap());
            let between = std::iter::successors(Some(now), |at| Some(*at + step)).take_while(|at| *at < opens);
            if !shop.is_open(now) {
                prop_assert!(between.into_iter().all(|at| !shop.is_open(at)));
            }
        }
        if let Some(takes) = shop.next_for_new(now) {
            prop_assert!(takes >= now && shop.takes_new(takes));
            prop_assert_eq!(takes == now, shop.takes_new(now));
        }
        prop_assert!(shop.is_open(now) || !shop.takes_new(now));
    }

    #[test]
    fn business_time_passes_only_in_hours_and_adds_up(shop in calendar(), now in moment(), minutes in 1..6_000_u64) {
        let wanted = Duration::from_secs(minutes * 60);
        prop_assume!(shop.next_opening(now).is_some() || shop.is_open(now));
        let end = shop.business_time_after(now, wanted);
        prop_assert!(end >= now + wanted);
        prop_assert_eq!(shop.business_time_between(now, end), wanted);
        prop_assert!(shop.is_open(Micros(end.0 - 1)), "the last moment counted is one of its own");
        let half = shop.business_time_after(now, wanted / 2);
        prop_assert!(half <= end);
        prop_assert_eq!(shop.business_time_after(half, wanted - wanted / 2), end);
    }
}
