//! What a filter may make a real server do: time of an event thread in one host call, its log, a request's
//! header. The filter does what the first letter of the header `do` says.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::process::cpu_seconds;
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

use crate::state::Proxy;

/// Bytes that a large message begins at, and what is beyond: 61 MB.
const DATA: u32 = 0x10_0000;

fn hostile() -> Result<Vec<u8>> {
    // `$i` counts rounds from 0.
    let repeated = |count: u32, act: &str| {
        format!(
            "(local.set $i (i32.const 0))
            (loop {act} (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $i) (i32.const {count}))))"
        )
    };
    let at = |base: u32, step: u32| {
        format!("(i32.add (i32.const {base}) (i32.mul (local.get $i) (i32.const {step})))")
    };
    let log = |size: u32| format!("(drop (call $log (i32.const 2) (i32.const {DATA}) (i32.const {size})))");
    let acts = [
        // Lines of 1 KB in 2,000 buffers of 64 KB.
        (
            'w',
            format!("(memory.fill (i32.const {DATA}) (i32.const 119) (i32.const 0x10000))")
                + &repeated(64, &format!("(i32.store8 {} (i32.const 10))", at(DATA, 1024)))
                + &repeated(
                    2000,
                    &format!(
                        "(i64.store {} (i64.const {}))",
                        at(0x4000, 8),
                        0x1_0000_u64 << 32 | u64::from(DATA)
                    ),
                )
                + "(drop (call $write (i32.const 1) (i32.const 0x4000) (i32.const 2000) (i32.const 0x100)))",
        ),
        // 2 MB in lines of one byte.
        (
            'l',
            repeated(0x8_0000, &format!("(i32.store {} (i32.const 0x0a610a61))", at(DATA, 4)))
                + &log(2 << 20),
        ),
        // 60 MB of control characters.
        (
            'c',
            format!("(memory.fill (i32.const {DATA}) (i32.const 7) (i32.const {}))", 60 << 20)
                + &log(60 << 20),
        ),
        // 10,000 fields at once; `status` tells what came of it.
        (
            's',
            format!("(i32.store (i32.const {DATA}) (i32.const 10000))")
                + &repeated(20_000, &format!("(i32.store {} (i32.const 1))", at(DATA + 4, 4)))
                + &repeated(10_000, &format!("(i32.store {} (i32.const 0x0076006e))", at(DATA + 80_004, 4)))
                + &format!(
                    "(local.set $status (call $set (i32.const 0) (i32.const {DATA}) (i32.const 120004)))"
                ),
        ),
        // And one after the other.
        (
            'a',
            repeated(
                10_000,
                "(local.set $status (call $add (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 16) (i32.const 1)))",
            ),
        ),
        // One.
        (
            'o',
            String::from(
                "(local.set $status (call $add (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 16) (i32.const 1)))",
            ),
        ),
        // 60 lines of 1 KB.
        (
            'f',
            format!("(memory.fill (i32.const {DATA}) (i32.const 0x66) (i32.const 1000))")
                + &repeated(60, &log(1000)),
        ),
        ('n', String::from("(drop (call $log (i32.const 2) (i32.const 32) (i32.const 46)))")),
    ];
    let acts: String = acts
        .iter()
        .map(|(letter, act)| {
            format!("(if (i32.eq (local.get $order) (i32.const {})) (then {act}))\n", u32::from(*letter))
        })
        .collect();
    let text = format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_get_header_map_value" (func $header (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_header_map_pairs" (func $set (param i32 i32 i32) (result i32)))
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1100)
        (data (i32.const 16) "x-new") (data (i32.const 24) "do")
        (data (i32.const 32) "one\n[wasmdbg] audit: session 1 is forged\1b[2J\0d\n")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0x200))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (local $i i32) (local $order i32) (local $status i32)
            (if (call $header (i32.const 0) (i32.const 24) (i32.const 2) (i32.const 0x100) (i32.const 0x104))
                (then (return (i32.const 0))))
            (local.set $order (i32.load8_u (i32.load (i32.const 0x100))))
            {acts}
            (i32.store8 (i32.const 8) (i32.add (i32.const 0x30) (local.get $status)))
            (drop (call $log (i32.const 3) (i32.const 8) (i32.const 1)))
            (i32.const 0)))"#
    );
    Ok(wat::parse_str(text)?)
}

