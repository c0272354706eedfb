//! The outside: customers whose provider posts what they say until it is taken, out of order and twice when it likes,
//! and reports what became of what it was sent. Everything is written down with its time, for the oracle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use common::domain::{EventId, Identity, Micros, SourceName};
use common::providers::samples::{self, Text};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stand_ins::{GraphBehaviour, GraphSend, ModelBehaviour, ModelCall};
use tokio::task::JoinSet;

use super::house::House;
use super::schedule::{Mood, Say, Schedule};
use crate::faults::repeat_marks;
use crate::stack::{APP_SECRET, message_id, meta_signature};

/// How long a provider waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// For how long it tries again.
const PERSISTENCE: Duration = Duration::from_secs(240);

/// What is known outside of one event.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The customer and the number, of a message.
    pub(crate) message: Option<(usize, u32)>,
    /// 32 hexadecimal digits.
    pub(crate) event: String,
    pub(crate) first_posted: Instant,
    /// When the first 200 came.
    pub(crate) accepted: Option<Instant>,
    pub(crate) accepted_at: Option<Micros>,
}

/// Everything that was said, and how it was answered.
#[derive(Default)]
pub(crate) struct Diary {
    told: Mutex<Vec<Told>>,
    answers: Mutex<HashMap<String, usize>>,
}

/// How the model and the provider are just now.
#[derive(Default)]
pub(crate) struct Moods {
    pub(crate) model: Mutex<Option<Mood>>,
    pub(crate) provider: Mutex<Option<Mood>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A customer's number.
pub(crate) fn name(customer: usize) -> String {
    format!("1555{customer:07}")
}

/// An event id as the witness writes it.
pub(crate) fn digits(event: EventId) -> String {
    event.to_string().replace('-', "")
}

/// The event of a customer's message.
pub(crate) fn event_of(seed: u64, customer: usize, number: u32) -> EventId {
    message_id("whatsapp", &provider_id(seed, customer, number))
}

pub(crate) fn provider_id(seed: u64, customer: usize, number: u32) -> String {
    format!("wamid.{seed}-{customer}-{number}")
}

impl Diary {
    /// Everything told so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }

    /// How often each answer came.
    pub(crate) fn answers(&self) -> HashMap<String, usize> {
        lock(&self.answers).clone()
    }

