//! The other providers: what is only recorded, and replies that go, signed, to a business's own address.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::config::{Encoding, HmacAlgorithm, HmacConfig, KeyForm, Secret, Source};
use common::domain::{ConversationId, EventId, Identity, Micros, Provider, SendId, SourceName};
use common::providers::{self, samples};
use common::signature::{self, Headers, sign};
use serde_json::{Value, json};
use stand_ins::{ReplySink, SunkReply};

use super::bodies;
use crate::stack::{Doors, Plan, Stack};

const META_SECRET: &str = "a-page-secret-that-is-long-enough-for-tests";
const VOICE_SECRET: &str = "a-voice-secret-that-is-long-enough-for-tests";
const SHOP_SECRET: &str = "a-shop-secret-that-is-long-enough-for-tests";
const PARTNER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazfgaWVkdWNl";
/// The key pair of RFC 8032's first test.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn key(prefix: &str, hexadecimal: &str) -> String {
    format!("{prefix}{}", STANDARD.encode(hex::decode(hexadecimal).unwrap()))
}

fn file(sink: &ReplySink) -> String {
    let (replies, public) = (sink.url(), key("whpk_", PUBLIC));
    format!(
        r#"
[[source]]
name = "page"
provider = "messenger"
secrets = ["{META_SECRET}"]

[[source]]
name = "grams"
provider = "instagram"
secrets = ["{META_SECRET}"]

[[source]]
name = "voice"
provider = "elevenlabs"
secrets = ["{VOICE_SECRET}"]

[[source]]
name = "shop"
provider = "hmac"
header = "X-Shop-Signature"
prefix = "v1="
signed = "{{timestamp}}.{{body}}"
timestamp_header = "X-Shop-Time"
secrets = ["{SHOP_SECRET}"]
reply_url = "{replies}"

[[source]]
name = "partner"
provider = "standard-webhooks"
secrets = ["{PARTNER_SECRET}", "{public}"]
reply_url = "{replies}"
"#
    )
}

fn source(name: &str, provider: Provider) -> Source {
    let mut source = Source::bare(SourceName::parse(name).unwrap(), provider);
    source.hmac = (provider == Provider::Hmac).then(|| HmacConfig {
        header: "X-Shop-Signature".into(),
        prefix: "v1=".into(),
        algorithm: HmacAlgorithm::Sha256,
        encoding: Encoding::Hex,
        signed: "{timestamp}.{body}".into(),
        timestamp_header: Some("X-Shop-Time".into()),
        key: KeyForm::Text,
    });
    source
}

/// Signs a body as the source's provider does and posts it; how many events it was said to hold.
async fn post(stack: &Stack, source: &Source, secret: &str, id: &str, family: &str, body: &str) -> u64 {
    let scheme = providers::scheme(source).unwrap();
    let headers = sign(&scheme, &Secret::new(secret), body.as_bytes(), id, Micros::wall()).unwrap();
    let mut request = stack.http.post(format!("{}/webhooks/{}", stack.ingress.url, source.name));
    for (name, value) in headers {
        request = request.header(name.to_lowercase().replace("webhook-", family), value);
    }
    let answer = request.body(body.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{} {family}", source.name);
    answer.json::<Value>().await.unwrap()["accepted"].as_u64().unwrap()
}

async fn what_has_no_channel_yet_is_recorded(doors: Doors) {
    let sink = ReplySink::start().await.unwrap();
    let stack = Plan::on(doors).await.file(&file(&sink)).start().await;
    let instagram = samples::MESSENGER.replace("\"page\"", "\"instagram\"");
    let (page, grams) = (source("page", Provider::Messenger), source("grams", Provider::Instagram));
    let voice = source("voice", Provider::Elevenlabs);
    assert_eq!(post(&stack, &page, META_SECRET, "", "webhook-", samples::MESSENGER).await, 3);
    assert_eq!(post(&stack, &grams, META_SECRET, "", "webhook-", &instagram).await, 3);
    assert_eq!(post(&stack, &voice, VOICE_SECRET, "", "webhook-", samples::ELEVENLABS_TRANSCRIPTION).await, 1);
    for name in ["page", "grams"] {
        assert_eq!(stack.end_of(bodies::event(name, "message", "m_SAMPLE1", None)).await, "recorded");
        assert_eq!(stack.end_of(bodies::event(name, "echo", "m_SAMPLE2", None)).await, "recorded");
    }
    let call = bodies::event("voice", "call", "conv_sample_1:post_call_transcription", None);
    assert_eq!(stack.end_of(call).await, "recorded");
    crate::contracts::eventually("all are in", async || stack.settled().await.accepted == 7).await;
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["recorded"], ledger.sends.committed), (7, 0));
    assert!(stack.model.calls().is_empty());
}

