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
mod regressions; // schedules that once broke a promise
mod stage; // one actor moves at a time
mod variants; // protocols broken on purpose
mod watch; // what no step may do
mod world; // workers and all around them

use variants::Variant;

/// Schedules played by `make test`; `make model SEEDS=…` plays more.
const SCHEDULES: u64 = 1_200;

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
    let wanted = number("MODEL_SEED");
    for seed in wanted.map_or(0..10, |seed| seed..seed + 1) {
        let (first, promise) = play::tell(seed);
        if wanted.is_some() {
            eprintln!("{}", first.join("\n"));
        }
        assert_eq!(first, play::tell(seed).0, "seed {seed}");
        assert_eq!(promise, None, "seed {seed}");
    }
}

#[test]
fn what_was_broken_once_stays_mended() {
    for (what, schedule) in regressions::all() {
        assert_eq!(play::keeps(&schedule), Ok(()), "{what}");
    }
}
