//! The outsides of a worker: a queue that repeats, delays and reorders, a model and a channel that fail in every way
//! that the real ones have. Each records what it was asked, and stops where the schedule wants it to.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::config::Timing;
use common::domain::{ConversationId, Micros, SendId, SourceName};
use common::queue::{Delivery, Lane, QueueError, Settle, Tier};
use worker::channels::{Channel, Outgoing, Refusal, RefusalClass, SendOutcome};
use worker::models::{Answer, Model, ModelError};
use worker::outages::{Chance, Outages};
use worker::pipeline::prompt::{Prompt, PromptLine, Role};

use super::stage::{Outcome, Point, Stage};
use super::variants::Variant;
use super::watch::Now;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message in the queue.
#[derive(Debug)]
struct Entry {
    body: Vec<u8>,
    lane: Lane,
    attempts: u32,
    /// Not before this.
    ready_at: Micros,
    /// Whose delivery it is out with.
    out: Option<u64>,
    delivered: bool,
    settled: bool,
}

/// The queue: at least once and in no order.
#[derive(Debug)]
pub(super) struct FakeQueue {
    entries: Mutex<(Vec<Entry>, u64)>,
    stage: Arc<Stage>,
    now: Now,
}

impl FakeQueue {
    pub(super) fn new(stage: Arc<Stage>, now: Now) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), stage, now })
    }

    pub(super) fn publish(&self, body: Vec<u8>) {
        self.put(body, Lane::Work, 0, Duration::ZERO);
    }

    fn put(&self, body: Vec<u8>, lane: Lane, attempts: u32, after: Duration) {
        let ready_at = self.now.get() + after;
        let entry = Entry { body, lane, attempts, ready_at, out: None, delivered: false, settled: false };
        locked(&self.entries).0.push(entry);
    }

    /// Messages that are not settled, whether ready or not.
    pub(super) fn open(&self) -> usize {
        locked(&self.entries).0.iter().filter(|entry| !entry.settled).count()
    }

    /// Hands out one of the ready messages.
    pub(super) fn next(self: &Arc<Self>, pick: u8) -> Option<(Delivery, Lane)> {
        let now = self.now.get();
        let mut entries = locked(&self.entries);
        let ready = |entry: &Entry| !entry.settled && entry.out.is_none() && entry.ready_at <= now;
        let ready: Vec<usize> =
            entries.0.iter().enumerate().filter(|(_, entry)| ready(entry)).map(|(at, _)| at).collect();
        let at = *ready.get(usize::from(pick) % ready.len().max(1))?;
        entries.1 += 1;
        let token = entries.1;
        let entry = &mut entries.0[at];
        let settle = Settling { queue: self.clone(), at, token };
        let delivery = Delivery::new(entry.body.clone(), entry.attempts, entry.delivered, Box::new(settle));
        entry.delivered = true;
        match self.stage.variant() {
            Variant::AckBeforeIntake => entry.settled = true,
            Variant::None | Variant::Text(_) => entry.out = Some(token),
        }
        Some((delivery, entry.lane))
    }

    /// Makes a message that is out ready for somebody else too; whoever holds it will find its ack too late.
    pub(super) fn redeliver(&self, pick: u8) -> bool {
        let mut entries = locked(&self.entries);
        let mut out: Vec<&mut Entry> =
            entries.0.iter_mut().filter(|entry| !entry.settled && entry.out.is_some()).collect();
        let count = out.len();
        let Some(entry) = out.get_mut(usize::from(pick) % count.max(1)) else { return false };
        entry.out = None;
        true
    }
}

/// One delivery's settling.
struct Settling {
    queue: Arc<FakeQueue>,
    at: usize,
    token: u64,
}

impl Settling {
    fn settle(&self) -> bool {
        let mut entries = locked(&self.queue.entries);
        let entry = &mut entries.0[self.at];
        let ours = entry.out == Some(self.token) && !entry.settled;
        if ours {
            entry.settled = true;
            entry.out = None;
        }
        ours
    }
}

#[async_trait]
impl Settle for Settling {
    async fn ack(&self) -> Result<bool, QueueError> {
        let away = || QueueError::Unavailable("as the schedule wants".to_owned());
        match self.queue.stage.stop_at(Point::Ack).await {
            Outcome::Fine => Ok(self.settle()),
            Outcome::Spoilt(how) => {
                self.queue.stage.fault("queue away at an ack");
                if how % 2 == 0 {
                    self.settle();
                }
                Err(away())
            }
        }
    }

    async fn retry(&self, body: &[u8], attempts: u32, tier: Tier) -> Result<(), QueueError> {
        self.queue.put(body.to_vec(), Lane::Work, attempts, tier.delay());
        self.settle();
        Ok(())
    }

    async fn bury(&self, body: &[u8], attempts: u32, _reason: &str) -> Result<(), QueueError> {
        self.queue.put(body.to_vec(), Lane::Dead, attempts, Duration::ZERO);
        self.settle();
        Ok(())
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        let mut entries = locked(&self.queue.entries);
        let entry = &mut entries.0[self.at];
        if entry.out == Some(self.token) {
            entry.out = None;
        }
    }
}

