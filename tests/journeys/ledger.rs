//! What was accepted and then lost behind Handrail's back is missed, and named.

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::contracts::eventually;
use crate::servers::rabbitmq;
use crate::stack::{Doors, Plan, SHORT_WAITS, Stack, WHATSAPP};

const CUSTOMER: &str = "15550102";

/// A deployment whose ledger is quick, without a worker.
async fn quick(doors: Doors) -> Stack {
    let timing = format!("{SHORT_WAITS}lost_after_seconds = 2\ntally_seconds = 0.5\n");
    Plan::on(doors).await.file(&format!("{WHATSAPP}\n{timing}")).workers(0).start().await
}

/// Takes everything off the queue, as nobody should.
async fn empty_the_queue(stack: &Stack, doors: Doors) {
    let url = &stack.settings["QUEUE_URL"];
    match doors {
        Doors::Embedded => {
            let mut queue = SqliteConnection::connect(url).await.unwrap();
            let deleted = sqlx::query("DELETE FROM message").execute(&mut queue).await.unwrap();
            assert!(deleted.rows_affected() > 0);
        }
        Doors::Servers => {
            let vhost = url.rsplit('/').next().unwrap().to_owned();
            let purge = move || rabbitmq::shared().ctl(&["purge_queue", "-p", &vhost, "handrail.work"]);
            tokio::task::spawn_blocking(purge).await.unwrap();
        }
    }
}

async fn ledger(stack: &Stack, arguments: &[&str]) -> (i32, Value, String) {
    let (code, out, said) = stack.handrail(&[&["--json", "ledger"], arguments].concat()).await;
    (code, serde_json::from_str(&out).expect(&out), said)
}

async fn a_message_deleted_from_the_queue_is_reported_lost_by_name(doors: Doors) {
    let mut stack = quick(doors).await;
    stack.say(CUSTOMER, "Are you open?").await;
    empty_the_queue(&stack, doors).await;
    let after = stack.say(CUSTOMER, "Hello?").await;
    assert_eq!(ledger(&stack, &[]).await.0, 0, "nobody has taken anything in");

    stack.add_worker();
    assert_eq!(stack.end_of(after).await, "replied");
    eventually("the loss is seen", async || ledger(&stack, &[]).await.0 == 1).await;
    let (_, told, said) = ledger(&stack, &[]).await;
    let keys: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    let top = [
        "accepted",
        "days",
        "duplicates",
        "ended",
        "imbalances",
        "instances",
        "late",
        "lost",
        "pending",
        "sends",
        "sources",
        "stuck",
        "unknown_sends",
        "unvouched",
    ];
    assert_eq!(keys, top);
    assert_eq!((&told["lost"], &told["accepted"], &told["unvouched"]), (&1.into(), &1.into(), &0.into()));
    let ingress = &told["instances"][0];
    assert_eq!(ingress["lost_numbers"], serde_json::json!([[1, 1]]));
    let named = format!("ingress {}: 1 number (1), vouched for, never arrived", ingress["instance"].as_str().unwrap());
    assert_eq!(told["imbalances"][0]["what"], named.as_str());
    assert!(said.contains(&named), "{said}");

    let (code, table, _) = stack.handrail(&["ledger", "--by", "source", "--since", "1h"]).await;
    assert_eq!(code, 1);
    for words in ["It does NOT balance:", &named, "whatsapp", "replied", "vouched to"] {
        assert!(table.contains(words), "{words}:\n{table}");
    }
}

async fn an_ingress_that_drains_says_so_and_leaves_nothing_unvouched(doors: Doors) {
    let mut stack = quick(doors).await;
    stack.add_worker();
    let event = stack.say(CUSTOMER, "Are you open?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.ingress.stop().await;
    let mut told = Value::Null;
    eventually("its last tally has come in", async || {
        told = ledger(&stack, &[]).await.1;
        told["instances"][0]["state"] == "finished"
    })
    .await;
    assert_eq!((&told["unvouched"], &told["instances"][0]["upto"]), (&0.into(), &1.into()));
    let sums = |of: &str| told[of][0]["accepted"].clone();
    assert_eq!((sums("days"), sums("sources")), (1.into(), 1.into()));
    let (code, table, _) = stack.handrail(&["ledger", "--by", "day"]).await;
    assert!(code == 0 && table.contains("It balances: 1 accepted = 1 ended + 0 pending."), "{table}");
}

on_every_backend!(
    a_message_deleted_from_the_queue_is_reported_lost_by_name,
    an_ingress_that_drains_says_so_and_leaves_nothing_unvouched,
);
