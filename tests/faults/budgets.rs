//! Caps on spending (P8), seen from outside: what the model's stand-in was really asked, while workers are killed.

use common::domain::{EventId, Money, Prices, Usage};
use common::metrics;
use stand_ins::{ModelBehaviour, ModelCall};

use super::{file, metric, on_every_backend, policy_text};
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, WHATSAPP};

const CUSTOMER: &str = "15550170";

const PRICED: &str = r#"
[[model]]
name = "main"
protocol = "openai"
base_url = "${LLM_BASE_URL}"
model = "fake"
[model.price]
currency = "USD"
input = "1"
output = "2"
"#;

/// A deployment whose policy is the starter with this `[budget]`; the folder holds the policy.
async fn capped(doors: Doors, budget: &str, sources: &str) -> (tempfile::TempDir, Plan) {
    let starter = include_str!("../../policies/shop.toml");
    let own = "contact_day = { calls = 500 }";
    assert_eq!(starter.matches(own).count(), 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, starter.replacen(own, budget, 1)).unwrap();
    let file = file(&format!("policy = \"{}\"\n{sources}", path.display()), &[]);
    (folder, Plan::on(doors).await.file(&file))
}

/// What the stand-in's own count of a call costs.
fn cost(call: &ModelCall, answer: &str) -> i64 {
    let words = |text: &str| u64::try_from(text.split_whitespace().count()).unwrap();
    let price = |text: &str| text.parse::<Money>().unwrap();
    let usage = Usage { read: words(&call.system) + words(call.question()), cached: 0, written: words(answer) };
    Prices::new("USD", price("1"), price("1"), price("2")).cost(usage).0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_budget_hands_off_with_the_policys_text() {
    let (_policy, plan) = capped(Doors::Embedded, "contact_day = { calls = 2 }", WHATSAPP).await;
    let stack = plan.start().await;
    let mut ends = Vec::new();
    for question in ["Are you open?", "On Sunday?", "At nine?"] {
        let event = stack.say(CUSTOMER, question).await;
        ends.push(stack.end_of(event).await);
        stack.settled().await;
    }
    assert_eq!(ends, ["replied", "replied", "handed_off"]);
    assert_eq!(stack.model.calls().len(), 2);
    assert_eq!(stack.received_by(CUSTOMER).last(), Some(&policy_text("handed_off")));
    assert_eq!(metric(&stack, &stack.workers[0], metrics::BUDGET_ENDED, "budget=\"contact\"").await, 1.0);
    let other = stack.say("15550171", "Are you open?").await;
    assert_eq!(stack.end_of(other).await, "replied", "another contact has a budget of its own");
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_take_over_cancels_is_charged_in_full() {
    let (_policy, plan) =
        capped(Doors::Embedded, "currency = \"USD\"\ncontact_day = { amount = \"1\" }", &format!("{WHATSAPP}{PRICED}"))
            .await;
    let stack = plan.start().await;
    let held = stack.model.hold();
    let event = stack.say(CUSTOMER, "Are you open?").await;
    stack.model.wait_for_calls(1).await.unwrap();
    let conversation = stack.conversation_of(event).await;
    let (code, _, said) = stack.handrail(&["conversation", "take", &conversation.to_string(), "--json"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(stack.end_of(event).await, "handed_off");
    held.release();
    let attempts = stack.store.attempts(conversation).await.unwrap();
    assert_eq!(attempts[0].error.as_deref(), Some("lost"));
    assert!(attempts[0].cost > Some(Money::ZERO) && attempts[0].cost == attempts[0].reserved, "{attempts:?}");
    stack.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_in_money_does_not_start_with_a_model_that_has_no_price() {
    let budget = "currency = \"EUR\"\ndeployment_day = { amount = \"5\" }";
    let unpriced = PRICED.split("[model.price]").next().unwrap();
    for model in [unpriced, PRICED] {
        let (_policy, plan) = capped(Doors::Embedded, budget, &format!("{WHATSAPP}{model}")).await;
        let mut stack = plan.prepare().await;
        assert_eq!(stack.workers[0].ended().await.code(), Some(2));
        let log = stack.workers[0].log();
        assert!(log.contains("'main' has no price in EUR") && log.contains("[model.price]"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_whose_budget_no_price_fits_is_not_put_in_force_while_a_worker_runs() {
    let (policy, plan) = capped(Doors::Embedded, "contact_day = { calls = 9 }", WHATSAPP).await;
    let stack = plan.start().await;
    let path = policy.path().join("policy.toml");
    let changed = std::fs::read_to_string(&path).unwrap();
    let budget = "currency = \"EUR\"\ncontact_day = { amount = \"9\" }";
    std::fs::write(&path, changed.replacen("contact_day = { calls = 9 }", budget, 1)).unwrap();
    stack.workers[0].signal(nix::sys::signal::Signal::SIGHUP);
    eventually("it is refused", async || stack.workers[0].log().contains("'main' has no price in EUR")).await;
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
}

const CAP: &str = "0.06";
const CALLS: usize = 40;
const CUSTOMERS: usize = 32;
const ANSWER: &str = "We are open, and we say so in a few more words than we need to.";

async fn no_cap_is_passed_by_workers_that_are_killed(doors: Doors) {
    let budget = format!("currency = \"USD\"\ndeployment_day = {{ amount = \"{CAP}\", calls = {CALLS} }}");
    let (_policy, plan) = capped(doors, &budget, &format!("{WHATSAPP}{PRICED}")).await;
    // Sixty-four slots.
    let mut stack = plan.with("WORKER_CONCURRENCY", "16").workers(4).start().await;
    stack.model.answer_with(|_| ANSWER.to_owned());
    for at in 0..200_u64 {
        let delay = std::time::Duration::from_millis(at * 37 % 150);
        stack.model.next(if at % 5 == 0 {
            ModelBehaviour::Unmetered(ANSWER.into())
        } else {
            ModelBehaviour::Delay(delay)
        });
    }
    let mut events: Vec<EventId> = Vec::new();
    for round in 0..2 {
        for customer in 0..CUSTOMERS {
            events.push(stack.say(&format!("1555017{customer:02}"), &format!("Are you open, {round}?")).await);
            if customer % 11 == 5 {
                // Somebody is killed in the midst of its calls.
                stack.model.wait_for_calls((stack.model.calls().len() + 1).min(CALLS / 2)).await.unwrap();
                stack.workers[0].crash();
                stack.workers.remove(0);
                stack.add_worker();
                within_caps(&stack).await;
            }
        }
    }
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for event in events {
        *ends.entry(stack.end_of(event).await).or_default() += 1;
    }
    stack.settled().await;
    within_caps(&stack).await;
    assert!(ends.keys().all(|end| ["handed_off", "joined", "replied"].contains(&end.as_str())), "{ends:?}");
    assert!(ends["handed_off"] > 0 && ends["replied"] > 0, "{ends:?}");
    eventually("every call is accounted for", async || {
        let spends = stack.store.spend(common::domain::Micros(0)).await.unwrap();
        spends.iter().all(|spend| spend.reserved == Money::ZERO)
    })
    .await;
    within_caps(&stack).await;
}

/// What was really asked, and what the account says, never pass the caps; the account is never less than the truth.
async fn within_caps(stack: &Stack) {
    let cap: Money = CAP.parse().unwrap();
    let calls = stack.model.calls();
    let spent: i64 = calls.iter().map(|call| cost(call, ANSWER)).sum();
    let spends = stack.store.spend(common::domain::Micros(0)).await.unwrap();
    let account: i64 = spends.iter().map(|spend| spend.cost.0 + spend.reserved.0).sum();
    assert!(calls.len() <= CALLS, "P8: {} calls", calls.len());
    assert!(spent <= cap.0 && account <= cap.0, "P8: {spent} spent and {account} accounted for, of {}", cap.0);
    assert!(account >= spent, "{account} accounted for, {spent} spent");
}

on_every_backend!(no_cap_is_passed_by_workers_that_are_killed);
