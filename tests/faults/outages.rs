//! A model or a channel that is out for everybody: what needs it waits without calls, and is let go when it answers.

use std::time::{Duration, Instant};

use common::metrics;
use stand_ins::{GraphBehaviour, ModelBehaviour};

use super::{dead_letters, metric, policy_text, waits};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, WHATSAPP};

const CROWD: usize = 50;
/// Turn slots: calls that may be under way when a breaker opens.
const SLOTS: usize = 4;
/// The longest that a breaker rests here.
const REST: Duration = Duration::from_secs(2);
/// The shortest: a jittered first interval.
const SHORTEST_REST: Duration = Duration::from_millis(500);

async fn embedded() -> Plan {
    let rests = [("breaker_first_seconds", 1.0), ("breaker_most_seconds", REST.as_secs_f64())];
    let plan = Plan::on(Doors::Embedded).await.with("WORKER_CONCURRENCY", &SLOTS.to_string());
    plan.file(&waits(&[rests[0], rests[1], ("holding_after_seconds", 3.0)]))
}

fn customer(number: usize) -> String {
    format!("15550{}", 100 + number)
}

async fn gate(stack: &Stack, name: &str, kind: &str) -> f64 {
    metric(stack, &stack.workers[0], name, &format!("kind=\"{kind}\"")).await
}

async fn is_open(stack: &Stack, kind: &str) -> bool {
    gate(stack, metrics::BREAKER_STATE, kind).await >= 1.0
}

/// The most calls in an outage: the failures that open the breaker, what was under way then, and the probes.
fn most_calls(since: Instant) -> usize {
    let probes = since.elapsed().as_millis() / SHORTEST_REST.as_millis();
    5 + SLOTS + usize::try_from(probes).unwrap() + 1
}

