//! What must not run does not start: it ends with 2 and names the setting. Everything wrong is told at once.

use std::collections::HashMap;

use common::seal::Key;
use reqwest::Client;

use crate::contracts::eventually;
use crate::servers;
use crate::stack::{APP_SECRET, Process};

type Settings = HashMap<String, String>;

fn settings(over: &[(&str, &str)]) -> Settings {
    over.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Starts a process over these settings and this file; its exit code and everything it said.
async fn ends(name: &str, settings: &Settings, file: Option<&str>) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(folder.path().join("handrail.toml"), text).unwrap();
    }
    let mut process = Process::start(name, settings, folder.path());
    let status = process.ended().await;
    (status.code(), process.log())
}

async fn is_refused(name: &str, over: &[(&str, &str)], file: Option<&str>, says: &[&str]) {
    let (code, log) = ends(name, &settings(over), file).await;
    assert_eq!(code, Some(2), "{name} {over:?}: {log}");
    for words in says {
        assert!(log.contains(words), "{name} {over:?} does not say '{words}': {log}");
    }
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_its_fix() {
    let source = "[[source]]\nname = \"shop\"\nprovider = \"whatsapp\"\nsecrets = [\"${SHOP_SECRET}\"]\n";
    let both = [("WHATSAPP_APP_SECRET", APP_SECRET), ("WHATSAPP_APP_SECRET_FILE", "/dev/null")];
    let unknown_provider = source.replace("\"whatsapp\"", "\"pigeon\"");
    let unknown_key = source.replace("secrets", "secretz");
    for (name, over, file, says) in [
        ("ingress", &[][..], Some(source), &["source 'shop': secrets", "SHOP_SECRET", "not set"][..]),
        (
            "ingress",
            &[],
            Some(&unknown_provider),
            &["source 'shop': provider", "unknown provider 'pigeon'", "use one of"],
        ),
        ("worker", &[], Some(&unknown_provider), &["unknown provider 'pigeon'"]),
        ("ingress", &[], Some(&unknown_key), &["handrail.toml", "line 4", "secretz"]),
        ("worker", &[], Some("[timing]\nlease_secs = 3\n"), &["handrail.toml", "line 2", "lease_secs"]),
        ("ingress", &[("HANDRAIL_CONFIG", "absent.toml")], None, &["HANDRAIL_CONFIG", "absent.toml"]),
        ("ingress", &[("QUEUE_URL", "redis://127.0.0.1")], None, &["QUEUE_URL", "amqps://"]),
        ("worker", &[("DATABASE_URL", "mysql://127.0.0.1")], None, &["DATABASE_URL", "postgres://"]),
        ("worker", &[("LLM_PROTOCOL", "openai")], None, &["LLM_BASE_URL", "LLM_MODEL", "is required"]),
        ("worker", &[("LLM_PROTOCOL", "telepathy")], None, &["LLM_PROTOCOL", "must be"]),
        ("worker", &[("WORKER_CONCURRENCY", "0")], None, &["WORKER_CONCURRENCY"]),
        ("worker", &[("HANDRAIL_KEYS", "k1:short")], None, &["HANDRAIL_KEYS"]),
        ("worker", &[("HANDRAIL_FAULTS", "turn=kill")], None, &["HANDRAIL_FAULTS", "step=kill@n", "turn.claimed"]),
    ] {
        is_refused(name, over, file, says).await;
    }
    is_refused("ingress", &both, None, &["set in WHATSAPP_APP_SECRET and in WHATSAPP_APP_SECRET_FILE", "keep one"])
        .await;
}

/// A binary, settings over the safe ones, and what its refusal says.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[tokio::test]
async fn production_refuses_what_is_unsafe_and_names_it() {
    let key = format!("k1:{}", Key::generate().to_base64());
    let production = ("HANDRAIL_MODE", "production");
    let rows: [Row<'_>; 10] = [
        ("ingress", &[("WHATSAPP_APP_SECRET", "test")], &["WHATSAPP_APP_SECRET", "default secret"]),
        ("ingress", &[("WHATSAPP_APP_SECRET", "short")], &["WHATSAPP_APP_SECRET", "shorter than 32"]),
        ("ingress", &[("HANDRAIL_KEYS", &key)], &["HANDRAIL_KEYS: the store's keys must not reach an ingress"]),
        ("ingress", &[], &["HANDRAIL_QUEUE_KEYS", "HANDRAIL_PSEUDONYM_KEY", "required in production"]),
        ("ingress", &[("QUEUE_URL", "amqp://shop:long-and-random@broker")], &["QUEUE_URL", "amqps://"]),
        ("worker", &[], &["LLM_PROTOCOL", "'scripted'", "stand-in", "HANDRAIL_KEYS"]),
        ("worker", &[("LLM_BASE_URL", "http://model.example/v1")], &["LLM_BASE_URL", "clear text beyond loopback"]),
        ("worker", &[("HANDRAIL_FAULTS", "turn.claimed=kill")], &["HANDRAIL_FAULTS", "unset it"]),
        ("worker", &[("DATABASE_URL", "postgres://shop:shop@127.0.0.1/h")], &["DATABASE_URL", "default password"]),
        (
            "worker",
            &[("WHATSAPP_ACCESS_TOKEN", "t"), ("WHATSAPP_API_URL", "http://graph.example/v23.0")],
            &["WHATSAPP_API_URL", "clear text beyond loopback"],
        ),
    ];
    for (name, over, says) in rows {
        let mut over = over.to_vec();
        over.push(production);
        is_refused(name, &over, None, says).await;
    }
}

#[tokio::test]
async fn production_starts_on_safe_settings() {
    let folder = tempfile::tempdir().unwrap();
    let key = |id: &str| format!("{id}:{}", Key::generate().to_base64());
    let shared = settings(&[
        ("HANDRAIL_MODE", "production"),
        ("HANDRAIL_QUEUE_KEYS", &key("q1")),
        ("HANDRAIL_PSEUDONYM_KEY", &key("p1")),
        ("WHATSAPP_APP_SECRET", APP_SECRET),
    ]);
    let mut own = shared.clone();
    own.extend(settings(&[
        ("HANDRAIL_KEYS", &key("k1")),
        ("LLM_PROTOCOL", "openai"),
        ("LLM_BASE_URL", "https://model.example/v1"),
        ("LLM_MODEL", "any"),
    ]));
    let http = Client::builder().no_proxy().build().unwrap();
    for (name, settings) in [("ingress", &shared), ("worker", &own)] {
        let mut process = Process::start(name, settings, folder.path());
        eventually("it is ready", async || process.readiness(&http).await.unwrap_or(false)).await;
        assert!(process.stop().await.success());
    }
}

#[tokio::test]
async fn a_policy_that_cannot_be_used_is_told_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    let policy = include_str!("../../policies/shop.toml").replace("history_tokens = 2000", "history_tokenz = 2000");
    let line = 1 + policy.lines().position(|line| line.starts_with("history_tokenz")).unwrap();
    std::fs::write(&path, policy).unwrap();
    let file = format!("policy = \"{}\"\n", path.display());
    let place = format!("{}:{line}: ", path.display());
    is_refused("worker", &[], Some(&file), &[&place, "history_tokenz"]).await;
    is_refused("worker", &[], Some("policy = \"absent.toml\"\n"), &["absent.toml:1: ", "cannot be read"]).await;
}

