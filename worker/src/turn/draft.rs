//! Drafting: history within its budget, what a model makes of it, and approval.

use common::domain::{Call, Speaker};
use common::metrics as names;
use common::shutdown::Stop;
use common::store::{HandBack, StoreError};
use common::telemetry::field;

use super::asking::Asked;
use super::path::{Exit, PathStep};
use super::{Pass, Turn};
use crate::pipeline::guardrails::{Approved, Decision, Screened};
use crate::pipeline::handoff::Plan;
use crate::pipeline::llm::Draft;
use crate::pipeline::prompt::{PastLine, Prompt};

/// Lines of history looked at; the policy's token budget then decides how many the model sees.
pub(crate) const HISTORY_LINES: usize = 200;

impl Turn<'_> {
    /// The assistant's way: ask, approve, commit.
    pub(super) async fn answer(mut self, plan: Plan, questions: &[Screened], stop: Stop) -> Result<Pass, StoreError> {
        let history = self.history().await?;
        let prompt = Prompt::build(self.guardrails.policy(), &history, questions);
        match self.ask(&prompt, stop).await? {
            Asked::Answered { answer, model } => match Draft::from_answer(&answer) {
                Ok(draft) => self.approve(plan, &draft, &model).await,
                Err(error) => self.failed(&error).await,
            },
            Asked::Failed(error) => self.failed(&error).await,
            Asked::Held(held) => self.held_up(held).await,
            Asked::Spent(kind) => self.spent(plan, kind).await,
            Asked::Drained => {
                self.desk.store.hand_back(self.claim, HandBack::Uncounted).await?;
                Ok(Pass::Left(Exit::Drained))
            }
            Asked::Lost => self.lost().await,
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
        });
        Ok(past.collect())
    }

    async fn approve(mut self, plan: Plan, draft: &Draft, model: &str) -> Result<Pass, StoreError> {
        let approval = self.guardrails.approve(draft, plan.locale(), &mut self.talk);
        let (word, rule) = match &approval.decision {
            Decision::Approved(_) => ("approved", None),
            Decision::Refused { rule } => ("refused", Some(rule.clone())),
            Decision::Handoff(call) => ("handoff", Some(call.rule.clone())),
        };
        let (policy, rules) = (self.guardrails.policy().version().to_owned(), approval.results);
        self.path.push(PathStep::Approve { outcome: word, rule, policy, rules });
        let model = Some(model);
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
