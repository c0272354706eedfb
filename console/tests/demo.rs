//! `handrail demo --exit`: every line goes as it must, and nothing is left behind.

use serde_json::Value;

use crate::handrail::Place;

const LINES: [&str; 8] = [
    "a question",
    "a burst of three",
    "the question again",
    "a bad signature",
    "a forbidden word",
    "asks for a person",
    "a delivery report",
    "an unreadable body",
];

#[test]
fn the_demo_shows_every_line_go_as_it_must_and_leaves_nothing() {
    let place = Place::new();
    let ran = place.run(&["demo", "--exit"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    for line in LINES {
        assert!(ran.out.lines().any(|l| l.starts_with("ok") && l.contains(line)), "{line}: {}", ran.out);
    }
    assert!(ran.out.contains("It balances") && ran.out.contains("Stand-ins"), "{}", ran.out);
    assert!(!ran.out.contains('\x1b'), "no terminal, no cursor moves");
    assert!(std::fs::read_dir(place.path()).unwrap().next().is_none(), "its folder is removed");
}

#[test]
fn the_demo_ignores_the_environment_and_tells_programs_each_line() {
    let place = Place::new().with("LLM_PROTOCOL", "openai").with("QUEUE_URL", "amqp://nobody@127.0.0.1:1/");
    std::fs::write(place.path().join("handrail.toml"), "not = [toml").unwrap();
    let lines = place.run(&["demo", "--exit", "--json"]).json();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let told: Vec<(String, String)> =
        lines.as_array().unwrap().iter().map(|l| (word(l, "line"), word(l, "state"))).collect();
    let states = ["replied", "2 joined, replied", "duplicate", "refused", "blocked", "handed_off", "recorded", "dead"];
    let must: Vec<(String, String)> = LINES.iter().zip(states).map(|(l, s)| ((*l).to_owned(), s.to_owned())).collect();
    assert_eq!(told, must);
    assert!(lines.as_array().unwrap().iter().all(|line| line["ok"] == true), "{lines}");
}
