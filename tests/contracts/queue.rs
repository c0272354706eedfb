//! The queue door's contract: what every backend promises, whichever URL was configured.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::{QueueUrl, SqliteFile};
use common::domain::{Content, Event, EventId, Inbound, InstanceId, Kind, Micros, Provider, SourceName};
use common::envelope::{Envelope, Header};
use common::queue::sqlite::SqliteQueue;
use common::queue::{Consumer, Delivery, Lane, PublishError, Publisher, Queue, QueueTiming, Tier};
use common::seal::{Key, Keyring};
use common::trace::TraceContext;
use tempfile::TempDir;

use super::{eventually, soon};
use crate::servers::rabbitmq::{self, Vhost};

/// Patient confirms: these tests prove what is kept, not how fast a busy machine is.
pub(super) const PATIENT: QueueTiming =
    QueueTiming { heartbeat: Duration::from_secs(10), confirm_timeout: Duration::from_secs(20) };

/// A place for a queue that nobody else uses.
enum Place {
    Sqlite(TempDir),
    Rabbitmq(Vhost),
}

impl Place {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    fn rabbitmq() -> Self {
        Self::Rabbitmq(rabbitmq::vhost())
    }

    fn url(&self) -> QueueUrl {
        match self {
            Self::Sqlite(folder) => QueueUrl::Sqlite(SqliteFile::at(folder.path().join("queue.db"))),
            Self::Rabbitmq(vhost) => vhost.url.parse().unwrap(),
        }
    }

    async fn open(&self) -> Arc<dyn Queue> {
        connected(common::queue::connect(&self.url(), PATIENT).await.unwrap()).await
    }

    /// Opened so that a delivery that is held for long goes to somebody else.
    async fn open_impatient(&self) -> Arc<dyn Queue> {
        match self.url() {
            QueueUrl::Sqlite(file) => {
                Arc::new(SqliteQueue::open_with_lease(&file, PATIENT, Duration::from_millis(200)).await.unwrap())
            }
            QueueUrl::Amqp(_) => self.open().await,
        }
    }

    /// Takes deliveries away from those who hold them.
    fn cut(&self) {
        match self {
            // Its leases end by themselves.
            Self::Sqlite(_) => {}
            Self::Rabbitmq(vhost) => rabbitmq::shared().close_connections(vhost),
        }
    }
}

/// The queue, once it answers.
pub(super) async fn connected(queue: Arc<dyn Queue>) -> Arc<dyn Queue> {
    eventually("the queue answers", async || queue.probe().await.is_ok()).await;
    queue
}

/// An envelope of its own, with some text.
pub(super) fn envelope() -> Envelope {
    let source = SourceName::parse("shop").unwrap();
    let event_id = EventId::random();
    let header = Header {
        event_id,
        source: source.clone(),
        conversation: None,
        kind: Kind::Message,
        received_at: Micros::wall(),
        instance: InstanceId::random(),
        sequence: 1,
        previous: None,
        trace: TraceContext::start(),
        secret: "00000000".into(),
    };
    let event = Event::Message(Content::Text("do you ship to Lima?".into()));
    let inbound =
        Inbound { event_id, source, provider: Provider::Hmac, party: None, provider_id: None, said_at: None, event };
    Envelope::seal(header, &inbound, &Keyring::single("q1", Key::generate())).unwrap()
}

/// Publishes a fresh envelope.
pub(super) async fn publish_one(queue: &dyn Queue) -> Envelope {
    let one = envelope();
    queue.publisher().await.unwrap().publish(&one).await.unwrap();
    one
}

/// The next delivery, soon.
pub(super) async fn next(consumer: &mut dyn Consumer) -> Delivery {
    soon("a delivery", consumer.next()).await.expect("the consumer is open")
}

fn id(delivery: &Delivery) -> EventId {
    Envelope::decode(delivery.body.clone()).unwrap().header().event_id
}

async fn ready(queue: &dyn Queue, name: &str) -> u64 {
    let depths = queue.depths().await.unwrap();
    depths.iter().filter(|depth| depth.name.starts_with(name)).map(|depth| depth.ready).sum()
}

macro_rules! on_every_backend {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(&super::Place::sqlite()).await; })+
        }
        mod rabbitmq_broker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { super::$promise(&super::Place::rabbitmq()).await; })+
        }
    };
}

on_every_backend! {
    what_is_published_is_delivered_and_once_acked_is_gone,
    a_dropped_delivery_comes_back,
    a_delivery_comes_back_when_its_process_is_gone,
    an_ack_of_what_was_given_to_somebody_else_is_false,
    no_more_than_the_prefetch_are_out_unsettled,
    a_retried_message_rests_in_its_tier_and_counts_the_attempt,
    a_buried_message_reaches_the_dead_lane_whole,
    a_thousand_concurrent_publishes_are_all_confirmed_and_delivered,
    concurrent_consumers_get_disjoint_messages,
    depths_tell_work_retry_and_dead_apart,
    a_confirmed_message_survives_closing_and_opening,
    close_ends_next_and_leaves_settling_possible,
    what_was_prefetched_at_close_goes_to_somebody_else,
    a_closed_queue_says_so_at_once,
    two_processes_meet_at_one_url,
    an_abandoned_next_loses_nothing,
}

