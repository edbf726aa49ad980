//! What a filter sees, and what a filter that forgets its transactions costs.

use crate::stage::{Stage, origin};

/// Logs the end_of_stream of both callbacks.
const ENDS: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $digit (local.get 2)) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $digit (local.get 2)) (i32.const 0))"#;

#[test]
fn the_end_of_a_stream_is_where_its_body_ends() {
    let with_body = origin("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let without = origin("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for (origin, response_ends) in [(with_body, "0"), (without, "1")] {
        let stage = Stage::new(ENDS, "", true, Some(origin));
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
        assert_eq!(stage.lines(), ["1", response_ends]);
        assert_eq!(stage.ask("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3", "abc"), 200);
        assert_eq!(stage.lines()[2..], ["0", response_ends]);
    }
}

/// Logs the `:authority` of requests.
pub(crate) const AUTHORITY: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $header (i32.const 0) (i32.const 16) (i32.const 10) (i32.const 64) (i32.const 68)))
        (drop (call $log (i32.const 2) (i32.load (i32.const 64)) (i32.load (i32.const 68))))
        (i32.const 0))"#;

#[test]
fn the_request_lines_authority_counts_before_the_host() {
    let stage = Stage::new(AUTHORITY, "", true, None);
    assert_eq!(stage.ask("GET http://one.example/ HTTP/1.1\r\nHost: two.example", ""), 200);
    assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: two.example", ""), 200);
    assert_eq!(stage.lines(), ["one.example", "two.example"]);
}

#[test]
fn a_pause_that_the_filter_forgets_ends_by_the_fail_policy() {
    for (fail_open, status) in [(true, 200), (false, 503)] {
        let stage = Stage::new(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
            (func (export "proxy_on_delete") (param i32) (call $digit (i32.const 0)))"#,
            "limits: {pause: 50ms}",
            fail_open,
            None,
        );
        // The second one after the first has waited: the time of each is looked at.
        for _ in 0..2 {
            assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), status);
        }
        let after = stage.wait_status("the end", |status| status.transactions == 0);
        let counters = after.filters[0].counters;
        assert_eq!((counters.pause_timeouts, counters.paused, counters.traps), (2, 0, 0));
        let lines = stage.lines();
        assert_eq!(lines.iter().filter(|line| *line == "0").count(), 2, "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.contains("limits.pause")).count(), 1, "{lines:?}");
    }
}

#[test]
fn a_filter_that_is_never_done_loses_its_context() {
    let stage = Stage::new(
        r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_log") (param i32) (call $digit (i32.const 1)))"#,
        // The shorter limit begins later.
        "limits: {pause: 1h, done: 50ms}",
        true,
        None,
    );
    for _ in 0..20 {
        assert_eq!(stage.ask("GET / HTTP/1.1\r\nHost: here", ""), 200);
    }
    stage.wait_status("the end of all", |status| status.filters[0].counters.done_timeouts == 20);
    assert_eq!(stage.lines().iter().filter(|line| *line == "1").count(), 20);
}
