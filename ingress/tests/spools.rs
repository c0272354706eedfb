//! An ingress with a spool: what it answers while the queue takes nothing, and what becomes of it afterwards.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{Event, Tally};
use common::envelope::Envelope;
use common::providers::samples;
use common::shutdown::{self, Stopper};
use ingress::{Ingress, IngressConfig, SpoolConfig, StartError};
use tokio::task::JoinHandle;

use crate::stage::{FILE, Mood, Stage, StandIn, assert_accepted, assert_problem, environment, stage_with};

const TEXT: &[u8] = samples::WHATSAPP_TEXT.as_bytes();
const BURST: &[u8] = samples::WHATSAPP_BURST.as_bytes();

fn with_spool(home: &Path, max_bytes: u64) -> impl FnOnce(&mut IngressConfig) {
    let folder = home.join("spool");
    move |config| {
        config.spool = Some(SpoolConfig { folder, max_bytes });
        config.timing.confirm = Duration::from_millis(50);
        config.timing.tally = Duration::from_millis(20);
    }
}

async fn spooling(home: &Path, mood: Mood) -> Stage {
    stage_with(mood, with_spool(home, 1 << 24)).await
}

/// An ingress that runs, and its queue.
struct Running {
    queue: Arc<StandIn>,
    config: IngressConfig,
    stopper: Stopper,
    ended: JoinHandle<()>,
}

impl Running {
    fn of(stage: Stage) -> Self {
        let (stopper, stop) = shutdown::channel();
        let Stage { ingress, queue, config } = stage;
        Self { queue, config, stopper, ended: tokio::spawn(ingress.run_until(stop)) }
    }

