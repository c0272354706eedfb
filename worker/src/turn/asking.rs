//! Asking: who of the chain is asked, what that may cost, the call, which a take-over or a drain cancels, and what it
//! did cost.
//!
//! Nothing leaves before its worst case is reserved with its row, and nothing uses an answer before it is stored with
//! what it cost. A call that is cancelled has left: it is charged in full.

use std::future::Future;
use std::time::{Duration, Instant};

use common::domain::{AttemptId, Charge, Money};
use common::metrics as names;
use common::shutdown::Stop;
use common::steps::{self, Step};
use common::store::{AttemptEnd, BegunAttempt, NewAttempt, Reserve, StoreError};
use common::telemetry::field;

use super::Turn;
use super::path::PathStep;
use crate::models::chain::{self, Link, Way};
use crate::models::{Answer, ModelError};
use crate::outages;
use crate::pipeline::llm;
use crate::pipeline::prompt::Prompt;
use crate::recovery::breaker::{Held, Report};

/// How asking ended.
pub(super) enum Asked {
    /// A model answered, and the answer is stored.
    Answered {
        /// What it said.
        answer: Answer,
        /// Which model it was.
        model: String,
    },
    /// Whoever could be asked failed; the failure that leaves most hope.
    Failed(ModelError),
    /// Nobody could be asked: all are out.
    Held(Held),
    /// Nobody answered, and a budget of this kind had no room for somebody who was left.
    Spent(String),
    /// The worker drains: somebody else will ask.
    Drained,
    /// The floor changed or the claim was lost.
    Lost,
}

/// How asking one model ended.
enum One {
    Ended(Asked),
    Failed(ModelError),
    Held(Held),
    Spent(String),
}

/// How something that a take-over or a drain ends has ended.
enum Watched<T> {
    Done(T),
    Drained,
    Lost,
}

/// How a call ended.
enum Called {
    Answered(Answer),
    Failed(ModelError),
    Drained { sent: bool },
    Lost,
}

/// A call that is to be made: its model, its row, and the most that it may cost.
struct Going<'a> {
    link: &'a Link,
    attempt: AttemptId,
    most: Option<Money>,
}

/// What has come of the chain so far.
#[derive(Default)]
struct SoFar {
    failed: Option<ModelError>,
    held: Option<Held>,
    spent: Option<String>,
    /// Whether a model is asked a second time, after a wait.
    waited: bool,
}

impl SoFar {
    /// A person is better than a wait, and what was asked tells more than what was not.
    fn end(self) -> Asked {
        match (self.spent, self.failed, self.held) {
            (Some(kind), ..) => Asked::Spent(kind),
            (None, Some(failed), _) => Asked::Failed(failed),
            (None, None, Some(held)) => Asked::Held(held),
            (None, None, None) => Asked::Failed(ModelError::Unreachable),
        }
    }
}

