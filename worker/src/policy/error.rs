//! Why a policy is refused: every reason at once, each with its file and line.

use std::fmt;
use std::ops::Range;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// A policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file as it was named to us.
    pub file: String,
    /// Why, in the file's order.
    pub problems: Vec<PolicyProblem>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the policy cannot be used:")?;
        self.problems.iter().try_for_each(|p| write!(f, "\n  {}:{}: {}", self.file, p.line, p.reason))
    }
}

impl std::error::Error for PolicyError {}

/// Collects what is wrong while a policy is read.
pub(super) struct Problems<'a> {
    source: &'a str,
    found: Vec<PolicyProblem>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(source: &'a str) -> Self {
        Self { source, found: Vec::new() }
    }

    pub(super) fn at(&mut self, span: &Range<usize>, reason: impl Into<String>) {
        let line = self.line(span);
        self.found.push(PolicyProblem { line, reason: reason.into() });
    }

    /// The line that a span begins in.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.source.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// As [`at`](Self::at), where a text stands in or behind a span.
    pub(super) fn near(&mut self, span: &Range<usize>, text: &str, reason: impl Into<String>) {
        let found = self.source.get(span.start..).and_then(|rest| rest.find(text));
        let start = span.start + found.unwrap_or(0);
        self.at(&(start..start), reason);
    }

    pub(super) fn toml(&mut self, error: &toml::de::Error, otherwise: &Range<usize>) {
        let span = error.span().filter(|span| span.end > 0).unwrap_or_else(|| otherwise.clone());
        self.at(&span, error.message().lines().collect::<Vec<_>>().join("; "));
    }

    /// What was found in another file, told where this one names it.
    pub(super) fn within(&mut self, span: &Range<usize>, file: &str, other: Problems<'_>) {
        for PolicyProblem { line, reason } in other.found {
            self.at(span, format!("{file}:{line}: {reason}"));
        }
    }

    /// The value, if nothing was found.
    pub(super) fn finish<T>(mut self, file: &str, value: Option<T>) -> Result<T, PolicyError> {
        self.found.sort_by_key(|problem| problem.line);
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(PolicyError { file: file.to_owned(), problems: self.found }),
        }
    }
}
