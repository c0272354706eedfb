//! The store door's contract: what both engines promise, each test named by its promise. A fixture is a fresh store with
//! a clock that only the test moves: a file of its own for SQLite, a database of its own on the private server for
//! PostgreSQL. What no read of the store shows is looked up in the tables directly.

mod answers; // what is said again, for a while
mod budgets; // spend never passes a cap
mod circumstances; // what a turn knows besides its texts
mod claims; // one worker at a time has a conversation's turn
mod commits; // a turn ends messages and queues replies at once or not at all
mod dead_edits; // a letter is never changed: it is edited as another, or given up
mod dead_exports; // letters in a file are their deployment's own
mod dead_handles; // a letter is the one handle on its message
mod dead_history; // every failed attempt is known
mod dead_letters; // what died is kept, and can be tried again once
mod dead_replays; // frozen, in order, once, and confirmed by the worker
mod dead_searches; // what is asked for is found
mod deliveries; // a reply is sent once
mod engines; // opening, clocks, migrations
mod floors; // while a person holds the floor the assistant is silent
mod handoffs; // who is called is told, and answers in time or not
mod holds; // what waits for a person, and for an outage to end
mod intake; // every event has its place, exactly once
mod ledgers; // everything adds up at every moment
mod sealing; // nothing that a person said or is called lies in clear
mod statuses; // what a provider says of a send
mod tallies; // what an ingress vouched for is here, or is missed
mod traces; // how claims ended that committed nothing

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::config::{Keys, QueueSecrets, Secret, SqliteFile, StoreUrl, Timing};
use common::domain::{
    Address, AttemptId, Author, Charge, Content, ConversationId, DeadId, End, Event, EventId, Floor, Inbound,
    InstanceId, Micros, Party, Provider, SendId, SourceName, Status, StatusUpdate, TurnId, WorkerId,
};
use common::envelope::Header;
use common::seal::{Key, Keyring, Pseudonyms};
use common::store::{
    Admission, Admitted, AttemptEnd, Begun, BegunAttempt, Claimed, Clock, Commit, CommitOutcome, Committed,
    DeliveryClaim, Finished, NewDead, NewSend, NextSend, Store,
};
use common::trace::TraceContext;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tempfile::TempDir;

use crate::servers::postgres;

/// Two numbers that nobody has.
pub(super) const ANNA: &str = "15550100";
pub(super) const BORIS: &str = "15550101";

/// How long a begun send may take.
pub(super) const SENDING: Duration = Duration::from_secs(10);

/// Tests that run on both engines.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($shop:ident) $body:block)+) => {
        $($(#[$doc])* async fn $name($shop: std::sync::Arc<super::Shop>) $body)+
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let shop = super::super::Shop::on_sqlite().await;
                super::super::super::soon(stringify!($name), super::$name(shop)).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let shop = super::super::Shop::on_postgres().await;
                super::super::super::soon(stringify!($name), super::$name(shop)).await;
            })+
        }
    };
}
pub(super) use contract;

/// A fresh store and its world.
pub(super) struct Shop {
    pub(super) store: Store,
    pub(super) url: StoreUrl,
    pub(super) keys: Keys,
    /// The key under the fixture's pseudonyms, for rotations.
    pub(super) pseudonym_key: Key,
    pub(super) timing: Timing,
    pub(super) worker: WorkerId,
    clock: Arc<AtomicI64>,
    instance: InstanceId,
    sequence: AtomicI64,
    folder: Option<TempDir>,
}

/// An event on its way in.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) header: Header,
    pub(super) inbound: Inbound,
}

impl Arrival {
    pub(super) fn id(&self) -> EventId {
        self.inbound.event_id
    }
}

pub(super) fn source(name: &str) -> SourceName {
    SourceName::parse(name).unwrap()
}

pub(super) fn text(text: &str) -> Event {
    Event::Message(Content::Text(text.to_owned()))
}