#[tokio::test]
async fn in_production_a_destination_that_nothing_describes_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let policy = include_str!("../../policies/shop.toml").replace("notify = []", "notify = [\"night-desk\"]");
    std::fs::write(&path, policy).unwrap();
    let key = |id: &str| format!("{id}:{}", Key::generate().to_base64());
    let (store, queue, pseudonym) = (key("k1"), key("q1"), key("p1"));
    let safe = [
        ("HANDRAIL_MODE", "production"),
        ("HANDRAIL_KEYS", &store),
        ("HANDRAIL_QUEUE_KEYS", &queue),
        ("HANDRAIL_PSEUDONYM_KEY", &pseudonym),
        ("LLM_PROTOCOL", "openai"),
        ("LLM_BASE_URL", "https://model.example/v1"),
        ("LLM_MODEL", "any"),
    ];
    let file = format!("policy = \"{}\"\n", path.display());
    is_refused("worker", &safe, Some(&file), &["'night-desk'", "no [[notify]] in handrail.toml"]).await;
    let unset = format!("{file}[[notify]]\nname = \"night-desk\"\nkind = \"slack\"\nurl = \"${{NIGHT_DESK}}\"\n");
    is_refused("worker", &safe, Some(&unset), &["notify 'night-desk': url", "NIGHT_DESK, which is not set"]).await;
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_refused_by_name() {
    let url = servers::postgres::database().await;
    is_refused("worker", &[("DATABASE_URL", &url)], None, &["DATABASE_URL", "0001_store", "handrail migrate"]).await;
}
