//! Callbacks that die: of an instruction, of a budget, of a panic in a host call. Their virtual machine
//! goes, everybody else on it is told, and the next one serves.

use std::time::{Duration, Instant};

use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::{Action, Callback, Effect, FastVm, Settings, TrapKind, TrapReport};

use crate::debug_stage::{Stage, filter as debug_filter, wait_for};
use crate::double::{Loaded, Request};
use crate::wat::{load_with, module, tick};

const REQUEST: Callback = Callback::RequestHeaders { end_of_stream: true };
const RESPONSE: Callback = Callback::ResponseHeaders { end_of_stream: true };

/// Runs `act` in `proxy_on_request_headers` under small limits.
fn dies(act: &str) -> (Loaded, FastVm, TrapReport) {
    let body = format!(
        r#"(func $act {act})
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $act) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#
    );
    let yaml = "limits: {cpu_per_callback: 50 ms, memory: 1 MB}";
    let (settings, warnings) = Settings::parse(yaml, "settings".as_ref()).unwrap();
    assert!(warnings.is_empty());
    let loaded = load_with(&module(&body), "", settings);
    assert_eq!(loaded.filter.inactive_reason(), None);
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = Request::new(17, &[]);
    let (context, _) = vm.create_context(request.boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Failed);
    assert!(vm.is_dead());
    assert_eq!(vm.call(context, RESPONSE).action, Action::Failed, "no further callback");
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!(report.callback, "proxy_on_request_headers");
    assert_eq!(report.transaction.map(|id| id.0), Some(17));
    assert_eq!(report.filter_name, "probe");
    assert_eq!(loaded.filter.counters().snapshot().traps, 1);
    let next = loaded.filter.take_vm();
    assert!(next.is_some(), "the next one is ready");
    (loaded, vm, report)
}

#[test]
fn an_instruction_of_the_guest() {
    let (loaded, _vm, report) = dies("unreachable");
    assert_eq!(report.kind, TrapKind::Guest);
    assert_eq!(report.message, "wasm trap: wasm `unreachable` instruction executed");
    assert_eq!(report.frames.len(), 2, "{report:?}");
    let bytes = loaded.filter.module_bytes();
    // The innermost pc is the very opcode; the outer one lies in the call.
    let pc = report.frames[0].pc.unwrap().0 as usize;
    assert_eq!(bytes[pc], 0x00, "unreachable is opcode 0");
    let pc = report.frames[1].pc.unwrap().0 as usize;
    assert_eq!(bytes[pc], 0x10, "call is opcode 0x10");
    assert_eq!(report.frames[0].module, loaded.filter.module());
    let shown = report.to_string();
    assert!(shown.contains("proxy_on_request_headers: wasm trap") && shown.contains(" at 0x"), "{shown}");
}

#[test]
fn an_endless_loop() {
    let started = Instant::now();
    let (_loaded, _vm, report) = dies("(loop (br 0))");
    assert_eq!(report.kind, TrapKind::Cpu);
    assert_eq!(report.message, "it used more than its 50 ms of CPU time");
    assert!(!report.frames.is_empty());
    // Two virtual machines and a module are made in that time too; an endless loop would never end.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_deep_recursion() {
    let (_loaded, _vm, report) = dies("(call $act)");
    assert_eq!(report.kind, TrapKind::Stack);
    assert_eq!(report.message, "wasm trap: call stack exhausted");
}

#[test]
fn memory_without_end() {
    let (_loaded, _vm, report) =
        dies("(loop (br_if 0 (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable");
    assert_eq!(report.kind, TrapKind::Memory);
    assert!(
        report.message.ends_with("after it was refused more than its 1 MB of memory"),
        "{}",
        report.message
    );
}

/// A module whose `act` grows nine memories and nine tables; how many of each it could grow is in the
/// request's property `grown`.
fn grower() -> String {
    let mut body = String::new();
    for index in 1..10 {
        body += &format!("(memory $m{index} 0) (table $t{index} 0 funcref)\n");
    }
    body += "(func $act (local $memories i32) (local $tables i32)\n";
    for index in 1..10 {
        body += &format!(
            "(if (i32.ge_s (memory.grow $m{index} (i32.const 4)) (i32.const 0))
                (then (local.set $memories (i32.add (local.get $memories) (i32.const 1)))))
            (if (i32.ge_s (table.grow $t{index} (ref.null func) (i32.const 32768)) (i32.const 0))
                (then (local.set $tables (i32.add (local.get $tables) (i32.const 1)))))\n"
        );
    }
    body + r#"(i32.store8 (i32.const 0x1100) (local.get $memories))
        (i32.store8 (i32.const 0x1101) (local.get $tables))
        (drop (call $proxy_set_property (i32.const 0x1000) (i32.const 5) (i32.const 0x1100) (i32.const 2))))
        (data (i32.const 0x1000) "grown")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $act) (i32.const 0))
        (func (export "proxy_on_tick") (param i32) unreachable)"#
}

