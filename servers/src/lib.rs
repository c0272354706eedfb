//! Private servers for tests and benchmarks: a RabbitMQ and a PostgreSQL of our own, on free ports, in a temporary
//! folder. Never part of a deployment.
//!
//! Each is started by the first test that asks and shared by the whole test process; a test that breaks a server
//! starts one for itself. A shell guards each server: it waits on a pipe from this process and ends its server when
//! the pipe closes, however this process ended. A server that is not installed is a failure that says so, never a skip.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests and benchmarks use it, and a server that does not start ends them with what it said"
)]

pub mod postgres;
pub mod rabbitmq;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(90);

/// Tells its server's process id, then runs "$@" until standard input ends, then sends it the signal named first.
const GUARD: &str = r#"
    signal=$1; shift
    sh -c 'echo $$; exec "$@"' server "$@" </dev/null 2>&1 &
    server=$!
    read -r _
    kill -s "$signal" $server
    wait $server
"#;

/// Waits until standard input ends, then removes the folder, which a dying server may still be writing to.
const SWEEP: &str =
    r#"read -r _; tries=0; until rm -rf "$1" 2>/dev/null || [ $tries = 50 ]; do tries=$((tries+1)); sleep 0.2; done"#;

/// A running server and the shell that guards it. Dropping it ends both.
struct Server {
    guard: Child,
    /// Closed to end the server.
    pipe: Option<ChildStdin>,
    process: i32,
}

impl Server {
    /// Starts `program` and returns once it has printed `ready`.
    fn start(signal: &str, program: &[&OsStr], environment: &[(&str, String)], ready: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard", signal]).args(program);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // A group of its own: an interrupt from the terminal ends this process, and only then, by the pipe, the server.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = command.spawn().expect("a shell");
        let pipe = guard.stdin.take();
        let output = lines(guard.stdout.take().expect("its output"));
        let process = output.recv().expect("the guard's first line").parse().expect("a process id");
        let server = Self { guard, pipe, process };
        wait_for(&output, ready, &program[0].to_string_lossy());
        // Read on, so that the server never waits for a full pipe.
        std::thread::spawn(move || output.iter().for_each(drop));
        server
    }
}

impl Server {
    /// Stops its clock, as a stalled machine would, or lets it go on.
    fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        nix::sys::signal::kill(Pid::from_raw(self.process), signal).expect("our own process");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ended = self.guard.wait();
    }
}

fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _nobody_reads = sender.send(line);
        }
    });
    receiver
}

fn wait_for(output: &Receiver<String>, ready: &str, name: &str) {
    let (deadline, mut said) = (Instant::now() + START, Vec::new());
    loop {
        match output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(ready) => return,
            Ok(line) => said.push(line),
            Err(error) => panic!("{name} did not start ({error}). It said:\n{}", said.join("\n")),
        }
    }
}

/// A temporary folder that is removed after this process, whatever ends it.
struct Folder {
    path: PathBuf,
    /// Kept for as long as the folder is needed.
    _pipe: ChildStdin,
    _sweeper: Child,
}

impl Folder {
    fn make(prefix: &str) -> Self {
        let path = tempfile::Builder::new().prefix(prefix).tempdir().expect("a temporary folder").keep();
        // The server may run as another user and must get through.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our own folder");
        let mut command = Command::new("sh");
        command.args(["-c", SWEEP, "sweep"]).arg(&path).process_group(0).stdin(Stdio::piped());
        let mut sweeper = command.stdout(Stdio::null()).spawn().expect("a shell");
        let pipe = sweeper.stdin.take().expect("its input");
        Self { path, _pipe: pipe, _sweeper: sweeper }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::write(&path, text).expect("our own folder");
        path
    }
}

/// Below those that the system gives to outgoing connections: one of them could take a port before its server does.
const PORTS: std::ops::Range<u32> = 15_000..32_000;

/// A port that was free a moment ago and that this process has given to nobody else: whoever has it may end, and start
/// on it again.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random_range(PORTS)));
    let ports =
        std::iter::repeat_with(|| PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start));
    let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a loopback port")
}

/// The first of these folders that holds `program`, and otherwise a failure that says what to do.
fn find(program: &str, folders: impl IntoIterator<Item = PathBuf>) -> PathBuf {
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed: run `make setup`"))
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn as_args(parts: &[impl AsRef<Path>]) -> Vec<&OsStr> {
    parts.iter().map(|part| part.as_ref().as_os_str()).collect()
}