impl Turn<'_> {
    /// Asks one model after another, until one has answered or nobody is left; the time that is left is shared alike
    /// among those who are.
    pub(super) async fn ask(&mut self, prompt: &Prompt, stop: Stop) -> Result<Asked, StoreError> {
        let hash = prompt.hash();
        if let Some(answered) = self.paid(&hash).await? {
            return Ok(answered);
        }
        let until = Instant::now() + self.desk.timing.model_deadline;
        let (mut so_far, mut next) = (SoFar::default(), Some(0));
        while let Some(at) = next {
            let link = self.chain.links()[at].clone();
            let behind = u32::try_from(self.chain.links().len() - at).unwrap_or(u32::MAX);
            let share = until.saturating_duration_since(Instant::now()) / behind;
            let way = match self.ask_one(&link, (prompt, &hash), share, &stop).await? {
                One::Ended(asked) => return Ok(asked),
                One::Held(held) => {
                    so_far.held.get_or_insert(held);
                    Way::Next
                }
                One::Spent(kind) => {
                    so_far.spent.get_or_insert(kind);
                    Way::Next
                }
                One::Failed(error) => {
                    let alone = behind == 1 || so_far.waited;
                    let way = chain::way(&error, self.guardrails.policy().after_refusal(), share, alone);
                    so_far.failed = Some(match so_far.failed.take() {
                        Some(first) => chain::more_hopeful(first, error),
                        None => error,
                    });
                    self.in_time(&link, way)
                }
            };
            so_far.waited = matches!(way, Way::Same(_));
            if let Way::Same(wait) = way {
                match self.watched(tokio::time::sleep(wait), stop.clone()).await {
                    Watched::Done(()) => {}
                    Watched::Drained => return Ok(Asked::Drained),
                    Watched::Lost => return Ok(Asked::Lost),
                }
            }
            next = self.chain.after(at, way);
        }
        Ok(so_far.end())
    }

    /// A wait for the same model lasts until its breaker lets a call through, or is none that is worth a slot.
    fn in_time(&self, link: &Link, way: Way) -> Way {
        let Way::Same(wait) = way else { return way };
        let held = self.desk.outages.model(link.name()).and_then(|gate| gate.holding());
        let wait = wait.max(held.map_or(Duration::ZERO, |held| held.probe_in));
        if wait <= chain::SHORT { Way::Same(wait) } else { Way::Next }
    }

    /// The answer that an earlier claim paid for and did not live to use.
    async fn paid(&mut self, hash: &str) -> Result<Option<Asked>, StoreError> {
        let Some(paid) = self.desk.store.paid_answer(self.claim, &self.chain.names(), hash).await? else {
            return Ok(None);
        };
        let (model, attempt) = (paid.model.clone(), Some(paid.attempt));
        let prompt = Some(hash.to_owned());
        self.path.push(PathStep::Model { model, attempt, prompt, outcome: "stored_answer", ms: None });
        let (tokens_in, tokens_out, tokens_cached) = (None, None, None);
        let answer = Answer { text: paid.text, tokens_in, tokens_out, tokens_cached, cut: false };
        Ok(Some(Asked::Answered { answer, model: paid.model }))
    }

    /// Enter, reserve, begin, call, end and settle.
    async fn ask_one(
        &mut self,
        link: &Link,
        (prompt, hash): (&Prompt, &str),
        share: Duration,
        stop: &Stop,
    ) -> Result<One, StoreError> {
        let leave = match self.desk.outages.model(link.name()).map(|gate| gate.enter()).transpose() {
            Ok(leave) => leave,
            Err(held) => {
                self.passed_over(link, "held");
                return Ok(One::Held(held));
            }
        };
        let going = match self.reserve(link, prompt, hash).await? {
            Ok(going) => going,
            Err(kind) => {
                self.passed_over(link, "budget");
                return Ok(One::Spent(kind));
            }
        };
        steps::reached(Step::TurnAttempted);
        let begun = Instant::now();
        let called = self.call(link, prompt, share, stop.clone()).await;
        if let Some(leave) = leave {
            leave.report(called.report());
        }
        if matches!(called, Called::Answered(_)) {
            steps::reached(Step::TurnAnswered);
        }
        self.close(&going, &called, hash, begun.elapsed()).await?;
        Ok(match called {
            Called::Answered(answer) => {
                steps::reached(Step::TurnStored);
                One::Ended(Asked::Answered { answer, model: link.name().to_owned() })
            }
            Called::Failed(error) => One::Failed(error),
            Called::Drained { .. } => One::Ended(Asked::Drained),
            Called::Lost => One::Ended(Asked::Lost),
        })
    }

    /// Makes room for the worst that the call can cost and writes its row; else the kind of budget that has none.
    async fn reserve<'a>(
        &self,
        link: &'a Link,
        prompt: &Prompt,
        hash: &str,
    ) -> Result<Result<Going<'a>, String>, StoreError> {
        let policy = self.guardrails.policy();
        if policy.spending().currency().is_some_and(|currency| !chain::priced_in(link, currency)) {
            return Ok(Err("unpriced".to_owned()));
        }
        let (claim, most) = (self.claim, link.most(prompt));
        let budgets = policy.spending().budgets((claim.conversation, claim.epoch), claim.contact, claim.at);
        let price = link.prices().zip(most);
        let price = price.map(|(table, most)| Reserve { prices: table.version(), currency: table.currency(), most });
        let new = NewAttempt {
            model: link.name(),
            provider: link.provider(),
            prompt: hash,
            policy: policy.version(),
            price,
            budgets: &budgets,
            held_for: self.desk.timing.model_deadline + self.desk.timing.lease,
        };
        Ok(match self.desk.store.begin_attempt(self.claim, &new).await? {
            BegunAttempt::Yes(attempt) => Ok(Going { link, attempt, most }),
            BegunAttempt::Spent(at) => Err(budgets.get(at).map_or("budget", |budget| budget.kind()).to_owned()),
        })
    }

    /// The call itself, dropped as soon as the worker drains or the store says that the floor or claim has moved.
    async fn call(&self, link: &Link, prompt: &Prompt, share: Duration, stop: Stop) -> Called {
        if stop.is_raised() {
            return Called::Drained { sent: false };
        }
        match self.watched(llm::ask(link.model(), prompt, share), stop).await {
            Watched::Done(answer) => answer.map_or_else(Called::Failed, Called::Answered),
            Watched::Drained => Called::Drained { sent: true },
            Watched::Lost => Called::Lost,
        }
    }

    async fn watched<T>(&self, what: impl Future<Output = T>, mut stop: Stop) -> Watched<T> {
        tokio::pin!(what);
        let mut watch = tokio::time::interval(self.desk.timing.renewal);
        // A process that slept for hours asks once, not once for every renewal it missed.
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        watch.tick().await;
        loop {
            tokio::select! {
                biased;
                done = &mut what => return Watched::Done(done),
                () = stop.wait() => return Watched::Drained,
                _ = watch.tick() => {
                    // A store that does not answer proves nothing; the commit will.
                    if matches!(self.desk.store.still_ours(self.claim).await, Ok(false)) {
                        return Watched::Lost;
                    }
                }
            }
        }
    }

    /// Writes down how a call ended, with what it cost, and counts it.
    async fn close(
        &mut self,
        going: &Going<'_>,
        called: &Called,
        hash: &str,
        taken: Duration,
    ) -> Result<(), StoreError> {
        let (model, word) = (going.link.name().to_owned(), called.word());
        let charge = called.charge(going.link);
        let (attempt, prompt) = (Some(going.attempt), Some(hash.to_owned()));
        let ms = Some(u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
        self.path.push(PathStep::Model { model: model.clone(), attempt, prompt, outcome: word, ms });
        metrics::histogram!(names::MODEL_SECONDS, "model" => model.clone(), "outcome" => word).record(taken);
        let end = match called {
            Called::Answered(answer) => {
                count_tokens(&model, answer);
                let tokens = [answer.tokens_in, answer.tokens_out, answer.tokens_cached];
                AttemptEnd::Answered { text: &answer.text, tokens }
            }
            Called::Failed(_) | Called::Drained { .. } | Called::Lost => AttemptEnd::Failed(word),
        };
        self.desk.store.end_attempt(self.claim, going.attempt, (end, charge), taken).await?;
        count_spend(going, charge);
        Ok(())
    }

    fn passed_over(&mut self, link: &Link, why: &'static str) {
        let model = link.name().to_owned();
        self.path.push(PathStep::Model { model, attempt: None, prompt: None, outcome: why, ms: None });
    }
}

