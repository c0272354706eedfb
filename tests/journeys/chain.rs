//! Several models: who answers when one does not, in which time, and what each call cost.

use std::time::{Duration, Instant};

use common::domain::{Micros, Money, Prices, Usage};
use common::metrics;
use common::store::AttemptView;
use stand_ins::{FakeModel, ModelBehaviour, refusing_url};

use crate::contracts::eventually;
use crate::faults::{metric, policy_text};
use crate::stack::{Doors, Plan, Stack, WHATSAPP};

const CUSTOMER: &str = "15550120";

/// Two models of two providers; the second knows more words and costs more.
const CHAIN: &str = r#"
[[model]]
name = "first"
provider = "north"
protocol = "openai"
base_url = "${LLM_BASE_URL}"
model = "small"
context_tokens = 8000
[model.price]
currency = "USD"
input = "1"
cached_input = "0.5"
output = "2"

[[model]]
name = "second"
protocol = "anthropic"
base_url = "${SECOND_BASE_URL}"
model = "large"
context_tokens = 16000
[model.price]
currency = "USD"
input = "3"
output = "15"
"#;

/// A deployment of both, with these waits beside the usual ones.
async fn two_models(doors: Doors, waits: &[(&str, f64)]) -> (Stack, FakeModel) {
    let second = FakeModel::start().await.unwrap();
    second.always(ModelBehaviour::Answer("The second says so.".into()));
    let plan = Plan::on(doors).await.with("SECOND_BASE_URL", &second.url());
    (plan.file(&crate::faults::file(&format!("{WHATSAPP}{CHAIN}"), waits)).start().await, second)
}

async fn attempts(stack: &Stack, event: common::domain::EventId) -> Vec<AttemptView> {
    stack.store.attempts(stack.conversation_of(event).await).await.unwrap()
}

/// `model at provider: how it ended`, of each call.
fn told(attempts: &[AttemptView]) -> Vec<String> {
    let ended = |attempt: &AttemptView| attempt.error.clone().unwrap_or_else(|| attempt.state.clone());
    let provider = |attempt: &AttemptView| attempt.provider.clone().unwrap_or_default();
    attempts.iter().map(|call| format!("{} at {}: {}", call.model, provider(call), ended(call))).collect()
}

async fn where_the_first_model_is_overloaded_the_second_answers_and_both_calls_are_accounted_for(doors: Doors) {
    let (stack, second) = two_models(doors, &[]).await;
    stack.model.next(ModelBehaviour::Overloaded);
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER), ["The second says so."]);
    assert_eq!((stack.model.calls().len(), second.calls().len()), (1, 1));
    let attempts = attempts(&stack, event).await;
    assert_eq!(told(&attempts), ["first at north: overloaded", "second at 127.0.0.1: answered"]);
    // Nobody says what the failed call used: it is charged what was reserved for it.
    assert!(attempts[0].cost.is_some() && attempts[0].cost == attempts[0].reserved, "{attempts:?}");
    let tokens = attempts[1].tokens.map(|count| u64::try_from(count.expect("the stand-in counts")).unwrap());
    let price = |text: &str| text.parse::<Money>().unwrap();
    let prices = Prices::new("USD", price("3"), price("3"), price("15"));
    let cost = prices.cost(Usage { read: tokens[0], written: tokens[1], cached: tokens[2] });
    assert_eq!((attempts[1].cost, attempts[1].prices.as_deref()), (Some(cost), Some(prices.version())));
    assert!(attempts[1].cost < attempts[1].reserved);
    assert_eq!(attempts[0].prompt, attempts[1].prompt);
    assert!(attempts.iter().all(|attempt| attempt.policy.is_some() && attempt.millis.is_some()));
    let spends = stack.store.spend(Micros(0)).await.unwrap();
    let whole: i64 = spends.iter().map(|spend| spend.cost.0).sum();
    assert_eq!(whole, attempts.iter().map(|attempt| attempt.cost.unwrap().0).sum::<i64>());
    let view = stack.view(stack.conversation_of(event).await).await;
    assert_eq!(view.turns[0].model.as_deref(), Some("second"));
    assert!(view.turns[0].path.to_string().contains(&attempts[0].id.to_string()), "the path names each call");
}

async fn an_answer_that_the_second_was_paid_for_is_used_after_a_crash(doors: Doors) {
    let second = FakeModel::start().await.unwrap();
    let plan =
        Plan::on(doors).await.with("SECOND_BASE_URL", &second.url()).with("HANDRAIL_FAULTS", "turn.stored=kill@1");
    let mut stack = plan.file(&crate::faults::file(&format!("{WHATSAPP}{CHAIN}"), &[])).start().await;
    stack.model.always(ModelBehaviour::Overloaded);
    let event = stack.say(CUSTOMER, "Are you open?").await;
    let ended = stack.workers[0].ended().await;
    assert!(!ended.success(), "it was killed");
    stack.workers.remove(0);
    stack.add_worker();
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    assert_eq!((stack.model.calls().len(), second.calls().len()), (1, 1));
    assert_eq!(stack.received_by(CUSTOMER).len(), 1);
}

