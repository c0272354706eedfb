//! Spend never passes a cap, however many workers run or die (P8).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::domain::{Budget, Charge, ContactId, Money};
use common::store::{AttemptEnd, BegunAttempt, Claimed, Given, NewAttempt, Reserve, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{ANNA, Shop, contract};

const CALLERS: usize = 64;
const ROUNDS: usize = 12;
const DAY: &str = "2026-01-31";
const HELD: Duration = Duration::from_secs(75);

/// A call that nothing limits.
pub(super) const fn call<'a>(model: &'a str, prompt: &'a str) -> NewAttempt<'a> {
    NewAttempt { model, provider: "test", prompt, policy: "v1", price: None, budgets: &[], held_for: HELD }
}

/// A call that may cost so much.
const fn costly<'a>(most: i64, budgets: &'a [Budget]) -> NewAttempt<'a> {
    let price = Some(Reserve { prices: "p1", currency: Some("USD"), most: Money(most) });
    NewAttempt { price, budgets, ..call("main", "hash") }
}

fn spent(most: i64) -> Option<Money> {
    Some(Money(most))
}

async fn begin(store: &Store, claim: &Claimed, new: &NewAttempt<'_>) -> BegunAttempt {
    store.begin_attempt(claim, new).await.unwrap()
}

async fn end(store: &Store, claim: &Claimed, begun: BegunAttempt, charge: Charge) {
    let BegunAttempt::Yes(id) = begun else { panic!("it was not begun: {begun:?}") };
    let ended = (AttemptEnd::Failed("timed_out"), charge);
    store.end_attempt(claim, id, ended, Duration::from_millis(7)).await.unwrap();
}

/// Caps, and the day that they are for.
#[derive(Clone, Copy)]
struct Caps {
    day: &'static str,
    all: i64,
    each: i64,
    calls: i64,
}

/// Tight in money, and tight in calls.
const IN_MONEY: Caps = Caps { day: "2026-01-31", all: 30_000, each: 3_500, calls: 100_000 };
const IN_CALLS: Caps = Caps { day: "2026-02-01", all: 1_000_000, each: 1_000_000, calls: 150 };

/// What calls that were really made have cost, and the caps that it must never pass.
struct Made {
    caps: Caps,
    deployment: AtomicI64,
    contacts: HashMap<ContactId, AtomicI64>,
    calls: AtomicI64,
    refused: AtomicI64,
}

impl Made {
    /// Makes a call.
    fn call(&self, contact: ContactId, cost: i64) {
        let all = self.deployment.fetch_add(cost, Ordering::SeqCst) + cost;
        let each = self.contacts[&contact].fetch_add(cost, Ordering::SeqCst) + cost;
        let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let within = all <= self.caps.all && each <= self.caps.each && calls <= self.caps.calls;
        assert!(within, "P8: {all} of all, {each} of one contact, {calls} calls");
    }
}

impl Caps {
    fn budgets(self, claim: &Claimed) -> Vec<Budget> {
        vec![
            Budget::of_conversation(claim.conversation, claim.epoch, None, None),
            Budget::of_contact(claim.contact, self.day, spent(self.each), None),
            self.whole(),
        ]
    }

    fn whole(self) -> Budget {
        Budget::of_deployment(self.day, spent(self.all), Some(self.calls))
    }
}

