//! Virtual machines of filters that have something to do without requests: on which threads they are, and when they
//! come back.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::{LOGGING, counters, filter};
use crate::double::{EventLoop, Transaction, plugin, serve};
use crate::flow::walk;
use crate::ts;

/// Logs `done` in each tick.
const TICKING: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_tick") (param i32) (call $log (i32.const 8) (i32.const 4)))"#;

/// Logs `done` in its first tick and traps in the second one.
const DYING: &str = r#"(func (export "proxy_on_tick") (param i32)
    (if (global.get $go) (then unreachable))
    (global.set $go (i32.const 1))
    (call $log (i32.const 8) (i32.const 4)))"#;

/// Asks in each request for ticks a second earlier than in the one before, first in eleven days.
const SHORTENING: &str = r#"(global $period (mut i32) (i32.const 1000000000))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (global.set $period (i32.sub (global.get $period) (i32.const 1000)))
        (drop (call $tick (global.get $period)))
        (i32.const 0))"#;

/// As the server does when its threads for tasks are there.
fn tasks_are_ready() {
    ts::post_task(Box::new(walk::begin));
}

#[test]
fn a_filter_ticks_on_every_event_thread_before_any_request() {
    let thread = serve(&[("logging", &filter(LOGGING), true), ("ticking", &filter(TICKING), true)], "");
    // More than a first round reaches.
    let (plugin, count) = (plugin(), 20);
    let made = Arc::new(Barrier::new(count + 1));
    let others = (0..count).map(|_| {
        let made = Arc::clone(&made);
        std::thread::spawn(move || {
            let thread = EventLoop::new(plugin);
            made.wait();
            thread.run(|| thread.logged("ticking: done") > 1);
        })
    });
    let others: Vec<_> = others.collect();
    made.wait();
    tasks_are_ready();
    thread.run(|| thread.logged("ticking: done") > 1 && others.iter().all(|other| other.is_finished()));
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!((counters(0).vms_started, counters(0).contexts), (1, 0), "the other one waits in its stock");
    assert!(counters(1).vms_started > count as u64, "{:?}", counters(1));
    assert_eq!(counters(1).contexts, 0);
    // The first request meets the virtual machine that has ticked.
    let before = counters(1).vms_started;
    assert!(Transaction::start(false).is_over());
    assert_eq!((counters(1).vms_started, counters(1).contexts), (before, 1));
}

#[test]
fn a_filter_that_does_nothing_by_itself_costs_its_threads_nothing() {
    let thread = serve(&[("logging", &filter(LOGGING), true)], "");
    walk::begin();
    assert!(!thread.run_one(), "no event has come");
}

#[test]
fn a_virtual_machine_that_dies_in_a_tick_is_replaced_without_a_request() {
    let thread = serve(&[("dying", &filter(DYING), true)], "");
    tasks_are_ready();
    thread.run(|| thread.logged("dying: done") == 3);
    assert_eq!((counters(0).traps, counters(0).contexts), (2, 0));
}

#[test]
fn a_filter_that_wants_its_tick_earlier_and_earlier_does_not_fill_the_server_with_events() {
    let thread = serve(&[("shortening", &filter(SHORTENING), true)], "");
    for _ in 0..100 {
        assert!(Transaction::start(false).is_over());
    }
    let pending = thread.later(Duration::ZERO);
    assert!(pending <= 2, "{pending} events");
}
