//! The committed filters: tied to their sources, and free of any machine's paths.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use wasmdbg_tests::process::repository;

#[test]
fn each_prebuilt_filter_comes_from_the_committed_source() -> Result<()> {
    let folder = repository();
    let lock = std::fs::read_to_string(folder.join("examples/filters.lock"))?;
    let mut modules = 0;
    for line in lock.lines().filter(|line| !line.starts_with('#')) {
        let (expected, name) = line.split_once("  ").context("a line is HASH  FILE")?;
        let content = std::fs::read(folder.join(name)).with_context(|| format!("{name} of filters.lock"))?;
        let found: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name} changed: run `make filters` and commit the result");
        modules += usize::from(name.ends_with(".wasm"));
    }
    let mut committed = 0;
    // The small modules of the symbols' own tests have a script of their own.
    for part in ["examples", "tests/fixtures", "debugger/session/tests/fixtures"] {
        committed += committed_modules(&folder.join(part))?.len();
    }
    assert_eq!(modules, committed, "a module is missing in filters.lock");
    Ok(())
}

/// What would name a person's machine or the place a crate was fetched from.
const FOREIGN: [&[u8]; 10] = [
    b"/root/",
    b"/home/",
    b"/tmp/",
    b"/opt/",
    b"/mnt/",
    b"\0/usr/",
    b"\0/build/",
    b"/.cargo",
    b"index.crates",
    b"crates.io",
];

#[test]
fn no_prebuilt_filter_names_a_machine_or_a_registry() -> Result<()> {
    let folder = repository();
    let here = folder.to_string_lossy();
    let modules = committed_modules(&folder)?;
    assert!(modules.len() >= 4, "{modules:?}");
    for module in modules {
        let bytes = std::fs::read(&module)?;
        for foreign in FOREIGN.into_iter().chain([here.as_bytes()]) {
            let found = bytes.windows(foreign.len()).position(|window| window == foreign);
            let around = found.map(|at| {
                let end = (at + 80).min(bytes.len());
                String::from_utf8_lossy(&bytes[at.saturating_sub(40)..end]).into_owned()
            });
            assert_eq!(around, None, "{} in {}", String::from_utf8_lossy(foreign), module.display());
        }
    }
    Ok(())
}

/// All `.wasm` files below a folder, build folders left out.
fn committed_modules(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            found.extend(committed_modules(&path)?);
        } else if name.ends_with(".wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
