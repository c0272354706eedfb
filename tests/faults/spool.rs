//! RabbitMQ gone or in alarm before an ingress with a spool: 200 all the same, and every one is answered once, in
//! order, whatever happens to the ingress and its disk meanwhile.

use std::process::Command;
use std::time::{Duration, Instant};

use common::domain::{EventId, Micros};
use common::metrics;
use common::providers::samples::{self, Text};
use reqwest::Response;
use serde_json::Value;
use tokio::task::block_in_place;

use super::{marks, metric, repeat_marks, waits};
use crate::contracts::eventually;
use crate::servers::free_port;
use crate::servers::rabbitmq::{Broker, Vhost};
use crate::stack::{APP_SECRET, Doors, Plan, Process, Stack, WHATSAPP, message_id};

const CUSTOMER: &str = "15550160";
/// Below this nobody has waited for a confirm, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(700);

/// RabbitMQ before an embedded store, and a folder for what it does not take.
async fn plan(vhost: &Vhost) -> Plan {
    let plan = Plan::on(Doors::Embedded).await.with("QUEUE_URL", &vhost.url).with("INGRESS_SPOOL_DIR", "spool");
    plan.file(&waits(&[("confirm_seconds", 0.8), ("tally_seconds", 0.5), ("predecessor_seconds", 20.0)]))
}

async fn post(stack: &Stack, number: u32, text: &str) -> Response {
    let id = format!("wamid.spool-{number}");
    let body = samples::whatsapp_texts(&[Text { id: &id, from: CUSTOMER, body: text }], Micros::wall());
    stack.post_signed("whatsapp", APP_SECRET, body).await
}

fn event(number: u32) -> EventId {
    message_id("whatsapp", &format!("wamid.spool-{number}"))
}

async fn accepted(stack: &Stack, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let answer = post(stack, number, &format!("Question #{number}")).await;
        assert_eq!(answer.status(), 200, "{number}: {}", answer.text().await.unwrap());
    }
}

/// Waits until these have been answered, each once and in order, and the ledger misses nothing.
async fn answered(stack: &Stack, numbers: impl Iterator<Item = u32> + Clone) {
    for number in numbers.clone() {
        let end = stack.end_of(event(number)).await;
        assert!(["replied", "joined"].contains(&end.as_str()), "{number} is {end}");
    }
    let ledger = stack.settled().await;
    assert_eq!(ledger.accepted, numbers.clone().count() as i64);
    assert_eq!((ledger.sends.accepted, ledger.late), (ledger.sends.committed, 0));
    let said: Vec<u32> = stack.received_by(CUSTOMER).iter().flat_map(|text| marks(text)).collect();
    assert_eq!(said, numbers.collect::<Vec<u32>>());
    assert_eq!(ledger.ended.get("dead").copied().unwrap_or_default(), 0);
}

async fn spooled(stack: &Stack) -> f64 {
    metric(stack, &stack.ingress, metrics::SPOOL_RECORDS, "").await
}