/// The words of a text that name a question: `q7`.
pub(super) fn questions(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter_map(|word| word.strip_prefix('q')?.parse().ok())
}

/// A model that answers by naming the questions it was asked.
pub(super) struct FakeModel(pub(super) Arc<Stage>);

#[async_trait]
impl Model for FakeModel {
    fn name(&self) -> &str {
        "played"
    }

    async fn complete(&self, prompt: &Prompt, _deadline: Duration) -> Result<Answer, ModelError> {
        if let Outcome::Spoilt(how) = self.0.stop_at(Point::Model).await {
            self.0.fault("model fails");
            let retry_after = Some(Duration::from_secs(3));
            return Err(match how % 7 {
                0 => ModelError::RateLimited { retry_after },
                1 => ModelError::Overloaded { status: 503, retry_after: None },
                2 => ModelError::Unreachable,
                3 => ModelError::TimedOut,
                4 => ModelError::Refused,
                5 => ModelError::ContextTooLong,
                _ => ModelError::Malformed("as the schedule wants"),
            });
        }
        let unanswered = prompt.lines().iter().rev().take_while(|line| line.role() == Role::Customer);
        let mut texts: Vec<&str> = unanswered.map(PromptLine::text).collect();
        texts.reverse();
        let named: Vec<String> =
            texts.iter().flat_map(|text| questions(text)).map(|number| format!("We have q{number}.")).collect();
        let text = if named.is_empty() { "We are here.".to_owned() } else { named.join(" ") };
        Ok(Answer { text, tokens_in: Some(1), tokens_out: Some(1), tokens_cached: None, cut: false })
    }
}

/// One call of the channel.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) actor: usize,
    pub(super) step: u64,
    pub(super) send: SendId,
    pub(super) conversation: ConversationId,
    pub(super) text: String,
    pub(super) begun: Micros,
    /// Whether the provider has it.
    pub(super) received: bool,
    /// Whether whoever called is still there and waits.
    pub(super) open: bool,
}

/// The provider's end of a channel.
pub(super) struct FakeChannel {
    pub(super) stage: Arc<Stage>,
    pub(super) now: Now,
    pub(super) calls: Arc<Mutex<Vec<Call>>>,
    pub(super) limit: usize,
    pub(super) idempotent: bool,
}

/// Marks a call as over, however its caller ends.
struct Calling<'a>(&'a FakeChannel, usize);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        locked(&self.0.calls)[self.1].open = false;
    }
}

/// The provider's id of a send.
pub(super) fn provider_id(call: usize) -> String {
    format!("played-{call}")
}

#[async_trait]
impl Channel for FakeChannel {
    fn limit(&self) -> usize {
        self.limit
    }

    fn window(&self) -> Option<Duration> {
        None
    }

    fn idempotent(&self) -> bool {
        self.idempotent
    }

    async fn send(&self, outgoing: &Outgoing) -> SendOutcome {
        let number = {
            let mut calls = locked(&self.calls);
            calls.push(Call {
                actor: self.stage.actor(),
                step: self.stage.step(),
                send: outgoing.send_id,
                conversation: outgoing.conversation,
                text: outgoing.text.clone(),
                begun: self.now.get(),
                received: false,
                open: true,
            });
            calls.len() - 1
        };
        let _calling = Calling(self, number);
        let refused = |class, code: &str| {
            SendOutcome::Refused(Refusal { class, code: code.to_owned(), retry_after: Some(Duration::from_secs(3)) })
        };
        if let Outcome::Spoilt(how) = self.stage.stop_at(Point::Channel).await {
            self.stage.fault("channel fails");
            match how % 7 {
                0 | 1 => return refused(RefusalClass::Unavailable, "not_connected"),
                2 => return refused(RefusalClass::RateLimited, "429"),
                3 => return refused(RefusalClass::Rejected, "131026"),
                4 => return SendOutcome::Unknown { why: "reset" },
                5 => return refused(RefusalClass::WindowClosed, "131047"),
                _ => {
                    locked(&self.calls)[number].received = true;
                    return SendOutcome::Unknown { why: "timeout" };
                }
            }
        }
        locked(&self.calls)[number].received = true;
        match self.stage.stop_at(Point::ChannelAnswer).await {
            Outcome::Fine => SendOutcome::Accepted { provider_id: Some(provider_id(number)) },
            Outcome::Spoilt(_) => {
                self.stage.fault("channel's answer lost");
                SendOutcome::Unknown { why: "timeout" }
            }
        }
    }
}

/// Gates that go by the schedule's clock.
pub(super) fn outages(source: &SourceName, timing: &Timing, now: &Now) -> Outages {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    let (beginning, now) = (*BEGINNING, now.clone());
    let now = Arc::new(move || beginning + now.get().since(Micros(0)));
    Outages::with_chance(&["played"], std::iter::once(source), timing, &Chance { now, dice: || 1.0 })
}
