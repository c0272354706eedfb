//! A private PostgreSQL: its own data folder, port and password; `fsync` stays on. As root, which PostgreSQL refuses, it
//! runs as the user `postgres` or `nobody`. Each test takes a database of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Folder, Server, as_args, find, free_port, search_path};

const USER: &str = "handrail";
const PASSWORD: &str = "only-for-tests";

/// A server, running or not.
pub struct Postgres {
    folder: Folder,
    port: u16,
    programs: PathBuf,
    /// Whom it runs as when we are root.
    owner: Option<Owner>,
    running: Mutex<Option<Server>>,
}

struct Owner {
    user: u32,
    group: u32,
}

/// A fresh database's URL, on the shared server.
pub async fn database() -> String {
    shared().database().await
}

/// The server that tests share; it must not be stopped.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = Postgres::prepare();
        server.start();
        server
    })
}

impl Postgres {
    /// A server with an empty cluster, not started: for tests that break it.
    pub fn prepare() -> Self {
        let folder = Folder::make("handrail-postgres-");
        let owner = owner();
        let data = folder.path.join("data");
        std::fs::create_dir(&data).expect("our own folder");
        if let Some(owner) = &owner {
            std::os::unix::fs::chown(&data, Some(owner.user), Some(owner.group)).expect("we are root");
        }
        let programs = find("initdb", program_folders()).parent().expect("a folder").to_owned();
        let server = Self { port: free_port(), programs, owner, running: Mutex::new(None), folder };
        server.make_cluster(&data);
        server
    }

    fn make_cluster(&self, data: &Path) {
        let password = self.folder.write("password", PASSWORD);
        let mut arguments = self.command("initdb");
        arguments.extend(["-D".into(), data.to_owned(), "--pwfile".into(), password]);
        arguments
            .extend(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"].map(PathBuf::from));
        let output = Command::new(&arguments[0]).args(&arguments[1..]).current_dir("/").output().expect("initdb");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it, also after [`stop`](Self::stop), with all that it held. Returns once it takes connections.
    pub fn start(&self) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "it runs already");
        let data = self.folder.path.join("data");
        let mut arguments = self.command("postgres");
        arguments.extend(["-D".into(), data.clone()]);
        let port = format!("port={}", self.port);
        let sockets = format!("unix_socket_directories={}", data.display());
        for setting in [&port, &sockets, "listen_addresses=127.0.0.1", "max_connections=400", "shared_buffers=64MB"] {
            arguments.extend(["-c".into(), PathBuf::from(setting)]);
        }
        *running = Some(Server::start("QUIT", &as_args(&arguments), &[], "ready to accept connections"));
    }

    /// Ends it at once; what was committed is on disk.
    pub fn stop(&self) {
        // A test that failed while starting it still ends it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Stalls it and all its connections' processes, their sockets open and silent, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let running = self.running.lock().unwrap();
        let server = running.as_ref().expect("it runs");
        // The postmaster first: afterwards nobody is born.
        server.freeze(frozen);
        for child in children(server.process) {
            let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
            // One that has ended meanwhile is frozen enough.
            let _gone = kill(Pid::from_raw(child), signal);
        }
    }

    /// A program of this installation, run as the owner.
    fn command(&self, program: &str) -> Vec<PathBuf> {
        let mut arguments = Vec::new();
        if let Some(Owner { user, group }) = self.owner {
            let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
            arguments.extend(["setpriv", &user, &group, "--clear-groups", "--"].map(PathBuf::from));
        }
        arguments.push(self.programs.join(program));
        arguments
    }

    /// A fresh database's URL.
    pub async fn database(&self) -> String {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("the private server");
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database");
        connection.close().await.expect("a goodbye");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }
}

/// The processes that this one has started, from the process table.
fn children(parent: i32) -> Vec<i32> {
    let table = std::fs::read_dir("/proc").expect("the proc file system").flatten();
    let ids = table.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let parent_of = |id: i32| {
        let line = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // After the name, which may hold anything: the state, then the parent.
        line.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

fn program_folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    // The newest first.
    folders.sort_by_key(|path| std::cmp::Reverse(major(path)));
    folders.extend(search_path());
    folders
}

fn major(path: &Path) -> u32 {
    let version = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn owner() -> Option<Owner> {
    let ourselves = std::fs::metadata("/proc/self").expect("the proc file system");
    if std::os::unix::fs::MetadataExt::uid(&ourselves) != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the list of users");
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.find(|fields| fields.first() == Some(&name))?;
        Some(Owner { user: fields.get(2)?.parse().ok()?, group: fields.get(3)?.parse().ok()? })
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user other than root"))
}
