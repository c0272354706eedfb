//! Four workers, a crowd of customers who write in bursts, a model and a provider that take their time, and two
//! workers killed in the middle of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::domain::Micros;
use common::providers::samples::{self, Text};
use futures_util::StreamExt;
use stand_ins::{GraphBehaviour, ModelBehaviour};

use super::{dead_letters, marks, repeat_marks, waits};
use crate::contracts::eventually;
use crate::stack::{APP_SECRET, Doors, Plan, Stack};

const BURSTS: u32 = 3;
const PER_BURST: u32 = 2;
/// Posts that are under way at the same time.
const AT_ONCE: usize = 16;

fn name(customer: usize) -> String {
    format!("1555{customer:07}")
}

/// One burst of one customer: two messages in one webhook, posted until it is accepted, as a provider would.
async fn burst(stack: &Stack, customer: usize, burst: u32) {
    let from = name(customer);
    let marks = (burst * PER_BURST)..((burst + 1) * PER_BURST);
    let said: Vec<(String, String)> =
        marks.map(|mark| (format!("wamid.{customer}-{mark}"), format!("Question #{mark}"))).collect();
    let texts: Vec<Text<'_>> = said.iter().map(|(id, body)| Text { id, from: &from, body }).collect();
    let body = samples::whatsapp_texts(&texts, Micros::wall());
    while !stack.post_signed("whatsapp", APP_SECRET, body.clone()).await.status().is_success() {
        eventually("the ingress is ready", async || stack.ingress.readiness(&stack.http).await.unwrap_or(false)).await;
    }
}

fn dawdle(most: u64) -> Duration {
    Duration::from_millis(rand::random_range(0..most))
}

async fn a_crowd_is_answered_in_order_and_once_while_workers_die(doors: Doors, customers: usize) {
    // Longer than usual: what a busy machine makes slow is not tried here. A predecessor that a killed worker had taken
    // from the embedded queue comes back after ten seconds.
    let longer = [("lease_seconds", 6.0), ("send_timeout_seconds", 5.0), ("predecessor_seconds", 40.0)];
    let waits = waits(&longer);
    let mut stack = Plan::on(doors).await.workers(4).file(&waits).start().await;
    stack.model.answer_with(repeat_marks);
    for _ in 0..customers * 8 {
        stack.model.next(ModelBehaviour::Delay(dawdle(80)));
        stack.graph.next(GraphBehaviour::Delay(dawdle(40)));
    }
    for number in 0..BURSTS {
        let bursts = (0..customers).map(|customer| burst(&stack, customer, number));
        futures_util::stream::iter(bursts).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        if number > 0 {
            // In the midst of it.
            stack.graph.wait_for(stack.graph.sends().len() + 10).await.unwrap();
            stack.workers[0].crash();
            stack.workers.remove(0);
            stack.add_worker();
        }
    }
    let messages = i64::try_from(customers).unwrap() * i64::from(BURSTS * PER_BURST);
    let mut left = messages + 1;
    while left > 0 {
        let before = left;
        eventually("somebody more is answered", async || {
            left = messages - stack.store.ledger(None).await.unwrap().ended.values().sum::<i64>();
            left < before
        })
        .await;
    }
    let ledger = stack.settled().await;
    assert_eq!(ledger.ended["replied"] + ledger.ended["joined"], messages);
    assert_eq!(ledger.late, 0);
    // A send that a killed worker had in hand may have arrived or not; every other one did.
    assert_eq!(ledger.sends.accepted + ledger.sends.unknown, ledger.sends.committed);
    assert!(ledger.sends.unknown <= ledger.sends.committed / 10, "{ledger:?}");
    assert!(dead_letters(&stack).await.is_empty());
    assert_in_order_and_once(&stack, customers, ledger.sends.unknown);
}

fn assert_in_order_and_once(stack: &Stack, customers: usize, unknown: i64) {
    let sends = stack.graph.sends();
    let ids: HashSet<_> = sends.iter().map(|send| send.callback_data.clone()).collect();
    assert_eq!(ids.len(), sends.len(), "no send was repeated");
    let mut told: HashMap<String, Vec<u32>> = HashMap::new();
    for send in &sends {
        told.entry(send.to.clone()).or_default().extend(marks(&send.text));
    }
    let mut whole = 0;
    for customer in 0..customers {
        let told = told.remove(&name(customer)).unwrap_or_default();
        assert!(told.is_sorted_by(|a, b| a < b), "customer {customer} was told {told:?}");
        whole += usize::from(told.len() == usize::try_from(BURSTS * PER_BURST).unwrap());
    }
    assert!(customers - whole <= usize::try_from(unknown).unwrap(), "{whole} of {customers} were told everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_answered_in_order_and_once_while_workers_die_embedded() {
    a_crowd_is_answered_in_order_and_once_while_workers_die(Doors::Embedded, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_answered_in_order_and_once_while_workers_die_on_servers() {
    a_crowd_is_answered_in_order_and_once_while_workers_die(Doors::Servers, 100).await;
}
