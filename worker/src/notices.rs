//! Notices: teams are told of conversations that wait for them, through an outbox of their own.
//!
//! What is said was written and sealed with the handoff. Any worker tells it, at least once: whoever begins a notice has
//! it until a deadline, what fails is tried again as [`recovery`] decides, and every try carries the notice's own id, by
//! which a receiver knows a second one. Nothing of it is logged but its id, its destination's name and how it ended.

mod email;
mod mouth;
mod post;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::config::{Config, Notify, NotifyWay};
use common::domain::{Micros, NoticeId, NoticeKind, Provider};
use common::metrics as names;
use common::shutdown::Stop;
use common::store::{BegunNotice, NewNotice, StoreError, Told};
use common::telemetry::field;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify as Bell;

use crate::brief::{self, Matter};
use crate::channels::{Channels, Refusal, RefusalClass, SendOutcome};
use crate::chores::every;
use crate::desk::Desk;
use crate::policy::{Policy, Team};
use crate::recovery::{self, Class, Decision, Failure};

/// How many notices one round looks at, and how many are told at once.
const ROUND: usize = 64;
const AT_ONCE: usize = 8;
/// How much longer than its timeout a begun notice may take before another worker begins it again.
const GRACE: Duration = Duration::from_secs(5);

/// What a team is told. Holds personal data.
#[derive(Clone, Serialize, Deserialize)]
pub struct Message {
    /// The event's type, for programs: `handoff.opened`, `handoff.overdue`.
    pub kind: String,
    /// One line that names nobody.
    pub subject: String,
    /// The brief.
    pub text: String,
    /// The same facts, for programs.
    pub data: serde_json::Value,
}

/// A way to a team.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Tells once, within the timeout it was built with, under this id.
    async fn tell(&self, notice: &BegunNotice, message: &Message) -> SendOutcome;
}

/// Every configured destination, and the bell that says that something is to be told.
#[derive(Default)]
pub struct Notifiers {
    by_name: HashMap<String, Arc<dyn Notifier>>,
    bell: Bell,
}

impl Notifiers {
    /// Makes ready what is configured.
    ///
    /// # Errors
    /// The destination that cannot be used, by its name, and why.
    pub fn of(config: &Config, channels: &Channels) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        for notify in &config.notify {
            let notifier = notifier(notify, channels, config);
            by_name.insert(notify.name.clone(), notifier.map_err(|why| format!("notify '{}': {why}", notify.name))?);
        }
        Ok(Self { by_name, bell: Bell::new() })
    }

    /// Destinations that a policy names and nothing here is behind.
    #[must_use]
    pub fn missing(&self, policy: &Policy) -> BTreeSet<String> {
        let named = policy.teams().iter().flat_map(Team::destinations);
        named.filter(|name| !self.by_name.contains_key(*name)).cloned().collect()
    }

    /// Something is to be told.
    pub fn ring(&self) {
        self.bell.notify_one();
    }
}

fn notifier(notify: &Notify, channels: &Channels, config: &Config) -> Result<Arc<dyn Notifier>, String> {
    let timeout = config.timing.send_timeout;
    Ok(match &notify.way {
        NotifyWay::Webhook { url, secret } => {
            Arc::new(post::Webhook::new(&notify.name, url.clone(), secret.clone(), timeout)?)
        }
        NotifyWay::Slack { url } => Arc::new(post::Slack::new(&notify.name, url, timeout)?),
        NotifyWay::Email { server, from, to } => Arc::new(email::Email::new(server, from, to, timeout)?),
        NotifyWay::Whatsapp { source, to } => {
            let known = config.sources.get(source).ok_or_else(|| format!("there is no source '{source}'"))?;
            if known.provider != Provider::Whatsapp || known.phone_number_id.is_none() {
                return Err(format!(
                    "the source '{source}' is no WhatsApp source with a phone_number_id to write from"
                ));
            }
            let channel = channels.for_source(source).ok_or_else(|| format!("there is no source '{source}'"))?;
            Arc::new(mouth::Mouth::new(channel, to.clone()))
        }
    })
}

/// The notices of a matter to everyone whom its team tells.
#[must_use]
pub fn about(policy: &Policy, team: &Team, kind: NoticeKind, matter: &Matter<'_>) -> Vec<NewNotice> {
    let message = message(policy, team, kind, matter);
    // A message is maps, lists and texts: it can always be written.
    let Ok(body) = serde_json::to_string(&message) else { return Vec::new() };
    let escalated: &[String] = if kind == NoticeKind::Overdue { &team.escalate } else { &[] };
    let destinations: BTreeSet<&String> = team.notify.iter().chain(escalated).collect();
    let notice = |destination: &String| NewNotice {
        id: NoticeId::random(),
        destination: destination.clone(),
        kind,
        body: body.clone(),
    };
    destinations.into_iter().map(notice).collect()
}

fn message(policy: &Policy, team: &Team, kind: NoticeKind, matter: &Matter<'_>) -> Message {
    let (call, story) = (matter.call, matter.story);
    let priority = call.priority.as_str();
    let what = match kind {
        NoticeKind::Opened => "a customer waits for a person",
        NoticeKind::Overdue => "a customer still waits for a first answer",
    };
    let text = brief::brief(policy, Some(team), matter);
    let data = json!({
        "conversation": matter.conversation, "source": story.source.as_str(), "locale": story.locale,
        "team": team.name, "priority": priority, "rule": call.rule, "asked": call.asked,
        "waiting_since": matter.waiting_since.to_string(), "due_at": matter.due_at.map(|due| due.to_string()),
        "contact": brief::contact(&story.party.address, team.contact),
    });
    Message {
        kind: format!("handoff.{}", kind.as_str()),
        subject: format!("[{priority}] {}: {what}", team.label),
        text,
        data,
    }
}

