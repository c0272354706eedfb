//! What becomes of publishers and consumers when the broker is absent, restarts, blocks, or is changed under them: a
//! fast and exact answer, and recovery without a restart of ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::queue::{Consumer, Lane, PublishError, Queue, QueueError, QueueTiming};

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

/// Publishes so many, each confirmed, and takes exactly as many back.
async fn passes(queue: &dyn Queue, consumer: &mut dyn Consumer, count: usize) {
    for _ in 0..count {
        publish_confirmed(queue).await;
    }
    for _ in 0..count {
        assert!(next(consumer).await.ack().await.unwrap());
    }
}

/// What the broker says of the work queue: ready, unacknowledged, consumers.
fn told(broker: &Broker, vhost: &Vhost) -> Vec<String> {
    let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
    let asked: Vec<&str> =
        ["list_queues", "--vhost", &vhost.name, "--no-table-headers"].into_iter().chain(columns).collect();
    let listed = tokio::task::block_in_place(|| broker.ctl(&asked));
    let work = listed.lines().find(|line| line.starts_with("handrail.work")).expect("the work queue");
    work.split_whitespace().skip(1).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_lets_out_no_more_than_the_prefetch_and_the_rest_comes_as_it_is_settled() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 7).await.unwrap();
    for _ in 0..20 {
        publish_confirmed(&*queue).await;
    }
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(next(&mut *consumer).await);
    }
    let broker = rabbitmq::shared();
    eventually("the broker tells so too", async || told(broker, &vhost) == ["13", "7", "1"]).await;
    for delivery in held {
        assert!(delivery.ack().await.unwrap());
    }
    for _ in 0..13 {
        assert!(next(&mut *consumer).await.ack().await.unwrap());
    }
    eventually("nothing is left", async || told(broker, &vhost) == ["0", "0", "1"]).await;
}

/// The broker cancels nobody when a queue is made again within some milliseconds of its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_made_again_at_once_under_its_consumers_keeps_nothing_from_them() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let mut consumers = [queue.consumer(Lane::Work, 7).await.unwrap(), queue.consumer(Lane::Work, 7).await.unwrap()];
    let broker = rabbitmq::shared();
    eventually("both are there", async || told(broker, &vhost)[2] == "2").await;
    let taken = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let taking = consumers.iter_mut().map(|consumer| async {
        while let Some(delivery) = consumer.next().await {
            taken.lock().unwrap().insert(delivery.body.clone());
            // False: what the old queue had let out is nobody's any more.
            let _settled = delivery.ack().await;
        }
    });
    let test = async {
        let publisher = queue.publisher().await.unwrap();
        for _ in 0..2 {
            // Publishing goes on meanwhile: the first message that finds no queue has it made again.
            let deleting = tokio::task::spawn_blocking({
                let name = vhost.name.clone();
                move || rabbitmq::shared().ctl(&["delete_queue", "--vhost", &name, "handrail.work"])
            });
            while !deleting.is_finished() {
                let _unknown = publisher.publish(&envelope()).await;
            }
            deleting.await.unwrap();
            for _ in 0..20 {
                let sent = envelope();
                eventually("it is confirmed", async || publisher.publish(&sent).await.is_ok()).await;
                eventually("it is taken", async || taken.lock().unwrap().contains(sent.bytes())).await;
            }
        }
    };
    tokio::select! { () = test => {}, _ = futures_util::future::join_all(taking) => panic!("a consumer ended") }
    eventually("nothing is stuck", async || told(broker, &vhost)[..2] == ["0", "0"]).await;
}

