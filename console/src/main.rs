//! The `handrail` command: raise the curtain, run one command, leave with its exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // An error means that a provider is installed already, which serves as well.
    let _already = rustls::crypto::ring::default_provider().install_default();
    // Usage errors end here with exit code 2; `--help` and `--version` with 0.
    console::run(console::Cli::parse())
}
