//! Transactions of a server in memory: who lets them go on, on which thread and with which event, and what
//! outlives a virtual machine.

mod answers;
mod debugged;
mod headers;
mod messages;
mod ticks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wasmdbg_control::ContextId;
use wasmdbg_control::filters::FilterCounters;
use wasmdbg_proxy_wasm::{Action, Effect, FastVm, Outcome, StreamType};

use crate::double::{At, EventLoop, Transaction, attach, plugin, serve};
use crate::flow::{self, Flow, Wake, machines, release, worker};
use crate::sys::event::{HTTP_CONTINUE, HTTP_ERROR};
use crate::ts::{Access, Event, Hook};

/// A filter with `functions`, most of which call `$log` (a text at 0), `$continue`, `$respond` (403) or
/// `$context`. It ticks if it does something then.
fn filter(functions: &str) -> String {
    let tick = if functions.contains("proxy_on_tick") { "(drop (call $tick (i32.const 1)))" } else { "" };
    format!(
        r#"(module
            (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
            (import "env" "proxy_set_effective_context" (func $proxy_context (param i32) (result i32)))
            (import "env" "proxy_continue_stream" (func $proxy_continue (param i32) (result i32)))
            (import "env" "proxy_done" (func $proxy_done (result i32)))
            (import "env" "proxy_send_local_response"
                (func $proxy_respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (global $go (mut i32) (i32.const 0))
            (data (i32.const 0) "responsedoneanswered01")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_configure") (param i32 i32) (result i32) {tick} (i32.const 1))
            (func $log (param $at i32) (param $size i32)
                (drop (call $proxy_log (i32.const 2) (local.get $at) (local.get $size))))
            (func $context (param i32) (drop (call $proxy_context (local.get 0))))
            (func $continue (drop (call $proxy_continue (i32.const 0))))
            (func $respond (drop (call $proxy_respond (i32.const 403) (i32.const 0) (i32.const 0)
                (i32.const 12) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const -1))))
            {functions})"#
    )
}

/// A filter that parks `count` transactions, does `last` in the request after them, and then, if that sets
/// `$go`, `each` for all of them in one tick.
fn parking(count: u32, last: &str, each: &str) -> String {
    let end = count + 2;
    filter(&format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const {end})) (then {last} (return (i32.const 0))))
            (i32.const 1))
        (func (export "proxy_on_tick") (param i32) (local $at i32)
            (if (i32.eqz (global.get $go)) (then (return)))
            (global.set $go (i32.const 0))
            (local.set $at (i32.const 2))
            (loop $next
                (call $context (local.get $at))
                {each}
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const {end})))))"#
    ))
}

const GO: &str = "(global.set $go (i32.const 1))";

/// Answers every request.
const REFUSING: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $respond) (i32.const 1))"#;

/// Logs in its response and done callbacks.
const LOGGING: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $log (i32.const 0) (i32.const 8)) (i32.const 0))
    (func (export "proxy_on_done") (param i32) (result i32)
        (call $log (i32.const 8) (i32.const 4)) (i32.const 1))"#;

fn flow_of(transaction: &'static Transaction) -> Option<Arc<Flow>> {
    worker::flow(Access::in_memory(transaction).txn())
}

fn counters(index: usize) -> FilterCounters {
    plugin().unwrap().filters[index].counters().snapshot()
}

/// Parks `count` transactions, lets them go, and says how deep the stack was.
fn stack_of(count: u32, filters: &[(&str, &str, bool)], status: u16) -> usize {
    let thread = serve(filters, "");
    let parked: Vec<_> = (0..count).map(|_| Transaction::start(false)).collect();
    assert!(parked.iter().all(|transaction| transaction.at() == At::Request), "all wait");
    assert_eq!(counters(0).paused, u64::from(count));
    thread.depth();
    let last = Transaction::start(false);
    let most = thread.run(|| parked.iter().all(|transaction| transaction.is_over()));
    assert!(last.is_over());
    assert!(most <= 64, "{most} transactions went on in one event");
    for transaction in parked {
        assert_eq!(transaction.answer().map(|answer| answer.0), Some(status));
    }
    assert_eq!(counters(0).paused, 0);
    thread.depth()
}

