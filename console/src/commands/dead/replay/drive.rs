//! Driving a replay: dispatch at its pace, watch what the workers make of it, say so when nothing moves.
//!
//! Nothing is kept here that the store does not know, so an interrupt costs nothing. A console that joined a replay
//! follows it for as long as somebody else dispatches, and takes over when nobody does: two of them never double the
//! rate.

use std::time::Duration;

use common::domain::{ReplayId, ReplayState};
use common::shutdown::{self, Stop};
use common::store::{Progress, Replay, Store, StoreError};
use tokio::time::Instant;

use super::super::letters;
use super::handing::Handing;
use super::ladder::{Allowed, Ladder, Threshold};
use super::pace::{Pace, Rate};
use crate::context::Settings;
use crate::failure::Failure;
use crate::progress::Progress as Bar;

/// How often the store is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// The shortest pause between dispatches; faster rates go several at a time.
const BEAT: Duration = Duration::from_millis(20);
/// Letters with the workers at once, where no rate says otherwise.
const UNDER_WAY: i64 = 256;
/// How long nothing may move before it is said, and how often then.
const QUIET: Duration = Duration::from_secs(10);
const QUIET_AGAIN: Duration = Duration::from_secs(30);
/// How long another console may be silent before a follower takes over.
const SILENCE: Duration = Duration::from_secs(5);

/// How a console left a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Every letter has a result.
    Done,
    /// Too many of a step failed.
    Halted { failed: i64, of: i64 },
    /// The person stopped this console; the replay can be resumed.
    Interrupted,
    /// Somebody else ended it.
    EndedElsewhere,
}

/// One console at one replay.
pub(super) struct Drive<'a> {
    store: &'a Store,
    id: ReplayId,
    who: String,
    handing: Handing<'a>,
    pace: Pace,
    rate: Option<Rate>,
    ladder: Option<Threshold>,
    /// Whether others may be at it too, and since when none was seen.
    joined: bool,
    follows_since: Option<Instant>,
    bar: Bar,
}

