//! Pause, continue, local responses and close: what a callback means for its own transaction and for
//! others.

use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::{Action, Callback, Effect, LocalResponse, StreamType};

use crate::double::Request;
use crate::wat::{start, tick};

const REQUEST: Callback = Callback::RequestHeaders { end_of_stream: true };
const RESPONSE: Callback = Callback::ResponseHeaders { end_of_stream: true };

/// A filter that pauses each request, and on a tick does `act` for context 2 and then 3.
fn pausing(act: &str) -> String {
    format!(
        r#"(data (i32.const 0x1000) "body\01\00\00\00\01\00\00\00\01\00\00\00k\00v\00")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func $respond (result i32) (call $proxy_send_local_response (i32.const 418)
            (i32.const 0) (i32.const 0) (i32.const 0x1000) (i32.const 4)
            (i32.const 0x1004) (i32.const 16) (i32.const -1)))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $proxy_set_effective_context (i32.const 2)))
            {act}
            (drop (call $proxy_set_effective_context (i32.const 3)))
            {act})"#
    )
}

fn teapot() -> Action {
    Action::Respond(Box::new(LocalResponse {
        status: 418,
        details: vec![],
        body: b"body".to_vec(),
        headers: vec![(b"k".to_vec(), b"v".to_vec())],
    }))
}

fn effect(context: u32, action: Action) -> Effect {
    // What continues goes on in one direction; all else is for the whole transaction.
    let stream = (action == Action::Continue).then_some(StreamType::Request);
    Effect { context: ContextId(context), stream, action }
}

#[test]
fn a_tick_continues_parked_transactions() {
    let (loaded, mut vm) = start(&pausing("(drop (call $proxy_continue_stream (i32.const 0)))"));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    let (second, _) = vm.create_context(Request::new(2, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    assert_eq!(vm.call(second, REQUEST).action, Action::Pause);
    assert_eq!(loaded.filter.counters().snapshot().paused, 2);
    let outcome = tick(&mut vm);
    assert_eq!(outcome.effects, [effect(2, Action::Continue), effect(3, Action::Continue)]);
    assert_eq!(loaded.filter.counters().snapshot().paused, 0);
    assert_eq!(tick(&mut vm).effects, [], "what is not parked cannot be continued");
}

#[test]
fn the_direction_of_the_stream_counts() {
    let (_loaded, mut vm) = start(&pausing("(drop (call $proxy_continue_stream (i32.const 0)))"));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(first, RESPONSE).action, Action::Pause);
    assert_eq!(tick(&mut vm).effects, [], "the response is parked, not the request");
    let (_loaded, mut vm) = start(&pausing("(drop (call $proxy_continue_stream (i32.const 1)))"));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    assert_eq!(tick(&mut vm).effects, [], "the request is parked, not the response");
}

/// Bodies of both directions are on their way at once.
#[test]
fn directions_are_paused_and_continued_by_themselves() {
    let (loaded, mut vm) = start(&pausing("(drop (call $proxy_continue_stream (i32.const 1)))"));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    assert_eq!(vm.call(first, RESPONSE).action, Action::Pause);
    let paused = || loaded.filter.counters().snapshot().paused;
    assert_eq!(paused(), 1, "one transaction");
    let response = Effect { context: first, stream: Some(StreamType::Response), action: Action::Continue };
    assert_eq!(tick(&mut vm).effects, [response]);
    assert_eq!((tick(&mut vm).effects, paused()), (vec![], 1), "the request stays parked");
}

#[test]
fn an_answer_ends_the_pauses_of_both_directions() {
    let (loaded, mut vm) = start(&pausing("(drop (call $respond))"));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    assert_eq!(vm.call(first, RESPONSE).action, Action::Pause);
    assert_eq!(tick(&mut vm).effects, [effect(2, teapot())]);
    assert_eq!((tick(&mut vm).effects, loaded.filter.counters().snapshot().paused), (vec![], 0));
}

/// Its own callback of one direction lets the other one go on, and pauses.
#[test]
fn a_callback_continues_the_other_direction_of_its_transaction() {
    let body = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (call $proxy_continue_stream (i32.const 0)))
            (i32.const 1))"#;
    let (loaded, mut vm) = start(body);
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    let outcome = vm.call(first, RESPONSE);
    assert_eq!((outcome.action, outcome.effects), (Action::Pause, vec![effect(2, Action::Continue)]));
    assert_eq!(loaded.filter.counters().snapshot().paused, 1);
}

#[test]
fn a_tick_answers_and_closes_parked_transactions() {
    for (act, action) in [
        ("(drop (call $respond))", teapot()),
        ("(drop (call $proxy_close_stream (i32.const 1)))", Action::Close),
    ] {
        let (_loaded, mut vm) = start(&pausing(act));
        let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
        let (second, _) = vm.create_context(Request::new(2, &[]).boxed());
        assert_eq!(vm.call(second, REQUEST).action, Action::Pause);
        assert_eq!(tick(&mut vm).effects, [effect(3, action)], "the first is not parked");
        vm.end(first);
    }
}