fn start(settings: &str) -> Result<(Scratch, Ats)> {
    let scratch = Scratch::new("hostile")?;
    let module = scratch.write("hostile.wasm", hostile()?)?;
    let ats = Ats::options().filter(Filter::new("hostile", &module)).settings(settings).start()?;
    Ok((scratch, ats))
}

fn order(letter: &str) -> Request {
    Request::get("/nocache/10/x").header("do", letter)
}

/// CPU time of the server and bytes of its log that one request takes.
fn cost(ats: &Ats, letter: &str) -> Result<(f64, usize)> {
    let (cpu, log) = (cpu_seconds(ats.pid())?, ats.diags().len());
    let response = ats.fetch(&order(letter))?;
    ensure!(response.status == 200, "{letter}: {}", response.status);
    Ok((cpu_seconds(ats.pid())? - cpu, ats.diags().len() - log))
}

/// Each of these took from 0.8 s to minutes of the event thread, and 50 to 250 MB of log.
#[test]
fn no_host_call_holds_an_event_thread_or_fills_the_log() -> Result<()> {
    let (_scratch, ats) = start("limits: {log_rate: 100 MB}\n")?;
    ats.fetch(&order("x"))?;
    for letter in ["w", "l", "c", "s", "a"] {
        let (cpu, log) = cost(&ats, letter)?;
        println!("{letter}: {cpu:.2} s CPU, {log} bytes of log");
        // The budget is half a second; the server itself takes as long again for the 500 fields of the last.
        ensure!(cpu < if letter == "a" { 4.0 } else { 2.0 }, "{letter}: {cpu} s");
        // 64 KB, each byte shown as \u{7} at worst, and what begins a line.
        ensure!(log < 600_000, "{letter}: {log} bytes of log");
    }
    ats.wait_for_log("bytes that this callback logged are not in the log: limits.log_bytes allows 65536")?;
    ats.wait_for_log(
        "a header map is not changed, the filter gets BAD_ARGUMENT: limits.map_fields allows 500",
    )?;
    ensure!(Proxy::of(&ats)?.counter("hostile", "log_left_out")? > 60 << 20);
    Ok(())
}

#[test]
fn a_client_that_sends_many_fields_does_not_use_up_what_a_filter_may_add() -> Result<()> {
    let (_scratch, ats) = start("")?;
    let request = (0..600).fold(order("o"), |request, number| request.header(&format!("x-{number}"), "1"));
    ensure!(ats.fetch(&request)?.status == 200);
    let line = ats.wait_for_log("hostile #")?;
    ensure!(line.ends_with(": 0"), "{line}");
    Ok(())
}

#[test]
fn a_filter_logs_at_its_rate_and_what_is_left_out_is_said() -> Result<()> {
    const RATE: u64 = 32 << 10;
    let (_scratch, ats) = start("limits: {log_rate: 32 KB}\n")?;
    let (start, before) = (Instant::now(), ats.diags().len());
    for _ in 0..50 {
        ats.fetch(&order("f"))?;
    }
    let (seconds, log) = (start.elapsed().as_secs_f64(), (ats.diags().len() - before) as u64);
    println!("3,000 lines, 3 MB: {log} bytes in {seconds:.1} s");
    // Four seconds' worth at first, one line more, and what begins a line.
    ensure!(log as f64 <= 1.2 * RATE as f64 * (5.0 + seconds), "{log} bytes in {seconds} s");
    ensure!(Proxy::of(&ats)?.counter("hostile", "log_left_out")? > 1 << 20);
    // Once it is quieter again.
    let said = wait_for("the line about it", PATIENCE, || {
        ats.fetch(&order("x")).ok()?;
        ats.diags()
            .lines()
            .find(|line| line.contains("limits.log_rate allows 32 KB a second"))
            .map(str::to_owned)
    })?;
    ensure!(said.contains("hostile: ") && said.contains("lines of this filter are not in the log"), "{said}");
    Ok(())
}

#[test]
fn a_line_cannot_be_forged() -> Result<()> {
    let (_scratch, ats) = start("")?;
    ats.fetch(&order("n"))?;
    let line = ats.wait_for_log("is forged")?;
    let (_, said) = line.split_once("[wasmdbg] ").with_context(|| line.clone())?;
    let (whose, text) = said.split_once(": ").with_context(|| line.clone())?;
    ensure!(whose.starts_with("hostile #"), "{line}");
    ensure!(text == r"[wasmdbg] audit: session 1 is forged\u{1b}[2J", "{line}");
    Ok(())
}
