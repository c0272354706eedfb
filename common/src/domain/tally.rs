//! What an ingress vouches for: the one event that it makes itself.
//!
//! An ingress numbers its envelopes from 1. A tally says what became of a stretch of those numbers, so that a message
//! that was answered with a 200 and yet never arrived is missed. It goes the way of the messages, through the same
//! queue, as an envelope of its own that takes no number.

use serde::{Deserialize, Serialize};

/// Numbers of one instance, both ends included.
pub type Span = (i64, i64);

/// What an ingress vouches for.
///
/// Every number in `(from, upto]` was decided: given up where `given_up` lists it, and confirmed by the queue
/// otherwise. `upto` is the low-water mark: nothing at or below it is undecided. `from` is the `upto` of the last
/// tally that the queue confirmed (0 at first), so a tally that was lost on its way is covered by the next; one that
/// comes late or twice says nothing new.
///
/// A number that was given up and then reached the queue after all (a spool drained, a publish confirmed late) is
/// named in `recovered` by a later tally, which may come from another process: the heir of a dead instance's spool
/// sends, under the dead one's instance, `from` and `upto` 0 and what it has published. `recovered` may lie anywhere.
/// In all, a number is vouched for when it is in some `recovered`, or at or below some `upto` and in no `given_up`:
/// the order in which tallies arrive does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Where the last confirmed tally ended.
    pub from: i64,
    /// The low-water mark.
    pub upto: i64,
    /// Numbers within `(from, upto]` that got no confirm: timed out, nacked, returned, spooled or refused.
    pub given_up: Vec<Span>,
    /// Numbers given up before, or never spoken for, that the queue has confirmed since the last confirmed tally.
    pub recovered: Vec<Span>,
    /// The instance has drained: no number follows `upto`.
    pub last: bool,
}

impl Tally {
    /// Single numbers as spans: sorted, neighbours joined.
    #[must_use]
    pub fn spans(mut numbers: Vec<i64>) -> Vec<Span> {
        numbers.sort_unstable();
        let mut spans: Vec<Span> = Vec::new();
        for number in numbers {
            match spans.last_mut() {
                Some(last) if number <= last.1 + 1 => last.1 = last.1.max(number),
                _ => spans.push((number, number)),
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_join_into_spans_whatever_their_order() {
        assert_eq!(Tally::spans(vec![9, 3, 1, 2, 3, 8]), [(1, 3), (8, 9)]);
        assert_eq!(Tally::spans(Vec::new()), []);
    }
}
