//! What a policy promises, on the starter, and what it is refused for.

use super::*;

fn reasons(source: &str) -> String {
    Policy::parse(source, "test.toml").unwrap_err().to_string()
}

fn changed(from: &str, to: &str) -> String {
    assert_eq!(STARTER.matches(from).count(), 1, "'{from}' must stand once in the starter");
    STARTER.replacen(from, to, 1)
}

fn line_of(part: &str) -> usize {
    1 + STARTER[..STARTER.find(part).unwrap()].matches('\n').count()
}

#[test]
fn the_starter_is_sound_and_its_version_is_its_content() {
    let policy = Policy::starter().unwrap();
    assert_eq!(policy.locales(), ["en", "es", "pt"]);
    assert_eq!(policy.rules().len(), 27);
    assert_eq!(policy.on_unknown(), OnUnknown::Silent);
    assert_eq!(policy.version().len(), 12);
    assert_eq!(policy.version(), Policy::parse(STARTER, "elsewhere").unwrap().version());
    assert_ne!(policy.version(), Policy::parse(&format!("{STARTER}\n"), "test.toml").unwrap().version());
}

#[test]
fn the_instructions_name_the_assistant_say_what_it_is_and_hold_every_fact() {
    let policy = Policy::starter().unwrap();
    assert!(policy.system().starts_with(&format!("You are {}.", policy.name())));
    assert!(policy.system().contains("automated assistant"));
    assert!(policy.facts().values().all(|fact| policy.system().contains(fact)));
}

#[test]
fn every_notice_speaks_every_locale_and_an_unknown_locale_gets_the_default() {
    let policy = Policy::starter().unwrap();
    let unreadable = Notice::Unreadable(vec!["image".into(), "image".into(), "hologram".into()]);
    let notices = [
        Notice::Blocked,
        Notice::HandedOff,
        Notice::Failure,
        Notice::Holding,
        Notice::Returned,
        Notice::Courtesy,
        unreadable,
    ];
    for notice in &notices {
        let texts: Vec<_> = ["en", "es", "pt"].map(|locale| policy.say(notice, locale)).into();
        assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('{')), "{texts:?}");
        assert!(texts[0] != texts[1] && texts[1] != texts[2]);
        assert_eq!(policy.say(notice, "xx"), texts[0]);
        assert_eq!(policy.say(notice, "pt-BR"), texts[2]);
    }
    assert!(policy.say(&notices[6], "es").contains("imágenes, este tipo de mensaje"));
}

#[test]
fn the_language_of_a_short_message_is_told_or_left_open() {
    let policy = Policy::starter().unwrap();
    for (text, locale) in [
        ("What are your opening hours?", Some("en")),
        ("Can I return this?", Some("en")),
        ("¿Cuándo llega mi pedido?", Some("es")),
        ("Hola, ¿cuánto cuesta el envío?", Some("es")),
        ("quiero hablar con una persona", Some("es")),
        ("Quando chega o meu pedido?", Some("pt")),
        ("Oi, vocês têm isso em azul?", Some("pt")),
        ("quero falar com uma pessoa", Some("pt")),
        ("ok", None),
        ("12345", None),
        ("", None),
    ] {
        assert_eq!(policy.detect(text), locale, "{text}");
    }
}

