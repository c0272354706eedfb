//! What a policy's triggers are refused for.

use super::super::{Action, Policy, RuleKind};

const STARTER: &str = include_str!("../../../../policies/shop.toml");

fn rule(body: &str) -> Result<Policy, String> {
    let source = format!("{STARTER}\n[[rule]]\nname = \"new\"\nmode = \"enforce\"\nchannels = [\"nowhere\"]\n{body}\n");
    Policy::parse(&source, "test.toml").map_err(|error| error.to_string())
}

fn list(words: &str) -> String {
    format!("{{ en = [{words}], es = [{words}], pt = [{words}] }}")
}

#[test]
fn every_trigger_with_a_wrong_number_or_without_a_limit_is_refused_with_its_reason() {
    let (input, words) = ("stage = \"input\"\naction = \"handoff\"", list("\"x\""));
    let (any, units) = (format!("any = {words}"), format!("units = {words}"));
    let anger = format!("words = {words}\nnegation = {words}");
    for (kind, body, reason) in [
        ("mention", String::new(), "there is nothing to look for"),
        ("mention", format!("{any}\nwindow = 21"), "'new.window' is 21; it must be 0 to 20"),
        ("mention", format!("{any}\nat_least = 1"), "'new.at_least' must be 1 to the number of the groups"),
        ("mention", format!("all = [{words}]\nat_least = 0"), "'new.at_least' must be 1"),
        ("mention", "any = { en = [\"x\"] }".to_owned(), "nothing for 'pt'"),
        ("mention", format!("any = {}", list("\"!?\"")), "which has no words"),
        ("mention", format!("{any}\nwindow = -1"), "-1"),
        ("anger", format!("{anger}\nthreshold = 1.5"), "above 0 and at most 1"),
        ("anger", format!("{anger}\nthreshold = 0"), "above 0 and at most 1"),
        ("anger", format!("{anger}\nwindow = 30"), "'new.window' is 30"),
        ("trouble", String::new(), "nothing would be trouble"),
        ("trouble", "failures = 0".to_owned(), "'new.failures' is 0; it must be 1 to 20"),
        ("trouble", "repeats = 1".to_owned(), "'new.repeats' is 1; it must be 2 to 20"),
        ("trouble", "failures = 2\nwindow_minutes = 1441".to_owned(), "'new.window_minutes' is 1441"),
        ("hours", "new_after_minutes = 0".to_owned(), "'new.new_after_minutes' is 0"),
        ("value", String::new(), "nothing would be much"),
        ("value", "money = 0\ncurrencies = [\"$\"]".to_owned(), "'new.money' is 0"),
        ("value", "money = 5".to_owned(), "money needs it"),
        ("value", "money = 5\ncurrencies = [\" \"]".to_owned(), "holds one that is empty"),
        ("value", format!("quantity = 0\n{units}"), "'new.quantity' is 0"),
        ("value", "quantity = 5".to_owned(), "nothing for 'en'"),
        ("value", format!("money = 5\ncurrencies = [\"$\"]\n{units}"), "belongs to quantity"),
        ("rate", "per_minute = 0".to_owned(), "'new.per_minute' is 0"),
        ("rate", "per_minute = 200".to_owned(), "'new.per_minute' is 200"),
        ("rate", "per_minute = 5\npatience_seconds = 0".to_owned(), "'new.patience_seconds' is 0"),
        ("rate", "per_minute = \"many\"".to_owned(), "invalid type"),
        ("request", "stage_of = 1".to_owned(), "unknown field `stage_of`"),
    ] {
        let stage = if kind == "request" { "stage = \"output\"\naction = \"handoff\"" } else { input };
        let error = rule(&format!("kind = \"{kind}\"\n{stage}\n{body}")).unwrap_err();
        assert!(error.contains(reason) && error.contains("test.toml:"), "{kind} {body}\n{error}");
    }
}

