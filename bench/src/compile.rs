//! A clean debug build of the workspace, as a figure to watch.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use crate::machine;
use crate::say;

/// Builds everything into a temporary folder.
pub(crate) fn clean() -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    say("a clean debug build of the workspace takes minutes");
    let before = machine::load();
    let begun = Instant::now();
    let built = Command::new("cargo")
        .args(["build", "--workspace", "--locked", "--message-format=json"])
        .env("CARGO_TARGET_DIR", folder.path())
        .stderr(Stdio::inherit())
        .output()?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(built.status.success(), "the workspace does not build");
    let artifacts = String::from_utf8_lossy(&built.stdout);
    let compiled = |kind: &str| artifacts.lines().filter(|line| line.contains(kind)).count();
    let crates = compiled("\"reason\":\"compiler-artifact\"") - compiled("\"kind\":[\"custom-build\"]");
    Ok(format!(
        "### Clean debug build of the workspace\n\n`cargo build --workspace` into an empty folder: {:.0} s of wall time, \
         {crates} crates and binaries compiled. Load average before {before}, after {}.\n",
        seconds,
        machine::load()
    ))
}