#[test]
fn a_policy_with_a_mistake_is_refused_with_its_line_and_reason() {
    let rule = "name = \"forbidden-words\"";
    for (from, to, line, reason) in [
        ("history_tokens = 2000", "histroy_tokens = 2000", line_of("history_tokens"), "unknown field `histroy_tokens`"),
        ("history_tokens = 2000", "history_tokens = -1", line_of("history_tokens"), "-1"),
        ("max_output_tokens = 500", "max_output_tokens = 0", line_of("max_output_tokens"), "at least 1"),
        ("default_locale = \"en\"", "default_locale = \"fr\"", line_of("default_locale"), "'fr' is not among"),
        ("on_unknown = \"silent\"", "on_unknown = \"loud\"", line_of("on_unknown"), "loud"),
        ("prompt = \"prompts/shop.txt\"", "prompt = \"shop.txt\"", line_of("prompt ="), "there is no 'shop.txt'"),
        ("prompt = \"prompts/shop.txt\"", "instructions = \"Hi, {nmae}\"", line_of("prompt ="), "'{nmae}'"),
        ("prompt = \"prompts/shop.txt\"", "instructions = \"\"", line_of("prompt ="), "'instructions' is empty"),
        ("I can't read {what} yet.", "I can't read {waht} yet.", line_of("I can't read"), "'{waht}'"),
        ("es = \"imágenes\"\n", "", line_of("[media.image]"), "'media.image' has nothing for 'es'"),
        ("[texts.failure]", "[texts.failing]", line_of("[texts.failure]"), "unknown text 'failing'"),
        ("[media.other]", "[media.another]", line_of("[media.image]"), "'other'"),
        (rule, "name = \"input-length\"", line_of(rule), "two rules are named 'input-length'"),
        (rule, "name = \"forbidden-words\"\nsampel = 3", line_of(rule) + 1, "unknown field `sampel`"),
        (rule, "name = \"forbidden-words\"\nsample = 3.0", line_of(rule) + 1, "'sample' is a share"),
        ("kind = \"person\"", "kind = \"alien\"", line_of("kind = \"person\""), "unknown kind 'alien'"),
        ("max_characters = 1200", "max_characters = 0", line_of("max_characters = 1200"), "at least 1"),
        ("max_characters = 1200", "max_characters = \"many\"", line_of("max_characters = 1200"), "invalid type"),
        ("[rule.rhetorical]", "[rule.rethorical]", line_of("[rule.rhetorical]"), "unknown field `rethorical`"),
    ] {
        let text = reasons(&changed(from, to));
        let found = text.lines().any(|l| l.contains(&format!("test.toml:{line}:")) && l.contains(reason));
        assert!(found, "'{to}' should be refused at line {line} for {reason}:\n{text}");
    }
}

#[test]
fn what_follows_a_dead_message_is_the_policys_to_say_for_each_class() {
    let table = "[after_dead]\ndefault = \"hold\"\ncrash = \"park\"\n\n[facts]\nhours";
    let policy = Policy::parse(&changed("[facts]\nhours", table), "test.toml").unwrap();
    assert_eq!(policy.after_dead(Class::Crash), AfterDead::Park);
    assert_eq!(policy.after_dead(Class::Poison), AfterDead::Hold);
    assert!(Class::ALL.iter().all(|class| Policy::starter().unwrap().after_dead(*class) == AfterDead::Park));
    for (line, reason) in [("crush = \"hold\"", "unknown class 'crush'"), ("crash = \"stop\"", "stop")] {
        let text = reasons(&changed("[facts]\nhours", &format!("[after_dead]\n{line}\n\n[facts]\nhours")));
        assert!(text.contains(reason), "{line}\n{text}");
    }
}

#[test]
fn every_mistake_is_told_at_once_and_in_order() {
    let source =
        changed("history_tokens = 2000", "history_tokens = 2000000").replace("[texts.failure]", "[texts.fail]");
    let error = Policy::parse(&source, "test.toml").unwrap_err();
    let lines: Vec<_> = error.problems.iter().map(|p| p.line).collect();
    assert!(lines.len() >= 3, "{error}");
    assert!(lines.is_sorted());
}

