//! The fixtures log what their variables hold; the debugger must say the same of each.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::process::repository;

use crate::debugger::{Debugger, line_of, random};

/// What the compiler itself describes wrongly. clang's DWARF says that `truth` is `(seed & 1) == 0`: the
/// negation is lost.
const DESCRIBED_WRONGLY: [(&str, &str, &str); 1] = [("values-cpp", "release", "truth")];

/// Compares every variable of one fixture; wrong must be none, optimised out is counted.
fn check(fixture: &str, source: &str, build: &str) -> Result<()> {
    let module = repository().join(format!("tests/fixtures/{fixture}/{fixture}.{build}.wasm"));
    let ats = Ats::options().filter(Filter::new(fixture, &module)).start()?;
    let line = line_of(&format!("tests/fixtures/{fixture}/{source}"), "// stop here");
    let file = source.rsplit('/').next().unwrap_or(source);
    let mut debugger = Debugger::attach(&ats, fixture, &["-ex", &format!("break {file}:{line}")])?;
    let seed = random();
    let request = debugger.request("/nocache/10/x").header("seed", &seed.to_string());
    let pending = debugger.stop(&ats, request)?;
    let names = names_in(fixture, source)?;
    let mut shown = BTreeMap::new();
    for name in &names {
        shown.insert(name.clone(), debugger.print(name)?);
    }
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    let (mut wrong, mut gone) = (Vec::new(), 0);
    for name in &names {
        let key = format!("value {name} = ");
        let line = ats.wait_for_log(&key)?;
        let truth =
            line.split_once(&key).map(|(_, text)| text.trim().to_string()).context("a logged value")?;
        let said = &shown[name];
        // Not to be had is no wrong value.
        if said.contains("<optimized out>") || said.starts_with("<unreadable: ") {
            gone += 1;
        } else if DESCRIBED_WRONGLY.contains(&(fixture, build, name.as_str())) {
            println!("{fixture} {build}: {name} is {truth}, the compiler describes {said}");
        } else if !same(said, &truth) {
            wrong.push(format!("{name}: the debugger says {said}, it is {truth}"));
        }
    }
    println!("{fixture} {build}: {} variables, {} wrong, {gone} optimised out", names.len(), wrong.len());
    assert_eq!(wrong, Vec::<String>::new(), "{fixture} {build}, seed {seed}");
    assert!(names.len() >= 20, "{names:?}");
    if build == "debug" {
        assert_eq!(gone, 0, "nothing is optimised out at -O0");
    }
    Ok(())
}

/// The names that the fixture's source passes to `show`.
fn names_in(fixture: &str, source: &str) -> Result<Vec<String>> {
    let path = repository().join(format!("tests/fixtures/{fixture}/{source}"));
    let text = std::fs::read_to_string(path)?;
    let quoted = text.lines().filter_map(|line| line.trim().strip_prefix("show(\""));
    Ok(quoted.filter_map(|rest| rest.split('"').next()).map(str::to_string).collect())
}

/// Equal but for spaces, and for floats in the six digits that C++'s `%g` writes.
fn same(said: &str, truth: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let digits = |text: &str| text.parse::<f64>().map(|number| format!("{number:.5e}"));
    plain(said) == plain(truth)
        || said.contains('.')
            && matches!((digits(said), digits(truth)), (Ok(said), Ok(truth)) if said == truth)
}

#[test]
fn rust_values_are_right_unoptimised() -> Result<()> {
    check("values-rust", "src/lib.rs", "debug")
}

#[test]
fn rust_values_are_right_optimised() -> Result<()> {
    check("values-rust", "src/lib.rs", "release")
}

#[test]
fn cpp_values_are_right_unoptimised() -> Result<()> {
    check("values-cpp", "src/filter.cc", "debug")
}

#[test]
fn cpp_values_are_right_optimised() -> Result<()> {
    check("values-cpp", "src/filter.cc", "release")
}
