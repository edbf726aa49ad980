//! Which requests a session takes: each kind of rule, and several together.

use anyhow::Result;
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::scratch::PATIENCE;
use wasmdbg_tests::wasmdbg::Wasmdbg;

use crate::state::Proxy;

/// Attaches by some rules and lets whatever stops go on at once; returns how many contexts of 20
/// requests were created in the debug lane.
fn taken(rules: &[&str], path: &str) -> Result<u64> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let pid = ats.pid().to_string();
    let mut arguments = vec!["attach", &pid, "--batch"];
    for rule in rules {
        arguments.extend(["--when", rule]);
    }
    let mut wasmdbg = Wasmdbg::start(&arguments)?;
    wasmdbg.ask("info filters", "debug info")?;
    for _ in 0..20 {
        let response = ats.fetch(&Request::get(path).header("token", "7"))?;
        assert_eq!((response.status, response.header("x-token-prime")), (200, Some("7")));
    }
    Proxy::of(&ats)?.counter("rust-token", "debug_contexts")
}

#[test]
fn a_path_prefix_chooses() -> Result<()> {
    assert_eq!(taken(&["path:/cache/1"], "/cache/10/x")?, 20);
    assert_eq!(taken(&["path:/other"], "/cache/10/x")?, 0);
    Ok(())
}

#[test]
fn a_client_address_chooses() -> Result<()> {
    assert_eq!(taken(&["client:127.0.0.1"], "/cache/10/x")?, 20);
    assert_eq!(taken(&["client:192.0.2.1"], "/cache/10/x")?, 0);
    Ok(())
}

#[test]
fn the_next_n_are_counted_after_all_other_rules() -> Result<()> {
    assert_eq!(taken(&["next:3"], "/cache/10/x")?, 3);
    assert_eq!(taken(&["next:3", "path:/other"], "/cache/10/x")?, 0);
    Ok(())
}

#[test]
fn a_percentage_takes_a_share() -> Result<()> {
    assert_eq!(taken(&["percent:100"], "/cache/10/x")?, 20);
    Ok(())
}

#[test]
fn more_requests_than_slots_take_the_fast_lane_and_are_counted() -> Result<()> {
    let ats = Ats::options()
        .filter(Filter::example("rust-token", "debug"))
        .settings("debug:\n  max_vms: 1\n")
        .start()?;
    let mut wasmdbg =
        Wasmdbg::start(&["attach", &ats.pid().to_string(), "--batch", "--all", "-ex", "break judge"])?;
    wasmdbg.ask("info breakpoints", "judge")?;
    let request = Request::get("/cache/10/x").header("token", "7");
    let held = Pending::start(ats.address(), request.clone(), PATIENCE);
    wasmdbg.ask("continue", "GET /cache/10/x #")?;
    for _ in 0..5 {
        assert_eq!(ats.fetch(&request)?.status, 200);
    }
    assert_eq!(Proxy::of(&ats)?.counter("rust-token", "debug_missed")?, 5);
    wasmdbg.send("detach")?;
    assert_eq!(held.wait()?.status, 200);
    Ok(())
}
