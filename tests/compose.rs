//! compose.yaml and the Dockerfile name what exists: variables, build targets, binaries. They are read as lines, since
//! they are ours and plain; no container engine is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every variable that Handrail reads, as its design lists them.
const VARIABLES: &[&str] = &[
    "HANDRAIL_CONFIG",
    "HANDRAIL_MODE",
    "QUEUE_URL",
    "DATABASE_URL",
    "INGRESS_BIND",
    "RECALL_BIND",
    "INGRESS_ADMIN_BIND",
    "WORKER_ADMIN_BIND",
    "RECALL_ADMIN_BIND",
    "CONSOLE_BIND",
    "WORKER_CONCURRENCY",
    "HANDRAIL_KEYS",
    "HANDRAIL_QUEUE_KEYS",
    "HANDRAIL_PSEUDONYM_KEY",
    "WHATSAPP_APP_SECRET",
    "WHATSAPP_VERIFY_TOKEN",
    "WHATSAPP_ACCESS_TOKEN",
    "WHATSAPP_PHONE_NUMBER_ID",
    "WHATSAPP_API_URL",
    "ELEVENLABS_WEBHOOK_SECRET",
    "ELEVENLABS_RECALL_SECRET",
    "ELEVENLABS_API_KEY",
    "ELEVENLABS_API_URL",
    "LLM_PROTOCOL",
    "LLM_BASE_URL",
    "LLM_API_KEY",
    "LLM_MODEL",
    "INGRESS_SPOOL_DIR",
];

/// Services that are somebody else's image, with variables of their own.
const THEIRS: [&str; 2] = ["rabbitmq", "postgres"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines of each service, without their common indentation of four.
fn services() -> BTreeMap<String, Vec<String>> {
    let text = read("compose.yaml");
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = None;
    let lines = text.lines().skip_while(|line| *line != "services:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match (line.strip_prefix("    "), line.trim().strip_suffix(':')) {
            (Some(inner), _) => services.get_mut(name.as_ref().unwrap()).unwrap().push(inner.to_owned()),
            (None, Some(service)) => {
                name = Some(service.to_owned());
                services.insert(service.to_owned(), Vec::new());
            }
            (None, None) => {}
        }
    }
    services
}

/// A service's variables.
fn environment(lines: &[String]) -> BTreeMap<String, String> {
    let block = lines.iter().skip_while(|line| *line != "environment:").skip(1);
    let block = block.take_while(|line| line.starts_with("  ")).filter(|line| !line.trim().starts_with('#'));
    block.map(|line| line.trim().split_once(": ").unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn the_services_are_two_servers_a_migration_and_our_rooms() {
    let services = services();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["ingress", "migrate", "postgres", "rabbitmq", "recall", "worker"]);
    assert!(services["worker"].contains(&"deploy: { replicas: 2 }".to_owned()));
    let published: Vec<&String> = services
        .iter()
        .filter(|(_, lines)| lines.iter().any(|line| line.starts_with("ports:")))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(published, ["ingress", "recall"], "nothing else is reachable from outside");
}

#[test]
fn every_variable_is_one_that_handrail_reads() {
    for (service, lines) in services().iter().filter(|(service, _)| !THEIRS.contains(&service.as_str())) {
        let variables = environment(lines);
        assert!(!variables.is_empty(), "{service} has no environment");
        for name in variables.keys() {
            assert!(VARIABLES.contains(&name.as_str()), "{service}: {name} is read by nothing");
        }
    }
}

#[test]
fn the_ingress_sees_neither_the_store_nor_its_key() {
    let seen = environment(&services()["ingress"]);
    for name in ["DATABASE_URL", "HANDRAIL_KEYS", "WHATSAPP_ACCESS_TOKEN", "LLM_API_KEY"] {
        assert!(!seen.contains_key(name), "{name}");
    }
}

#[test]
fn no_secret_is_written_down_and_a_missing_one_is_asked_for() {
    let text = read("compose.yaml");
    let secret =
        |name: &str| ["_KEY", "_KEYS", "_SECRET", "_TOKEN", "PASSWORD", "_PASS"].iter().any(|end| name.ends_with(end));
    for (service, lines) in services() {
        for (name, value) in environment(&lines).into_iter().filter(|(name, _)| secret(name)) {
            let from_outside = value.starts_with('*') || value.contains("${");
            assert!(from_outside, "{service}: {name} is written down");
        }
    }
    for name in
        ["RABBITMQ_PASSWORD", "POSTGRES_PASSWORD", "HANDRAIL_KEYS", "HANDRAIL_QUEUE_KEYS", "HANDRAIL_PSEUDONYM_KEY"]
    {
        assert!(text.contains(&format!("${{{name}:?")), "{name} is not asked for");
    }
}

#[test]
fn every_build_target_is_a_stage_and_every_copied_binary_is_built() {
    let dockerfile = read("Dockerfile");
    let stages: BTreeSet<&str> =
        dockerfile.lines().filter_map(|line| line.split_once(" AS ")).map(|(_, name)| name).collect();
    let compose = read("compose.yaml");
    let targets: Vec<&str> = compose
        .lines()
        .filter_map(|line| line.split_once("target: "))
        .map(|(_, rest)| rest.trim_end_matches(" }"))
        .collect();
    assert_eq!(targets.len(), 4, "migrate, ingress, worker and recall are built here");
    for target in targets {
        assert!(stages.contains(target), "{target} is no stage of the Dockerfile");
        let package = if target == "handrail" { "console" } else { target };
        assert!(root().join(package).join("src/main.rs").is_file(), "{package} has no main");
        assert!(dockerfile.contains(&format!("/src/target/release/{target} ")), "{target} is not copied");
        assert!(dockerfile.contains(&format!("ENTRYPOINT [\"{target}\"]")), "{target} is not started");
    }
    assert!(dockerfile.contains("\nUSER handrail"), "the image runs as root");
}

#[test]
fn what_make_calls_is_there() {
    let makefile = read("Makefile");
    for path in [".ci/setup", ".ci/run"] {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(root().join(path)).unwrap());
        assert_eq!(mode & 0o111, 0o111, "{path} cannot be run");
    }
    assert!(makefile.contains("sh .ci/setup"));
}
