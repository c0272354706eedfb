//! The one thread that touches the spool's folder: group commit, reading, handing over, in the order asked.
//!
//! Whatever asks to be kept while a sync runs goes into the next one together, so that many waiting requests share
//! one. A thread, and not a task: a disk that stalls must not stall the webhooks that go straight to the queue.

use std::io::{self, ErrorKind};
use std::time::Instant;

use common::metrics as names;
use tokio::sync::{mpsc, oneshot};

use super::folder::{Chunk, Folder};
use super::gate::{Gate, Seat};
use super::{Refused, SpoolError};

/// The most bytes of one group.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// The most that may wait for the thread before askers wait to ask.
pub(super) const WAITING: usize = 1_024;

/// What is asked of the thread. Who asked may have gone; what was asked is done all the same.
pub(super) enum Ask {
    Keep(Keep),
    Next { most: usize, answer: oneshot::Sender<io::Result<Option<Chunk>>> },
    Drained { chunk: Chunk, answer: oneshot::Sender<io::Result<()>> },
    SetAside { name: String, bytes: Vec<u8>, answer: oneshot::Sender<io::Result<()>> },
    Close { answer: oneshot::Sender<()> },
}

/// Records of one request: all of them or none.
pub(super) struct Keep {
    pub(super) encoded: Vec<u8>,
    pub(super) records: u64,
    pub(super) seat: Seat,
    pub(super) answer: oneshot::Sender<Result<(), Refused>>,
}

/// Starts the thread over an open folder; it ends when it is told to, or when nobody is left to ask.
pub(super) fn start(folder: Folder, gate: Gate) -> Result<mpsc::Sender<Ask>, SpoolError> {
    let (asks, asked) = mpsc::channel(WAITING);
    let mut keeper = Keeper { folder, gate };
    keeper.show();
    let thread = std::thread::Builder::new().name("spool".into());
    thread.spawn(move || keeper.run(asked)).map_err(SpoolError::Thread)?;
    Ok(asks)
}

struct Keeper {
    folder: Folder,
    gate: Gate,
}

impl Keeper {
    fn run(&mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut next = asked.blocking_recv();
        while let Some(ask) = next.take() {
            match ask {
                Ask::Keep(first) => {
                    next = self.keep(first, &mut asked);
                    self.show();
                }
                Ask::Next { most, answer } => {
                    let outcome = self.folder.next(most);
                    // What does not hold has been set aside, and counts no more.
                    self.show();
                    tell(answer, outcome);
                }
                Ask::Drained { chunk, answer } => {
                    let outcome = self.folder.drained(&chunk);
                    self.show();
                    tell(answer, outcome);
                }
                Ask::SetAside { name, bytes, answer } => {
                    tell(answer, self.folder.set_aside(&name, &bytes, "unknown"));
                }
                Ask::Close { answer } => {
                    asked.close();
                    tell(answer, ());
                    return;
                }
            }
            if next.is_none() {
                next = asked.blocking_recv();
            }
        }
    }

    /// Keeps everything that is asked already, with one sync; what else was asked meanwhile is returned.
    fn keep(&mut self, first: Keep, asked: &mut mpsc::Receiver<Ask>) -> Option<Ask> {
        let (mut group, mut bytes, mut other) = (Vec::new(), Vec::new(), None);
        let mut records = 0;
        let mut next = Some(first);
        while let Some(keep) = next.take() {
            if self.folder.fits((bytes.len() + keep.encoded.len()) as u64) {
                bytes.extend_from_slice(&keep.encoded);
                records += keep.records;
                group.push((keep.seat, keep.answer));
            } else {
                self.gate.trouble(Some(Refused::Full.code()));
                tell(keep.answer, Err(Refused::Full));
            }
            if bytes.len() < GROUP_BYTES {
                match asked.try_recv() {
                    Ok(Ask::Keep(keep)) => next = Some(keep),
                    Ok(ask) => other = Some(ask),
                    Err(_) => {}
                }
            }
        }
        if !group.is_empty() {
            let outcome = self.commit(&bytes, records);
            for (seat, answer) in group {
                drop(seat);
                tell(answer, outcome);
            }
        }
        other
    }

    fn commit(&mut self, bytes: &[u8], records: u64) -> Result<(), Refused> {
        let (began, first) = (Instant::now(), self.folder.records() == 0);
        match self.folder.write(bytes, records) {
            Ok(()) => {
                if first {
                    tracing::warn!("the queue does not take what comes in; it waits in the spool");
                }
                metrics::counter!(names::SPOOLED).increment(records);
                metrics::histogram!(names::SPOOL_SYNC_SECONDS).record(began.elapsed());
                self.gate.kept(self.folder.records());
                self.gate.trouble(None);
                Ok(())
            }
            Err(error) => {
                let refused = Refused::of(&error);
                tracing::error!(error = %error, outcome = refused.code(), "the spool cannot be written");
                self.gate.trouble(Some(refused.code()));
                Err(refused)
            }
        }
    }

    /// Shows the state of the folder to whoever waits for it or measures it.
    fn show(&mut self) {
        self.gate.kept(self.folder.records());
        if self.folder.fits(super::ROOM) {
            self.gate.room();
        }
        self.gate.oldest(self.folder.oldest());
        metrics::gauge!(names::SPOOL_BYTES).set(self.folder.bytes() as f64);
        metrics::gauge!(names::SPOOL_RECORDS).set(self.folder.records() as f64);
    }
}

impl Refused {
    /// What the system says, as far as an answer may tell: no room, or something else.
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Unwritable,
        }
    }
}

fn tell<T>(answer: oneshot::Sender<T>, outcome: T) {
    // Whoever asked may have stopped waiting.
    let _gone = answer.send(outcome);
}

#[cfg(test)]
mod tests {
    use common::domain::Micros;

    use super::super::record;
    use super::*;

    #[test]
    fn all_who_wait_share_one_sync_and_each_is_answered_after_it() {
        let home = tempfile::tempdir().unwrap();
        let gate = Gate::new();
        let folder = Folder::open(&home.path().join("spool"), 1 << 30).unwrap();
        let mut keeper = Keeper { folder, gate: gate.clone() };
        let (asks, asked) = mpsc::channel(WAITING);
        let mut kept = Vec::new();
        for number in 0..200_u8 {
            let (answer, answered) = oneshot::channel();
            let mut encoded = Vec::new();
            record::encode(Micros(1), &[number], &mut encoded);
            assert!(asks.try_send(Ask::Keep(Keep { encoded, records: 1, seat: gate.seat(), answer })).is_ok());
            kept.push(answered);
        }
        drop(asks);
        keeper.run(asked);
        assert!(kept.iter_mut().all(|answered| answered.try_recv() == Ok(Ok(()))));
        assert_eq!((keeper.folder.syncs, keeper.folder.records(), gate.look().0), (1, 200, 200));
        let chunk = keeper.folder.next(500).unwrap().unwrap();
        assert!(chunk.records.iter().map(|kept| kept.body[0]).eq(0..200));
    }
}
