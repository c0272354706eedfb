//! The offline stand-in: no network, no key, and no pretence. It thanks, counts, and says how to get a real model.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Answer, Model, ModelError};
use crate::pipeline::prompt::{Prompt, PromptLine, Role};

/// A model that answers from a script. The same prompt always has the same answer.
pub(super) struct Scripted {
    name: String,
}

impl Scripted {
    pub(super) fn new(name: String) -> Self {
        Self { name }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    English,
    Spanish,
    Portuguese,
}

/// Words and signs that one language has and the other two have not; where none or as many are found, English.
const SPANISH: &[&str] = &[
    "hola", "gracias", "usted", "quiero", "cuánto", "cuanto", "cuesta", "dónde", "donde", "hasta", "hoy", "el", "y",
    "¿",
];
const PORTUGUESE: &[&str] = &[
    "olá", "ola", "obrigado", "obrigada", "você", "voce", "quero", "quanto", "custa", "onde", "até", "hoje", "não", "e",
];

fn language(texts: &str) -> Language {
    let lower = texts.to_lowercase().replace('¿', " ¿ ");
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '¿').collect();
    let hits = |cues: &[&str]| words.iter().filter(|word| cues.contains(word)).count();
    match (hits(SPANISH), hits(PORTUGUESE)) {
        (spanish, portuguese) if spanish > portuguese => Language::Spanish,
        (spanish, portuguese) if portuguese > spanish => Language::Portuguese,
        _ => Language::English,
    }
}

fn reply(language: Language, count: usize) -> String {
    let said = match (language, count) {
        (Language::English, 1) => "Thank you for your message.".to_owned(),
        (Language::English, _) => format!("Thank you for your {count} messages."),
        (Language::Spanish, 1) => "Gracias por su mensaje.".to_owned(),
        (Language::Spanish, _) => format!("Gracias por sus {count} mensajes."),
        (Language::Portuguese, 1) => "Agradecemos a sua mensagem.".to_owned(),
        (Language::Portuguese, _) => format!("Agradecemos as suas {count} mensagens."),
    };
    let advice = match language {
        Language::English => "Set LLM_PROTOCOL, LLM_BASE_URL and LLM_MODEL to let a real model answer.",
        Language::Spanish => "Configure LLM_PROTOCOL, LLM_BASE_URL y LLM_MODEL para que responda un modelo real.",
        Language::Portuguese => "Configure LLM_PROTOCOL, LLM_BASE_URL e LLM_MODEL para um modelo real responder.",
    };
    format!("[scripted stand-in] {said} {advice}")
}

/// The reply in the form that was asked for; whatever else that has is null.
fn in_form(said: &str, schema: &Value) -> String {
    let keys = schema["properties"].as_object().into_iter().flat_map(|keys| keys.keys());
    let mut object: Map<String, Value> = keys.map(|key| (key.clone(), Value::Null)).collect();
    object.insert("reply".to_owned(), json!(said));
    object.insert("handoff".to_owned(), json!(false));
    Value::Object(object).to_string()
}

#[async_trait]
impl Model for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    async fn complete(&self, prompt: &Prompt, _deadline: Duration) -> Result<Answer, ModelError> {
        let unanswered = prompt.lines().iter().rev().take_while(|line| line.role() == Role::Customer);
        let texts: Vec<&str> = unanswered.map(PromptLine::text).collect();
        let said = reply(language(&texts.join(" ")), texts.len().max(1));
        let text = prompt.schema().map_or_else(|| said.clone(), |schema| in_form(&said, schema));
        Ok(Answer { text, tokens_in: None, tokens_out: None, tokens_cached: None, cut: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(lines: &[(Role, &str)]) -> String {
        let model = Scripted::new("main".to_owned());
        model.complete(&Prompt::for_test("system", lines, 10), Duration::from_secs(1)).await.unwrap().text
    }

    #[tokio::test]
    async fn it_says_what_it_is_and_counts_what_it_answers() {
        let burst = [
            (Role::Customer, "old question"),
            (Role::Business, "old answer"),
            (Role::Customer, "Hello"),
            (Role::Customer, "are you open"),
            (Role::Customer, "on Sunday?"),
        ];
        let text = answer(&burst).await;
        assert!(text.starts_with("[scripted stand-in] Thank you for your 3 messages."), "{text}");
        assert_eq!(text, answer(&burst).await);
        assert!(!text.contains("Sunday"));
    }

    #[tokio::test]
    async fn it_answers_in_the_language_of_the_question() {
        for (question, says) in [
            ("Are you open today?", "Thank you for your message."),
            ("Hola, ¿cuánto cuesta el envío?", "Gracias por su mensaje."),
            ("Olá, quanto custa a entrega?", "Agradecemos a sua mensagem."),
            ("12345", "Thank you for your message."),
        ] {
            let text = answer(&[(Role::Customer, question)]).await;
            assert!(text.contains(says), "{question}: {text}");
        }
    }
}
