//! What a model is given. A prompt is built from [`Screened`] text only (P5).

use super::guardrails::Screened;

/// Who said a line of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The customer.
    Customer,
    /// The business: assistant, policy or person.
    Business,
}

/// One line of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptLine {
    role: Role,
    text: String,
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

/// A whole prompt: instructions, then the conversation, oldest first, ending with what is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    system: String,
    lines: Vec<PromptLine>,
    max_output_tokens: u32,
}

impl Prompt {
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
