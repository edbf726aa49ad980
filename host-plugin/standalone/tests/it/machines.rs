//! The virtual machine of a thread: its ticks, its start, its end under the requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::{Origin, PASSING, PATIENCE, Stage};

/// Requests wait until the third tick after the first one began to wait.
const WAITING: &str = r#"
    (global $waits (mut i32) (i32.const 0)) (global $ticked (mut i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $ticks (i32.const 2))) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $waits (local.get 0)) (i32.const 1))
    (func (export "proxy_on_tick") (param i32)
        (if (global.get $waits) (then
            (global.set $ticked (i32.add (global.get $ticked) (i32.const 1)))
            (if (i32.eq (global.get $ticked) (i32.const 3)) (then
                (drop (call $effective (global.get $waits)))
                (drop (call $continue (i32.const 0))))))))"#;

#[test]
fn a_tick_lets_a_request_go_on() {
    // Not by the limit: that is an hour away.
    let stage = Stage::new(WAITING, "limits: {pause: 1h}", false, None);
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    let (client, _events) = stage.client();
    let status = client.call(wasmdbg_control::status::GetStatus {}).unwrap();
    assert_eq!(status.filters[0].counters.pause_timeouts, 0);
}

/// Traps for requests whose `:authority` begins with `t`, logs a 1 for each response.
const TRAPPING: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $header (i32.const 0) (i32.const 16) (i32.const 10) (i32.const 64) (i32.const 68)))
        (if (i32.eq (i32.load8_u (i32.load (i32.const 64))) (i32.const 116)) (then unreachable))
        (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $digit (i32.const 1)) (i32.const 0))"#;

#[test]
fn a_context_is_not_taken_for_one_of_the_next_virtual_machine() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let origin = Origin::start(move |_, _| {
        let until = Instant::now() + PATIENCE;
        while !gate.load(Ordering::SeqCst) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into())
    });
    let stage = Stage::new(TRAPPING, "", false, Some(origin.address));
    let sent = |count: usize| {
        let until = Instant::now() + PATIENCE;
        while origin.heads.lock().unwrap().len() < count {
            assert!(Instant::now() < until, "the origin has not seen {count} requests");
            thread::sleep(Duration::from_millis(1));
        }
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| stage.ask("GET / HTTP/1.1\r\nHost: first", ""));
        sent(1);
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: trap", ""), 503);
        // The first of the new one has the number that the first had.
        let second = scope.spawn(|| stage.ask("GET / HTTP/1.1\r\nHost: second", ""));
        sent(2);
        open.store(true, Ordering::SeqCst);
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (503, 200));
    });
    assert_eq!(stage.lines().iter().filter(|line| *line == "1").count(), 1, "{:?}", stage.lines());
}

#[test]
fn a_filter_that_does_not_start_in_time_is_not_waited_for() {
    let slow = r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (local $n i32)
        (loop $on (br_if $on (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2000000000))))
        (i32.const 1))"#;
    let slow = format!("{slow}{PASSING}");
    let settings = "start_timeout: 1ms\nlimits: {cpu_per_callback: 60s}";
    let stage = Stage::new(&slow, settings, false, None);
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 503);
    assert!(
        stage.lines().iter().any(|line| line.contains("has not started within 0.001 s")),
        "{:?}",
        stage.lines()
    );
}

/// Sees requests, logs a 1 in the first tick of a virtual machine and does `second` in the next one.
fn ticking(second: &str) -> String {
    format!(
        r#"(global $count (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $ticks (i32.const 2))) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (if (i32.eq (global.get $count) (i32.const 1)) (then (call $digit (i32.const 1))))
            (if (i32.eq (global.get $count) (i32.const 2)) (then {second})))"#
    )
}

