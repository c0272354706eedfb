//! A model test of the protocol: thousands of schedules of faults over the worker's own code and the real store.
//!
//! A schedule is data that proptest makes and shrinks ([`actions`]). It says who moves, from one step to the next, and
//! what goes wrong there: three workers that crash, stall beyond their leases, drain and come back as zombies; a queue
//! that repeats, delays and reorders; a store, a model and a channel that fail before or after they did what they were
//! asked; people who take and return the floor; a provider that says everything twice. After each step that wrote, the
//! tables are looked at ([`watch`]); at the end, when all faults have ceased and everything has come to rest, everything
//! said must have ended as promised ([`oracle`]). Protocols broken on purpose ([`variants`]) show that it would be seen.
//!
//! SQLite lets one writer in, so transactions do not interleave here; how PostgreSQL's do, the fault tests show.

mod acting; // what each action does
mod actions; // what can happen, as data
mod fakes; // the queue, the model and the channel
mod oracle; // what must be true at the end
mod play; // seeds, threads, shrinking
mod stage; // one actor moves at a time
mod variants; // protocols broken on purpose
mod watch; // what no step may do
mod world; // workers and all around them

use variants::{BROKEN, Variant};

/// Schedules played by `make test`; `make model SEEDS=…` plays more.
const SCHEDULES: u64 = 3_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn the_protocol_keeps_its_promises_in_every_schedule() {
    let seeds = number("MODEL_SEEDS").unwrap_or(SCHEDULES);
    let first = number("MODEL_FIRST").unwrap_or(0);
    let report = play::campaign(Variant::None, first..first + seeds, true);
    eprintln!("{}", report.table());
    report.expect_kept();
    assert!(report.played.sends > report.schedules && report.played.unknowns > 0 && report.played.late > 0);
}

/// With `MODEL_SEED` set, tells that seed's story.
#[test]
fn one_seed_is_the_same_story_every_time() {
    let seed = number("MODEL_SEED").unwrap_or(7);
    let (first, promise) = play::tell(Variant::None, seed);
    if number("MODEL_SEED").is_some() {
        eprintln!("{}", first.join("\n"));
    }
    let (second, _) = play::tell(Variant::None, seed);
    assert_eq!(first, second);
    assert_eq!(promise, None);
}

/// Seeds that once broke a promise.
#[test]
fn what_was_broken_once_stays_mended() {
    for seed in [0] {
        assert_eq!(play::tell(Variant::None, seed).1, None, "seed {seed}");
    }
}

#[test]
fn an_ack_before_intake_commits_is_caught() {
    caught("a delivery is acked before intake commits", Variant::AckBeforeIntake, 1_000);
}

#[test]
fn every_safeguard_that_is_taken_away_is_missed() {
    let only = std::env::var("MODEL_BROKEN").ok();
    for broken in BROKEN.iter().filter(|broken| only.as_ref().is_none_or(|only| broken.name.contains(only))) {
        caught(broken.name, Variant::Text(broken), broken.within);
    }
}

fn caught(name: &str, variant: Variant, within: u64) {
    let report = play::campaign(variant, 0..within, false);
    let used = report.swapped > 0 || variant == Variant::AckBeforeIntake;
    assert!(used, "'{name}' changes no statement any more: the text that it looks for is gone");
    match report.found {
        Some(found) => eprintln!("caught at schedule {:>5}: {name}: {}", found.seed, found.promise),
        None => panic!("'{name}' was not caught within {within} schedules"),
    }
}
