//! Why a command did not end well, and the exit code that says so: errors are translated here, once.

use std::process::ExitCode;

use common::config::ConfigError;
use common::queue::{PublishError, QueueError};
use common::store::StoreError;

/// What every command comes to.
pub(crate) type Answer = Result<(), Failure>;

/// Why not. Its text is one clear sentence that names the thing and, where there is one, the fix.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ran, and found a problem: exit code 1.
    Found(String),
    /// It could not run: exit code 2.
    CannotRun(String),
}

impl Failure {
    /// It ran, and found a problem.
    pub(crate) fn found(text: impl Into<String>) -> Self {
        Self::Found(text.into())
    }

    /// It could not run.
    pub(crate) fn cannot_run(text: impl Into<String>) -> Self {
        Self::CannotRun(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Found(text) | Self::CannotRun(text) => text,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Found(_) => ExitCode::from(1),
            Self::CannotRun(_) => ExitCode::from(2),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::CannotRun(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::CannotRun(format!("DATABASE_URL: {error}")),
            StoreError::Configuration(_) => Self::CannotRun(format!("DATABASE_URL: {error}")),
            StoreError::Sealed(_) => Self::CannotRun(format!("HANDRAIL_KEYS: {error}")),
            StoreError::Broken(_) | StoreError::Erased | StoreError::Refused(_) | StoreError::Absent(..) => {
                Self::Found(error.to_string())
            }
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::CannotRun(format!("QUEUE_URL: {error}"))
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::CannotRun(format!("QUEUE_URL: {error}; nothing was changed, so it is safe to try again"))
    }
}
