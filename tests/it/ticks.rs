//! Filters that do something without requests: they tick from the start of the server, on each event thread, or, if no
//! request concerns them, on one.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

use crate::state::Proxy;

/// A filter whose virtual machines choose a name, and log it in each tick with the number of the tick. `functions`:
/// what else it has.
fn ticking(scratch: &Scratch, functions: &str) -> Result<Filter> {
    let text = format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $set_tick (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (global $ticks (mut i32) (i32.const 0))
        (data (i32.const 64) "........ ticks 000")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (local $at i32)
            (drop (call $random (i32.const 64) (i32.const 8)))
            (local.set $at (i32.const 64))
            (loop $next
                (i32.store8 (local.get $at)
                    (i32.add (i32.const 0x61) (i32.and (i32.load8_u (local.get $at)) (i32.const 15))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 72))))
            (drop (call $set_tick (i32.const 20)))
            (i32.const 1))
        (func $digit (param $at i32) (param $number i32)
            (i32.store8 (local.get $at)
                (i32.add (i32.const 0x30) (i32.rem_u (local.get $number) (i32.const 10)))))
        (func (export "proxy_on_tick") (param i32)
            (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
            (call $digit (i32.const 79) (i32.div_u (global.get $ticks) (i32.const 100)))
            (call $digit (i32.const 80) (i32.div_u (global.get $ticks) (i32.const 10)))
            (call $digit (i32.const 81) (global.get $ticks))
            (drop (call $log (i32.const 2) (i32.const 64) (i32.const 18))))
        {functions})"#
    );
    let module = scratch.write("ticking.wasm", wat::parse_str(text)?)?;
    Ok(Filter::new("ticking", &module))
}

/// It sees requests.
const SEES_REQUESTS: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;

/// The numbers of the ticks that each virtual machine has logged.
fn ticks(ats: &Ats) -> BTreeMap<String, Vec<u32>> {
    let mut ticks = BTreeMap::<String, Vec<u32>>::new();
    for line in ats.diags().lines() {
        let logged = line.split_once("ticking: ").and_then(|(_, text)| text.split_once(" ticks "));
        if let Some((name, number)) = logged
            && let Ok(number) = number.trim().parse()
        {
            ticks.entry(name.to_owned()).or_default().push(number);
        }
    }
    ticks
}

/// Waits until `count` virtual machines have ticked `times`, and returns what all have logged.
fn wait_for_ticks(ats: &Ats, count: usize, times: usize) -> Result<BTreeMap<String, Vec<u32>>> {
    wait_for(&format!("{count} virtual machines that tick {times} times"), PATIENCE, || {
        let seen = ticks(ats);
        (seen.values().filter(|ticks| ticks.len() >= times).count() >= count).then_some(seen)
    })
    .with_context(|| ats.diags())
}

#[test]
fn a_filter_ticks_on_every_event_thread_before_any_request() -> Result<()> {
    let scratch = Scratch::new("ticks")?;
    for threads in [1, 3] {
        let ats = Ats::options().event_threads(threads).filter(ticking(&scratch, SEES_REQUESTS)?).start()?;
        let seen = wait_for_ticks(&ats, threads, 3)?;
        assert_eq!(seen.len(), threads, "{seen:?}");
        seen.values().for_each(|numbers| assert_in_order(numbers));
        assert_eq!(Proxy::of(&ats)?.counter("ticking", "contexts")?, 0);
        // Requests meet these.
        for _ in 0..20 {
            assert_eq!(ats.fetch(&Request::get("/nocache/10/x"))?.status, 200);
        }
        assert_eq!(ticks(&ats).len(), threads);
        ensure!(Proxy::of(&ats)?.counter("ticking", "contexts")? == 20);
    }
    Ok(())
}

/// Its root context has no contexts of streams.
const REFUSES_STREAMS: &str = r#"(func (export "proxy_on_context_create") (param i32 i32)
    (if (local.get 1) (then unreachable)))"#;

