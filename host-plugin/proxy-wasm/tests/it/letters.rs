//! What reaches a root context from outside of its transactions, in either lane.

use std::sync::mpsc;

use wasmdbg_control::session::{Attach, Detach};
use wasmdbg_control::stop::{CallbackOutcome, Context, ResumeMode, StopReason};
use wasmdbg_control::{ContextId, Event, FilterId};
use wasmdbg_proxy_wasm::{Action, Callback, DebugRoot, Effect, Letter};

use crate::debug_stage::{PATIENCE, Stage, attach, filter, wait_for};
use crate::double::Request;
use crate::wat::{deliver, load};

/// Its ticks log, or trap while the log level is critical; its requests can be stopped.
fn ticking() -> String {
    filter(
        r#"(func (export "proxy_on_tick") (param i32)
            (drop (call $level (i32.const 0)))
            (if (i32.eq (i32.load (i32.const 0)) (i32.const 5)) (then unreachable))
            (drop (call $log (i32.const 3) (i32.const 21) (i32.const 4))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 8000))
            (i32.const 0))"#,
    )
}

fn root(stage: &Stage) -> DebugRoot {
    stage.lane.root(FilterId(0)).expect("somebody debugs the filter")
}

/// Waits for what has become of the letter.
fn post(root: DebugRoot, letter: Letter) -> Action {
    let (sender, outcome) = mpsc::channel();
    root.post(letter, Box::new(move |outcome| _ = sender.send(outcome.action)));
    outcome.recv_timeout(PATIENCE).expect("an answer")
}

#[test]
fn a_letter_goes_to_a_slot_that_serves_nobody() {
    let stage = Stage::with(&[("debugged", &ticking()), ("other", &ticking())], "");
    assert!(stage.lane.root(FilterId(0)).is_none(), "nobody is attached");
    let front = stage.client();
    front.attach(Attach { filters: vec!["debugged".into()], all: true, ..attach() }).unwrap();
    assert!(stage.lane.root(FilterId(1)).is_none(), "nobody debugs this one");
    front.breakpoints(stage.module(), &[stage.pc(8000)]);
    let stopped = stage.request(1);
    let stop = front.stopped();
    let served = stage.request(2);
    front.resume(front.stopped().stop, ResumeMode::Continue);
    served.action();
    served.end();
    assert_eq!(post(root(&stage), Letter::Tick), Action::Continue);
    assert_eq!(stage.log().matches("text\n").count(), 1, "{}", stage.log());
    assert!(stopped.is_held(), "the other slot has nothing to do with it");
    front.resume(stop.stop, ResumeMode::Continue);
    stopped.action();
    stopped.end();
}

#[test]
fn a_letter_that_the_filter_dies_of_has_failed_and_the_next_one_has_a_new_machine() {
    let stage = Stage::new(&ticking(), "");
    let front = stage.attached();
    front.wait_status("a slot", |status| status.slots.len() == 1);
    stage.host.quiet.store(true, std::sync::atomic::Ordering::SeqCst);
    let (sender, outcome) = mpsc::channel();
    root(&stage).post(Letter::Tick, Box::new(move |outcome| _ = sender.send(outcome.action)));
    // Nobody asked for a stop there: it is shown because the session debugs the filter.
    front.resume(front.stopped().stop, ResumeMode::Continue);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Action::Failed));
    let ended = front.wait("the end of the tick", |event| match event {
        Event::CallbackEnded(ended) if ended.callback == "proxy_on_tick" => Some(ended.outcome),
        _ => None,
    });
    assert!(matches!(ended, CallbackOutcome::Trapped { .. }), "{ended:?}");
    stage.host.quiet.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(post(root(&stage), Letter::Tick), Action::Continue);
}

#[test]
fn a_letter_to_a_slot_that_has_gone_has_failed() {
    let stage = Stage::new(&ticking(), "");
    let front = stage.attached();
    let root = root(&stage);
    front.client.call(Detach {}).unwrap();
    wait_for("no slot", || (stage.threads() == 0).then_some(()));
    assert_eq!(post(root, Letter::Tick), Action::Failed);
}

