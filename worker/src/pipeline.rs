//! One turn: screen → route → draft → approve. Each arrow's type can be made in one file only.

pub mod guardrails;
pub mod handoff;
pub mod llm;
pub mod notes;
pub mod prompt;
pub mod saved;
pub mod structured;
