//! Drafting: history within its budget, one model call that a take-over or a drain can cancel, and approval.

use std::time::Instant;

use common::domain::{Call, Speaker};
use common::metrics as names;
use common::shutdown::Stop;
use common::steps::{self, Step};
use common::store::{AttemptEnd, HandBack, StoreError};
use common::telemetry::field;
use serde_json::json;

use super::{Pass, Turn};
use crate::models::{Answer, ModelError};
use crate::outages::{self, Leave};
use crate::pipeline::guardrails::{Approved, Decision, Screened};
use crate::pipeline::handoff::Plan;
use crate::pipeline::llm::{self, Draft};
use crate::pipeline::prompt::{Audience, PastLine, Prompt};
use crate::pipeline::structured;
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
    /// The assistant's way: what is known, else ask; read, approve, commit.
    pub(super) async fn answer(mut self, plan: Plan, questions: &[Screened], stop: Stop) -> Result<Pass, StoreError> {
        if let Some(own) = self.own_answer(&plan, questions) {
            return self.end(&plan, Some(own), None, "answered").await;
        }
        let history = self.history().await?;
        let prompt = self.prompt(&plan, &history, questions);
        let saved = self.may_be_saved(&prompt, &plan, (&history, questions));
        if let Some(again) = self.said_before(saved.as_deref(), &plan).await? {
            return self.end(&plan, Some(again), None, "answered").await;
        }
        let leave = match self.desk.outages.model().enter() {
            Ok(leave) => leave,
            Err(held) => return self.held_up(held).await,
        };
        let answer = match self.ask(&prompt, leave, stop.clone()).await? {
            Asked::Answered(answer) => answer,
            other => return self.unanswered(other).await,
        };
        if prompt.schema().is_some() {
            return self.take_apart(plan, (&prompt, saved.as_deref()), &answer, stop).await;
        }
        match Draft::from_answer(&answer) {
            Ok(draft) => self.approve(plan, &draft, saved.as_deref()).await,
            Err(error) => self.failed(&error).await,
        }
    }

    /// What the model is given, and in the path what it was made of.
    fn prompt(&mut self, plan: &Plan, history: &[PastLine], questions: &[Screened]) -> Prompt {
        let policy = self.guardrails.policy();
        let variant = policy.variant_of(&self.claim.conversation.to_string()).map(|variant| variant.name.as_str());
        let prompt = Prompt::build_for(policy, Audience { locale: plan.locale(), variant }, history, questions);
        let notes: Vec<&str> = questions.iter().flat_map(Screened::notes).map(|note| note.rule.as_str()).collect();
        self.path.push(json!({ "step": "prompt", "variant": variant, "template": policy.frame(variant).hash(),
                               "bytes": prompt.bytes(), "notes": notes }));
        prompt
    }

    /// There is no answer to go on with.
    async fn unanswered(self, asked: Asked) -> Result<Pass, StoreError> {
        match asked {
            Asked::Failed(error) => self.failed(&error).await,
            Asked::Drained => {
                self.desk.store.hand_back(self.claim, HandBack::Uncounted).await?;
                Ok(Pass::HandedBack)
            }
            Asked::Lost | Asked::Answered(_) => self.lost().await,
        }
    }

    /// An answer in JSON: taken apart, after one repair if it must be.
    async fn take_apart(
        mut self,
        plan: Plan,
        (prompt, saved): (&Prompt, Option<&str>),
        answer: &Answer,
        stop: Stop,
    ) -> Result<Pass, StoreError> {
        let form = self.guardrails.policy().answer_form().clone();
        let mut said = structured::read(&answer.text, &form);
        if let Err(problem) = &said {
            self.path.push(json!({ "step": "form", "outcome": "malformed", "problem": problem }));
            let leave = match self.desk.outages.model().enter() {
                Ok(leave) => leave,
                Err(held) => return self.held_up(held).await,
            };
            said = match self.ask(&prompt.repairing(&answer.text, problem), leave, stop).await? {
                Asked::Answered(again) => structured::read(&again.text, &form),
                other => return self.unanswered(other).await,
            };
            let outcome = if said.is_ok() { "repaired" } else { "given_up" };
            metrics::counter!(names::MALFORMED_ANSWERS, "outcome" => outcome).increment(1);
        }
        let model = Some(self.desk.model.name());
        match said {
            Ok(said) => {
                let fields = json!(said.fields);
                self.path.push(json!({ "step": "form", "outcome": "read", "handoff": said.handoff, "fields": fields }));
                if said.handoff {
                    let plan = plan.handed_over(Call::because("model_asked"));
                    return self.end(&plan, None, model, "handed_off").await;
                }
                self.approve(plan, &Draft::from_structured(&said), saved).await
            }
            Err(problem) => {
                self.path.push(json!({ "step": "form", "outcome": "given_up", "problem": problem }));
                self.end(&plan.failed_over(Call::because("malformed")), None, model, "handed_off").await
            }
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
        });
        Ok(past.collect())
    }

    async fn ask(&mut self, prompt: &Prompt, leave: Leave, stop: Stop) -> Result<Asked, StoreError> {
        let (desk, claim) = (self.desk, self.claim);
        let (model, hash) = (desk.model.name(), prompt.hash());
        if let Some(text) = desk.store.paid_answer(claim, model, &hash).await? {
            self.path.push(json!({ "step": "model", "model": model, "prompt": hash, "outcome": "stored_answer" }));
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
        self.path.push(json!({ "step": "model", "model": model, "prompt": hash, "outcome": word,
                               "ms": u64::try_from(taken.as_millis()).unwrap_or(u64::MAX) }));
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

    async fn approve(mut self, plan: Plan, draft: &Draft, saved: Option<&str>) -> Result<Pass, StoreError> {
        let approval = self.guardrails.approve(draft, plan.locale(), &mut self.talk);
        let (word, rule) = match &approval.decision {
            Decision::Approved(_) => ("approved", None),
            Decision::Refused { rule } => ("refused", Some(rule)),
            Decision::Handoff(call) => ("handoff", Some(&call.rule)),
        };
        self.path.push(json!({ "step": "approve", "outcome": word, "rule": rule,
                               "policy": self.guardrails.policy().version(), "rules": approval.results }));
        let model = Some(self.desk.model.name());
        if let Some(saved) = saved {
            self.save(saved, draft, &approval).await;
        }
        match approval.decision {
            Decision::Approved(approved) => {
                metrics::counter!(names::ANSWERS, "from" => "model").increment(1);
                self.end(&plan, Some(approved), model, "answered").await
            }
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

fn count_tokens(model: &str, answer: &Answer) {
    let counts = [("in", answer.tokens_in), ("out", answer.tokens_out), ("cached", answer.tokens_cached)];
    for (direction, count) in counts {
        let count = u64::from(count.unwrap_or(0));
        metrics::counter!(names::TOKENS, "model" => model.to_owned(), "direction" => direction).increment(count);
    }
    tracing::debug!({ field::MODEL } = model, "answered");
}