#[test]
fn a_rule_that_cannot_work_is_refused() {
    let rule = |body: &str| format!("{STARTER}\n[[rule]]\nname = \"new\"\nmode = \"enforce\"\n{body}\n");
    for (body, reason) in [
        ("kind = \"length\"\nstage = \"input\"\naction = \"redact\"\nmax_characters = 5", "cannot 'redact'"),
        ("kind = \"length\"\nstage = \"input\"\naction = \"block\"", "nothing would be too long"),
        ("kind = \"length\"\nstage = \"input\"\naction = \"block\"\nmax_bytes = 9", "overlap: they are of one kind"),
        (
            "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"Fake   INVOICE\"], es = [], pt = [] }",
            "overlap: both look for 'fake invoice'",
        ),
        ("kind = \"words\"\nstage = \"input\"\naction = \"block\"\npatterns = ['(a+)+$']", "repeats a repetition"),
        ("kind = \"words\"\nstage = \"input\"\naction = \"block\"\npatterns = ['a{9}{999}{99}']", "more than"),
        ("kind = \"repeat\"\nstage = \"input\"\naction = \"block\"\ntimes = 1", "must be 2 to 20"),
        ("kind = \"topic\"\nstage = \"output\"\naction = \"block\"", "cannot 'block' at the output stage"),
        ("kind = \"language\"\nstage = \"input\"\naction = \"block\"\nallow = [\"english\"]", "two letters"),
        ("kind = \"schema\"\nstage = \"output\"\naction = \"block\"\nformat = \"json\"", "json needs it"),
        ("kind = \"url\"\nstage = \"input\"\naction = \"block\"\nallow = [\"http://x.example\"]", "is no host"),
        (
            "kind = \"leak\"\nstage = \"output\"\naction = \"block\"\ncanary = \"not in there\"",
            "stand in the instructions",
        ),
        (
            "kind = \"repeat\"\nstage = \"output\"\naction = \"block\"\ntimes = 3\nreply = { en = \"no {thing}\", es = \"no\", pt = \"no\" }",
            "'{thing}'",
        ),
        (
            "kind = \"repeat\"\nstage = \"output\"\naction = \"block\"\ntimes = 3\nreply = { en = \"no\" }",
            "nothing for 'pt'",
        ),
        (
            "kind = \"repeat\"\nstage = \"output\"\naction = \"allow\"\ntimes = 3\nreply = { en = \"a\", es = \"a\", pt = \"a\" }",
            "never be said",
        ),
        ("kind = \"repeat\"\nstage = \"output\"\naction = \"allow\"\ntimes = 3\nlocales = [\"fr\"]", "'fr'"),
        ("kind = \"repeat\"\nstage = \"output\"\naction = \"allow\"\ntimes = 3\non_error = \"shrug\"", "shrug"),
        ("kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"x\"], es = [\"x\"] }", "'pt'"),
        (
            "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [], es = [], pt = [] }",
            "nothing to",
        ),
        (
            "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"!?\"], es = [], pt = [] }",
            "'!?'",
        ),
        (
            "kind = \"words\"\nstage = \"input\"\naction = \"block\"\nwords = { en = [\"x\"], es = [], pt = [], fr = [] }",
            "'fr'",
        ),
        (
            "kind = \"words\"\nstage = \"sideways\"\naction = \"block\"\nwords = { en = [\"x\"], es = [], pt = [] }",
            "sideways",
        ),
        ("stage = \"input\"\naction = \"block\"", "has no kind"),
    ] {
        let text = reasons(&rule(body));
        assert!(text.contains(reason), "{body}\n{text}");
    }
}

#[test]
fn figures_cannot_be_held_to_an_empty_fact_table() {
    let facts = &STARTER[STARTER.find("[facts]").unwrap()..STARTER.find("# Words that tell").unwrap()];
    let text = reasons(&changed(facts, ""));
    let line = changed(facts, "").lines().position(|line| line == "name = \"grounding\"").unwrap() + 1;
    assert!(text.contains(&format!("test.toml:{line}:")) && text.contains("needs [facts]"), "{text}");
    assert!(reasons(&changed(facts, "[facts]\n\n")).contains("the fact table is empty"));
}

#[test]
fn a_fixture_that_names_no_rule_or_has_no_text_is_refused() {
    let with = |body: &str| reasons(&format!("{STARTER}\n[[fixture]]\noutcome = \"block\"\n{body}\n"));
    assert!(with("texts = [\"x\"]\nrule = \"nobody\"").contains("no rule of that stage is named 'nobody'"));
    assert!(with("texts = []").contains("proves nothing"));
    assert!(with("texts = [\"x\"]\ncolour = 1").contains("unknown field `colour`"));
}

#[test]
fn a_file_that_is_no_toml_or_is_absent_is_refused_by_name() {
    assert!(reasons("[assistant\nname = 1").contains("test.toml:1:"));
    assert!(reasons("").contains("missing field `assistant`"));
    let absent = Policy::load(Path::new("/nowhere/at-all.toml")).unwrap_err().to_string();
    assert!(absent.contains("/nowhere/at-all.toml:1: cannot be read"), "{absent}");
}
