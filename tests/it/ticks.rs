//! Filters that do something without requests: they tick from the start of the server, on each event thread.

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
        for numbers in seen.values() {
            let expected: Vec<u32> = (1..).take(numbers.len()).collect();
            assert_eq!(numbers, &expected, "each keeps its state");
        }
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
