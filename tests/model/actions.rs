//! What can happen, as data: proptest makes schedules of it, and shrinks the one that broke a promise.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// One thing that happens. Numbers choose among what is there at that moment; where nothing is, nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A customer writes, by one of two ingresses.
    Say { who: u8, what: Saying, ingress: u8 },
    /// The provider sends an event a second time.
    Again { pick: u8 },
    /// A worker is given a delivery, any that is ready, and goes so many points.
    TakeIn { worker: u8, pick: u8, steps: u8 },
    /// The queue gives a delivery that is out to somebody else as well.
    Redeliver { pick: u8 },
    /// A worker is rung for a conversation's turn.
    Turn { worker: u8, who: u8, steps: u8 },
    /// A worker is rung for a conversation's outbox.
    Deliver { worker: u8, who: u8, steps: u8 },
    /// A worker's chores.
    Tend { worker: u8, steps: u8 },
    /// A worker keeps its claims alive.
    Renew { worker: u8 },
    /// Somebody goes on from where they stand, so many points.
    Go { pick: u8, steps: u8 },
    /// What somebody stands before ends badly.
    Spoil { pick: u8, how: u8 },
    /// Time passes; either the workers keep their claims alive, or they all stall.
    Pass { how: Span, renewing: bool },
    /// A worker dies between two of its steps, and starts anew.
    Crash { worker: u8 },
    /// A worker is told to stop, and another takes its place.
    Drain { worker: u8 },
    /// A person takes the floor.
    Take { who: u8, steps: u8 },
    /// A person gives it back.
    Return { who: u8 },
    /// A person writes.
    Reply { who: u8, steps: u8 },
    /// The provider says what became of a send.
    Status { pick: u8, rank: u8, by_our_id: bool },
}

/// What a customer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    Question,
    WantsPerson,
    Forbidden,
    Picture,
    /// A person of the business wrote outside Handrail.
    Echo,
}

/// How much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Moment,
    Renewal,
    Lease,
    Holding,
    Unknown,
    Floor,
}

impl Span {
    /// In microseconds; none is a sum of whole seconds, so that no jitter ends exactly with one.
    pub(super) const fn micros(self) -> i64 {
        match self {
            Self::Moment => 701_003,
            Self::Renewal => 5_300_017,
            Self::Lease => 17_100_031,
            Self::Holding => 61_300_057,
            Self::Unknown => 125_700_091,
            Self::Floor => 46_800_300_113,
        }
    }
}

/// Everything about one schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Whether bursts have a length.
    pub(super) settles: bool,
    /// Whether the channel drops a second send with the same id, so that unknown ones are sent again.
    pub(super) resends: bool,
    /// Whether replies are longer than the channel takes at once.
    pub(super) parts: bool,
    pub(super) actions: Vec<Action>,
}

/// How far somebody goes: so many points and one, for numbers below these.
pub(super) const TO_AN_OUTSIDE: u8 = 10;
/// Far enough for any activity to end.
pub(super) const TO_THE_END: u8 = 11;

fn saying() -> impl Strategy<Value = Saying> {
    prop_oneof![
        12 => Just(Saying::Question),
        1 => Just(Saying::WantsPerson),
        1 => Just(Saying::Forbidden),
        1 => Just(Saying::Picture),
        1 => Just(Saying::Echo),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        3 => Just(Span::Moment),
        2 => Just(Span::Renewal),
        4 => Just(Span::Lease),
        1 => Just(Span::Holding),
        1 => Just(Span::Unknown),
        1 => Just(Span::Floor),
    ]
}

/// Mostly somewhere on the way: that is where others come between.
fn steps() -> impl Strategy<Value = u8> {
    prop_oneof![3 => 0..TO_AN_OUTSIDE, 2 => Just(TO_AN_OUTSIDE), 3 => Just(TO_THE_END)]
}

/// Mostly to the end: what is not taken in cannot be disturbed.
fn quick() -> impl Strategy<Value = u8> {
    prop_oneof![1 => 0..TO_AN_OUTSIDE, 2 => Just(TO_THE_END)]
}