/// Logs with what status it can read its arguments, and them. Its foreign function 8 traps, and 9 lets context 2 end.
const FOREIGN: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_done" (func $done (result i32)))
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func $say (result i32) (local $status i32)
        (i64.store (i32.const 0) (i64.const 0))
        (local.set $status (call $get (i32.const 8) (i32.const 0) (i32.const 100) (i32.const 0) (i32.const 4)))
        (i32.store8 (i32.const 16) (i32.add (i32.const 0x30) (local.get $status)))
        (drop (call $log (i32.const 2) (i32.const 16) (i32.const 1)))
        (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
        (i32.load (i32.const 4)))
    (func (export "proxy_on_foreign_function") (param $context i32) (param $function i32) (param $size i32)
        (if (i32.ne (local.get $context) (i32.const 1)) (then unreachable))
        (if (i32.eq (local.get $function) (i32.const 8)) (then unreachable))
        (drop (i32.const 8000))
        (if (i32.ne (call $say) (local.get $size)) (then unreachable))
        (if (i32.ne (call $set (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 2))
            (then unreachable))
        (if (i32.eq (local.get $function) (i32.const 9)) (then
            (drop (call $effective (i32.const 2)))
            (drop (call $done)))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (drop (call $say)) (i32.const 0))
    (func (export "proxy_on_tick") (param i32) (drop (call $say)))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
    (func (export "proxy_on_log") (param i32) (drop (call $say))))"#;

fn foreign(function: u32, arguments: &[u8]) -> Letter {
    Letter::ForeignFunction { function, arguments: arguments.to_vec() }
}

#[test]
fn a_foreign_function_has_its_arguments_while_it_runs() {
    let loaded = load(&wat::parse_str(FOREIGN).unwrap(), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    assert_eq!(loaded.proxy.text(), "", "it is called: no word of a callback that never is");
    let mut vm = loaded.filter.take_vm().unwrap();
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let request = Callback::RequestHeaders { end_of_stream: true };
    vm.call(context, request);
    deliver(&mut vm, foreign(7, b"hello"));
    vm.call(context, request);
    deliver(&mut vm, foreign(7, b""));
    deliver(&mut vm, Letter::Tick);
    assert_eq!(loaded.proxy.text(), "1\n0\nhello\n1\n0\n1\n", "NOT_FOUND in other callbacks");
    // What follows from it is another callback.
    assert_eq!(vm.end(context).action, Action::Pause);
    let outcome = deliver(&mut vm, foreign(9, b"end"));
    assert_eq!(outcome.effects, [Effect { context, stream: None, action: Action::Continue }]);
    assert!(loaded.proxy.text().ends_with("0\nend\n1\n"), "{}", loaded.proxy.text());
    assert!(loaded.traps.try_recv().is_err());
    // Its trap is the filter's.
    assert_eq!(deliver(&mut vm, foreign(8, b"")).action, Action::Failed);
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!((report.callback, report.transaction), ("proxy_on_foreign_function", None));
    assert_eq!(loaded.filter.counters().snapshot().traps, 1);
}

#[test]
fn a_foreign_function_is_stopped_in_and_dies_in_the_debug_lane() {
    let stage = Stage::new(FOREIGN, "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8000)]);
    let flow = stage.request(1);
    flow.action();
    let (sender, outcome) = mpsc::channel();
    root(&stage).post(foreign(7, b"hello"), Box::new(move |outcome| _ = sender.send(outcome.action)));
    let stop = front.stopped();
    assert_eq!(stop.context, Context::Root { id: ContextId(1) });
    assert_eq!((stop.callback.as_str(), stop.filter), ("proxy_on_foreign_function", FilterId(0)));
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Action::Continue));
    let log = stage.log();
    let said: Vec<&str> = log.lines().filter(|line| !line.starts_with("audit: ")).collect();
    assert_eq!(said, ["1", "0", "hello"]);
    let (sender, outcome) = mpsc::channel();
    root(&stage).post(foreign(8, b""), Box::new(move |outcome| _ = sender.send(outcome.action)));
    let stop = front.stopped();
    assert!(matches!(stop.reason, StopReason::Trap { .. }), "{:?}", stop.reason);
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Action::Failed));
    assert_eq!(flow.effect(), Action::Failed, "its context is gone with the machine");
    flow.end();
}

#[test]
fn a_capability_can_forbid_foreign_functions() {
    let yaml = "  capability_restriction_config: {allowed_capabilities: [proxy_log, proxy_on_log]}\n";
    let loaded = load(&wat::parse_str(FOREIGN).unwrap(), yaml);
    let mut vm = loaded.filter.take_vm().unwrap();
    assert_eq!(deliver(&mut vm, foreign(8, b"")).action, Action::Continue);
    assert!(!vm.is_dead(), "it was not called");
}
