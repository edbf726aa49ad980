//! Code of the debug lane that one server has compiled, for the next one.
//!
//! Each server has a runtime folder of its own, whose cache is empty: it would compile every module again, at
//! nice 19 beside all other tests. An entry is named after the module and the engine, and checked when it is
//! loaded; one of another build is not found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::process;

/// The plugin's cache in the runtime folder.
const CACHE: &str = "run/wasmdbg-code";

/// Where entries wait for a server: beside the plugin that made them.
fn store() -> Result<PathBuf> {
    let plugin = process::product("libwasmdbg_ats.so")?;
    Ok(plugin.parent().context("a file has a folder")?.join("wasmdbg-code"))
}

/// Gives the server in `folder` what there is of these modules.
pub(super) fn hand_to<'a>(folder: &Path, modules: impl Iterator<Item = &'a Path>) -> Result<()> {
    let Ok(stored) = fs::read_dir(store()?) else { return Ok(()) };
    let stored: Vec<PathBuf> = stored.flatten().map(|entry| entry.path()).collect();
    for module in modules {
        // A test may name a module that is not there.
        let Ok(bytes) = fs::read(module) else { continue };
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        for entry in stored.iter().filter(|entry| name(entry).starts_with(&hash)) {
            share(entry, &folder.join(CACHE))?;
        }
    }
    Ok(())
}

/// Takes what the server in `folder` has compiled.
pub(super) fn take_from(folder: &Path) -> Result<()> {
    let Ok(compiled) = fs::read_dir(folder.join(CACHE)) else { return Ok(()) };
    for entry in compiled.flatten().map(|entry| entry.path()).filter(|entry| name(entry).ends_with(".cwasm"))
    {
        share(&entry, &store()?)?;
    }
    Ok(())
}

/// A finished entry is never written to: two folders can have the same file.
fn share(entry: &Path, folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match fs::hard_link(entry, folder.join(name(entry))) {
        // Another server was faster; or the folders are on two file systems, and it compiles again.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::CrossesDevices) =>
        {
            Ok(())
        }
        linked => linked.with_context(|| format!("cannot link {}", entry.display())),
    }
}

fn name(entry: &Path) -> String {
    entry.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
