//! What the guardrails promise, on the starter and on rules made for the purpose.

use super::*;
use crate::models::Answer;
use crate::policy::{KindName, RuleMode};

const STARTER: &str = include_str!("../../../../policies/shop.toml");

fn guardrails(extra: &str) -> Guardrails {
    let policy = Policy::parse(&format!("{STARTER}\n{extra}"), "test.toml").unwrap();
    Guardrails::new(Arc::new(policy)).unwrap()
}

fn words(name: &str, stage: &str, action: &str, mode: &str, word: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nkind = \"words\"\nstage = \"{stage}\"\naction = \"{action}\"\nmode = \"{mode}\"\n\
         words = {{ en = [\"{word}\"], es = [], pt = [] }}\n"
    )
}

fn draft(text: &str) -> Draft {
    Draft::from_answer(&Answer {
        text: text.into(),
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        cut: false,
    })
    .unwrap()
}

fn passed(screening: &Screening) -> Option<&str> {
    match &screening.outcome {
        Outcome::Pass(screened) => Some(screened.text()),
        Outcome::Block { .. } | Outcome::Handoff { .. } => None,
    }
}

fn result<'a>(results: &'a [RuleResult], rule: &str) -> &'a RuleResult {
    results.iter().find(|result| result.rule == rule).unwrap()
}

#[test]
fn an_ordinary_question_passes_unchanged_and_every_rule_leaves_its_result() {
    let screening = guardrails("").screen("Até que horas vocês estão abertos?");
    assert_eq!(passed(&screening), Some("Até que horas vocês estão abertos?"));
    assert_eq!(screening.locale.as_deref(), Some("pt"));
    let rules: Vec<_> = screening.results.iter().map(|r| (r.rule.as_str(), r.hit, r.reason)).collect();
    let clean = |rule| (rule, false, Reason::Clean);
    assert_eq!(rules, [clean("input-length"), clean("forbidden-words"), clean("asks-for-a-person")]);
}

#[test]
fn a_text_of_1200_characters_is_whole_and_a_longer_one_is_cut_there_and_noted() {
    let guardrails = guardrails("");
    let whole = "é".repeat(1200);
    assert_eq!(passed(&guardrails.screen(&whole)), Some(whole.as_str()));
    let screening = guardrails.screen(&"é".repeat(1201));
    assert_eq!(passed(&screening), Some(whole.as_str()));
    let length = result(&screening.results, "input-length");
    assert_eq!((length.hit, length.reason, length.kind), (true, Reason::TooLong, KindName::Length));
    assert_eq!(length.spans, [Span { start: 2400, end: 2402 }]);
}

#[test]
fn what_stands_beyond_the_cut_is_judged_all_the_same() {
    let long = "so ".repeat(500);
    let blocked = guardrails("").screen(&format!("{long} a fake invoice"));
    assert_eq!(blocked.outcome, Outcome::Block { rule: "forbidden-words".into() });
    let asked = guardrails("").screen(&format!("{long} let me talk to a person"));
    assert_eq!(asked.outcome, Outcome::Handoff { rule: "asks-for-a-person".into(), asked: true });
}

#[test]
fn the_strongest_rule_decides_in_the_documented_order_and_all_results_are_kept() {
    let rules = [
        words("hand", "input", "handoff", "enforce", "lawyer"),
        words("stop", "input", "block", "enforce", "stolen"),
        words("hide", "input", "redact", "enforce", "secret"),
        words("note", "input", "annotate", "enforce", "urgent"),
        words("free", "input", "allow", "enforce", "hello"),
    ];
    let guardrails = guardrails(&rules.concat());
    let block = Outcome::Block { rule: "stop".into() };
    let handoff = |rule: &str, asked| Outcome::Handoff { rule: rule.into(), asked };
    for (text, expected) in [
        ("hello urgent secret lawyer stolen, talk to a person", handoff("asks-for-a-person", true)),
        ("hello urgent secret lawyer stolen", block),
        ("hello urgent secret lawyer", handoff("hand", false)),
        ("hello urgent Secret!", Outcome::Pass(Screened { text: "hello urgent ***!".into() })),
        ("hello urgent", Outcome::Pass(Screened { text: "hello urgent".into() })),
    ] {
        let screening = guardrails.screen(text);
        assert_eq!(screening.outcome, expected, "{text}");
        assert_eq!(screening.results.len(), 8, "{text}");
    }
}

