//! Which questions may be answered with what another customer was told: short ones that are about the business alone.
//!
//! What a rule found anything in, what holds a number, an address or the word "my", and what asks about today is
//! nobody else's question. Everything else that an answer depends on is part of the name it is kept under.

use serde_json::json;

use super::guardrails::Screened;
use super::prompt::Prompt;
use crate::policy::bare;

/// Words that make a question one person's, or one day's; folded.
const PERSONAL: &[&str] = &[
    "i",
    "im",
    "ive",
    "id",
    "me",
    "my",
    "mine",
    "we",
    "our",
    "yo",
    "mi",
    "mis",
    "mio",
    "mia",
    "soy",
    "estoy",
    "llamo",
    "vivo",
    "nosotros",
    "nuestro",
    "nuestra",
    "eu",
    "meu",
    "minha",
    "meus",
    "minhas",
    "sou",
    "estou",
    "chamo",
    "moro",
    "nosso",
    "nossa",
    "today",
    "tomorrow",
    "yesterday",
    "now",
    "tonight",
    "hoy",
    "manana",
    "ayer",
    "ahora",
    "hoje",
    "amanha",
    "ontem",
    "agora",
];
/// As many digits are an order, a telephone or a card.
const DIGITS: usize = 4;

/// Whom an answer is kept for.
#[derive(Clone, Copy, Debug)]
pub struct Tenant<'a> {
    /// The source.
    pub source: &'a str,
    /// The policy's version.
    pub policy: &'a str,
    /// The model that is asked first.
    pub model: &'a str,
    /// The locale of the reply.
    pub locale: &'a str,
}

/// What an answer to a question is kept under; `None` for one that is nobody else's.
#[must_use]
pub fn key(question: &Screened, prompt: &Prompt, tenant: Tenant<'_>, max_characters: u32) -> Option<String> {
    let text = question.text();
    let short = text.chars().count() <= usize::try_from(max_characters).unwrap_or(usize::MAX);
    let marked = !question.is_unmarked() || text.contains(['@', '<', '*']);
    if !short || marked || has_number(text) {
        return None;
    }
    let words = bare(text);
    if words.is_empty() || words.split(' ').any(|word| PERSONAL.contains(&word)) {
        return None;
    }
    let Tenant { source, policy, model, locale } = tenant;
    Some(json!([source, policy, model, locale, prompt.frame_hash(), words]).to_string())
}

fn has_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    digits >= DIGITS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::guardrails::{Guardrails, Outcome, Talk};
    use crate::policy::Policy;

    const TENANT: Tenant<'_> = Tenant { source: "whatsapp", policy: "v1", model: "main", locale: "en" };

    fn kept(text: &str, tenant: Tenant<'_>) -> Option<String> {
        let policy = Arc::new(Policy::starter().unwrap());
        let screening = Guardrails::new(policy.clone()).unwrap().screen(text, &mut Talk::default());
        let Outcome::Pass(screened) = screening.outcome else { return None };
        let prompt = Prompt::build(&policy, &[], std::slice::from_ref(&screened));
        key(&screened, &prompt, tenant, 80)
    }

    #[test]
    fn only_a_short_question_about_the_business_is_anybodys() {
        for text in ["Do you ship to Lima?", "¿Cuánto cuesta el envío?", "Quais são as formas de pagamento?"] {
            assert!(kept(text, TENANT).is_some(), "{text}");
        }
        for text in [
            "Where is my order?",
            "Is 300 555 0100 your number?",
            "write to kim@example.org please",
            "What about order 45812?",
            "Are you open today?",
            "Me llamo Ana, ¿tienen hilo?",
            "Do you have everything that a beginner would want to start sewing clothes, bags and curtains at home?",
            "hello@",
            "",
        ] {
            assert!(kept(text, TENANT).is_none(), "{text}");
        }
    }

    #[test]
    fn everything_that_an_answer_depends_on_is_in_its_name() {
        let plain = kept("Do you ship to Lima?", TENANT);
        assert_eq!(plain, kept("hello, do you ship to lima", TENANT));
        for other in [
            Tenant { source: "messenger", ..TENANT },
            Tenant { policy: "v2", ..TENANT },
            Tenant { model: "other", ..TENANT },
            Tenant { locale: "es", ..TENANT },
        ] {
            assert_ne!(plain, kept("Do you ship to Lima?", other));
        }
        assert_ne!(plain, kept("Do you ship to Cusco?", TENANT));
    }
}
