//! The table at the top, and what holds for every failure.

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::ZERO;
const DAY: Duration = MOST_HELD;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn decided(class: Class, messages: usize, attempts: u32, age: Duration) -> Decision {
    decide(&Failure::of_class(class, messages), attempts, age, 1.0)
}

#[test]
fn the_table_at_the_top_is_what_is_decided() {
    use Decision::{Alone, DeadLetter, Hold, OneByOne, Pause, RetryAfter};
    let just_before = DAY - Duration::from_micros(1);
    for (class, messages, attempts, age, expected) in [
        (Class::Transient, 1, 1, NOW, RetryAfter(secs(1))),
        (Class::Transient, 3, 4, DAY, RetryAfter(secs(8))),
        (Class::Transient, 1, 5, NOW, DeadLetter(Reason::Exhausted)),
        (Class::Transient, 2, 5, NOW, OneByOne(secs(16))),
        (Class::Refused, 1, 2, NOW, RetryAfter(secs(2))),
        (Class::Refused, 1, 3, NOW, DeadLetter(Reason::Exhausted)),
        (Class::Refused, 2, 3, NOW, OneByOne(secs(4))),
        (Class::Malformed, 1, 2, NOW, RetryAfter(secs(2))),
        (Class::Malformed, 1, 3, NOW, DeadLetter(Reason::Exhausted)),
        (Class::Context, 1, 1, NOW, DeadLetter(Reason::Hopeless)),
        (Class::Context, 4, 1, NOW, OneByOne(secs(1))),
        (Class::Poison, 1, 1, NOW, DeadLetter(Reason::Hopeless)),
        (Class::Poison, 2, 1, NOW, OneByOne(secs(1))),
        (Class::Rejected, 1, 1, NOW, DeadLetter(Reason::Hopeless)),
        (Class::RateLimited, 1, 1_000, just_before, Hold(secs(60))),
        (Class::RateLimited, 1, 1, DAY, DeadLetter(Reason::TooOld)),
        (Class::Outage, 5, 1_000, just_before, Hold(secs(60))),
        (Class::Outage, 5, 1, DAY, DeadLetter(Reason::TooOld)),
        (Class::Misconfigured, 1, 2, NOW, Hold(secs(2))),
        (Class::Misconfigured, 1, 2, DAY, DeadLetter(Reason::TooOld)),
        (Class::Budget, 3, 1_000, just_before, Hold(secs(60))),
        (Class::Budget, 3, 2, DAY, DeadLetter(Reason::TooOld)),
        (Class::Crash, 3, 2, DAY, RetryAfter(secs(2))),
        (Class::Crash, 3, 3, NOW, Alone(secs(4))),
        (Class::Crash, 1, 4, NOW, DeadLetter(Reason::Exhausted)),
        (Class::Crash, 3, 4, NOW, OneByOne(secs(8))),
        (Class::Stale, 1, 9, DAY, DeadLetter(Reason::Hopeless)),
        (Class::Store, 1, 99, DAY, Pause(secs(60))),
    ] {
        let found = decided(class, messages, attempts, age);
        assert_eq!(found, expected, "{class:?} over {messages}, attempt {attempts}, age {age:?}");
    }
}

#[test]
fn a_wait_stays_within_its_bound_and_the_bound_only_grows_to_its_cap() {
    for attempts in 0..200 {
        assert!(bound(attempts) <= bound(attempts + 1) && bound(attempts) <= CAP && bound(attempts) >= BASE);
        for step in 0..=50 {
            let wait = backoff(attempts, f64::from(step) / 50.0);
            assert!(wait <= bound(attempts), "attempt {attempts}, step {step}");
        }
        assert_eq!((backoff(attempts, 0.0), backoff(attempts, 1.0)), (NOW, bound(attempts)));
    }
    assert_eq!(bound(u32::MAX), CAP);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0] {
        assert!(backoff(7, odd) <= CAP, "{odd}");
    }
}

#[test]
fn no_provider_is_asked_again_before_it_said_and_none_can_silence_us_for_ever() {
    let failure = |class, retry_after| Failure { class, retry_after: Some(retry_after), messages: 1 };
    for class in [Class::RateLimited, Class::Outage] {
        for step in 0..=10 {
            let Decision::Hold(wait) = decide(&failure(class, secs(30)), 1, NOW, f64::from(step) / 10.0) else {
                panic!("an outage is held")
            };
            assert!((secs(30)..=secs(31)).contains(&wait), "{wait:?}");
        }
    }
    let endless = decide(&failure(Class::RateLimited, Duration::MAX), 1, NOW, 1.0);
    assert_eq!(endless, Decision::Hold(MOST_RETRY_AFTER + secs(1)));
    let cap = decide(&failure(Class::Budget, secs(7 * 3_600)), 1, NOW, 1.0);
    assert_eq!(cap, Decision::Hold(secs(7 * 3_600 + 1)), "a budget is waited out");
}

#[test]
fn nothing_but_age_ends_a_hold_and_nothing_else_waits_for_age() {
    for class in Class::ALL {
        let held = matches!(class, Class::RateLimited | Class::Outage | Class::Misconfigured | Class::Budget);
        let young = (1..500).map(|attempts| decided(class, 1, attempts, NOW));
        assert_eq!(young.clone().all(|decision| matches!(decision, Decision::Hold(_))), held, "{class:?}");
        let old = (1..500).map(|attempts| decided(class, 1, attempts, DAY));
        assert_eq!(young.eq(old), !held, "{class:?}");
    }
}