on_every_backend!(
    where_the_first_model_is_overloaded_the_second_answers_and_both_calls_are_accounted_for,
    an_answer_that_the_second_was_paid_for_is_used_after_a_crash,
);

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_the_first_model_goes_its_way() {
    let waits = [("model_deadline_seconds", 6.0), ("breaker_first_seconds", 0.5), ("breaker_most_seconds", 0.5)];
    let (stack, second) = two_models(Doors::Embedded, &waits).await;
    let error = |http, code: &str| ModelBehaviour::Error { http, code: code.into(), message: "stand-in".into() };
    let limited = |after: Option<&str>| ModelBehaviour::RateLimit { retry_after: after.map(str::to_owned) };
    let calls = async |model: &FakeModel| model.calls().len();
    // What the first does, how its call is written down, who answers, and how often the first is called.
    for (number, (behaviour, word, answers, first_calls)) in [
        (ModelBehaviour::Overloaded, "overloaded", "second", 1),
        (ModelBehaviour::Garbage, "malformed", "second", 1),
        (error(500, "server_error"), "overloaded", "second", 1),
        (ModelBehaviour::EmptyText, "malformed", "second", 1),
        (ModelBehaviour::Hang, "timed_out", "second", 1),
        (ModelBehaviour::CutOff, "malformed", "second", 1),
        (error(401, "invalid_api_key"), "misconfigured", "second", 1),
        (ModelBehaviour::Reset, "malformed", "second", 1),
        (error(429, "insufficient_quota"), "quota_exhausted", "second", 1),
        (ModelBehaviour::ContextTooLong, "context_too_long", "second", 1),
        (limited(None), "rate_limited", "second", 1),
        (limited(Some("1")), "rate_limited", "first", 2),
        // Told for longer than a slot is worth, its breaker rests until then: last in this table, but for who declines.
        (ModelBehaviour::Refuse, "refused", "first", 2),
        (limited(Some("30")), "rate_limited", "second", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let customer = format!("155501{:02}", 20 + number);
        let before = calls(&stack.model).await;
        stack.model.next(behaviour);
        let began = Instant::now();
        let event = stack.say(&customer, "Are you open?").await;
        assert_eq!(stack.end_of(event).await, "replied", "{word}");
        assert!(began.elapsed() < Duration::from_secs(20), "{word}: {:?}", began.elapsed());
        let attempts = attempts(&stack, event).await;
        let told = told(&attempts);
        assert_eq!(told[0], format!("first at north: {word}"));
        let last = attempts.last().unwrap();
        assert_eq!((last.model.as_str(), last.state.as_str()), (answers, "answered"), "{word}: {told:?}");
        assert_eq!(calls(&stack.model).await - before, first_calls, "{word}");
    }
    assert_eq!(calls(&second).await, 12);
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_question_goes_to_the_next_model_where_the_policy_says_so() {
    let policy = include_str!("../../policies/shop.toml");
    let policy = policy.replacen("on_unknown = ", "after_refusal = \"next\"\non_unknown = ", 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let second = FakeModel::start().await.unwrap();
    let plan = Plan::on(Doors::Embedded).await.with("SECOND_BASE_URL", &second.url());
    let stack = plan.file(&format!("policy = \"{}\"\n{WHATSAPP}{CHAIN}", path.display())).start().await;
    stack.model.always(ModelBehaviour::Refuse);
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    assert_eq!(told(&attempts(&stack, event).await), ["first at north: refused", "second at 127.0.0.1: answered"]);
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_model_is_out_the_second_answers_everybody_and_when_both_are_all_wait() {
    let waits = [("breaker_first_seconds", 20.0), ("breaker_most_seconds", 20.0), ("holding_after_seconds", 1.0)];
    let (stack, second) = two_models(Doors::Embedded, &waits).await;
    stack.model.always(ModelBehaviour::Overloaded);
    for number in 0..8 {
        let event = stack.say(&format!("155501{}", 20 + number), "Are you open?").await;
        assert_eq!(stack.end_of(event).await, "replied");
    }
    assert_eq!(stack.model.calls().len(), 5, "no more than its breaker takes");
    let state =
        async |name: &str| metric(&stack, &stack.workers[0], metrics::BREAKER_STATE, &format!("name=\"{name}\"")).await;
    assert_eq!((state("first").await, state("second").await), (2.0, 0.0));
    // Told for how long, the second is out at once; the customer hears the holding text.
    second.next(ModelBehaviour::RateLimit { retry_after: Some("3".into()) });
    let event = stack.say(CUSTOMER, "Are you open on Sunday?").await;
    eventually("both are out", async || state("second").await >= 1.0).await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert_eq!(received[received.len() - 2..], [policy_text("holding"), "The second says so.".to_owned()]);
    assert!(stack.model.calls().len() <= 7, "probes only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_reached_nobody_costs_nothing() {
    let second = FakeModel::start().await.unwrap();
    let plan = Plan::on(Doors::Embedded).await.with("SECOND_BASE_URL", &second.url());
    let plan = plan.with("LLM_BASE_URL", &refusing_url().await.unwrap());
    let stack = plan.file(&format!("{WHATSAPP}{CHAIN}")).start().await;
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    let attempts = attempts(&stack, event).await;
    assert_eq!(told(&attempts), ["first at north: unreachable", "second at 127.0.0.1: answered"]);
    assert_eq!(attempts[0].cost, Some(Money::ZERO));
    assert!(attempts[1].cost > Some(Money::ZERO));
    stack.settled().await;
}
