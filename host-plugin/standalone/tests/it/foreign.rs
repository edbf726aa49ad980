//! Foreign functions that a file has called between its requests.

use std::thread;

use wasmdbg_control::breakpoints::{Breakpoint, SetBreakpoints};
use wasmdbg_control::stop::{Context, Resume, ResumeMode, StopReason};
use wasmdbg_control::{ContextId, Event};
use wasmdbg_standalone::{Happening, request_file};

use crate::stage::{PATIENCE, Stage, pc, wait};

/// Logs its arguments; its foreign function 8 traps. Its requests log the digit 0.
const FILTER: &str = r#"
    (func (export "proxy_on_foreign_function") (param $context i32) (param $function i32) (param $size i32)
        (if (i32.eq (local.get $function) (i32.const 8)) (then unreachable))
        (drop (i32.const 5000))
        (if (call $buffer (i32.const 8) (i32.const 0) (local.get $size) (i32.const 64) (i32.const 68))
            (then unreachable))
        (drop (call $log (i32.const 2) (i32.load (i32.const 64)) (i32.load (i32.const 68)))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $digit (i32.const 0)) (i32.const 0))"#;

const FILE: &str = "GET /one\n\n### between\nforeign: 7\n\nhello\nfilter\n\n###\nGET /two\n";

/// All that is told but logs, as people read it.
fn told(stage: &Stage) -> Vec<String> {
    let told = stage.told().into_iter().filter(|happening| !matches!(happening, Happening::Log { .. }));
    told.map(|happening| happening.to_string()).collect()
}

#[test]
fn a_file_calls_the_filter_between_its_requests() {
    let stage = Stage::new(FILTER, "", true, None);
    stage.play(FILE);
    assert_eq!(stage.lines(), ["0", "hello", "filter", "0"]);
    assert_eq!(told(&stage), ["  client: 200", "foreign function 7: returned", "  client: 200"]);
}

#[test]
fn a_foreign_function_stops_in_the_debugger() {
    let stage = Stage::new(FILTER, "", true, None);
    let (client, events) = stage.attached();
    let module = stage.wait_status("a slot", |status| !status.slots.is_empty()).filters[0].module.unwrap();
    let breakpoints = vec![Breakpoint { id: 1, pc: pc(FILTER, 5000) }];
    client.call_within(SetBreakpoints { module, breakpoints }, PATIENCE).unwrap();
    let stopped = || {
        wait(&events, "a stop", |event| match event {
            Event::Stopped(stopped) => Some(stopped),
            _ => None,
        })
    };
    thread::scope(|scope| {
        scope.spawn(|| stage.play(FILE));
        let stop = stopped();
        assert_eq!(stop.reason, StopReason::Breakpoint { ids: vec![1] });
        assert_eq!(
            (stop.context, stop.callback.as_str()),
            (Context::Root { id: ContextId(1) }, "proxy_on_foreign_function")
        );
        assert_eq!(stage.lines().last().map(String::as_str), Some("0"), "it has not read its arguments");
        let resume = Resume { stop: stop.stop, mode: ResumeMode::Continue };
        client.call_within(resume, PATIENCE).unwrap();
    });
    assert_eq!(told(&stage), ["  client: 200", "foreign function 7: returned", "  client: 200"]);
    assert!(stage.lines().iter().any(|line| line == "filter"), "{:?}", stage.lines());
}

#[test]
fn a_filter_that_dies_of_a_foreign_function_serves_the_next_request_anew() {
    let stage = Stage::new(FILTER, "", false, None);
    stage.play("foreign: 8\n###\nGET /\n");
    assert_eq!(told(&stage), ["foreign function 8: failed", "  client: 200"]);
    let status = stage.wait_status("the trap", |status| status.filters[0].counters.traps == 1);
    assert_eq!(status.filters[0].counters.contexts, 1);
}

#[test]
fn a_filter_without_foreign_functions_is_not_called() {
    let stage = Stage::new("", "", true, None);
    stage.play("foreign: 7\n");
    let absent = "foreign function 7: the filter does not have it, or its capabilities forbid it";
    assert_eq!(told(&stage), [absent]);
    assert!(request_file::parse("foreign: seven\n").is_err());
}

/// The one machine of a service is with a thread of the port.
#[test]
fn a_service_that_is_on_another_thread_is_not_called_and_says_so() {
    let stage =
        Stage::new(r#"(func (export "proxy_on_foreign_function") (param i32 i32 i32))"#, "", true, None);
    stage.wait_status("its machine", |status| status.filters[0].counters.vms == 1);
    stage.play("foreign: 7\n");
    assert_eq!(told(&stage), ["foreign function 7: failed"]);
    assert!(stage.lines().iter().any(|line| line.contains("that of a service")), "{:?}", stage.lines());
}
