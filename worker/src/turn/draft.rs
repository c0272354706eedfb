//! Drafting: history within its budget, one model call that a take-over or a drain can cancel, and approval.

use std::time::{Duration, Instant};

use common::domain::Speaker;
use common::metrics as names;
use common::shutdown::Stop;
use common::steps::{self, Step};
use common::store::{AttemptEnd, HandBack, StoreError};
use common::telemetry::field;

use super::path::{Exit, PathStep};
use super::{Pass, Turn};
use crate::models::{Answer, ModelError};
use crate::outages::{self, Leave};
use crate::pipeline::guardrails::{Approved, Decision, Screened};
use crate::pipeline::handoff::Plan;
use crate::pipeline::llm::{self, Draft};
use crate::pipeline::prompt::{PastLine, Prompt};
use crate::recovery::breaker::Report;

/// Lines of history looked at; the policy's token budget then decides how many the model sees.
pub(crate) const HISTORY_LINES: usize = 200;

/// How asking the model ended.
enum Asked {
    Answered(Answer),
    Failed(ModelError),
    /// The worker drains: somebody else will ask.
    Drained,
    /// The floor changed or the claim was lost.
    Lost,
}

impl Turn<'_> {
    /// The assistant's way: ask, approve, commit.
    pub(super) async fn answer(mut self, plan: Plan, questions: &[Screened], stop: Stop) -> Result<Pass, StoreError> {
        let leave = match self.desk.outages.model().enter() {
            Ok(leave) => leave,
            Err(held) => return self.held_up(held).await,
        };
        let history = self.history().await?;
        let prompt = Prompt::build(self.guardrails.policy(), &history, questions);
        match self.ask(&prompt, leave, stop).await? {
            Asked::Answered(answer) => match Draft::from_answer(&answer) {
                Ok(draft) => self.approve(plan, &draft).await,
                Err(error) => self.failed(&error).await,
            },
            Asked::Failed(error) => self.failed(&error).await,
            Asked::Drained => {
                self.desk.store.hand_back(self.claim, HandBack::Uncounted).await?;
                Ok(Pass::Left(Exit::Drained))
            }
            Asked::Lost => self.lost().await,
        }
    }

    /// What was said before, screened again under today's policy: yesterday's may have let more through.
    async fn history(&mut self) -> Result<Vec<PastLine>, StoreError> {
        let lines = self.desk.store.history(self.claim, HISTORY_LINES).await?;
        let (guardrails, talk) = (&self.guardrails, &mut self.talk);
        let past = lines.into_iter().filter_map(|line| match line.speaker {
            Speaker::Customer => guardrails.recall(&line.text, talk).map(PastLine::Customer),
            // What the customer was told back in clear goes to the model as they said it: as placeholders.
            Speaker::Business(_) => Some(PastLine::Business(talk.mask(&line.text))),
            Speaker::Record => Some(PastLine::Record(line.text)),
        });
        Ok(past.collect())
    }

    async fn ask(&mut self, prompt: &Prompt, leave: Leave, stop: Stop) -> Result<Asked, StoreError> {
        let (desk, claim) = (self.desk, self.claim);
        let (model, hash) = (desk.model.name(), prompt.hash());
        if let Some(text) = desk.store.paid_answer(claim, model, &hash).await? {
            self.path.push(model_step(model, &hash, "stored_answer", None));
            let (tokens_in, tokens_out, tokens_cached) = (None, None, None);
            return Ok(Asked::Answered(Answer { text, tokens_in, tokens_out, tokens_cached, cut: false }));
        }
        let attempt = desk.store.begin_attempt(claim, model, &hash).await?;
        steps::reached(Step::TurnAttempted);
        let begun = Instant::now();
        let asked = self.call(prompt, stop).await;
        let taken = begun.elapsed();
        leave.report(match &asked {
            Asked::Answered(_) => Report::Answered,
            Asked::Failed(error) => outages::of_model(error),
            Asked::Drained | Asked::Lost => Report::Nothing,
        });
        if matches!(asked, Asked::Answered(_)) {
            steps::reached(Step::TurnAnswered);
        }
        let word = match &asked {
            Asked::Answered(answer) if answer.cut => "answered_cut",
            Asked::Answered(_) => "answered",
            Asked::Failed(error) => error.word(),
            Asked::Drained => "drained",
            Asked::Lost => "lost",
        };
        metrics::histogram!(names::MODEL_SECONDS, "model" => model.to_owned(), "outcome" => word).record(taken);
        self.path.push(model_step(model, &hash, word, Some(taken)));
        let end = match &asked {
            Asked::Answered(answer) => {
                count_tokens(model, answer);
                let tokens = [answer.tokens_in, answer.tokens_out, answer.tokens_cached];
                AttemptEnd::Answered { text: &answer.text, tokens }
            }
            Asked::Failed(_) | Asked::Drained | Asked::Lost => AttemptEnd::Failed(word),
        };
        desk.store.end_attempt(claim, attempt, end).await?;
        if matches!(asked, Asked::Answered(_)) {
            steps::reached(Step::TurnStored);
        }
        Ok(asked)
    }

    /// The call itself, dropped as soon as the worker drains or the store says that the floor or claim has moved.
    async fn call(&self, prompt: &Prompt, mut stop: Stop) -> Asked {
        let deadline = self.desk.timing.model_deadline;
        let call = llm::ask(&*self.desk.model, prompt, deadline);
        tokio::pin!(call);
        let mut watch = tokio::time::interval(self.desk.timing.renewal);
        // A process that slept for hours asks once, not once for every renewal it missed.
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        watch.tick().await;
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer.map_or_else(Asked::Failed, Asked::Answered),
                () = stop.wait() => return Asked::Drained,
                _ = watch.tick() => {
                    // A store that does not answer proves nothing; the commit will.
                    if matches!(self.desk.store.still_ours(self.claim).await, Ok(false)) {
                        return Asked::Lost;
                    }
                }
            }
        }
    }

    async fn approve(mut self, plan: Plan, draft: &Draft) -> Result<Pass, StoreError> {
        let approval = self.guardrails.approve(draft, plan.locale(), &mut self.talk);
        let (word, rule) = match &approval.decision {
            Decision::Approved(_) => ("approved", None),
            Decision::Refused { rule } => ("refused", Some(rule.clone())),
            Decision::Handoff(call) => ("handoff", Some(call.rule.clone())),
        };
        let (policy, rules) = (self.guardrails.policy().version().to_owned(), approval.results);
        self.path.push(PathStep::Approve { outcome: word, rule, policy, rules });
        let model = Some(self.desk.model.name());
        match approval.decision {
            Decision::Approved(approved) => self.end(&plan, Some(approved), model, "answered").await,
            Decision::Refused { .. } => {
                let plan = plan.refused(approval.notice);
                self.end(&plan, None, model, "draft_refused").await
            }
            Decision::Handoff(call) => {
                let none: Option<Approved> = None;
                self.end(&plan.handed_over(call), none, model, "handed_off").await
            }
        }
    }
}

fn model_step(model: &str, prompt: &str, outcome: &'static str, taken: Option<Duration>) -> PathStep {
    let ms = taken.map(|taken| u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
    PathStep::Model { model: model.to_owned(), prompt: prompt.to_owned(), outcome, ms }
}

fn count_tokens(model: &str, answer: &Answer) {
    let counts = [("in", answer.tokens_in), ("out", answer.tokens_out), ("cached", answer.tokens_cached)];
    for (direction, count) in counts {
        let count = u64::from(count.unwrap_or(0));
        metrics::counter!(names::TOKENS, "model" => model.to_owned(), "direction" => direction).increment(count);
    }
    tracing::debug!({ field::MODEL } = model, "answered");
}
