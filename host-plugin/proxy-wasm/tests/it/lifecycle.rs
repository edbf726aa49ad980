//! The order of callbacks, contexts and their numbers.

use wasmdbg_proxy_wasm::{Action, Callback};

use crate::double::Request;
use crate::wat::{load, module, start, tick};

/// Callbacks that log their name and the context they are for.
fn talkative(done: i32) -> String {
    let mut text = String::from(
        r#"(global $at (mut i32) (i32.const 0))
        (func $say (param $name i32) (param $size i32) (param $context i32)
            (memory.copy (i32.const 0x1400) (local.get $name) (local.get $size))
            (i32.store8 (i32.add (i32.const 0x1400) (local.get $size)) (i32.const 0x20))
            (i32.store8 (i32.add (i32.const 0x1401) (local.get $size))
                (i32.add (i32.const 0x30) (local.get $context)))
            (drop (call $proxy_log (i32.const 2) (i32.const 0x1400) (i32.add (local.get $size) (i32.const 2)))))"#,
    );
    let callbacks = [
        ("_initialize", "", "", 0),
        ("main", "i32 i32", "i32", 0),
        ("proxy_on_context_create", "i32 i32", "", 0),
        ("proxy_on_vm_start", "i32 i32", "i32", 1),
        ("proxy_on_configure", "i32 i32", "i32", 1),
        ("proxy_on_tick", "i32", "", 0),
        ("proxy_on_request_headers", "i32 i32 i32", "i32", 0),
        ("proxy_on_response_headers", "i32 i32 i32", "i32", 0),
        ("proxy_on_done", "i32", "i32", done),
        ("proxy_on_log", "i32", "", 0),
        ("proxy_on_delete", "i32", "", 0),
    ];
    for (index, (name, params, results, result)) in callbacks.iter().enumerate() {
        let at = 0x1000 + 32 * index;
        let context = if params.is_empty() { "(i32.const 0)" } else { "(local.get 0)" };
        let ty = format!("(param {params}) (result {results})");
        let result = if results.is_empty() { String::new() } else { format!("(i32.const {result})") };
        text += &format!(
            r#"(data (i32.const {at}) "{name}")
            (func (export "{name}") {ty}
                (call $say (i32.const {at}) (i32.const {}) {context}) {result})"#,
            name.len()
        );
    }
    text
}

#[test]
fn callbacks_come_in_the_order_of_the_abi() {
    let (loaded, mut vm) = start(&talkative(1));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    let (second, _) = vm.create_context(Request::new(2, &[]).boxed());
    vm.call(first, Callback::RequestHeaders { end_of_stream: true });
    tick(&mut vm);
    vm.call(first, Callback::ResponseHeaders { end_of_stream: true });
    assert_eq!(vm.end(first).action, Action::Continue);
    vm.call(second, Callback::RequestHeaders { end_of_stream: true });
    assert_eq!(vm.end(second).action, Action::Continue);
    let start =
        "_initialize 0\nmain 0\nproxy_on_context_create 1\nproxy_on_vm_start 1\nproxy_on_configure 1\n";
    // Two virtual machines were started.
    let expected = start.repeat(2)
        + "proxy_on_context_create 2\nproxy_on_context_create 3\nproxy_on_request_headers 2\nproxy_on_tick 1\n\
           proxy_on_response_headers 2\nproxy_on_done 2\nproxy_on_log 2\nproxy_on_delete 2\n\
           proxy_on_request_headers 3\nproxy_on_done 3\nproxy_on_log 3\nproxy_on_delete 3\n";
    assert_eq!(loaded.proxy.text(), expected);
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.contexts, counters.vms, counters.vms_started), (2, 2, 2));
}

#[test]
fn lines_of_a_transaction_carry_its_number() {
    let (loaded, mut vm) = start(&talkative(1));
    let (context, _) = vm.create_context(Request::new(99, &[]).boxed());
    vm.end(context);
    let lines = loaded.proxy.lines();
    let numbers: Vec<_> = lines.iter().rev().take(5).map(|(_, number, _)| *number).collect();
    assert_eq!(numbers, [Some(99), Some(99), Some(99), Some(99), None]);
}

