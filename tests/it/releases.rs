//! Thousands of transactions that are parked on one event thread and go on at once: all are answered, the
//! stack does not grow with their number, and the thread is not held for long.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::{Ats, Filter, Options};
use wasmdbg_tests::http::{Connection, Request};
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};
use wasmdbg_tests::streams::Streams;

use crate::state::Proxy;

/// The longest that a slice may hold its thread, in CPU time.
const LONGEST_HOLD_NS: u64 = 5_000_000;
/// The bucket of the histogram that holds the first of the longer ones: it begins at 2^12 µs.
const TOO_LONG: usize = 13;

/// What a filter does with all that it has parked, in the tick after a request with `do: go`.
#[derive(Clone, Copy)]
enum Tick {
    Answer,
    Continue,
}

/// A filter that parks requests with `do: park` until one with `do: go` comes. It traps in one with
/// `do: trap`.
fn parking(scratch: &Scratch, tick: Tick) -> Result<Filter> {
    let each = match tick {
        Tick::Answer => {
            "(call $respond (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 9) \
             (i32.const 0) (i32.const 0) (i32.const -1))"
        }
        Tick::Continue => "(call $continue (i32.const 0))",
    };
    let body = format!(
        r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $set_tick (i32.const 5))) (i32.const 1))
        (func (export "proxy_on_request_headers") (param $context i32) (param i32 i32) (result i32)
            (local $order i32)
            (local.set $order (call $order))
            (if (i32.eq (local.get $order) (i32.const 0x70)) (then
                (i32.store (i32.add (i32.const 0x10000) (global.get $parked)) (local.get $context))
                (global.set $parked (i32.add (global.get $parked) (i32.const 4)))
                (return (i32.const 1))))
            (if (i32.eq (local.get $order) (i32.const 0x67)) (then (global.set $go (i32.const 1))))
            (if (i32.eq (local.get $order) (i32.const 0x74)) (then unreachable))
            (i32.const 0))
        (func (export "proxy_on_tick") (param i32) (local $at i32)
            (if (i32.eqz (global.get $go)) (then (return)))
            (loop $next
                (if (i32.ge_u (local.get $at) (global.get $parked)) (then
                    (global.set $parked (i32.const 0))
                    (global.set $go (i32.const 0))
                    (return)))
                (drop (call $set_context (i32.load (i32.add (i32.const 0x10000) (local.get $at)))))
                (drop {each})
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br $next)))"#
    );
    write(scratch, "parking", &body)
}

/// A filter that answers requests with `do: park`.
fn refusing(scratch: &Scratch) -> Result<Filter> {
    let body = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (call $order) (i32.const 0x70)) (then
                (drop (call $respond (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 9)
                    (i32.const 0) (i32.const 0) (i32.const -1)))
                (return (i32.const 1))))
            (i32.const 0))"#;
    write(scratch, "refusing", body)
}

/// `$order` is the first letter of the header `do`, or 0.
fn write(scratch: &Scratch, name: &str, body: &str) -> Result<Filter> {
    let imports = [
        ("set_tick", "proxy_set_tick_period_milliseconds", 1),
        ("set_context", "proxy_set_effective_context", 1),
        ("continue", "proxy_continue_stream", 1),
        ("get_header", "proxy_get_header_map_value", 5),
        ("respond", "proxy_send_local_response", 8),
    ];
    let mut text = String::from("(module\n");
    for (own, function, parameters) in imports {
        let parameters = "i32 ".repeat(parameters);
        writeln!(text, "(import \"env\" \"{function}\" (func ${own} (param {parameters}) (result i32)))")?;
    }
    write!(
        text,
        r#"(memory (export "memory") 2)
        (global $parked (mut i32) (i32.const 0))
        (global $go (mut i32) (i32.const 0))
        (data (i32.const 32) "do")
        (data (i32.const 64) "answered\n")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0x8000))
        (func (export "proxy_on_context_create") (param i32 i32))
        (func $order (result i32)
            (if (call $get_header (i32.const 0) (i32.const 32) (i32.const 2) (i32.const 0) (i32.const 4))
                (then (return (i32.const 0))))
            (i32.load8_u (i32.load (i32.const 0))))
        {body})"#
    )?;
    Ok(Filter::new(name, &scratch.write(&format!("{name}.wasm"), wat::parse_str(text)?)?))
}

fn order(what: &str) -> Request {
    Request::get("/nocache/10/x").header("do", what)
}

