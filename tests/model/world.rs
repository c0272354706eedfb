//! The world of a schedule: workers, a queue, customers, people and a provider, over one store in memory.
//!
//! A world is made once per thread and emptied between schedules. What the schedule directs is the worker's own code:
//! `take_in`, `Turns::serve`, `Deliveries::serve`, `chores::round`, and the store's own operations of people.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::config::{Keys, QueueSecrets, Timing};
use common::domain::{ConversationId, InstanceId, SourceName, WorkerId};
use common::seal::{Key, Keyring, Pseudonyms};
use common::shutdown::{self, Stop, Stopper};
use common::store::{Clock, Store};
use worker::bell;
use worker::channels::{Channel, Channels};
use worker::deliver::Deliveries;
use worker::desk::Desk;
use worker::dispatch::{Slot, Work};
use worker::intake::Otherwise;
use worker::models::chain::{Chain, Link};
use worker::notices::Notifiers;
use worker::pipeline::guardrails::Guardrails;
use worker::policy::Policy;
use worker::turn::Turns;

use super::actions::{Action, Schedule, Span, TO_AN_OUTSIDE, TO_THE_END};
use super::fakes::{self, Call, FakeChannel, FakeModel, FakeQueue};
use super::oracle::{Published, Remains};
use super::stage::{Outcome, Rest, Stage};
use super::variants::Variant;
use super::watch::{Kind, Now, Step, Watch};

/// When every schedule begins.
const EPOCH: i64 = 1_790_000_000_000_000;
const WORKERS: usize = 3;
/// How far anybody goes before it counts as going round in circles.
const LONGEST: u32 = 400;

/// Somebody who acts, and how far they have come.
pub(super) struct Actor {
    pub(super) id: usize,
    pub(super) kind: Kind,
    pub(super) worker: Option<usize>,
    pub(super) conversation: Option<ConversationId>,
    pub(super) name: String,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// A worker's life.
pub(super) struct Life {
    pub(super) desk: Arc<Desk>,
    stopper: Stopper,
    pub(super) stop: Stop,
}

/// What one schedule came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Played {
    pub(super) steps: u64,
    pub(super) events: u64,
    pub(super) sends: u64,
    pub(super) unknowns: u64,
    pub(super) late: u64,
    pub(super) take_overs: u64,
}

/// One thread's world.
pub(super) struct World {
    pub(super) stage: Arc<Stage>,
    /// One whose bursts have no length, one whose bursts settle.
    stores: [Store; 2],
    pub(super) keys: Keys,
    guardrails: Arc<Guardrails>,
    pub(super) now: Now,
    pub(super) watch: Watch,
    pub(super) scene: Scene,
    /// What happened, in words, if anybody wants to know.
    pub(super) story: Option<Vec<String>>,
}

/// What belongs to one schedule.
pub(super) struct Scene {
    pub(super) store: Store,
    pub(super) queue: Arc<FakeQueue>,
    pub(super) calls: Arc<Mutex<Vec<Call>>>,
    pub(super) lives: Vec<Life>,
    pub(super) actors: Vec<Actor>,
    pub(super) actors_made: usize,
    pub(super) published: Vec<(Published, common::domain::Inbound)>,
    pub(super) sequences: [i64; 2],
    pub(super) received: i64,
    /// The event that each ingress last published for each customer.
    pub(super) last: HashMap<(u8, u8), common::domain::EventId>,
    resends: bool,
    parts: bool,
    settles: bool,
}

pub(super) fn source() -> SourceName {
    SourceName::parse("shop").expect("a name")
}

pub(super) fn ingress(number: u8) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(0x1000 + u128::from(number)))
}

