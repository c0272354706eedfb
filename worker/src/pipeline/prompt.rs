//! What a model is given. A prompt is built from [`Screened`] text and the business's own lines only (P5).
//!
//! History is the newest lines that fit the policy's budget, in order; what is to be answered is always whole. Tokens
//! are estimated as bytes ÷ 3, rounded up, plus a few per line: the common tokenizers take about four bytes of English
//! and three of accented Spanish or Portuguese, and guessing high only shortens history, while guessing low would
//! make a prompt that does not fit.
//!
//! What is the same for every conversation of a locale stands first, so that a provider may cache it; what depends on
//! the conversation comes last: the products that fit it, what the rules noted, how the reply is to be.

use common::digest::hex_digest;
use serde::Serialize;
use serde_json::Value;

use super::guardrails::Screened;
use super::structured;
use crate::policy::{Policy, language};

/// What a line costs beyond its text: its role and separators.
const TOKENS_PER_LINE: usize = 4;
/// As many of the last lines of history help to choose the products that fit.
const LINES_FOR_FACTS: usize = 4;

/// Who said a line of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Role {
    /// The customer.
    Customer,
    /// The business: assistant, policy or person.
    Business,
}

/// One line of a prompt.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PromptLine {
    role: Role,
    text: String,
}

impl std::fmt::Debug for PromptLine {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PromptLine({:?} {} bytes)", self.role, self.text.len())
    }
}

/// One line of the conversation so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastLine {
    /// The customer said it, and it was screened again under today's policy.
    Customer(Screened),
    /// The business said it: assistant, policy or person.
    Business(String),
    /// Nobody said it: what happened, in our own words.
    Record(String),
}

impl PastLine {
    fn line(&self) -> PromptLine {
        match self {
            Self::Customer(screened) => PromptLine::customer(screened),
            Self::Business(text) => PromptLine { role: Role::Business, text: text.clone() },
            Self::Record(text) => PromptLine { role: Role::Business, text: format!("[For the record: {text}]") },
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Customer(screened) => tokens(screened.text()),
            Self::Business(text) | Self::Record(text) => tokens(text),
        }
    }
}

impl PromptLine {
    /// A line of the customer's.
    #[must_use]
    pub fn customer(screened: &Screened) -> Self {
        Self { role: Role::Customer, text: screened.text().to_owned() }
    }

    /// Who said it.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What was said.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn tokens(text: &str) -> usize {
    text.len().div_ceil(3) + TOKENS_PER_LINE
}

/// Whom a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience<'a> {
    /// The locale of the reply.
    pub locale: &'a str,
    /// The variant of the conversation; `None` for the policy's own prompt.
    pub variant: Option<&'a str>,
}

/// A whole prompt: instructions, then the conversation, oldest first, ending with what is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    system: String,
    steady: usize,
    schema: Option<Value>,
    lines: Vec<PromptLine>,
    max_output_tokens: u32,
}

impl Prompt {
    /// As [`build_for`](Self::build_for), for the policy's default locale and own prompt.
    #[must_use]
    pub fn build(policy: &Policy, history: &[PastLine], pending: &[Screened]) -> Self {
        Self::build_for(policy, Audience { locale: policy.default_locale(), variant: None }, history, pending)
    }

    /// The policy's instructions, as much of the `history` (oldest first) as fits, and everything `pending`.
    #[must_use]
    pub fn build_for(policy: &Policy, audience: Audience<'_>, history: &[PastLine], pending: &[Screened]) -> Self {
        let mut left = usize::try_from(policy.history_tokens()).unwrap_or(usize::MAX);
        let fitting = history.iter().rev().take_while(|line| {
            let fits = line.tokens() <= left;
            left = left.saturating_sub(line.tokens());
            fits
        });
        let kept = &history[history.len() - fitting.count()..];
        let lines = kept.iter().map(PastLine::line).chain(pending.iter().map(PromptLine::customer)).collect();
        let mut system = policy.steady(audience.variant, audience.locale).to_owned();
        let schema = structured::schema(policy.answer_form());
        if let Some(schema) = &schema {
            system.push_str(&format!("\n\n{}", structured::told(schema)));
        }
        let steady = system.len();
        tell(&mut system, policy, audience.locale, (history, pending));
        Self { system, steady, schema, lines, max_output_tokens: policy.max_output_tokens() }
    }

    /// The prompt once more, after an answer that had not its form: with that answer, and what was wrong with it.
    #[must_use]
    pub fn repairing(&self, said: &str, problem: &str) -> Self {
        let again = format!(
            "(Not from the customer.) That answer cannot be used: {problem}. Answer the customer again, with one JSON \
             object by the schema and nothing else."
        );
        let more = [(Role::Business, said.to_owned()), (Role::Customer, again)];
        let mut repairing = self.clone();
        repairing.lines.extend(more.map(|(role, text)| PromptLine { role, text }));
        repairing
    }

