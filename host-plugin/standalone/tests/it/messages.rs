//! What goes out of what a filter has made of a request or a response.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};

use crate::stage::{Origin, PASSING, Stage, pairs};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\n\r\nok";

/// Data from address 256 on, and a callback that writes `fields` into `map`.
pub(crate) fn replaces(callback: &str, map: u32, fields: &[(&str, &str)]) -> String {
    let (mut data, mut calls) = (String::new(), String::new());
    let mut at = 256;
    for (name, value) in fields {
        data += &format!("{name}{value}");
        let (value_at, end) = (at + name.len(), at + name.len() + value.len());
        let _ = write!(
            calls,
            "(drop (call $replace (i32.const {map}) (i32.const {at}) (i32.const {}) (i32.const {value_at}) (i32.const {})))",
            name.len(),
            value.len()
        );
        at = end;
    }
    format!(
        r#"(data (i32.const 256) "{data}")
        (func (export "{callback}") (param i32 i32 i32) (result i32) {calls} (i32.const 0))"#
    )
}

#[test]
fn what_a_filter_writes_into_a_request_goes_to_the_upstream() {
    let origin = Origin::start(|_, _| Some(OK.into()));
    let fields =
        [(":path", "/new?q=1"), (":method", "PUT"), (":authority", "other.example"), ("x-added", "1")];
    let url = format!("http://{}/base/", origin.address);
    let stage = Stage::before(&replaces("proxy_on_request_headers", 0, &fields), "", true, Some(&url));
    let head = "GET /old HTTP/1.1\r\nHost: here\r\nTE: trailers\r\nKeep-Alive: 5\r\nX-Kept: 2";
    assert_eq!(stage.ask(head, ""), 200);
    let head = origin.head();
    assert!(head.starts_with("put /base/new?q=1 http/1.1\r\n"), "{head}");
    for line in ["host: other.example", "x-added: 1", "x-kept: 2"] {
        assert_eq!(head.lines().filter(|other| *other == line).count(), 1, "{line} in {head}");
    }
    assert!(!head.contains("te: ") && !head.contains("keep-alive"), "of the client's connection: {head}");
}

#[test]
fn what_a_filter_writes_into_a_response_goes_to_the_client() {
    let origin = Origin::start(|_, _| Some(OK.into()));
    let filter = replaces("proxy_on_response_headers", 2, &[(":status", "404"), ("x-added", "1")]);
    let stage = Stage::new(&filter, "", true, Some(origin.address));
    let response = stage.response(&mut stage.connect(), "GET / HTTP/1.1\r\nHost: here", "");
    assert!(response.starts_with("HTTP/1.1 404 ") && response.contains("\r\nx-added: 1\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nok") && !response.contains("keep-alive"), "{response}");
}

#[test]
fn a_filter_does_not_see_fields_of_the_upstreams_connection() {
    let origin = Origin::start(|_, _| Some(OK.into()));
    // What asking for one returns: 1 when it is not there.
    let filter = r#"(data (i32.const 256) "keep-alivecontent-length")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (call $digit (call $header
                (i32.const 2) (i32.const 256) (i32.const 10) (i32.const 64) (i32.const 68)))
            (call $digit (call $header
                (i32.const 2) (i32.const 266) (i32.const 14) (i32.const 64) (i32.const 68)))
            (i32.const 0))"#;
    let stage = Stage::new(filter, "", true, Some(origin.address));
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    assert_eq!(stage.lines(), ["1", "0"]);
}

/// A callback that answers itself, with fields that are not its to send.
pub(crate) fn answers(callback: &str, status: u32) -> String {
    let (map, size) =
        pairs(&[("content-length", "99"), ("connection", "close"), ("upgrade", "h2c"), ("x-own", "1")]);
    format!(
        r#"(data (i32.const 256) "{map}") (data (i32.const 512) "own")
        (func (export "{callback}") (param i32 i32 i32) (result i32)
            (drop (call $respond (i32.const {status}) (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 3)
                (i32.const 256) (i32.const {size}) (i32.const -1)))
            (i32.const 0))"#
    )
}

#[test]
fn a_local_response_is_framed_by_the_host_and_keeps_the_connection() {
    for callback in ["proxy_on_request_headers", "proxy_on_response_headers"] {
        let stage = Stage::new(&answers(callback, 403), "", true, None);
        let mut stream = stage.connect();
        for _ in 0..2 {
            let response = stage.response(&mut stream, "GET / HTTP/1.1\r\nHost: here", "");
            assert!(response.starts_with("HTTP/1.1 403 "), "{callback}: {response}");
            assert!(response.contains("\r\ncontent-length: 3\r\n"), "{callback}: {response}");
            assert!(response.contains("\r\nx-own: 1\r\n") && response.ends_with("\r\n\r\nown"), "{response}");
            assert!(!response.contains("connection: close"), "{callback}: {response}");
            assert!(!response.contains("upgrade"), "{callback}: {response}");
        }
    }
}

#[test]
fn a_local_response_that_has_no_body_gets_none() {
    let stage = Stage::new(&answers("proxy_on_request_headers", 204), "", true, None);
    let mut stream = stage.connect();
    for _ in 0..2 {
        let response = stage.response(&mut stream, "GET / HTTP/1.1\r\nHost: here", "");
        assert!(response.starts_with("HTTP/1.1 204 ") && response.ends_with("\r\n\r\n"), "{response}");
    }
}

#[test]
fn a_stream_that_is_closed_ends_its_connection() {
    let closes = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $close (i32.const 0))) (i32.const 0))"#;
    let stage = Stage::new(closes, "", true, None);
    let mut stream = stage.connect();
    let response = stage.response(&mut stream, "GET / HTTP/1.1\r\nHost: here", "");
    assert!(
        response.starts_with("HTTP/1.1 503 ") && response.contains("\r\nconnection: close\r\n"),
        "{response}"
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
}

#[test]
fn an_upstream_that_is_not_there_is_502() {
    let absent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let stage = Stage::new(PASSING, "", true, Some(absent));
    let response = stage.response(&mut stage.connect(), "GET / HTTP/1.1\r\nHost: here", "");
    assert!(response.starts_with("HTTP/1.1 502 ") && response.contains("cannot connect to"), "{response}");
}

/// The second request of each connection gets no answer.
#[test]
fn a_request_without_a_body_is_sent_once_more_when_a_kept_connection_ends() {
    let origin = Origin::start(|number, _| (number == 0).then(|| OK.into()));
    let stage = Stage::new(PASSING, "", true, Some(origin.address));
    for _ in 0..2 {
        assert_eq!(stage.ask("GET /same HTTP/1.1\r\nHost: here\r\nX-Same: 1", ""), 200);
    }
    // It may have been done already.
    assert_eq!(stage.ask("POST /order HTTP/1.1\r\nHost: here\r\nContent-Length: 3", "abc"), 502);
    let heads = origin.heads.lock().unwrap();
    let seen: Vec<(usize, &str)> =
        heads.iter().map(|(connection, head)| (*connection, head.split(' ').next().unwrap())).collect();
    assert_eq!(seen, [(0, "get"), (0, "get"), (1, "get"), (1, "post")]);
    assert!(heads[1].1.contains(" /same ") && heads[1].1.contains("x-same: 1"), "{heads:?}");
    assert_eq!(heads[1].1, heads[2].1);
}
