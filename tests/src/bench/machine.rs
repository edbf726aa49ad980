//! On what the numbers were taken: machine, kernel and versions.

use std::process::Command;

use crate::ats::Server;
use crate::process;

/// One line for the head of the table.
#[must_use]
pub fn describe() -> String {
    let cpu = first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = first_value("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(String::new, |kilobytes| format!(", {} GB", kilobytes.div_ceil(1 << 20)));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cpu}, {cores} cores{memory}, Linux {}", kernel.trim_end())
}

/// Versions of everything that takes part, one line.
#[must_use]
pub fn versions() -> String {
    let server = Server::get().map_or("?", |server| server.version.as_str());
    let compiler = run("cc", &["--version"]).unwrap_or_default();
    let compiler = compiler.lines().next().unwrap_or("cc ?").to_string();
    let rust = run("rustc", &["--version"]).unwrap_or_default();
    let rust = rust.split_whitespace().nth(1).unwrap_or("?").to_string();
    let engine = locked("wasmtime").unwrap_or_else(|| "?".into());
    let own = env!("CARGO_PKG_VERSION");
    let commit = commit().map_or_else(String::new, |commit| format!(" ({commit})"));
    format!("wasmdbg {own}{commit}, wasmtime {engine}, rustc {rust}, Traffic Server {server}, {compiler}")
}

/// The value behind a colon in the first line that starts with `key`.
fn first_value(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(process::repository()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The version of a package in the lock file.
fn locked(package: &str) -> Option<String> {
    let text = std::fs::read_to_string(process::repository().join("Cargo.lock")).ok()?;
    let rest = text.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
    Some(rest.split('"').next()?.to_string())
}

/// The commit of the sources, marked when they were changed since.
fn commit() -> Option<String> {
    let commit = run("git", &["rev-parse", "--short", "HEAD"])?;
    let changed = run("git", &["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changed.trim().is_empty() { "" } else { " with changes" };
    Some(format!("{}{mark}", commit.trim()))
}
