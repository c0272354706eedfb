//! The yardstick: the least that a careful engineer would write to take a Meta webhook and keep it.
//!
//! Verify, publish persistent and mandatory to a quorum queue, await the confirm, 200. One connection, one channel,
//! confirms pipelined by as many requests as are under way. No parsing, no sealing, no order, no limits, no
//! supervision: what Handrail adds beside this program is what the benchmark weighs.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use hmac::{Hmac, KeyInit, Mac};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use sha2::Sha256;

const QUEUE: &str = "bare";
const PERSISTENT: u8 = 2;

struct Door {
    key: Hmac<Sha256>,
    channel: Channel,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let setting = |name: &str| std::env::var(name).with_context(|| name.to_owned());
    // Kept until the end: a dropped connection closes.
    let connection = Connection::connect(&setting("QUEUE_URL")?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let key = Hmac::<Sha256>::new_from_slice(setting("WHATSAPP_APP_SECRET")?.as_bytes())?;
    let routes = Router::new().route("/webhooks/whatsapp", post(webhook)).with_state(Arc::new(Door { key, channel }));
    let listener = tokio::net::TcpListener::bind(setting("INGRESS_BIND")?).await?.tap_io(|stream| {
        // Without it small answers wait for the peer's delayed ack; an error leaves only that wait.
        let _slower = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(QUEUE.into(), options, arguments).await.map(drop)
}

async fn webhook(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    if !proved(&door, &headers, &body) {
        return (StatusCode::UNAUTHORIZED, "");
    }
    match publish(&door.channel, &body).await {
        // A message that came back was confirmed too, and is lost.
        Ok(Confirmation::Ack(None)) => (StatusCode::OK, "{\"status\":\"accepted\"}"),
        Ok(_) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, ""),
    }
}

fn proved(door: &Door, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = headers.get("x-hub-signature-256").and_then(|value| value.as_bytes().strip_prefix(b"sha256="));
    let mut signature = [0; 32];
    if header.is_none_or(|hex| hex::decode_to_slice(hex, &mut signature).is_err()) {
        return false;
    }
    let mut mac = door.key.clone();
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

async fn publish(channel: &Channel, body: &[u8]) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    channel.basic_publish("".into(), QUEUE.into(), options, body, properties).await?.await
}
