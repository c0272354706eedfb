//! Schedules that once broke a promise, kept as they were found: a seed means another schedule as soon as the ways of
//! making them change.

use super::actions::{Action, Saying, Schedule, Span, TO_AN_OUTSIDE, TO_THE_END};

fn answered() -> Vec<Action> {
    vec![
        Action::Say { who: 0, what: Saying::Question, ingress: 0 },
        Action::TakeIn { worker: 0, pick: 0, steps: TO_THE_END },
        Action::Turn { worker: 0, who: 0, steps: TO_THE_END },
    ]
}

/// What was wrong, and the schedule that showed it.
pub(super) fn all() -> Vec<(&'static str, Schedule)> {
    let plain = |resends, actions| Schedule { settles: false, resends, parts: false, actions };
    let mut unsent = answered();
    unsent.extend([
        Action::Deliver { worker: 0, who: 0, steps: TO_AN_OUTSIDE },
        // The provider has it, and its answer is lost.
        Action::Spoil { pick: 0, how: 6 },
        Action::Go { pick: 0, steps: TO_THE_END },
        Action::Take { who: 0, steps: TO_THE_END },
    ]);
    let slept = vec![
        Action::Say { who: 0, what: Saying::Question, ingress: 0 },
        Action::TakeIn { worker: 0, pick: 0, steps: TO_THE_END },
        Action::Turn { worker: 0, who: 0, steps: TO_AN_OUTSIDE },
        Action::Pass { how: Span::Floor, renewing: false },
    ];
    let question = |who| Action::Say { who, what: Saying::Question, ingress: 0 };
    // What was answered first turns out to have been received first.
    let cleared = vec![
        question(0),
        question(0),
        Action::Again { pick: 62 },
        question(1),
        Action::TakeIn { worker: 0, pick: 14, steps: 7 },
        Action::Redeliver { pick: 0 },
        Action::Redeliver { pick: 0 },
        question(0),
        Action::Turn { worker: 0, who: 0, steps: TO_THE_END },
        question(0),
        question(0),
        question(0),
        question(0),
    ];
    // What was answered last does, too.
    let overtaken = vec![
        question(0),
        question(0),
        question(0),
        Action::TakeIn { worker: 0, pick: 1, steps: 0 },
        Action::TakeIn { worker: 0, pick: 49, steps: 11 },
        Action::Again { pick: 0 },
        Action::Turn { worker: 0, who: 0, steps: 1 },
        Action::TakeIn { worker: 0, pick: 43, steps: 0 },
        question(0),
        question(0),
        question(0),
        Action::Pass { how: Span::Holding, renewing: false },
        Action::Turn { worker: 1, who: 0, steps: 1 },
    ];
    vec![
        ("a message stayed late when the first copy of what was answered before it came in", plain(false, cleared)),
        ("a message that was over did not stand where its first copy was received", plain(false, overtaken)),
        ("an unknown send, to be sent again, was called unsent when a person took the floor", plain(true, unsent)),
        ("a turn asked for every renewal it had slept through whether its claim holds", plain(false, slept)),
    ]
}
