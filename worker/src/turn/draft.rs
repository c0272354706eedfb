//! Drafting: history within its budget, what a model makes of it, and approval.

use common::domain::{Call, Speaker};
use common::metrics as names;
use common::shutdown::Stop;
use common::store::{HandBack, StoreError};
use common::telemetry::field;
use serde_json::json;

use super::asking::Asked;
use super::path::{Exit, PathStep};
use super::{Pass, Turn};
use crate::models::Answer;
use crate::pipeline::guardrails::{Approved, Decision, Screened};
use crate::pipeline::handoff::Plan;
use crate::pipeline::llm::Draft;
use crate::pipeline::prompt::{Audience, PastLine, Prompt};
use crate::pipeline::structured;

/// Lines of history looked at; the policy's token budget then decides how many the model sees.
pub(crate) const HISTORY_LINES: usize = 200;

impl Turn<'_> {
    /// The assistant's way: what is known, else ask; read, approve, commit.
    pub(super) async fn answer(mut self, plan: Plan, questions: &[Screened], stop: Stop) -> Result<Pass, StoreError> {
        if let Some(own) = self.own_answer(&plan, questions) {
            return self.end(&plan, Some(own), None, "answered").await;
        }
        let history = self.history().await?;
        let (prompt, saved) = self.prompt(&plan, &history, questions);
        if let Some(again) = self.said_before(saved.as_deref(), &plan).await? {
            return self.end(&plan, Some(again), None, "answered").await;
        }
        let (answer, model) = match self.ask(&prompt, stop.clone()).await? {
            Asked::Answered { answer, model } => (answer, model),
            other => return self.unanswered(plan, other).await,
        };
        let saved = saved.filter(|_| self.chain.names().first() == Some(&model.as_str()));
        let made = match prompt.schema() {
            Some(_) => return self.take_apart(plan, (&prompt, saved.as_deref()), (&answer, &model), stop).await,
            None => Draft::from_answer(&answer),
        };
        match made {
            Ok(draft) => self.approve(plan, &draft, (&model, saved.as_deref())).await,
            Err(error) => self.failed(&error).await,
        }
    }

    /// What the model is given, what its answer may be kept under, and in the path what it was made of. A variant may name other models too.
    fn prompt(&mut self, plan: &Plan, history: &[PastLine], questions: &[Screened]) -> (Prompt, Option<String>) {
        let policy = self.guardrails.policy();
        let variant = policy.variant_of(&self.claim.conversation.to_string());
        // A name that no model has was refused at the start; a policy that was read again since keeps to the chain.
        if let Some(chain) = variant.and_then(|variant| self.desk.chain.of(&variant.models).ok()) {
            self.chain = chain;
        }
        let variant = variant.map(|variant| variant.name.as_str());
        let prompt = Prompt::build_for(policy, Audience { locale: plan.locale(), variant }, history, questions);
        let notes: Vec<&str> = questions.iter().flat_map(Screened::notes).map(|note| note.rule.as_str()).collect();
        self.path.push(json!({ "step": "prompt", "variant": variant, "template": policy.frame(variant).hash(),
                               "bytes": prompt.bytes(), "notes": notes }));
        let saved = self.may_be_saved(&prompt, plan, (history, questions));
        (prompt, saved)
    }

    /// There is no answer to go on with.
    async fn unanswered(self, plan: Plan, asked: Asked) -> Result<Pass, StoreError> {
        match asked {
            Asked::Failed(error) => self.failed(&error).await,
            Asked::Held(held) => self.held_up(held).await,
            Asked::Spent(kind) => self.spent(plan, kind).await,
            Asked::Drained => {
                self.desk.store.hand_back(self.claim, HandBack::Uncounted).await?;
                Ok(Pass::Left(Exit::Drained))
            }
            Asked::Lost | Asked::Answered { .. } => self.lost().await,
        }
    }

    /// An answer in JSON: taken apart, after one repair if it must be.
    async fn take_apart(
        mut self,
        plan: Plan,
        (prompt, saved): (&Prompt, Option<&str>),
        (answer, model): (&Answer, &str),
        stop: Stop,
    ) -> Result<Pass, StoreError> {
        let form = self.guardrails.policy().answer_form().clone();
        let mut said = structured::read(&answer.text, &form);
        if let Err(problem) = &said {
            self.path.push(json!({ "step": "form", "outcome": "malformed", "problem": problem }));
            said = match self.ask(&prompt.repairing(&answer.text, problem), stop).await? {
                Asked::Answered { answer, .. } => structured::read(&answer.text, &form),
                other => return self.unanswered(plan, other).await,
            };
            let outcome = if said.is_ok() { "repaired" } else { "given_up" };
            metrics::counter!(names::MALFORMED_ANSWERS, "outcome" => outcome).increment(1);
        }
        match said {
            Ok(said) => {
                let fields = json!(said.fields);
                self.path.push(json!({ "step": "form", "outcome": "read", "handoff": said.handoff, "fields": fields }));
                if said.handoff {
                    let plan = plan.handed_over(Call::because("model_asked"));
                    return self.end(&plan, None, Some(model), "handed_off").await;
                }
                self.approve(plan, &Draft::from_structured(&said), (model, saved)).await
            }
            Err(problem) => {
                self.path.push(json!({ "step": "form", "outcome": "given_up", "problem": problem }));
                self.end(&plan.failed_over(Call::because("malformed")), None, Some(model), "handed_off").await
            }
        }
    }

    /// No budget has room for an answer: a person takes over.
    async fn spent(self, plan: Plan, kind: String) -> Result<Pass, StoreError> {
        tracing::warn!({ field::OUTCOME } = "budget", "the budget of a {kind} has no room for an answer");
        metrics::counter!(names::BUDGET_ENDED, "budget" => kind).increment(1);
        let none: Option<Approved> = None;
        self.end(&plan.handed_over(Call::because("budget")), none, None, "handed_off").await
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

    async fn approve(
        mut self,
        plan: Plan,
        draft: &Draft,
        (model, saved): (&str, Option<&str>),
    ) -> Result<Pass, StoreError> {
        let approval = self.guardrails.approve(draft, plan.locale(), &mut self.talk);
        let (word, rule) = match &approval.decision {
            Decision::Approved(_) => ("approved", None),
            Decision::Refused { rule } => ("refused", Some(rule.clone())),
            Decision::Handoff(call) => ("handoff", Some(call.rule.clone())),
        };
        if let Some(saved) = saved {
            self.save(saved, draft, &approval).await;
        }
        let (policy, rules) = (self.guardrails.policy().version().to_owned(), approval.results);
        self.path.push(PathStep::Approve { outcome: word, rule, policy, rules });
        let model = Some(model);
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
