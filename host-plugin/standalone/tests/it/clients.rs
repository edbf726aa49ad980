//! Clients that leave while their request is debugged, and those that stay.

use std::io::Write as _;

use wasmdbg_control::breakpoints::{Breakpoint, SetBreakpoints};
use wasmdbg_control::filters::ListFilters;
use wasmdbg_control::stop::{ReleaseCause, Resume, ResumeMode};
use wasmdbg_control::transactions::TransactionEnded;
use wasmdbg_control::{Client, Event, Events, StopId};

use crate::stage::{PASSING, PATIENCE, Stage, origin, pc, wait};

const STOPPING: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (i32.const 8001)) (i32.const 0))"#;

/// A debugger with a breakpoint in the request's callback.
fn debugger(stage: &Stage) -> (Client, Events) {
    let (client, events) = stage.attached();
    let module = client.call(ListFilters {}).unwrap().filters[0].module.expect("a module");
    let breakpoints = vec![Breakpoint { id: 1, pc: pc(STOPPING, 8001) }];
    client.call_within(SetBreakpoints { module, breakpoints }, PATIENCE).unwrap();
    (client, events)
}

fn stopped(events: &Events) -> StopId {
    wait(events, "a stop", |event| match event {
        Event::Stopped(stopped) => Some(stopped.stop),
        _ => None,
    })
}

fn ended(events: &Events) -> TransactionEnded {
    wait(events, "the end of a transaction", |event| match event {
        Event::TransactionEnded(ended) => Some(ended),
        _ => None,
    })
}

/// Nobody resumes it, and its deadline is minutes away.
#[test]
fn a_client_that_leaves_lets_its_stop_go() {
    let stage = Stage::new(STOPPING, "", true, None);
    let (_client, events) = debugger(&stage);
    let mut browser = stage.connect();
    write!(browser, "GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    stopped(&events);
    drop(browser);
    let cause = wait(&events, "a release", |event| match event {
        Event::Released(released) => Some(released.cause),
        _ => None,
    });
    assert_eq!(cause, ReleaseCause::ClientGone);
    let ended = ended(&events);
    assert!(ended.aborted, "{ended:?}");
    stage.wait_status("the end of the transaction", |status| status.transactions == 0);
}

#[test]
fn a_client_that_gets_its_response_has_not_left() {
    let stage = Stage::new(STOPPING, "", true, None);
    let (client, events) = debugger(&stage);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| stage.ask("GET / HTTP/1.1\r\nHost: here", ""));
        let stop = stopped(&events);
        client.call_within(Resume { stop, mode: ResumeMode::Continue }, PATIENCE).unwrap();
        assert_eq!(answer.join().unwrap(), 200);
    });
    let ended = ended(&events);
    assert_eq!((ended.status, ended.aborted), (Some(200), false));
}

#[test]
fn a_request_is_from_the_client_at_the_other_end() {
    let stage = Stage::new(STOPPING, "", true, None);
    let (_client, events) = stage.attached();
    let mut browser = stage.connect();
    stage.response(&mut browser, "GET / HTTP/1.1\r\nHost: here", "");
    let started = wait(&events, "a transaction", |event| match event {
        Event::TransactionStarted(started) => Some(started),
        _ => None,
    });
    assert_eq!(started.client, browser.local_addr().unwrap().to_string());
}

#[test]
fn a_response_that_is_cut_off_is_aborted() {
    let origin = origin("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
    let stage = Stage::new(PASSING, "", true, Some(origin));
    let (_client, events) = stage.attached();
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    let ended = ended(&events);
    assert_eq!((ended.status, ended.aborted), (Some(200), true));
}