impl World {
    pub(super) async fn new(name: &str, variant: Variant) -> Self {
        let ring = |id: &str| Keyring::single(id, Key::generate());
        let shared = QueueSecrets { queue: ring("q1"), pseudonyms: Pseudonyms::from_ring(ring("p1")) };
        let keys = Keys { store: ring("s1"), shared };
        let stage = Arc::new(Stage::new(variant));
        let now = Now(Arc::new(AtomicI64::new(EPOCH)));
        let open = async |timing: Timing| {
            let clock = Clock::Manual(now.0.clone());
            Store::in_memory(name, &keys, &timing, clock, Some(stage.clone())).await.expect("a store in memory")
        };
        let stores = [open(timing(false)).await, open(timing(true)).await];
        let guardrails = Arc::new(Guardrails::new(Arc::new(Policy::starter().expect("policy"))).expect("rules"));
        let watch = Watch::open(name).await;
        let scene = Scene {
            store: stores[0].clone(),
            queue: FakeQueue::new(stage.clone(), now.clone()),
            calls: Arc::default(),
            lives: Vec::new(),
            actors: Vec::new(),
            actors_made: 0,
            published: Vec::new(),
            sequences: [0; 2],
            received: 0,
            last: HashMap::new(),
            resends: false,
            parts: false,
            settles: false,
        };
        Self { stage, stores, keys, guardrails, now, watch, scene, story: None }
    }

    /// Plays a schedule to its end and beyond it, until all is at rest; the first promise that was broken, in words.
    pub(super) async fn play(&mut self, schedule: &Schedule) -> Result<Played, String> {
        self.begin(schedule).await;
        let outcome = async {
            for action in &schedule.actions {
                self.act(action).await?;
            }
            self.rest().await?;
            let published: Vec<Published> = self.scene.published.iter().map(|(event, _)| event.clone()).collect();
            let calls = locked(&self.scene.calls).clone();
            let predecessor_micros = micros(timing(false).predecessor);
            let store = &self.scene.store;
            let remains =
                Remains { store, watch: &mut self.watch, published: &published, calls: &calls, predecessor_micros };
            remains.judge().await
        };
        let outcome = outcome.await;
        let played = Played {
            steps: self.stage.step(),
            events: self.scene.published.len() as u64,
            sends: self.watch.begun,
            unknowns: self.watch.unknowns.values().sum(),
            take_overs: self.watch.take_overs,
            late: self.watch.seen.messages.iter().filter(|message| message.late).count() as u64,
        };
        self.scene.actors.clear();
        outcome.map(|()| played)
    }

    async fn begin(&mut self, schedule: &Schedule) {
        self.scene.actors.clear();
        self.stage.clear();
        self.watch.forget().await;
        self.now.0.store(EPOCH, Ordering::SeqCst);
        self.scene = Scene {
            store: self.stores[usize::from(schedule.settles)].clone(),
            queue: FakeQueue::new(self.stage.clone(), self.now.clone()),
            calls: Arc::default(),
            lives: Vec::new(),
            actors: Vec::new(),
            actors_made: 0,
            published: Vec::new(),
            sequences: [0; 2],
            received: 0,
            last: HashMap::new(),
            resends: schedule.resends,
            parts: schedule.parts,
            settles: schedule.settles,
        };
        self.scene.lives = (0..WORKERS).map(|_| self.life()).collect();
        self.tell(|_| format!("{schedule}"));
    }

