//! A private RabbitMQ node: its own name, ports, cookie, folder and port mapper; no plugins.
//!
//! Queue names are fixed, so each test takes a virtual host of its own. Most tests share one node; one that stops or
//! starves a node prepares its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Folder, Server, as_args, find, free_port, search_path};

/// Virtual hosts made at the first start, and again whenever they run out.
const VHOSTS: usize = 24;
const USER: &str = "handrail";
const PASSWORD: &str = "only-for-tests";

/// A node, running or not.
pub struct Broker {
    /// Removed when the broker is dropped.
    folder: Folder,
    environment: Vec<(&'static str, String)>,
    port: u16,
    epmd_port: u16,
    programs: PathBuf,
    running: Mutex<Option<Running>>,
    free: Mutex<Vec<String>>,
}

/// In the order of their end: the node, then the port mapper it speaks to.
struct Running {
    node: Server,
    _epmd: Server,
}

/// A virtual host that nobody else uses.
pub struct Vhost {
    /// Its name.
    pub name: String,
    /// For `QUEUE_URL`.
    pub url: String,
}

/// A fresh virtual host on the shared node.
pub fn vhost() -> Vhost {
    shared().vhost()
}

/// The node that tests share; it must not be stopped, nor its alarms raised.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| {
        let broker = Broker::prepare(VHOSTS);
        broker.start();
        broker
    })
}

impl Broker {
    /// A node with `vhosts` virtual hosts, not started: for tests that break it.
    pub fn prepare(vhosts: usize) -> Self {
        static NODES: AtomicU32 = AtomicU32::new(0);
        let programs = std::iter::once(PathBuf::from("/usr/lib/rabbitmq/bin")).chain(search_path());
        let programs = find("rabbitmq-server", programs).parent().expect("a folder").to_owned();
        let folder = Folder::make("handrail-rabbitmq-");
        let (port, epmd_port) = (free_port(), free_port());
        let names: Vec<String> = (0..vhosts).map(|n| format!("v{n}")).collect();
        let definitions = folder.write("definitions.json", &definitions(&names));
        let settings = format!("listeners.tcp.1 = 127.0.0.1:{port}\nload_definitions = {}\n", definitions.display());
        let node = format!("handrail{}x{}@localhost", std::process::id(), NODES.fetch_add(1, Ordering::Relaxed));
        let config = folder.write("rabbitmq.conf", &format!("{settings}log.console = false\n"));
        let environment = environment(&folder, &config, node, epmd_port);
        let (running, free) = (Mutex::new(None), Mutex::new(names));
        Self { folder, environment, port, epmd_port, programs, running, free }
    }

    /// Starts it, also after [`stop`](Self::stop), with all that it held. Returns once it takes connections.
    pub fn start(&self) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "it runs already");
        let port = self.epmd_port.to_string();
        let epmd = ["epmd", "-d", "-address", "127.0.0.1", "-port", &port];
        let epmd = Server::start("KILL", &as_args(&epmd), &[], "epmd running");
        let program = self.programs.join("rabbitmq-server");
        let node = Server::start("KILL", &as_args(&[program]), &self.environment, "completed with");
        *running = Some(Running { node, _epmd: epmd });
    }

    /// Kills it, as a power cut would; what it had confirmed is on disk.
    pub fn stop(&self) {
        // A test that failed while starting it still ends it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Stalls it, its sockets open and silent, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.running.lock().unwrap().as_ref().expect("it runs").node.freeze(frozen);
    }

    /// Where the node keeps everything it was given.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder.path
    }

    /// A fresh virtual host.
    pub fn vhost(&self) -> Vhost {
        let mut free = self.free.lock().unwrap();
        if free.is_empty() {
            free.extend(self.make_vhosts());
        }
        let name = free.pop().expect("a virtual host");
        let url = format!("amqp://{USER}:{PASSWORD}@127.0.0.1:{}/{name}", self.port);
        Vhost { name, url }
    }

    fn make_vhosts(&self) -> Vec<String> {
        static ROUND: AtomicU32 = AtomicU32::new(0);
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let names: Vec<String> = (0..VHOSTS).map(|n| format!("w{round}x{n}")).collect();
        let list = names.iter().map(|name| format!("<<\"{name}\">>")).collect::<Vec<_>>().join(",");
        self.eval(&format!(
            "lists:foreach(fun(V) -> rabbit_vhost:add(V, <<\"tests\">>), rabbit_auth_backend_internal:set_permissions(\
             <<\"{USER}\">>, V, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"tests\">>) end, [{list}])."
        ));
        names
    }

    /// Runs `rabbitmqctl` on this node; a failure is a panic with what it said.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.programs.join("rabbitmqctl"));
        command.args(["--quiet"]).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("rabbitmqctl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {said}{complaint}");
        said
    }

    /// Evaluates Erlang on this node.
    pub fn eval(&self, expression: &str) -> String {
        self.ctl(&["eval", expression])
    }

    /// Raises the memory alarm, or ends it: publishing connections are blocked meanwhile.
    pub fn alarm(&self, raised: bool) {
        self.ctl(&["set_vm_memory_high_watermark", if raised { "0.00001" } else { "0.4" }]);
    }

    /// Removes the binding that leads a routing key to its queue.
    pub fn unbind(&self, vhost: &Vhost, queue: &str) {
        let name = &vhost.name;
        self.eval(&format!(
            "rabbit_binding:remove({{binding, {{resource, <<\"{name}\">>, exchange, <<\"handrail\">>}}, <<\"{queue}\">>, \
             {{resource, <<\"{name}\">>, queue, <<\"{queue}\">>}}, []}}, <<\"tests\">>)."
        ));
    }

    /// Closes every connection to a virtual host.
    pub fn close_connections(&self, vhost: &Vhost) {
        self.ctl(&["close_all_connections", "--vhost", &vhost.name, "a test closes it"]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn definitions(vhosts: &[String]) -> String {
    let permission =
        |vhost| serde_json::json!({"user": USER, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"});
    serde_json::json!({
        "users": [{"name": USER, "password": PASSWORD, "tags": "administrator", "limits": {}}],
        "vhosts": vhosts.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
        "permissions": vhosts.iter().map(permission).collect::<Vec<_>>(),
    })
    .to_string()
}

fn environment(folder: &Folder, config: &Path, node: String, epmd_port: u16) -> Vec<(&'static str, String)> {
    let inside = |name: &str| folder.path.join(name).display().to_string();
    let empty = folder.write("environment.conf", "").display().to_string();
    let plugins = folder.write("enabled_plugins", "[].\n").display().to_string();
    std::fs::create_dir(folder.path.join("home")).expect("our own folder");
    vec![
        // Holds the node's own cookie.
        ("HOME", inside("home")),
        ("ERL_EPMD_PORT", epmd_port.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_NODENAME", node),
        ("RABBITMQ_DIST_PORT", free_port().to_string()),
        ("RABBITMQ_CONFIG_FILE", config.display().to_string()),
        ("RABBITMQ_CONF_ENV_FILE", empty),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", plugins),
        ("RABBITMQ_MNESIA_BASE", inside("mnesia")),
        ("RABBITMQ_LOG_BASE", inside("log")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", inside("generated")),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", inside("plugins")),
        // Two cores are shared with the tests: idle schedulers must not spin.
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none +sbwtdcpu none +sbwtdio none".into()),
        // Makes the start script replace itself by the node, which the guard can then end.
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
    ]
}
