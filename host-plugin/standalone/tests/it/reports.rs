//! What is told of requests and callbacks to whoever runs the host.

use std::net::TcpListener;

use wasmdbg_standalone::Happening;

use crate::messages::{OK, answers, replaces};
use crate::stage::{Origin, PASSING, Stage};

/// As people read it.
fn shown(told: &[Happening]) -> Vec<String> {
    told.iter().map(ToString::to_string).collect()
}

/// With the lines of one request put together.
fn played(stage: &Stage, requests: &str) -> Vec<String> {
    stage.tell_callbacks();
    stage.play(requests);
    shown(&stage.told())
}

#[test]
fn a_request_is_told_from_its_start_to_its_end() {
    let origin = Origin::start(|_, _| Some(OK.into()));
    let filter = format!(
        "{} {}",
        replaces("proxy_on_request_headers", 0, &[("x-added", "1"), ("token", "new")]),
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    );
    let stage = Stage::new(&filter, "", true, Some(origin.address));
    assert_eq!(
        played(&stage, "GET /one?a\ntoken: old\ntoken: older\n\n###\nPOST /two\n"),
        [
            "#1 GET /one?a",
            "  proxy_on_request_headers: Continue\n    request ~ token: old,older -> new\n    request + x-added: 1",
            "  upstream: 200",
            "  proxy_on_response_headers: Continue",
            "  client: 200",
            "#2 POST /two",
            "  proxy_on_request_headers: Continue\n    request + x-added: 1\n    request + token: new",
            "  upstream: 200",
            "  proxy_on_response_headers: Continue",
            "  client: 200",
        ]
    );
}

/// Over a port the end is told when the response is out.
#[test]
fn requests_of_a_port_are_told_too() {
    let filter = replaces("proxy_on_response_headers", 2, &[(":status", "404"), ("x-added", "1")]);
    let stage = Stage::new(&filter, "", true, None);
    stage.tell_callbacks();
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 404);
    assert_eq!(
        shown(&stage.told_of(1)),
        [
            "#1 GET /",
            "  upstream: 200",
            "  proxy_on_response_headers: Continue\n    response ~ :status: 200 -> 404\n    response + x-added: 1",
            "  client: 404",
        ]
    );
}

#[test]
fn what_a_filter_decides_is_told() {
    let nothing = |body: &str| {
        format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} (i32.const 0))"#
        )
    };
    for (filter, verdict, status) in [
        (answers("proxy_on_request_headers", 403), "answers 403: own", 403),
        (nothing("(drop (call $close (i32.const 0)))"), "closes the connection", 503),
        (nothing("unreachable"), "failed", 503),
    ] {
        let stage = Stage::new(&filter, "", false, None);
        stage.tell_callbacks();
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), status, "{verdict}");
        let told = stage.told_of(1);
        let told: Vec<_> =
            told.into_iter().filter(|happening| !matches!(happening, Happening::Log { .. })).collect();
        let end = format!("  client: {status}");
        assert_eq!(shown(&told), ["#1 GET /", &format!("  proxy_on_request_headers: {verdict}"), &end]);
    }
}

#[test]
fn a_pause_is_told_and_so_is_how_it_ends() {
    let stage = Stage::new(
        r#"(global $waits (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $ticks (i32.const 2))) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (global.set $waits (local.get 0)) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (if (global.get $waits) (then
                (drop (call $effective (global.get $waits)))
                (drop (call $continue (i32.const 0))))))"#,
        "limits: {pause: 1h}",
        false,
        None,
    );
    stage.tell_callbacks();
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    assert_eq!(
        shown(&stage.told_of(1)),
        [
            "#1 GET /",
            "  proxy_on_request_headers: Pause",
            "  resumed: Continue",
            "  upstream: 200",
            "  client: 200",
        ]
    );
}

#[test]
fn an_upstream_that_does_not_answer_is_told_with_the_reason() {
    let absent = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let stage = Stage::new(PASSING, "", true, Some(absent));
    let told = played(&stage, "GET /");
    assert!(told[1].starts_with(&format!("  upstream: cannot connect to http://{absent}: ")), "{told:?}");
    assert_eq!(told[2..], ["  client: 502"]);
}

/// Whoever wants no callbacks hears of the ends of played requests only: they would pay for the rest.
#[test]
fn nothing_is_told_that_is_not_wanted() {
    let stage = Stage::new(&replaces("proxy_on_request_headers", 0, &[("x-added", "1")]), "", true, None);
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    stage.wait_status("the end", |status| status.transactions == 0);
    assert_eq!(stage.told(), []);
    stage.play("GET /");
    assert_eq!(shown(&stage.told()), ["  client: 200"]);
}

#[test]
fn it_is_told_in_which_lane_a_callback_ran() {
    let stage = Stage::new(&replaces("proxy_on_request_headers", 0, &[("x-added", "1")]), "", true, None);
    stage.tell_callbacks();
    let lanes = || {
        let told = stage.told();
        let lanes = told.iter().filter_map(|happening| match happening {
            Happening::Callback { debugged, changes, .. } => Some((*debugged, changes.len())),
            _ => None,
        });
        lanes.collect::<Vec<_>>()
    };
    stage.play("GET /");
    assert_eq!(lanes(), [(false, 1)]);
    let _session = stage.attached();
    stage.play("GET /");
    assert_eq!(lanes(), [(false, 1), (true, 1)]);
}