/// Why nothing was dispatched.
enum Undispatched {
    EndedElsewhere,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Undispatched {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What was seen at the last look.
struct Seen {
    progress: Progress,
    at: Instant,
    moved: Instant,
    told: Option<Instant>,
    /// Whether what is left waits for earlier letters of its conversations.
    blocked: bool,
}

impl<'a> Drive<'a> {
    pub(super) fn of(
        settings: &'a Settings,
        store: &'a Store,
        kept: &Replay,
        rate: Option<Rate>,
        ladder: Option<Threshold>,
        follows: bool,
        who: String,
    ) -> Self {
        let joined = follows || kept.progress.waiting < kept.progress.total;
        Self {
            store,
            id: kept.id,
            handing: Handing::of(settings, store, who.clone()),
            who,
            pace: Pace::begin(rate),
            rate,
            ladder,
            joined,
            follows_since: follows.then(Instant::now),
            bar: Bar::of("replaying", u64::try_from(kept.progress.total).unwrap_or(0)),
        }
    }

    /// Drives until everything has a result, too much fails, or a person interrupts.
    pub(super) async fn run(mut self) -> Result<Left, Failure> {
        let mut stop = shutdown::on_signals()
            .map_err(|error| Failure::cannot_run(format!("cannot listen for signals: {error}")))?;
        let left = self.watch(&mut stop).await;
        self.handing.close().await;
        left
    }

    async fn watch(&mut self, stop: &mut Stop) -> Result<Left, Failure> {
        let mut seen = self.first_look().await?;
        let mut ladder = self.ladder.map(|threshold| Ladder::begin(threshold, &seen.progress));
        loop {
            if stop.is_raised() {
                return Ok(Left::Interrupted);
            }
            if seen.progress.waiting == 0 && seen.progress.running == 0 {
                return self.end(&seen.progress).await;
            }
            let allowed = ladder.as_mut().map_or(Allowed::More(seen.progress.waiting), |it| it.allows(&seen.progress));
            let allowed = match allowed {
                Allowed::More(allowed) => allowed,
                Allowed::Halt { failed, of } => {
                    self.store.end_replay(self.id, ReplayState::Halted, &self.who).await?;
                    return Ok(Left::Halted { failed, of });
                }
            };
            match self.dispatch(&mut seen, allowed).await {
                Err(Undispatched::EndedElsewhere) => return Ok(Left::EndedElsewhere),
                Err(Undispatched::Failed(failure)) => return Err(failure),
                Ok(()) => {}
            }
            tokio::select! {
                biased;
                () = stop.wait() => return Ok(Left::Interrupted),
                () = tokio::time::sleep_until(self.wake(&seen, allowed)) => {}
            }
            if seen.at.elapsed() >= LOOK {
                self.look(&mut seen).await?;
                self.tell_if_quiet(&mut seen);
            }
        }
    }

    /// What an interrupted console may not have finished comes first.
    async fn first_look(&mut self) -> Result<Seen, Failure> {
        if self.joined && self.follows_since.is_none() {
            for left in self.store.redispatch(self.id).await? {
                self.handing.finish(left).await?;
            }
        }
        let progress = self.store.replay_progress(self.id).await?;
        let now = Instant::now();
        self.tell(&progress);
        Ok(Seen { progress, at: now, moved: now, told: None, blocked: false })
    }

    async fn dispatch(&mut self, seen: &mut Seen, allowed: i64) -> Result<(), Undispatched> {
        let now = Instant::now();
        if self.follows_since.is_some_and(|since| now.duration_since(since) < self.silence()) {
            return Ok(());
        }
        if self.follows_since.take().is_some() {
            self.bar.say("Nobody else is at this replay any more: going on with it.");
            self.pace = Pace::begin(self.rate);
            for left in self.store.redispatch(self.id).await? {
                self.handing.finish(left).await?;
            }
        }
        let most = allowed.min(self.most_under_way() - seen.progress.running).max(0);
        let room = self.pace.room(now, u64::try_from(most).unwrap_or(0));
        if room == 0 || seen.blocked {
            return Ok(());
        }
        let gone = match self.store.replay_dispatch(self.id, i64::try_from(room).unwrap_or(i64::MAX)).await {
            // Cancelled or halted while we looked away.
            Err(StoreError::Refused(_)) => return Err(Undispatched::EndedElsewhere),
            gone => gone?,
        };
        let count = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        self.pace.went(gone.len() as u64, now);
        seen.progress.waiting -= count;
        seen.progress.running += count;
        seen.blocked = (gone.len() as u64) < room;
        if count > 0 {
            (seen.moved, seen.told) = (now, None);
        }
        for dispatched in gone {
            self.handing.finish(dispatched).await?;
        }
        Ok(())
    }

    fn most_under_way(&self) -> i64 {
        // A minute's worth, so that slow turns do not brake the rate that was asked for.
        self.rate.map_or(UNDER_WAY, |rate| UNDER_WAY.max((rate.per_second() * 60.0) as i64))
    }

    /// Between two of another console's letters there may be this long.
    fn silence(&self) -> Duration {
        let interval = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(2.0 / rate.per_second()));
        SILENCE + interval.min(Duration::from_secs(3_600))
    }

    fn wake(&self, seen: &Seen, allowed: i64) -> Instant {
        let look = seen.at + LOOK;
        let may_go = allowed > 0
            && !seen.blocked
            && self.follows_since.is_none()
            && seen.progress.running < self.most_under_way();
        if may_go { look.min(self.pace.next().max(Instant::now() + BEAT)) } else { look }
    }

    async fn look(&mut self, seen: &mut Seen) -> Result<(), Failure> {
        let progress = self.store.replay_progress(self.id).await?;
        let now = Instant::now();
        if progress.ended() != seen.progress.ended() || progress.waiting != seen.progress.waiting {
            (seen.moved, seen.told) = (now, None);
        }
        if self.joined && progress.waiting < seen.progress.waiting {
            // Somebody else dispatches.
            self.follows_since = Some(now);
        }
        (seen.progress, seen.at, seen.blocked) = (progress, now, false);
        self.tell(&progress);
        Ok(())
    }

    fn tell(&self, progress: &Progress) {
        self.bar.at(u64::try_from(progress.ended()).unwrap_or(0));
        let mut words =
            format!("{} ended well, {} failed, {} under way", progress.succeeded, progress.failed, progress.running);
        if let Some(rate) = self.rate {
            words += &format!(", at {rate}");
        }
        self.bar.tell(&words);
    }

    fn tell_if_quiet(&self, seen: &mut Seen) {
        let now = Instant::now();
        let due = seen.told.map_or(seen.moved + QUIET, |told| told + QUIET_AGAIN);
        let waits_for_the_rate = seen.progress.running == 0 && self.pace.next() > now;
        if now < due || waits_for_the_rate {
            return;
        }
        seen.told = Some(now);
        let (id, running, quiet) = (self.id, seen.progress.running, now.duration_since(seen.moved).as_secs());
        self.bar.say(&format!(
            "Nothing has moved for {quiet} s: {} under way and not ended by a worker. Is one running, and does its model \
             answer? Still waiting; Ctrl-C leaves the replay to be gone on with by `handrail dead replay \
             --resume {id}`.",
            letters(running)
        ));
    }

    async fn end(&self, progress: &Progress) -> Result<Left, Failure> {
        self.tell(progress);
        let ended = self.store.end_replay(self.id, ReplayState::Done, &self.who).await?;
        let state = self.store.replay_of(self.id).await?.state;
        Ok(if ended || state == ReplayState::Done { Left::Done } else { Left::EndedElsewhere })
    }
}
