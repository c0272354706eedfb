//! The spool's folder: files of records, oldest first, of which only the newest is written to. Blocking.
//!
//! One process holds a folder, by a lock that ends with it. A file goes when everything in it has been handed over, so
//! a crash in between hands some of it over again, which the store drops. After a restart a new file is begun; what
//! cannot be read is copied beside, told, and never counted as a record.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::domain::Micros;
use common::metrics as names;

use super::record::{self, FILE_HEAD, Piece, RECORD_HEAD, VERSION};
use super::{SpoolError, SpoolView};

/// The most bytes of one file, so that space comes back while a large spool drains.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;
/// The most bytes handed out at once.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
const ENDING: &str = "spool";
/// Endings of what was set aside.
const ASIDE: [&str; 3] = ["torn", "damaged", "unknown"];

/// A folder and the lock on it.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
    limit: u64,
    files: VecDeque<Segment>,
    /// The newest of `files`, while it may grow.
    writing: Option<File>,
    next_number: u64,
    /// How often records were written and synced.
    #[cfg(test)]
    pub(super) syncs: u64,
}

/// One file as far as it is known to be on disk.
struct Segment {
    number: u64,
    length: u64,
    records: u64,
    /// Up to here it has been handed over.
    done: u64,
    /// Stretches without records, already told.
    holes: Vec<(u64, u64)>,
}

/// A record as kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) at: Micros,
    pub(super) body: Vec<u8>,
}

/// Records of one file, next in order.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) records: Vec<Kept>,
    end: u64,
}

impl Folder {
    /// Takes the folder, making it when missing, and reads what an earlier process left.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, SpoolError> {
        let failed = |source| SpoolError::Unusable { folder: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        // A folder whose own entry is lost in a power cut takes what was synced in it along. Where its parent may not be
        // read, an operator has made both beforehand.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _unreadable = File::open(parent).and_then(|parent| parent.sync_all());
        let lock = lock(path)?;
        let mut folder = Self {
            path: path.to_owned(),
            _lock: lock,
            limit,
            files: VecDeque::new(),
            writing: None,
            next_number: 1,
            #[cfg(test)]
            syncs: 0,
        };
        let mut numbers = numbers(path).map_err(failed)?;
        numbers.sort_unstable();
        for number in numbers {
            folder.next_number = number + 1;
            folder.take_over(number)?;
        }
        Ok(folder)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// Records that have not been handed over.
    pub(super) fn records(&self) -> u64 {
        self.files.iter().map(|file| file.records).sum()
    }

    /// Whether so many more bytes of records fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.bytes() + bytes + FILE_HEAD as u64 <= self.limit
    }

    /// When the next record was kept.
    pub(super) fn oldest(&self) -> Option<Micros> {
        let first = self.files.front()?;
        let mut head = [0; RECORD_HEAD];
        let file = File::open(self.file(first.number)).ok()?;
        file.read_exact_at(&mut head, first.past_holes()).ok()?;
        record::announced(&head).map(|said| said.at)
    }

    /// Writes encoded records and returns once they are on disk. On an error none of them is valid.
    pub(super) fn write(&mut self, group: &[u8], records: u64) -> io::Result<()> {
        #[cfg(test)]
        {
            self.syncs += 1;
        }
        let longest = LARGEST_FILE.min(self.limit / 4);
        let length = self.files.back().map_or(0, |file| file.length);
        if length + group.len() as u64 > longest {
            self.writing = None;
        }
        let outcome = match &self.writing {
            Some(file) => put(file, group, length),
            None => self.begin(group),
        };
        match outcome {
            Ok(()) => {
                if let Some(newest) = self.files.back_mut() {
                    newest.length += group.len() as u64;
                    newest.records += records;
                }
                Ok(())
            }
            Err(error) => {
                // What the system makes of a file whose write or sync failed is its own affair: a new one next time.
                self.writing = None;
                Err(error)
            }
        }
    }