fn action() -> impl Strategy<Value = Action> {
    let pick = any::<u8>;
    prop_oneof![
        7 => (0..2u8, saying(), 0..2u8).prop_map(|(who, what, ingress)| Action::Say { who, what, ingress }),
        1 => pick().prop_map(|pick| Action::Again { pick }),
        9 => (0..3u8, pick(), quick()).prop_map(|(worker, pick, steps)| Action::TakeIn { worker, pick, steps }),
        1 => pick().prop_map(|pick| Action::Redeliver { pick }),
        9 => (0..3u8, pick(), steps()).prop_map(|(worker, who, steps)| Action::Turn { worker, who, steps }),
        9 => (0..3u8, pick(), steps()).prop_map(|(worker, who, steps)| Action::Deliver { worker, who, steps }),
        2 => (0..3u8, quick()).prop_map(|(worker, steps)| Action::Tend { worker, steps }),
        1 => (0..3u8).prop_map(|worker| Action::Renew { worker }),
        9 => (pick(), steps()).prop_map(|(pick, steps)| Action::Go { pick, steps }),
        7 => (pick(), pick()).prop_map(|(pick, how)| Action::Spoil { pick, how }),
        5 => (span(), any::<bool>()).prop_map(|(how, renewing)| Action::Pass { how, renewing }),
        2 => (0..3u8).prop_map(|worker| Action::Crash { worker }),
        1 => (0..3u8).prop_map(|worker| Action::Drain { worker }),
        2 => (pick(), quick()).prop_map(|(who, steps)| Action::Take { who, steps }),
        1 => pick().prop_map(|who| Action::Return { who }),
        1 => (pick(), quick()).prop_map(|(who, steps)| Action::Reply { who, steps }),
        2 => (pick(), 1..5u8, any::<bool>())
            .prop_map(|(pick, rank, by_our_id)| Action::Status { pick, rank, by_our_id }),
    ]
}

/// How a schedule begins: somebody has written, and sometimes things have already gone as far as is rarely reached by
/// chance.
fn opening() -> impl Strategy<Value = Vec<Action>> {
    let said = || vec![Action::Say { who: 0, what: Saying::Question, ingress: 0 }];
    let then =
        |before: Vec<Action>, more: &[Action]| before.into_iter().chain(more.iter().cloned()).collect::<Vec<_>>();
    let turn = |worker, steps| Action::Turn { worker, who: 0, steps };
    let deliver = |worker, steps| Action::Deliver { worker, who: 0, steps };
    let pass = |how| Action::Pass { how, renewing: false };
    let taken = then(said(), &[Action::TakeIn { worker: 0, pick: 0, steps: TO_THE_END }, pass(Span::Renewal)]);
    let replied = then(taken.clone(), &[turn(0, TO_THE_END)]);
    let sending = then(replied.clone(), &[deliver(0, TO_AN_OUTSIDE)]);
    let arrived = then(sending.clone(), &[Action::Go { pick: 0, steps: 0 }]);
    // Its answer is lost, and nobody knows.
    let unknown =
        then(arrived.clone(), &[Action::Spoil { pick: 255, how: 0 }, Action::Go { pick: 0, steps: TO_THE_END }]);
    let closing = then(unknown.clone(), &[pass(Span::Unknown), Action::Tend { worker: 1, steps: 1 }]);
    let told = then(closing.clone(), &[Action::Status { pick: 0, rank: 2, by_our_id: true }]);
    let two_turns = then(taken, &[turn(0, TO_AN_OUTSIDE), pass(Span::Lease), turn(1, TO_AN_OUTSIDE)]);
    let two_senders = then(replied, &[deliver(0, 1), pass(Span::Lease), deliver(1, TO_AN_OUTSIDE)]);
    let orphan = then(arrived, &[Action::Crash { worker: 0 }, pass(Span::Lease)]);
    prop_oneof![
        6 => Just(said()),
        1 => Just(sending),
        1 => Just(unknown),
        1 => Just(closing),
        1 => Just(told),
        1 => Just(two_turns),
        1 => Just(two_senders),
        1 => Just(orphan),
    ]
}

/// Schedules of up to eighty actions after their opening.
pub(super) fn schedule() -> impl Strategy<Value = Schedule> {
    let settles = prop_oneof![3 => Just(false), 1 => Just(true)];
    let whole = (settles, any::<bool>(), any::<bool>(), opening(), vec(action(), 10..80));
    whole.prop_map(|(settles, resends, parts, opening, actions)| {
        let actions = opening.into_iter().chain(actions).collect();
        Schedule { settles, resends, parts, actions }
    })
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bursts = if self.settles { "bursts settle" } else { "bursts have no length" };
        let unknown = if self.resends { "unknown sends are sent again" } else { "unknown sends stay unknown" };
        let parts = if self.parts { "replies come in parts" } else { "replies are whole" };
        write!(f, "{bursts}, {unknown}, {parts}; {} actions", self.actions.len())
    }
}
