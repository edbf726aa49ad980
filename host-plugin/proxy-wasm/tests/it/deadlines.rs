//! Filters that forget a transaction: what `limits.pause` and `limits.done` do. The fast lane's clock is
//! the caller's, so nothing here waits for it.

use std::time::{Duration, Instant};

use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::{Action, Callback, Effect, FastVm, Settings};

use crate::debug_stage::{Stage, filter};
use crate::double::{Loaded, Request};
use crate::wat::{load_with, module, tick};

const REQUEST: Callback = Callback::RequestHeaders { end_of_stream: true };
const RESPONSE: Callback = Callback::ResponseHeaders { end_of_stream: true };
const SECOND: Duration = Duration::from_secs(1);

/// Callbacks that log what they are; `proxy_on_done` returns `done`.
fn ends(done: i32) -> String {
    format!(
        r#"(data (i32.const 0x1000) "donelogsdelete")
        (func $say (param i32 i32) (drop (call $proxy_log (i32.const 2) (local.get 0) (local.get 1))))
        (func (export "proxy_on_done") (param i32) (result i32)
            (call $say (i32.const 0x1000) (i32.const 4)) (i32.const {done}))
        (func (export "proxy_on_log") (param i32) (call $say (i32.const 0x1004) (i32.const 4)))
        (func (export "proxy_on_delete") (param i32) (call $say (i32.const 0x1008) (i32.const 6)))"#
    )
}

/// Pauses each request and each response; a tick lets the request of context 2 go on, and tells what the
/// host says to that by trapping unless it is `expected`.
fn pausing(expected: i32) -> String {
    format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (if (i32.ne (call $proxy_set_effective_context (i32.const 2)) (i32.const {expected}))
                (then unreachable))
            (if (i32.ne (call $proxy_continue_stream (i32.const 0)) (i32.const {expected}))
                (then unreachable)))"#
    )
}

fn start(body: &str, limits: &str, yaml: &str) -> (Loaded, FastVm) {
    let (settings, warnings) = Settings::parse(limits, "settings".as_ref()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let loaded = load_with(&module(body), yaml, settings);
    assert_eq!(loaded.filter.inactive_reason(), None);
    let vm = loaded.filter.take_vm().unwrap();
    (loaded, vm)
}

/// Parks a new transaction.
fn park(vm: &mut FastVm, id: u64) -> ContextId {
    let (context, _) = vm.create_context(Request::new(id, &[]).boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Pause);
    context
}

#[test]
fn a_context_that_pauses_again_waits_once() {
    let (loaded, mut vm) = start(&pausing(0), "limits: {pause: 20s}", "");
    let context = park(&mut vm, 1);
    let first = vm.next_due().unwrap();
    assert_eq!(vm.call(context, REQUEST).action, Action::Pause);
    let second = vm.next_due().unwrap();
    assert!(second > first, "only the second counts");
    // The other direction has a time of its own.
    assert_eq!(vm.call(context, RESPONSE).action, Action::Pause);
    assert_eq!(vm.next_due(), Some(second));
    assert_eq!(loaded.filter.counters().snapshot().paused, 1);
    vm.end(context);
    assert_eq!((vm.next_due(), loaded.filter.counters().snapshot().paused), (None, 0));
}

#[test]
fn a_pause_that_the_filter_forgets_ends_by_the_fail_policy() {
    let (loaded, mut vm) = start(&(ends(0) + &pausing(2)), "limits: {pause: 20s}", "");
    assert_eq!(vm.next_due(), None);
    let before = Instant::now();
    let first = park(&mut vm, 1);
    let after = Instant::now();
    let deadline = vm.next_due().unwrap();
    assert!(deadline >= before + 20 * SECOND && deadline <= after + 20 * SECOND);
    let second = park(&mut vm, 2);
    assert_eq!(vm.next_due(), Some(deadline), "the oldest one");
    assert!(vm.pass_time(deadline - Duration::from_nanos(1)).is_none());
    let effects = vm.pass_time(deadline).unwrap();
    assert_eq!(effects, [Effect { context: first, stream: None, action: Action::Failed }]);
    // The filter sees the end of the stream, whatever it says to it.
    assert!(loaded.proxy.text().ends_with("done\nlogs\ndelete\n"), "{}", loaded.proxy.text());
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.pause_timeouts, counters.paused, counters.contexts_lost), (1, 1, 0));
    // A decision that comes too late is refused, and nothing follows from it.
    let outcome = tick(&mut vm);
    assert!(!vm.is_dead(), "{:?}", loaded.traps.try_recv());
    assert_eq!(outcome.effects, []);
    assert_eq!(vm.call(first, RESPONSE).action, Action::Failed);
    let effects = vm.pass_time(deadline + 60 * SECOND).unwrap();
    assert_eq!(effects, [Effect { context: second, stream: None, action: Action::Failed }]);
    assert!(vm.pass_time(deadline + 60 * SECOND).is_none());
    assert_eq!(vm.next_due(), None);
    assert_eq!(loaded.filter.counters().snapshot().pause_timeouts, 2);
    let said: Vec<String> =
        loaded.proxy.text().lines().filter(|line| line.contains("limits.pause")).map(str::to_owned).collect();
    assert_eq!(said.len(), 1, "once: {said:?}");
    assert!(said[0].contains("within 20s") && said[0].contains("goes on without it"), "{said:?}");
}