/// The stack is as deep with many as with few, each in a thread of its own.
fn check_stack(filters: fn(u32) -> Vec<(&'static str, String, bool)>, status: u16) {
    let depth = |count: u32| {
        let body = move || {
            let filters = filters(count);
            let filters: Vec<_> =
                filters.iter().map(|(name, text, open)| (*name, text.as_str(), *open)).collect();
            stack_of(count, &filters, status)
        };
        std::thread::spawn(body).join().unwrap()
    };
    let (few, many) = (depth(3), depth(700));
    assert!(many < few + 1024, "3 transactions need {few} bytes of stack, 700 need {many}");
}

#[test]
fn a_tick_that_answers_many_does_not_nest() {
    check_stack(|count| vec![("parking", parking(count, GO, "(call $respond)"), true)], 403);
}

#[test]
fn a_tick_that_continues_many_to_a_filter_that_answers_does_not_nest() {
    check_stack(
        |count| {
            vec![
                ("parking", parking(count, GO, "(call $continue)"), true),
                ("refusing", filter(REFUSING), true),
            ]
        },
        403,
    );
}

#[test]
fn a_trap_that_loses_many_does_not_nest() {
    check_stack(|count| vec![("parking", parking(count, "unreachable", ""), false)], 503);
}

#[test]
fn an_answer_leaves_the_request_hook_with_continue() {
    serve(&[("refusing", &filter(REFUSING), true)], "");
    let transaction = Transaction::start(true);
    assert_eq!(transaction.answer(), Some((403, "answered".into())));
    let continued = |at| (at, HTTP_CONTINUE);
    assert_eq!(transaction.left(), [At::Request, At::Response, At::Close].map(continued));
}

#[test]
fn an_answer_leaves_the_response_hook_with_error() {
    let text = filter(
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $respond) (i32.const 1))"#,
    );
    serve(&[("refusing", &text, true)], "");
    let transaction = Transaction::start(false);
    assert_eq!(transaction.answer(), Some((403, "answered".into())));
    let expected = [
        (At::Request, HTTP_CONTINUE),
        (At::Response, HTTP_ERROR),
        (At::Response, HTTP_CONTINUE),
        (At::Close, HTTP_CONTINUE),
    ];
    assert_eq!(transaction.left(), expected);
}

#[test]
fn a_hook_on_another_thread_is_counted_and_handled_at_home() {
    let home = serve(&[("logging", &filter(LOGGING), true)], "");
    let transaction = Transaction::start(true);
    assert_eq!(transaction.at(), At::Origin);
    let plugin = plugin();
    let away = std::thread::spawn(move || {
        let away = EventLoop::new(plugin);
        transaction.respond();
        away
    });
    let away = away.join().unwrap();
    assert_eq!(transaction.at(), At::Response, "it waits for its home");
    home.run(|| transaction.is_over());
    assert_eq!((home.logged("response"), home.logged("done"), away.log().len()), (1, 1, 0));
    assert_eq!(counters(0).hops, 1);
    // None is counted that comes where it should.
    let other = Transaction::start(false);
    assert!(other.is_over());
    assert_eq!((counters(0).hops, home.logged("response")), (1, 2));
}

/// The context of a virtual machine that died has the number of one in the next.
#[test]
fn a_context_does_not_outlive_its_virtual_machine() {
    let text = filter(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eq (local.get 0) (i32.const 3)) (then unreachable))
            (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $log (i32.const 0) (i32.const 8)) (i32.const 0))
        (func (export "proxy_on_done") (param i32) (result i32)
            (call $log (i32.const 8) (i32.const 4)) (i32.const 1))"#,
    );
    let thread = serve(&[("dying", &text, true)], "");
    let lost = Transaction::start(true);
    let dies = Transaction::start(false);
    assert!(dies.is_over());
    let next = Transaction::start(true);
    thread.run(|| next.at() == At::Origin);
    lost.respond();
    assert!(lost.is_over());
    assert_eq!((thread.logged("response"), thread.logged("done")), (0, 0), "{:?}", thread.log());
    next.respond();
    assert!(next.is_over());
    assert_eq!((thread.logged("response"), thread.logged("done")), (1, 1), "{:?}", thread.log());
}