/// Tells what is due until the worker drains.
pub async fn run(desk: Arc<Desk>, mut stop: Stop) {
    let mut tick = every(desk.timing.sweep);
    let drains = stop.clone();
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = tick.tick() => {}
            () = desk.notifiers.bell.notified() => {}
        }
        if let Err(error) = tell_due(&desk, &drains).await {
            tracing::warn!({ field::ERROR } = %error, "notices could not be told");
        }
    }
}

/// Tells everything that is due, once.
///
/// # Errors
/// [`StoreError::Unavailable`]; the next round does the rest.
pub async fn tell_due(desk: &Desk, drains: &Stop) -> Result<(), StoreError> {
    let due = desk.store.due_notices(ROUND).await?;
    futures_util::stream::iter(due)
        .for_each_concurrent(AT_ONCE, async |id| {
            if drains.is_raised() {
                return;
            }
            if let Err(error) = tell(desk, id).await {
                tracing::warn!({ field::NOTICE } = %id, { field::ERROR } = %error, "a notice waits for the store");
            }
        })
        .await;
    Ok(())
}

async fn tell(desk: &Desk, id: NoticeId) -> Result<(), StoreError> {
    let patience = desk.timing.send_timeout + GRACE;
    let Some(notice) = desk.store.begin_notice(id, desk.worker, patience).await? else { return Ok(()) };
    let outcome = match (desk.notifiers.by_name.get(&notice.destination), serde_json::from_str(&notice.body)) {
        (None, _) => refused(RefusalClass::NotConfigured, "no_such_destination"),
        (_, Err(_)) => refused(RefusalClass::Rejected, "unreadable"),
        (Some(notifier), Ok(message)) => notifier.tell(&notice, &message).await,
    };
    let told = judged(outcome, &notice, desk.store.now().await?, (desk.dice)());
    let word = match &told {
        Told::Accepted => "accepted",
        Told::Again(..) => "retried",
        Told::Refused(_) => "refused",
        Told::Unknown(_) => "unknown",
    };
    metrics::counter!(names::NOTICES, "destination" => notice.destination.clone(), "outcome" => word).increment(1);
    let code = match &told {
        Told::Accepted => "",
        Told::Again(_, code) | Told::Refused(code) | Told::Unknown(code) => code,
    };
    if matches!(told, Told::Refused(_) | Told::Unknown(_)) {
        tracing::error!({ field::NOTICE } = %id, { field::DESTINATION } = notice.destination, { field::OUTCOME } = word,
                        { field::CODE } = code, "a team was not told, for all we know");
    } else {
        tracing::info!({ field::NOTICE } = %id, { field::DESTINATION } = notice.destination, { field::OUTCOME } = word,
                       { field::CODE } = code, "a notice ended");
    }
    desk.store.finish_notice(id, desk.worker, notice.attempts, told).await.map(drop)
}

/// What an outcome means, by recovery's judgement. An unknown one is tried again, unlike a customer's reply: a team that
/// hears twice knows the second by its id, and one that does not hear leaves a customer alone.
fn judged(outcome: SendOutcome, notice: &BegunNotice, now: Micros, roll: f64) -> Told {
    let (class, retry_after, code, arrived) = match outcome {
        SendOutcome::Accepted { .. } => return Told::Accepted,
        SendOutcome::Refused(Refusal { class, code, retry_after }) => (Class::from(class), retry_after, code, false),
        SendOutcome::Unknown { why } => (Class::Transient, None, why.to_owned(), true),
    };
    let failure = Failure { class, retry_after, messages: 1 };
    let attempts = u32::try_from(notice.attempts).unwrap_or(u32::MAX);
    match recovery::decide(&failure, attempts, now.since(notice.created_at), roll) {
        Decision::RetryAfter(after)
        | Decision::OneByOne(after)
        | Decision::Alone(after)
        | Decision::Hold(after)
        | Decision::Pause(after) => Told::Again(now + after, code),
        Decision::DeadLetter(_) if arrived => Told::Unknown(code),
        Decision::DeadLetter(_) => Told::Refused(code),
    }
}

fn refused(class: RefusalClass, code: &str) -> SendOutcome {
    SendOutcome::Refused(Refusal { class, code: code.to_owned(), retry_after: None })
}

#[cfg(test)]
mod tests {
    use common::domain::ConversationId;

    use super::*;

    fn notice(attempts: i64) -> BegunNotice {
        BegunNotice {
            id: NoticeId::random(),
            conversation: ConversationId::random(),
            destination: "desk".into(),
            kind: NoticeKind::Opened,
            body: String::new(),
            attempts,
            created_at: Micros(0),
        }
    }

    #[test]
    fn what_may_not_have_arrived_is_told_again_and_in_the_end_called_unknown() {
        let unknown = SendOutcome::Unknown { why: "timeout" };
        let day = Micros(0) + Duration::from_hours(25);
        assert!(matches!(judged(unknown.clone(), &notice(1), Micros(0), 0.5), Told::Again(..)));
        assert_eq!(judged(unknown, &notice(5), Micros(0), 0.5), Told::Unknown("timeout".into()));
        let away = refused(RefusalClass::Unavailable, "503");
        assert!(matches!(judged(away.clone(), &notice(500), Micros(1), 0.5), Told::Again(..)));
        assert_eq!(judged(away, &notice(2), day, 0.5), Told::Refused("503".into()));
        assert_eq!(judged(refused(RefusalClass::Rejected, "400"), &notice(1), day, 0.5), Told::Refused("400".into()));
        assert_eq!(judged(SendOutcome::Accepted { provider_id: None }, &notice(1), day, 0.5), Told::Accepted);
    }
}
