//! Chores: what no message asks for. Each is idempotent and run by every worker; the store's conditions decide who
//! of them does a thing.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{ConversationId, NoticeKind};
use common::metrics as names;
use common::queue::Queue;
use common::shutdown::Stop;
use common::store::{ExpiredFloor, OverdueHandoff, StoreError, WaitingConversation};
use common::telemetry::field;
use common::trace::TraceContext;
use tokio::time::MissedTickBehavior;

use crate::brief::Matter;
use crate::desk::Desk;
use crate::notices;
use crate::policy::{Notice, OnUnknown};

/// How many rows one round of a chore looks at.
const ROUND: usize = 100;
/// Sends of an idempotent channel are repeated so often while their outcome is unknown.
const RESENDS: i64 = 5;
/// How often early statuses are forgotten and depths measured.
const SLOW: Duration = Duration::from_secs(10);

/// Keeps this worker's claims alive until the stop: one statement for all turns, one for all deliveries.
pub async fn renew(desk: Arc<Desk>, mut stop: Stop) {
    let mut tick = every(desk.timing.renewal);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = tick.tick() => {
                if let Err(error) = desk.store.renew(desk.worker).await {
                    tracing::warn!({ field::ERROR } = %error, "claims could not be renewed");
                }
            }
        }
    }
}

/// Looks after unknown sends, expired floors and customers who have waited too long.
pub async fn tend(desk: Arc<Desk>, mut stop: Stop) {
    let mut tick = every(desk.timing.sweep);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = tick.tick() => {
                if let Err(error) = round(&desk).await {
                    tracing::warn!({ field::ERROR } = %error, "a chore could not be done");
                }
            }
        }
    }
}

/// Measures depths and ages, and forgets what nobody needs any more.
pub async fn measure(desk: Arc<Desk>, queue: Arc<dyn Queue>, mut stop: Stop) {
    let mut tick = every(SLOW);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = tick.tick() => {}
        }
        if let Ok(depths) = queue.depths().await {
            for depth in depths {
                metrics::gauge!(names::QUEUE_DEPTH, "queue" => depth.name.clone(), "state" => "ready")
                    .set(depth.ready as f64);
                if let Some(unacked) = depth.unacked {
                    metrics::gauge!(names::QUEUE_DEPTH, "queue" => depth.name.clone(), "state" => "unacked")
                        .set(unacked as f64);
                }
                if let Some(consumers) = depth.consumers {
                    metrics::gauge!(names::QUEUE_CONSUMERS, "queue" => depth.name.clone()).set(consumers as f64);
                }
                let oldest = depth.oldest_seconds.unwrap_or(0) as f64;
                metrics::gauge!(names::QUEUE_OLDEST_SECONDS, "queue" => depth.name).set(oldest);
            }
        }
        if let Ok(oldest) = desk.store.oldest_waiting().await {
            metrics::gauge!(names::TURNS_WAITING_SECONDS).set(oldest.as_secs_f64());
        }
        if let Err(error) = desk.store.forget_failures().await {
            tracing::warn!({ field::ERROR } = %error, "old failed attempts could not be forgotten");
        }
        if let Ok(held) = desk.store.held_conversations().await {
            metrics::gauge!(names::CONVERSATIONS_HELD).set(held as f64);
        }
        if let Err(error) = desk.store.forget_budgets().await {
            tracing::warn!({ field::ERROR } = %error, "old budgets could not be forgotten");
        }
        measure_handoffs(&desk).await;
        if let Err(error) = desk.store.forget_early_statuses().await {
            tracing::warn!({ field::ERROR } = %error, "early statuses could not be forgotten");
        }
    }
}

/// A store that is away measures nothing.
async fn measure_handoffs(desk: &Desk) {
    if let Ok(counts) = desk.store.handoff_counts().await {
        for (state, count) in [
            ("unclaimed", counts.unclaimed),
            ("claimed", counts.claimed),
            ("overdue", counts.overdue),
            ("met", counts.met),
            ("missed", counts.missed),
        ] {
            metrics::gauge!(names::HANDOFFS_NOW, "state" => state).set(count as f64);
        }
    }
    if let Ok((open, failed)) = desk.store.notice_counts().await {
        metrics::gauge!(names::NOTICES_NOW, "state" => "open").set(open as f64);
        metrics::gauge!(names::NOTICES_NOW, "state" => "failed").set(failed as f64);
    }
}

/// Every chore once.
///
/// # Errors
/// [`StoreError::Unavailable`]; the next round does the rest.
pub async fn round(desk: &Desk) -> Result<(), StoreError> {
    close_unknown_sends(desk).await?;
    return_floors(desk).await?;
    charge_lost_calls(desk).await?;
    remind_teams(desk).await?;
    say_holding(desk).await
}

/// A call whose worker died may have left, and is charged as if it had.
async fn charge_lost_calls(desk: &Desk) -> Result<(), StoreError> {
    let expired = desk.store.expire_attempts().await?;
    if expired > 0 {
        metrics::counter!(names::ATTEMPTS_EXPIRED).increment(expired);
        tracing::warn!({ field::COUNT } = expired, { field::OUTCOME } = "expired", "model calls ended without a word");
    }
    Ok(())
}

