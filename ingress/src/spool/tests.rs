//! What the spool promises, on a real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::domain::{Event, EventId, Inbound, InstanceId, Kind, Provider, SourceName};
use common::envelope::Header;
use common::queue::{PublishError, Publisher};
use common::seal::{Key, Keyring};
use common::shutdown;
use common::trace::TraceContext;
use futures_util::future::join_all;

use super::folder::Kept;
use super::record::{FILE_HEAD, RECORD_HEAD};
use super::*;
use crate::outlet::Outlet;
use crate::tally::Book;

const LIMIT: u64 = 64 * 1024 * 1024;
const AT: Micros = Micros(1);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Folder {
    Folder::open(&path.join("spool"), LIMIT).unwrap()
}

fn write(folder: &mut Folder, bodies: &[&[u8]]) {
    let mut group = Vec::new();
    bodies.iter().for_each(|body| record::encode(AT, body, &mut group));
    folder.write(&group, bodies.len() as u64).unwrap();
}

/// Everything in order, without forgetting any of it.
fn bodies(folder: &mut Folder) -> Vec<Vec<u8>> {
    let chunk = folder.next(usize::MAX).unwrap();
    chunk.map_or(Vec::new(), |chunk| chunk.records.into_iter().map(|Kept { body, .. }| body).collect())
}

fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path.join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    files
}

fn envelope(number: i64) -> Envelope {
    let (event_id, source) = (EventId::random(), SourceName::parse("shop").unwrap());
    let header = Header {
        event_id,
        source: source.clone(),
        conversation: None,
        kind: Kind::Record,
        received_at: AT,
        instance: InstanceId::random(),
        sequence: number,
        previous: None,
        trace: TraceContext::start(),
        secret: String::new(),
    };
    let event = Event::Record { what: "test".into() };
    let inbound =
        Inbound { event_id, source, provider: Provider::Hmac, party: None, provider_id: None, said_at: None, event };
    Envelope::seal(header, &inbound, &Keyring::single("q1", Key::generate())).unwrap()
}

#[test]
fn everything_is_private_and_a_second_process_is_refused_by_name() {
    let home = folder();
    let mut first = open(home.path());
    write(&mut first, &[b"x"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.path().join("spool")), 0o700);
    assert_eq!(mode(&files(home.path(), "spool")[0]), 0o600);
    let said = Folder::open(&home.path().join("spool"), LIMIT).err().unwrap().to_string();
    assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
    drop(first);
    assert_eq!(bodies(&mut open(home.path())), [b"x"]);
}

#[test]
fn a_file_goes_only_with_its_last_record_and_a_crash_before_hands_it_over_again() {
    let home = folder();
    let mut spool = open(home.path());
    write(&mut spool, &[b"1", b"2"]);
    write(&mut spool, &[b"3"]);
    let first = spool.next(2).unwrap().unwrap();
    assert_eq!(first.records.len(), 2);
    spool.drained(&first).unwrap();
    assert_eq!((bodies(&mut spool), spool.records()), (vec![b"3".to_vec()], 1));
    drop(spool);
    let mut again = open(home.path());
    assert_eq!(bodies(&mut again), [b"1", b"2", b"3"]);
    // What comes after a restart comes after what was there.
    write(&mut again, &[b"4"]);
    for expected in [&["1", "2", "3"][..], &["4"]] {
        let chunk = again.next(9).unwrap().unwrap();
        assert_eq!(
            chunk.records.iter().map(|kept| kept.body.clone()).collect::<Vec<_>>(),
            expected.iter().map(|b| b.as_bytes()).collect::<Vec<_>>()
        );
        again.drained(&chunk).unwrap();
    }
    assert!(again.next(9).unwrap().is_none());
    assert_eq!((again.bytes(), files(home.path(), "spool").len()), (0, 0));
    write(&mut again, &[b"5"]);
    assert_eq!(bodies(&mut again), [b"5"]);
}

#[test]
fn every_cut_of_the_file_recovers_exactly_what_is_whole_and_sets_the_rest_aside() {
    let home = folder();
    let mut spool = open(home.path());
    let written: [&[u8]; 3] = [b"first", b"second, longer", b"third"];
    write(&mut spool, &written);
    drop(spool);
    let file = files(home.path(), "spool").remove(0);
    let bytes = fs::read(&file).unwrap();
    let mut ends = vec![FILE_HEAD];
    written.iter().for_each(|body| ends.push(ends[ends.len() - 1] + RECORD_HEAD + body.len()));
    for cut in 0..=bytes.len() {
        fs::write(&file, &bytes[..cut]).unwrap();
        let mut spool = open(home.path());
        let whole = ends[1..].iter().filter(|end| **end <= cut).count();
        assert_eq!(bodies(&mut spool), written[..whole], "cut at {cut}");
        assert_eq!(spool.records(), whole as u64);
        drop(spool);
        let last = if whole == 0 { 0 } else { ends[whole] };
        let torn = files(home.path(), "torn");
        if cut == 0 || ends.contains(&cut) {
            assert_eq!(torn.len(), 0, "cut at {cut}");
        } else {
            let from = if cut > FILE_HEAD { ends[whole] } else { last };
            assert_eq!(fs::read(&torn[0]).unwrap(), bytes[from..cut], "cut at {cut}");
            fs::remove_file(&torn[0]).unwrap();
        }
        // Read again, nothing is torn any more.
        assert_eq!(bodies(&mut open(home.path())), written[..whole]);
        assert_eq!(files(home.path(), "torn").len(), 0);
    }
}