#[test]
fn a_transaction_on_its_way_cannot_be_answered() {
    let (loaded, mut vm) = start(&pausing("(if (i32.ne (call $respond) (i32.const 2)) (then unreachable))"));
    vm.create_context(Request::new(1, &[]).boxed());
    vm.create_context(Request::new(2, &[]).boxed());
    tick(&mut vm);
    assert!(!vm.is_dead(), "{:?}", loaded.traps.try_recv());
}

/// What a callback makes of its own transaction.
fn own(callback: &str, act: &str, result: i32) -> Action {
    let result = if callback == "proxy_on_context_create" {
        ("(param i32 i32)", String::new())
    } else {
        ("(param i32 i32 i32) (result i32)", format!("(i32.const {result})"))
    };
    let body = format!(
        r#"(data (i32.const 0x1000) "body\01\00\00\00\01\00\00\00\01\00\00\00k\00v\00")
        (func $respond (call $proxy_send_local_response (i32.const 418)
            (i32.const 0) (i32.const 0) (i32.const 0x1000) (i32.const 4)
            (i32.const 0x1004) (i32.const 16) (i32.const -1)) drop)
        (func $second (call $proxy_send_local_response (i32.const 500)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const -1)) drop)
        (func $continue (param i32) (drop (call $proxy_continue_stream (local.get 0))))
        (func $close (drop (call $proxy_close_stream (i32.const 0))))
        (func (export "{callback}") {} {act} {})"#,
        result.0, result.1
    );
    let (_loaded, mut vm) = start(&body);
    let (context, created) = vm.create_context(Request::new(1, &[]).boxed());
    match callback {
        "proxy_on_context_create" => created.action,
        "proxy_on_request_headers" => vm.call(context, REQUEST).action,
        _ => vm.call(context, RESPONSE).action,
    }
}

#[test]
fn a_local_response_from_each_callback_that_may() {
    for callback in ["proxy_on_context_create", "proxy_on_request_headers", "proxy_on_response_headers"] {
        for result in [0, 1] {
            let act = if callback == "proxy_on_context_create" {
                "(if (i32.eq (local.get 1) (i32.const 1)) (then (call $respond)))"
            } else {
                "(call $respond)"
            };
            assert_eq!(own(callback, act, result), teapot(), "{callback} returning {result}");
        }
    }
}

#[test]
fn what_a_callback_decides() {
    let callback = "proxy_on_request_headers";
    assert_eq!(own(callback, "", 0), Action::Continue);
    assert_eq!(own(callback, "", 1), Action::Pause);
    assert_eq!(own(callback, "", 2), Action::Continue, "continue and end the stream");
    assert_eq!(own(callback, "", 4), Action::Pause, "stop all iteration");
    assert_eq!(own(callback, "(call $continue (i32.const 0))", 1), Action::Continue);
    assert_eq!(own(callback, "(call $close)", 0), Action::Close);
    assert_eq!(own(callback, "(call $respond) (call $second)", 1), teapot(), "the first response counts");
    assert_eq!(own(callback, "(call $continue (i32.const 0)) (call $respond)", 1), teapot());
    assert_eq!(own(callback, "(call $respond) (call $continue (i32.const 0))", 1), teapot());
}

#[test]
fn responses_that_are_none() {
    let respond = |status: u32, headers: u32| {
        format!(
            "call $proxy_send_local_response (i32.const {status}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x1000) (i32.const {headers}) (i32.const -1)"
        )
    };
    let calls = [respond(199, 0), respond(600, 0), respond(200, 3), respond(200, 0x7fff_ffff)];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = crate::wat::probe(&[], "", &calls);
    assert_eq!(probe.statuses, [2, 2, 4, 6]);
    assert_eq!(probe.outcome.action, Action::Continue);
}

#[test]
fn streams_that_are_none() {
    let probe = crate::wat::probe(
        &[],
        "",
        &[
            "call $proxy_continue_stream (i32.const 2)",
            "call $proxy_continue_stream (i32.const 4)",
            "call $proxy_close_stream (i32.const 3)",
            "call $proxy_close_stream (i32.const 4)",
        ],
    );
    assert_eq!(probe.statuses, [12, 2, 12, 2]);
    assert_eq!(probe.outcome.action, Action::Continue);
}

#[test]
fn one_callback_continues_another_transaction() {
    let body = r#"
        (func (export "proxy_on_request_headers") (param $context i32) (param i32 i32) (result i32)
            (if (i32.eq (local.get $context) (i32.const 2)) (then (return (i32.const 1))))
            (drop (call $proxy_set_effective_context (i32.const 2)))
            (drop (call $proxy_continue_stream (i32.const 0)))
            (i32.const 1))"#;
    let (_loaded, mut vm) = start(body);
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    let (second, _) = vm.create_context(Request::new(2, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    let outcome = vm.call(second, REQUEST);
    assert_eq!(outcome.action, Action::Pause, "the second stays parked itself");
    assert_eq!(outcome.effects, [effect(2, Action::Continue)]);
}

#[test]
fn a_client_that_goes_while_parked_frees_its_context() {
    let (loaded, mut vm) = start(&pausing("(drop (call $proxy_continue_stream (i32.const 0)))"));
    let (first, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(first, REQUEST).action, Action::Pause);
    assert_eq!(vm.end(first).action, Action::Continue);
    assert_eq!(loaded.filter.counters().snapshot().paused, 0);
    assert_eq!(tick(&mut vm).effects, []);
}
