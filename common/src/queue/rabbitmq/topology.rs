//! Everything that must exist on the broker, drawn in one function.
//!
//! Quorum queues, all durable. Dead-lettering is at-least-once, which needs `reject-publish` and asks for a bound. A
//! retry tier is a queue whose messages expire back into work; it is entered by an explicit publish, since a cycle of
//! the broker's own rejections is cut. The delivery limit leads only to the dead queue, never into a tier.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::queue::{Lane, Tier};

/// The one exchange that messages go by.
pub(super) const EXCHANGE: &str = "handrail";
/// Events to take in.
pub(super) const WORK: &str = "handrail.work";
/// What could not be taken in.
pub(super) const DEAD: &str = "handrail.dead";

/// How often the broker delivers one message before it buries it.
const DELIVERY_LIMIT: i64 = 20;
/// How many messages a queue holds before it refuses: a refusal is answered by 503, and the provider tries again.
const WORK_MOST: i64 = 5_000_000;
const TIER_MOST: i64 = 500_000;

/// A lane's queue.
pub(super) const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Work => WORK,
        Lane::Dead => DEAD,
    }
}

/// A tier's queue.
pub(super) fn tier(tier: Tier) -> String {
    format!("handrail.retry.{}", tier.name())
}

/// Every queue's name.
pub(super) fn queues() -> Vec<String> {
    let tiers = Tier::ALL.into_iter().map(tier);
    std::iter::once(WORK.to_owned()).chain(tiers).chain(std::iter::once(DEAD.to_owned())).collect()
}

/// Declares it all; what is there already, and equal, stays as it is.
pub(super) async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    queue(channel, DEAD, FieldTable::default()).await?;
    let mut work = leading_to(DEAD, WORK_MOST);
    work.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    queue(channel, WORK, work).await?;
    for one in Tier::ALL {
        let mut arguments = leading_to(WORK, TIER_MOST);
        let milliseconds = i64::try_from(one.delay().as_millis()).unwrap_or(i64::MAX);
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(milliseconds));
        queue(channel, &tier(one), arguments).await?;
    }
    Ok(())
}

fn leading_to(queue: &str, most: i64) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), text(EXCHANGE));
    arguments.insert("x-dead-letter-routing-key".into(), text(queue));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(most));
    arguments
}

async fn queue(channel: &Channel, name: &str, mut arguments: FieldTable) -> lapin::Result<()> {
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await?;
    channel
        .queue_bind(name.into(), EXCHANGE.into(), name.into(), QueueBindOptions::default(), FieldTable::default())
        .await
}
