//! What configuration found: problems that stop the start, and warnings.

use std::fmt;
use std::str::FromStr;

/// How strict the start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Unsafe settings warn.
    Development,
    /// Unsafe settings refuse to start.
    Production,
}

impl FromStr for Mode {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("must be 'development' or 'production'"),
        }
    }
}

/// One setting and what is wrong with it. Never quotes a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, or the file's key.
    pub setting: String,
    /// What is wrong, and what to do.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.why)
    }
}

/// Everything wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n{}", .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<Problem>);

/// Collects findings while a configuration is read, so that all are told at once.
#[derive(Debug)]
pub struct Findings {
    mode: Mode,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    /// None yet.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self { mode, problems: Vec::new(), warnings: Vec::new() }
    }

    /// How strict they are.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Sets how strict they are, once that is known.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Something that cannot work.
    pub fn problem(&mut self, setting: &str, why: impl Into<String>) {
        self.problems.push(Problem { setting: setting.to_owned(), why: why.into() });
    }

    /// Something unsafe: a problem in production, a warning in development.
    pub fn unsafe_setting(&mut self, setting: &str, why: impl Into<String>) {
        let found = Problem { setting: setting.to_owned(), why: why.into() };
        match self.mode {
            Mode::Production => self.problems.push(found),
            Mode::Development => self.warnings.push(found),
        }
    }

    /// The warnings, if nothing stops the start.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn finish(self) -> Result<Vec<Problem>, ConfigError> {
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(ConfigError(self.problems)) }
    }
}
