//! What an ingress refuses to start with, and what it names.

use common::config::ConfigError;
use ingress::IngressConfig;

use crate::stage::{FILE, environment};

const PRODUCTION: (&str, &str) = ("HANDRAIL_MODE", "production");

fn load(file: &str, more: &[(&str, &str)]) -> Result<IngressConfig, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    IngressConfig::load(&environment(&folder, file, more))
}

fn refusal(file: &str, more: &[(&str, &str)]) -> String {
    load(file, more).unwrap_err().to_string()
}

fn source(lines: &str) -> String {
    format!("[[source]]\nname = \"shop\"\n{lines}\n")
}

#[test]
fn an_unknown_provider_stops_the_start_and_is_named() {
    let said = refusal(&source("provider = \"pigeon\"\nsecrets = [\"x\"]"), &[]);
    assert!(said.contains("source 'shop': provider") && said.contains("unknown provider 'pigeon'"), "{said}");
}

#[test]
fn a_missing_variable_that_the_file_names_stops_the_start_and_is_named() {
    let said = refusal(&source("provider = \"whatsapp\"\nsecrets = [\"${SHOP_SECRET}\"]"), &[]);
    assert!(said.contains("source 'shop': secrets") && said.contains("SHOP_SECRET, which is not set"), "{said}");
}

#[test]
fn a_variable_of_secrets_splits_at_commas() {
    let file = source("provider = \"whatsapp\"\nsecrets = [\"${SHOP_SECRET}\"]");
    let config = load(&file, &[("SHOP_SECRET", "one,two")]).unwrap();
    assert_eq!(config.sources.values().next().unwrap().secrets.len(), 2);
}

#[test]
fn a_secret_that_its_scheme_cannot_use_stops_the_start_without_being_quoted() {
    let said = refusal(&source("provider = \"standard-webhooks\"\nsecrets = [\"whsec_not base64!\"]"), &[]);
    assert!(said.contains("source 'shop': secrets: secret 1 is not written as"), "{said}");
    assert!(!said.contains("not base64!"), "{said}");
}

#[test]
fn a_short_key_is_a_warning_in_development_and_refused_in_production() {
    let file = source("provider = \"standard-webhooks\"\nsecrets = [\"whsec_plJ3nmyCDGBKInav\"]");
    assert!(load(&file, &[]).unwrap().warnings.iter().any(|w| w.why.contains("shorter than 32")));
    assert!(refusal(&file, &[PRODUCTION]).contains("shorter than 32"));
}

#[test]
fn production_refuses_the_stores_keys_and_missing_queue_keys() {
    let said = refusal(FILE, &[PRODUCTION, ("HANDRAIL_KEYS", "k1:AAAA")]);
    assert!(said.contains("HANDRAIL_KEYS: the store's keys must not reach an ingress"), "{said}");
    let said = refusal(FILE, &[PRODUCTION, ("HANDRAIL_QUEUE_KEYS", ""), ("HANDRAIL_PSEUDONYM_KEY", "")]);
    assert!(said.contains("HANDRAIL_QUEUE_KEYS: is required in production"), "{said}");
    assert!(said.contains("HANDRAIL_PSEUDONYM_KEY: is required in production"), "{said}");
}

#[test]
fn production_refuses_default_secrets_and_clear_text_brokers_and_takes_a_safe_configuration() {
    assert!(
        refusal(&source("provider = \"whatsapp\"\nsecrets = [\"changeme\"]"), &[PRODUCTION]).contains("default secret")
    );
    assert!(refusal(&source("provider = \"whatsapp\"\nsecrets = []"), &[PRODUCTION]).contains("holds no secret"));
    let said = refusal(FILE, &[PRODUCTION, ("QUEUE_URL", "amqp://handrail:a-long-password@broker.example/")]);
    assert!(said.contains("QUEUE_URL: is clear text beyond loopback"), "{said}");
    assert!(load(FILE, &[PRODUCTION]).is_ok());
}

#[test]
fn without_any_source_development_warns_and_production_refuses() {
    assert!(load("", &[]).unwrap().warnings.iter().any(|w| w.why.contains("no source")));
    assert!(refusal("", &[PRODUCTION]).contains("no source"));
}

#[test]
fn an_hmac_source_without_its_header_and_a_bad_bind_are_told_together() {
    let said = refusal(&source("provider = \"hmac\"\nsecrets = [\"x\"]"), &[("INGRESS_BIND", "everywhere")]);
    assert!(said.contains("source 'shop': header: is required") && said.contains("INGRESS_BIND"), "{said}");
}
