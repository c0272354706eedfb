//! The architecture, executable: which way imports point, who may name which dependency, and the house's budgets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Every file of ours with this ending, as (path from the root, text).
fn files(ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let named = found.into_iter().filter(|path| path.to_string_lossy().ends_with(ending));
    let mut files: Vec<(String, String)> = named
        .map(|path| {
            let name = path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {ending} found");
    files
}

/// Rust that ships: no tests, benches or stand-ins.
fn shipped() -> Vec<(String, String)> {
    let rooms = ["common/src/", "lens/src/", "face/src/", "ingress/src/", "worker/src/", "recall/src/", "console/src/"];
    let in_rooms = |name: &str| rooms.iter().any(|room| name.starts_with(room));
    let is_test = |name: &str| {
        name.ends_with("tests.rs")
            || name.ends_with("drawn.rs")
            || name.contains("/tests/")
            || name.contains("against_")
    };
    files(".rs").into_iter().filter(|(name, _)| in_rooms(name) && !is_test(name)).collect()
}

/// A file's code without its unit tests and comments.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    before_tests.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

fn offenders(describe: &str, found: &[String]) {
    assert!(found.is_empty(), "{describe}:\n  {}", found.join("\n  "));
}

/// Whether code names a crate or path.
fn names(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn each_dependency_has_one_front_door() {
    let doors: &[(&str, &[&str])] = &[
        ("lapin::", &["common/src/queue/rabbitmq"]),
        ("sqlx::", &["common/src/store", "common/src/queue/sqlite"]),
        ("reqwest::", &["worker/src/http.rs", "console/src/http.rs"]),
        ("chacha20poly1305::", &["common/src/seal/"]),
        ("hmac::", &["common/src/signature", "common/src/seal/"]),
        ("ed25519_dalek::", &["common/src/signature"]),
        ("hyper::", &["face/src/serve.rs"]),
    ];
    let mut found = Vec::new();
    for (name, text) in shipped() {
        let code = code(&text);
        for (dependency, allowed) in doors {
            if names(&code, dependency) && !allowed.iter().any(|door| name.starts_with(door)) {
                found.push(format!("{name} names {dependency}"));
            }
        }
    }
    offenders("a dependency is named outside its front door", &found);
}

#[test]
fn imports_point_one_way() {
    let forbidden: &[(&str, &[&str])] = &[
        ("common/src/", &["ingress::", "worker::", "recall::", "axum::", "console::"]),
        ("lens/src/", &["common::", "worker::", "tokio::", "std::fs", "std::net", "std::time"]),
        ("ingress/src/", &["worker::", "common::store", "recall::"]),
        ("worker/src/", &["ingress::", "recall::"]),
        ("recall/src/", &["ingress::", "worker::"]),
        ("common/src/queue", &["crate::store", "crate::providers", "crate::signature"]),
        ("common/src/store", &["crate::queue", "crate::providers", "crate::signature"]),
        ("common/src/domain", &["crate::store", "crate::queue", "crate::seal", "crate::envelope", "crate::config"]),
        ("common/src/seal", &["crate::store", "crate::queue", "crate::envelope", "crate::config"]),
        ("common/src/envelope", &["crate::store", "crate::queue", "crate::config"]),
        ("worker/src/models", &["crate::channels", "crate::turn", "crate::deliver", "common::store"]),
        ("worker/src/channels", &["crate::models", "crate::turn", "crate::deliver", "common::store"]),
        ("worker/src/pipeline", &["crate::channels", "crate::turn", "crate::deliver", "common::store"]),
        ("worker/src/policy", &["crate::pipeline", "crate::turn", "common::store"]),
    ];
    let mut found = Vec::new();
    for (name, text) in shipped() {
        let code = code(&text);
        for (room, banned) in forbidden.iter().filter(|(room, _)| name.starts_with(room)) {
            let named = banned.iter().filter(|what| names(&code, what));
            found.extend(named.map(|what| format!("{name} (in {room}) names {what}")));
        }
    }
    offenders("an import points the wrong way", &found);
}

#[test]
fn only_the_console_prints_and_nobody_leaves_work_undone() {
    let mut found = Vec::new();
    for (name, text) in shipped() {
        let code = code(&text);
        if !name.starts_with("console/") && (names(&code, "println!") || names(&code, "eprintln!")) {
            found.push(format!("{name} prints"));
        }
        for word in ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"] {
            if names(&text, word) {
                found.push(format!("{name} holds {word}"));
            }
        }
        if name.contains("utils") || name.contains("helpers") {
            found.push(format!("{name} is a drawer"));
        }
    }
    offenders("undone or out of place", &found);
}

#[test]
fn every_file_is_short_and_every_module_says_what_it_is() {
    let mut found = Vec::new();
    for (name, text) in files(".rs") {
        let lines = text.lines().count();
        if lines > 500 {
            found.push(format!("{name} has {lines} lines"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{name} does not open with //!"));
        }
    }
    offenders("the house's budgets", &found);
}

#[test]
fn what_was_screened_and_approved_is_made_in_one_file_each() {
    let makers: &[(&str, &str)] = &[
        ("Screened {", "worker/src/pipeline/guardrails.rs"),
        ("Approved {", "worker/src/pipeline/guardrails.rs"),
        ("Draft {", "worker/src/pipeline/llm.rs"),
        ("Prompt {", "worker/src/pipeline/prompt.rs"),
        ("Verified {", "common/src/signature.rs"),
        ("Outgoing {", "worker/src/deliver.rs"),
    ];
    let mut found = Vec::new();
    for (name, text) in shipped() {
        let code = code(&text);
        for (made, maker) in makers {
            let declared = ["struct ", "impl ", "for "].map(|before| format!("{before}{made}"));
            let makes =
                code.lines().any(|line| names(line, made) && !declared.iter().any(|d| line.contains(d.as_str())));
            if makes && name != *maker && !(name == "worker/src/channels.rs" && *made == "Outgoing {") {
                found.push(format!("{name} makes a {made}"));
            }
        }
    }
    offenders("a proof is made outside its maker", &found);
}

#[test]
fn migrations_have_the_same_names_on_both_engines() {
    for door in ["store", "keys"] {
        let names = |engine: &str| -> BTreeSet<String> {
            let folder = root().join("migrations").join(door).join(engine);
            let entries = fs::read_dir(folder).expect("migrations").flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("sqlite"), names("postgres"), "{door}");
    }
}

#[test]
fn every_variable_that_is_read_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut found = BTreeSet::new();
    for (name, text) in shipped() {
        let code = code(&text);
        for reader in [".get(\"", ".parsed(\"", "set(self, verifies, \"", "set(self, sends, \"", "set(self, true, \""] {
            for (at, _) in code.match_indices(reader) {
                let variable: String = code[at + reader.len()..].chars().take_while(|c| *c != '"').collect();
                let upper = variable.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                if upper && variable.contains('_') && !readme.contains(&variable) {
                    found.insert(format!("{variable} (read in {name})"));
                }
            }
        }
    }
    offenders("variables missing from README.md", &found.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_dependency_is_named_with_its_reason() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml").parse().expect("TOML");
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let dependencies = manifest["workspace"]["dependencies"].as_table().expect("dependencies");
    let ours = |value: &toml::Value| value.get("path").is_some();
    let missing: Vec<String> = dependencies
        .iter()
        .filter(|(name, value)| !ours(value) && !architecture.contains(&format!("`{name}`")))
        .map(|(name, _)| name.clone())
        .collect();
    offenders("dependencies without a reason in ARCHITECTURE.md", &missing);
}

#[test]
fn the_walk_of_one_message_names_files_that_exist() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let paths = architecture.split('`').filter(|word| word.ends_with(".rs") && word.contains('/'));
    let missing: Vec<String> = paths.filter(|path| !root().join(path).is_file()).map(str::to_owned).collect();
    offenders("files that ARCHITECTURE.md names and that do not exist", &missing);
}

#[test]
fn the_walk_of_one_message_names_every_fail_point() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let steps = common::steps::Step::ALL.iter().map(|step| step.name());
    let missing: Vec<String> =
        steps.filter(|name| !architecture.contains(&format!("`{name}`"))).map(str::to_owned).collect();
    offenders("fail points that ARCHITECTURE.md does not place", &missing);
}

#[test]
fn log_fields_come_from_the_one_list() {
    let listed = fs::read_to_string(root().join("common/src/telemetry.rs")).expect("the list");
    let mut found = Vec::new();
    for (name, text) in shipped() {
        let code = code(&text);
        for call in ["tracing::info!(", "tracing::warn!(", "tracing::error!(", "tracing::debug!(", "info_span!("] {
            for (at, _) in code.match_indices(call) {
                let arguments = &code[at + call.len()..];
                let arguments = &arguments[..arguments.find(");").unwrap_or(arguments.len())];
                let before_text = arguments.split('"').next().unwrap_or_default();
                for field in
                    before_text.split(',').filter_map(|part| part.split_once('=')).map(|(field, _)| field.trim())
                {
                    let plain =
                        !field.is_empty() && field.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
                    if plain && !listed.contains(&format!("\"{field}\"")) {
                        found.push(format!("{name}: {field}"));
                    }
                }
            }
        }
    }
    offenders("log fields outside common/src/telemetry.rs", &found);
}
