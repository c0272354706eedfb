//! What a text says, however it is dressed: a few views of it, and what can be found in them.
//!
//! Pure: no clock, no network, no file, no policy. Everything is linear in the text, its output is bounded, and every
//! place that is found is told in bytes of the original. Reading order: [`normal`] (the views), [`phrases`] (words and
//! phrases in them), then one module for each thing that can be looked for.

pub mod claims;
pub mod injection;
pub mod language;
pub mod leak;
pub mod normal;
pub mod patterns;
pub mod phrases;
pub mod pii;
pub mod secrets;
pub mod topic;
pub mod url;

pub use normal::{Span, View, ViewKind, Views, words_of};