#[test]
fn what_the_two_outsides_report_has_a_class() {
    let wait = Some(secs(7));
    for (error, class) in [
        (ModelError::RateLimited { retry_after: wait }, Class::RateLimited),
        (ModelError::Overloaded { status: 529, retry_after: wait }, Class::Outage),
        (ModelError::Unreachable, Class::Outage),
        (ModelError::TimedOut, Class::Outage),
        (ModelError::Refused, Class::Refused),
        (ModelError::ContextTooLong, Class::Context),
        (ModelError::Malformed("no text"), Class::Malformed),
        (ModelError::Misconfigured(401), Class::Misconfigured),
        (ModelError::QuotaExhausted, Class::Misconfigured),
    ] {
        let failure = Failure::of_model(&error, 2);
        assert_eq!((failure.class, failure.messages), (class, 2), "{error:?}");
        let told = matches!(error, ModelError::RateLimited { .. } | ModelError::Overloaded { .. });
        assert_eq!(failure.retry_after, wait.filter(|_| told), "{error:?}");
    }
    for (refusal, class) in [
        (RefusalClass::RateLimited, Class::RateLimited),
        (RefusalClass::Unavailable, Class::Outage),
        (RefusalClass::WindowClosed, Class::Stale),
        (RefusalClass::Rejected, Class::Rejected),
        (RefusalClass::NotConfigured, Class::Misconfigured),
    ] {
        assert_eq!(Class::from(refusal), class, "{refusal:?}");
    }
}

#[test]
fn every_class_has_its_own_word_and_serde_uses_the_same() {
    for class in Class::ALL {
        assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        assert_eq!(Class::ALL.iter().filter(|other| other.as_str() == class.as_str()).count(), 1);
    }
}

fn wait_of(decision: Decision) -> Option<Duration> {
    match decision {
        Decision::RetryAfter(wait)
        | Decision::Hold(wait)
        | Decision::OneByOne(wait)
        | Decision::Alone(wait)
        | Decision::Pause(wait) => Some(wait),
        Decision::DeadLetter(_) => None,
    }
}

fn failures() -> impl Strategy<Value = Failure> {
    let retry_after = proptest::option::of(any::<u64>().prop_map(Duration::from_micros));
    (proptest::sample::select(Class::ALL.to_vec()), retry_after, 1..9usize)
        .prop_map(|(class, retry_after, messages)| Failure { class, retry_after, messages })
}

fn ages() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(DAY), (0..200_000u64).prop_map(secs), any::<u64>().prop_map(Duration::from_micros)]
}

proptest! {
    #[test]
    fn every_failure_has_a_decision_and_every_wait_a_bound(
        failure in failures(), attempts in any::<u32>(), age in ages(), roll in any::<f64>(),
    ) {
        if let Some(wait) = wait_of(decide(&failure, attempts, age, roll)) {
            let asked = failure.retry_after.unwrap_or_default().min(MOST_HELD);
            prop_assert!(wait <= CAP + asked, "{wait:?}");
        }
    }

    #[test]
    fn a_hold_or_a_retry_is_never_shorter_than_what_was_asked_for(
        failure in failures(), attempts in any::<u32>(), age in ages(), roll in 0.0..=1.0f64,
    ) {
        let believed = failure.retry_after.unwrap_or_default().min(MOST_RETRY_AFTER);
        match decide(&failure, attempts, age, roll) {
            Decision::Hold(wait) => prop_assert!(wait >= believed),
            Decision::RetryAfter(wait) if failure.class != Class::Crash => prop_assert!(wait >= believed),
            _ => {}
        }
    }

    #[test]
    fn more_luck_more_attempts_and_more_age_never_make_a_wait_shorter_nor_raise_the_dead(
        failure in failures(), attempts in 0..1_000u32, age in ages(), roll in 0.0..=1.0f64,
    ) {
        let now = decide(&failure, attempts, age, roll);
        let later = [
            decide(&failure, attempts, age, (roll + 1.0) / 2.0),
            decide(&failure, attempts + 1, age, roll),
            decide(&failure, attempts, age.saturating_add(secs(60)), roll),
        ];
        for later in later {
            match (now, later) {
                (Decision::DeadLetter(reason), later) => prop_assert_eq!(later, Decision::DeadLetter(reason)),
                (Decision::RetryAfter(before), Decision::RetryAfter(after))
                | (Decision::Hold(before), Decision::Hold(after)) => prop_assert!(after >= before),
                _ => {}
            }
        }
    }

    #[test]
    fn only_one_message_alone_is_ever_parked_for_what_it_says(
        failure in failures(), attempts in any::<u32>(), age in ages(), roll in 0.0..=1.0f64,
    ) {
        if let Decision::DeadLetter(reason) = decide(&failure, attempts, age, roll) {
            prop_assert!(failure.messages == 1 || reason == Reason::TooOld);
            prop_assert_eq!(failure.class.reason(), Some(reason), "the class tells it, so that no letter need keep it");
        }
    }
}