    /// Posts a body as a provider would, until it is accepted or nobody cares any more.
    pub(crate) async fn insist(
        &self,
        house: &House,
        first: usize,
        body: String,
        event: EventId,
        message: Option<(usize, u32)>,
    ) -> bool {
        let begun = Instant::now();
        let told = Told { message, event: digits(event), first_posted: begun, accepted: None, accepted_at: None };
        let place = {
            let mut all = lock(&self.told);
            all.push(told);
            all.len() - 1
        };
        let (mut ingress, mut pause) = (first, Duration::from_millis(200));
        while begun.elapsed() < PERSISTENCE {
            if self.post(house, ingress, &body).await {
                let one = &mut lock(&self.told)[place];
                one.accepted = Some(Instant::now());
                one.accepted_at = Some(Micros::wall());
                return true;
            }
            // The load balancer's next choice.
            ingress += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        false
    }

    /// Posts a body once; whether it was accepted.
    pub(crate) async fn post(&self, house: &House, ingress: usize, body: &str) -> bool {
        let url = format!("{}/webhooks/whatsapp", house.doors[ingress % house.doors.len()]);
        let signature = meta_signature(APP_SECRET, body.as_bytes());
        let request = house.http.post(url).header("X-Hub-Signature-256", signature).timeout(PATIENCE);
        let (word, accepted) = match request.body(body.to_owned()).send().await {
            Ok(answer) => {
                let (status, wait) = (answer.status(), answer.headers().contains_key("retry-after"));
                let with = if wait { " with Retry-After" } else { "" };
                (format!("{}{with}", status.as_u16()), status.is_success())
            }
            Err(error) if error.is_timeout() => ("no answer in time".to_owned(), false),
            Err(_) => ("no connection, or broken".to_owned(), false),
        };
        *lock(&self.answers).entry(word).or_default() += 1;
        accepted
    }
}

/// Lets every customer say what the schedule has for them; returns once all of it is accepted or given up.
pub(crate) async fn speak(house: &Arc<House>, diary: &Arc<Diary>, schedule: &Schedule, begun: Instant) {
    let mut customers: HashMap<usize, Vec<(Duration, Say)>> = HashMap::new();
    for (at, say) in &schedule.says {
        customers.entry(say.customer).or_default().push((*at, say.clone()));
    }
    let mut speaking = JoinSet::new();
    for says in customers.into_values() {
        speaking.spawn(customer(house.clone(), diary.clone(), schedule.seed, says, begun));
    }
    while let Some(ended) = speaking.join_next().await {
        ended.expect("a customer");
    }
}

async fn customer(house: Arc<House>, diary: Arc<Diary>, seed: u64, says: Vec<(Duration, Say)>, begun: Instant) {
    let mut beside = JoinSet::new();
    for (at, say) in says {
        tokio::time::sleep_until((begun + at).into()).await;
        let (house, diary) = (house.clone(), diary.clone());
        let loose = say.loose;
        let one = async move {
            let id = provider_id(seed, say.customer, say.number);
            let text = [Text { id: &id, from: &name(say.customer), body: &say.text }];
            let body = samples::whatsapp_texts(&text, Micros::wall());
            let event = event_of(seed, say.customer, say.number);
            let message = Some((say.customer, say.number));
            if diary.insist(&house, say.ingress, body.clone(), event, message).await && say.repeated {
                diary.post(&house, say.ingress + 1, &body).await;
            }
        };
        if loose {
            beside.spawn(one);
        } else {
            one.await;
        }
    }
    while let Some(ended) = beside.join_next().await {
        ended.expect("a message");
    }
}

/// Reports statuses of what the provider accepted: late, twice, backwards, or not at all. Until it is dropped.
pub(crate) async fn report(house: Arc<House>, diary: Arc<Diary>, seed: u64) {
    let (mut seen, mut rng, mut tasks) = (0, StdRng::seed_from_u64(seed ^ 0x57A7), JoinSet::new());
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        while tasks.try_join_next().is_some() {}
        let sends = house.graph.sends_after(seen);
        seen += sends.len();
        for send in sends {
            let mut words = vec!["sent", "delivered", "read"];
            words.truncate(rng.random_range(0..=3));
            if rng.random_bool(0.2) {
                words.reverse();
            }
            for word in words {
                let times = if rng.random_bool(0.1) { 2 } else { 1 };
                let after = Duration::from_millis(rng.random_range(0..1_500));
                let (house, diary, send) = (house.clone(), diary.clone(), send.clone());
                tasks.spawn(async move {
                    tokio::time::sleep(after).await;
                    status(&house, &diary, &send, word, times).await;
                });
            }
        }
    }
}

async fn status(house: &House, diary: &Diary, send: &GraphSend, word: &str, times: usize) {
    let Some(wamid) = &send.wamid else { return };
    let body = samples::whatsapp_status(wamid, send.callback_data.as_deref(), &send.to, word, Micros::wall());
    let identity = Identity { kind: "status", id: wamid.clone(), status: Some(word.to_owned()) };
    let event = EventId::derive(&SourceName::parse("whatsapp").expect("a name"), &identity);
    for time in 0..times {
        if time == 0 {
            diary.insist(house, wamid.len(), body.clone(), event, None).await;
        } else {
            diary.post(house, wamid.len() + 1, &body).await;
        }
    }
}

/// Gives the model and the provider their manners: mostly good, now and then not, and as their moods say.
pub(crate) fn mannered(house: &House, moods: &Arc<Moods>, seed: u64) {
    house.model.answer_with(repeat_marks);
    let (model, rng) = (moods.clone(), Mutex::new(StdRng::seed_from_u64(seed ^ 0x0D31)));
    house.model.choose_with(move |_: &ModelCall| Some(answer(*lock(&model.model), &mut lock(&rng))));
    let (provider, rng) = (moods.clone(), Mutex::new(StdRng::seed_from_u64(seed ^ 0x9A4E)));
    house.graph.choose_with(move |_: &GraphSend| Some(reception(*lock(&provider.provider), &mut lock(&rng))));
}

fn answer(mood: Option<Mood>, rng: &mut StdRng) -> ModelBehaviour {
    let soon = Duration::from_millis(rng.random_range(20..300));
    let limit = || ModelBehaviour::RateLimit { retry_after: Some("1".to_owned()) };
    match (mood, rng.random_range(0..100)) {
        (Some(Mood::Failing), _) => ModelBehaviour::Overloaded,
        (Some(Mood::Slow), _) => ModelBehaviour::Delay(soon * 10),
        (Some(Mood::Limiting), _) | (None, 0..2) => limit(),
        (Some(Mood::Hanging), _) | (None, 2) => ModelBehaviour::Hang,
        (None, 3..5) => ModelBehaviour::Overloaded,
        (None, 5..7) => ModelBehaviour::Reset,
        (None, 7) => ModelBehaviour::CutOff,
        (None, 8) => ModelBehaviour::Garbage,
        (None, 9..11) => ModelBehaviour::Twice,
        (None, _) => ModelBehaviour::Delay(soon),
    }
}

fn reception(mood: Option<Mood>, rng: &mut StdRng) -> GraphBehaviour {
    let soon = Duration::from_millis(rng.random_range(5..120));
    let limit = || GraphBehaviour::RateLimit { retry_after: Some("1".to_owned()) };
    match (mood, rng.random_range(0..100)) {
        // Certainly not taken: the rate limit in its other form.
        (Some(Mood::Failing), _) => GraphBehaviour::Refuse { http: 400, code: 80_007 },
        (Some(Mood::Slow), _) => GraphBehaviour::Delay(soon * 10),
        (Some(Mood::Limiting), _) | (None, 0..3) => limit(),
        (Some(Mood::Hanging), 0..50) | (None, 3) => GraphBehaviour::AcceptThenHang,
        (None, 4) => GraphBehaviour::ServerError,
        (None, 5..7) => GraphBehaviour::AcceptThenReset,
        (None, 7) => GraphBehaviour::ResetAfterReading,
        (None, 8) => GraphBehaviour::Garbage,
        (Some(Mood::Hanging) | None, _) => GraphBehaviour::Delay(soon),
    }
}

/// Milliseconds since 1970.
pub(crate) fn micros(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