#[test]
fn damage_in_the_middle_is_set_aside_and_all_else_is_handed_over() {
    let home = folder();
    let mut spool = open(home.path());
    write(&mut spool, &[b"first", b"second", b"third"]);
    drop(spool);
    let file = files(home.path(), "spool").remove(0);
    let good = fs::read(&file).unwrap();
    let second = FILE_HEAD + RECORD_HEAD + 5;
    for at in second..second + RECORD_HEAD + 6 {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let mut spool = open(home.path());
        assert_eq!(bodies(&mut spool), [&b"first"[..], b"third"], "byte {at}");
        let aside = files(home.path(), "damaged");
        assert_eq!(fs::read(&aside[0]).unwrap(), bytes[second..second + RECORD_HEAD + 6]);
        fs::remove_file(&aside[0]).unwrap();
        let chunk = spool.next(9).unwrap().unwrap();
        spool.drained(&chunk).unwrap();
        assert_eq!((spool.records(), spool.bytes(), files(home.path(), "spool").len()), (0, 0, 0));
        drop(spool);
    }
    fs::write(&file, &good).unwrap();
    // The same while it is open: a disk may rot at any time.
    let mut spool = open(home.path());
    let mut bytes = good;
    bytes[second + RECORD_HEAD] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(bodies(&mut spool), [&b"first"[..], b"third"]);
    assert_eq!(files(home.path(), "damaged").len(), 1);
}

#[test]
fn a_file_of_a_newer_build_stops_the_start_and_is_left_alone() {
    let home = folder();
    drop(open(home.path()));
    let file = home.path().join("spool/000000000001.spool");
    let newer = record::file_head(9);
    fs::write(&file, newer).unwrap();
    let said = Folder::open(&home.path().join("spool"), LIMIT).err().unwrap().to_string();
    assert!(said.contains("version 9") && said.contains("000000000001.spool"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), newer);
}