/// Checks a reply's signature over its very bytes, and gives its body.
fn proved(reply: &SunkReply, secret: &str) -> Value {
    let scheme = providers::scheme(&source("any", Provider::StandardWebhooks)).unwrap();
    let headers: Headers<'_> = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let secrets = [Secret::new(secret)];
    let verified = signature::verify(&scheme, &secrets, &headers, reply.body.clone().into(), Micros::wall());
    let id = verified.expect("rightly signed").id().map(str::to_owned);
    id.expect("an id").parse::<SendId>().expect("our id of the send");
    serde_json::from_slice(&reply.body).unwrap()
}

fn has_fields(reply: &Value, event: EventId, question: &str) {
    assert_eq!(reply["type"], "reply");
    assert_eq!(reply["in_reply_to"], json!([event.to_string()]));
    assert_eq!(reply["text"], format!("[fake model stand-in] You said: {question}"));
    assert_eq!(reply["locale"], "en");
    reply["conversation"].as_str().unwrap().parse::<ConversationId>().unwrap();
    assert_eq!(reply.as_object().unwrap().len(), 5);
}

async fn a_business_gets_its_replies_signed_at_its_own_address(doors: Doors) {
    let sink = ReplySink::start().await.unwrap();
    let stack = Plan::on(doors).await.file(&file(&sink)).start().await;
    let (shop, partner) = (source("shop", Provider::Hmac), source("partner", Provider::StandardWebhooks));
    let question = "Is the red one back in stock?";
    assert_eq!(post(&stack, &shop, SHOP_SECRET, "", "webhook-", samples::GENERIC).await, 1);
    let event = bodies::event("shop", "event", "evt_sample_1", None);
    assert_eq!(stack.end_of(event).await, "replied");
    let replies = sink.wait_for(1).await.unwrap();
    assert_eq!(replies[0].headers["content-type"], "application/json");
    has_fields(&proved(&replies[0], &format!("whsec_{}", STANDARD.encode(SHOP_SECRET))), event, question);

    // Each way that the specification, or Svix before it, lets a partner sign.
    let private = key("whsk_", SEED);
    let ways =
        [("msg_1", PARTNER_SECRET, "webhook-"), ("msg_2", PARTNER_SECRET, "svix-"), ("msg_3", &private, "webhook-")];
    for (count, (id, secret, family)) in ways.into_iter().enumerate() {
        assert_eq!(post(&stack, &partner, secret, id, family, samples::STANDARD_WEBHOOKS).await, 1);
        let event = bodies::event("partner", "event", id, None);
        assert_eq!(stack.end_of(event).await, "replied", "{id}");
        let replies = sink.wait_for(count + 2).await.unwrap();
        has_fields(&proved(&replies[count + 1], PARTNER_SECRET), event, "Can I change my order?");
    }
    assert_eq!(stack.settled().await.sends.accepted, 4);
}

async fn an_event_of_ones_own_without_customer_text_or_id_is_taken_as_far_as_it_goes(doors: Doors) {
    let sink = ReplySink::start().await.unwrap();
    let stack = Plan::on(doors).await.file(&file(&sink)).start().await;
    let shop = source("shop", Provider::Hmac);
    let send = async |body: &Value| post(&stack, &shop, SHOP_SECRET, "", "webhook-", &body.to_string()).await;
    for body in [json!({"id": "no-contact", "text": "Hello"}), json!({"id": "no-text", "contact": "customer-7"})] {
        assert_eq!(send(&body).await, 1);
        let event = bodies::event("shop", "event", body["id"].as_str().unwrap(), None);
        assert_eq!(stack.end_of(event).await, "recorded", "{body}");
    }
    // Without an id its bytes tell it apart: the same bytes are the same event.
    let body = json!({"contact": "customer-7", "text": "Are you open?"});
    let event = EventId::derive(&shop.name, &Identity::of_bytes("event", body.to_string().as_bytes()));
    send(&body).await;
    assert_eq!(stack.end_of(event).await, "replied");
    send(&body).await;
    let next = json!({"contact": "customer-7", "text": "Are you open on Sunday?"});
    send(&next).await;
    let event = EventId::derive(&shop.name, &Identity::of_bytes("event", next.to_string().as_bytes()));
    assert_eq!(stack.end_of(event).await, "replied");
    let ledger = stack.settled().await;
    assert_eq!((ledger.accepted, ledger.ended["replied"], ledger.ended["recorded"]), (4, 2, 2));
    assert_eq!(sink.replies().len(), 2);
}

on_every_backend!(
    what_has_no_channel_yet_is_recorded,
    a_business_gets_its_replies_signed_at_its_own_address,
    an_event_of_ones_own_without_customer_text_or_id_is_taken_as_far_as_it_goes,
);
