//! Channels against their stand-ins over real HTTP: one promise for each outcome.

use common::config::{Encoding, HmacAlgorithm, HmacConfig, KeyForm, Secret};
use common::domain::{Address, Micros};
use common::providers::reply_scheme;
use common::signature::{Headers, verify};
use stand_ins::{FakeGraphApi, GraphBehaviour, ReplyBehaviour, ReplySink, refusing_url};
use url::Url;

use super::*;
use crate::http::install_tls_for_tests;

pub(super) fn outgoing() -> Outgoing {
    let address = Address { space: "phone".to_owned(), value: "15550100".to_owned() };
    Outgoing {
        send_id: SendId::random(),
        conversation: ConversationId::random(),
        party: Party { account: "1001".to_owned(), address },
        text: "We open at nine.".to_owned(),
        locale: "en".to_owned(),
        in_reply_to: vec![EventId::from_uuid(uuid::Uuid::from_u128(7))],
    }
}

fn source(provider: Provider) -> Source {
    Source::bare(SourceName::parse("shop").unwrap(), provider)
}

fn whatsapp(api_url: &str) -> Source {
    Source {
        api_url: Some(Url::parse(api_url).unwrap()),
        access_token: Some(Secret::new("token-of-the-test")),
        phone_number_id: Some("1002".to_owned()),
        ..source(Provider::Whatsapp)
    }
}

fn replying(provider: Provider, reply_url: &str, secret: &str) -> Source {
    let secrets = vec![Secret::new(secret), Secret::new("an older one")];
    let hmac = (provider == Provider::Hmac).then(text_keyed);
    Source { reply_url: Some(Url::parse(reply_url).unwrap()), secrets, hmac, ..source(provider) }
}

/// The defaults of an `hmac` source, whose secret is its own text.
fn text_keyed() -> HmacConfig {
    HmacConfig {
        header: "x-signature".to_owned(),
        prefix: String::new(),
        algorithm: HmacAlgorithm::Sha256,
        encoding: Encoding::Hex,
        signed: "{body}".to_owned(),
        timestamp_header: None,
        key: KeyForm::Text,
    }
}

