//! The breaker's table, and what holds whatever happens.

use proptest::prelude::*;

use super::*;

const FIRST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(60);
const FAILED: Report = Report::Failed { class: Class::Outage, retry_after: None };

fn closed() -> Breaker {
    Breaker::new(Intervals { first: FIRST, most: MOST })
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn limited(seconds: u64) -> Report {
    Report::Failed { class: Class::RateLimited, retry_after: Some(secs(seconds)) }
}

fn go(breaker: &mut Breaker, now: Instant) -> Ticket {
    match breaker.admit(now) {
        Admission::Go(ticket) => ticket,
        Admission::Hold(held) => panic!("held: {held:?}"),
    }
}

fn held(breaker: &mut Breaker, now: Instant) -> Held {
    match breaker.admit(now) {
        Admission::Go(_) => panic!("it goes"),
        Admission::Hold(held) => held,
    }
}

fn call(breaker: &mut Breaker, report: Report, now: Instant) {
    let ticket = go(breaker, now);
    breaker.report(ticket, report, now, 1.0);
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = closed();
    (0..STREAK).for_each(|_| call(&mut breaker, FAILED, now));
    assert_eq!(breaker.position(), Position::Open);
    breaker
}

#[test]
fn failures_in_a_row_open_it_and_an_answer_among_them_does_not() {
    let now = Instant::now();
    let mut breaker = closed();
    for _ in 0..3 {
        (1..STREAK).for_each(|_| call(&mut breaker, FAILED, now));
        call(&mut breaker, Report::Answered, now);
    }
    assert_eq!(breaker.position(), Position::Closed);
    (0..STREAK).for_each(|_| call(&mut breaker, FAILED, now));
    assert_eq!(breaker.position(), Position::Open);
    let held = held(&mut breaker, now);
    assert_eq!((held.probe_in, held.interval, held.class), (FIRST, FIRST, Class::Outage));
}

#[test]
fn half_of_many_calls_open_it_within_the_window_and_not_beyond() {
    let now = Instant::now();
    for (apart, position) in [(Duration::ZERO, Position::Open), (WINDOW / 10, Position::Closed)] {
        let (mut breaker, mut at) = (closed(), now);
        for n in 0..2 * LEAST {
            if breaker.position() == Position::Closed {
                call(&mut breaker, if n % 2 == 0 { Report::Answered } else { FAILED }, at);
                at += apart;
            }
        }
        assert_eq!(breaker.position(), position, "{apart:?} apart");
    }
}

#[test]
fn after_the_interval_one_call_probes_and_its_answer_closes() {
    let now = Instant::now();
    let mut breaker = opened(now);
    held(&mut breaker, now + FIRST - Duration::from_micros(1));
    assert!(!breaker.wants_probe(now) && breaker.wants_probe(now + FIRST));
    let probe = go(&mut breaker, now + FIRST);
    assert_eq!(breaker.position(), Position::HalfOpen);
    assert_eq!(held(&mut breaker, now + secs(3_600)).probe_in, Duration::ZERO);
    breaker.report(probe, Report::Answered, now + FIRST, 1.0);
    assert_eq!((breaker.position(), breaker.holding(now)), (Position::Closed, None));
    call(&mut breaker, FAILED, now + FIRST);
    assert_eq!(breaker.position(), Position::Closed, "old failures are forgotten");
}

#[test]
fn each_failed_probe_doubles_the_interval_up_to_the_most_and_closing_begins_anew() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    for expected in [4, 8, 16, 32, 60, 60] {
        now += secs(60);
        call(&mut breaker, FAILED, now);
        assert_eq!(held(&mut breaker, now).probe_in, secs(expected));
    }
    now += secs(60);
    call(&mut breaker, Report::Answered, now);
    (0..STREAK).for_each(|_| call(&mut breaker, FAILED, now));
    assert_eq!(held(&mut breaker, now).probe_in, FIRST);
}

#[test]
fn a_probe_without_a_word_leaves_the_door_to_the_next() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let probe = go(&mut breaker, now + FIRST);
    breaker.report(probe, Report::Nothing, now + FIRST, 1.0);
    go(&mut breaker, now + FIRST);
}