    /// First 16 hexadecimal digits of the SHA-256 over everything the model is given.
    #[must_use]
    pub fn hash(&self) -> String {
        let whole = serde_json::json!([self.system, self.schema, self.lines, self.max_output_tokens]).to_string();
        hex_digest(whole.as_bytes(), 16)
    }

    /// As [`hash`](Self::hash), without the conversation.
    #[must_use]
    pub fn frame_hash(&self) -> String {
        let frame = serde_json::json!([self.system, self.schema, self.max_output_tokens]).to_string();
        hex_digest(frame.as_bytes(), 16)
    }

    /// Its bytes: no tokenizer makes more tokens of a text than it has bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let schema = self.schema.as_ref().map_or(0, |schema| schema.to_string().len());
        let lines = self.lines.iter().map(|line| line.text.len() + TOKENS_PER_LINE).sum::<usize>();
        self.system.len() + TOKENS_PER_LINE + schema + lines
    }

    /// The part of the system text that is the same for every conversation of this locale and variant.
    #[must_use]
    pub fn steady(&self) -> &str {
        self.system.get(..self.steady).unwrap_or_default()
    }

    /// The form that the answer must have; `None` for text.
    #[must_use]
    pub const fn schema(&self) -> Option<&Value> {
        self.schema.as_ref()
    }

    /// The policy's instructions, and what this conversation adds to them.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The conversation, oldest first.
    #[must_use]
    pub fn lines(&self) -> &[PromptLine] {
        &self.lines
    }

    /// The most the model may write.
    #[must_use]
    pub const fn max_output_tokens(&self) -> u32 {
        self.max_output_tokens
    }
}

/// What this conversation adds to the instructions.
fn tell(system: &mut String, policy: &Policy, locale: &str, (history, pending): (&[PastLine], &[Screened])) {
    let locale = policy.locale_or_default(locale);
    if let Some((products, left_out)) = policy.fact_table().fitting(&asked(history, pending)) {
        system
            .push_str(&format!("\n\nProducts that fit this conversation ({left_out} others are left out):{products}"));
    }
    let language = language(locale);
    system.push_str(&format!("\n\nUnless the customer's last message is in another language, answer in {language}."));
    if let Some(most) = policy.most_characters() {
        system.push_str(&format!(" Keep the reply below {most} characters."));
    }
    let mut told: Vec<String> = Vec::new();
    for sentence in pending.iter().flat_map(Screened::notes).map(|note| note.sentence(policy, locale)) {
        if !told.contains(&sentence) {
            told.push(sentence);
        }
    }
    for sentence in told {
        system.push_str(&format!("\n\n{sentence}"));
    }
    if pending.len() > 1 {
        let note = "messages in a row and has had no answer to any of them. Answer them all in one reply.";
        system.push_str(&format!("\n\nThe customer has just sent {} {note}", pending.len()));
    }
}

