//! A replay in growing steps: one letter, five, twenty-five, a hundred, the rest. The next step begins only when
//! every letter of the one before has ended, and not when too many of it failed.

use common::store::Progress;

/// How large each step is; after them comes the rest.
const STEPS: [i64; 4] = [1, 5, 25, 100];
/// How many letters of the rest tell enough to halt by.
const ENOUGH_OF_THE_REST: i64 = 20;

/// The most of a step that may fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Threshold(f64);

impl Threshold {
    pub(crate) const DEFAULT: Self = Self(20.0);

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let percent: Option<f64> = text.trim().trim_end_matches('%').parse().ok();
        let percent = percent.filter(|percent| (0.0..100.0).contains(percent));
        percent.map(Self).ok_or_else(|| format!("'{text}' is no share: write percent from 0 to 99, such as 20"))
    }

    fn is_passed(self, failed: i64, of: i64) -> bool {
        failed as f64 * 100.0 > self.0 * of as f64
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the ladder allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// So many more may be dispatched.
    More(i64),
    /// Too many failed: so many of so many in the step.
    Halt { failed: i64, of: i64 },
}

/// Where a replay stands on its ladder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    threshold: Threshold,
    step: usize,
    /// Letters that had ended, and failed, when the step began.
    from: (i64, i64),
}

impl Ladder {
    /// A ladder whose first step begins here. A resumed replay begins at its first step again: what made it stop may
    /// still be there.
    pub(crate) const fn begin(threshold: Threshold, progress: &Progress) -> Self {
        Self { threshold, step: 0, from: (progress.ended(), progress.failed) }
    }

    /// What may go, as things stand.
    pub(crate) fn allows(&mut self, progress: &Progress) -> Allowed {
        loop {
            let (ended, failed) = (progress.ended() - self.from.0, progress.failed - self.from.1);
            let Some(size) = STEPS.get(self.step) else {
                let tells = ended >= ENOUGH_OF_THE_REST || (progress.waiting == 0 && progress.running == 0);
                return match tells && self.threshold.is_passed(failed, ended) && progress.waiting > 0 {
                    true => Allowed::Halt { failed, of: ended },
                    false => Allowed::More(progress.waiting),
                };
            };
            let gone = ended + progress.running;
            if gone < *size {
                return Allowed::More((size - gone).min(progress.waiting));
            }
            if progress.running > 0 {
                return Allowed::More(0);
            }
            if self.threshold.is_passed(failed, ended) && progress.waiting > 0 {
                return Allowed::Halt { failed, of: ended };
            }
            self.step += 1;
            self.from = (progress.ended(), progress.failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(waiting: i64, running: i64, succeeded: i64, failed: i64) -> Progress {
        let total = waiting + running + succeeded + failed;
        Progress { total, waiting, running, succeeded, failed, ..Progress::default() }
    }

    #[test]
    fn each_step_waits_for_the_one_before_and_grows() {
        let mut ladder = Ladder::begin(Threshold::DEFAULT, &progress(500, 0, 0, 0));
        for (state, allowed) in [
            (progress(500, 0, 0, 0), 1),
            (progress(499, 1, 0, 0), 0),
            (progress(499, 0, 1, 0), 5),
            (progress(496, 2, 2, 0), 2),
            (progress(494, 0, 5, 1), 25),
            (progress(469, 0, 31, 0), 100),
            (progress(369, 0, 131, 0), 369),
            (progress(300, 60, 140, 0), 300),
        ] {
            assert_eq!(ladder.allows(&state), Allowed::More(allowed), "{state:?}");
        }
    }

    #[test]
    fn it_halts_when_more_than_the_share_of_a_step_failed_and_not_at_exactly_it() {
        let at = |threshold: f64, state: Progress| {
            let mut ladder = Ladder::begin(Threshold(threshold), &progress(100, 0, 0, 0));
            ladder.step = 1;
            ladder.allows(&state)
        };
        assert_eq!(at(20.0, progress(95, 0, 4, 1)), Allowed::More(25));
        assert_eq!(at(20.0, progress(95, 0, 3, 2)), Allowed::Halt { failed: 2, of: 5 });
        assert_eq!(at(0.0, progress(95, 0, 4, 1)), Allowed::Halt { failed: 1, of: 5 });
        // With nothing left there is nothing to hold back.
        assert_eq!(at(20.0, progress(0, 0, 0, 5)), Allowed::More(0));
    }

    #[test]
    fn the_rest_halts_too_once_it_tells_enough() {
        let mut ladder = Ladder::begin(Threshold::DEFAULT, &progress(1_000, 0, 0, 0));
        ladder.step = STEPS.len();
        assert_eq!(ladder.allows(&progress(981, 0, 0, 19)), Allowed::More(981));
        assert_eq!(ladder.allows(&progress(980, 0, 15, 5)), Allowed::Halt { failed: 5, of: 20 });
    }

    #[test]
    fn a_share_is_in_percent() {
        assert_eq!(Threshold::parse("12.5%").unwrap(), Threshold(12.5));
        for text in ["", "many", "-1", "100", "nan"] {
            assert!(Threshold::parse(text).is_err(), "{text}");
        }
    }
}
