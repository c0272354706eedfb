//! The model call: a prompt in, a draft out. One call, one deadline; what a failure means is recovery's business.

use std::time::Duration;

use crate::models::{Answer, Model, ModelError};
use crate::pipeline::prompt::Prompt;

/// What a model wrote, not yet approved. Made only here, and only from a model's answer (P5).
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    text: String,
}

impl Draft {
    /// The draft of an answer, fresh or stored.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] for an answer that says nothing.
    pub fn from_answer(answer: &Answer) -> Result<Self, ModelError> {
        match answer.text.trim() {
            "" => Err(ModelError::Malformed("it holds no text")),
            text => Ok(Self { text: text.to_owned() }),
        }
    }

    /// What the model wrote.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for Draft {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({} bytes)", self.text.len())
    }
}

/// Calls the model once. The answer comes back as it is, so that it is stored, tokens and all, before a [`Draft`] is
/// made of it.
///
/// # Errors
/// [`ModelError`]; [`ModelError::TimedOut`] at the deadline even if the model does not keep it.
pub async fn ask(model: &dyn Model, prompt: &Prompt, deadline: Duration) -> Result<Answer, ModelError> {
    tokio::time::timeout(deadline, model.complete(prompt, deadline)).await.map_err(|_| ModelError::TimedOut)?
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::policy::Policy;

    struct Says(&'static str);
    struct Silent;

    #[async_trait]
    impl Model for Says {
        fn name(&self) -> &str {
            "says"
        }
        async fn complete(&self, _: &Prompt, _: Duration) -> Result<Answer, ModelError> {
            Ok(Answer { text: self.0.to_owned(), tokens_in: Some(7), tokens_out: None, tokens_cached: None })
        }
    }

    #[async_trait]
    impl Model for Silent {
        fn name(&self) -> &str {
            "silent"
        }
        async fn complete(&self, _: &Prompt, _: Duration) -> Result<Answer, ModelError> {
            std::future::pending().await
        }
    }

    async fn call(model: &dyn Model) -> Result<Answer, ModelError> {
        let prompt = Prompt::build(&Policy::starter().unwrap(), &[], &[]);
        ask(model, &prompt, Duration::from_millis(5)).await
    }

    #[tokio::test]
    async fn an_answer_becomes_a_draft_and_an_empty_one_an_error_with_its_tokens_kept() {
        let answer = call(&Says(" We open at nine. ")).await.unwrap();
        assert_eq!(Draft::from_answer(&answer).unwrap().text(), "We open at nine.");
        let empty = call(&Says(" \n")).await.unwrap();
        assert_eq!(empty.tokens_in, Some(7));
        assert!(matches!(Draft::from_answer(&empty), Err(ModelError::Malformed(_))));
    }

    #[tokio::test]
    async fn a_model_that_never_answers_ends_at_the_deadline() {
        assert_eq!(call(&Silent).await.unwrap_err(), ModelError::TimedOut);
    }
}
