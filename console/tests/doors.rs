//! The commands that open the store or the queue.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::handrail::Place;

const NO_SUCH_ID: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn wrong_usage_exits_2_and_says_how_it_is_used() {
    let place = Place::new();
    for arguments in [&["dead", "shwo"][..], &["dead", "show"], &["ledger", "--since", "yesterday"], &["send"], &[]] {
        assert!(place.run(arguments).error(2).contains("Usage") || place.run(arguments).err.contains("--help"));
    }
    assert!(place.run(&["dead", "show", "not-an-id"]).error(2).contains("32 hexadecimal digits"));
    assert_eq!(place.run(&["--help"]).code, 0);
    assert_eq!(place.run(&["--version"]).code, 0);
}

#[test]
fn migrate_makes_what_is_missing_for_its_owner_only_and_then_finds_it_current() {
    let place = Place::new();
    let made = place.run(&["migrate", "--json"]).json();
    let states = |list: &serde_json::Value| -> Vec<(String, String)> {
        let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|row| (word(row, "id"), word(row, "state"))).collect()
    };
    let all = |state: &str| ["store", "keys", "queue"].map(|id| (id.to_owned(), state.to_owned())).to_vec();
    assert_eq!(states(&made), all("made"));
    for name in ["handrail.db", "handrail.keys.db", "queue.db", "keys"] {
        let mode = std::fs::metadata(place.path().join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(states(&place.run(&["migrate", "--json"]).json()), all("current"));
}

#[test]
fn the_ledger_of_an_empty_store_balances_and_names_every_state() {
    let place = Place::new();
    let ledger = place.run(&["ledger", "--json"]).json();
    for key in ["accepted", "pending", "late", "lost", "unvouched", "unknown_sends"] {
        assert_eq!(ledger[key], 0, "{key}");
    }
    for end in ["replied", "joined", "blocked", "handed_off", "recorded", "dead", "discarded", "erased"] {
        assert_eq!(ledger["ended"][end], 0, "{end}");
    }
    assert_eq!(ledger["imbalances"], json!([]));
    let words = place.run(&["ledger"]);
    assert!(words.code == 0 && words.out.contains("It balances: 0 accepted = 0 ended + 0 pending."), "{}", words.out);
}

#[test]
fn empty_lists_are_empty_arrays_and_a_word_for_people() {
    let place = Place::new();
    for list in [["dead", "list"], ["conversation", "list"]] {
        assert_eq!(place.run(&[list[0], list[1], "--json"]).json(), json!([]));
        let words = place.run(&list);
        assert!(words.code == 0 && words.out.is_empty() && words.err.contains("No "), "{}", words.err);
    }
}

#[test]
fn an_unknown_id_exits_1_and_is_named() {
    let place = Place::new();
    for arguments in [["dead", "show"], ["dead", "replay"], ["conversation", "show"], ["conversation", "take"]] {
        let ran = place.run(&[arguments[0], arguments[1], NO_SUCH_ID]);
        let error = ran.error(1);
        assert!(error.contains(NO_SUCH_ID) && error.starts_with("no "), "{arguments:?}: {error}");
        assert_eq!(ran.out, "");
    }
    let error = place.run(&["conversation", "return", NO_SUCH_ID, "--json"]);
    assert!(error.error(1).contains("no conversation with the id"));
    assert!(place.run(&["conversation", "reply", NO_SUCH_ID, "hello"]).error(1).contains(NO_SUCH_ID));
}

#[test]
fn a_store_that_cannot_be_opened_exits_2_and_names_the_setting_without_the_password() {
    let wrong = Place::new().with("DATABASE_URL", "mysql://me:hunter2@db/shop");
    let error = wrong.run(&["ledger"]).error(2).to_owned();
    assert!(error.contains("DATABASE_URL") && error.contains("postgres://") && !error.contains("hunter2"), "{error}");

    // A port that was free a moment ago: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = Place::new().with("DATABASE_URL", &format!("postgres://me:hunter2@127.0.0.1:{port}/shop"));
    let error = nobody.run(&["dead", "list"]).error(2).to_owned();
    assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_broker_that_is_not_there_is_said_within_seconds() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::new().with("QUEUE_URL", &format!("amqp://me:hunter2@127.0.0.1:{port}/%2f"));
    let started = Instant::now();
    let error = place.run(&["queue", "status"]).error(2).to_owned();
    assert!(error.contains("QUEUE_URL") && !error.contains("hunter2"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn an_embedded_queue_tells_its_depths() {
    let status = Place::new().run(&["queue", "status", "--json"]).json();
    let names: Vec<&str> = status["queues"].as_array().unwrap().iter().filter_map(|q| q["name"].as_str()).collect();
    assert!(names.contains(&"handrail.work") && names.contains(&"handrail.dead"), "{names:?}");
    assert!(status["queues"].as_array().unwrap().iter().all(|queue| queue["ready"] == 0));
    assert_eq!(status["oldest_waiting_seconds"], 0.0);
}

#[test]
fn production_without_keys_does_not_run_and_says_which_are_missing() {
    let error = Place::new().with("HANDRAIL_MODE", "production").run(&["ledger"]).error(2).to_owned();
    assert!(error.contains("HANDRAIL_KEYS") && error.contains("handrail keys generate"), "{error}");
}