    /// Begins a file with these records.
    fn begin(&mut self, group: &[u8]) -> io::Result<()> {
        let number = self.next_number;
        let path = self.file(number);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        self.next_number += 1;
        let head = record::file_head(VERSION);
        let made = put(&file, &[&head, group].concat(), 0).and_then(|()| File::open(&self.path)?.sync_all());
        if let Err(error) = made {
            // Nothing in it has been vouched for; if it stays it holds no half record (see `put`).
            let _left_empty = std::fs::remove_file(&path);
            return Err(error);
        }
        self.files.push_back(Segment::begun(number));
        self.writing = Some(file);
        Ok(())
    }

    /// The next records in order; they stay until [`drained`](Self::drained). None: nothing is left.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Option<Chunk>> {
        while let Some(first) = self.files.front() {
            let file = match File::open(self.file(first.number)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tell("damaged", &self.file(first.number));
                    self.drop_first()?;
                    continue;
                }
                file => file?,
            };
            let (records, end) = self.read(&file, most)?;
            if !records.is_empty() {
                return Ok(Some(Chunk { records, end }));
            }
            self.drop_first()?;
        }
        Ok(None)
    }

    /// Reads from where the first file's handing over stands; also tells and skips what does not hold.
    fn read(&mut self, file: &File, most: usize) -> io::Result<(Vec<Kept>, u64)> {
        let (mut records, mut size) = (Vec::new(), 0);
        let mut at = self.files.front().map_or(0, Segment::past_holes);
        while records.len() < most && size < CHUNK_BYTES {
            let Some(first) = self.files.front_mut() else { break };
            at = first.past(at);
            if at >= first.length {
                break;
            }
            match kept_at(file, at, first.length)? {
                Some(kept) => {
                    at += (RECORD_HEAD + kept.body.len()) as u64;
                    size += kept.body.len();
                    records.push(kept);
                }
                None => {
                    let (number, length) = (first.number, first.length);
                    let hole = self.set_damage_aside(file, number, at, length)?;
                    self.files.front_mut().into_iter().for_each(|first| first.holes.push(hole));
                }
            }
        }
        Ok((records, at))
    }

    /// Forgets a chunk that has been handed over; the file goes with its last record.
    pub(super) fn drained(&mut self, chunk: &Chunk) -> io::Result<()> {
        let Some(first) = self.files.front_mut() else { return Ok(()) };
        first.done = chunk.end;
        first.records = first.records.saturating_sub(chunk.records.len() as u64);
        if first.past_holes() >= first.length { self.drop_first() } else { Ok(()) }
    }

    fn drop_first(&mut self) -> io::Result<()> {
        let Some(first) = self.files.pop_front() else { return Ok(()) };
        if self.files.is_empty() {
            self.writing = None;
        }
        match std::fs::remove_file(self.file(first.number)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Keeps bytes that this build cannot hand over out of the way, durably.
    pub(super) fn set_aside(&self, name: &str, bytes: &[u8], what: &'static str) -> io::Result<()> {
        let path = self.path.join(format!("{name}.{what}"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        (&file).write_all(bytes)?;
        file.sync_all()?;
        File::open(&self.path)?.sync_all()?;
        tell(what, &path);
        Ok(())
    }

    /// A file that an earlier process left: its whole records count, all else is set aside.
    fn take_over(&mut self, number: u64) -> Result<(), SpoolError> {
        let path = self.file(number);
        let failed = |source| SpoolError::Unusable { folder: path.clone(), source };
        let mut bytes = Vec::new();
        File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
        if let Some(version) = record::version_of(&bytes).filter(|version| *version != VERSION) {
            return Err(SpoolError::Newer { file: path, version });
        }
        let mut segment = Segment::begun(number);
        for piece in record::scan_file(&bytes) {
            let (range, what) = match piece {
                Piece::Whole { body, .. } => {
                    segment.records += 1;
                    segment.length = body.end as u64;
                    continue;
                }
                Piece::Damaged(range) => (range, "damaged"),
                Piece::Torn(range) => (range, "torn"),
            };
            let name = aside(number, range.start as u64);
            self.set_aside(&name, &bytes[range.clone()], what).map_err(failed)?;
            segment.holes.push((range.start as u64, range.end as u64));
        }
        if segment.records == 0 {
            return std::fs::remove_file(&path).map_err(failed);
        }
        if segment.length < bytes.len() as u64 {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            file.set_len(segment.length).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        self.files.push_back(segment);
        Ok(())
    }

    /// What stands at `at` is no record: everything up to the next one is set aside.
    fn set_damage_aside(&self, file: &File, number: u64, at: u64, length: u64) -> io::Result<(u64, u64)> {
        let mut bytes = vec![0; usize::try_from(length - at).unwrap_or_default()];
        file.read_exact_at(&mut bytes, at)?;
        let end = match record::scan(&bytes, 0).first() {
            Some(Piece::Damaged(range) | Piece::Torn(range)) => range.end,
            Some(Piece::Whole { .. }) | None => 0,
        };
        self.set_aside(&aside(number, at), &bytes[..end], "damaged")?;
        Ok((at, at + end as u64))
    }

    fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:012}.{ENDING}"))
    }
}

impl Segment {
    fn begun(number: u64) -> Self {
        let head = FILE_HEAD as u64;
        Self { number, length: head, records: 0, done: 0, holes: vec![(0, head)] }
    }

    fn past_holes(&self) -> u64 {
        self.past(self.done)
    }

    fn past(&self, at: u64) -> u64 {
        let mut at = at;
        while let Some((_, end)) = self.holes.iter().find(|(start, end)| (*start..*end).contains(&at)) {
            at = *end;
        }
        at
    }
}

/// Writes at the end of a file that is `length` long, and syncs. A failure leaves it as it was.
fn put(file: &File, bytes: &[u8], length: u64) -> io::Result<()> {
    let mut file = file;
    let outcome = file.write_all(bytes).and_then(|()| file.sync_data());
    if outcome.is_err() {
        // If this fails too, the half record at the end does not hold, and is set aside at the next start.
        let _cut = file.set_len(length).and_then(|()| file.sync_all());
    }
    outcome
}

/// The record at an offset of a file of which `length` bytes count.
fn kept_at(file: &File, at: u64, length: u64) -> io::Result<Option<Kept>> {
    let mut bytes = vec![0; RECORD_HEAD];
    if at + RECORD_HEAD as u64 > length {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, at)?;
    let Some(said) = record::announced(&bytes) else { return Ok(None) };
    if at + (RECORD_HEAD + said.body) as u64 > length {
        return Ok(None);
    }
    bytes.resize(RECORD_HEAD + said.body, 0);
    file.read_exact_at(&mut bytes[RECORD_HEAD..], at + RECORD_HEAD as u64)?;
    let holds = record::whole(&bytes).is_some();
    Ok(holds.then(|| Kept { at: said.at, body: bytes.split_off(RECORD_HEAD) }))
}

fn aside(number: u64, at: u64) -> String {
    format!("{number:012}-{at}")
}

fn tell(what: &'static str, path: &Path) {
    metrics::counter!(names::SPOOL_SET_ASIDE, "what" => what).increment(1);
    let file = path.display();
    tracing::error!(file = %file, outcome = what, "the spool holds what is no whole record; it was set aside");
}

fn numbers(path: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        numbers.extend(stem.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)));
    }
    Ok(numbers)
}

/// What an onlooker sees; files that go meanwhile are left out.
pub(super) fn view(path: &Path) -> io::Result<SpoolView> {
    let mut view = SpoolView::default();
    let mut numbers = numbers(path)?;
    numbers.sort_unstable();
    for number in numbers {
        let bytes = match std::fs::read(path.join(format!("{number:012}.{ENDING}"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            bytes => bytes?,
        };
        view.bytes += bytes.len() as u64;
        for piece in record::scan_file(&bytes) {
            if let Piece::Whole { at, .. } = piece {
                view.records += 1;
                view.oldest = view.oldest.or(Some(at));
            }
        }
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        view.set_aside += u64::from(ending.is_some_and(|ending| ASIDE.contains(&ending)));
    }
    Ok(view)
}

/// The lock, with our process id in it for whoever is refused.
fn lock(path: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Unusable { folder: path.to_owned(), source };
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: it may not have been written yet.
            let _unread = file.read_to_string(&mut holder);
            return Err(SpoolError::Taken { folder: path.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let id = std::process::id().to_string();
    file.set_len(0).and_then(|()| file.write_all(id.as_bytes())).map_err(failed)?;
    Ok(file)
}
