//! docs/UNSAFE.md lists the modules with unsafe code, all of them and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::architecture::{crates, root};

const EXPECTED: &str = "#![expect(unsafe_code";

/// A file with unsafe code, or the folder of one whose attribute is for all in it.
fn place(path: &str) -> String {
    path.strip_suffix("mod.rs").unwrap_or(path).to_owned()
}

/// Source files of a crate, relative to the root of the tree; fixtures are crates of their own.
fn sources(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("fixtures") && !path.ends_with("node_modules") {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path.strip_prefix(root())?.display().to_string());
        }
    }
    Ok(())
}

/// The places in the table.
fn listed() -> Result<BTreeSet<String>> {
    let document = fs::read_to_string(root().join("docs/UNSAFE.md"))?;
    let places = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    Ok(places.map(str::to_owned).collect())
}

#[test]
fn the_modules_that_expect_unsafe_code_are_those_that_are_listed() -> Result<()> {
    let mut expected = BTreeSet::new();
    for name in crates()? {
        let mut files = BTreeSet::new();
        sources(&root().join(&name), &mut files)?;
        for file in files {
            let text = fs::read_to_string(root().join(&file))?;
            let attributes = text.lines().filter(|line| {
                let line = line.trim_start();
                line.starts_with('#') && line.contains("(unsafe_code") && !line.starts_with("#![forbid")
            });
            for attribute in attributes {
                assert!(
                    attribute.starts_with(EXPECTED),
                    "{file}: a module says it at its top, and with a reason: {attribute}"
                );
                expected.insert(place(&file));
            }
        }
    }
    let listed = listed()?;
    let missing: Vec<_> = expected.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&expected).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not listed: {missing:#?}, listed without any: {gone:#?}");
    Ok(())
}

#[test]
fn crates_without_unsafe_code_forbid_it_and_the_others_deny_it() -> Result<()> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    assert!(manifest.lines().any(|line| line.starts_with("unsafe_code = \"deny\"")), "{manifest}");
    let listed = listed()?;
    for name in crates()? {
        let manifest = fs::read_to_string(root().join(&name).join("Cargo.toml"))?;
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{name} has the lints of the workspace");
        if listed.iter().any(|place| place.starts_with(&format!("{name}/"))) {
            continue;
        }
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| root().join(&name).join(file));
        for file in roots.iter().filter(|file| file.exists()) {
            let text = fs::read_to_string(file)?;
            assert!(text.contains("#![forbid(unsafe_code)]"), "{}", file.display());
        }
    }
    Ok(())
}