/// The numbers that a virtual machine has logged, which has kept its state: 1, 2, 3, and after 999 from 0 on.
fn assert_in_order(numbers: &[u32]) {
    let expected: Vec<u32> = (1..).map(|number| number % 1000).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_service_keeps_its_one_virtual_machine_while_requests_pass() -> Result<()> {
    let scratch = Scratch::new("service")?;
    let ways = [
        ("its module has no callback for streams", "", None),
        ("its file says so", SEES_REQUESTS, Some("http: false")),
    ];
    for (why, functions, line) in ways {
        let mut service = ticking(&scratch, functions)?.fail_closed();
        if let Some(line) = line {
            service = service.config_line(line);
        }
        let other = Filter::example("cpp-headers", "release");
        let ats = Ats::options().event_threads(2).filter(service).filter(other).start()?;
        wait_for_ticks(&ats, 1, 2)?;
        for _ in 0..100 {
            let response = ats.fetch(&Request::get("/nocache/10/x"))?;
            assert_eq!((response.status, response.body.len()), (200, 10), "{why}");
            assert!(response.header("x-headers").is_some(), "the other filter sees them: {why}");
        }
        let before = ticks(&ats).values().map(Vec::len).max().unwrap_or(0);
        let seen = wait_for_ticks(&ats, 1, before + 3)?;
        assert_eq!(seen.len(), 1, "{why}: {seen:?}");
        seen.values().for_each(|numbers| assert_in_order(numbers));
        let proxy = Proxy::of(&ats)?;
        assert_eq!(proxy.filter("ticking")?["service"], true);
        assert_eq!(proxy.filter("cpp-headers")?["service"], false);
        for (counter, expected) in [("contexts", 0), ("vms", 1), ("vms_started", 1), ("traps", 0)] {
            assert_eq!(proxy.counter("ticking", counter)?, expected, "{counter}: {why}");
        }
    }
    Ok(())
}

#[test]
fn a_filter_that_refuses_its_first_streams_becomes_a_service() -> Result<()> {
    let scratch = Scratch::new("refusing")?;
    let functions = format!("{SEES_REQUESTS}{REFUSES_STREAMS}");
    let ats = Ats::options().event_threads(2).filter(ticking(&scratch, &functions)?).start()?;
    wait_for_ticks(&ats, 2, 1)?;
    for _ in 0..20 {
        assert_eq!(ats.fetch(&Request::get("/nocache/10/x"))?.status, 200);
    }
    ats.wait_for_log("write http: false into its file if that is so, else http: true")?;
    wait_for("one virtual machine", PATIENCE, || {
        let proxy = Proxy::of(&ats).ok()?;
        (proxy.counter("ticking", "vms").ok()? == 1).then_some(())
    })
    .with_context(|| ats.diags())?;
    let proxy = Proxy::of(&ats)?;
    assert_eq!(proxy.filter("ticking")?["service"], true);
    assert_eq!(proxy.counter("ticking", "traps")?, 3, "{}", ats.diags());
    // It goes on over further requests, in the same virtual machine.
    let mut before = ticks(&ats);
    let running = wait_for("a virtual machine that goes on", PATIENCE, || {
        let old = |name: &String| before.get(name).map_or(0, Vec::len);
        ticks(&ats).into_iter().find(|(name, seen)| seen.len() > old(name) + 3).map(|(name, _)| name)
    })?;
    before = ticks(&ats);
    for _ in 0..50 {
        assert_eq!(ats.fetch(&Request::get("/nocache/10/x"))?.status, 200);
    }
    wait_for("further ticks", PATIENCE, || {
        (ticks(&ats)[&running].len() > before[&running].len() + 3).then_some(())
    })?;
    let after = ticks(&ats);
    assert_in_order(&after[&running]);
    let others =
        |seen: &BTreeMap<String, Vec<u32>>| seen.values().map(Vec::len).sum::<usize>() - seen[&running].len();
    assert_eq!(others(&after), others(&before), "no other one ticks: {after:?}");
    assert_eq!(Proxy::of(&ats)?.counter("ticking", "traps")?, 3);
    Ok(())
}

#[test]
fn a_filter_that_must_run_is_not_left_out_because_it_traps() -> Result<()> {
    let scratch = Scratch::new("closed")?;
    let functions = format!("{SEES_REQUESTS}{REFUSES_STREAMS}");
    let ats = Ats::options().filter(ticking(&scratch, &functions)?.fail_closed()).start()?;
    for _ in 0..10 {
        assert_eq!(ats.fetch(&Request::get("/nocache/10/x"))?.status, 503);
    }
    ats.wait_for_log("write http: false into its file")?;
    let said = ats.diags().lines().filter(|line| line.contains("write http: false")).count();
    assert_eq!(said, 1, "{}", ats.diags());
    assert_eq!(Proxy::of(&ats)?.filter("ticking")?["service"], false);
    Ok(())
}