    pub(super) fn tell(&mut self, words: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let words = words(self);
            self.story.get_or_insert_default().push(words);
        }
    }

    /// A new life of a worker.
    fn life(&self) -> Life {
        let (stopper, stop) = shutdown::channel();
        let channel: Arc<dyn Channel> = Arc::new(FakeChannel {
            stage: self.stage.clone(),
            now: self.now.clone(),
            calls: self.scene.calls.clone(),
            limit: if self.scene.parts { 24 } else { usize::MAX },
            idempotent: self.scene.resends,
        });
        let desk = Desk {
            worker: WorkerId::random(),
            store: self.scene.store.clone(),
            queue_keys: self.keys.shared.queue.clone(),
            policies: self.guardrails.clone().into(),
            chain: Chain::new(vec![Link::new(Arc::new(FakeModel(self.stage.clone())), "fake", None, None)])
                .expect("one"),
            channels: Channels::new(HashMap::from([(source(), channel)])),
            notifiers: Notifiers::default(),
            // Nobody listens: whatever a ring would begin, the schedule does.
            turns: bell::bell().0,
            deliveries: bell::bell().0,
            timing: timing(self.scene.settles),
            outages: fakes::outages(&source(), &timing(self.scene.settles), &self.now),
            dice: || 1.0,
        };
        Life { desk: Arc::new(desk), stopper, stop }
    }

    /// One of the conversations, and its number.
    pub(super) fn conversation(&self, who: u8) -> Option<(usize, ConversationId)> {
        let known = &self.watch.seen.conversations;
        let number = usize::from(who) % known.len().max(1);
        Some((number, ConversationId::from_uuid(known.get(number)?.id)))
    }

    /// Whether a conversation has this kind of work, as a sweep would find it.
    fn has_work(&self, kind: Kind, number: usize) -> bool {
        let Some(row) = self.watch.seen.conversations.get(number) else { return false };
        let mut sends = self.watch.seen.sends.iter();
        if kind == Kind::Turn {
            row.done < row.tail
        } else {
            sends.any(|send| send.conversation_id == row.id && send.is_open())
        }
    }

    /// How many conversations before this one have this kind of work: what picks it.
    fn place_among(&self, kind: Kind, number: u8) -> u8 {
        let before = (0..usize::from(number)).filter(|at| self.has_work(kind, *at)).count();
        u8::try_from(before).unwrap_or(u8::MAX)
    }

    /// One of the conversations that have this kind of work; of all, where none has.
    pub(super) fn with_work(&self, kind: Kind, who: u8) -> Option<(usize, ConversationId)> {
        let known = &self.watch.seen.conversations;
        let numbers: Vec<usize> = (0..known.len()).filter(|at| self.has_work(kind, *at)).collect();
        match numbers.get(usize::from(who) % numbers.len().max(1)) {
            Some(number) => Some((*number, ConversationId::from_uuid(known[*number].id))),
            None => self.conversation(who),
        }
    }

    /// Puts somebody on the stage; where they stand.
    pub(super) fn enter(
        &mut self,
        kind: Kind,
        worker: Option<usize>,
        conversation: Option<ConversationId>,
        name: String,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) -> usize {
        let id = self.scene.actors_made;
        self.scene.actors_made += 1;
        self.scene.actors.push(Actor { id, kind, worker, conversation, name, future });
        self.scene.actors.len() - 1
    }

    /// Lets somebody go so far: a number of points, to where the next answer comes from outside, or to the end.
    pub(super) async fn go(&mut self, place: usize, steps: u8) -> Result<(), String> {
        let id = self.scene.actors[place].id;
        let most = if steps < TO_AN_OUTSIDE { u32::from(steps) + 1 } else { LONGEST };
        for _ in 0..most {
            let Some(place) = self.scene.actors.iter().position(|actor| actor.id == id) else { return Ok(()) };
            match self.step(place, Outcome::Fine).await? {
                Rest::At(point) if steps == TO_AN_OUTSIDE && point.is_outside() => return Ok(()),
                Rest::At(_) | Rest::Ended => {}
                Rest::Asleep => return Ok(()),
            }
        }
        Ok(())
    }

    /// One step of one actor, and a look at what it did.
    pub(super) async fn step(&mut self, place: usize, outcome: Outcome) -> Result<Rest, String> {
        let actor = &mut self.scene.actors[place];
        let (id, kind) = (actor.id, actor.kind);
        let stood = self.stage.point(id);
        let mut rest = self.stage.advance(id, &mut actor.future, outcome).await;
        if rest == Rest::Asleep {
            // The runtime's timers are a millisecond coarse: one that is due at once is due then.
            tokio::time::advance(Duration::from_millis(2)).await;
            rest = self.stage.advance(id, &mut actor.future, Outcome::Fine).await;
        }
        if self.story.is_some() {
            let passed = stood.map_or("begins".to_owned(), |point| {
                let how = if outcome == Outcome::Fine { "" } else { ", badly" };
                format!("passes `{}`{how}", point.word())
            });
            let line = format!("    {}: {passed}{}", self.scene.actors[place].name, rested(rest));
            self.story.get_or_insert_default().push(line);
        }
        if rest == Rest::Ended {
            drop(self.scene.actors.remove(place));
        }
        let written = self.stage.written();
        if written.any() {
            let step = Step {
                number: self.stage.step(),
                actor: id,
                kind,
                read_pending: self.stage.read_pending(id),
                now: self.now.get(),
            };
            self.watch.look(step, written).await?;
        }
        self.called(id)?;
        Ok(rest)
    }

    /// Whether a call that this step made was allowed: of a send that it began, and beside no other of its conversation.
    fn called(&self, actor: usize) -> Result<(), String> {
        let calls = locked(&self.scene.calls);
        let Some(call) = calls.last().filter(|call| call.actor == actor && call.step == self.stage.step()) else {
            return Ok(());
        };
        let row = self.watch.seen.sends.iter().find(|row| row.id == call.send.uuid());
        if row.is_none_or(|row| row.state != "sending") {
            return Err("P4: bytes left for a send that is not marked as begun".to_owned());
        }
        let lease = timing(false).lease;
        let beside = calls[..calls.len() - 1].iter().find(|other| {
            other.open && other.conversation == call.conversation && call.begun.since(other.begun) < lease
        });
        match beside {
            Some(_) => Err("P4: two sends of one conversation were under way at once".to_owned()),
            None => Ok(()),
        }
    }

    /// Lets time pass, for the store and for whoever sleeps.
    pub(super) async fn pass(&mut self, micros: i64) {
        self.now.0.fetch_add(micros, Ordering::SeqCst);
        tokio::time::advance(Duration::from_micros(micros.unsigned_abs())).await;
    }

    /// A worker dies where it stands, and another life of it begins.
    pub(super) fn crash(&mut self, worker: usize) {
        self.scene.actors.retain(|actor| actor.worker != Some(worker));
        self.scene.lives[worker] = self.life();
    }

    /// A worker drains: what it does goes on under a raised stop, while its next life begins.
    pub(super) fn drain(&mut self, worker: usize) {
        let next = self.life();
        let old = std::mem::replace(&mut self.scene.lives[worker], next);
        old.stopper.stop();
        // A stop is raised for as long as its stopper lives.
        std::mem::forget(old.stopper);
    }

    /// No more faults: everybody goes on, time passes, and every sweep runs, until nothing is left to do.
    async fn rest(&mut self) -> Result<(), String> {
        self.tell(|_| "  all faults end".to_owned());
        for round in 0..60_u32 {
            while let Some(place) = self.awake() {
                let (id, name) = (self.scene.actors[place].id, self.scene.actors[place].name.clone());
                self.go(place, TO_THE_END).await?;
                if self.stage.point(id).is_some() {
                    return Err(format!("{name} goes round in circles"));
                }
            }
            if self.is_quiet().await {
                return Ok(());
            }
            let spans = [Span::Moment, Span::Lease, Span::Holding, Span::Unknown];
            let span = spans[(round as usize) % spans.len()];
            self.tell(|_| format!("  time passes: {span:?}"));
            self.pass(span.micros()).await;
            self.wake_all().await?;
            self.sweep().await?;
        }
        let waiting: Vec<String> = self.scene.actors.iter().map(|actor| actor.name.clone()).collect();
        Err(format!("P2: it does not come to rest; {} in the queue, at work: {waiting:?}", self.scene.queue.open()))
    }

    /// Somebody who stands at a point and only has to be let go.
    fn awake(&self) -> Option<usize> {
        self.scene.actors.iter().position(|actor| self.stage.point(actor.id).is_some())
    }

    /// Whoever slept looks at the clock.
    async fn wake_all(&mut self) -> Result<(), String> {
        let ids: Vec<usize> = self.scene.actors.iter().map(|actor| actor.id).collect();
        for id in ids {
            if let Some(place) = self.scene.actors.iter().position(|actor| actor.id == id) {
                self.go(place, TO_THE_END).await?;
            }
        }
        Ok(())
    }

    async fn is_quiet(&mut self) -> bool {
        let open: (i64,) = {
            let sql = "SELECT (SELECT count(*) FROM inbox WHERE state = 'pending') + (SELECT count(*) FROM outbox \
                       WHERE state IN ('queued', 'sending') OR (state = 'unknown' AND closed_at IS NULL)) AS open";
            self.watch.rows::<(i64,)>(sql).await[0]
        };
        open.0 == 0 && self.scene.queue.open() == 0 && self.scene.actors.is_empty()
    }

    async fn sweep(&mut self) -> Result<(), String> {
        while self.scene.queue.open() > 0 {
            let before = self.scene.actors_made;
            Box::pin(self.act(&Action::TakeIn { worker: 0, pick: 0, steps: TO_THE_END })).await?;
            if self.scene.actors_made == before {
                break;
            }
        }
        let known = u8::try_from(self.watch.seen.conversations.len()).unwrap_or(u8::MAX);
        for who in 0..known {
            if self.has_work(Kind::Turn, usize::from(who)) {
                let who = self.place_among(Kind::Turn, who);
                Box::pin(self.act(&Action::Turn { worker: 0, who, steps: TO_THE_END })).await?;
            }
            if self.has_work(Kind::Delivery, usize::from(who)) {
                let who = self.place_among(Kind::Delivery, who);
                Box::pin(self.act(&Action::Deliver { worker: 0, who, steps: TO_THE_END })).await?;
            }
        }
        Box::pin(self.act(&Action::Tend { worker: 0, steps: TO_THE_END })).await
    }

    pub(super) fn turn_of(&self, worker: usize, conversation: ConversationId) -> Pin<Box<dyn Future<Output = ()>>> {
        let life = &self.scene.lives[worker];
        let turns = Turns { desk: life.desk.clone(), stop: life.stop.clone() };
        Box::pin(async move { turns.serve(conversation, Slot::only()).await })
    }

    pub(super) fn delivery_of(&self, worker: usize, conversation: ConversationId) -> Pin<Box<dyn Future<Output = ()>>> {
        let life = &self.scene.lives[worker];
        let deliveries = Deliveries { desk: life.desk.clone(), stop: life.stop.clone() };
        Box::pin(async move { deliveries.serve(conversation, Slot::only()).await })
    }

    pub(super) fn intake_of(&self, worker: usize, pick: u8) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let (delivery, lane) = self.scene.queue.next(pick)?;
        let life = &self.scene.lives[worker];
        let (desk, stop) = (life.desk.clone(), life.stop.clone());
        let otherwise = match lane {
            common::queue::Lane::Work => Otherwise::Forward,
            common::queue::Lane::Dead => Otherwise::Keep,
        };
        Some(Box::pin(async move { worker::intake::take_in(&desk, delivery, otherwise, stop).await }))
    }
}

fn rested(rest: Rest) -> String {
    match rest {
        Rest::At(point) => format!(", stands before `{}`", point.word()),
        Rest::Asleep => ", waits for time to pass".to_owned(),
        Rest::Ended => ", ends".to_owned(),
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The protocol's constants as they are, apart from the length of bursts.
fn timing(settles: bool) -> Timing {
    let default = Timing::default();
    if settles { default } else { Timing { settle_quiet: Duration::ZERO, settle_max: Duration::ZERO, ..default } }
}