async fn what_is_published_is_delivered_and_once_acked_is_gone(place: &Place) {
    let queue = place.open().await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    for _ in 0..2 {
        // The second round shows that the first message is gone.
        let sent = publish_one(&*queue).await;
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.body, sent.bytes());
        assert_eq!((delivery.attempts, delivery.redelivered), (0, false));
        assert!(delivery.ack().await.unwrap());
    }
    queue.close().await;
}

async fn a_dropped_delivery_comes_back(place: &Place) {
    let queue = place.open().await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let sent = publish_one(&*queue).await;
    drop(next(&mut *consumer).await);
    let again = next(&mut *consumer).await;
    assert_eq!((again.body.as_slice(), again.redelivered), (sent.bytes(), true));
    assert!(again.ack().await.unwrap());
}

async fn a_delivery_comes_back_when_its_process_is_gone(place: &Place) {
    let first = place.open_impatient().await;
    let sent = publish_one(&*first).await;
    let mut consumer = first.consumer(Lane::Work, 5).await.unwrap();
    let held = next(&mut *consumer).await;
    first.close().await;

    let second = place.open().await;
    let mut consumer = second.consumer(Lane::Work, 5).await.unwrap();
    let again = next(&mut *consumer).await;
    assert_eq!((again.body.as_slice(), again.redelivered), (sent.bytes(), true));
    assert!(again.ack().await.unwrap());
    drop(held);
}

async fn an_ack_of_what_was_given_to_somebody_else_is_false(place: &Place) {
    let slow = place.open_impatient().await;
    publish_one(&*slow).await;
    let mut consumer = slow.consumer(Lane::Work, 1).await.unwrap();
    let held = next(&mut *consumer).await;
    consumer.close().await;

    let other = place.open().await;
    place.cut();
    let mut consumer = other.consumer(Lane::Work, 1).await.unwrap();
    let again = next(&mut *consumer).await;
    assert!(again.redelivered);
    assert!(!held.ack().await.unwrap());
    assert!(again.ack().await.unwrap());
}

async fn no_more_than_the_prefetch_are_out_unsettled(place: &Place) {
    let queue = place.open().await;
    for _ in 0..4 {
        publish_one(&*queue).await;
    }
    let mut consumer = queue.consumer(Lane::Work, 2).await.unwrap();
    let first = next(&mut *consumer).await;
    let second = next(&mut *consumer).await;
    let third = tokio::time::timeout(Duration::from_millis(500), consumer.next()).await;
    assert!(third.is_err(), "a third delivery is out");
    assert!(first.ack().await.unwrap());
    let third = next(&mut *consumer).await;
    assert_ne!(id(&third), id(&second));
}

async fn a_retried_message_rests_in_its_tier_and_counts_the_attempt(place: &Place) {
    let queue = place.open().await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let sent = publish_one(&*queue).await;
    let began = Instant::now();
    for attempts in 1..=2 {
        next(&mut *consumer).await.retry(Tier::S5).await.unwrap();
        let again = next(&mut *consumer).await;
        assert_eq!((again.body.as_slice(), again.attempts), (sent.bytes(), attempts));
        assert!(began.elapsed() >= Tier::S5.delay() * attempts - Duration::from_millis(100));
        if attempts == 2 {
            assert!(again.ack().await.unwrap());
        } else {
            drop(again);
        }
    }
}

async fn a_buried_message_reaches_the_dead_lane_whole(place: &Place) {
    let queue = place.open().await;
    let mut work = queue.consumer(Lane::Work, 1).await.unwrap();
    let mut dead = queue.consumer(Lane::Dead, 1).await.unwrap();
    let sent = publish_one(&*queue).await;
    next(&mut *work).await.bury("unknown_key").await.unwrap();
    let buried = next(&mut *dead).await;
    assert_eq!((buried.body.as_slice(), buried.attempts), (sent.bytes(), 0));
    assert!(buried.ack().await.unwrap());
    // A message that the dead lane's reader sends back is work again.
    let sent = publish_one(&*queue).await;
    next(&mut *work).await.bury("unknown_key").await.unwrap();
    next(&mut *dead).await.retry(Tier::S5).await.unwrap();
    let again = next(&mut *work).await;
    assert_eq!((again.body.as_slice(), again.attempts), (sent.bytes(), 1));
}

async fn publish_many(publisher: &Arc<dyn Publisher>, count: usize) -> HashSet<EventId> {
    let publishes = (0..count).map(|_| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let one = envelope();
            publisher.publish(&one).await.map(|()| one.header().event_id)
        })
    });
    let mut confirmed = HashSet::new();
    for publish in publishes.collect::<Vec<_>>() {
        confirmed.insert(publish.await.unwrap().expect("confirmed"));
    }
    confirmed
}