#[test]
fn memories_and_tables_share_one_limit() {
    // 128 KB of the first memory, and each growth takes 256 KB: seven fit into 2 MB.
    let (settings, _) = Settings::parse("limits: {memory: 2 MB}", "settings".as_ref()).unwrap();
    let loaded = load_with(&module(&grower()), "", settings);
    assert_eq!(loaded.filter.inactive_reason(), None);
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = Request::new(1, &[]);
    let (context, _) = vm.create_context(request.boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Continue, "{:?}", loaded.traps.try_recv());
    assert_eq!(request.maps.lock().unwrap().properties, [("grown".to_string(), vec![4, 3])]);
    tick(&mut vm);
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!(report.kind, TrapKind::Memory);
    assert!(report.message.ends_with("more than its 2 MB of memory"), "{}", report.message);
}

#[test]
fn the_first_sizes_of_memories_and_tables_count() {
    let (settings, _) = Settings::parse("limits: {memory: 1 MB}", "settings".as_ref()).unwrap();
    for further in ["(memory 10) (memory 10)", "(table 100000 funcref) (table 100000 funcref)"] {
        let loaded = load_with(&module(further), "", settings.clone());
        let reason = loaded.filter.inactive_reason().unwrap_or("it runs");
        assert!(reason.contains("could not be instantiated") && reason.contains("1 MB"), "{reason}");
    }
}

#[test]
fn an_exit() {
    let (_loaded, _vm, report) = dies("(call $proc_exit (i32.const 3))");
    assert_eq!(report.kind, TrapKind::Exit);
    assert_eq!(report.message, "the guest called proc_exit(3)");
}

#[test]
fn a_panic_in_a_host_call() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $proxy_get_header_map_size (i32.const 0) (i32.const 0)))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_get_header_map_size (i32.const 0) (i32.const 0))))"#;
    let (loaded, mut vm) = crate::wat::start(body);
    let request = Request::new(1, &[]);
    let (context, _) = vm.create_context(request.boxed());
    request.maps.lock().unwrap().poisoned = true;
    let outcome = tick(&mut vm);
    assert_eq!(outcome.action, Action::Failed);
    assert_eq!(outcome.effects, [Effect { context, stream: None, action: Action::Failed }]);
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!(report.kind, TrapKind::Panic);
    assert!(report.message.ends_with("the transaction is poisoned"), "{}", report.message);
    assert_eq!(report.callback, "proxy_on_tick");
    assert_eq!(report.transaction, None);
}

const PAUSING: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#;

#[test]
fn a_panic_beside_the_guest() {
    let (loaded, mut vm) = crate::wat::start(PAUSING);
    let (other, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(other, REQUEST).action, Action::Pause);
    let request = Request::new(2, &[]);
    let (context, _) = vm.create_context(request.boxed());
    // The number of its fields is asked for before the guest is entered.
    request.maps.lock().unwrap().poisoned = true;
    let outcome = vm.call(context, REQUEST);
    assert_eq!(outcome.action, Action::Failed);
    assert_eq!(outcome.effects, [Effect { context: other, stream: None, action: Action::Failed }]);
    assert!(vm.is_dead());
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!((report.kind, report.callback), (TrapKind::Panic, "proxy_on_request_headers"));
    assert_eq!(report.transaction.map(|id| id.0), Some(2));
    assert!(report.message.ends_with("the transaction is poisoned"), "{}", report.message);
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.traps, counters.contexts_lost, counters.paused), (1, 1, 0));
}

#[test]
fn a_panic_of_the_proxy_while_it_has_a_virtual_machine() {
    let (loaded, mut vm) = crate::wat::start(PAUSING);
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Pause);
    assert_eq!(vm.retire(), [Effect { context, stream: None, action: Action::Failed }]);
    assert!(vm.is_dead());
    assert_eq!(vm.retire(), [], "once");
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.traps, counters.contexts_lost, counters.paused), (1, 1, 0));
}

#[test]
fn a_panic_beside_the_guest_in_the_debug_lane() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let stage = Stage::new(&debug_filter(body), "");
    let _front = stage.attached();
    let flow = stage.try_request(1, &[]).expect("the transaction enters the debug lane");
    flow.request.maps.lock().unwrap().poisoned = true;
    flow.call(REQUEST);
    assert_eq!(flow.action(), Action::Failed);
    flow.end();
    // The slot has a new virtual machine.
    let next = wait_for("a slot", || stage.try_request(2, &[]));
    next.call(REQUEST);
    assert_eq!(next.action(), Action::Continue);
    next.end();
    wait_for("the line in the log", || stage.log().contains("the transaction is poisoned").then_some(()));
    assert!(!stage.log().contains("slot's thread panicked"), "{}", stage.log());
    assert_eq!(stage.filters[0].counters().snapshot().traps, 1);
}