/// An idempotent receiver drops a second send with the same id, so asking again is safe; elsewhere policy decides.
async fn close_unknown_sends(desk: &Desk) -> Result<(), StoreError> {
    for send in desk.store.open_unknowns(ROUND).await? {
        let idempotent = desk.channels.for_source(&send.source).is_some_and(|channel| channel.idempotent());
        let resend = match desk.guardrails().policy().on_unknown() {
            OnUnknown::Resend => send.attempts <= 1 || (idempotent && send.attempts < RESENDS),
            OnUnknown::Silent => idempotent && send.attempts < RESENDS,
        };
        desk.store.close_unknown(send.id, resend).await?;
        tracing::warn!({ field::SEND } = %send.id, { field::OUTCOME } = if resend { "resent" } else { "left_unknown" },
                       "nobody knows whether a send arrived");
        if resend {
            desk.deliveries.ring(send.conversation, Duration::ZERO);
        }
    }
    Ok(())
}

/// A customer who asked for a person is never stranded: the floor returns by itself, with a word where nobody came.
async fn return_floors(desk: &Desk) -> Result<(), StoreError> {
    let guardrails = desk.guardrails();
    let rules = guardrails.policy().floor();
    let within = desk.timing.floor_return;
    let (unclaimed, idle) = (rules.unclaimed().unwrap_or(within), rules.idle().unwrap_or(within));
    for floor in desk.store.expired_floors(unclaimed, idle, ROUND).await? {
        alone(floor.conversation, return_floor(desk, &floor).await)?;
    }
    Ok(())
}

async fn return_floor(desk: &Desk, floor: &ExpiredFloor) -> Result<(), StoreError> {
    let guardrails = desk.guardrails();
    let locale = floor.locale.as_deref().unwrap_or_else(|| guardrails.policy().default_locale());
    let source = desk.store.source_of(floor.conversation).await?;
    let word = guardrails.notice(&Notice::Returned, locale);
    let parts = desk.parts(&source, &word, "returned", TraceContext::start());
    let parts = if floor.unclaimed { parts } else { Vec::new() };
    if desk.store.expire_floor(floor, &parts).await? {
        tracing::info!({ field::CONVERSATION } = %floor.conversation, { field::OUTCOME } = "returned",
                       "a floor returned to the assistant");
        desk.deliveries.ring(floor.conversation, Duration::ZERO);
        desk.turns.ring(floor.conversation, Duration::ZERO);
    }
    Ok(())
}

/// A first answer that is overdue is written down, and its team told again, in business time.
async fn remind_teams(desk: &Desk) -> Result<(), StoreError> {
    for handoff in desk.store.overdue_handoffs(ROUND).await? {
        match remind(desk, &handoff).await {
            Ok(()) => {}
            // Nobody is left to be answered.
            Err(StoreError::Erased) => drop(desk.store.forget_reminder(handoff.id).await?),
            Err(error) => alone(handoff.conversation, Err(error))?,
        }
    }
    Ok(())
}

async fn remind(desk: &Desk, handoff: &OverdueHandoff) -> Result<(), StoreError> {
    let guardrails = desk.guardrails();
    let (policy, now) = (guardrails.policy(), desk.store.now().await?);
    let team = policy.team(&handoff.call);
    let again = team.filter(|team| handoff.reminders + 1 < i64::from(team.reminders)).and_then(|team| team.remind);
    let next = again.map(|time| policy.hours().calendar().business_time_after(now, time));
    let notices = match team.filter(|team| team.reminders > 0) {
        Some(team) => {
            let story = desk.store.story(handoff.conversation, team.lines).await?;
            let matter = Matter {
                conversation: handoff.conversation,
                call: &handoff.call,
                waiting_since: handoff.waiting_since,
                due_at: handoff.due_at,
                window: desk.channels.for_source(&story.source).and_then(|channel| channel.window()),
                story: &story,
                now,
            };
            notices::about(policy, team, NoticeKind::Overdue, &matter)
        }
        None => Vec::new(),
    };
    if desk.store.remind(handoff, next, &notices).await? {
        tracing::warn!({ field::CONVERSATION } = %handoff.conversation, { field::OUTCOME } = "overdue",
                       "a first answer is overdue");
        desk.notifiers.ring();
    }
    Ok(())
}

async fn say_holding(desk: &Desk) -> Result<(), StoreError> {
    for waiting in desk.store.waiting_too_long(ROUND).await? {
        alone(waiting.conversation, ask_for_patience(desk, &waiting).await)?;
    }
    Ok(())
}

async fn ask_for_patience(desk: &Desk, waiting: &WaitingConversation) -> Result<(), StoreError> {
    let guardrails = desk.guardrails();
    let locale = waiting.locale.as_deref().unwrap_or_else(|| guardrails.policy().default_locale());
    let source = desk.store.source_of(waiting.conversation).await?;
    let word = guardrails.notice(&Notice::Holding, locale);
    let parts = desk.parts(&source, &word, "holding", TraceContext::start());
    if desk.store.say_holding(waiting.conversation, &parts).await? {
        desk.deliveries.ring(waiting.conversation, Duration::ZERO);
    }
    Ok(())
}

/// What fails for one conversation, since its key does not open for instance, is no reason not to serve the others.
fn alone(conversation: ConversationId, done: Result<(), StoreError>) -> Result<(), StoreError> {
    match done {
        Err(error) if !matches!(error, StoreError::Unavailable(_)) => {
            tracing::error!({ field::CONVERSATION } = %conversation, { field::ERROR } = %error, "a chore failed");
            Ok(())
        }
        done => done,
    }
}

/// Ticks that never catch up.
pub(crate) fn every(period: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(period.max(Duration::from_millis(10)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
