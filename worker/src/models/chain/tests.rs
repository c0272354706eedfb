//! Who is asked after whom.

use async_trait::async_trait;

use super::*;
use crate::pipeline::prompt::Role;
use crate::policy::Policy;

struct Named(&'static str);

#[async_trait]
impl Model for Named {
    fn name(&self) -> &str {
        self.0
    }
    async fn complete(&self, _: &Prompt, _: Duration) -> Result<Answer, ModelError> {
        Err(ModelError::Unreachable)
    }
}

fn usd(read: &str, written: &str) -> Prices {
    Prices::new("USD", read.parse().unwrap(), read.parse().unwrap(), written.parse().unwrap())
}

fn link(name: &'static str, context: Option<u32>) -> Link {
    Link::new(Arc::new(Named(name)), "test", Some(usd("1", "2")), context)
}

fn chain() -> Chain {
    Chain::new(vec![link("a", Some(8)), link("b", Some(8)), link("c", None), link("d", Some(16))]).unwrap()
}

#[test]
fn every_failure_has_its_way_through_the_chain() {
    let (short, long) = (Some(SHORT), Some(SHORT + Duration::from_millis(1)));
    let limited = |retry_after| ModelError::RateLimited { retry_after };
    let minute = Duration::from_secs(60);
    let (end, next) = (AfterRefusal::End, AfterRefusal::Next);
    for (error, refusal, left, alone, expected) in [
        (ModelError::TimedOut, end, minute, false, Way::Next),
        (ModelError::Overloaded { status: 503, retry_after: None }, end, minute, false, Way::Next),
        (ModelError::Overloaded { status: 529, retry_after: short }, end, minute, false, Way::Next),
        (ModelError::Unreachable, end, minute, false, Way::Next),
        (limited(short), end, minute, false, Way::Same(SHORT)),
        (limited(short), end, minute, true, Way::Next),
        (limited(short), end, SHORT, false, Way::Next),
        (limited(long), end, minute, false, Way::Next),
        (limited(None), end, minute, false, Way::Next),
        (ModelError::QuotaExhausted, end, minute, false, Way::Next),
        (ModelError::Misconfigured(401), end, minute, false, Way::Next),
        (ModelError::Misconfigured(0), end, minute, false, Way::Next),
        (ModelError::Malformed("no text"), end, minute, false, Way::Next),
        (ModelError::Refused, end, minute, false, Way::End),
        (ModelError::Refused, next, minute, false, Way::Next),
        (ModelError::ContextTooLong, end, minute, false, Way::Larger),
    ] {
        assert_eq!(way(&error, refusal, left, alone), expected, "{error:?} {refusal:?} {left:?} {alone}");
    }
}

#[test]
fn the_next_is_the_next_and_for_a_prompt_that_does_not_fit_the_next_that_is_known_to_hold_more() {
    let chain = chain();
    assert_eq!(chain.after(0, Way::Next), Some(1));
    assert_eq!(chain.after(3, Way::Next), None);
    assert_eq!(chain.after(0, Way::Larger), Some(3));
    assert_eq!(chain.after(2, Way::Larger), None, "nobody knows what c holds");
    assert_eq!(chain.after(3, Way::Larger), None);
    assert_eq!(chain.after(1, Way::Same(SHORT)), Some(1));
    assert_eq!(chain.after(0, Way::End), None);
}

#[test]
fn of_what_failed_the_failure_that_passes_by_itself_is_judged() {
    let (out, odd, long) = (ModelError::TimedOut, ModelError::Malformed("no text"), ModelError::ContextTooLong);
    for (first, second, judged) in [(&out, &odd, &out), (&odd, &out, &out), (&long, &odd, &odd), (&odd, &long, &odd)] {
        assert_eq!(more_hopeful(first.clone(), second.clone()), *judged);
    }
    assert_eq!(more_hopeful(ModelError::Unreachable, out), ModelError::Unreachable);
}

#[test]
fn only_what_was_certainly_not_sent_is_free() {
    for error in [ModelError::Unreachable, ModelError::Misconfigured(0)] {
        assert_eq!(charge_of(&error), Charge::Nothing, "{error:?}");
    }
    for error in [
        ModelError::TimedOut,
        ModelError::RateLimited { retry_after: None },
        ModelError::Overloaded { status: 503, retry_after: None },
        ModelError::Misconfigured(401),
        ModelError::QuotaExhausted,
        ModelError::Malformed("cut off"),
        ModelError::Refused,
        ModelError::ContextTooLong,
    ] {
        assert_eq!(charge_of(&error), Charge::Reserved, "{error:?}");
    }
}

#[test]
fn an_answer_is_charged_what_it_used_and_in_full_where_the_provider_does_not_say() {
    let answer =
        |tokens_in, tokens_out| Answer { text: "yes".into(), tokens_in, tokens_out, tokens_cached: None, cut: false };
    let priced = link("a", None);
    assert_eq!(priced.charge(&answer(Some(1_000_000), Some(500_000))), Charge::Cost("2".parse().unwrap()));
    assert_eq!(priced.charge(&answer(Some(1), None)), Charge::Reserved);
    assert_eq!(priced.charge(&answer(None, Some(1))), Charge::Reserved);
    let unpriced = Link::new(Arc::new(Named("u")), "test", None, None);
    assert_eq!(unpriced.charge(&answer(Some(1), Some(1))), Charge::Reserved);
}

#[test]
fn the_worst_case_holds_more_tokens_than_any_tokenizer_makes_of_the_prompt() {
    let text = "¿Abren los domingos? 日本語 🪡";
    let prompt = Prompt::for_test("You are kind.", &[(Role::Customer, text), (Role::Business, "Yes.")], 500);
    let bytes = "You are kind.".len() + text.len() + "Yes.".len();
    let most = link("a", None).most(&prompt).unwrap();
    let prices = usd("1", "2");
    assert!(most > prices.worst(u64::try_from(bytes).unwrap() + 2 * 8, 500), "{most}");
    assert!(Link::new(Arc::new(Named("u")), "test", None, None).most(&prompt).is_none());
}

#[test]
fn a_chain_is_picked_by_name_and_a_name_that_nobody_has_is_named() {
    let chain = chain();
    assert_eq!(chain.of(&["d", "a"]).unwrap().names(), ["d", "a"]);
    let unknown = chain.of(&["a", "x"]).err().unwrap();
    assert!(unknown.to_string().contains("'x'"), "{unknown}");
    assert!(matches!(chain.of::<&str>(&[]), Err(NoChain::Empty)));
}

#[test]
fn a_model_without_a_price_in_the_budgets_currency_is_refused_by_name() {
    let starter = include_str!("../../../../policies/shop.toml");
    let policy =
        |budget: &str| Policy::parse(&starter.replacen("contact_day = { calls = 500 }", budget, 1), "test").unwrap();
    let dollars = policy("currency = \"USD\"\ndeployment_day = { amount = \"5\" }");
    let euros = policy("currency = \"EUR\"\ndeployment_day = { amount = \"5\" }");
    let calls = policy("deployment_day = { calls = 5 }");
    let chain =
        |prices| Chain::new(vec![link("a", None), Link::new(Arc::new(Named("b")), "test", prices, None)]).unwrap();
    assert!(chain(Some(usd("1", "1"))).affords(dollars.spending()).is_ok());
    assert!(chain(Some(Prices::free())).affords(dollars.spending()).is_ok());
    assert!(chain(None).affords(calls.spending()).is_ok());
    let refused = chain(None).affords(dollars.spending()).unwrap_err().to_string();
    assert!(refused.contains("'b'") && refused.contains("USD"), "{refused}");
    assert!(chain(Some(usd("1", "1"))).affords(euros.spending()).unwrap_err().to_string().contains("'a'"));
}