impl Called {
    const fn word(&self) -> &'static str {
        match self {
            Self::Answered(answer) if answer.cut => "answered_cut",
            Self::Answered(_) => "answered",
            Self::Failed(error) => error.word(),
            Self::Drained { .. } => "drained",
            Self::Lost => "lost",
        }
    }

    fn report(&self) -> Report {
        match self {
            Self::Answered(_) => Report::Answered,
            Self::Failed(error) => outages::of_model(error),
            Self::Drained { .. } | Self::Lost => Report::Nothing,
        }
    }

    fn charge(&self, link: &Link) -> Charge {
        match self {
            Self::Answered(answer) => link.charge(answer),
            Self::Failed(error) => chain::charge_of(error),
            Self::Drained { sent: false } => Charge::Nothing,
            Self::Drained { sent: true } | Self::Lost => Charge::Reserved,
        }
    }
}

fn count_tokens(model: &str, answer: &Answer) {
    let counts = [("in", answer.tokens_in), ("out", answer.tokens_out), ("cached", answer.tokens_cached)];
    for (direction, count) in counts {
        let count = u64::from(count.unwrap_or(0));
        metrics::counter!(names::TOKENS, "model" => model.to_owned(), "direction" => direction).increment(count);
    }
    tracing::debug!({ field::MODEL } = model, "answered");
}

fn count_spend(going: &Going<'_>, charge: Charge) {
    let Some((prices, most)) = going.link.prices().zip(going.most) else { return };
    let model = || going.link.name().to_owned();
    let cost = match charge {
        Charge::Cost(cost) => cost,
        Charge::Reserved => most,
        Charge::Nothing => Money::ZERO,
    };
    let currency = prices.currency().unwrap_or("none").to_owned();
    metrics::counter!(names::SPEND, "model" => model(), "currency" => currency)
        .increment(u64::try_from(cost.0).unwrap_or(0));
    if charge == Charge::Reserved {
        metrics::counter!(names::SPEND_ASSUMED, "model" => model()).increment(1);
    }
    if cost > most {
        metrics::counter!(names::SPEND_ABOVE_RESERVE, "model" => model()).increment(1);
        tracing::warn!({ field::MODEL } = going.link.name(), "a call cost more than it was allowed to");
    }
}
