//! The `ingress` process: raise the curtain, serve until stopped, drain.

use std::process::ExitCode;

use common::config::Vars;
use common::queue::{self, QueueTiming};
use common::{shutdown, telemetry};
use ingress::{Ingress, IngressConfig, StartError};

/// A webhook is many small allocations that one thread makes and another frees: with the system's allocator a fifth of
/// this process's time went there (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "ingress cannot run");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), StartError> {
    // An error means that a provider is installed already, which serves as well.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let config = IngressConfig::load(&Vars::process())?;
    for warning in &config.warnings {
        tracing::warn!(setting = %warning.setting, error = %warning.why, "unsafe setting; production refuses it");
    }
    common::steps::arm(&config.faults);
    for hint in &config.hints {
        tracing::info!(setting = %hint.setting, error = %hint.why, "worth a thought");
    }
    let stop = shutdown::on_signals()?;
    let timing = QueueTiming { heartbeat: config.timing.heartbeat, confirm_timeout: config.timing.confirm };
    // An embedded queue is open before the public bind; a broker is connected in the background.
    let queue = queue::connect(&config.queue, timing).await?;
    let ingress = Ingress::bind(config, queue.publisher().await?).await?;
    tracing::info!(bind = %ingress.address(), "ingress listens");
    tracing::info!(bind = %ingress.admin_address(), "health and metrics");
    ingress.run_until(stop).await;
    queue.close().await;
    Ok(())
}
