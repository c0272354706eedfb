//! The model call: a prompt in, a draft out. One call, one deadline; what a failure means is recovery's business.

use std::time::Duration;

use crate::models::{Answer, Model, ModelError};
use crate::pipeline::prompt::Prompt;
use crate::pipeline::structured::{self, Structured};
use crate::policy::{AnswerForm, AnswerFormat};

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

    /// The draft of an answer that must have a form; nothing is repaired here.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] for an answer that says nothing, or has not its form.
    pub fn in_form(answer: &Answer, form: &AnswerForm) -> Result<Self, ModelError> {
        if form.format == AnswerFormat::Text {
            return Self::from_answer(answer);
        }
        let read = structured::read(&answer.text, form);
        read.map(|said| Self::from_structured(&said)).map_err(|_| ModelError::Malformed("it has not its form"))
    }

    /// The reply within an answer that has a form.
    #[must_use]
    pub fn from_structured(answer: &Structured) -> Self {
        Self { text: answer.reply.clone() }
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
/// made of it; only a text that the token limit cut off ends with its last whole sentence, since what is stored may be
/// used by somebody who no longer knows that.
///
/// # Errors
/// [`ModelError`]; [`ModelError::TimedOut`] at the deadline even if the model does not keep it.
pub async fn ask(model: &dyn Model, prompt: &Prompt, deadline: Duration) -> Result<Answer, ModelError> {
    let answer = tokio::time::timeout(deadline, model.complete(prompt, deadline)).await;
    let answer = answer.map_err(|_| ModelError::TimedOut)??;
    // Half an object is none, and nothing of it is used: what reads it says so.
    if !answer.cut || prompt.schema().is_some() {
        return Ok(answer);
    }
    match whole_sentences(&answer.text) {
        "" => Err(ModelError::Malformed("the token limit cut it off before its first sentence ended")),
        whole => Ok(Answer { text: whole.to_owned(), ..answer }),
    }
}

/// A text up to the end of its last whole sentence. A full stop after a digit is none: it numbers a list, or stands
/// within a figure.
fn whole_sentences(text: &str) -> &str {
    let mut end = 0;
    let mut before = ' ';
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map_or(' ', |(_, next)| *next);
        let closes = match letter {
            '.' => !before.is_numeric() && (next.is_whitespace() || is_closing(next)),
            '!' | '?' | '…' => next.is_whitespace() || is_closing(next),
            '。' | '！' | '？' | '\n' => true,
            _ => false,
        };
        // A closing mark belongs to the sentence that it closes.
        if closes || (end == at && is_closing(letter)) {
            end = at + letter.len_utf8();
        }
        before = letter;
    }
    text[..end].trim_end()
}

const fn is_closing(letter: char) -> bool {
    matches!(letter, '"' | '\'' | ')' | ']' | '”' | '’' | '»')
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::policy::Policy;

    struct Says(&'static str, bool);
    struct Silent;

    #[async_trait]
    impl Model for Says {
        fn name(&self) -> &str {
            "says"
        }
        async fn complete(&self, _: &Prompt, _: Duration) -> Result<Answer, ModelError> {
            Ok(Answer {
                text: self.0.to_owned(),
                tokens_in: Some(7),
                tokens_out: None,
                tokens_cached: None,
                cut: self.1,
            })
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
        let answer = call(&Says(" We open at nine. ", false)).await.unwrap();
        assert_eq!(Draft::from_answer(&answer).unwrap().text(), "We open at nine.");
        let empty = call(&Says(" \n", false)).await.unwrap();
        assert_eq!(empty.tokens_in, Some(7));
        assert!(matches!(Draft::from_answer(&empty), Err(ModelError::Malformed(_))));
    }

    #[tokio::test]
    async fn an_answer_that_was_cut_off_ends_with_its_last_whole_sentence_or_is_none() {
        let whole = call(&Says("We open at nine. On Sundays we ar", true)).await.unwrap();
        assert_eq!((whole.text.as_str(), whole.cut), ("We open at nine.", true));
        assert!(matches!(call(&Says("We open at ni", true)).await, Err(ModelError::Malformed(_))));
    }

    #[test]
    fn a_sentence_ends_where_a_reader_would_say_so() {
        for (text, whole) in [
            ("We open. We clo", "We open."),
            ("It costs 3.50 or mo", ""),
            ("Steps:\n1. Open the bo", "Steps:"),
            ("He said \"come in!\" and th", "He said \"come in!\""),
            ("¿Abren? Sí, abri", "¿Abren?"),
            ("営業中です。明日", "営業中です。"),
            ("All said.", "All said."),
            ("", ""),
        ] {
            assert_eq!(whole_sentences(text), whole, "{text}");
        }
    }

    #[tokio::test]
    async fn a_model_that_never_answers_ends_at_the_deadline() {
        assert_eq!(call(&Silent).await.unwrap_err(), ModelError::TimedOut);
    }
}
