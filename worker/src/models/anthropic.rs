//! Anthropic's messages. Not streamed: a draft is approved whole or not.

use std::time::Duration;

use async_trait::async_trait;
use common::config::Secret;
use serde_json::{Value, json};
use url::Url;

use super::wire::{alternating, exchange, some_text, tokens};
use super::{Answer, Endpoint, Model, ModelError};
use crate::http::{Call, under};
use crate::pipeline::prompt::Prompt;

/// The version of the protocol that this file speaks.
const VERSION: &str = "2023-06-01";

/// A model behind `{base}/messages`.
pub(super) struct Anthropic {
    endpoint: Endpoint,
    url: Url,
}

impl Anthropic {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let url = under(&endpoint.base_url, &["messages"]);
        Self { endpoint, url }
    }

    fn body(&self, prompt: &Prompt) -> String {
        let mut body = json!({
            "model": self.endpoint.model,
            "messages": alternating(prompt),
            "max_tokens": prompt.max_output_tokens(),
        });
        // An empty system text is refused.
        if !prompt.system().trim().is_empty() {
            body["system"] = json!(prompt.system());
        }
        body.to_string()
    }
}

#[async_trait]
impl Model for Anthropic {
    fn name(&self) -> &str {
        &self.endpoint.name
    }

    async fn complete(&self, prompt: &Prompt, deadline: Duration) -> Result<Answer, ModelError> {
        let mut headers = vec![("anthropic-version".into(), Secret::new(VERSION))];
        headers.extend(self.endpoint.api_key.iter().map(|key| ("x-api-key".into(), key.clone())));
        let call = Call {
            url: self.url.clone(),
            headers,
            body: self.body(prompt),
            within: deadline,
            who: &self.endpoint.name,
        };
        read(&exchange(&self.endpoint.http, call).await?)
    }
}

fn read(body: &Value) -> Result<Answer, ModelError> {
    match body["stop_reason"].as_str() {
        Some("refusal") => return Err(ModelError::Refused),
        Some("model_context_window_exceeded") => return Err(ModelError::ContextTooLong),
        _ => {}
    }
    let Some(blocks) = body["content"].as_array() else {
        return Err(ModelError::Malformed("no content"));
    };
    let texts = blocks.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
    let text = some_text(&texts.collect::<String>())?;
    let usage = &body["usage"];
    let cached = tokens(&usage["cache_read_input_tokens"]);
    let written = tokens(&usage["cache_creation_input_tokens"]);
    Ok(Answer {
        text,
        // `input_tokens` leaves out what the cache gave or took; the other protocol counts all that was read.
        tokens_in: tokens(&usage["input_tokens"])
            .map(|fresh| fresh.saturating_add(cached.unwrap_or(0)).saturating_add(written.unwrap_or(0))),
        tokens_out: tokens(&usage["output_tokens"]),
        tokens_cached: cached,
        cut: body["stop_reason"] == "max_tokens",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_blocks_are_joined_and_other_blocks_left_out() {
        let blocks = json!([
            { "type": "thinking", "thinking": "hm" },
            { "type": "text", "text": "We open " },
            { "type": "text", "text": "at nine." },
        ]);
        let answer = read(&json!({ "content": blocks, "stop_reason": "end_turn" })).unwrap();
        assert_eq!(answer.text, "We open at nine.");
        assert!(!answer.cut);
        assert!(read(&json!({ "content": blocks, "stop_reason": "max_tokens" })).unwrap().cut);
        assert_eq!((answer.tokens_in, answer.tokens_out, answer.tokens_cached), (None, None, None));
    }

    #[test]
    fn a_full_context_and_a_missing_content_are_no_draft() {
        let full = json!({ "content": [], "stop_reason": "model_context_window_exceeded" });
        assert_eq!(read(&full), Err(ModelError::ContextTooLong));
        assert_eq!(read(&json!({})), Err(ModelError::Malformed("no content")));
    }
}