fn wait_for_lines(stage: &Stage, line: &str, count: usize) {
    let until = Instant::now() + PATIENCE;
    while stage.lines().iter().filter(|logged| *logged == line).count() < count {
        assert!(Instant::now() < until, "not {count} times {line:?}: {:?}", stage.lines());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_filter_ticks_on_every_thread_before_any_request() {
    let stage = Stage::new(&ticking("(call $digit (i32.const 0))"), "", false, None);
    wait_for_lines(&stage, "0", 1);
    let more = stage.host().listen((std::net::Ipv4Addr::LOCALHOST, 0).into(), 3).unwrap();
    wait_for_lines(&stage, "0", 4);
    let counters = stage.wait_status("four machines", |_| true).filters[0].counters;
    assert_eq!((counters.vms, counters.vms_started, counters.contexts), (4, 4, 0));
    drop(more);
}

#[test]
fn a_filter_that_does_nothing_by_itself_starts_once() {
    let stage = Stage::new(TRAPPING, "", false, None);
    let counters = |what: &str, vms: u64| {
        stage.wait_status(what, |status| status.filters[0].counters.vms_started >= vms).filters[0].counters
    };
    counters("one machine", 1);
    // The first request may have come while the thread was about to get it.
    let ask = || assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    ask();
    let before = counters("any", 1).vms_started;
    let more = stage.host().listen((std::net::Ipv4Addr::LOCALHOST, 0).into(), 3).unwrap();
    ask();
    let after = counters("any", 1);
    assert_eq!((after.vms_started, after.contexts), (before, 2));
    drop(more);
}

#[test]
fn a_virtual_machine_that_dies_in_a_tick_is_replaced_without_a_request() {
    let stage = Stage::new(&ticking("unreachable"), "", false, None);
    wait_for_lines(&stage, "1", 2);
    let status = stage.wait_status("a trap", |status| status.filters[0].counters.traps > 0);
    assert_eq!(status.filters[0].counters.contexts, 0);
}

/// Logs a 1 in its first tick and a 0 in all others.
const SERVICE: &str = r#"(global $count (mut i32) (i32.const 0))
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $ticks (i32.const 2))) (i32.const 1))
    (func (export "proxy_on_tick") (param i32)
        (call $digit (i32.eqz (global.get $count)))
        (global.set $count (i32.const 1)))"#;

#[test]
fn a_service_keeps_its_one_virtual_machine_while_requests_pass() {
    let stage = Stage::new(SERVICE, "", false, None);
    let more = stage.host().listen((std::net::Ipv4Addr::LOCALHOST, 0).into(), 3).unwrap();
    wait_for_lines(&stage, "0", 1);
    for _ in 0..20 {
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    }
    let ticked = stage.lines().iter().filter(|line| *line == "0").count();
    wait_for_lines(&stage, "0", ticked + 5);
    assert_eq!(stage.lines().iter().filter(|line| *line == "1").count(), 1, "{:?}", stage.lines());
    let filter = stage.wait_status("any", |_| true).filters.remove(0);
    assert_eq!((filter.service, filter.counters.contexts), (true, 0));
    assert_eq!((filter.counters.vms, filter.counters.vms_started), (1, 1));
    drop(more);
}

#[test]
fn a_filter_that_refuses_its_first_streams_becomes_a_service() {
    let refuses = r#"(func (export "proxy_on_context_create") (param i32 i32)
            (if (local.get 1) (then unreachable)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let stage = Stage::new(&format!("{SERVICE}{refuses}"), "", true, None);
    let more = stage.host().listen((std::net::Ipv4Addr::LOCALHOST, 0).into(), 3).unwrap();
    // Each thread has one.
    wait_for_lines(&stage, "1", 4);
    for _ in 0..10 {
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    }
    let status = stage.wait_status("one machine", |status| status.filters[0].counters.vms == 1);
    assert_eq!((status.filters[0].service, status.filters[0].counters.traps), (true, 3));
    let ticked = stage.lines().iter().filter(|line| *line == "0").count();
    wait_for_lines(&stage, "0", ticked + 5);
    drop(more);
}