async fn crowd_speaks(stack: &Stack, count: usize) -> Vec<common::domain::EventId> {
    let mut events = Vec::new();
    for number in 0..count {
        events.push(stack.say(&customer(number), "Are you open?").await);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_outage_costs_probes_only_and_everybody_is_answered_soon_after_it() {
    let stack = embedded().await.start().await;
    stack.model.always(ModelBehaviour::Overloaded);
    let began = Instant::now();
    let events = crowd_speaks(&stack, CROWD).await;
    eventually("the crowd is held", async || {
        gate(&stack, metrics::BREAKER_HELD, "model").await >= CROWD as f64 - SLOTS as f64
    })
    .await;
    // Everybody who waits is told so, through a channel that works.
    eventually("everybody was told", async || stack.graph.sends().len() >= CROWD).await;
    let (calls, most) = (stack.model.calls().len(), most_calls(began));
    assert!(calls <= most, "{calls} calls, {most} at most");
    assert!(is_open(&stack, "model").await);

    stack.model.always(ModelBehaviour::Answer("We are.".into()));
    let over = Instant::now();
    for event in events {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    // The probe may be a whole rest away, and the machine is busy.
    assert!(over.elapsed() < REST * 2 + Duration::from_secs(10), "{:?}", over.elapsed());
    stack.settled().await;
    for number in 0..CROWD {
        assert_eq!(stack.received_by(&customer(number)), [policy_text("holding"), "We are.".to_owned()]);
    }
    assert!(dead_letters(&stack).await.is_empty());
    assert_eq!(gate(&stack, metrics::BREAKER_OPENED, "model").await, 1.0);
    eventually("nobody is held", async || gate(&stack, metrics::BREAKER_HELD, "model").await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_no_model_is_served_while_it_is_out() {
    let stack = embedded().await.start().await;
    stack.model.always(ModelBehaviour::Overloaded);
    let waiting = crowd_speaks(&stack, 8).await;
    eventually("the model is out", async || is_open(&stack, "model").await).await;
    let wants = stack.say("15550199", "I want to talk to a person").await;
    assert_eq!(stack.end_of(wants).await, "handed_off");
    eventually("it was told so", async || stack.received_by("15550199").len() == 1).await;
    assert!(is_open(&stack, "model").await);
    stack.model.always(ModelBehaviour::Reply);
    for event in waiting {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_says_how_long_to_wait_is_not_asked_before_by_anybody() {
    let stack = embedded().await.start().await;
    stack.model.next(ModelBehaviour::RateLimit { retry_after: Some("3".into()) });
    let first = stack.say(&customer(1), "Are you open?").await;
    stack.model.wait_for_calls(1).await.unwrap();
    eventually("it is out", async || is_open(&stack, "model").await).await;
    let second = stack.say(&customer(2), "Are you open?").await;
    for event in [first, second] {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    let calls = stack.model.calls();
    let waited = calls[1].at.duration_since(calls[0].at).unwrap();
    assert!(waited >= Duration::from_secs(3), "{waited:?}");
    assert_eq!(calls.len(), 3);
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_in_an_outage_leaves_what_it_held_to_the_others() {
    let mut stack = embedded().await.file(&waits(&[("breaker_first_seconds", 30.0)])).start().await;
    stack.model.always(ModelBehaviour::Overloaded);
    let events = crowd_speaks(&stack, 10).await;
    eventually("they are held", async || gate(&stack, metrics::BREAKER_HELD, "model").await >= 9.0).await;
    stack.model.always(ModelBehaviour::Reply);
    let mut drained = stack.workers.remove(0);
    assert!(drained.stop().await.success());
    stack.add_worker();
    stack.ready().await;
    let began = Instant::now();
    for event in events {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channels_outage_costs_probes_only_and_every_reply_is_sent_once_after_it() {
    let stack = embedded().await.start().await;
    // "Service unavailable", in Meta's way.
    stack.graph.always(GraphBehaviour::Refuse { http: 400, code: 131_016 });
    let began = Instant::now();
    let events = crowd_speaks(&stack, CROWD).await;
    for event in events {
        assert_eq!(stack.end_of(event).await, "replied");
    }
    eventually("the replies are held", async || {
        gate(&stack, metrics::BREAKER_HELD, "channel").await >= CROWD as f64 - SLOTS as f64
    })
    .await;
    let (calls, most) = (stack.graph.sends().len(), most_calls(began));
    assert!(calls <= most, "{calls} calls, {most} at most");

    stack.graph.always(GraphBehaviour::Accept);
    let over = Instant::now();
    let ledger = stack.settled().await;
    assert!(over.elapsed() < REST * 2 + Duration::from_secs(10), "{:?}", over.elapsed());
    assert_eq!((ledger.sends.accepted, ledger.sends.committed), (CROWD as i64, CROWD as i64));
    let taken = stack.graph.sends().into_iter().filter(|send| send.wamid.is_some());
    let customers: std::collections::HashSet<String> = taken.map(|send| send.to).collect();
    assert_eq!(customers.len(), CROWD);
    assert!(dead_letters(&stack).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_answers_with_errors_leaves_few_sends_unknown_and_the_others_wait() {
    let stack = embedded().await.start().await;
    stack.graph.always(GraphBehaviour::ServerError);
    let began = Instant::now();
    crowd_speaks(&stack, CROWD).await;
    eventually("the replies are held", async || {
        gate(&stack, metrics::BREAKER_HELD, "channel").await >= CROWD as f64 / 2.0
    })
    .await;
    stack.graph.always(GraphBehaviour::Accept);
    let most = most_calls(began);
    let ledger = stack.settled().await;
    let unknown = usize::try_from(ledger.sends.unknown).unwrap();
    assert!(unknown <= most, "{unknown} unknown, {most} at most");
    assert_eq!(ledger.sends.accepted + ledger.sends.unknown, CROWD as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_policy_says_so_a_conversation_waits_behind_its_dead_letter_until_a_person_lets_it_go_on() {
    let policy =
        include_str!("../../policies/shop.toml").replacen("[facts]", "[after_dead]\ncontext = \"hold\"\n\n[facts]", 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let file = format!("policy = \"{}\"\n{}", path.display(), super::file(WHATSAPP, &[("holding_after_seconds", 3.0)]));
    let stack = Plan::on(Doors::Embedded).await.file(&file).start().await;
    let who = customer(1);
    stack.model.always(ModelBehaviour::ContextTooLong);
    let first = stack.say(&who, "Are you open?").await;
    assert_eq!(stack.end_of(first).await, "dead");
    stack.model.always(ModelBehaviour::Answer("We are.".into()));
    let second = stack.say(&who, "And now?").await;
    let conversation = stack.conversation_of(second).await;
    eventually("it was told to wait", async || stack.received_by(&who).len() == 2).await;
    assert_eq!(stack.received_by(&who), [policy_text("failure"), policy_text("holding")]);
    let letter = dead_letters(&stack).await.remove(0);
    let (code, shown, _) = stack.handrail(&["conversation", "list", "--json"]).await;
    assert_eq!(code, 0);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown[0]["held"], &shown[0]["held_by"]), (&true.into(), &letter.id.to_string().into()));
    let calls = stack.model.calls().len();

    let (code, _, said) = stack.handrail(&["conversation", "return", &conversation.to_string()]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(stack.end_of(second).await, "replied");
    stack.settled().await;
    assert_eq!(stack.model.calls().len(), calls + 1, "no call while it was held");
    assert_eq!(stack.received_by(&who).last().unwrap(), "We are.");
}
