//! One stop signal for a process: raised by SIGTERM or SIGINT, or by hand in `up`, `demo` and tests; and SIGHUP, which
//! stops nothing where it is listened to.

use tokio::sync::watch;

/// The side that waits for the stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The side that raises it. Dropping it raises it too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A new, unraised stop signal.
#[must_use]
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Raises the signal.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the signal is raised.
    pub async fn wait(&mut self) {
        // An error means the stopper is gone, which is a stop as well.
        let _gone = self.0.wait_for(|raised| *raised).await;
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// A stop signal raised by SIGTERM or SIGINT.
///
/// # Errors
/// When the process may not listen for signals.
pub fn on_signals() -> std::io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stopper, stop) = channel();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stopper.stop();
        // Kept until the process ends, so that a second signal changes nothing.
        std::future::pending::<()>().await;
    });
    Ok(stop)
}

/// SIGHUP, each time: a process that serves reads again what can change while it runs.
#[derive(Debug)]
pub struct Hangups(tokio::signal::unix::Signal);

impl Hangups {
    /// Returns at the next one. Several that come while nobody waits are one.
    pub async fn next(&mut self) {
        // None would mean that the runtime is ending.
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens to SIGHUP from now on, which would otherwise end the process.
///
/// # Errors
/// When the process may not listen for signals.
pub fn hangups() -> std::io::Result<Hangups> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Hangups(signal(SignalKind::hangup())?))
}
