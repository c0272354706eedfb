//! What a stand-in owes to those who lean on it, seen from the bare wire.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{FakeGraphApi, FakeModel, GraphBehaviour, ModelBehaviour, ReplyBehaviour, ReplySink};

/// Posts and reads until the stand-in closes; the error is how the connection broke.
async fn post(url: &str, path: &str, body: &str) -> (String, Option<std::io::ErrorKind>) {
    let (authority, base) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let length = body.len();
    let head = format!("POST /{base}{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    let request = format!("{head}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let broke = stream.read_to_end(&mut answer).await.err().map(|error| error.kind());
    (String::from_utf8(answer).unwrap(), broke)
}

const SEND: &str = r#"{"to":"15550100","text":{"body":"hi"}}"#;
const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn every_answer_says_that_a_stand_in_gave_it() {
    let (graph, model, sink) =
        (FakeGraphApi::start().await.unwrap(), FakeModel::start().await.unwrap(), ReplySink::start().await.unwrap());
    graph.next(GraphBehaviour::Accept);
    graph.next(GraphBehaviour::Refuse { http: 400, code: 131_047 });
    let answers = [
        ("fake-graph-api", post(&graph.url(), "/1/messages", SEND).await.0),
        ("fake-graph-api", post(&graph.url(), "/1/messages", SEND).await.0),
        ("fake-model", post(&model.url(), "/chat/completions", ASK).await.0),
        ("fake-model", post(&model.url(), "/messages", ASK).await.0),
        ("reply-sink", post(&sink.url(), "", "{}").await.0),
    ];
    for (name, answer) in answers {
        assert!(answer.contains(&format!("x-stand-in: {name}")), "{answer}");
        assert!(answer.contains(r#""stand_in":true"#), "{answer}");
    }
}

#[tokio::test]
async fn behaviours_are_used_up_in_order_and_then_the_standing_one_holds() {
    let sink = ReplySink::start().await.unwrap();
    let status = |http| ReplyBehaviour::Status { http, retry_after: None };
    sink.always(status(202));
    sink.next(status(500));
    sink.next(status(429));
    for expected in ["500", "429", "202", "202"] {
        let (answer, _) = post(&sink.url(), "", "{}").await;
        assert_eq!(answer.split(' ').nth(1), Some(expected));
    }
    assert_eq!(sink.wait_for(4).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_reset_comes_after_the_record_and_instead_of_any_byte() {
    let graph = FakeGraphApi::start().await.unwrap();
    graph.next(GraphBehaviour::ResetAfterReading);
    let (answer, broke) = post(&graph.url(), "/1/messages", SEND).await;
    assert_eq!((answer.as_str(), broke), ("", Some(std::io::ErrorKind::ConnectionReset)));
    assert_eq!(graph.sends()[0].text, "hi");
    assert_eq!(graph.sends()[0].wamid, None);
}

#[tokio::test]
async fn a_cut_answer_lacks_its_end() {
    let model = FakeModel::start().await.unwrap();
    model.next(ModelBehaviour::Answer("x".repeat(100)));
    model.next(ModelBehaviour::CutOff);
    let (whole, _) = post(&model.url(), "/chat/completions", ASK).await;
    assert!(whole.ends_with('}'));
    let (cut, _) = post(&model.url(), "/chat/completions", ASK).await;
    assert!(!cut.ends_with('}'), "{cut}");
}

#[tokio::test]
async fn a_closed_stand_in_refuses_connections() {
    let sink = ReplySink::start().await.unwrap();
    let url = sink.url();
    let authority = url["http://".len()..].split('/').next().unwrap().to_owned();
    drop(sink);
    let refused = async { while TcpStream::connect(&authority).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the port is closed");
}

#[tokio::test]
async fn held_calls_are_counted_while_they_wait() {
    let model = FakeModel::start().await.unwrap();
    let held = model.hold();
    let url = model.url();
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { post(&url, "/messages", ASK).await.0 })
        })
        .collect();
    model.wait_for_calls(3).await.unwrap();
    assert!(asking.iter().all(|task| !task.is_finished()));
    drop(held);
    for task in asking {
        assert!(task.await.unwrap().contains("[fake model stand-in] You said: hi"));
    }
    assert_eq!(model.most_in_flight(), 3);
}
