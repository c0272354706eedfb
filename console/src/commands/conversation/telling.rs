//! What a colleague is told of a conversation: its place in the list, and its brief.

use common::domain::{Call, ConversationId};
use common::store::{ConversationSummary, HandoffView, Store, StoreError};
use serde_json::Value;
use worker::brief::{self, Matter};
use worker::channels::Channels;
use worker::policy::Policy;

use super::show;
use crate::context::Settings;
use crate::failure::Failure;

/// A conversation with what its open handoff says of it.
pub(super) fn listed(summary: &ConversationSummary) -> Value {
    let mut value = show::summary(summary);
    let Some(handoff) = &summary.handoff else { return value };
    value["team"] = handoff.team.clone().into();
    value["priority"] = handoff.priority.as_str().into();
    value["rule"] = handoff.rule.as_str().into();
    value["due_at"] = handoff.due_at.map(|due| due.to_string()).into();
    value["sla"] = handoff.sla.as_str().into();
    value["overdue"] = handoff.overdue.into();
    let (told, open, failed) = (handoff.notices_accepted, handoff.notices_open, handoff.notices_failed);
    value["told"] = format!("{told} of {}", told + open + failed).into();
    value["handoff"] = handoff.id.to_string().into();
    value
}

/// The brief of the open handoff; `None` when there is none, or its customer was erased. It shows what was said, so the
/// audit remembers who read it.
pub(super) async fn brief(
    settings: &Settings,
    store: &Store,
    id: ConversationId,
    who: &str,
) -> Result<Option<String>, Failure> {
    let open = store.handoffs(id).await?.into_iter().rev().find(|handoff| handoff.closed_at.is_none());
    let Some(handoff) = open else { return Ok(None) };
    let policy = match &settings.config.policy {
        Some(path) => Policy::load(path),
        None => Policy::starter(),
    };
    // The floor is taken by now: a policy that is broken here and now must not hide that.
    let Ok(policy) = policy else { return Ok(None) };
    let call = call(&handoff);
    let team = policy.team(&call);
    let story = match store.story(id, team.map_or(6, |team| team.lines)).await {
        Ok(story) => story,
        Err(StoreError::Erased) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    store.audit(who, "conversation.reveal", &id.to_string(), Some("brief")).await?;
    let channels = Channels::of(&settings.config.sources, &settings.config.timing);
    let matter = Matter {
        conversation: id,
        call: &call,
        waiting_since: handoff.waiting_since,
        due_at: handoff.due_at,
        window: channels.for_source(&story.source).and_then(|channel| channel.window()),
        story: &story,
        now: store.now().await?,
    };
    Ok(Some(brief::brief(&policy, team, &matter)))
}

fn call(handoff: &HandoffView) -> Call {
    Call {
        rule: handoff.rule.clone(),
        asked: handoff.asked,
        team: handoff.team.clone(),
        priority: handoff.priority,
        summary: handoff.summary.clone(),
        evidence: handoff.evidence.clone(),
    }
}
