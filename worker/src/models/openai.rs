//! OpenAI's chat completions, and the many servers that speak them. Not streamed: a draft is approved whole or not.

use std::time::Duration;

use async_trait::async_trait;
use common::config::Secret;
use serde_json::{Value, json};
use url::{Host, Url};

use super::wire::{alternating, exchange, some_text, tokens};
use super::{Answer, Endpoint, Model, ModelError};
use crate::http::{Call, under};
use crate::pipeline::prompt::Prompt;

/// A model behind `{base}/chat/completions`.
pub(super) struct OpenAi {
    endpoint: Endpoint,
    url: Url,
    limit_key: &'static str,
}

impl OpenAi {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let url = under(&endpoint.base_url, &["chat", "completions"]);
        let limit_key = limit_key(&endpoint.base_url);
        Self { endpoint, url, limit_key }
    }

    fn body(&self, prompt: &Prompt) -> String {
        let mut messages = vec![json!({ "role": "system", "content": prompt.system() })];
        messages.extend(alternating(prompt).iter().map(|message| json!(message)));
        let mut body = json!({ "model": self.endpoint.model, "messages": messages, "stream": false });
        body[self.limit_key] = json!(prompt.max_output_tokens());
        if let Some(schema) = prompt.schema() {
            let named = json!({ "name": "answer", "strict": true, "schema": schema });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": named });
        }
        body.to_string()
    }
}

/// The field that caps the output. There is no name that all servers take: OpenAI's newer models refuse `max_tokens`,
/// some compatible servers refuse `max_completion_tokens` and others ignore it, and OpenAI refuses both at once. So
/// OpenAI's own hosts (and Azure's, which run the same models) get the new name, everybody else the old one.
fn limit_key(base: &Url) -> &'static str {
    match base.host() {
        Some(Host::Domain(host)) if host == "api.openai.com" || host.ends_with(".openai.azure.com") => {
            "max_completion_tokens"
        }
        _ => "max_tokens",
    }
}

#[async_trait]
impl Model for OpenAi {
    fn name(&self) -> &str {
        &self.endpoint.name
    }

    async fn complete(&self, prompt: &Prompt, deadline: Duration) -> Result<Answer, ModelError> {
        let bearer = |key: &Secret| ("authorization".into(), Secret::new(format!("Bearer {}", key.expose())));
        let call = Call {
            url: self.url.clone(),
            headers: self.endpoint.api_key.iter().map(bearer).collect(),
            body: self.body(prompt),
            within: deadline,
            who: &self.endpoint.name,
        };
        read(&exchange(&self.endpoint.http, call).await?)
    }
}

fn read(body: &Value) -> Result<Answer, ModelError> {
    let choice = &body["choices"][0];
    let declined = choice["message"]["refusal"].as_str().is_some_and(|text| !text.is_empty());
    if declined || choice["finish_reason"] == "content_filter" {
        return Err(ModelError::Refused);
    }
    let Some(message) = choice["message"].as_object() else {
        return Err(ModelError::Malformed("no choices[0].message"));
    };
    let text = some_text(message.get("content").and_then(Value::as_str).unwrap_or_default())?;
    let usage = &body["usage"];
    Ok(Answer {
        text,
        tokens_in: tokens(&usage["prompt_tokens"]),
        tokens_out: tokens(&usage["completion_tokens"]),
        tokens_cached: tokens(&usage["prompt_tokens_details"]["cached_tokens"]),
        cut: choice["finish_reason"] == "length",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_openai_itself_is_given_the_new_name_of_the_limit() {
        let key = |text: &str| limit_key(&Url::parse(text).unwrap());
        assert_eq!(key("https://api.openai.com/v1"), "max_completion_tokens");
        assert_eq!(key("https://shop.openai.azure.com/openai/v1"), "max_completion_tokens");
        assert_eq!(key("http://127.0.0.1:8000/v1"), "max_tokens");
        assert_eq!(key("https://api.openai.com.example.com/v1"), "max_tokens");
    }

    #[test]
    fn an_answer_that_the_token_limit_cut_says_so() {
        let said =
            |reason: &str| json!({ "choices": [{ "message": { "content": "We open" }, "finish_reason": reason }] });
        assert!(read(&said("length")).unwrap().cut);
        assert!(!read(&said("stop")).unwrap().cut);
    }

    #[test]
    fn an_answer_without_a_choice_or_with_a_refusal_is_no_draft() {
        assert_eq!(read(&json!({})), Err(ModelError::Malformed("no choices[0].message")));
        assert_eq!(
            read(&json!({ "choices": [{ "message": { "content": null } }] })),
            Err(ModelError::Malformed("no text"))
        );
        assert_eq!(
            read(&json!({ "choices": [{ "message": { "content": null, "refusal": "no" } }] })),
            Err(ModelError::Refused)
        );
    }
}