#[test]
fn a_rate_limit_that_says_how_long_holds_everybody_for_as_long_and_one_that_does_not_is_a_failure() {
    let now = Instant::now();
    let mut breaker = closed();
    call(&mut breaker, limited(30), now);
    let found = held(&mut breaker, now);
    assert_eq!((found.probe_in, found.class), (secs(30), Class::RateLimited));
    let mut endless = closed();
    call(&mut endless, limited(u64::MAX), now);
    assert_eq!(held(&mut endless, now).probe_in, MOST_RETRY_AFTER);
    let mut vague = closed();
    call(&mut vague, Report::Failed { class: Class::RateLimited, retry_after: None }, now);
    assert_eq!(vague.position(), Position::Closed);
}

#[test]
fn what_began_before_it_opened_changes_nothing_but_may_ask_for_a_longer_wait() {
    let now = Instant::now();
    let mut breaker = closed();
    let early = [0; 4].map(|_| go(&mut breaker, now));
    (0..STREAK).for_each(|_| call(&mut breaker, FAILED, now));
    breaker.report(early[0], Report::Answered, now, 1.0);
    breaker.report(early[1], FAILED, now, 1.0);
    assert_eq!(held(&mut breaker, now).probe_in, FIRST);
    breaker.report(early[2], limited(9), now, 1.0);
    assert_eq!(held(&mut breaker, now).probe_in, secs(9));
    let probe = go(&mut breaker, now + secs(9));
    breaker.report(early[3], Report::Answered, now + secs(9), 1.0);
    assert_eq!(breaker.position(), Position::HalfOpen, "only the probe closes it");
    breaker.report(probe, Report::Answered, now + secs(9), 1.0);
    assert_eq!(breaker.position(), Position::Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask,
    End(usize, Report, f64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = proptest::option::of((0..7_200u64).prop_map(Duration::from_secs));
    let class = prop_oneof![Just(Class::Outage), Just(Class::RateLimited), Just(Class::Misconfigured)];
    let failed = (class, wait).prop_map(|(class, retry_after)| Report::Failed { class, retry_after });
    let report = prop_oneof![1 => Just(Report::Answered), 1 => Just(Report::Nothing), 3 => failed];
    let step = prop_oneof![
        1 => (0..90_000u64).prop_map(Step::Pass),
        2 => Just(Step::Ask),
        2 => (any::<usize>(), report, any::<f64>()).prop_map(|(which, report, roll)| Step::End(which, report, roll)),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn however_calls_end_one_probe_at_most_is_under_way_and_no_wait_that_was_asked_for_is_cut(steps in steps()) {
        let (mut breaker, mut now) = (closed(), Instant::now());
        let mut under_way: Vec<(Ticket, bool)> = Vec::new();
        let mut asked_until = now;
        for step in steps {
            match step {
                Step::Pass(millis) => now += Duration::from_millis(millis),
                Step::Ask => {
                    let before = breaker.position();
                    match breaker.admit(now) {
                        Admission::Go(ticket) => {
                            let probe = before != Position::Closed;
                            prop_assert!(!probe || now >= asked_until, "before it was allowed");
                            under_way.push((ticket, probe));
                        }
                        Admission::Hold(held) => {
                            prop_assert!(before != Position::Closed);
                            prop_assert!(held.interval <= MOST && held.probe_in <= MOST_RETRY_AFTER.max(MOST));
                        }
                    }
                }
                Step::End(which, report, roll) if !under_way.is_empty() => {
                    let (ticket, probe) = under_way.swap_remove(which % under_way.len());
                    let before = breaker.position();
                    breaker.report(ticket, report, now, roll);
                    if let Report::Failed { class, retry_after } = report
                        && told_to_wait(class, retry_after)
                        && (probe || before != Position::HalfOpen)
                    {
                        asked_until = asked_until.max(now + polite(retry_after));
                    }
                    if breaker.position() == Position::Closed {
                        prop_assert!(before == Position::Closed || (probe && report == Report::Answered));
                    }
                }
                Step::End(..) => {}
            }
            let probes = under_way.iter().filter(|(ticket, probe)| *probe && ticket.era == breaker.era).count();
            prop_assert!(probes <= 1);
            prop_assert_eq!(probes == 1, breaker.position() == Position::HalfOpen);
        }
    }
}
