//! The worker process: reads its environment, runs until told to stop, drains.

use std::process::ExitCode;

use common::config::Vars;
use common::telemetry::field;
use common::{shutdown, telemetry};
use worker::Worker;
use worker::config::WorkerConfig;

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::start();
    // An error means that a provider is installed already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!({ field::ERROR } = %error, "the worker does not start");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let config = WorkerConfig::load(&Vars::process())?;
    for warning in &config.shared.warnings {
        tracing::warn!({ field::SETTING } = warning.setting, "{}", warning.why);
    }
    common::steps::arm(&config.shared.faults);
    let (stop, hangups) = (shutdown::on_signals()?, shutdown::hangups()?);
    let worker = Worker::open(config).await?.reloading_on(hangups);
    worker.run_until(stop).await;
    Ok(())
}
