//! The debug lane itself: it stays off the event threads, leaves nothing behind, and survives what a
//! filter does in it.

use anyhow::{Context, Result};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::build;
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::process;
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

use crate::debugger::{Debugger, STOPPED, line_of};
use crate::fast_lane::misbehave;
use crate::state::Proxy;

/// Stepping in a module of more than 2 MB: the plugin's own histogram of the time event threads spent
/// on debug-lane work stays below a millisecond.
#[test]
fn stepping_in_a_large_module_costs_event_threads_nothing() -> Result<()> {
    if !build::has_cpp()? {
        eprintln!("skipped: no C++ compiler for Wasm");
        return Ok(());
    }
    let scratch = Scratch::new("large")?;
    let module = build::large(&scratch)?;
    assert!(std::fs::metadata(&module)?.len() >= 2_000_000);
    let ats =
        Ats::options().filter(Filter::new("large", &module).configuration("8192")).compile_anew().start()?;
    let mut debugger = Debugger::attach(&ats, "large", &["-ex", "break measure"])?;
    let request = debugger.request("/cache/10/x");
    let pending = debugger.stop(&ats, request)?;
    for _ in 0..20 {
        debugger.ask("next", "filter.cc")?;
        assert_eq!(ats.fetch(&Request::get("/cache/10/other"))?.status, 200);
    }
    debugger.wasmdbg.send("delete")?;
    debugger.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    let proxy = Proxy::of(&ats)?;
    let work = &proxy.status()["event_thread_debug_work"];
    let count = work["count"].as_u64().context("a count")?;
    let max = work["max_ns"].as_u64().context("a maximum")?;
    assert!(count > 0, "{work:#}");
    assert!(max <= 1_000_000, "{work:#}");
    Ok(())
}

#[test]
fn nothing_stays_after_the_last_session() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    assert_eq!(ats.fetch(&Request::get("/cache/10/x").header("token", "7"))?.status, 200);
    let images = |ats: &Ats| -> Result<(u64, usize)> {
        let counted = Proxy::of(ats)?.status()["code_images"].as_u64().context("code_images")?;
        Ok((counted, process::code_images(ats.pid())?))
    };
    // Threads that had a slot wait for the next; they are kept.
    let working = |ats: &Ats| -> Result<Vec<String>> {
        let names = process::thread_names(ats.pid())?;
        Ok(names.into_iter().filter(|name| name != "[WASMDBG_IDLE]").collect())
    };
    let threads = working(&ats)?;
    let before = images(&ats)?;
    let mut sizes = Vec::new();
    for _ in 0..10 {
        let mut debugger = Debugger::attach(&ats, "rust-token", &["-ex", "break judge"])?;
        assert!(working(&ats)?.len() > threads.len(), "a slot has a thread");
        let request = debugger.request("/cache/10/x").header("token", "7");
        let pending = debugger.stop(&ats, request)?;
        assert!(images(&ats)?.0 > before.0);
        debugger.wasmdbg.send("detach")?;
        assert_eq!(pending.wait()?.status, 200);
        debugger.wasmdbg.close_input();
        debugger.wasmdbg.wait(PATIENCE)?;
        wait_for("the end of the debug threads", PATIENCE, || (working(&ats).ok()? == threads).then_some(()))
            .with_context(|| format!("{:?}", process::thread_names(ats.pid())))?;
        wait_for("the end of the debug code", PATIENCE, || (images(&ats).ok()? == before).then_some(()))
            .with_context(|| format!("{before:?} before, {:?} after", images(&ats)))?;
        sizes.push(process::resident(ats.pid())?);
    }
    let (first, last) = (sizes[0] as f64, sizes[9] as f64);
    assert!(last <= first * 1.05, "resident memory grew: {sizes:?}");
    assert_eq!(process::thread_names(ats.pid())?.len(), threads.len() + 1, "one slot at once, one thread");
    Ok(())
}

