//! What becomes of publishers and consumers when the broker is absent, restarts, blocks, or is changed under them: a
//! fast and exact answer, and recovery without a restart of ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::queue::{Lane, PublishError, Queue, QueueError, QueueTiming};

use super::eventually;
use super::queue::{connected, envelope, next, publish_one};
use crate::servers::rabbitmq::{self, Broker, Vhost};

const FAST: Duration = Duration::from_millis(100);

async fn open(vhost: &Vhost) -> Arc<dyn Queue> {
    common::queue::connect(&vhost.url.parse().unwrap(), QueueTiming::default()).await.unwrap()
}

/// Publishes until it is confirmed: a busy machine may time out once.
async fn publish_confirmed(queue: &dyn Queue) {
    let publisher = queue.publisher().await.unwrap();
    eventually("a publish is confirmed", async || publisher.publish(&envelope()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_absent_at_start_is_told_fast_and_used_once_it_is_there() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    let queue = open(&vhost).await;
    let publisher = queue.publisher().await.unwrap();
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let began = Instant::now();
    assert!(matches!(publisher.publish(&envelope()).await, Err(PublishError::Disconnected)));
    assert!(matches!(publisher.ready(), Err(PublishError::Disconnected)));
    assert!(began.elapsed() < FAST, "{:?}", began.elapsed());
    let unavailable = queue.probe().await.unwrap_err().to_string();
    assert!(!unavailable.contains("only-for-tests"), "{unavailable}");

    tokio::task::block_in_place(|| broker.start());
    publish_confirmed(&*queue).await;
    assert!(next(&mut *consumer).await.ack().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_broker_loses_nothing_that_was_confirmed() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| broker.start());
    let queue = connected(open(&vhost).await).await;
    let publisher = queue.publisher().await.unwrap();
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let sent = publish_one(&*queue).await;
    let held = next(&mut *consumer).await;

    tokio::task::block_in_place(|| broker.stop());
    eventually("the outage is seen", async || publisher.ready().is_err()).await;
    let began = Instant::now();
    assert!(matches!(publisher.publish(&envelope()).await, Err(PublishError::Disconnected)));
    assert!(began.elapsed() < FAST, "{:?}", began.elapsed());
    assert!(!held.ack().await.unwrap(), "the connection that delivered it is gone");

    tokio::task::block_in_place(|| broker.start());
    let again = next(&mut *consumer).await;
    assert_eq!(again.body, sent.bytes());
    assert!(again.ack().await.unwrap());
    publish_confirmed(&*queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_fails_a_publish_within_the_confirm_timeout_and_later_ones_at_once() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| broker.start());
    let queue = connected(open(&vhost).await).await;
    publish_confirmed(&*queue).await;
    let publisher = queue.publisher().await.unwrap();
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let held = next(&mut *consumer).await;

    tokio::task::block_in_place(|| broker.alarm(true));
    let began = Instant::now();
    assert!(publisher.publish(&envelope()).await.is_err());
    assert!(began.elapsed() < QueueTiming::default().confirm_timeout + FAST, "{:?}", began.elapsed());
    eventually("the alarm is seen", async || matches!(publisher.ready(), Err(PublishError::Blocked))).await;
    let began = Instant::now();
    assert!(matches!(publisher.publish(&envelope()).await, Err(PublishError::Blocked)));
    assert!(began.elapsed() < FAST, "{:?}", began.elapsed());
    assert!(queue.probe().await.unwrap_err().to_string().contains("alarm"));
    // Consuming goes on: it has a connection of its own.
    assert!(held.ack().await.unwrap());
    assert!(queue.depths().await.is_ok());

    tokio::task::block_in_place(|| broker.alarm(false));
    publish_confirmed(&*queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_is_given_up_after_three_late_confirms_and_used_again_once_it_moves() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| broker.start());
    // Heartbeats alone would take minutes to notice.
    let timing = QueueTiming { heartbeat: Duration::from_secs(120), ..QueueTiming::default() };
    let queue = common::queue::connect(&vhost.url.parse().unwrap(), timing).await.unwrap();
    publish_confirmed(&*queue).await;
    let publisher = queue.publisher().await.unwrap();
    broker.freeze(true);
    for _ in 0..3 {
        assert!(matches!(publisher.publish(&envelope()).await, Err(PublishError::TimedOut(_))));
    }
    eventually("it is given up", async || matches!(publisher.ready(), Err(PublishError::Disconnected))).await;
    let began = Instant::now();
    assert!(matches!(publisher.publish(&envelope()).await, Err(PublishError::Disconnected)));
    assert!(began.elapsed() < FAST, "{:?}", began.elapsed());
    broker.freeze(false);
    publish_confirmed(&*queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_its_consumer_is_made_again_with_its_prefetch() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 7).await.unwrap();
    publish_confirmed(&*queue).await;
    assert!(next(&mut *consumer).await.ack().await.unwrap());

    let broker = rabbitmq::shared();
    tokio::task::block_in_place(|| broker.ctl(&["delete_queue", "--vhost", &vhost.name, "handrail.work"]));
    publish_confirmed(&*queue).await;
    assert!(next(&mut *consumer).await.ack().await.unwrap());
    let listed = ["list_consumers", "--vhost", &vhost.name, "--no-table-headers", "queue_name", "prefetch_count"];
    let listed = tokio::task::block_in_place(|| broker.ctl(&listed));
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["handrail.work", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_message_is_refused_and_the_topology_put_back() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let publisher = queue.publisher().await.unwrap();
    publish_confirmed(&*queue).await;
    tokio::task::block_in_place(|| rabbitmq::shared().unbind(&vhost, "handrail.work"));
    let refused = publisher.publish(&envelope()).await;
    assert!(matches!(refused, Err(PublishError::Unroutable)), "{refused:?}");
    publish_confirmed(&*queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_returned_message_is_told_to_its_own_publisher() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let publisher = queue.publisher().await.unwrap();
    let publishing = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            let mut refused = 0;
            let mut confirmed = 0_u64;
            while refused == 0 {
                let burst = (0..50).map(|_| async { publisher.publish(&envelope()).await });
                for outcome in futures_util::future::join_all(burst).await {
                    match outcome {
                        Ok(()) => confirmed += 1,
                        Err(PublishError::Unroutable) => refused += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            confirmed
        }
    });
    tokio::task::block_in_place(|| rabbitmq::shared().unbind(&vhost, "handrail.work"));
    let confirmed = publishing.await.unwrap();
    eventually("exactly what was confirmed is there", async || {
        let depths = queue.depths().await.unwrap();
        depths.iter().any(|depth| depth.name == "handrail.work" && depth.ready == confirmed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_halves_recover_when_the_broker_closes_their_connections() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    publish_confirmed(&*queue).await;
    assert!(next(&mut *consumer).await.ack().await.unwrap());
    tokio::task::block_in_place(|| rabbitmq::shared().close_connections(&vhost));
    publish_confirmed(&*queue).await;
    assert!(next(&mut *consumer).await.ack().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_that_contradicts_ours_is_named_and_not_a_hot_loop() {
    let vhost = rabbitmq::vhost();
    let name = &vhost.name;
    tokio::task::block_in_place(|| {
        rabbitmq::shared().eval(&format!(
            "rabbit_amqqueue:declare({{resource, <<\"{name}\">>, queue, <<\"handrail.dead\">>}}, true, false, [], none, <<\"tests\">>)."
        ))
    });
    let queue = open(&vhost).await;
    eventually(
        "the contradiction is told",
        async || matches!(queue.probe().await, Err(QueueError::Configuration(told)) if told.contains("handrail.dead")),
    )
    .await;
    assert!(matches!(queue.publisher().await.unwrap().ready(), Err(PublishError::Disconnected)));
    tokio::task::block_in_place(|| rabbitmq::shared().ctl(&["delete_queue", "--vhost", name, "handrail.dead"]));
    publish_confirmed(&*queue).await;
}
