//! Who may go straight to the queue, and who joins the spool.
//!
//! While anything is in the spool, or on its way in, what comes after it joins it. When little is left the gate closes
//! for a moment: newcomers wait until that has been handed over, and go straight again. Without this a steady stream
//! would keep the spool from ever being empty.

use std::sync::Arc;
use std::time::Duration;

use common::domain::Micros;
use tokio::sync::watch;

use super::Refused;

/// What is known of the spool, shared by requests, thread and drain.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Records on disk.
    kept: u64,
    /// Requests on their way in.
    coming: u64,
    closing: bool,
    oldest: Option<Micros>,
    /// Why the last thing asked was not kept.
    trouble: Option<&'static str>,
}

impl State {
    const fn held(&self) -> u64 {
        self.kept + self.coming
    }
}

/// A clone is the same gate.
#[derive(Clone)]
pub(super) struct Gate(Arc<watch::Sender<State>>);

/// A request on its way into the spool.
pub(crate) struct Seat(Gate);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.change(|state| state.coming = state.coming.saturating_sub(1));
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// A seat if the request has to join the spool; none if it may go straight. Waits out a closing gate, and no
    /// longer than `patience`.
    pub(super) async fn enter(&self, patience: Duration) -> Option<Seat> {
        if self.0.borrow().held() == 0 {
            return None;
        }
        let mut changes = self.0.subscribe();
        let passed = changes.wait_for(|state| !state.closing || state.held() == 0);
        // Out of patience, it joins: that is right at any time.
        let _late = tokio::time::timeout(patience, passed).await.map(|passed| passed.map(drop));
        let mut joins = false;
        self.0.send_if_modified(|state| {
            joins = state.held() > 0;
            state.coming += u64::from(joins);
            joins
        });
        joins.then(|| Seat(self.clone()))
    }

    /// A seat, whatever the gate says: the queue has just refused this one.
    pub(super) fn seat(&self) -> Seat {
        self.change(|state| state.coming += 1);
        Seat(self.clone())
    }

    /// Records on disk now.
    pub(super) fn kept(&self, records: u64) {
        self.change(|state| state.kept = records);
    }

    /// When the oldest of them was kept.
    pub(super) fn oldest(&self, oldest: Option<Micros>) {
        self.change(|state| state.oldest = oldest);
    }

    /// Why what was asked was not kept; none after it was.
    pub(super) fn trouble(&self, why: Option<&'static str>) {
        self.change(|state| state.trouble = why);
    }

    /// There is room again.
    pub(super) fn room(&self) {
        self.change(|state| state.trouble = state.trouble.filter(|why| *why != Refused::Full.code()));
    }

    /// Closes the gate if no more than `few` are held; opens it otherwise.
    pub(super) fn close_if_few(&self, few: u64) {
        self.change(|state| state.closing = (1..=few).contains(&state.held()));
    }

    /// Newcomers join without waiting.
    pub(super) fn open(&self) {
        self.change(|state| state.closing = false);
    }

    /// Returns once there is something to hand over.
    pub(super) async fn filled(&self) {
        // The sender is ours, so waiting cannot fail.
        let _filled = self.0.subscribe().wait_for(|state| state.kept > 0).await.map(drop);
    }

    /// Records on disk, the time of the oldest, and trouble.
    pub(super) fn look(&self) -> (u64, Option<Micros>, Option<&'static str>) {
        let state = *self.0.borrow();
        (state.kept, state.oldest, state.trouble)
    }

    /// Only a change that is one wakes anybody.
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_comes_while_something_is_kept_or_coming_joins_it() {
        let gate = Gate::new();
        assert!(gate.enter(LONG).await.is_none());
        let coming = gate.seat();
        let joined = gate.enter(LONG).await;
        assert!(joined.is_some());
        drop((coming, joined));
        assert!(gate.enter(LONG).await.is_none());
        gate.kept(1);
        assert!(gate.enter(LONG).await.is_some());
    }

    #[tokio::test]
    async fn a_closing_gate_holds_newcomers_until_all_is_handed_over_and_then_they_go_straight() {
        let gate = Gate::new();
        gate.kept(2);
        gate.close_if_few(1);
        assert!(gate.enter(LONG).await.is_some(), "more than a few: open");
        gate.close_if_few(2);
        let mut newcomer = newcomer_at(gate.clone());
        assert!(futures_util::poll!(&mut newcomer).is_pending());
        gate.kept(0);
        assert!(newcomer.await.is_none());
    }

    #[tokio::test]
    async fn a_closing_gate_that_opens_again_lets_newcomers_join_and_impatience_joins_too() {
        let gate = Gate::new();
        gate.kept(1);
        gate.close_if_few(1);
        let mut newcomer = newcomer_at(gate.clone());
        assert!(futures_util::poll!(&mut newcomer).is_pending());
        gate.open();
        assert!(newcomer.await.is_some());
        gate.close_if_few(1);
        assert!(gate.enter(Duration::ZERO).await.is_some());
    }

    fn newcomer_at(gate: Gate) -> futures_util::future::BoxFuture<'static, Option<Seat>> {
        Box::pin(async move { gate.enter(LONG).await })
    }
}
