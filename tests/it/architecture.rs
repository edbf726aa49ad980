//! docs/ARCHITECTURE.md names what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> Result<String> {
    let path = root().join("docs/ARCHITECTURE.md");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The crates of the workspace, as its manifest names them.
pub(crate) fn crates() -> Result<BTreeSet<String>> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next());
    let members = members.context("Cargo.toml: members")?;
    Ok(members.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Every folder below `folder` with a source file in it, relative to `base`.
fn folders(base: &Path, folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders(base, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && folder != base {
            found.insert(format!("{}/", folder.strip_prefix(base)?.display()));
        }
    }
    Ok(())
}

/// The text between the first two backticks of a line that begins with one, or with one in a table.
fn quoted(line: &str) -> Option<&str> {
    let line = line.strip_prefix("| ").unwrap_or(line);
    line.strip_prefix('`')?.split('`').next()
}

#[test]
fn every_folder_is_named_and_every_named_folder_exists() -> Result<()> {
    let document = document()?;
    let rooms = document.split("### Rooms\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let mut named = BTreeSet::new();
    let mut owner = "";
    for line in rooms.context("no section `Rooms`")?.lines() {
        match quoted(line) {
            Some(folder) if line.starts_with('|') => {
                named.insert(format!("{owner}: {folder}"));
            }
            Some(name) => owner = name,
            None => {}
        }
    }
    let mut there = BTreeSet::new();
    for name in crates()? {
        let source = root().join(&name).join("src");
        let mut found = BTreeSet::new();
        folders(&source, &source, &mut found)?;
        there.extend(found.into_iter().map(|folder| format!("{name}: {folder}")));
    }
    let missing: Vec<_> = there.difference(&named).collect();
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not named: {missing:#?}, named and not there: {gone:#?}");
    Ok(())
}

/// Paths in the text are as one finds them: whole, or below `host-plugin`.
#[test]
fn every_file_that_is_named_exists() -> Result<()> {
    let document = document()?;
    let paths: BTreeSet<&str> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.ends_with(".rs") && text.contains('/') && !text.contains(['<', ' ']))
        .collect();
    assert!(!paths.is_empty(), "no file is named");
    let root = root();
    let gone: Vec<_> = paths
        .into_iter()
        .filter(|path| !root.join(path).exists() && !root.join("host-plugin").join(path).exists())
        .collect();
    assert!(gone.is_empty(), "named and not there: {gone:#?}");
    Ok(())
}

#[test]
fn every_crate_is_in_the_code_map() -> Result<()> {
    let document = document()?;
    for name in crates()? {
        assert!(document.contains(&format!("| `{name}` |")), "{name} has no row in the code map");
    }
    Ok(())
}
