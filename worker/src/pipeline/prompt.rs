//! What a model is given. A prompt is built from [`Screened`] text and the business's own lines only (P5).
//!
//! History is the newest lines that fit the policy's budget, in order; what is to be answered is always whole. Tokens
//! are estimated as bytes ÷ 3, rounded up, plus a few per line: the common tokenizers take about four bytes of English
//! and three of accented Spanish or Portuguese, and guessing high only shortens history, while guessing low would
//! make a prompt that does not fit.

use common::digest::hex_digest;
use serde::Serialize;

use super::guardrails::Screened;
use crate::policy::Policy;

/// What a line costs beyond its text: its role and separators.
const TOKENS_PER_LINE: usize = 4;

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

/// A whole prompt: instructions, then the conversation, oldest first, ending with what is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    system: String,
    lines: Vec<PromptLine>,
    max_output_tokens: u32,
}

impl Prompt {
    /// The policy's instructions, as much of the `history` (oldest first) as fits, and everything `pending`.
    #[must_use]
    pub fn build(policy: &Policy, history: &[PastLine], pending: &[Screened]) -> Self {
        let mut left = usize::try_from(policy.history_tokens()).unwrap_or(usize::MAX);
        let fitting = history.iter().rev().take_while(|line| {
            let fits = line.tokens() <= left;
            left = left.saturating_sub(line.tokens());
            fits
        });
        let kept = &history[history.len() - fitting.count()..];
        let lines = kept.iter().map(PastLine::line).chain(pending.iter().map(PromptLine::customer)).collect();
        let mut system = policy.system().to_owned();
        if pending.len() > 1 {
            let note = "messages in a row and has had no answer to any of them. Answer them all in one reply.";
            system.push_str(&format!("\n\nThe customer has just sent {} {note}", pending.len()));
        }
        Self { system, lines, max_output_tokens: policy.max_output_tokens() }
    }

    /// First 16 hexadecimal digits of the SHA-256 over everything the model is given.
    #[must_use]
    pub fn hash(&self) -> String {
        let whole = serde_json::json!([self.system, self.lines, self.max_output_tokens]).to_string();
        hex_digest(whole.as_bytes(), 16)
    }

    /// An estimate of its tokens, on the high side.
    #[must_use]
    pub fn estimated_tokens(&self) -> usize {
        tokens(&self.system) + self.lines.iter().map(|line| tokens(&line.text)).sum::<usize>()
    }

    /// The policy's instructions.
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

#[cfg(test)]
impl Prompt {
    /// A prompt for tests of what stands behind it; everywhere else a prompt is built from screened text.
    pub(crate) fn for_test(system: &str, lines: &[(Role, &str)], max_output_tokens: u32) -> Self {
        let line = |(role, text): &(Role, &str)| PromptLine { role: *role, text: (*text).to_owned() };
        Self { system: system.to_owned(), lines: lines.iter().map(line).collect(), max_output_tokens }
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
        assert_eq!(Prompt::build(&policy, &[], &pending[..1]).system(), policy.system());
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
