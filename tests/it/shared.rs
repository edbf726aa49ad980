//! Shared data, queues and metrics in a real Traffic Server: between event threads and between filters.

use anyhow::{Result, ensure};
use wasmdbg_tests::ats::{Ats, Filter, Server};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

use crate::state::Proxy;

/// The requests of each of some clients.
const REQUESTS: usize = 50;
const CLIENTS: usize = 4;

/// Adds one to a number that all its virtual machines share, in each request and until nobody else was faster, and
/// leaves the path in the queue `jobs` of the other filter.
const SENDER: &str = r#"(module
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_shared_data" (func $read (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data" (func $write (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) ":pathjobsreceivercountx-count")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func $increment (local $status i32)
        (loop $again
            ;; Where there is no value yet any number will do, but 0 would also replace one.
            (i32.store (i32.const 24) (i32.const 77))
            (local.set $status
                (call $read (i32.const 81) (i32.const 5) (i32.const 16) (i32.const 20) (i32.const 24)))
            (i32.store (i32.const 32) (i32.const 1))
            (if (i32.eqz (local.get $status)) (then
                (i32.store (i32.const 32) (i32.add (i32.load (i32.load (i32.const 16))) (i32.const 1)))))
            (local.set $status (call $write
                (i32.const 81) (i32.const 5) (i32.const 32) (i32.const 4) (i32.load (i32.const 24))))
            (br_if $again (i32.eq (local.get $status) (i32.const 8)))
            (if (local.get $status) (then unreachable))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $increment)
        (if (call $get (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0) (i32.const 4)) (then unreachable))
        (if (call $resolve (i32.const 73) (i32.const 8) (i32.const 69) (i32.const 4) (i32.const 40))
            (then unreachable))
        (if (call $enqueue (i32.load (i32.const 40)) (i32.load (i32.const 0)) (i32.load (i32.const 4)))
            (then unreachable))
        (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (drop (call $read (i32.const 81) (i32.const 5) (i32.const 16) (i32.const 20) (i32.const 24)))
        (i32.store8 (i32.const 48) (i32.add (i32.const 0x30)
            (i32.rem_u (i32.div_u (i32.load (i32.load (i32.const 16))) (i32.const 100)) (i32.const 10))))
        (i32.store8 (i32.const 49) (i32.add (i32.const 0x30)
            (i32.rem_u (i32.div_u (i32.load (i32.load (i32.const 16))) (i32.const 10)) (i32.const 10))))
        (i32.store8 (i32.const 50) (i32.add (i32.const 0x30)
            (i32.rem_u (i32.load (i32.load (i32.const 16))) (i32.const 10))))
        (drop (call $add (i32.const 2) (i32.const 86) (i32.const 7) (i32.const 48) (i32.const 3)))
        (i32.const 0)))"#;

/// Logs the messages of its queue. It sees no requests. One that ends with `die!` is fatal.
const RECEIVER: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "jobs")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (i32.eqz (call $register (i32.const 64) (i32.const 4) (i32.const 40))))
    (func (export "proxy_on_queue_ready") (param $context i32) (param $queue i32) (local $status i32)
        (local.set $status (call $dequeue (local.get $queue) (i32.const 0) (i32.const 4)))
        (if (local.get $status) (then unreachable))
        (if (i32.eq (i32.load offset=12 (i32.load (i32.const 0))) (i32.const 0x21656964)) (then unreachable))
        (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))))"#;

fn filter(scratch: &Scratch, name: &str, text: &str) -> Result<Filter> {
    let module = scratch.write(&format!("{name}.wasm"), wat::parse_str(text)?)?;
    Ok(Filter::new(name, &module))
}

/// What the receiver has logged, in order.
fn received(ats: &Ats) -> Vec<String> {
    let diags = ats.diags();
    let messages =
        diags.lines().filter_map(|line| line.split_once("receiver: ")?.1.strip_prefix("/nocache/10/"));
    messages.map(|message| message.trim().to_owned()).collect()
}