impl Shop {
    pub(super) async fn on_sqlite() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(SqliteFile::at(folder.path().join("store.db")));
        Self::open(url, Some(folder)).await
    }

    pub(super) async fn on_postgres() -> Arc<Self> {
        let url = StoreUrl::Postgres(Secret::new(postgres::database().await));
        Self::open(url, None).await
    }

    async fn open(url: StoreUrl, folder: Option<TempDir>) -> Arc<Self> {
        let pseudonym_key = Key::generate();
        let shared = QueueSecrets {
            queue: Keyring::single("q1", Key::generate()),
            pseudonyms: Pseudonyms::from_ring(Keyring::single("p1", pseudonym_key.clone())),
        };
        let keys = Keys { store: Keyring::single("s1", Key::generate()), shared };
        let timing = Timing::default();
        let clock = Arc::new(AtomicI64::new(1_790_000_000_000_000));
        Store::migrate(&url, &keys, &timing).await.unwrap().close().await;
        let store = Store::open(&url, &keys, &timing, Clock::Manual(clock.clone())).await.unwrap();
        let (worker, instance, sequence) = (WorkerId::random(), InstanceId::random(), AtomicI64::new(0));
        Arc::new(Self { store, url, keys, pseudonym_key, timing, worker, clock, instance, sequence, folder })
    }

    /// The same store under other pseudonym keys.
    pub(super) async fn reopened(&self, pseudonyms: Pseudonyms) -> Store {
        let shared = QueueSecrets { queue: self.keys.shared.queue.clone(), pseudonyms };
        let keys = Keys { store: self.keys.store.clone(), shared };
        Store::open(&self.url, &keys, &self.timing, Clock::Manual(self.clock.clone())).await.unwrap()
    }

    /// The same store for bursts of no length.
    pub(super) async fn reopened_without_settling(&self) -> Store {
        let timing = Timing { settle_quiet: Duration::ZERO, settle_max: Duration::ZERO, ..self.timing.clone() };
        Store::open(&self.url, &self.keys, &timing, Clock::Manual(self.clock.clone())).await.unwrap()
    }

    pub(super) fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_ref().map(TempDir::path)
    }

    pub(super) fn now(&self) -> Micros {
        Micros(self.clock.load(Ordering::SeqCst))
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Lets any burst end.
    pub(super) fn quiet(&self) {
        self.pass(self.timing.settle_max);
    }

    /// An event from somebody, received now.
    pub(super) fn arrival(&self, from: &str, event: Event) -> Arrival {
        self.arrival_by("shop", Some(from), event)
    }

    pub(super) fn arrival_by(&self, by: &str, from: Option<&str>, event: Event) -> Arrival {
        let (event_id, source) = (EventId::random(), source(by));
        let header = Header {
            event_id,
            source: source.clone(),
            conversation: None,
            kind: event.kind(),
            received_at: self.now(),
            instance: self.instance,
            sequence: self.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            previous: None,
            trace: TraceContext::start(),
            secret: "00000000".into(),
        };
        let address = |value: &str| Address { space: "phone".into(), value: value.into() };
        let party = from.map(|value| Party { account: "100".into(), address: address(value) });
        let provider_id = from.map(|value| format!("wamid.{value}.{event_id}"));
        let inbound =
            Inbound { event_id, source, provider: Provider::Whatsapp, party, provider_id, said_at: None, event };
        Arrival { header, inbound }
    }

    pub(super) async fn admit(&self, arrival: &Arrival) -> Admitted {
        self.admit_into(&self.store, arrival).await
    }

    pub(super) async fn admit_into(&self, store: &Store, arrival: &Arrival) -> Admitted {
        store.admit(Admission { header: &arrival.header, inbound: &arrival.inbound, build: "test" }).await.unwrap()
    }

    /// Takes a message in; its event and conversation.
    pub(super) async fn say(&self, from: &str, words: &str) -> (EventId, ConversationId) {
        let arrival = self.arrival(from, text(words));
        match self.admit(&arrival).await {
            Admitted::Pending { conversation, .. } => (arrival.id(), conversation),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn claim(&self, conversation: ConversationId) -> Option<Claimed> {
        self.store.claim(conversation, self.worker).await.unwrap()
    }

    /// Claims after the burst has ended.
    pub(super) async fn claim_quiet(&self, conversation: ConversationId) -> Claimed {
        self.quiet();
        self.claim(conversation).await.expect("due and free")
    }

    pub(super) fn send(&self, author: Author, words: &str) -> NewSend {
        NewSend {
            id: SendId::random(),
            author,
            person: (author == Author::Person).then(|| "ops".to_owned()),
            purpose: "reply",
            text: words.to_owned(),
            locale: "en".to_owned(),
            part: (1, 1),
            trace: TraceContext::start().to_string(),
        }
    }

    /// Commits a turn: these ends, these sends.
    pub(super) async fn commit(
        &self,
        claim: &Claimed,
        ends: &[(EventId, End, Option<&'static str>)],
        sends: &[NewSend],
        floor: Option<Floor>,
        dead: &[NewDead],
    ) -> Option<Committed> {
        let commit = Commit {
            claim,
            turn: TurnId::random(),
            ends,
            sends,
            dead,
            hold: false,
            floor,
            handoff: None,
            heard: false,
            outcome: "answered",
            policy: "v1",
            model: None,
            locale: Some("en"),
            started_at: claim.at,
            trace: TraceContext::start(),
            path: "[]",
            hits: &[],
        };
        self.store.commit(commit).await.unwrap().committed()
    }

    /// Parks a message and holds what comes after it.
    pub(super) async fn park_and_hold(&self, claim: &Claimed, event: EventId) -> CommitOutcome {
        let letter = self.letter(claim, event);
        let commit = Commit {
            claim,
            turn: TurnId::random(),
            ends: &[(event, End::Dead, Some("parked"))],
            sends: &[],
            dead: &[letter],
            hold: true,
            floor: None,
            handoff: None,
            heard: false,
            outcome: "parked",
            policy: "v1",
            model: None,
            locale: Some("en"),
            started_at: claim.at,
            trace: TraceContext::start(),
            path: "[]",
            hits: &[],
        };
        self.store.commit(commit).await.unwrap()
    }

    /// One turn over everything pending: the last is replied to, the others joined.
    pub(super) async fn reply_with(&self, claim: &Claimed, sends: &[NewSend]) -> Option<Committed> {
        let pending = self.store.pending(claim).await.unwrap();
        let last = pending.last().expect("something pending").event_id;
        let end = |event: EventId| (event, if event == last { End::Replied } else { End::Joined }, None);
        let ends: Vec<_> = pending.iter().map(|message| end(message.event_id)).collect();
        self.commit(claim, &ends, sends, None, &[]).await
    }

    /// Begins a call that needs no budget.
    pub(super) async fn attempt(&self, claim: &Claimed, model: &str, prompt: &str) -> AttemptId {
        match self.store.begin_attempt(claim, &budgets::call(model, prompt)).await.unwrap() {
            BegunAttempt::Yes(id) => id,
            BegunAttempt::Spent(at) => panic!("budget {at} is spent"),
        }
    }

    /// Ends a call with an answer.
    pub(super) async fn attempt_answers(&self, claim: &Claimed, id: AttemptId, text: &str) {
        let end = (AttemptEnd::Answered { text, tokens: [Some(1); 3] }, Charge::Reserved);
        self.store.end_attempt(claim, id, end, Duration::ZERO).await.unwrap();
    }

    /// A message and its reply, committed, not delivered.
    pub(super) async fn answered(&self, from: &str) -> (EventId, ConversationId, SendId) {
        let (event, conversation) = self.say(from, "do you ship to Lima?").await;
        let claim = self.claim_quiet(conversation).await;
        let send = self.send(Author::Assistant, "yes, we do");
        let id = send.id;
        assert!(self.reply_with(&claim, &[send]).await.expect("ours").more.is_none());
        (event, conversation, id)
    }

    pub(super) async fn sender(&self, conversation: ConversationId) -> DeliveryClaim {
        self.store.claim_delivery(conversation, self.worker).await.unwrap().expect("something to send")
    }

    /// Begins the head of a conversation's outbox.
    pub(super) async fn begin(&self, claim: &DeliveryClaim) -> SendId {
        let NextSend::Send(id) = self.store.next_send(claim).await.unwrap() else { panic!("nothing to send") };
        match self.store.begin_send(claim, id, SENDING).await.unwrap() {
            Begun::Yes(begun) => begun.id,
            Begun::Superseded => panic!("superseded"),
            Begun::Lost => panic!("lost"),
        }
    }

    pub(super) async fn finish(&self, claim: &DeliveryClaim, id: SendId, end: Finished) {
        self.store.finish_send(claim, id, end).await.unwrap();
    }

    /// Sends everything that is due; what was sent, in order.
    pub(super) async fn deliver(&self, conversation: ConversationId) -> Vec<SendId> {
        let Some(mut claim) = self.store.claim_delivery(conversation, self.worker).await.unwrap() else {
            return Vec::new();
        };
        let mut sent = Vec::new();
        loop {
            let next = self.store.next_send(&claim).await.unwrap();
            let NextSend::Send(id) = next else {
                let wait = if let NextSend::Wait(at) = next { Some(at) } else { None };
                if self.store.release_delivery(&mut claim, wait).await.unwrap() {
                    return sent;
                }
                continue;
            };
            if let Begun::Yes(_) = self.store.begin_send(&claim, id, SENDING).await.unwrap() {
                self.finish(&claim, id, accepted(&format!("wamid.{id}"))).await;
                sent.push(id);
            }
        }
    }

    pub(super) fn status(&self, send: Option<SendId>, provider_id: &str, status: Status) -> Arrival {
        let error = (status == Status::Failed).then(|| "131026".to_owned());
        let update = StatusUpdate { send_id: send, provider_id: provider_id.to_owned(), status, error };
        self.arrival_by("shop", None, Event::Status(update))
    }

    pub(super) async fn event_state(&self, event: EventId) -> String {
        self.store.event(event).await.unwrap().0.state
    }

    pub(super) async fn send_state(&self, conversation: ConversationId, send: SendId) -> String {
        let sends = self.store.outbox_of(conversation).await.unwrap();
        sends.into_iter().find(|row| row.id == send).expect("a row").state
    }

    pub(super) async fn pending_count(&self, conversation: ConversationId) -> i64 {
        self.store.conversation_view(conversation, 1).await.unwrap().summary.pending
    }

    pub(super) async fn floor(&self, conversation: ConversationId) -> Floor {
        self.store.conversation_view(conversation, 1).await.unwrap().summary.floor
    }

    pub(super) async fn assert_balanced(&self) {
        let ledger = self.store.ledger(None).await.unwrap();
        assert!(ledger.balances(), "{ledger:?}");
        assert_eq!(ledger.accepted, ledger.ended.values().sum::<i64>() + ledger.pending);
        let sends = &ledger.sends;
        let states = sends.accepted + sends.superseded + sends.unknown + sends.dead + sends.open;
        assert_eq!(sends.committed, states);
    }

    pub(super) fn letter(&self, claim: &Claimed, event: EventId) -> NewDead {
        NewDead {
            id: DeadId::random(),
            event_id: Some(event),
            send_id: None,
            conversation: Some(claim.conversation),
            contact: Some(claim.contact),
            source: claim.source.to_string(),
            stage: "turn",
            class: "poison".to_owned(),
            error: "cannot be answered".to_owned(),
            attempts: 3,
            policy: "v1".to_owned(),
            build: "test".to_owned(),
            body: None,
        }
    }

    pub(super) fn refusal(&self, claim: &DeliveryClaim, send: SendId) -> Finished {
        let letter = Box::new(NewDead {
            id: DeadId::random(),
            event_id: None,
            send_id: Some(send),
            conversation: Some(claim.conversation),
            contact: Some(claim.contact),
            source: claim.source.to_string(),
            stage: "send",
            class: "rejected".to_owned(),
            error: "refused".to_owned(),
            attempts: 1,
            policy: "v1".to_owned(),
            build: "test".to_owned(),
            body: None,
        });
        Finished::Dead { letter, hold: false }
    }

    /// Runs a statement beneath the store.
    pub(super) async fn execute(&self, sql: String) {
        match &self.url {
            StoreUrl::Sqlite(file) => {
                let mut connection = sqlite(file).await;
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// The first column of the first row, a whole number.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        let sql = sql.to_owned();
        match &self.url {
            StoreUrl::Sqlite(file) => {
                let mut connection = sqlite(file).await;
                sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap().get(0)
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap().get(0)
            }
        }
    }

    /// Bytes as this engine writes them in SQL.
    pub(super) fn bytes(&self, bytes: &[u8]) -> String {
        match &self.url {
            StoreUrl::Sqlite(_) => format!("X'{}'", hex::encode(bytes)),
            StoreUrl::Postgres(_) => format!("'\\x{}'::bytea", hex::encode(bytes)),
        }
    }

    /// An id as this engine writes it in SQL.
    pub(super) fn id(&self, id: uuid::Uuid) -> String {
        match &self.url {
            StoreUrl::Sqlite(_) => format!("X'{}'", id.simple()),
            StoreUrl::Postgres(_) => format!("'{id}'::uuid"),
        }
    }

    /// A moment as this engine writes it in SQL.
    pub(super) fn moment(&self, at: Micros) -> String {
        match &self.url {
            StoreUrl::Sqlite(_) => at.0.to_string(),
            StoreUrl::Postgres(_) => format!("timestamptz 'epoch' + {} * interval '1 microsecond'", at.0),
        }
    }
}

async fn sqlite(file: &SqliteFile) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", file.path().display())).await.unwrap()
}

pub(super) fn accepted(provider_id: &str) -> Finished {
    Finished::Accepted { provider_id: Some(provider_id.to_owned()) }
}
