//! What a stand-in remembers and what it will do next. Safe to share between threads.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How long a wait for calls goes on before it says how many came: long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking test thread must not turn into a second, misleading panic here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that was told to a stand-in, in order of arrival.
pub(crate) struct Record<T> {
    entries: Mutex<Vec<T>>,
    count: watch::Sender<usize>,
}

impl<T: Clone> Record<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()), count: watch::Sender::new(0) }
    }

    pub(crate) fn push(&self, entry: T) {
        let mut entries = lock(&self.entries);
        entries.push(entry);
        self.count.send_replace(entries.len());
    }

    pub(crate) fn all(&self) -> Vec<T> {
        lock(&self.entries).clone()
    }

    /// Everything but the first `seen`.
    pub(crate) fn after(&self, seen: usize) -> Vec<T> {
        lock(&self.entries).iter().skip(seen).cloned().collect()
    }

    /// Everything, as soon as there are `wanted` entries.
    pub(crate) async fn wait_for(&self, wanted: usize) -> io::Result<Vec<T>> {
        let mut count = self.count.subscribe();
        let enough = count.wait_for(|count| *count >= wanted);
        match tokio::time::timeout(PATIENCE, enough).await {
            Ok(_) => Ok(self.all()),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("stand-in: waited {PATIENCE:?} for {wanted} calls, {} came", self.all().len()),
            )),
        }
    }
}

/// What to do with the calls to come: one behaviour each from the queue, then the standing one.
pub(crate) struct Plan<B> {
    next: Mutex<VecDeque<B>>,
    standing: Mutex<B>,
}

impl<B: Clone> Plan<B> {
    pub(crate) fn new(standing: B) -> Self {
        Self { next: Mutex::new(VecDeque::new()), standing: Mutex::new(standing) }
    }

    pub(crate) fn push(&self, behaviour: B) {
        lock(&self.next).push_back(behaviour);
    }

    pub(crate) fn always(&self, behaviour: B) {
        *lock(&self.standing) = behaviour;
    }

    pub(crate) fn take(&self) -> B {
        lock(&self.next).pop_front().unwrap_or_else(|| lock(&self.standing).clone())
    }
}
