//! Filters and settings that a user gets wrong: the proxy starts and serves, the log and
//! `wasmdbg ps` say what is wrong.

use anyhow::{Context, Result};
use wasmdbg_tests::ats::{Ats, Filter, example};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::module;
use wasmdbg_tests::scratch::Scratch;

use crate::state::Proxy;

/// Starts a server with a broken filter; it must serve by the filter's fail policy, and both the log
/// and `wasmdbg ps` must contain `said`.
fn check(name: &str, filter: impl Fn(&str) -> Filter, said: &str) -> Result<()> {
    let open = Ats::options().filter(filter(name)).start()?;
    let response = open.fetch(&Request::get("/nocache/10/x"))?;
    assert_eq!(response.status, 200, "{name}: {}", open.diags());
    open.wait_for_log(said).with_context(|| name.to_string())?;
    let proxy = Proxy::of(&open)?;
    let state = &proxy.filter(name)?["state"];
    assert_eq!(state["state"], "inactive", "{name}: {state:#}");
    let reason = state["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(said), "{name}: ps says {reason:?}");
    let closed = Ats::options().filter(filter(name).fail_closed()).start()?;
    assert_eq!(closed.fetch(&Request::get("/nocache/10/x"))?.status, 503, "{name}: {}", closed.diags());
    Ok(())
}

fn check_bytes(name: &str, bytes: &[u8], said: &str) -> Result<()> {
    let scratch = Scratch::new("module")?;
    let path = scratch.write("filter.wasm", bytes)?;
    check(name, |name| Filter::new(name, &path), said)
}

fn token() -> Result<Vec<u8>> {
    Ok(std::fs::read(example("rust-token", "debug"))?)
}

#[test]
fn a_file_that_is_no_module() -> Result<()> {
    check_bytes("text", b"this is no module\n", "not a Wasm module")
}

#[test]
fn a_truncated_module() -> Result<()> {
    let module = token()?;
    check_bytes("truncated", &module[..module.len() / 2], "filter.wasm")
}

#[test]
fn a_module_without_the_exports_of_a_filter() -> Result<()> {
    let module = module::renamed(&token()?, "memory", "mamory")?;
    check_bytes("no-memory", &module, "memory")
}

#[test]
fn an_import_that_nobody_defines() -> Result<()> {
    let module = module::renamed(&token()?, "proxy_log", "proxy_lug")?;
    check_bytes("unknown-import", &module, "proxy_lug")
}

#[test]
fn a_file_that_is_not_there() -> Result<()> {
    check(
        "absent",
        |name| Filter::new(name, std::path::Path::new("/nowhere/filter.wasm")),
        "/nowhere/filter.wasm",
    )
}

#[test]
fn a_filter_that_refuses_its_configuration() -> Result<()> {
    let module = wasmdbg_tests::process::repository().join("tests/fixtures/misbehave/misbehave.debug.wasm");
    check(
        "refuses",
        |name| Filter::new(name, &module).configuration("configure=refuse"),
        "proxy_on_configure",
    )?;
    check("traps", |name| Filter::new(name, &module).configuration("configure=unreachable"), "unreachable")
}

#[test]
fn a_yaml_error_is_reported_with_line_and_column() -> Result<()> {
    let ats =
        Ats::options().filter(Filter::raw("broken", "config:\n  name: broken\n  rootId: [1,\n")).start()?;
    assert_eq!(ats.fetch(&Request::get("/nocache/10/x"))?.status, 200);
    let line = ats.wait_for_log("filter-0.yaml")?;
    assert!(line.contains("line 4 column 1"), "{line}");
    Ok(())
}

#[test]
fn an_unknown_key_is_named_and_ignored() -> Result<()> {
    let filter =
        Filter::example("rust-token", "debug").config_line("colour: blue").vm_line("allow_precompiled: true");
    let ats = Ats::options().filter(filter).settings("debug:\n  max_wms: 3\n").start()?;
    assert_eq!(ats.fetch(&Request::get("/nocache/10/x").header("token", "7"))?.status, 200);
    for key in ["colour", "allow_precompiled", "max_wms"] {
        ats.wait_for_log(key)?;
    }
    Ok(())
}