#[test]
fn large_spools_are_many_files_whose_space_comes_back_one_by_one() {
    let home = folder();
    let mut spool = open(home.path());
    let large = vec![7; 900_000];
    for _ in 0..30 {
        assert!(spool.fits((large.len() + RECORD_HEAD) as u64));
        write(&mut spool, &[&large]);
    }
    let count = files(home.path(), "spool").len();
    assert!(count >= 3, "{count}");
    let before = spool.bytes();
    let mut handed = 0;
    while files(home.path(), "spool").len() == count {
        let chunk = spool.next(64).unwrap().unwrap();
        assert!(chunk.records.len() <= 3, "no more than a few megabytes at once");
        handed += chunk.records.len();
        spool.drained(&chunk).unwrap();
    }
    assert!(spool.bytes() < before && spool.records() == 30 - handed as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_are_kept_in_the_order_of_asking_until_it_is_closed() {
    let home = folder();
    let spool = Spool::open(home.path().join("spool"), LIMIT).await.unwrap();
    let envelopes: Vec<Envelope> = (1..=24).map(envelope).collect();
    let all = join_all(envelopes.iter().map(|one| spool.keep(spool.seat(), std::iter::once(one), AT)));
    assert!(all.await.iter().all(Result::is_ok));
    let (chunk, more) = (spool.next(500).await.unwrap().unwrap(), spool.enter(PATIENCE).await);
    assert!(chunk.records.iter().map(|kept| &kept.body[..]).eq(envelopes.iter().map(Envelope::bytes)));
    assert!(more.is_some(), "what comes now joins");
    spool.close().await;
    let refused = spool.keep(spool.seat(), envelopes.iter(), AT).await;
    assert_eq!(refused, Err(Refused::Unwritable));
    drop(Folder::open(&home.path().join("spool"), LIMIT).unwrap());
}

#[tokio::test]
async fn a_full_spool_refuses_whole_requests_and_takes_more_once_there_is_room() {
    let home = folder();
    let one = envelope(1);
    let size = (one.bytes().len() + RECORD_HEAD) as u64;
    let spool = Spool::open(home.path().join("spool"), 10 * size + 2 * FILE_HEAD as u64).await.unwrap();
    let keep = async |count: usize| spool.keep(spool.seat(), std::iter::repeat_n(&one, count), AT).await;
    assert_eq!(keep(11).await, Err(Refused::Full));
    assert_eq!(spool.gate.look().0, 0, "nothing of it is kept");
    assert_eq!(keep(6).await, Ok(()));
    assert_eq!(keep(5).await, Err(Refused::Full));
    assert_eq!(spool.trouble(), Some("spool_full"));
    assert_eq!(keep(3).await, Ok(()));
    assert_eq!(spool.trouble(), None);
    assert_eq!(spool.next(99).await.unwrap().unwrap().records.len(), 6);
}

/// A queue that takes only so many, then none until it is told to take more.
struct Rationed {
    ration: Mutex<usize>,
    taken: Mutex<Vec<i64>>,
}

impl Rationed {
    fn taking(ration: usize) -> Arc<Self> {
        Arc::new(Self { ration: Mutex::new(ration), taken: Mutex::default() })
    }

    fn taken(&self) -> Vec<i64> {
        self.taken.lock().unwrap().clone()
    }
}

#[async_trait]
impl Publisher for Rationed {
    async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        let mut ration = self.ration.lock().unwrap();
        *ration = ration.checked_sub(1).ok_or(PublishError::Refused)?;
        self.taken.lock().unwrap().push(envelope.header().sequence);
        Ok(())
    }

    fn ready(&self) -> Result<(), PublishError> {
        Ok(())
    }
}

async fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let asking = async {
        while !ask() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .unwrap_or_else(|_| panic!("waited too long until {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_drains_in_order_through_refusals_and_newcomers_join_until_it_is_empty() {
    let home = folder();
    let spool = Arc::new(Spool::open(home.path().join("spool"), LIMIT).await.unwrap());
    let queue = Rationed::taking(150);
    let book = Book::of(InstanceId::random());
    let (stopper, stop) = shutdown::channel();
    let draining = tokio::spawn({
        let (spool, outlet, book) = (spool.clone(), Outlet::new(queue.clone(), PATIENCE), book.clone());
        async move { drain(&spool, &outlet, &book, stop).await }
    });
    for number in 1..=300 {
        spool.keep(spool.seat(), std::iter::once(&envelope(number)), AT).await.unwrap();
    }
    until("the ration is used up", || queue.taken().len() == 150).await;
    assert_eq!(queue.taken(), (1..=150).collect::<Vec<i64>>());
    let mut number = 300;
    *queue.ration.lock().unwrap() = usize::MAX;
    // A steady stream: each joins while the spool holds anything, and goes straight as soon as it does not.
    loop {
        number += 1;
        let one = envelope(number);
        match spool.enter(PATIENCE).await {
            Some(seat) => spool.keep(seat, std::iter::once(&one), AT).await.unwrap(),
            None => break queue.publish(&one).await.unwrap(),
        }
    }
    assert_eq!(queue.taken(), (1..=number).collect::<Vec<i64>>(), "in order, each once");
    assert_eq!(files(home.path(), "spool").len(), 0);
    stopper.stop();
    draining.await.unwrap();
}

#[tokio::test]
async fn what_this_build_cannot_send_is_set_aside_and_holds_up_nothing() {
    let home = folder();
    let mut before = open(home.path());
    write(&mut before, &[b"not an envelope", envelope(7).bytes()]);
    drop(before);
    let spool = Spool::open(home.path().join("spool"), LIMIT).await.unwrap();
    let queue = Rationed::taking(usize::MAX);
    let (_stopper, stop) = shutdown::channel();
    let outlet = Outlet::new(queue.clone(), PATIENCE);
    let book = Book::of(InstanceId::random());
    let emptied = async { until("all is handed over", || queue.taken() == [7]).await };
    tokio::select! { () = drain(&spool, &outlet, &book, stop) => {}, () = emptied => {} }
    assert_eq!(fs::read(&files(home.path(), "unknown")[0]).unwrap(), b"not an envelope");
    let view = SpoolView::of(&home.path().join("spool")).unwrap();
    assert_eq!(view.set_aside, 1);
}

#[test]
fn an_onlooker_sees_what_waits_and_disturbs_nobody() {
    let home = folder();
    let mut spool = open(home.path());
    write(&mut spool, &[b"1", b"2"]);
    let view = SpoolView::of(&home.path().join("spool")).unwrap();
    assert_eq!(view, SpoolView { records: 2, bytes: spool.bytes(), oldest: Some(AT), set_aside: 0 });
    assert_eq!(bodies(&mut spool), [b"1", b"2"]);
}
