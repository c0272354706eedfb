//! Calling people: what a turn that hands off writes down and whom it tells, and the word to a customer who writes again.

use common::domain::{Call, Content, HandoffId, Line, NoticeKind, Speaker};
use common::store::{NewHandoff, StoreError};

use super::Turn;
use crate::brief::Matter;
use crate::notices;

impl Turn<'_> {
    /// A customer wrote while people have the conversation, or are to have it, and has not heard a word for as long as
    /// the policy's window. What was there before they came is what they came for.
    pub(super) fn courtesy_is_due(&self) -> bool {
        let Some(window) = self.guardrails.policy().floor().courtesy() else { return false };
        let quiet = self.claim.heard_at.is_none_or(|heard| heard + window <= self.claim.at);
        let wrote = |since| self.taken.iter().any(|message| message.accepted_at > since);
        quiet && self.claim.floor_since.is_some_and(wrote)
    }

    /// The handoff of a call: its team, the time that the team has since the customer began to wait, and its notices.
    pub(super) async fn calling(&self, call: &Call) -> Result<NewHandoff, StoreError> {
        let (policy, claim) = (self.guardrails.policy(), self.claim);
        let team = policy.team(call);
        let time = team.and_then(|team| team.first_answer);
        let calendar = policy.hours().calendar();
        let due_at = time.map(|time| calendar.business_time_after(claim.waiting_since, time));
        let call = Call { team: team.map(|team| team.name.clone()).or_else(|| call.team.clone()), ..call.clone() };
        let mut notices = Vec::new();
        if let Some(team) = team.filter(|team| !team.notify.is_empty()) {
            let mut story = self.desk.store.story(claim.conversation, team.lines).await?;
            story.lines.extend(self.asked());
            let matter = Matter {
                conversation: claim.conversation,
                call: &call,
                waiting_since: claim.waiting_since,
                due_at,
                window: self.desk.channels.for_source(&claim.source).and_then(|channel| channel.window()),
                story: &story,
                now: claim.at,
            };
            notices = notices::about(policy, team, NoticeKind::Opened, &matter);
        }
        Ok(NewHandoff { id: HandoffId::random(), call, waiting_since: claim.waiting_since, due_at, notices })
    }

    /// What this turn hands over, as lines that are not in the history yet.
    fn asked(&self) -> impl Iterator<Item = Line> {
        self.taken.iter().filter_map(|message| {
            let text = match message.content.as_ref()? {
                Content::Text(text) => text.clone(),
                Content::Unreadable(what) => format!("[{what}]"),
            };
            Some(Line { speaker: Speaker::Customer, at: message.accepted_at, text })
        })
    }
}
