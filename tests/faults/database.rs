//! PostgreSQL killed under everybody: the worker pauses, the ingress goes on, nothing dies, and all is answered.

use tokio::task::block_in_place;

use super::{dead_letters, marks, repeat_marks, waits};
use crate::contracts::eventually;
use crate::servers::postgres::Postgres;
use crate::servers::rabbitmq;
use crate::stack::{Doors, Plan};

const CUSTOMERS: [&str; 2] = ["15550151", "15550152"];

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_pauses_the_worker_and_loses_doubles_and_kills_nothing() {
    let database = Postgres::prepare();
    block_in_place(|| database.start());
    let vhost = block_in_place(rabbitmq::vhost);
    // As long as by default: taking in again begins up to two seconds apart.
    let plan = Plan::on(Doors::Embedded).await.with("QUEUE_URL", &vhost.url);
    let plan = plan.file(&waits(&[("predecessor_seconds", 30.0)]));
    let stack = plan.with("DATABASE_URL", &database.database().await).start().await;
    stack.model.answer_with(repeat_marks);
    let first = stack.say(CUSTOMERS[0], "Question #0").await;
    assert_eq!(stack.end_of(first).await, "replied");

    // One turn is in hand when the database goes.
    let held = stack.model.hold();
    let mut events = vec![stack.say(CUSTOMERS[0], "Question #1").await];
    stack.model.wait_for_calls(2).await.unwrap();
    block_in_place(|| database.stop());
    held.release();
    let worker = &stack.workers[0];
    eventually("the worker says no", async || matches!(worker.readiness(&stack.http).await, Ok(false))).await;
    assert!(stack.ingress.readiness(&stack.http).await.unwrap(), "the ingress needs no store");
    for number in 2..5 {
        for customer in CUSTOMERS {
            events.push(stack.say(customer, &format!("Question #{number}")).await);
        }
    }

    block_in_place(|| database.start());
    eventually("the worker is ready", async || worker.readiness(&stack.http).await.unwrap_or(false)).await;
    for event in events {
        let end = stack.end_of(event).await;
        assert!(["replied", "joined"].contains(&end.as_str()), "{end}");
    }
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.late), (8, 0));
    assert_eq!(ledger.sends.accepted, ledger.sends.committed);
    assert!(dead_letters(&stack).await.is_empty());
    let told = |customer| stack.received_by(customer).iter().flat_map(|text| marks(text)).collect::<Vec<u32>>();
    assert_eq!(told(CUSTOMERS[0]), [0, 1, 2, 3, 4]);
    assert_eq!(told(CUSTOMERS[1]), [2, 3, 4]);
}
