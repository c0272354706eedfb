//! Another policy without a restart: on SIGHUP the file is read again, checked and held against its fixtures beside the
//! turns, and only then put in force, at once and whole. Turns that began go on under the one that they began with; a
//! file that cannot be used changes nothing but the log and a metric.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::metrics as names;
use common::shutdown::{Hangups, Stop};
use common::telemetry::field;

use crate::desk::Desk;
use crate::pipeline::guardrails::{GuardrailError, Guardrails};
use crate::policy::{Policy, PolicyError};

/// A policy, ready to judge: the one of a file, or the compiled-in one.
///
/// # Errors
/// [`GuardrailError`] with every reason.
pub fn ready(file: Option<&Path>) -> Result<Guardrails, GuardrailError> {
    let policy = match file {
        Some(path) => Policy::load(path),
        None => Policy::starter(),
    };
    Guardrails::new(Arc::new(policy?))
}

/// Reads the policy again at every hangup.
pub(crate) async fn keep(desk: Arc<Desk>, file: Option<PathBuf>, mut hangups: Hangups, mut stop: Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            () = hangups.next() => reload(&desk, file.clone()).await,
        }
    }
}

async fn reload(desk: &Desk, file: Option<PathBuf>) {
    let shown = file.as_ref().map_or_else(|| "the compiled-in policy".to_owned(), |file| file.display().to_string());
    // Linear in the file and its fixtures, yet long enough to keep a runtime's thread from its turns.
    let outcome = match tokio::task::spawn_blocking(move || ready(file.as_deref())).await {
        Ok(Ok(guardrails)) => put_in_force(desk, guardrails, &shown),
        Ok(Err(error)) => {
            refused(desk, &error, &shown);
            "refused"
        }
        Err(_panicked) => {
            tracing::error!({ field::FILE } = shown, "reading the policy failed in our own code; the old one stays");
            "refused"
        }
    };
    metrics::counter!(names::POLICY_RELOADS, "outcome" => outcome).increment(1);
    metrics::gauge!(names::POLICY_REFUSED).set(f64::from(u8::from(outcome == "refused")));
}

fn put_in_force(desk: &Desk, guardrails: Guardrails, file: &str) -> &'static str {
    let to = guardrails.policy().version().to_owned();
    let from = desk.guardrails().policy().version().to_owned();
    if from == to {
        tracing::info!({ field::FILE } = file, { field::POLICY } = to, "the policy is the one in force already");
        return "unchanged";
    }
    // What its fixtures cannot know: whether the models that run have prices for its budget.
    if let Err(error) = desk.chain.affords(guardrails.policy().spending()) {
        tracing::error!({ field::FILE } = file, { field::POLICY } = from, { field::ERROR } = %error, "the old policy stays");
        return "refused";
    }
    desk.store.hold_after(guardrails.policy().held_classes());
    desk.policies.store(Arc::new(guardrails));
    tracing::info!(
        { field::FILE } = file,
        { field::POLICY } = to,
        "another policy is in force, from {from} to {to}; turns that began go on under theirs"
    );
    "replaced"
}

/// One line for every reason, so that each can be found by its file and line.
fn refused(desk: &Desk, error: &GuardrailError, shown: &str) {
    let guardrails = desk.guardrails();
    let (kept, none) = (guardrails.policy().version(), Vec::new());
    let (problems, other) = match error {
        GuardrailError::Fixtures(PolicyError { problems, .. }) => (problems, None),
        GuardrailError::TooLarge { .. } => (&none, Some(error.to_string())),
    };
    for problem in problems {
        let (line, reason) = (problem.line, problem.reason.as_str());
        tracing::error!({ field::FILE } = shown, { field::LINE } = line, { field::ERROR } = reason, "refused");
    }
    if let Some(reason) = other {
        tracing::error!({ field::FILE } = shown, { field::ERROR } = reason, "refused");
    }
    tracing::error!({ field::FILE } = shown, { field::POLICY } = kept, "the policy cannot be used; the old one stays");
}