#[test]
fn a_shadow_rule_is_traced_without_effect_and_one_that_is_off_does_not_run() {
    let rules = words("shadow", "input", "block", "shadow", "order") + &words("off", "input", "block", "off", "order");
    let screening = guardrails(&rules).screen("where is my order");
    assert_eq!(passed(&screening), Some("where is my order"));
    let shadow = result(&screening.results, "shadow");
    assert_eq!((shadow.hit, shadow.mode, shadow.reason), (true, RuleMode::Shadow, Reason::Word));
    assert!(screening.results.iter().all(|result| result.rule != "off"));
}

#[test]
fn history_keeps_what_was_handed_off_and_leaves_out_what_is_blocked() {
    let guardrails = guardrails("");
    assert_eq!(guardrails.recall("I want to talk to a person").unwrap().text(), "I want to talk to a person");
    assert!(guardrails.recall("write a fake invoice").is_none());
    assert!(guardrails.recall("a fake invoice or talk to a person").is_none());
}

#[test]
fn results_hold_places_and_never_text() {
    let screening = guardrails("").screen("my name is Quetzalcoatl, write a fake invoice");
    let trace = serde_json::to_string(&screening.results).unwrap();
    assert!(trace.contains(
        r#""rule":"forbidden-words","kind":"words","stage":"input","action":"block","mode":"enforce","hit":true"#
    ));
    assert!(!trace.to_lowercase().contains("quetzal") && !trace.contains("fake"), "{trace}");
    assert_eq!(serde_json::from_str::<Vec<RuleResult>>(&trace).unwrap(), screening.results);
    let shown = format!("{:?}", guardrails("").screen("my name is Quetzalcoatl"));
    assert!(!shown.contains("Quetzal"), "{shown}");
}

#[test]
fn a_draft_is_approved_refused_handed_off_or_cut() {
    let extra = words("to-person", "output", "handoff", "enforce", "lawsuit");
    let guardrails = guardrails(&extra);
    let approval = guardrails.approve(&draft("Abrimos a las nueve. ¿Quiere algo más?"), "en");
    let Decision::Approved(approved) = approval.decision else { panic!("{:?}", approval.decision) };
    assert_eq!((approved.text(), approved.author()), ("Abrimos a las nueve. ¿Quiere algo más?", Author::Assistant));
    assert_eq!(approval.results.len(), 3);
    let refused = guardrails.approve(&draft("Here is your fake invoice"), "en").decision;
    assert_eq!(refused, Decision::Refused { rule: "output-words".into() });
    let handed = guardrails.approve(&draft("That calls for a lawsuit"), "en").decision;
    assert_eq!(handed, Decision::Handoff { rule: "to-person".into() });
    let long = guardrails.approve(&draft(&"We are open. ".repeat(400)), "en").decision;
    let Decision::Approved(cut) = long else { panic!("{long:?}") };
    assert!(cut.text().len() <= 3000 && cut.text().ends_with("open."));
}

#[test]
fn a_draft_that_does_not_tell_its_language_has_the_conversations() {
    let decision = guardrails("").approve(&draft("OK!"), "pt-BR").decision;
    let Decision::Approved(approved) = decision else { panic!("{decision:?}") };
    assert_eq!(approved.locale(), "pt");
}

#[test]
fn one_reply_is_the_answer_then_the_notices_in_one_text() {
    let guardrails = guardrails("");
    let Decision::Approved(answer) = guardrails.approve(&draft("We open at nine."), "en").decision else { panic!() };
    let both = guardrails.compose(Some(answer), &[Notice::Blocked], "en").unwrap();
    let blocked = guardrails.notice(&Notice::Blocked, "en");
    assert_eq!(both.text(), format!("We open at nine.\n\n{}", blocked.text()));
    assert_eq!((both.author(), blocked.author()), (Author::Assistant, Author::Policy));
    assert_eq!(guardrails.compose(None, &[Notice::Blocked], "en").unwrap(), blocked);
    assert_eq!(guardrails.compose(None, &[], "en"), None);
}

#[test]
fn blank_text_is_something_that_cannot_be_read() {
    let guardrails = guardrails("");
    assert_eq!(guardrails.read(&Content::Text(" \n ".into())), Reading::Unreadable("empty".into()));
    assert_eq!(guardrails.read(&Content::Unreadable("audio".into())), Reading::Unreadable("audio".into()));
    assert!(matches!(guardrails.read(&Content::Text("👍".into())), Reading::Text(_)));
}
