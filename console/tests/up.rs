//! A running `handrail up`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::handrail::Place;

pub(crate) const SECRET: &str = "a-long-enough-signing-secret-for-a-test";

/// `handrail up` on free ports, ended by SIGTERM when dropped.
pub(crate) struct Up {
    child: Child,
    pub(crate) url: String,
}

impl Up {
    pub(crate) fn start(place: &Place) -> Self {
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
    pub(crate) fn stop(mut self) -> Option<i32> {
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