async fn a_thousand_concurrent_publishes_are_all_confirmed_and_delivered(place: &Place) {
    let queue = place.open().await;
    let confirmed = publish_many(&queue.publisher().await.unwrap(), 1_000).await;
    assert_eq!(confirmed.len(), 1_000);
    let mut consumer = queue.consumer(Lane::Work, 100).await.unwrap();
    let mut delivered = HashSet::new();
    while delivered.len() < 1_000 {
        let delivery = next(&mut *consumer).await;
        delivered.insert(id(&delivery));
        assert!(delivery.ack().await.unwrap());
    }
    assert_eq!(delivered, confirmed);
}

async fn concurrent_consumers_get_disjoint_messages(place: &Place) {
    let queue = place.open().await;
    let confirmed = publish_many(&queue.publisher().await.unwrap(), 200).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..4 {
        let mut consumer = queue.consumer(Lane::Work, 5).await.unwrap();
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                sender.send(id(&delivery)).unwrap();
                assert!(delivery.ack().await.unwrap());
            }
        });
    }
    let mut delivered = Vec::new();
    while delivered.len() < 200 {
        delivered.push(soon("a delivery", receiver.recv()).await.unwrap());
    }
    assert_eq!(delivered.iter().copied().collect::<HashSet<_>>(), confirmed, "one was delivered twice");
}

async fn depths_tell_work_retry_and_dead_apart(place: &Place) {
    let queue = place.open().await;
    for _ in 0..5 {
        publish_one(&*queue).await;
    }
    eventually("five wait", async || ready(&*queue, "handrail.work").await == 5).await;
    let mut consumer = queue.consumer(Lane::Work, 2).await.unwrap();
    next(&mut *consumer).await.retry(Tier::H1).await.unwrap();
    next(&mut *consumer).await.bury("unknown_key").await.unwrap();
    consumer.close().await;
    for (name, expected) in [("handrail.work", 3), ("handrail.retry", 1), ("handrail.dead", 1)] {
        eventually(name, async || ready(&*queue, name).await == expected).await;
    }
}

async fn a_confirmed_message_survives_closing_and_opening(place: &Place) {
    let queue = place.open().await;
    let sent = publish_one(&*queue).await;
    queue.close().await;
    let queue = place.open().await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    assert_eq!(next(&mut *consumer).await.body, sent.bytes());
}

async fn close_ends_next_and_leaves_settling_possible(place: &Place) {
    let queue = place.open().await;
    publish_one(&*queue).await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let held = next(&mut *consumer).await;
    consumer.close().await;
    assert!(soon("the end", consumer.next()).await.is_none());
    assert!(held.ack().await.unwrap());
    // Closing the queue ends a `next` that waits.
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    let (ended, ()) = soon("the end", async { tokio::join!(consumer.next(), queue.close()) }).await;
    assert!(ended.is_none());
}

async fn what_was_prefetched_at_close_goes_to_somebody_else(place: &Place) {
    let queue = place.open().await;
    let confirmed = publish_many(&queue.publisher().await.unwrap(), 10).await;
    let mut leaving = queue.consumer(Lane::Work, 10).await.unwrap();
    let held = next(&mut *leaving).await;
    leaving.close().await;
    let mut delivered = HashSet::from([id(&held)]);
    assert!(held.ack().await.unwrap());
    let mut consumer = queue.consumer(Lane::Work, 10).await.unwrap();
    while delivered.len() < 10 {
        let delivery = next(&mut *consumer).await;
        delivered.insert(id(&delivery));
        assert!(delivery.ack().await.unwrap());
    }
    assert_eq!(delivered, confirmed);
}

async fn a_closed_queue_says_so_at_once(place: &Place) {
    let queue = place.open().await;
    let publisher = queue.publisher().await.unwrap();
    assert!(publisher.ready().is_ok());
    queue.close().await;
    assert!(matches!(publisher.ready(), Err(PublishError::Disconnected)));
    assert!(matches!(publisher.publish(&envelope()).await, Err(PublishError::Disconnected)));
    assert!(queue.probe().await.is_err());
    assert!(queue.depths().await.is_err());
}

async fn two_processes_meet_at_one_url(place: &Place) {
    let ingress = place.open().await;
    let worker = place.open().await;
    let mut consumer = worker.consumer(Lane::Work, 1).await.unwrap();
    for _ in 0..3 {
        let sent = publish_one(&*ingress).await;
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.body, sent.bytes());
        assert!(delivery.ack().await.unwrap());
    }
}

async fn an_abandoned_next_loses_nothing(place: &Place) {
    let queue = place.open().await;
    let mut consumer = queue.consumer(Lane::Work, 3).await.unwrap();
    let confirmed = publish_many(&queue.publisher().await.unwrap(), 30).await;
    let mut delivered = HashSet::new();
    let deadline = Instant::now() + super::PATIENCE;
    while delivered.len() < 30 {
        assert!(Instant::now() < deadline, "only {} of 30 came", delivered.len());
        if let Ok(delivery) = tokio::time::timeout(Duration::from_micros(200), consumer.next()).await {
            let delivery = delivery.expect("the consumer is open");
            assert!(delivered.insert(id(&delivery)), "delivered twice");
            assert!(delivery.ack().await.unwrap());
        }
    }
    assert_eq!(delivered, confirmed);
}
