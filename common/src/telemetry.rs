//! Tracing, set up once, and the one list of field names.
//!
//! Human lines on a terminal, JSON otherwise; always on stderr, since stdout is data. A log never holds a secret, a
//! raw contact address, a provider's message id or message text (P7): only what [`field`] lists.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Every field name that a log line may carry. A new one is added here first; the tidy test compares.
pub mod field {
    /// Our id of an inbound event.
    pub const EVENT: &str = "event.id";
    /// Its kind.
    pub const KIND: &str = "event.kind";
    /// The configured source.
    pub const SOURCE: &str = "source";
    /// Our id of a conversation, random.
    pub const CONVERSATION: &str = "conversation.id";
    /// The fence of a claim.
    pub const FENCE: &str = "turn.fence";
    /// How a turn, a send or a request ended, one constant word.
    pub const OUTCOME: &str = "outcome";
    /// Our id of a send.
    pub const SEND: &str = "send.id";
    /// Our id of a notice to a team.
    pub const NOTICE: &str = "notice.id";
    /// A configured destination of notices, by its name.
    pub const DESTINATION: &str = "destination";
    /// The W3C trace id.
    pub const TRACE: &str = "trace.id";
    /// An ingress's id of a request.
    pub const REQUEST: &str = "request.id";
    /// A stable error code or class.
    pub const CODE: &str = "error.code";
    /// An error's text, ours, without content.
    pub const ERROR: &str = "error";
    /// A count.
    pub const COUNT: &str = "count";
    /// Milliseconds.
    pub const MILLIS: &str = "ms";
    /// A worker's id.
    pub const WORKER: &str = "worker.id";
    /// A configured model's name.
    pub const MODEL: &str = "model";
    /// A queue's or a door's name.
    pub const QUEUE: &str = "queue";
    /// A bound address of ours.
    pub const BIND: &str = "bind";
    /// A setting's name.
    pub const SETTING: &str = "setting";
    /// An HTTP status code.
    pub const STATUS: &str = "http.status";
    /// A file of ours.
    pub const FILE: &str = "file";
    /// A line of it.
    pub const LINE: &str = "line";
    /// A policy's version.
    pub const POLICY: &str = "policy";

    /// All of them.
    pub const ALL: &[&str] = &[
        EVENT,
        KIND,
        SOURCE,
        CONVERSATION,
        FENCE,
        OUTCOME,
        SEND,
        NOTICE,
        DESTINATION,
        TRACE,
        REQUEST,
        CODE,
        ERROR,
        COUNT,
        MILLIS,
        WORKER,
        MODEL,
        QUEUE,
        BIND,
        SETTING,
        STATUS,
        FILE,
        LINE,
        POLICY,
    ];
}

/// Starts logging for a process. `RUST_LOG` filters; without it `info` for us and `warn` for libraries, except that
/// lapin is silent: our own supervisor tells each outage once, and lapin writes whole returned messages out.
pub fn start() {
    start_filtered("warn,lapin=off,common=info,ingress=info,worker=info,recall=info,handrail=info");
}

/// Starts logging with another default filter. A second call changes nothing.
pub fn start_filtered(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A log that cannot be written, on a full disk for one, would otherwise be told on stderr, which panics.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let lines = lines.with_writer(std::io::stderr);
    // An error means that logging is already set up.
    let _already = if std::io::stderr().is_terminal() {
        lines.with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    std::panic::set_hook(Box::new(panicked));
}

/// Says where a panic happened and never what it says: that may be a customer's text (P7).
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!({ field::CODE } = "panicked", { field::FILE } = place, "some code failed");
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Set in the process that is to fail.
    const FAILS: &str = "A_TEST_FAILS_HERE";

    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_its_words() {
        if std::env::var_os(FAILS).is_some() {
            super::start();
            let words = String::from("my number is 15550100 and my order é");
            assert!(std::panic::catch_unwind(|| words[..words.len() - 1].len()).is_err());
            return;
        }
        let here = std::env::current_exe().unwrap();
        let name = "telemetry::tests::a_panic_is_told_by_its_place_and_not_by_its_words";
        let told = Command::new(here).args(["--exact", name, "--nocapture"]).env(FAILS, "1").output().unwrap();
        assert!(told.status.success());
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(said.contains("panicked") && said.contains("telemetry.rs"), "{said}");
        assert!(!said.contains("15550100") && !said.contains("my order"), "{said}");
    }
}
