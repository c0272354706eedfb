//! `handrail keys`.

use common::seal::{Keyring, Pseudonyms};

use crate::handrail::Place;

#[test]
fn generated_keys_are_lines_that_the_environment_takes() {
    let place = Place::new();
    let ran = place.run(&["keys", "generate"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<(&str, &str)> = ran.out.lines().map(|line| line.split_once('=').unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["HANDRAIL_KEYS", "HANDRAIL_QUEUE_KEYS", "HANDRAIL_PSEUDONYM_KEY"]);
    assert_eq!(Keyring::parse(lines[0].1).unwrap().sealing_id(), "k1");
    assert!(Keyring::parse(lines[1].1).is_ok() && Pseudonyms::parse(lines[2].1).is_ok());
    assert_ne!(lines[0].1, lines[1].1);
    assert!(std::fs::read_dir(place.path()).unwrap().next().is_none(), "kept nowhere");
}

#[test]
fn generated_keys_differ_each_time_and_carry_the_id_asked_for() {
    let place = Place::new();
    let [one, other] = [0, 1].map(|_| place.run(&["keys", "generate", "--id", "2026-02", "--json"]).json());
    assert_ne!(one["HANDRAIL_KEYS"], other["HANDRAIL_KEYS"]);
    assert!(one["HANDRAIL_QUEUE_KEYS"].as_str().unwrap().starts_with("2026-02:"));
    assert!(place.run(&["keys", "generate", "--id", "a b"]).error(2).contains("--id"));
}