/// The words by which products are chosen: what is asked, and what was said just before.
fn asked(history: &[PastLine], pending: &[Screened]) -> String {
    let before = history.iter().rev().take(LINES_FOR_FACTS).map(|line| match line {
        PastLine::Customer(screened) => screened.text(),
        PastLine::Business(text) | PastLine::Record(text) => text,
    });
    pending.iter().map(Screened::text).chain(before).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
impl Prompt {
    /// A prompt for tests of what stands behind it; everywhere else a prompt is built from screened text.
    pub(crate) fn for_test(system: &str, lines: &[(Role, &str)], max_output_tokens: u32) -> Self {
        let line = |(role, text): &(Role, &str)| PromptLine { role: *role, text: (*text).to_owned() };
        let lines = lines.iter().map(line).collect();
        Self { system: system.to_owned(), steady: system.len(), schema: None, lines, max_output_tokens }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::guardrails::{Guardrails, Talk};

    fn policy(history_tokens: u32) -> Arc<Policy> {
        let source = include_str!("../../../policies/shop.toml");
        let tokens = format!("history_tokens = {history_tokens}\n");
        Arc::new(Policy::parse(&source.replace("history_tokens = 2000\n", &tokens), "test.toml").unwrap())
    }

    fn screened(policy: &Arc<Policy>, text: &str) -> Screened {
        Guardrails::new(policy.clone()).unwrap().recall(text, &mut Talk::default()).unwrap()
    }

    fn texts(prompt: &Prompt) -> Vec<&str> {
        prompt.lines().iter().map(PromptLine::text).collect()
    }

    #[test]
    fn history_is_the_newest_lines_that_fit_in_order_and_what_is_pending_is_always_whole() {
        // A line of six bytes is estimated at 2 + 4 tokens.
        let lines = |policy: &Arc<Policy>| {
            vec![
                PastLine::Business("line-1".into()),
                PastLine::Customer(screened(policy, "line-2")),
                PastLine::Business("line-3".into()),
            ]
        };
        for (budget, expected) in [
            (1, vec!["a long question that fits no budget"]),
            (6, vec!["line-3", "a long question that fits no budget"]),
            (12, vec!["line-2", "line-3", "a long question that fits no budget"]),
            (17, vec!["line-2", "line-3", "a long question that fits no budget"]),
            (18, vec!["line-1", "line-2", "line-3", "a long question that fits no budget"]),
        ] {
            let policy = policy(budget);
            let pending = [screened(&policy, "a long question that fits no budget")];
            assert_eq!(texts(&Prompt::build(&policy, &lines(&policy), &pending)), expected, "{budget}");
        }
    }

    #[test]
    fn a_line_that_does_not_fit_ends_history_so_that_it_has_no_holes() {
        let policy = policy(20);
        let history =
            [PastLine::Business("a".into()), PastLine::Business("b".repeat(100)), PastLine::Business("c".into())];
        assert_eq!(texts(&Prompt::build(&policy, &history, &[])), ["c"]);
    }

    #[test]
    fn several_messages_are_asked_to_be_answered_as_one_and_a_single_one_is_not() {
        let policy = policy(100);
        let pending = [screened(&policy, "hello"), screened(&policy, "are you open?")];
        assert!(Prompt::build(&policy, &[], &pending).system().contains("sent 2 messages in a row"));
        let single = Prompt::build(&policy, &[], &pending[..1]);
        assert!(!single.system().contains("in a row"));
        assert_eq!(single.steady(), policy.system());
    }

    #[test]
    fn the_reply_s_language_and_length_are_told_behind_what_is_the_same_for_everybody() {
        let policy = policy(100);
        let pending = [screened(&policy, "hello")];
        let told = |locale| Prompt::build_for(&policy, Audience { locale, variant: None }, &[], &pending);
        let (spanish, portuguese) = (told("es"), told("pt-BR"));
        assert!(spanish.system().ends_with("answer in Spanish. Keep the reply below 3000 characters."));
        assert!(portuguese.system().contains("answer in Portuguese."));
        assert_eq!(spanish.steady(), portuguese.steady());
        assert_eq!(spanish.bytes(), spanish.system().len() + 5 + 2 * TOKENS_PER_LINE);
        assert_ne!(spanish.frame_hash(), portuguese.frame_hash());
    }

    #[test]
    fn only_the_products_that_fit_the_conversation_are_given_and_the_rest_is_the_same_for_all() {
        let policy = Arc::new(Policy::parse(include_str!("../../../policies/sewing.toml"), "test.toml").unwrap());
        let told = |text: &str, history: &[PastLine]| Prompt::build(&policy, history, &[screened(&policy, text)]);
        let needles = told("¿Qué valen las agujas para cuero?", &[]);
        assert!(needles.system().contains("Agujas para cuero, paquete de cinco: 11.000 COP"));
        assert!(
            !needles.system().contains("Bordadora Lirio de seis agujas: 18.900.000 COP")
                || needles.system().len() < 9_000
        );
        let embroidery = told("¿Y esa cuánto vale?", &[PastLine::Business("La bordadora Lirio hace gorras.".into())]);
        assert!(embroidery.system().contains("Bordadora Lirio de seis agujas: 18.900.000 COP"));
        assert_eq!(needles.steady(), embroidery.steady());
        assert!(needles.steady().contains("Calle 12 # 8-40") && !needles.steady().contains("Agujas"));
        assert_eq!(told("¿Qué valen las agujas para cuero?", &[]).hash(), needles.hash());
    }

    #[test]
    fn a_repair_holds_the_answer_and_what_was_wrong_with_it_and_is_another_prompt() {
        let policy = policy(100);
        let prompt = Prompt::build(&policy, &[], &[screened(&policy, "hello")]);
        let again = prompt.repairing("Hi!", "it is not one JSON object");
        assert_eq!(texts(&again)[..2], ["hello", "Hi!"]);
        assert!(texts(&again)[2].contains("it is not one JSON object"));
        assert_ne!(again.hash(), prompt.hash());
    }

    #[test]
    fn the_hash_is_of_everything_the_model_is_given() {
        let policy = policy(100);
        let [one, other] = [screened(&policy, "hello"), screened(&policy, "hell")];
        let hash = |history: &[PastLine], pending: &[Screened]| Prompt::build(&policy, history, pending).hash();
        let first = hash(&[], std::slice::from_ref(&one));
        assert_eq!(first.len(), 16);
        assert_eq!(first, hash(&[], std::slice::from_ref(&one)));
        assert_ne!(first, hash(&[], &[other]));
        assert_ne!(hash(&[PastLine::Business("hello".into())], &[]), hash(&[PastLine::Customer(one)], &[]));
    }
}