#[test]
fn a_request_does_not_wait_for_a_virtual_machine_longer_than_it_may() {
    for (fail_open, status) in [(true, None), (false, Some(503))] {
        let thread = serve(&[("slow", &filter(LOGGING), fail_open)], "start_timeout: 200ms");
        thread.holds_tasks.store(true, Relaxed);
        let taken: Vec<FastVm> = std::iter::from_fn(|| plugin().unwrap().filters[0].take_vm()).collect();
        assert_eq!(taken.len(), 1);
        let transaction = Transaction::start(false);
        assert_eq!(transaction.at(), At::Request, "it waits");
        thread.run(|| transaction.is_over());
        assert_eq!(transaction.answer().map(|answer| answer.0), status);
        assert_eq!(thread.logged("response"), 0);
    }
}

/// `proxy_done` in a tick, after `proxy_on_done` was not done.
#[test]
fn a_transaction_that_is_over_is_held_until_its_filter_is_done() {
    let text = filter(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_done") (param i32) (result i32) (global.set $go (i32.const 1)) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
            (if (i32.eqz (global.get $go)) (then (return)))
            (call $context (i32.const 2))
            (drop (call $proxy_done)))"#,
    );
    let thread = serve(&[("late", &text, true)], "");
    let transaction = Transaction::start(false);
    assert_eq!(transaction.at(), At::Close, "it is held");
    thread.run(|| transaction.is_over());
}

/// What a hook or a timer of ours does when it panics while a virtual machine is out.
#[test]
fn a_panic_beside_the_guest_retires_the_virtual_machine() {
    let thread = serve(&[("parking", &parking(9, "", ""), false)], "");
    let parked = [Transaction::start(false), Transaction::start(false)];
    let panics = || machines::enter::<()>(0, None, |_, _| panic!("a fault of ours"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert!(parked.iter().all(|transaction| transaction.at() == At::Request), "not while it unwinds");
    thread.run(|| parked.iter().all(|transaction| transaction.is_over()));
    for transaction in parked {
        assert_eq!(transaction.answer().map(|answer| answer.0), Some(503), "the fail policy");
    }
    let counters = counters(0);
    assert_eq!((counters.traps, counters.contexts_lost, counters.paused), (1, 2, 0));
}

/// A parked transaction goes on, and its own work panics.
#[test]
fn a_panic_of_released_work_ends_the_filters_part_in_its_transaction() {
    let texts = [filter(LOGGING), parking(9, "", "")];
    let thread = serve(&[("logging", &texts[0], true), ("parking", &texts[1], true)], "");
    let transaction = Transaction::start(false);
    assert_eq!(transaction.at(), At::Request);
    let flow = flow_of(transaction).unwrap();
    release::wake(flow, Wake::Hook(|_, _| panic!("a fault of ours")));
    assert!(transaction.is_over());
    assert_eq!(thread.logged("a fault of ours"), 1, "{:?}", thread.log());
    assert_eq!((thread.logged("response"), thread.logged("done")), (0, 0), "{:?}", thread.log());
    assert_eq!((counters(0).contexts_lost, counters(1).contexts_lost, counters(1).paused), (1, 1, 0));
    // Others go on as before.
    Transaction::start(false);
    assert_eq!(counters(1).paused, 1);
}

/// Those that go on in one slice with it, and the one in whose hook the slice is.
#[test]
fn a_panic_while_one_transaction_goes_on_is_no_other_ones() {
    let thread = serve(&[("pausing", &filter(PAUSING), false)], "limits: {pause: off}");
    let parked: Vec<_> = (0..4).map(|_| Transaction::start(false)).collect();
    let flow = |place: usize| flow_of(parked[place]).unwrap();
    release::fault();
    let effects = vec![Effect { context: ContextId(4), stream: None, action: Action::Continue }];
    machines::enter(0, None, |_, _| ((), Outcome { action: Action::Continue, effects }));
    release::wake_all(vec![flow(0), flow(1)], &Wake::Fault);
    thread.run(|| parked[..3].iter().all(|transaction| transaction.is_over()));
    let statuses = parked.iter().map(|transaction| transaction.answer().map(|answer| answer.0));
    assert_eq!(statuses.collect::<Vec<_>>(), [Some(503), Some(503), None, None]);
    assert_eq!((thread.logged("a fault of ours"), parked[3].at()), (3, At::Request));
    assert_eq!((counters(0).contexts_lost, counters(0).paused), (2, 1));
    release::fault();
    let last = Transaction::start(false);
    assert_eq!((last.at(), last.answer(), counters(0).paused), (At::Request, None, 2), "its hook is its own");
    assert_eq!(thread.logged("a fault of ours"), 4);
}

/// Nobody but the server lets it go on.
#[test]
fn a_panic_about_a_transaction_that_does_not_wait_changes_nothing_for_it() {
    let thread = serve(&[("logging", &filter(LOGGING), false)], "");
    let transaction = Transaction::start(true);
    let flow = flow_of(transaction).unwrap();
    release::wake(flow, Wake::Fault);
    assert_eq!((transaction.at(), thread.logged("a fault of ours")), (At::Origin, 1));
    transaction.respond();
    assert_eq!((transaction.is_over(), transaction.answer()), (true, None));
    assert_eq!((thread.logged("response"), thread.logged("done")), (1, 1));
}

/// Pauses each request and does nothing for it.
const PAUSING: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#;

/// The event of a callback's return can be the later one of two: the server tries it again after 10 ms when
/// the slot's thread still has its mutex.
#[test]
fn a_decision_that_overtakes_its_callback_counts() {
    let text = filter(PAUSING);
    let thread = serve(&[("pausing", &text, true)], "limits: {pause: off}");
    let _client = attach(&[]);
    let transaction = Transaction::start(false);
    let flow = flow_of(transaction).unwrap();
    release::wake(flow, Wake::Decided(0, Some(StreamType::Request), Action::Continue));
    assert_eq!(transaction.at(), At::Request, "its callback may be under way");
    // This comes to the event of the callback's return.
    thread.run(|| transaction.is_over());
    assert_eq!((transaction.answer(), counters(0).debug_contexts), (None, 1));
}

#[test]
fn a_short_wait_ends_in_time_while_a_long_one_goes_on() {
    let text = filter(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (i32.eq (local.get 0) (i32.const 2)))
        (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))"#,
    );
    let thread = serve(&[("forgetful", &text, true)], "limits: {pause: 1h, done: 5ms}");
    let paused = Transaction::start(false);
    for _ in 0..5 {
        let ending = Transaction::start(false);
        assert_eq!(ending.at(), At::Close, "it is held");
        thread.run(|| ending.is_over());
    }
    assert_eq!((paused.at(), counters(0).done_timeouts), (At::Request, 5));
    assert!(thread.later(Duration::ZERO) >= 1, "the pause has an event");
}

