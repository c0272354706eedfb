//! `handrail send` and `handrail up`: a webhook posted by one process, answered by another.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::handrail::Place;

const SECRET: &str = "a-long-enough-signing-secret-for-a-test";

/// `handrail up` on free ports, ended by SIGTERM when dropped.
struct Up {
    child: Child,
    url: String,
}

impl Up {
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["up", "--json"]);
        for bind in ["INGRESS_BIND", "INGRESS_ADMIN_BIND", "WORKER_ADMIN_BIND"] {
            command.env(bind, "127.0.0.1:0");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = out.lines().map_while(Result::ok);
        let webhook =
            lines.map(|line| line.trim().trim_matches(['"', ',']).to_owned()).find(|l| l.contains("/webhooks/"));
        let url = webhook.expect("up says where it listens").split("/webhooks/").next().unwrap().to_owned();
        Self { child, url }
    }

    /// Ends it as an init system would; its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // After `stop` it has ended already, and both are errors that say so.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

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
