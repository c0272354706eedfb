//! The spool: where sealed envelopes wait on disk while the broker takes none. Off unless `INGRESS_SPOOL_DIR` is set.
//!
//! [`Spool::keep`] returns only after an fsync, which many requests share. While anything is in it, what comes after
//! joins it ([`gate`]); [`drain`] hands it to the queue in order, and a file goes only when the queue has confirmed
//! all of it, so a crash hands some over twice and loses none. Full or unwritable is a refusal, never a half record.
//! The format is [`record`]'s; [`folder`] keeps the files; one thread touches them ([`keeper`]).

mod drain;
mod folder;
mod gate;
mod keeper;
mod record;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::domain::Micros;
use common::envelope::{Envelope, MAX_BYTES};
use common::metrics as names;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

pub(crate) use drain::drain;
pub(crate) use gate::Seat;

use folder::{Chunk, Folder};
use gate::Gate;
use keeper::{Ask, Keep};

/// How long a request waits for the disk before it is told that the spool cannot be written. It may be kept later.
const PATIENCE: Duration = Duration::from_secs(5);
/// The signal of a write beyond the limit on file sizes, by its number on Linux and the BSDs.
const SIGXFSZ: i32 = 25;
/// A full spool counts as full until so many bytes are free again.
const ROOM: u64 = 2 * MAX_BYTES as u64;

/// Why a spool cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process holds it.
    #[error("'{}' is in use by process {holder}: one folder for each ingress", .folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The process's id, if it has said.
        holder: String,
    },
    /// Written by a newer build.
    #[error("'{}' has version {version}, newer than this build's: update this process, or drain it with its own", .file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u8,
    },
    /// The system refuses.
    #[error("'{}' cannot be used: {source}", .folder.display())]
    Unusable {
        /// The folder or file.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No thread could be started.
    #[error("no thread for it: {0}")]
    Thread(std::io::Error),
}

/// Why a request's events were not kept. Some may still be, if the disk was only slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It holds as much as it may, or the disk does.
    Full,
    /// The system refused to write or to sync, or did not answer in time.
    Unwritable,
}

impl Refused {
    /// A constant word.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Full => "spool_full",
            Self::Unwritable => "spool_unwritable",
        }
    }
}

/// What is in a spool's folder, seen from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolView {
    /// Events in files that have not been handed over whole.
    pub records: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// When the oldest event was kept.
    pub oldest: Option<Micros>,
    /// Files with what could not be read or sent.
    pub set_aside: u64,
}

impl SpoolView {
    /// Looks into a folder, whoever holds it, and changes nothing.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        folder::view(folder)
    }
}

/// An open spool. Its folder is free again after [`close`](Self::close), or when the last handle is gone.
pub(crate) struct Spool {
    asks: mpsc::Sender<Ask>,
    gate: Gate,
}

impl Spool {
    /// Opens a folder and takes over what an earlier process left there.
    pub(crate) async fn open(path: PathBuf, limit: u64) -> Result<Self, SpoolError> {
        // A write beyond the system's limit on file sizes is to fail, not to end the process. The handler stays when
        // its listener goes; without one the process ends as it always would have.
        let _handled = signal(SignalKind::from_raw(SIGXFSZ)).map(drop);
        let unusable = path.clone();
        let opened = tokio::task::spawn_blocking(move || Folder::open(&path, limit)).await;
        let folder = opened.map_err(|error| SpoolError::Unusable { folder: unusable, source: error.into() })??;
        let found = folder.records();
        if found > 0 {
            tracing::warn!(count = found, "the spool holds events of an earlier run; they go to the queue first");
        }
        let gate = Gate::new();
        Ok(Self { asks: keeper::start(folder, gate.clone())?, gate })
    }

    /// A seat if a new request has to join what waits here; none if it may go straight to the queue.
    pub(crate) async fn enter(&self, patience: Duration) -> Option<Seat> {
        self.gate.enter(patience).await
    }

    /// A seat for a request that the queue has refused.
    pub(crate) fn seat(&self) -> Seat {
        self.gate.seat()
    }

    /// Keeps all of these, durably, or says why not.
    pub(crate) async fn keep(
        &self,
        seat: Seat,
        envelopes: impl Iterator<Item = &Envelope>,
        at: Micros,
    ) -> Result<(), Refused> {
        let (mut encoded, mut records) = (Vec::new(), 0);
        for envelope in envelopes {
            record::encode(at, envelope.bytes(), &mut encoded);
            records += 1;
        }
        let (answer, kept) = oneshot::channel();
        let ask = Ask::Keep(Keep { encoded, records, seat, answer });
        let keeping = async {
            self.asks.send(ask).await.map_err(|_| Refused::Unwritable)?;
            kept.await.unwrap_or(Err(Refused::Unwritable))
        };
        let outcome = tokio::time::timeout(PATIENCE, keeping).await.unwrap_or(Err(Refused::Unwritable));
        if let Err(refused) = outcome {
            metrics::counter!(names::SPOOL_REFUSED, "reason" => refused.code()).increment(1);
        }
        outcome
    }

    /// Why a request would not be kept now, as far as is known.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        self.gate.look().2
    }

    /// The same for whoever watches, who is also told that events wait here.
    pub(crate) fn state(&self) -> Result<(), &'static str> {
        match self.gate.look() {
            (_, _, Some(trouble)) => Err(trouble),
            (0, _, None) => Ok(()),
            (_, _, None) => Err("holds_events"),
        }
    }

    /// Gives the folder up; what is asked later is refused.
    pub(crate) async fn close(&self) {
        // An error means that the thread has ended, which is what is wanted.
        let _ended = self.ask(|answer| Ask::Close { answer }).await;
    }

    async fn next(&self, most: usize) -> std::io::Result<Option<Chunk>> {
        self.ask(|answer| Ask::Next { most, answer }).await?
    }

    async fn drained(&self, chunk: Chunk) -> std::io::Result<()> {
        self.ask(|answer| Ask::Drained { chunk, answer }).await?
    }

    async fn set_aside(&self, name: String, bytes: Vec<u8>) -> std::io::Result<()> {
        self.ask(|answer| Ask::SetAside { name, bytes, answer }).await?
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> std::io::Result<T> {
        let closed = || std::io::Error::other("the spool has been closed");
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }
}
