//! The `recall` process: raise the curtain, serve until stopped, drain.

use std::process::ExitCode;

use common::config::Vars;
use common::{shutdown, telemetry};
use recall::{Recall, RecallConfig, StartError};

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, "recall cannot run");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), StartError> {
    // An error means that a provider is installed already, which serves as well.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let config = RecallConfig::load(&Vars::process())?;
    for warning in &config.warnings {
        tracing::warn!(setting = %warning.setting, error = %warning.why, "unsafe setting; production refuses it");
    }
    let stop = shutdown::on_signals()?;
    let recall = Recall::bind(config).await?;
    tracing::info!(bind = %recall.address(), "recall listens");
    tracing::info!(bind = %recall.admin_address(), "health and metrics");
    recall.run_until(stop).await;
    Ok(())
}