#[test]
fn a_failing_callback_in_the_debug_lane_is_shown_and_its_request_ends_by_the_fail_policy() -> Result<()> {
    let ats = Ats::options().filter(misbehave()).start()?;
    for (action, said) in [("panic", "panic"), ("unreachable", "unreachable"), ("bounds", "bounds")] {
        let mut debugger = Debugger::attach(&ats, "misbehave", &[])?;
        let request = debugger.request("/nocache/10/x").header("do", &format!("request={action}"));
        let pending = Pending::start(ats.address(), request, PATIENCE);
        let stopped = debugger.ask("continue", "trap")?;
        let words = stopped.contains("told to panic in request");
        assert_eq!(words, action == "panic", "its last words, and of no other's end: {stopped}");
        let backtrace = debugger.ask("bt", "GET /nocache/10/x #")?;
        assert!(backtrace.contains("lib.rs:") && backtrace.contains(said), "{backtrace}");
        debugger.wasmdbg.send("continue")?;
        assert_eq!(pending.wait()?.status, 200);
        // The slot is rebuilt for the next request.
        let request = debugger.request("/nocache/10/x").header("do", "response=header");
        let served = ats.fetch(&request)?;
        assert_eq!(served.header("x-response"), Some("seen"), "after {action}");
    }
    Ok(())
}

#[test]
fn an_endless_loop_is_interrupted_and_later_ended_by_the_budget() -> Result<()> {
    let ats = Ats::options().filter(misbehave()).start()?;
    let mut debugger = Debugger::attach(&ats, "misbehave", &["--deadline", "1m"])?;
    let request = debugger.request("/nocache/10/x").header("do", "request=loop");
    let pending = Pending::start(ats.address(), request, PATIENCE);
    wait_for("a running callback", PATIENCE, || {
        let proxy = Proxy::of(&ats).ok()?;
        let slots = proxy.status()["slots"].as_array()?.clone();
        slots.iter().any(|slot| slot["busy"] == true).then_some(())
    })?;
    // While it turns, others are served.
    assert_eq!(ats.fetch(&Request::get("/nocache/10/x"))?.status, 200);
    debugger.ask("interrupt", "interrupt")?;
    let backtrace = debugger.ask("bt", "GET /nocache/10/x #")?;
    assert!(backtrace.contains("endless_loop"), "{backtrace}");
    // Without a session the plain budget applies: the loop is trapped.
    debugger.wasmdbg.send("detach")?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn two_sessions_observe_and_one_controls() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut owner = Debugger::attach(&ats, "rust-token", &["-ex", "break judge"])?;
    let mut observer = Debugger::attach(&ats, "rust-token", &[])?;
    let request = owner.request("/cache/10/x").header("token", "7");
    let pending = owner.stop(&ats, request)?;
    observer.ask("transactions", "/cache/10/x")?;
    // Its own rule is another one, and so is the control of this stop.
    owner.ask("transactions", "/cache/10/x")?;
    owner.wasmdbg.send("continue")?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn a_breakpoint_in_configure_stops_later_slots_as_the_root_context() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let line = line_of("examples/rust-token/src/lib.rs", "info!(\"configured:");
    let mut debugger = Debugger::attach(
        &ats,
        "rust-token",
        &["-ex", &format!("break lib.rs:{line}"), "-ex", "break judge"],
    )?;
    // The first slot passed configure before; a second request at the same time needs a second slot.
    let first = debugger.request("/cache/10/1").header("token", "7");
    let second = debugger.request("/cache/10/2").header("token", "7");
    let first = debugger.stop(&ats, first)?;
    let second = Pending::start(ats.address(), second, PATIENCE);
    // Before the first goes on: it would leave its slot to the second.
    wait_for("a second slot that stops", PATIENCE, || {
        let proxy = Proxy::of(&ats).ok()?;
        let status = proxy.status();
        let stopped = status["slots"].as_array()?.iter().filter(|slot| slot["stopped"] == true);
        (stopped.count() == 2).then_some(())
    })?;
    debugger.ask("continue", STOPPED)?;
    debugger.ask("bt", "proxy_on_configure")?;
    debugger.wasmdbg.send("detach")?;
    assert_eq!(first.wait()?.status, 200);
    assert_eq!(second.wait()?.status, 200);
    Ok(())
}
