//! What needs no model: the policy's own answers, and those that were given before.

use std::time::Duration;

use common::metrics as names;
use common::store::StoreError;
use common::telemetry::field;
use serde_json::json;

use super::Turn;
use crate::models::Answer;
use crate::pipeline::guardrails::{Approval, Approved, Decision, Screened};
use crate::pipeline::handoff::Plan;
use crate::pipeline::llm::Draft;
use crate::pipeline::prompt::{PastLine, Prompt};
use crate::pipeline::saved::{self, Tenant};
use crate::policy::RuleMode;

impl Turn<'_> {
    /// The policy's own answer, where a single message is exactly one of its questions.
    pub(super) fn own_answer(&mut self, plan: &Plan, questions: &[Screened]) -> Option<Approved> {
        let question = self.single(questions)?;
        let (name, answer) = self.guardrails.faq(question, plan.locale())?;
        let policy = self.guardrails.policy().version();
        self.path.push(json!({ "step": "faq", "faq": name, "locale": answer.locale(), "policy": policy }));
        metrics::counter!(names::ANSWERS, "from" => "faq").increment(1);
        Some(answer)
    }

    /// The only message of a turn, where it is one.
    fn single<'q>(&self, questions: &'q [Screened]) -> Option<&'q Screened> {
        match questions {
            [question] if self.taken.len() == 1 => Some(question),
            _ => None,
        }
    }

    /// What an answer would be kept under: only a conversation's first message, for nothing before it can matter.
    pub(super) fn may_be_saved(
        &self,
        prompt: &Prompt,
        plan: &Plan,
        (history, questions): (&[PastLine], &[Screened]),
    ) -> Option<String> {
        let policy = self.guardrails.policy();
        if policy.cache().mode == RuleMode::Off || !history.is_empty() {
            return None;
        }
        let tenant = Tenant {
            source: self.claim.source.as_str(),
            policy: policy.version(),
            model: self.chain.names().first().copied().unwrap_or_default(),
            locale: plan.locale(),
        };
        saved::key(self.single(questions)?, prompt, tenant, policy.cache().max_characters)
    }

    /// What was answered before, if today's rules let it be said again. In shadow it is only told.
    pub(super) async fn said_before(
        &mut self,
        saved: Option<&str>,
        plan: &Plan,
    ) -> Result<Option<Approved>, StoreError> {
        let Some(saved) = saved else { return Ok(None) };
        let known = self.desk.store.saved_answer(saved).await?;
        let enforced = self.guardrails.policy().cache().mode == RuleMode::Enforce;
        let (outcome, again) = match known {
            None => ("miss", None),
            Some(_) if !enforced => ("would_hit", None),
            Some(text) => match self.approve_again(text, plan) {
                Some(approved) => ("hit", Some(approved)),
                None => ("refused", None),
            },
        };
        self.path.push(json!({ "step": "saved", "outcome": outcome }));
        metrics::counter!(names::SAVED_ANSWERS, "outcome" => outcome).increment(1);
        if again.is_some() {
            metrics::counter!(names::ANSWERS, "from" => "saved").increment(1);
        }
        Ok(again)
    }

    fn approve_again(&mut self, text: String, plan: &Plan) -> Option<Approved> {
        let (tokens_in, tokens_out, tokens_cached) = (None, None, None);
        let draft = Draft::from_answer(&Answer { text, tokens_in, tokens_out, tokens_cached, cut: false }).ok()?;
        match self.guardrails.approve(&draft, plan.locale(), &mut self.talk).decision {
            Decision::Approved(approved) => Some(approved),
            Decision::Refused { .. } | Decision::Handoff(_) => None,
        }
    }

    /// Keeps a draft that was approved as it stands. It is a convenience: a store that cannot keep it loses nothing.
    pub(super) async fn save(&mut self, saved: &str, draft: &Draft, approval: &Approval) {
        let cache = self.guardrails.policy().cache();
        let as_it_stands = match &approval.decision {
            Decision::Approved(approved) => approved.text() == draft.text(),
            Decision::Refused { .. } | Decision::Handoff(_) => false,
        };
        let found = approval.results.iter().any(|result| result.hit && result.mode == RuleMode::Enforce);
        if !as_it_stands || found {
            return;
        }
        let last = Duration::from_secs(u64::from(cache.hours) * 3_600);
        if let Err(error) = self.desk.store.save_answer(saved, draft.text(), last, cache.max_rows).await {
            tracing::warn!({ field::ERROR } = %error, "an answer could not be kept");
        }
    }
}