fn wait_until_parked(ats: &Ats, count: u64) -> Result<()> {
    wait_for(&format!("{count} paused requests"), PATIENCE, || {
        (Proxy::of(ats).ok()?.counter("parking", "paused").ok()? == count).then_some(())
    })
}

/// Parks `count` requests of as many connections, lets them go by a request with `do: WHAT`, and wants
/// `expected` for each.
fn release(ats: &Ats, count: u64, what: &str, expected: (u16, &str)) -> Result<()> {
    let mut parked = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(ats.address(), PATIENCE)?;
        connection.send(&order("park"))?;
        parked.push(connection);
    }
    wait_until_parked(ats, count)?;
    ats.fetch(&order(what)).with_context(|| ats.output())?;
    for (number, connection) in parked.iter_mut().enumerate() {
        let response = connection
            .receive()
            .with_context(|| format!("request {number} of {count}: {}{}", ats.output(), ats.diags()))?;
        ensure!((response.status, response.text().as_str()) == expected, "request {number}: {response:?}");
    }
    Ok(())
}

/// 5,000 at once, on a stack of 384 KiB: 78 bytes for each would be too many.
fn check(options: Options, what: &str, expected: (u16, &str)) -> Result<()> {
    let ats = options.record("proxy.config.thread.default.stacksize INT 393216").start()?;
    release(&ats, 5000, what, expected)?;
    wait_for("the end of all transactions", PATIENCE, || {
        (Proxy::of(&ats).ok()?.status()["transactions"] == 0).then_some(())
    })?;
    check_holds(&ats, 5000)
}

/// Prints the longest time that the event thread was held while `count` transactions went on, which must be short,
/// and in slices. The CPU clock of a virtual machine's thread also counts what others take of its processor: one
/// slice may look longer than it was.
fn check_holds(ats: &Ats, count: u64) -> Result<()> {
    let proxy = Proxy::of(ats)?;
    let slices = &proxy.status()["event_thread_releases"];
    let longest = slices["max_ns"].as_u64().context("the longest slice is known")?;
    let number = slices["count"].as_u64().context("slices are counted")?;
    println!("longest hold of the event thread: {} µs of CPU time; {slices}", longest / 1000);
    assert!(number >= count / 64, "{number} slices for {count}");
    let buckets = slices["buckets"].as_array().context("slices by their length")?;
    let too_long: u64 = buckets.iter().skip(TOO_LONG).filter_map(serde_json::Value::as_u64).sum();
    assert!(longest <= LONGEST_HOLD_NS || too_long <= 1, "an event thread was held too often: {slices}");
    Ok(())
}

#[test]
fn five_thousand_are_answered_in_one_tick() -> Result<()> {
    let scratch = Scratch::new("releases")?;
    let options = Ats::options().filter(parking(&scratch, Tick::Answer)?);
    check(options, "go", (403, "answered\n"))
}

#[test]
fn five_thousand_are_continued_in_one_tick_and_answered_by_the_next_filter() -> Result<()> {
    let scratch = Scratch::new("releases")?;
    let options = Ats::options().filter(parking(&scratch, Tick::Continue)?).filter(refusing(&scratch)?);
    check(options, "go", (403, "answered\n"))
}

#[test]
fn five_thousand_lose_their_virtual_machine_and_are_refused() -> Result<()> {
    let scratch = Scratch::new("releases")?;
    let options = Ats::options().filter(parking(&scratch, Tick::Answer)?.fail_closed());
    check(options, "trap", (503, "a filter of this proxy cannot run\n"))
}

/// The server's own limit of streams, and a higher one.
#[test]
fn all_streams_of_a_connection_are_answered_in_one_tick() -> Result<()> {
    for (streams, records) in
        [(100, &[][..]), (1000, &["proxy.config.http2.max_concurrent_streams_in INT 1000"])]
    {
        let scratch = Scratch::new("releases")?;
        let mut options = Ats::options().http2().filter(parking(&scratch, Tick::Answer)?);
        for record in records {
            options = options.record(record);
        }
        let ats = options.start()?;
        let parked = Streams::send(ats.address(), &order("park"), streams)?;
        wait_until_parked(&ats, u64::from(streams))?;
        ats.fetch(&order("go"))?;
        let bodies = parked.bodies().with_context(|| format!("{}{}", ats.output(), ats.diags()))?;
        assert_eq!(bodies.len(), streams as usize);
        assert!(bodies.iter().all(|body| body == b"answered\n"), "{bodies:?}");
        check_holds(&ats, u64::from(streams))?;
    }
    Ok(())
}
