//! Both protocols against the stand-in over real HTTP: one promise for each row of [`ModelError`].

use stand_ins::{FakeModel, ModelBehaviour, refusing_url};

use super::*;
use crate::http::install_tls_for_tests;
use crate::pipeline::prompt::Role;

const BOTH: [Protocol; 2] = [Protocol::Openai, Protocol::Anthropic];
const LONG: Duration = Duration::from_secs(30);

fn config(protocol: Protocol, base_url: &str) -> ModelConfig {
    ModelConfig {
        name: "main".to_owned(),
        provider: "stand-in".to_owned(),
        protocol,
        base_url: Some(Url::parse(base_url).unwrap()),
        api_key: Some(Secret::new("key-of-the-test")),
        model: "small".to_owned(),
        prices: None,
        context_tokens: None,
    }
}

fn prompt() -> Prompt {
    let lines = [
        (Role::Customer, "Are you open?"),
        (Role::Business, "Yes."),
        (Role::Customer, "On Sunday?"),
        (Role::Customer, "At nine?"),
    ];
    Prompt::for_test("Be brief.", &lines, 321)
}

async fn ask(protocol: Protocol, behaviour: ModelBehaviour, deadline: Duration) -> Result<Answer, ModelError> {
    install_tls_for_tests();
    let fake = FakeModel::start().await.unwrap();
    fake.next(behaviour);
    connect(&config(protocol, &fake.url()), LONG).unwrap().complete(&prompt(), deadline).await
}

async fn error(protocol: Protocol, behaviour: ModelBehaviour) -> ModelError {
    ask(protocol, behaviour, LONG).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_comes_back_with_its_tokens() {
    for protocol in BOTH {
        let answer = ask(protocol, ModelBehaviour::Answer("  We open at nine. ".to_owned()), LONG).await.unwrap();
        assert_eq!(answer.text, "We open at nine.");
        // The stand-in counts words: two of the instructions, four of the last message.
        let read = if protocol == Protocol::Anthropic { 7 } else { 6 };
        assert_eq!((answer.tokens_in, answer.tokens_out, answer.tokens_cached), (Some(read), Some(4), Some(1)));
    }
}

#[tokio::test]
async fn the_request_is_in_the_protocols_shape() {
    install_tls_for_tests();
    for protocol in BOTH {
        let fake = FakeModel::start().await.unwrap();
        let model = connect(&config(protocol, &fake.url()), LONG).unwrap();
        model.complete(&prompt(), LONG).await.unwrap();
        let call = fake.calls().remove(0);
        assert_eq!(call.model, "small");
        assert_eq!(call.system, "Be brief.");
        assert_eq!(call.body["max_tokens"], 321);
        let roles: Vec<&str> = call.lines.iter().map(|(role, _)| role.as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        assert_eq!(call.question(), "On Sunday?\nAt nine?");
        let credential = if protocol == Protocol::Openai { "Bearer key-of-the-test" } else { "key-of-the-test" };
        assert_eq!(call.credential.as_deref(), Some(credential));
    }
}

#[tokio::test]
async fn a_rate_limit_says_how_long_to_wait_in_each_form() {
    for protocol in BOTH {
        for (header, expected) in [(None, None), (Some("7"), Some(Duration::from_secs(7)))] {
            let behaviour = ModelBehaviour::RateLimit { retry_after: header.map(str::to_owned) };
            assert_eq!(error(protocol, behaviour).await, ModelError::RateLimited { retry_after: expected });
        }
        let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(600));
        let ModelError::RateLimited { retry_after: Some(wait) } =
            error(protocol, ModelBehaviour::RateLimit { retry_after: Some(soon) }).await
        else {
            panic!("no wait read from a date");
        };
        assert!((500..=600).contains(&wait.as_secs()), "{wait:?}");
    }
}

#[tokio::test]
async fn an_overloaded_provider_is_told_apart() {
    for (protocol, status) in [(Protocol::Openai, 503), (Protocol::Anthropic, 529)] {
        let expected = ModelError::Overloaded { status, retry_after: None };
        assert_eq!(error(protocol, ModelBehaviour::Overloaded).await, expected);
    }
}

#[tokio::test]
async fn a_refusal_and_a_full_context_are_told_apart() {
    for protocol in BOTH {
        assert_eq!(error(protocol, ModelBehaviour::Refuse).await, ModelError::Refused);
        assert_eq!(error(protocol, ModelBehaviour::ContextTooLong).await, ModelError::ContextTooLong);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_malformed() {
    for protocol in BOTH {
        for (behaviour, why) in [
            (ModelBehaviour::Garbage, "not JSON"),
            (ModelBehaviour::EmptyText, "no text"),
            (ModelBehaviour::CutOff, "cut off"),
            (ModelBehaviour::Huge(2 * 1024 * 1024), "larger than 1 MiB"),
            (ModelBehaviour::Reset, "the connection closed before an answer"),
        ] {
            assert_eq!(error(protocol, behaviour).await, ModelError::Malformed(why));
        }
    }
}

#[tokio::test]
async fn a_model_that_never_answers_is_timed_out() {
    for protocol in BOTH {
        let answer = ask(protocol, ModelBehaviour::Hang, Duration::from_millis(200)).await;
        assert_eq!(answer, Err(ModelError::TimedOut));
    }
}

#[tokio::test]
async fn a_wrong_key_or_path_is_our_configuration() {
    for protocol in BOTH {
        for http in [401, 403, 404] {
            let behaviour = ModelBehaviour::Error { http, code: "denied".to_owned(), message: String::new() };
            assert_eq!(error(protocol, behaviour).await, ModelError::Misconfigured(http));
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unreachable() {
    install_tls_for_tests();
    let base = refusing_url().await.unwrap();
    for protocol in BOTH {
        let model = connect(&config(protocol, &base), LONG).unwrap();
        assert_eq!(model.complete(&prompt(), LONG).await, Err(ModelError::Unreachable));
    }
}

#[tokio::test]
async fn a_held_call_is_seen_before_it_is_answered() {
    install_tls_for_tests();
    let fake = FakeModel::start().await.unwrap();
    let held = fake.hold();
    let model = connect(&config(Protocol::Openai, &fake.url()), LONG).unwrap();
    let asking = tokio::spawn(async move { model.complete(&prompt(), LONG).await });
    fake.wait_for_calls(1).await.unwrap();
    assert!(!asking.is_finished());
    held.release();
    assert!(asking.await.unwrap().unwrap().text.starts_with("[fake model stand-in]"));
    assert_eq!(fake.most_in_flight(), 1);
}

#[test]
fn a_network_model_without_an_address_is_refused_by_name() {
    let config = ModelConfig { base_url: None, ..config(Protocol::Openai, "http://127.0.0.1/v1") };
    let error = connect(&config, LONG).err().unwrap().to_string();
    assert!(error.contains("'main'") && !error.contains("key-of-the-test"), "{error}");
}
