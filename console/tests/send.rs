//! `handrail send` and `handrail up`: a webhook posted by one process, answered by another.

use crate::handrail::Place;
use crate::up::{SECRET, Up};

#[test]
fn a_signed_sample_is_accepted_a_forged_one_is_not_and_both_processes_end_well() {
    let place = Place::new().with("WHATSAPP_APP_SECRET", SECRET);
    let up = Up::start(&place);
    let accepted = place.run(&["send", "whatsapp", "--url", &up.url, "--times", "2", "--json"]).json();
    assert_eq!(accepted.as_array().unwrap().len(), 2);
    for post in accepted.as_array().unwrap() {
        assert_eq!((post["status"].as_u64(), post["state"].as_str()), (Some(200), Some("accepted")));
        assert!(post["id"].is_string() && post["at"].as_str().unwrap().ends_with('Z'));
    }
    let forged = place.run(&["send", "whatsapp", "--url", &up.url, "--bad-signature"]);
    assert!(forged.error(1).contains("1 of 1 posts were not accepted") && forged.out.contains("401"), "{}", forged.out);
    assert_eq!(place.run(&["send", "whatsapp", "--url", &up.url, "--kind", "garbage"]).code, 0);
    assert_eq!(up.stop(), Some(0));
    // What was accepted is in the queue or the store, whichever it had reached.
    let ledger = place.run(&["ledger", "--json"]).json();
    assert_eq!(ledger["imbalances"], serde_json::json!([]));
}

#[test]
fn sending_to_nobody_or_as_nobody_cannot_run_and_says_what_to_do() {
    let place = Place::new();
    let unknown = place.run(&["send", "shop"]);
    assert!(unknown.error(2).contains("WHATSAPP_APP_SECRET"), "{}", unknown.err);
    let place = Place::new().with("WHATSAPP_APP_SECRET", SECRET);
    assert!(place.run(&["send", "shop"]).error(2).contains("these are: whatsapp"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    assert!(place.run(&["send", "whatsapp", "--url", &url]).error(2).contains("handrail up"));
    assert!(place.run(&["send", "whatsapp", "--file", "absent.json"]).error(2).contains("absent.json"));
}