#[test]
fn the_other_kinds_with_a_wrong_number_are_refused_too() {
    let (input, output) = ("stage = \"input\"\naction = \"block\"", "stage = \"output\"\naction = \"block\"");
    for (body, reason) in [
        (format!("kind = \"length\"\n{input}\nmax_bytes = 0"), "at least 1"),
        (format!("kind = \"injection\"\n{input}\nthreshold = 1.0"), "must be between 0 and 1"),
        (format!("kind = \"repeat\"\n{input}\ntimes = 21"), "must be 2 to 20"),
        (format!("kind = \"leak\"\n{output}\nwords = 3"), "must be 4 to 50"),
        (
            format!(
                "kind = \"topic\"\n{input}\noff_at = 0.2\nunsure_at = 0.4\nabout = {0}\nbesides = {0}\non = {0}\noff = {0}",
                list("\"x\"")
            ),
            "unsure_at not above off_at",
        ),
    ] {
        let error = rule(&body).unwrap_err();
        assert!(error.contains(reason), "{body}\n{error}");
    }
}

#[test]
fn whom_a_rule_calls_is_read_and_refused_where_it_calls_nobody() {
    let any = format!("any = {}", list("\"xylophone\""));
    let summary = "summary = { en = \"{rule}: {reason}\", es = \"{team}\", pt = \"{priority}\" }";
    let called =
        format!("kind = \"mention\"\nstage = \"input\"\naction = \"handoff\"\npriority = \"urgent\"\n{summary}\n{any}");
    let policy = rule(&called).unwrap();
    let new = policy.rules().last().unwrap();
    assert_eq!(new.priority, common::domain::Priority::Urgent);
    let told = policy.summary(new, "mentioned");
    assert_eq!((told["en"].as_str(), told["es"].as_str(), told["pt"].as_str()), ("new: mentioned", "", "urgent"));
    for (from, to, reason) in [
        ("\"handoff\"", "\"annotate\"", "'new.priority' would never be used"),
        ("\"urgent\"", "\"soon\"", "unknown variant `soon`"),
        ("{reason}", "{why}", "'{why}'"),
        (", pt = \"{priority}\"", "", "nothing for 'pt'"),
        ("priority = \"urgent\"", "team = \"no team\"", "a team's name"),
    ] {
        let error = rule(&called.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(reason), "{to}\n{error}");
    }
}

#[test]
fn triggers_that_overlap_are_refused_and_those_that_call_for_more_are_not() {
    let named = |name: &str, body: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nstage = \"input\"\naction = \"handoff\"\nmode = \"enforce\"\nchannels = [\"nowhere\"]\n{body}\n"
        )
    };
    let both = |one: &str, other: &str| {
        let source = format!("{STARTER}\n{}{}", named("one", one), named("other", other));
        Policy::parse(&source, "test.toml").map(drop).map_err(|error| error.to_string())
    };
    let mention = |words: &str| format!("kind = \"mention\"\nany = {}", list(words));
    assert!(
        both(&mention("\"oboe\", \"viola\""), &mention("\"Viola\"")).unwrap_err().contains("both look for 'viola'")
    );
    assert_eq!(both(&mention("\"oboe\""), &mention("\"viola\"")), Ok(()));
    let value = |limit: u32| format!("kind = \"value\"\nmoney = {limit}\ncurrencies = [\"$\"]");
    assert!(both(&value(5), &value(5)).unwrap_err().contains("both have the same limit"));
    assert_eq!(both(&value(5), &value(50)), Ok(()));
    let trouble = |what: &str| format!("kind = \"trouble\"\n{what}");
    assert!(both(&trouble("failures = 2"), &trouble("failures = 3")).unwrap_err().contains("both count the same"));
    assert_eq!(both(&trouble("failures = 2"), &trouble("repeats = 3")), Ok(()));
    let rate = "kind = \"rate\"\nper_minute = 5";
    assert!(both(rate, rate).unwrap_err().contains("they are of one kind"));
}

#[test]
fn a_rule_that_puts_off_is_one_about_the_rate() {
    let policy = rule("kind = \"rate\"\nstage = \"input\"\naction = \"defer\"\nper_minute = 5").unwrap();
    let new = policy.rules().last().unwrap();
    assert!(new.action == Action::Defer && matches!(new.kind, RuleKind::Rate(_)));
    let error = rule(&format!("kind = \"mention\"\nstage = \"input\"\naction = \"defer\"\nany = {}", list("\"x\"")));
    assert!(error.unwrap_err().contains("cannot 'defer' at the input stage"));
}