fn channel_of(source: Source, send_timeout: Duration) -> Arc<dyn Channel> {
    install_tls_for_tests();
    let name = source.name.clone();
    let timing = Timing { send_timeout, ..Timing::default() };
    Channels::of(&HashMap::from([(name.clone(), source)]), &timing).for_source(&name).unwrap()
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(1);

fn refusal(class: RefusalClass, code: &str, seconds: Option<u64>) -> SendOutcome {
    let retry_after = seconds.map(Duration::from_secs);
    SendOutcome::Refused(Refusal { class, code: code.to_owned(), retry_after })
}

async fn graph_outcome(behaviour: GraphBehaviour, timeout: Duration) -> SendOutcome {
    let graph = FakeGraphApi::start().await.unwrap();
    graph.next(behaviour);
    let outcome = channel_of(whatsapp(&graph.url()), timeout).send(&outgoing()).await;
    assert_eq!(graph.wait_for(1).await.unwrap().len(), 1, "a send is tried once");
    outcome
}

async fn reply_outcome(behaviour: ReplyBehaviour, timeout: Duration) -> SendOutcome {
    let sink = ReplySink::start().await.unwrap();
    sink.next(behaviour);
    let channel = channel_of(replying(Provider::Hmac, &sink.url(), "a raw secret"), timeout);
    let outcome = channel.send(&outgoing()).await;
    assert_eq!(sink.wait_for(1).await.unwrap().len(), 1, "a send is tried once");
    outcome
}

#[tokio::test]
async fn a_whatsapp_reply_leaves_from_the_number_that_received_and_names_our_send() {
    let graph = FakeGraphApi::start().await.unwrap();
    let channel = channel_of(whatsapp(&graph.url()), LONG);
    let first = outgoing();
    let mut second = outgoing();
    second.party.account = String::new();
    let accepted = channel.send(&first).await;
    channel.send(&second).await;
    let sends = graph.sends();
    assert_eq!(accepted, SendOutcome::Accepted { provider_id: sends[0].wamid.clone() });
    assert!(sends[0].wamid.is_some());
    assert_eq!(sends.iter().map(|send| send.number.as_str()).collect::<Vec<_>>(), ["1001", "1002"]);
    assert_eq!((sends[0].to.as_str(), sends[0].text.as_str()), ("15550100", "We open at nine."));
    assert_eq!(sends[0].callback_data, Some(first.send_id.to_string()));
    assert_eq!(sends[0].authorization.as_deref(), Some("Bearer token-of-the-test"));
    assert_eq!((channel.limit(), channel.idempotent()), (4_096, false));
    assert_eq!(channel.window(), Some(Duration::from_secs(86_400)));
}

#[tokio::test]
async fn what_whatsapp_refuses_is_classed_by_its_code() {
    for (http, code, class) in [
        (400, 131_047, RefusalClass::WindowClosed),
        (400, 131_056, RefusalClass::RateLimited),
        (401, 190, RefusalClass::NotConfigured),
        (400, 131_026, RefusalClass::Rejected),
    ] {
        let outcome = graph_outcome(GraphBehaviour::Refuse { http, code }, LONG).await;
        assert_eq!(outcome, refusal(class, &code.to_string(), None));
    }
    let limited = graph_outcome(GraphBehaviour::RateLimit { retry_after: Some("9".to_owned()) }, LONG).await;
    assert_eq!(limited, refusal(RefusalClass::RateLimited, "130429", Some(9)));
}

#[tokio::test]
async fn a_whatsapp_send_whose_bytes_left_without_a_clear_answer_is_unknown() {
    for (behaviour, timeout, why) in [
        (GraphBehaviour::ServerError, LONG, "server_error"),
        (GraphBehaviour::HangAfterReading, SHORT, "timeout"),
        (GraphBehaviour::ResetAfterReading, LONG, "reset"),
        (GraphBehaviour::Garbage, LONG, "unreadable_answer"),
    ] {
        assert_eq!(graph_outcome(behaviour, timeout).await, SendOutcome::Unknown { why });
    }
}

#[tokio::test]
async fn a_reused_connection_that_dies_is_unknown_too() {
    let graph = FakeGraphApi::start().await.unwrap();
    let channel = channel_of(whatsapp(&graph.url()), LONG);
    graph.next(GraphBehaviour::Accept);
    graph.next(GraphBehaviour::ResetAfterReading);
    assert!(matches!(channel.send(&outgoing()).await, SendOutcome::Accepted { .. }));
    assert_eq!(channel.send(&outgoing()).await, SendOutcome::Unknown { why: "reset" });
    assert_eq!(graph.sends().len(), 2, "nothing is repeated behind our back");
}

#[tokio::test]
async fn a_connection_that_was_never_made_is_a_refusal_that_may_be_tried_again() {
    let nowhere = refusing_url().await.unwrap();
    for source in [whatsapp(&nowhere), replying(Provider::Hmac, &nowhere, "a raw secret")] {
        let outcome = channel_of(source, LONG).send(&outgoing()).await;
        assert_eq!(outcome, refusal(RefusalClass::Unavailable, "not_connected", None));
    }
}

#[tokio::test]
async fn what_is_missing_refuses_as_not_configured_and_says_what() {
    let graph = FakeGraphApi::start().await.unwrap();
    let mut no_number = outgoing();
    no_number.party.account = String::new();
    for (source, outgoing, code) in [
        (Source { access_token: None, ..whatsapp(&graph.url()) }, outgoing(), "no_access_token"),
        (Source { phone_number_id: None, ..whatsapp(&graph.url()) }, no_number, "no_phone_number_id"),
        (source(Provider::Whatsapp), outgoing(), "no_api_url"),
        (source(Provider::Messenger), outgoing(), "no_channel"),
        (source(Provider::Hmac), outgoing(), "no_reply_url"),
        (
            Source { secrets: Vec::new(), ..replying(Provider::Hmac, &graph.url(), "x") },
            outgoing(),
            "no_signing_secret",
        ),
    ] {
        let outcome = channel_of(source, LONG).send(&outgoing).await;
        assert_eq!(outcome, refusal(RefusalClass::NotConfigured, code, None));
    }
    let token = Some(Secret::new("two\nlines"));
    let outcome = channel_of(Source { access_token: token, ..whatsapp(&graph.url()) }, LONG).send(&outgoing()).await;
    assert_eq!(outcome, refusal(RefusalClass::NotConfigured, "token_not_a_header", None));
    assert!(graph.sends().is_empty());
}

#[tokio::test]
async fn a_reply_is_posted_signed_over_the_very_bytes() {
    let sink = ReplySink::start().await.unwrap();
    let channel = channel_of(replying(Provider::StandardWebhooks, &sink.url(), "whsec_aGVsbG8="), LONG);
    let outgoing = outgoing();
    assert_eq!(channel.send(&outgoing).await, SendOutcome::Accepted { provider_id: None });
    let reply = sink.replies().remove(0);
    let header = |name: &str| reply.headers[name].as_str();
    let source = replying(Provider::StandardWebhooks, &sink.url(), "whsec_aGVsbG8=");
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let presented: Headers<'_> = names.iter().map(|name| (*name, header(name).as_bytes())).collect();
    let body = reply.body.clone().into();
    verify(&reply_scheme(&source), &source.secrets, &presented, body, Micros::wall()).expect("a signature that holds");
    assert_eq!(header("webhook-id"), outgoing.send_id.to_string());
    assert_eq!(header("content-type"), "application/json");
    assert!(header("user-agent").starts_with("handrail/"));
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let expected = serde_json::json!({
        "type": "reply", "conversation": outgoing.conversation.to_string(), "text": "We open at nine.", "locale": "en",
        "in_reply_to": [outgoing.in_reply_to[0].to_string()],
    });
    assert_eq!(body, expected);
    assert_eq!((channel.limit(), channel.window(), channel.idempotent()), (65_536, None, true));
}

#[tokio::test]
async fn a_reply_urls_status_decides() {
    use RefusalClass::{NotConfigured, RateLimited, Rejected, Unavailable};
    for (http, class, code) in [
        (410, Rejected, "410"),
        (400, Rejected, "400"),
        (401, NotConfigured, "401"),
        (404, NotConfigured, "404"),
        (307, NotConfigured, "307"),
        (429, RateLimited, "429"),
        (503, Unavailable, "503"),
    ] {
        let behaviour = ReplyBehaviour::Status { http, retry_after: Some("2".to_owned()) };
        assert_eq!(reply_outcome(behaviour, LONG).await, refusal(class, code, Some(2)));
    }
    for http in [500, 502, 504] {
        let outcome = reply_outcome(ReplyBehaviour::Status { http, retry_after: None }, LONG).await;
        assert_eq!(outcome, SendOutcome::Unknown { why: "server_error" });
    }
}

#[tokio::test]
async fn a_reply_whose_bytes_left_without_an_answer_is_unknown() {
    let hung = reply_outcome(ReplyBehaviour::HangAfterReading, SHORT).await;
    assert_eq!(hung, SendOutcome::Unknown { why: "timeout" });
    let reset = reply_outcome(ReplyBehaviour::ResetAfterReading, LONG).await;
    assert_eq!(reset, SendOutcome::Unknown { why: "reset" });
}

#[test]
fn a_source_that_is_not_configured_any_more_has_no_channel() {
    let channels = Channels::of(&HashMap::new(), &Timing::default());
    assert!(channels.for_source(&SourceName::parse("gone").unwrap()).is_none());
}