    async fn queued(&self, count: usize) -> Vec<i64> {
        let numbers = || -> Vec<i64> {
            let kept = self.queue.kept.lock().unwrap();
            kept.iter().map(|bytes| Envelope::decode(bytes.clone()).unwrap().header().sequence).collect()
        };
        let waiting = async {
            while numbers().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
        numbers()
    }

    /// Stops it; every tally that the queue has confirmed.
    async fn tallies(self) -> Vec<Tally> {
        self.stopper.stop();
        self.ended.await.unwrap();
        let open = |bytes: &Vec<u8>| {
            let envelope = Envelope::decode(bytes.clone()).unwrap();
            match envelope.open(&self.config.secrets.queue).unwrap().event {
                Event::Tally(tally) => tally,
                _ => panic!("no tally"),
            }
        };
        self.queue.tallies.lock().unwrap().iter().map(open).collect()
    }
}

fn numbers(spans: impl Iterator<Item = (i64, i64)>) -> BTreeSet<i64> {
    spans.flat_map(|(start, end)| start..=end).collect()
}

#[tokio::test]
async fn a_queue_that_is_down_silent_or_refuses_part_costs_nothing_and_all_arrives_in_order() {
    for mood in [Mood::Disconnected, Mood::Hang, Mood::FailSecond] {
        let home = tempfile::tempdir().unwrap();
        let stage = spooling(home.path(), mood).await;
        assert_accepted(&stage.signed("whatsapp", BURST).await, 3);
        // What comes next joins, though the queue would take it by now.
        stage.queue.feel(Mood::Confirm);
        assert_accepted(&stage.signed("whatsapp", TEXT).await, 1);
        assert_accepted(&stage.signed("elevenlabs", samples::ELEVENLABS_TRANSCRIPTION.as_bytes()).await, 1);
        let direct = stage.queued().len();
        let running = Running::of(stage);
        let numbers = running.queued(5).await;
        assert_eq!(direct, if matches!(mood, Mood::FailSecond) { 2 } else { 0 }, "{mood:?}");
        let expected: &[i64] = if direct == 2 { &[1, 3, 2, 4, 5] } else { &[1, 2, 3, 4, 5] };
        assert_eq!(numbers, expected, "{mood:?}");
        running.tallies().await;
    }
}

#[tokio::test]
async fn an_end_between_answer_and_drain_loses_nothing_and_the_heir_tells_whose_numbers_it_drained() {
    let home = tempfile::tempdir().unwrap();
    let first = spooling(home.path(), Mood::Disconnected).await;
    assert_accepted(&first.signed("whatsapp", BURST).await, 3);
    for entry in std::fs::read_dir(home.path().join("spool")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let readable = String::from_utf8_lossy(&bytes);
        assert!(!["15550100", "wamid", "Lima", "Sample"].iter().any(|private| readable.contains(private)));
    }
    let running = Running::of(first);
    assert!(running.tallies().await.is_empty(), "its tallies did not arrive either");
    let heir = Running::of(spooling(home.path(), Mood::Confirm).await);
    assert_eq!(heir.queued(3).await, [1, 2, 3]);
    let tallies = heir.tallies().await;
    assert_eq!(tallies, [Tally { recovered: vec![(1, 3)], ..Tally::default() }]);
    assert_eq!(Running::of(spooling(home.path(), Mood::Confirm).await).queued(0).await, [0_i64; 0], "drained once");
}

#[tokio::test]
async fn tallies_give_up_what_was_spooled_and_take_it_back_once_it_is_queued() {
    let home = tempfile::tempdir().unwrap();
    let stage = spooling(home.path(), Mood::FailSecond).await;
    assert_accepted(&stage.signed("whatsapp", BURST).await, 3);
    let running = Running::of(stage);
    running.queue.feel(Mood::Confirm);
    running.queued(3).await;
    let tallies = running.tallies().await;
    let given_up = numbers(tallies.iter().flat_map(|tally| tally.given_up.clone()));
    let recovered = numbers(tallies.iter().flat_map(|tally| tally.recovered.clone()));
    assert_eq!((given_up, recovered), (BTreeSet::from([2]), BTreeSet::from([2])));
    let last = tallies.last().unwrap();
    assert!(last.last && last.upto == 3, "{last:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_number_undecided() {
    let home = tempfile::tempdir().unwrap();
    let stage = stage_with(Mood::Hang, |config| config.timing.tally = Duration::from_millis(20)).await;
    let hung_up = tokio::time::timeout(Duration::from_millis(50), stage.signed("whatsapp", TEXT)).await;
    assert!(hung_up.is_err(), "the confirm is longer in coming");
    stage.queue.feel(Mood::Confirm);
    assert_accepted(&stage.signed("whatsapp", BURST).await, 3);
    let tallies = Running::of(stage).tallies().await;
    let last = tallies.last().unwrap();
    assert_eq!((last.upto, last.last), (4, true));
    assert_eq!(numbers(tallies.iter().flat_map(|tally| tally.given_up.clone())), BTreeSet::from([1]));
    drop(home);
}

#[tokio::test]
async fn a_source_that_must_not_spool_gets_its_503_and_a_full_spool_says_so() {
    let home = tempfile::tempdir().unwrap();
    let stage = stage_with(Mood::Disconnected, |config| {
        with_spool(home.path(), 6_000)(config);
        config.sources.values_mut().filter(|s| s.name.as_str() == "quiet").for_each(|s| s.spool = Some(false));
    })
    .await;
    assert_problem(&stage.signed("quiet", TEXT).await, 503, "queue_unavailable");
    let mut taken = 0;
    let refused = loop {
        let answer = stage.signed("whatsapp", TEXT).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    assert_problem(&refused, 503, "spool_full");
    assert!((1..=5).contains(&refused.headers["retry-after"].parse::<u64>().unwrap()));
    assert!(taken > 1, "{taken}");
    stage.queue.feel(Mood::Confirm);
    let running = Running::of(stage);
    assert_eq!(running.queued(taken).await.len(), taken);
    running.tallies().await;
}

#[tokio::test]
async fn a_folder_that_another_ingress_holds_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let stage = spooling(home.path(), Mood::Confirm).await;
    let second = Ingress::bind(stage.config.clone(), stage.queue.clone()).await;
    let said = match second {
        Err(error @ StartError::Spool(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(said.starts_with("INGRESS_SPOOL_DIR: ") && said.contains("in use by process"), "{said}");
    Running::of(stage).tallies().await;
    Running::of(spooling(home.path(), Mood::Confirm).await).tallies().await;
}

#[test]
fn a_folder_open_to_others_a_file_and_a_key_without_its_folder_are_named() {
    let home = tempfile::tempdir().unwrap();
    let load = |file: &str, more: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        IngressConfig::load(&environment(&folder, file, more))
    };
    let path = home.path().join("spool");
    let dir = ("INGRESS_SPOOL_DIR", path.to_str().unwrap());
    let production = ("HANDRAIL_MODE", "production");
    let config = load(FILE, &[dir]).unwrap();
    assert_eq!(config.spool, Some(SpoolConfig { folder: path.clone(), max_bytes: 256 * 1024 * 1024 }));
    assert!(load(FILE, &[]).unwrap().spool.is_none());
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(load(FILE, &[dir]).unwrap().warnings.iter().any(|warning| warning.why.contains("mode 755")));
    let said = load(FILE, &[dir, production]).unwrap_err().to_string();
    assert!(said.contains("INGRESS_SPOOL_DIR: ") && said.contains("chmod 700"), "{said}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(load(FILE, &[dir, production]).is_ok());
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    assert!(load(FILE, &[dir]).unwrap_err().to_string().contains("is no folder"));
    let wanted = FILE.replacen("provider = \"elevenlabs\"", "provider = \"elevenlabs\"\nspool = true", 1);
    let said = load(&wanted, &[]).unwrap_err().to_string();
    assert!(said.contains("source 'elevenlabs': spool") && said.contains("INGRESS_SPOOL_DIR"), "{said}");
    let said = load(&format!("spool_max_bytes = 1000\n{FILE}"), &[]).unwrap_err().to_string();
    assert!(said.contains("spool_max_bytes: must be at least"), "{said}");
}

#[test]
fn a_broker_without_a_spool_is_a_hint_for_those_who_never_send_again() {
    let hints = |more: &[(&str, &str)]| -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let github = "[[source]]\nname = \"github\"\nprovider = \"hmac\"\nheader = \"X-Hub-Signature-256\"\n\
             prefix = \"sha256=\"\nsecrets = [\"the-shared-secret-of-32-characters!\"]\n";
        let config = IngressConfig::load(&environment(&folder, &format!("{FILE}\n{github}"), more)).unwrap();
        config.hints.iter().map(ToString::to_string).collect()
    };
    let broker = ("QUEUE_URL", "amqp://handrail:handrail@127.0.0.1:5672/%2f");
    let told = hints(&[broker]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("INGRESS_SPOOL_DIR: 'elevenlabs' never sends again") && told[1].contains("'github'"));
    assert!(hints(&[]).is_empty(), "an embedded queue has no outages of its own");
    assert!(hints(&[broker, ("INGRESS_SPOOL_DIR", "/nowhere/spool")]).is_empty());
    assert!(hints(&[("INGRESS_SPOOL_DIR", "/nowhere/spool")])[0].contains("another disk"));
}