#[test]
fn what_threads_and_filters_share_is_neither_lost_nor_seen_twice() -> Result<()> {
    let scratch = Scratch::new("shared")?;
    let ats = Ats::options()
        .event_threads(2)
        .filter(filter(&scratch, "sender", SENDER)?)
        .filter(filter(&scratch, "receiver", RECEIVER)?)
        .start()?;
    let clients = |from: usize| -> Result<()> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let ats = &ats;
                    scope.spawn(move || -> Result<()> {
                        for request in 0..REQUESTS {
                            let path = format!("/nocache/10/{}", from + client * REQUESTS + request);
                            ensure!(ats.fetch(&Request::get(&path))?.status == 200);
                        }
                        Ok(())
                    })
                })
                .collect();
            clients
                .into_iter()
                .try_for_each(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    };
    clients(0)?;
    let all = CLIENTS * REQUESTS;
    let mut messages = wait_for(&format!("{all} messages"), PATIENCE, || {
        let messages = received(&ats);
        (messages.len() >= all).then_some(messages)
    })?;
    messages.sort_by_key(|message| message.parse::<usize>().ok());
    assert_eq!(messages, (0..all).map(|number| number.to_string()).collect::<Vec<_>>());
    // The receiver dies, and a new one hears of what comes afterwards.
    ats.fetch(&Request::get("/nocache/10/die!"))?;
    clients(1000)?;
    wait_for(&format!("{} messages", 2 * all), PATIENCE, || (received(&ats).len() >= 2 * all).then_some(()))?;
    let last = ats.fetch(&Request::get("/nocache/10/last"))?;
    assert_eq!(last.header("x-count").map(str::to_owned), Some(format!("{:03}", 2 * all + 2)));
    let proxy = Proxy::of(&ats)?;
    assert_eq!((proxy.counter("sender", "traps")?, proxy.counter("receiver", "traps")?), (0, 1));
    Ok(())
}

/// Counts requests, records their count, and sets a gauge with a name that no reader of statistics would like.
const COUNTING: &str = r#"(module
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "requestssizes\22level\22")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $define (i32.const 0) (i32.const 64) (i32.const 8) (i32.const 0)))
        (drop (call $define (i32.const 2) (i32.const 72) (i32.const 5) (i32.const 4)))
        (drop (call $define (i32.const 1) (i32.const 77) (i32.const 7) (i32.const 8)))
        (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $increment (i32.load (i32.const 0)) (i64.const 1)))
        (drop (call $record (i32.load (i32.const 4)) (i64.const 10)))
        (drop (call $record (i32.load (i32.const 8)) (i64.const 42)))
        (i32.const 0)))"#;

#[test]
fn metrics_of_filters_are_statistics_of_the_server() -> Result<()> {
    let scratch = Scratch::new("metrics")?;
    let statistics = Server::get()?.plugins.join("stats_over_http.so");
    let ats = Ats::options()
        .event_threads(2)
        .filter(filter(&scratch, "one", COUNTING)?)
        .filter(filter(&scratch, "two", COUNTING)?.config_line("limits: {metrics: 1}"))
        .plugin_line(&statistics.display().to_string())
        .start()?;
    for _ in 0..20 {
        ensure!(ats.fetch(&Request::get("/nocache/10/x"))?.status == 200);
    }
    // The requests for the statistics are counted as well.
    let mut polls = 0;
    let text = wait_for("the statistics", PATIENCE, || {
        polls += 1;
        let statistics = ats.fetch(&Request::get("/_stats")).ok()?;
        let text = String::from_utf8_lossy(&statistics.body).into_owned();
        let value = |name: &str| {
            let (_, rest) = text.split_once(&format!("\"plugin.wasmdbg.{name}\": \""))?;
            rest.split('"').next()?.parse::<u64>().ok()
        };
        let requests = value("one.requests")?;
        let same = value("one.sizes.count")? == requests
            && value("one.sizes.sum")? == 10 * requests
            && value("two.requests")? == requests
            && value("one._level_")? == 42;
        (same && (20..=20 + polls).contains(&requests)).then_some(text)
    })?;
    ensure!(!text.contains("plugin.wasmdbg.two.sizes"), "only one is allowed");
    ensure!(
        ats.diags()
            .contains("two: not all of its metrics are statistics of the server: limits.metrics allows 1")
    );
    ensure!(ats.fetch(&Request::get("/nocache/10/x"))?.status == 200);
    Ok(())
}