fn files(stack: &Stack, ending: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(stack.folder().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

async fn readiness(stack: &Stack) -> (u16, Value) {
    let answer = stack.http.get(format!("{}/readyz", stack.ingress.admin)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_or_is_in_alarm_costs_no_provider_anything() {
    let broker = Broker::prepare(1);
    block_in_place(|| broker.start());
    let stack = plan(&broker.vhost()).await.start().await;
    stack.model.answer_with(repeat_marks);
    eventually("one is accepted", async || post(&stack, 1, "Question #1").await.status() == 200).await;
    // It may have come before the broker's connection stood.
    eventually("nothing waits on disk", async || spooled(&stack).await == 0.0).await;

    block_in_place(|| broker.stop());
    accepted(&stack, 2..=12).await;
    assert_eq!(spooled(&stack).await, 11.0);
    let (status, said) = readiness(&stack).await;
    assert_eq!((status, said["status"].as_str()), (200, Some("degraded")), "{said}");
    assert_eq!(
        (said["checks"]["queue"].as_str(), said["checks"]["spool"].as_str()),
        (Some("disconnected"), Some("holds_events"))
    );
    let (code, _, said) = stack.handrail(&["queue", "status"]).await;
    assert!(code == 2 && said.contains("11 events") && said.contains("wait in the spool"), "{said}");

    block_in_place(|| broker.start());
    eventually("the spool is empty", async || spooled(&stack).await == 0.0).await;
    accepted(&stack, 13..=13).await;
    assert!(files(&stack, "spool").is_empty());

    block_in_place(|| broker.alarm(true));
    // The first waits for its confirm in vain, and the rest for nothing but the disk.
    accepted(&stack, 14..=14).await;
    let began = Instant::now();
    accepted(&stack, 15..=15).await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    block_in_place(|| broker.alarm(false));
    eventually("the spool is empty", async || spooled(&stack).await == 0.0).await;
    answered(&stack, 1..=15).await;
    eventually("every number is vouched for", async || {
        let ledger = stack.store.ledger(None).await.unwrap();
        (ledger.lost, ledger.unvouched) == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_killed_in_mid_outage_and_a_torn_file_lose_nothing_that_was_whole() {
    let broker = Broker::prepare(1);
    let mut stack = plan(&broker.vhost()).await.prepare().await;
    stack.model.answer_with(repeat_marks);
    eventually("it runs", async || stack.ingress.readiness(&stack.http).await.unwrap_or(false)).await;
    accepted(&stack, 1..=5).await;
    stack.ingress.crash();
    stack.ingress = Process::start("ingress", &stack.settings, stack.folder());
    eventually("it runs again", async || stack.ingress.readiness(&stack.http).await.unwrap_or(false)).await;
    assert_eq!(spooled(&stack).await, 5.0);
    accepted(&stack, 6..=8).await;
    stack.ingress.crash();

    // A power cut: the end of the newest file never reached the disk. (What an fsync has confirmed does; here it stands
    // for a record that was being written.)
    let newest = files(&stack, "spool").into_iter().max().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&newest).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    stack.ingress = Process::start("ingress", &stack.settings, stack.folder());
    eventually("it runs once more", async || stack.ingress.readiness(&stack.http).await.unwrap_or(false)).await;
    assert_eq!(spooled(&stack).await, 7.0);
    assert_eq!(metric(&stack, &stack.ingress, metrics::SPOOL_SET_ASIDE, "torn").await, 1.0);
    assert!(stack.ingress.log().contains("was set aside"), "{}", stack.ingress.log());
    assert_eq!(files(&stack, "torn").len(), 1);

    block_in_place(|| broker.start());
    answered(&stack, 1..=7).await;
    assert!(files(&stack, "spool").is_empty());
    let (code, status, _) = stack.handrail(&["queue", "status", "--json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (code, status["spool"]["events"].as_u64(), status["spool"]["set_aside"].as_u64()),
        (0, Some(0), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_is_a_503_in_bounded_memory_and_its_folder_has_one_master() {
    let vhost = Vhost { name: "none".into(), url: format!("amqp://a:b@127.0.0.1:{}/none", free_port()) };
    let small =
        waits(&[("confirm_seconds", 0.8)]).replace(WHATSAPP.trim(), &format!("spool_max_bytes = 8388608\n{WHATSAPP}"));
    let stack = plan(&vhost).await.workers(0).file(&small).prepare().await;
    eventually("it runs", async || stack.ingress.readiness(&stack.http).await.unwrap_or(false)).await;
    let text = "long ".repeat(60_000);
    let mut taken = 0;
    let refused = loop {
        let answer = post(&stack, taken, &text).await;
        if answer.status() != 200 {
            break answer;
        }
        taken += 1;
    };
    assert!((20..28).contains(&taken), "{taken} of 300 KB in 8 MiB");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "spool_full");
    let (status, said) = readiness(&stack).await;
    assert_eq!((status, said["checks"]["spool"].as_str()), (503, Some("spool_full")), "{said}");
    for number in 0..100 {
        assert_eq!(post(&stack, number, &text).await.status(), 503);
    }
    let resident = std::fs::read_to_string(format!("/proc/{}/status", stack.ingress.id())).unwrap();
    let resident = resident.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 150_000, "{kilobytes} kB for a spool of 8 MiB");

    let mut second = Process::start("ingress", &stack.settings, stack.folder());
    assert_eq!(second.ended().await.code(), Some(2));
    let said = second.log();
    assert!(said.contains("INGRESS_SPOOL_DIR") && said.contains(&format!("process {}", stack.ingress.id())), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_is_a_503_and_what_was_taken_before_and_after_is_answered() {
    let broker = Broker::prepare(1);
    let stack = plan(&broker.vhost()).await.prepare().await;
    stack.model.answer_with(repeat_marks);
    eventually("it runs", async || stack.ingress.readiness(&stack.http).await.unwrap_or(false)).await;
    accepted(&stack, 1..=3).await;
    // A real limit of the system on what this process may write: every write beyond it is cut short, and fails.
    let limit = |bytes: &str| {
        let id = stack.ingress.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:")]).status();
        assert!(status.expect("prlimit, of util-linux").success());
    };
    limit("65536");
    let long = "word ".repeat(4_000);
    let mut taken = 3;
    let refused = loop {
        let number = taken + 1;
        let answer = post(&stack, number, &format!("Question #{number} {long}")).await;
        if answer.status() != 200 {
            break answer;
        }
        taken = number;
    };
    assert!((4..8).contains(&taken), "{taken}");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "spool_full");
    assert_eq!(spooled(&stack).await, f64::from(taken));
    limit("unlimited");
    accepted(&stack, taken + 1..=taken + 2).await;

    block_in_place(|| broker.start());
    eventually("the spool is empty", async || spooled(&stack).await == 0.0).await;
    for number in 1..=taken + 2 {
        stack.end_of(event(number)).await;
    }
    assert_eq!(stack.settled().await.accepted, i64::from(taken) + 2);
    assert!(files(&stack, "torn").is_empty() && files(&stack, "spool").is_empty());
}