/// One worker: it calls, or dies before or after, and tells what it cost or cannot.
async fn work(store: Store, claims: Arc<Vec<Claimed>>, made: Arc<Made>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    for _ in 0..ROUNDS {
        let claim = &claims[dice.random_range(0..claims.len())];
        let most = dice.random_range(1..=600_i64);
        let budgets = made.caps.budgets(claim);
        let begun = begin(&store, claim, &costly(most, &budgets)).await;
        if let BegunAttempt::Spent(_) = begun {
            made.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        // The worst that can happen happens often.
        let cost = if dice.random_bool(0.5) { most } else { dice.random_range(0..=most) };
        match dice.random_range(0..8) {
            0 => {}                              // died before the call left
            1 => made.call(claim.contact, cost), // died after it
            2 => end(&store, claim, begun, Charge::Nothing).await,
            3 => {
                made.call(claim.contact, cost);
                end(&store, claim, begun, Charge::Reserved).await;
            }
            _ => {
                made.call(claim.contact, cost);
                end(&store, claim, begun, Charge::Cost(Money(cost))).await;
            }
        }
        if dice.random_bool(0.05) {
            store.expire_attempts().await.unwrap();
        }
    }
}

async fn claims(shop: &Shop) -> Vec<Claimed> {
    let mut claims = Vec::new();
    for number in 0..12 {
        let (_, conversation) = shop.say(&format!("155501{number:02}"), "hello").await;
        claims.push(shop.claim_quiet(conversation).await);
    }
    claims
}

/// Sixty-four workers at once.
async fn crowd(caps: Caps, stores: &[Store], claims: &Arc<Vec<Claimed>>) -> Arc<Made> {
    let contacts = claims.iter().map(|claim| (claim.contact, AtomicI64::new(0))).collect();
    let [deployment, calls, refused] = [(); 3].map(|()| AtomicI64::new(0));
    let made = Arc::new(Made { caps, deployment, contacts, calls, refused });
    let worker = |seed: usize| {
        let store = stores[seed % stores.len()].clone();
        tokio::spawn(work(store, claims.clone(), made.clone(), u64::try_from(seed).unwrap()))
    };
    let workers: Vec<_> = (0..CALLERS).map(worker).collect();
    for worker in workers {
        worker.await.unwrap();
    }
    made
}

/// What all rows together say was given out on a day.
async fn accounted(shop: &Shop, caps: Caps) -> i64 {
    let sum = "SELECT CAST(COALESCE(SUM(CASE WHEN held_until IS NULL THEN cost ELSE reserved END), 0) AS bigint) FROM attempt";
    shop.number(&format!("{sum} WHERE budgets LIKE '%deployment/{}'", caps.day)).await
}

contract! {
    async fn of_sixty_four_callers_at_once_some_of_whom_die_none_passes_a_cap(shop) {
        let claims = Arc::new(claims(&shop).await);
        // Several processes: each with connections of its own.
        let mut stores = Vec::new();
        for _ in 0..4 {
            stores.push(shop.reopened_without_settling().await);
        }
        for caps in [IN_MONEY, IN_CALLS] {
            let made = crowd(caps, &stores, &claims).await;
            let given = shop.store.given(&caps.whole()).await.unwrap();
            assert!(given.amount.0 <= caps.all && given.calls <= caps.calls, "{given:?}");
            let (cost, calls) = (made.deployment.load(Ordering::SeqCst), made.calls.load(Ordering::SeqCst));
            assert!(given.amount.0 >= cost && given.calls >= calls, "{given:?}, and {calls} calls cost {cost}");
            assert!(made.refused.load(Ordering::SeqCst) > 0 && calls > 50, "the caps were reached, and much was called");
            assert_eq!(accounted(&shop, caps).await, given.amount.0);
            // What nobody closed is charged as it was reserved, so that nothing changes.
            shop.pass(HELD);
            assert!(shop.store.expire_attempts().await.unwrap() > 0);
            assert_eq!(shop.store.given(&caps.whole()).await.unwrap(), given);
            assert_eq!(shop.number("SELECT COUNT(*) FROM attempt WHERE held_until IS NOT NULL OR cost IS NULL").await, 0);
            assert_eq!(accounted(&shop, caps).await, given.amount.0);
            for claim in claims.iter() {
                let each = shop.store.given(&Budget::of_contact(claim.contact, caps.day, None, None)).await.unwrap();
                assert!(each.amount.0 <= caps.each, "{each:?}");
            }
        }
        for store in stores {
            store.close().await;
        }
    }

    async fn a_call_finds_room_in_all_of_its_budgets_or_takes_from_none(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let of_conversation = Budget::of_conversation(conversation, claim.epoch, spent(100), None);
        let of_contact = Budget::of_contact(claim.contact, DAY, None, Some(3));
        let both = |most| [of_conversation.clone(), of_contact.clone(), Budget::of_deployment(DAY, spent(most), None)];
        assert!(matches!(begin(&shop.store, &claim, &costly(60, &both(60))).await, BegunAttempt::Yes(_)));
        let before = [Given { amount: Money(60), calls: 1 }; 3];
        for (most, room, spent) in [(1, 60, 2), (41, 200, 0)] {
            assert_eq!(begin(&shop.store, &claim, &costly(most, &both(room))).await, BegunAttempt::Spent(spent));
            for (budget, given) in both(0).iter().zip(before) {
                assert_eq!(shop.store.given(budget).await.unwrap(), given, "{budget:?}");
            }
        }
        // A cap is reached exactly, and a number of calls is a cap too.
        assert!(matches!(begin(&shop.store, &claim, &costly(40, &both(100))).await, BegunAttempt::Yes(_)));
        assert!(matches!(begin(&shop.store, &claim, &costly(0, &both(100))).await, BegunAttempt::Yes(_)));
        assert_eq!(begin(&shop.store, &claim, &costly(0, &both(100))).await, BegunAttempt::Spent(1));
        assert_eq!(shop.number("SELECT COUNT(*) FROM attempt").await, 3);
        // What alone is more than a cap finds no room in a budget that nobody has used.
        let fresh = [Budget::of_deployment("2026-02-01", spent(9), None)];
        assert_eq!(begin(&shop.store, &claim, &costly(10, &fresh)).await, BegunAttempt::Spent(0));
        assert_eq!(shop.store.given(&fresh[0]).await.unwrap(), Given::default());
    }

    async fn what_cost_less_gives_back_the_rest_and_what_was_not_sent_is_not_counted(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let budget = [Budget::of_deployment(DAY, spent(100), Some(5))];
        let mut costs = Vec::new();
        for (charge, amount, calls) in [
            (Charge::Cost(Money(30)), 30, 1),
            (Charge::Nothing, 30, 1),
            (Charge::Reserved, 80, 2),
            (Charge::Cost(Money(0)), 80, 3),
        ] {
            let begun = begin(&shop.store, &claim, &costly(if costs.len() == 3 { 20 } else { 50 }, &budget)).await;
            end(&shop.store, &claim, begun, charge).await;
            assert_eq!(shop.store.given(&budget[0]).await.unwrap(), Given { amount: Money(amount), calls }, "{charge:?}");
            costs.push(charge);
        }
        let told: Vec<_> = shop.store.attempts(conversation).await.unwrap();
        let told: Vec<_> = told.iter().map(|attempt| (attempt.cost, attempt.reserved, attempt.millis)).collect();
        let row = |cost, reserved| (spent(cost), spent(reserved), Some(7));
        assert!([row(30, 50), row(0, 50), row(50, 50), row(0, 20)].iter().all(|row| told.contains(row)), "{told:?}");
        // A provider that wrote more than it was asked to is charged what it took.
        let begun = begin(&shop.store, &claim, &costly(20, &budget)).await;
        end(&shop.store, &claim, begun, Charge::Cost(Money(120))).await;
        assert_eq!(shop.store.given(&budget[0]).await.unwrap().amount, Money(200));
        assert_eq!(begin(&shop.store, &claim, &costly(0, &budget)).await, BegunAttempt::Spent(0));
    }

    async fn a_call_whose_worker_died_is_charged_once_in_full_and_a_late_answer_is_kept_all_the_same(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let budget = [Budget::of_contact(claim.contact, DAY, spent(100), None)];
        let BegunAttempt::Yes(id) = begin(&shop.store, &claim, &costly(70, &budget)).await else { panic!("room") };
        shop.pass(HELD - Duration::from_micros(1));
        assert_eq!(shop.store.expire_attempts().await.unwrap(), 0, "it may be under way");
        shop.pass(Duration::from_micros(1));
        assert_eq!(shop.store.expire_attempts().await.unwrap(), 1);
        let told = shop.store.attempts(conversation).await.unwrap();
        assert_eq!((told[0].error.as_deref(), told[0].cost), (Some("expired"), spent(70)));
        let late = (AttemptEnd::Answered { text: "42", tokens: [Some(1); 3] }, Charge::Cost(Money(5)));
        shop.store.end_attempt(&claim, id, late, Duration::ZERO).await.unwrap();
        assert_eq!(shop.store.expire_attempts().await.unwrap(), 0);
        let told = shop.store.attempts(conversation).await.unwrap();
        assert_eq!((told[0].state.as_str(), told[0].cost, told[0].error.as_deref()), ("answered", spent(70), None));
        assert_eq!(shop.store.given(&budget[0]).await.unwrap(), Given { amount: Money(70), calls: 1 });
        let again = shop.claim(conversation).await.unwrap();
        let paid = shop.store.paid_answer(&again, &["main"], "hash").await.unwrap().unwrap();
        assert_eq!((paid.attempt, paid.text.as_str()), (id, "42"));
    }

    async fn what_was_spent_is_told_by_model_and_an_unknown_price_is_not_nothing(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let since = shop.now();
        let begun = begin(&shop.store, &claim, &costly(50, &[])).await;
        end(&shop.store, &claim, begun, Charge::Reserved).await;
        let BegunAttempt::Yes(answered) = begin(&shop.store, &claim, &costly(50, &[])).await else { panic!("room") };
        let end = (AttemptEnd::Answered { text: "42", tokens: [Some(10), Some(4), Some(2)] }, Charge::Cost(Money(20)));
        shop.store.end_attempt(&claim, answered, end, Duration::ZERO).await.unwrap();
        begin(&shop.store, &claim, &costly(9, &[])).await;
        let unpriced = shop.attempt(&claim, "other", "hash").await;
        shop.attempt_answers(&claim, unpriced, "43").await;
        let spends = shop.store.spend(since).await.unwrap();
        assert_eq!(spends.iter().map(|spend| spend.model.as_str()).collect::<Vec<_>>(), ["main", "other"]);
        let main = &spends[0];
        assert_eq!((main.cost, main.reserved, main.unpriced, main.tokens), (Money(70), Money(9), 0, [10, 4, 2]));
        assert_eq!(main.currency.as_deref(), Some("USD"));
        let calls: Vec<_> = main.calls.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        assert_eq!(calls, [("answered", 1), ("open", 1), ("timed_out", 1)]);
        assert_eq!((spends[1].cost, spends[1].unpriced, spends[1].currency.as_deref()), (Money(0), 1, None));
        let told = shop.store.attempts(conversation).await.unwrap();
        assert!(told.iter().any(|attempt| attempt.id == unpriced && attempt.cost.is_none() && attempt.reserved.is_none()));
        shop.pass(Duration::from_secs(1));
        assert!(shop.store.spend(shop.now()).await.unwrap().is_empty());
    }

    async fn a_day_that_is_long_over_is_forgotten_and_a_conversations_budget_is_not(shop) {
        let (_, conversation) = shop.say(ANNA, "hello").await;
        let claim = shop.claim_quiet(conversation).await;
        let kept = Budget::of_conversation(conversation, claim.epoch, spent(100), None);
        let both = [kept.clone(), Budget::of_deployment(DAY, spent(100), None)];
        begin(&shop.store, &claim, &costly(50, &both)).await;
        shop.pass(Duration::from_secs(40 * 24 * 3_600));
        assert_eq!(shop.store.forget_budgets().await.unwrap(), 0);
        shop.pass(Duration::from_secs(1));
        assert_eq!(shop.store.forget_budgets().await.unwrap(), 1);
        assert_eq!(shop.store.given(&kept).await.unwrap().amount, Money(50));
    }
}
