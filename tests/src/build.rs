//! Building filters during a test, with the recipe of the example's README.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Whether Debian's C++ compiler for Wasm is installed.
///
/// With `CI=true` in the environment a missing one is an error: a skipped test is a failure there.
///
/// # Errors
/// In CI when it is missing.
pub fn has_cpp() -> Result<bool> {
    let there = Command::new("clang++-19").arg("--version").output().is_ok()
        && Path::new("/usr/lib/wasm32-wasi/libc++.a").exists();
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    ensure!(there || !ci, "no C++ compiler for Wasm: `tests/setup/install.sh test` installs it");
    Ok(there)
}

/// Compiles one C++ file into a filter; `level` is `-O0` or `-O2`.
///
/// # Errors
/// With the compiler's messages.
pub fn cpp(source: &Path, module: &Path, level: &str, further: &[&str]) -> Result<()> {
    let output = Command::new("clang++-19")
        .args(["--target=wasm32-wasi", "-std=c++17", "-fno-exceptions", "-fno-rtti", "-mexec-model=reactor"])
        .args(["-g", level, "-Wl,--export=malloc"])
        .args(further)
        .arg(source)
        .arg("-o")
        .arg(module)
        .output()
        .context("cannot run clang++-19: `tests/setup/install.sh test` installs it")?;
    ensure!(output.status.success(), "clang++-19: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