/// Deletes the work queue and makes it again in one breath, binding and all.
fn remake(broker: &Broker, vhost: &Vhost) {
    let name = &vhost.name;
    broker.eval(&format!(
        "R = fun(K, N) -> {{resource, <<\"{name}\">>, K, N}} end, Q = R(queue, <<\"handrail.work\">>), \
         {{ok, A}} = rabbit_amqqueue:lookup(Q), As = amqqueue:get_arguments(A), \
         rabbit_amqqueue:delete(A, false, false, <<\"tests\">>), \
         {{new, _}} = rabbit_amqqueue:declare(Q, true, false, As, none, <<\"tests\">>), \
         ok = rabbit_binding:add({{binding, R(exchange, <<\"handrail\">>), <<\"handrail.work\">>, Q, []}}, <<\"tests\">>)."
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_remade_in_one_breath_is_noticed_though_nothing_that_can_be_counted_shows_it() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 7).await.unwrap();
    for _ in 0..2 {
        passes(&*queue, &mut *consumer, 3).await;
        tokio::task::block_in_place(|| remake(rabbitmq::shared(), &vhost));
        // By a publisher that knows nothing of the old queue, whose numbers these messages repeat.
        let fresh = connected(open(&vhost).await).await;
        let mut awaited = std::collections::HashSet::new();
        for _ in 0..3 {
            awaited.insert(publish_one(&*fresh).await.bytes().to_vec());
        }
        while !awaited.is_empty() {
            let delivery = next(&mut *consumer).await;
            awaited.remove(&delivery.body);
            // False: it came by a consumer that has been built anew since, and comes again.
            let _settled = delivery.ack().await;
        }
        fresh.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_channel_ended_without_a_word_is_missed_and_built_anew() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| broker.start());
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 3).await.unwrap();
    passes(&*queue, &mut *consumer, 4).await;
    tokio::task::block_in_place(|| broker.eval("[rabbit_channel:shutdown(P) || P <- rabbit_channel:list_local()]."));
    passes(&*queue, &mut *consumer, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_somebody_deletes_is_made_again_by_its_consumer_alone() {
    let vhost = rabbitmq::vhost();
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 3).await.unwrap();
    passes(&*queue, &mut *consumer, 1).await;
    let broker = rabbitmq::shared();
    tokio::task::block_in_place(|| broker.ctl(&["delete_queue", "--vhost", &vhost.name, "handrail.work"]));
    eventually("it is there with its consumer", async || {
        let depths = queue.depths().await.unwrap_or_default();
        depths.iter().any(|depth| depth.name == "handrail.work" && depth.consumers == Some(1))
    })
    .await;
    passes(&*queue, &mut *consumer, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_held_beyond_the_brokers_patience_comes_again_and_its_late_ack_is_harmless() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| {
        broker.start();
        broker.eval("application:set_env(rabbit, channel_tick_interval, 1000).");
        broker.eval("application:set_env(rabbit, consumer_timeout, 3000).");
    });
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 3).await.unwrap();
    let sent = publish_one(&*queue).await;
    let held = next(&mut *consumer).await;
    let again = next(&mut *consumer).await;
    assert_eq!((again.body.as_slice(), again.redelivered), (sent.bytes(), true));
    assert!(!held.ack().await.unwrap_or(false), "its channel is gone");
    assert!(again.ack().await.unwrap());
    passes(&*queue, &mut *consumer, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_given_up_by_its_heartbeat_and_used_again_once_it_moves() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| broker.start());
    let timing = QueueTiming { heartbeat: Duration::from_secs(1), ..QueueTiming::default() };
    let queue = connected(common::queue::connect(&vhost.url.parse().unwrap(), timing).await.unwrap()).await;
    let mut consumer = queue.consumer(Lane::Work, 3).await.unwrap();
    passes(&*queue, &mut *consumer, 1).await;
    broker.freeze(true);
    // Nobody publishes: only the missing heartbeats tell.
    eventually("it is given up", async || queue.probe().await.is_err()).await;
    broker.freeze(false);
    passes(&*queue, &mut *consumer, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_stops_and_starts_again_keeps_what_was_confirmed() {
    let broker = Broker::prepare(1);
    let vhost = broker.vhost();
    tokio::task::block_in_place(|| broker.start());
    let queue = connected(open(&vhost).await).await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let sent = publish_one(&*queue).await;
    let held = next(&mut *consumer).await;
    tokio::task::block_in_place(|| {
        broker.eval(&format!("rabbit_vhost_sup_sup:stop_and_delete_vhost(<<\"{}\">>).", vhost.name));
        broker.ctl(&["restart_vhost", "--vhost", &vhost.name]);
        broker.close_connections(&vhost);
    });
    let again = next(&mut *consumer).await;
    assert_eq!(again.body, sent.bytes());
    assert!(!held.ack().await.unwrap_or(false), "its connection is gone");
    assert!(again.ack().await.unwrap());
    passes(&*queue, &mut *consumer, 2).await;
}