#[test]
fn a_filter_that_is_never_done_loses_its_context() {
    let (loaded, mut vm) = start(&ends(0), "limits: {done: 7s}", "  fail_open: false\n");
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.end(context).action, Action::Pause);
    assert_eq!(loaded.proxy.text(), "done\n");
    let deadline = vm.next_due().unwrap();
    let effects = vm.pass_time(deadline).unwrap();
    assert_eq!(effects, [Effect { context, stream: None, action: Action::Continue }]);
    let text = loaded.proxy.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], &lines[2..]), ("done", &["logs", "delete"][..]), "{text}");
    assert!(lines[1].contains("limits.done") && lines[1].contains("within 7s"), "{text}");
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.done_timeouts, counters.pause_timeouts), (1, 0));
    assert_eq!(vm.next_due(), None);
}

#[test]
fn what_waits_no_more_has_no_deadline() {
    // Continued in time.
    let (_loaded, mut vm) = start(&pausing(0), "", "");
    let first = park(&mut vm, 1);
    assert_eq!(tick(&mut vm).effects.len(), 1);
    assert_eq!(vm.next_due(), None);
    assert_eq!(vm.end(first).action, Action::Continue);
    // Its client has gone.
    let context = park(&mut vm, 2);
    assert!(vm.next_due().is_some());
    assert_eq!(vm.end(context).action, Action::Continue);
    assert_eq!(vm.next_due(), None);
    // Its machine has died.
    park(&mut vm, 3);
    assert_eq!(tick(&mut vm).action, Action::Failed, "context 2 is gone");
    assert_eq!(vm.next_due(), None);
    assert!(vm.pass_time(Instant::now() + 3600 * SECOND).is_none());
}

#[test]
fn without_a_limit_it_waits_for_ever() {
    let (loaded, mut vm) =
        start(&(ends(0) + &pausing(0)), "limits: {pause: 1ms, done: off}", "  limits: {pause: off}\n");
    let context = park(&mut vm, 1);
    assert_eq!(vm.next_due(), None, "the filter's own setting counts");
    assert_eq!(vm.end(context).action, Action::Pause);
    assert_eq!(vm.next_due(), None);
    assert!(vm.pass_time(Instant::now() + 100_000 * SECOND).is_none());
    assert_eq!(loaded.filter.counters().snapshot().done_timeouts, 0);
}

#[test]
fn a_trap_while_a_forgotten_context_ends_fails_all_that_are_parked() {
    let body = r#"(func (export "proxy_on_delete") (param i32) unreachable)"#;
    let (loaded, mut vm) = start(&(pausing(0) + body), "", "");
    let first = park(&mut vm, 1);
    let deadline = vm.next_due().unwrap();
    let second = park(&mut vm, 2);
    let effects = vm.pass_time(deadline).unwrap();
    assert!(vm.is_dead());
    let failed = |context| Effect { context, stream: None, action: Action::Failed };
    assert_eq!(effects, [failed(second), failed(first)]);
    assert_eq!(loaded.filter.counters().snapshot().paused, 0);
}