/// A context that ends in the callback of another one, and traps then.
#[test]
fn a_trap_in_the_end_of_another_transaction() {
    let body = r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_log") (param i32) unreachable)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_done))
            (i32.const 0))"#;
    let (loaded, mut vm) = crate::wat::start(body);
    let (over, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.end(over).action, Action::Pause, "it waits for proxy_done");
    let (context, _) = vm.create_context(Request::new(2, &[]).boxed());
    let outcome = vm.call(context, REQUEST);
    assert_eq!(outcome.action, Action::Failed);
    assert_eq!(outcome.effects, [Effect { context: over, stream: None, action: Action::Failed }]);
    assert_eq!(loaded.traps.try_recv().unwrap().transaction.map(|id| id.0), Some(1));
}

#[test]
fn one_trap_among_many() {
    let body = r#"(func (export "proxy_on_request_headers") (param $context i32) (param i32 i32) (result i32)
            (if (i32.eq (local.get $context) (i32.const 20)) (then unreachable))
            (i32.const 1))"#;
    let (loaded, mut vm) = crate::wat::start(body);
    let contexts: Vec<ContextId> =
        (0..32).map(|number| vm.create_context(Request::new(number, &[]).boxed()).0).collect();
    let mut outcome = None;
    for context in &contexts {
        // Half of them are parked, half are under way in the proxy.
        if context.0 % 2 == 0 {
            let result = vm.call(*context, REQUEST);
            if result.action == Action::Failed {
                outcome = Some(result);
                break;
            }
            assert_eq!(result.action, Action::Pause);
        }
    }
    let outcome = outcome.unwrap();
    let others: Vec<Effect> = contexts
        .iter()
        .filter(|context| context.0 != 20)
        .map(|context| Effect { context: *context, stream: None, action: Action::Failed })
        .collect();
    assert_eq!(others.len(), 31);
    assert_eq!(outcome.effects, others);
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.traps, counters.contexts_lost, counters.paused), (1, 31, 0));
    for context in contexts {
        assert_eq!(vm.call(context, RESPONSE).action, Action::Failed);
        assert_eq!(vm.end(context).action, Action::Continue, "nothing is left to end");
    }
    assert_eq!(loaded.filter.counters().snapshot().traps, 1);
    drop(vm);
    assert!(loaded.filter.take_vm().is_some());
}

#[test]
fn a_trap_at_the_end_of_a_transaction() {
    for callback in ["proxy_on_log", "proxy_on_delete"] {
        let (loaded, mut vm) =
            crate::wat::start(&format!(r#"(func (export "{callback}") (param i32) unreachable)"#));
        let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
        let (second, _) = vm.create_context(Request::new(2, &[]).boxed());
        let outcome = vm.end(first);
        assert_eq!(outcome.action, Action::Failed);
        assert_eq!(outcome.effects, [Effect { context: second, stream: None, action: Action::Failed }]);
        assert_eq!(loaded.traps.try_recv().unwrap().callback, callback);
    }
}

#[test]
fn what_a_dying_callback_did_to_others_does_not_count() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_continue_stream (i32.const 0)))
            unreachable)"#;
    let (_loaded, mut vm) = crate::wat::start(body);
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    vm.call(context, REQUEST);
    assert_eq!(tick(&mut vm).effects, [Effect { context, stream: None, action: Action::Failed }]);
}

#[test]
fn time_that_the_thread_does_not_run_does_not_count() {
    // The host function sleeps three times as long as the budget: the guest is not to blame.
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $i i32)
        (drop (call $proxy_get_property (i32.const 0x1000) (i32.const 5) (i32.const 0) (i32.const 4)))
        (loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000))))
        (i32.const 0))
        (data (i32.const 0x1000) "sleep")"#;
    let (settings, _) = Settings::parse("limits: {cpu_per_callback: 50ms}", "settings".as_ref()).unwrap();
    let loaded = load_with(&module(body), "", settings);
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = Request::new(1, &[]);
    request.maps.lock().unwrap().sleep = Duration::from_millis(150);
    let (context, _) = vm.create_context(request.boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Continue, "{:?}", loaded.traps.try_recv());
}

#[test]
fn reports_that_nobody_takes_are_logged() {
    let loaded = crate::wat::load(
        &module(
            r#"(func (export "proxy_on_context_create") (param i32 i32)
            (if (i32.eq (local.get 1) (i32.const 1)) (then unreachable)))"#,
        ),
        "",
    );
    let Loaded { proxy, filter, traps, .. } = loaded;
    drop(traps);
    let mut vm = filter.take_vm().unwrap();
    let (_, outcome) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(outcome.action, Action::Failed);
    let text = proxy.text();
    assert!(text.contains("proxy_on_context_create: wasm trap") && text.contains(" at 0x"), "{text}");
}
