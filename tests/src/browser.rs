//! Scripts that drive a real Chromium, and the pictures that they take.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::process::repository;
use crate::scratch::Scratch;

/// The last line of what a script of the repository prints.
///
/// # Errors
/// When it fails.
pub fn script(path: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(repository().join(path));
    let output =
        command.args(arguments).stderr(Stdio::inherit()).output().with_context(|| path.to_owned())?;
    ensure!(output.status.success(), "{path} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs a script of the repository under node. It gets `plan` in a file, with the folders `tools`, `work`
/// (for what the browser keeps) and `images` added; pictures are copied to the folder that
/// `WASMDBG_TEST_IMAGES` names.
///
/// # Errors
/// With what the script said, when it fails.
pub fn drive(path: &str, mut plan: Value, scratch: &Scratch) -> Result<()> {
    let tools = script("dap/vscode/e2e/install.sh", &[])?;
    let (work, images) = (scratch.path().join("work"), scratch.path().join("images"));
    for folder in [&work, &images] {
        std::fs::create_dir_all(folder)?;
    }
    plan["tools"] = json!(tools);
    plan["work"] = json!(work);
    plan["images"] = json!(images);
    let plan = scratch.write("plan.json", plan.to_string())?;
    let output = Command::new(format!("{tools}/node"))
        .arg(repository().join(path))
        .arg(plan)
        .output()
        .context("node")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if let Some(kept) = std::env::var_os("WASMDBG_TEST_IMAGES").map(PathBuf::from) {
        std::fs::create_dir_all(&kept)?;
        for image in std::fs::read_dir(&images)?.flatten() {
            std::fs::copy(image.path(), kept.join(image.file_name()))?;
        }
        println!("{said}");
    }
    ensure!(output.status.success(), "{path}:\n{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
