//! How slots start: modules that end their start by an exit, threads that cannot be made, slots that are held
//! back, and what becomes of those that never begin.

use wasmdbg_control::Event;
use wasmdbg_control::session::Attach;
use wasmdbg_control::stop::{ResumeMode, StopReason};
use wasmdbg_proxy_wasm::Action;

use crate::debug_stage::{Stage, attach, filter};

/// [`filter`] with `$exit`.
fn exiting(functions: &str) -> String {
    let import = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    filter(functions).replacen("(module", import, 1)
}

/// At the first slot, at the next one, and at the new start after a trap.
#[test]
fn an_exit_with_success_ends_a_start_and_is_no_trap() {
    for exits in [
        r#"(func (export "_start") (call $exit (i32.const 0)))"#,
        r#"(func (export "_initialize"))
        (func (export "main") (param i32 i32) (result i32) (call $exit (i32.const 0)) (i32.const 1))"#,
    ] {
        let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if (i32.eqz (local.get 1)) (then (call $exit (i32.const 0))))
                (i32.eq (local.get 1) (i32.const 5)))"#;
        let stage = Stage::new(&exiting(&format!("{exits} {body}")), "");
        let front = stage.client();
        // It would not be answered while a slot stands.
        front.attach(Attach { all: true, ..attach() }).unwrap();
        let first = stage.try_request(1, &[("more", "1")]).unwrap();
        let second = stage.request(2);
        assert_eq!(second.action(), Action::Continue);
        second.end();
        // In a callback it is a death as any other.
        let third = stage.try_request(3, &[]).unwrap();
        third.request.maps.lock().unwrap().request.clear();
        third.call(wasmdbg_proxy_wasm::Callback::RequestHeaders { end_of_stream: true });
        let stop = front.stopped();
        assert_eq!(stop.callback, "proxy_on_request_headers");
        let message = String::from("the guest called proc_exit(0)");
        assert_eq!(stop.reason, StopReason::Trap { message });
        front.resume(stop.stop, ResumeMode::Continue);
        assert_eq!(third.action(), Action::Failed);
        third.end();
        first.end();
        let fourth = stage.request(4);
        assert_eq!(fourth.action(), Action::Continue);
        fourth.end();
        let stops = front.events.try_iter().filter(|event| matches!(event, Event::Stopped(_)));
        assert_eq!(stops.count(), 0, "{exits}");
    }
}
