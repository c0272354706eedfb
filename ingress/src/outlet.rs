//! The way out to the queue: a publish, the patience for its confirm, and how long it took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::envelope::Envelope;
use common::metrics as names;
use common::queue::{PublishError, Publisher};

/// What a publish may take beyond its own timeout before we stop waiting for it to say so.
const CONFIRM_GRACE: Duration = Duration::from_millis(200);

/// The queue's publishing half, and our patience with it.
#[derive(Clone)]
pub(crate) struct Outlet {
    publisher: Arc<dyn Publisher>,
    patience: Duration,
}

impl Outlet {
    pub(crate) fn new(publisher: Arc<dyn Publisher>, confirm_timeout: Duration) -> Self {
        Self { publisher, patience: confirm_timeout + CONFIRM_GRACE }
    }

    /// Returns when the queue has confirmed it, or says why it has not.
    pub(crate) async fn confirmed(&self, envelope: &Envelope) -> Result<(), PublishError> {
        let started = Instant::now();
        let result = tokio::time::timeout(self.patience, self.publisher.publish(envelope)).await;
        let result = result.unwrap_or(Err(PublishError::TimedOut(self.patience)));
        if result.is_ok() {
            metrics::histogram!(names::CONFIRM_SECONDS).record(started.elapsed());
        }
        result
    }

    /// Whether a publish would be tried now.
    pub(crate) fn ready(&self) -> Result<(), PublishError> {
        self.publisher.ready()
    }

    /// The longest that a publish takes.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }
}