/// `proxy_done` for the contexts 2 and 3; the log of 2 traps. The one that is called last ends first.
#[test]
fn a_trap_at_the_end_that_a_tick_has_allowed_lets_every_transaction_go() {
    let body = r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_log") (param i32)
            (if (i32.eq (local.get 0) (i32.const 2)) (then unreachable)))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_done))
            (drop (call $proxy_set_effective_context (i32.const 3)))
            (drop (call $proxy_done)))"#;
    let (_loaded, mut vm) = start(body, "", "");
    let contexts: Vec<ContextId> = (1..=3)
        .map(|id| {
            let (context, _) = vm.create_context(Request::new(id, &[]).boxed());
            assert_eq!(vm.end(context).action, Action::Pause);
            context
        })
        .collect();
    let mut effects = tick(&mut vm).effects;
    assert!(vm.is_dead());
    effects.sort_by_key(|effect| effect.context.0);
    let actions: Vec<(ContextId, Action)> =
        effects.into_iter().map(|effect| (effect.context, effect.action)).collect();
    let expected =
        [(contexts[0], Action::Failed), (contexts[1], Action::Continue), (contexts[2], Action::Failed)];
    assert_eq!(actions, expected);
}

#[test]
fn the_debug_lane_keeps_both_limits() {
    let stage = Stage::new(
        &filter(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
            (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))"#,
        ),
        "limits: {pause: 10ms, done: 10ms}",
    );
    let _front = stage.attached();
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Pause);
    assert_eq!(flow.effect(), Action::Failed);
    flow.end();
    // One that is not done holds its slot no longer than the limit.
    let flow = stage.try_request(2, &[]).unwrap();
    flow.end();
    let counters = stage.filters[0].counters().snapshot();
    assert_eq!((counters.pause_timeouts, counters.done_timeouts, counters.paused), (1, 1, 0));
}

#[test]
fn a_trap_in_the_log_of_a_context_that_is_done_late_frees_its_slot() {
    let stage = Stage::new(
        &filter(
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 5)))
                (i32.const 1))
            (func (export "proxy_on_done") (param i32) (result i32)
                (global.set $count (local.get 0))
                (i32.const 0))
            (func (export "proxy_on_tick") (param i32)
                (drop (call $effective (global.get $count)))
                (drop (call $done)))
            (func (export "proxy_on_log") (param i32) (unreachable))"#,
        ),
        "limits: {done: off}",
    );
    let front = stage.attached();
    let flow = stage.try_request(1, &[]).unwrap();
    front.client.call(wasmdbg_control::session::Detach {}).unwrap();
    flow.end();
}

/// While the user looks at a stop of the machine, the time of what waits in it stands still.
#[test]
fn a_stop_longer_than_the_limit_costs_a_paused_transaction_nothing() {
    let limit = 2 * SECOND;
    let stage = Stage::new(
        &filter(
            r#"(global $who (mut i32) (i32.const 0))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 5)))
                (i32.const 1))
            (func (export "proxy_on_tick") (param i32)
                (if (global.get $who) (then
                    (drop (i32.const 8100))
                    (if (global.get $fixed32) (then
                        (drop (call $effective (global.get $who)))
                        (drop (call $continue (i32.const 0)))))
                    (global.set $fixed32 (i32.const 1)))))
            (global $fixed32 (mut i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (global.set $who (local.get 0))
                (i32.const 1))"#,
        ),
        &format!("limits: {{pause: {}s}}", limit.as_secs()),
    );
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8100)]);
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Pause);
    // The first tick only takes time; the second one, after a look at the deadlines, lets the request go on.
    let stop = front.stopped();
    let stopped = Instant::now();
    while stopped.elapsed() <= limit {
        std::thread::sleep(Duration::from_millis(20));
    }
    front.breakpoints(stage.module(), &[]);
    front.resume(stop.stop, wasmdbg_control::stop::ResumeMode::Continue);
    assert_eq!(flow.effect(), Action::Continue);
    flow.end();
    assert_eq!(stage.filters[0].counters().snapshot().pause_timeouts, 0);
}
