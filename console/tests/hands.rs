//! What an operator does by hand while everything runs: look, take the floor, reply, give it back, replay.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::handrail::Place;
use crate::up::{SECRET, Up};

/// Runs a list command until its first element is there and as wanted; each run is a process of its own.
fn until(place: &Place, list: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let found = place.run(list).json();
        if let Some(first) = found.as_array().and_then(|all| all.first()).filter(|first| wanted(first)) {
            return first.clone();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{list:?} stays {found}");
    }
}

#[test]
fn a_person_takes_the_floor_replies_and_gives_it_back_and_personal_data_shows_only_when_revealed() {
    let place = Place::new().with("WHATSAPP_APP_SECRET", SECRET);
    let up = Up::start(&place);
    let said = "Is the blue one in stock?";
    assert_eq!(place.run(&["send", "whatsapp", "--url", &up.url, "--from", "15550107", "--text", said]).code, 0);
    let conversation = until(&place, &["conversation", "list", "--json"], |first| first["ended"] == 1);
    let id = conversation["id"].as_str().unwrap();
    assert_eq!(
        (conversation["state"].as_str(), conversation["source"].as_str()),
        (Some("assistant"), Some("whatsapp"))
    );

    let taken = place.run(&["conversation", "take", id, "--as", "kim", "--why", "a hard one", "--json"]).json();
    assert_eq!((taken["state"].as_str(), taken["changed"].as_bool()), (Some("human"), Some(true)));
    let replied = place.run(&["conversation", "reply", id, "A person here: yes.", "--as", "kim", "--json"]).json();
    assert_eq!(replied["sends"].as_array().unwrap().len(), 1);

    let hidden = place.run(&["conversation", "show", id]);
    assert!(hidden.code == 0 && hidden.out.contains("(25 characters)"), "{}", hidden.out);
    assert!(hidden.out.contains("screen    pass") && hidden.out.contains("rules hit"), "{}", hidden.out);
    assert!(!hidden.out.contains("15550107") && !hidden.out.contains("blue"), "{}", hidden.out);
    let hidden = place.run(&["conversation", "show", id, "--json"]);
    assert!(!hidden.out.contains("15550107") && !hidden.out.contains("blue"), "{}", hidden.out);
    let shown = place.run(&["conversation", "show", id, "--reveal", "--json"]).json();
    assert_eq!(shown["party"]["address"]["value"], "15550107");
    assert_eq!(shown["lines"][0]["text"], said);

    let back = place.run(&["conversation", "return", id, "--json"]).json();
    assert_eq!((back["state"].as_str(), back["changed"].as_bool()), (Some("assistant"), Some(true)));
    assert_eq!(place.run(&["conversation", "return", id, "--json"]).json()["changed"], false);
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_that_stays_until_a_build_can_read_it() {
    let place = Place::new().with("WHATSAPP_APP_SECRET", SECRET);
    let up = Up::start(&place);
    assert_eq!(place.run(&["send", "whatsapp", "--url", &up.url, "--kind", "garbage"]).code, 0);
    let letter = until(&place, &["dead", "list", "--class", "unparsed", "--json"], |_| true);
    let id = letter["id"].as_str().unwrap();
    assert_eq!((letter["state"].as_str(), letter["source"].as_str()), (Some("open"), Some("whatsapp")));
    assert!(letter["at"].as_str().unwrap().ends_with('Z'));
    assert!(!place.run(&["dead", "show", id]).out.contains("this is no JSON"));
    assert!(place.run(&["dead", "show", id, "--reveal"]).out.contains("this is no JSON"));
    assert!(place.run(&["dead", "replay", id]).error(1).contains("1 of 1 did not end well"));
    assert_eq!(place.run(&["dead", "list", "--state", "open", "--json"]).json()[0]["id"], letter["id"]);
    assert!(
        place.run(&["dead", "list", "--source", "other"]).error(2).contains("no source is called 'other': whatsapp")
    );
    assert_eq!(up.stop(), Some(0));
}