#[test]
fn a_filter_that_is_not_done_keeps_its_context() {
    let body = r#"
        (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_log") (param i32)
            (drop (call $proxy_log (i32.const 2) (i32.const 0x1000) (i32.const 3))))
        (func (export "proxy_on_tick") (param i32)
            (if (i32.ne (call $proxy_done) (i32.const 1)) (then unreachable))
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (if (call $proxy_done) (then unreachable))
            (if (i32.ne (call $proxy_done) (i32.const 1)) (then unreachable)))
        (data (i32.const 0x1000) "log")"#;
    let (loaded, mut vm) = start(body);
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.end(context).action, Action::Pause);
    assert_eq!(loaded.proxy.text(), "");
    let outcome = tick(&mut vm);
    assert!(!vm.is_dead(), "{:?}", loaded.traps.try_recv());
    assert_eq!(outcome.effects.len(), 1);
    assert_eq!((outcome.effects[0].context, &outcome.effects[0].action), (context, &Action::Continue));
    assert_eq!(loaded.proxy.text(), "log\n");
    assert_eq!(vm.end(context).action, Action::Continue, "a context that is gone is no error");
}

#[test]
fn the_effective_context_must_be_alive() {
    let body = r#"(func (export "proxy_on_tick") (param i32)
            (if (i32.ne (call $proxy_set_effective_context (i32.const 7)) (i32.const 2)) (then unreachable))
            (if (call $proxy_set_effective_context (i32.const 1)) (then unreachable))
            (if (call $proxy_set_effective_context (i32.const 2)) (then unreachable))
            (if (call $proxy_add_header_map_value (i32.const 0)
                (i32.const 0x1000) (i32.const 1) (i32.const 0x1000) (i32.const 1)) (then unreachable)))
        (data (i32.const 0x1000) "k")"#;
    let (_loaded, mut vm) = start(body);
    let request = Request::new(1, &[]);
    vm.create_context(request.boxed());
    tick(&mut vm);
    assert!(!vm.is_dead());
    assert!(request.maps.lock().unwrap().request.iter().any(|(name, _)| name == "k"));
}

#[test]
fn the_root_context_has_no_transaction() {
    let body = r#"(func (export "proxy_on_tick") (param i32)
            (if (i32.ne (call $proxy_get_header_map_size (i32.const 0) (i32.const 0)) (i32.const 2)) (then unreachable))
            (if (i32.ne (call $proxy_get_property (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4))
                (i32.const 1)) (then unreachable))
            (if (i32.ne (call $proxy_continue_stream (i32.const 0)) (i32.const 2)) (then unreachable)))"#;
    let (loaded, mut vm) = start(body);
    tick(&mut vm);
    assert!(!vm.is_dead(), "{:?}", loaded.traps.try_recv());
}

#[test]
fn exports_that_are_missing_are_not_called() {
    let (loaded, mut vm) = start("");
    assert!(!loaded.filter.wants_request_headers());
    assert!(!loaded.filter.wants_response_headers());
    assert!(!vm.has(Callback::RequestHeaders { end_of_stream: true }));
    let (context, outcome) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(outcome.action, Action::Continue);
    assert_eq!(vm.call(context, Callback::RequestHeaders { end_of_stream: true }).action, Action::Continue);
    assert_eq!(tick(&mut vm).action, Action::Continue);
    assert_eq!(vm.end(context).action, Action::Continue);
}

#[test]
fn a_command_module_may_exit_with_success() {
    for (code, good) in [(0, true), (3, false)] {
        let body = format!(
            r#"(func (export "_start") (call $proc_exit (i32.const {code})))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (i32.eqz (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 0))))"#
        );
        let loaded = load(&module(&body), "");
        let reason = loaded.filter.inactive_reason();
        assert_eq!(reason.is_none(), good, "{reason:?}");
        if !good {
            assert_eq!(reason, Some("_start: the guest called proc_exit(3)"));
        }
    }
}

#[test]
fn the_start_function_may_call_the_host() {
    let body = r#"(func $early (drop (call $proxy_log (i32.const 2) (i32.const 0x1000) (i32.const 5))))
        (start $early) (data (i32.const 0x1000) "early")"#;
    let loaded = load(&module(body), "  http: true\n");
    assert_eq!(loaded.proxy.text(), "early\nearly\n");
}
