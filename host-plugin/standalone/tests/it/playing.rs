//! Requests of a file, one after the other, without a port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmdbg_control::Event;
use wasmdbg_standalone::request_file;

use crate::filters::AUTHORITY;
use crate::messages::OK;
use crate::stage::{Origin, PASSING, PATIENCE, Stage, origin, wait};

#[test]
fn requests_of_a_file_have_a_host() {
    let origin = Origin::start(|_, _| Some(OK.into()));
    let stage = Stage::new(PASSING, "", true, Some(origin.address));
    stage.play("GET /one\n\n###\nPOST /two\nHost: own.example\n\nbody\n");
    let heads = origin.heads.lock().unwrap();
    let hosts: Vec<&str> =
        heads.iter().map(|(_, head)| head.lines().find(|line| line.starts_with("host: ")).unwrap()).collect();
    assert_eq!(hosts, [format!("host: {}", origin.address), "host: own.example".into()]);
    assert!(heads[1].1.contains("content-length: 4"), "{heads:?}");
}

#[test]
fn the_filter_sees_a_host_that_the_file_does_not_name() {
    let stage = Stage::new(AUTHORITY, "", true, None);
    stage.play("GET /one\n\n###\nGET /two\nHost: own.example\n");
    assert_eq!(stage.lines(), ["localhost", "own.example"]);
    let origin = origin("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let stage = Stage::before(AUTHORITY, "", true, Some(&format!("http://{origin}/base")));
    stage.play("GET /one");
    assert_eq!(stage.lines(), [origin.to_string()]);
}

#[test]
fn a_request_comes_after_the_end_of_the_one_before() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let origin = Origin::start(move |_, head| {
        let until = Instant::now() + PATIENCE;
        while head.starts_with("get /one") && !gate.load(Ordering::SeqCst) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        Some(OK.into())
    });
    let stage = Stage::new(PASSING, "", true, Some(origin.address));
    let requests = request_file::parse("GET /one\n\n###\nGET /two\n").unwrap();
    let playing = stage.host().play(requests).unwrap();
    let wait_until = |what: &str, good: &dyn Fn() -> bool| {
        let until = Instant::now() + PATIENCE;
        while !good() {
            assert!(Instant::now() < until, "never: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    };
    wait_until("the first request", &|| origin.heads.lock().unwrap().len() == 1);
    assert!(!playing.is_over());
    stage.wait_status("one under way", |status| status.transactions == 1);
    open.store(true, Ordering::SeqCst);
    wait_until("the end", &|| playing.is_over());
    assert_eq!(origin.heads.lock().unwrap().len(), 2);
    stage.wait_status("none under way", |status| status.transactions == 0);
}

#[test]
fn a_played_request_whose_response_is_cut_off_is_aborted() {
    for (response, aborted) in [("ok", false), ("o", true)] {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{response}");
        let origin = origin(response.leak());
        let stage = Stage::new(PASSING, "", true, Some(origin));
        let (_client, events) = stage.attached();
        stage.play("GET /");
        let ended = wait(&events, "the end of a transaction", |event| match event {
            Event::TransactionEnded(ended) => Some(ended),
            _ => None,
        });
        assert_eq!((ended.status, ended.aborted), (Some(200), aborted));
    }
}
