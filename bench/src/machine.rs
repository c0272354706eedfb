//! What the figures were measured on, read from the machine itself.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::figures::percentile;

/// Writes measured for the disk's line.
const SYNCS: usize = 200;

/// One Markdown list item for each fact.
pub(crate) fn describe() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let memory = field("/proc/meminfo", "MemTotal:").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let programs = "/usr/lib/rabbitmq/bin/rabbitmqctl";
    let rabbitmq = said(if Path::new(programs).exists() { programs } else { "rabbitmqctl" }, &["version"]);
    Ok(format!(
        "- {} on {}: {cores} cores ({}), {:.0} GiB of memory, Linux {}\n- {}\n- RabbitMQ {rabbitmq}, {}, {}\n- load \
         average at the start: {}\n",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        processor.trim_start_matches([':', ' ', '\t']),
        memory.unwrap_or(0.0) / 1024.0 / 1024.0,
        kernel.trim(),
        disk()?,
        postgres(),
        said("rustc", &["--version"]),
        load(),
    ))
}

/// The load of the last one, five and fifteen minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

fn postgres() -> String {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|version| version.path()).max();
    said(newest.map(|path| path.join("bin/postgres")).unwrap_or_else(|| "postgres".into()), &["--version"])
}

/// What a program says in one line.
fn said(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "unknown".into() } else { text }
}

/// How long a small write takes until it is on disk, where the databases of this run are.
fn disk() -> anyhow::Result<String> {
    let mut file = tempfile::tempfile()?;
    let mut seen = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        seen.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    seen.sort_by(f64::total_cmp);
    let (half, tail) = (percentile(&seen, 0.5), percentile(&seen, 0.99));
    Ok(format!("fdatasync of 4 KiB in the temporary folder: median {half:.2} ms, p99 {tail:.2} ms"))
}
