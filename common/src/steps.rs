//! Fail points: the numbered steps of a message's story at which a process can be told to die or to stall.
//!
//! They are compiled into what ships, so that what is tested is what runs; unarmed, a step costs one relaxed load.
//! `HANDRAIL_FAULTS="turn.before_commit=kill@3,deliver.begun=stop@1"` arms them: the third time that this process comes
//! to the commit of a turn it sends itself SIGKILL, the first time that it has begun a send, SIGSTOP. Development warns;
//! production does not start (P10).

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::sys::signal::{Signal, raise};

use crate::telemetry::field;

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal),+ $(,)?) => {
        /// A step of the story, in its order. ARCHITECTURE.md's walk names each where it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Step { $($(#[$doc])* $step),+ }

        impl Step {
            /// Every step, in the order of the story.
            pub const ALL: &[Self] = &[$(Self::$step),+];

            /// Its name in `HANDRAIL_FAULTS`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$step => $name),+ }
            }
        }
    };
}

steps! {
    /// The ingress has sealed an event and published nothing.
    IngressSealed = "ingress.sealed",
    /// The queue has confirmed, and the provider has no answer yet.
    IngressConfirmed = "ingress.confirmed",
    /// Intake has written everything and not committed.
    IntakeBeforeCommit = "intake.before_commit",
    /// The store has the event, and the queue knows nothing of it.
    IntakeCommitted = "intake.committed",
    /// The delivery is acked, and nobody has been rung.
    IntakeAcked = "intake.acked",
    /// A conversation's turn is claimed.
    TurnClaimed = "turn.claimed",
    /// The attempt's row is written, and the model has not been asked.
    TurnAttempted = "turn.attempted",
    /// The model has answered, and the answer is kept nowhere.
    TurnAnswered = "turn.answered",
    /// The answer is stored, and nothing has used it.
    TurnStored = "turn.stored",
    /// The turn's transaction is written and not committed.
    TurnBeforeCommit = "turn.before_commit",
    /// The turn is committed, and the deliverer has not been rung.
    TurnCommitted = "turn.committed",
    /// A conversation's outbox is claimed.
    DeliverClaimed = "deliver.claimed",
    /// A send is marked as begun, and no byte has left.
    DeliverBegun = "deliver.begun",
    /// The provider has answered, and its answer is recorded nowhere.
    DeliverAnswered = "deliver.answered",
    /// The outcome of a send is recorded, and the outbox is still claimed.
    DeliverRecorded = "deliver.recorded",
}

/// What a process does to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fall {
    Kill,
    Stop,
}

/// What `HANDRAIL_FAULTS` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    step: Step,
    fall: Fall,
    /// At which passing, counted from 1.
    at: u32,
}

/// Text that arms nothing.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no fault: expected step=kill@n or step=stop@n, where step is one of {names}", names = names())]
pub struct ParseFaultError(String);

fn names() -> String {
    Step::ALL.iter().map(|step| step.name()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Faults {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, ParseFaultError> {
        let faults = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        faults
            .map(|part| fault(part).ok_or_else(|| ParseFaultError(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn fault(text: &str) -> Option<Fault> {
    let (name, what) = text.split_once('=')?;
    let (fall, at) = what.split_once('@').unwrap_or((what, "1"));
    let step = *Step::ALL.iter().find(|step| step.name() == name.trim())?;
    let fall = match fall.trim() {
        "kill" => Fall::Kill,
        "stop" => Fall::Stop,
        _ => return None,
    };
    let at = at.trim().parse().ok().filter(|at| *at > 0)?;
    Some(Fault { step, fall, at })
}

impl Faults {
    /// Whether nothing is asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether any step is armed: all that an ordinary process ever asks.
static ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Vec<(Fault, AtomicU32)>> = OnceLock::new();

/// Arms this process. Once: a second plan changes nothing.
pub fn arm(faults: &Faults) {
    if faults.is_empty() {
        return;
    }
    let plan = faults.0.iter().map(|fault| (*fault, AtomicU32::new(0))).collect();
    if PLAN.set(plan).is_ok() {
        tracing::warn!(
            { field::COUNT } = faults.0.len(),
            "HANDRAIL_FAULTS is set: this process will kill or stop itself"
        );
        ARMED.store(true, Ordering::Release);
    }
}

/// Says that the process has come to a step.
#[inline]
pub fn reached(step: Step) {
    if ARMED.load(Ordering::Relaxed) {
        pass(step);
    }
}

#[cold]
fn pass(step: Step) {
    for (fault, passed) in PLAN.get().into_iter().flatten().filter(|(fault, _)| fault.step == step) {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == fault.at {
            tracing::warn!({ field::CODE } = step.name(), "an armed step is reached");
            // Both stop every thread of the process; an error would leave it running, which the test then tells.
            let _fallen = raise(match fault.fall {
                Fall::Kill => Signal::SIGKILL,
                Fall::Stop => Signal::SIGSTOP,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        let faults: Faults = "turn.before_commit=kill@3, deliver.begun=stop".parse().unwrap();
        let expected = [
            Fault { step: Step::TurnBeforeCommit, fall: Fall::Kill, at: 3 },
            Fault { step: Step::DeliverBegun, fall: Fall::Stop, at: 1 },
        ];
        assert_eq!(faults, Faults(expected.to_vec()));
        assert!(Faults::default().is_empty() && "".parse::<Faults>().unwrap().is_empty());
    }

    #[test]
    fn what_arms_nothing_is_refused_by_name() {
        for text in
            ["turn", "turn.claimed", "turn.claimed=faint", "nowhere=kill", "turn.claimed=kill@0", "turn.claimed=kill@x"]
        {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("deliver.recorded"), "{error}");
        }
    }

    #[test]
    fn a_step_of_an_unarmed_process_is_only_passed() {
        for step in Step::ALL {
            reached(*step);
        }
    }
}
