//! What both protocols share: turning lines into alternating messages, and an HTTP answer into JSON or a typed error.

use std::time::Duration;

use serde_json::Value;

use super::ModelError;
use crate::http::{Call, Http, Reply, Trouble, Unread};
use crate::pipeline::prompt::{Prompt, Role};

/// What stands in the customer's place when a conversation's history begins with the business.
const EARLIER: &str = "(The conversation began earlier.)";

/// One message of a request.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Message {
    pub(super) role: &'static str,
    pub(super) content: String,
}

/// The conversation as strictly alternating messages that begin with the customer's. Anthropic's API and many local
/// models' chat templates refuse anything else; blank lines are refused too, and dropped.
pub(super) fn alternating(prompt: &Prompt) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in prompt.lines() {
        let text = line.text().trim();
        if text.is_empty() {
            continue;
        }
        let role = match line.role() {
            Role::Customer => "user",
            Role::Business => "assistant",
        };
        match messages.last_mut() {
            Some(last) if last.role == role => {
                last.content.push('\n');
                last.content.push_str(text);
            }
            last => {
                if last.is_none() && role == "assistant" {
                    messages.push(Message { role: "user", content: EARLIER.to_owned() });
                }
                messages.push(Message { role, content: text.to_owned() });
            }
        }
    }
    messages
}

/// Posts the request and gives the JSON of a successful answer.
pub(super) async fn exchange(http: &Http, call: Call<'_>) -> Result<Value, ModelError> {
    let reply = http.post(call).await.map_err(|trouble| match trouble {
        Trouble::NotConnected => ModelError::Unreachable,
        // Zero: the refusal is ours, a key that cannot be written into a header.
        Trouble::Unsendable => ModelError::Misconfigured(0),
        Trouble::TimedOut => ModelError::TimedOut,
        Trouble::Broken => ModelError::Malformed("the connection closed before an answer"),
    })?;
    read(reply)
}

fn read(reply: Reply) -> Result<Value, ModelError> {
    if reply.status != 200 {
        let body = reply.body.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        return Err(refusal(reply.status, reply.retry_after, &body));
    }
    let body = reply.body.map_err(|unread| match unread {
        Unread::TooLarge => ModelError::Malformed("larger than 1 MiB"),
        Unread::Broken => ModelError::Malformed("cut off"),
        Unread::TimedOut => ModelError::TimedOut,
    })?;
    let body: Value = serde_json::from_slice(&body).map_err(|_| ModelError::Malformed("not JSON"))?;
    match body.get("error") {
        // Some gateways pass an error on under 200.
        Some(error) if error.is_object() => Err(refusal(200, reply.retry_after, &body)),
        _ => Ok(body),
    }
}

/// What an error answer means. Its words are looked at and never kept: they may quote the prompt.
fn refusal(status: u16, retry_after: Option<Duration>, body: &Value) -> ModelError {
    let error = &body["error"];
    let word = |key: &str| error[key].as_str().unwrap_or_default().to_lowercase();
    let (code, kind, message) = (word("code"), word("type"), word("message"));
    let says = |words: &[&str]| words.iter().any(|word| code == *word || kind == *word);
    if says(&["insufficient_quota", "billing_error"]) || message.contains("credit balance is too low") {
        return ModelError::QuotaExhausted;
    }
    if status == 429 || says(&["rate_limit_error", "rate_limit_exceeded"]) {
        return ModelError::RateLimited { retry_after };
    }
    if (500..600).contains(&status) || matches!(status, 408 | 409) || says(&["overloaded_error", "server_error"]) {
        return ModelError::Overloaded { status, retry_after };
    }
    if status == 413 || says(CONTEXT_CODES) || CONTEXT_WORDS.iter().any(|words| message.contains(words)) {
        return ModelError::ContextTooLong;
    }
    if says(&["content_filter", "content_policy_violation", "refusal"]) {
        return ModelError::Refused;
    }
    match status {
        200..300 => ModelError::Malformed("an error under a success status"),
        _ => ModelError::Misconfigured(status),
    }
}

/// OpenAI's code, and the type that llama.cpp's server gives.
const CONTEXT_CODES: &[&str] = &["context_length_exceeded", "exceed_context_size_error"];

/// How others say it; there is no code for it in Anthropic's protocol.
const CONTEXT_WORDS: &[&str] = &[
    "context length",
    "context window",
    "context size",
    "context limit",
    "maximum context",
    "prompt is too long",
    "input is too long",
];

/// A count, where the provider gives one that fits.
pub(super) fn tokens(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}

/// The text of an answer, if there is any.
pub(super) fn some_text(text: &str) -> Result<String, ModelError> {
    match text.trim() {
        "" => Err(ModelError::Malformed("no text")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(lines: &[(Role, &str)]) -> Vec<(&'static str, String)> {
        let prompt = Prompt::for_test("system", lines, 10);
        alternating(&prompt).into_iter().map(|message| (message.role, message.content)).collect()
    }

    #[test]
    fn a_burst_is_one_message_and_blank_lines_are_none() {
        let lines =
            [(Role::Customer, "one"), (Role::Customer, "  "), (Role::Customer, "two"), (Role::Business, "three")];
        assert_eq!(shape(&lines), [("user", "one\ntwo".to_owned()), ("assistant", "three".to_owned())]);
    }

    #[test]
    fn a_history_that_begins_with_the_business_still_begins_with_the_user() {
        let lines = [(Role::Business, "hello"), (Role::Customer, "hi")];
        assert_eq!(shape(&lines).iter().map(|(role, _)| *role).collect::<Vec<_>>(), ["user", "assistant", "user"]);
    }

    #[test]
    fn every_error_status_and_word_has_its_class() {
        let wait = Some(Duration::from_secs(3));
        let coded = |code: &str| json!({ "error": { "code": code, "message": "quoted prompt" } });
        let said = |message: &str| json!({ "error": { "type": "invalid_request_error", "message": message } });
        let none = Value::Null;
        let rows = [
            (429, none.clone(), ModelError::RateLimited { retry_after: wait }),
            (429, coded("insufficient_quota"), ModelError::QuotaExhausted),
            (400, said("Your credit balance is too low to access the API."), ModelError::QuotaExhausted),
            (500, none.clone(), ModelError::Overloaded { status: 500, retry_after: wait }),
            (529, none.clone(), ModelError::Overloaded { status: 529, retry_after: wait }),
            (
                400,
                json!({ "error": { "type": "overloaded_error" } }),
                ModelError::Overloaded { status: 400, retry_after: wait },
            ),
            (400, coded("context_length_exceeded"), ModelError::ContextTooLong),
            (400, said("Prompt is too long: 9 > 8"), ModelError::ContextTooLong),
            (400, said("the request exceeds the available context size"), ModelError::ContextTooLong),
            (413, none.clone(), ModelError::ContextTooLong),
            (400, coded("content_filter"), ModelError::Refused),
            (400, said("no such parameter"), ModelError::Misconfigured(400)),
            (401, none.clone(), ModelError::Misconfigured(401)),
            (403, none.clone(), ModelError::Misconfigured(403)),
            (404, none.clone(), ModelError::Misconfigured(404)),
            (302, none.clone(), ModelError::Misconfigured(302)),
            (200, coded("odd"), ModelError::Malformed("an error under a success status")),
        ];
        for (status, body, expected) in rows {
            assert_eq!(refusal(status, wait, &body), expected, "{status} {body}");
        }
    }
}