/// Nothing else comes to the thread: no tick, no other transaction.
#[test]
fn what_was_decided_before_a_panic_in_a_hook_goes_on() {
    let text = filter(PAUSING);
    let thread = serve(&[("pausing", &text, true)], "limits: {pause: off}");
    let (transaction, other) = (Transaction::start(false), Transaction::start(false));
    let continued = || Effect { context: ContextId(2), stream: None, action: Action::Continue };
    let outcome = |effects| Outcome { action: Action::Continue, effects };
    machines::enter(0, None, |_, _| ((), outcome(vec![continued()])));
    let event = flow::panicked(Hook::ReadRequestHeaders, &mut Access::in_memory(other), "a fault of ours");
    assert_eq!(
        (event.ok(), transaction.at()),
        (Some(Event::Continue), At::Request),
        "in an event of its own"
    );
    thread.run(|| transaction.is_over());
}

/// TXN_CLOSE after a panic of ours, while a slot has the transaction.
#[test]
fn a_panic_at_the_end_waits_for_the_debug_lane() {
    let holding = r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))"#;
    let texts = [filter(LOGGING), filter(holding)];
    let filters = [("debugged", texts[0].as_str(), true), ("holding", texts[1].as_str(), true)];
    let thread = serve(&filters, "limits: {done: off}\ndebug: {max_vms: 1}");
    let _client = attach(&["debugged"]);
    for served in 1..=2 {
        let transaction = Transaction::start(false);
        thread.run(|| transaction.at() == At::Close);
        assert_eq!((counters(0).debug_contexts, counters(0).debug_missed), (served, 0), "the slot is free");
        let flow = flow_of(transaction).unwrap();
        for _ in 0..2 {
            // The second one comes while the slot is at work.
            release::wake(Arc::clone(&flow), Wake::Hook(|_, _| panic!("a fault of ours")));
            assert_eq!(transaction.at(), At::Close, "the slot still has it");
        }
        drop(flow);
        thread.run(|| transaction.is_over());
        assert_eq!((flow_of(transaction).is_none(), counters(1).paused), (true, 0));
    }
}
