//! The guardrails: the only place where [`Screened`] and [`Approved`] are made.

/// A customer's text that has passed the input rules (P5). Only this module makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screened {
    text: String,
}

impl Screened {
    /// The text, as the model may see it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}
