//! Transactions in the debug lane: what keeps them alive meanwhile, and what their debuggers are told.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

use wasmdbg_control::Event;
use wasmdbg_control::rules::Rule;

use super::{LOGGING, PAUSING, counters, filter};
use crate::double::{At, Exchange, Message, PATIENCE, attach, attach_by, plugin, serve, serve_debuggers};

/// A day, in seconds.
const LONG: i64 = 86_400;

/// A stream of HTTP/2, or a request of HTTP/1.1.
fn exchange(path: &str, stream: bool) -> Exchange {
    let protocols = if stream { vec![c"h2", c"tcp", c"ipv4"] } else { vec![c"http/1.1", c"tcp", c"ipv4"] };
    Exchange { request: Message::request("GET", path), protocols, ..Exchange::new() }
}

#[test]
fn time_outs_are_raised_for_what_a_rule_takes_and_put_back_for_the_rest() {
    let thread = serve_debuggers(&[("logging", &filter(LOGGING), true)], "");
    let untouched = exchange("/here", true).start();
    assert_eq!(*untouched.settings.lock().unwrap(), [30, 31, 900], "nobody is attached");
    let _client = attach_by(&[], vec![Rule::Path { prefix: "/here".into() }]);
    for stream in [true, false] {
        let taken = exchange("/here", stream).start();
        assert_eq!(*taken.settings.lock().unwrap(), [LONG; 3], "stream: {stream}");
        thread.run(|| taken.is_over());
        let passed = exchange("/there", stream).start();
        assert!(passed.is_over());
        assert_eq!(*passed.settings.lock().unwrap(), [30, 31, 900], "stream: {stream}");
        assert_eq!((passed.client.held(), passed.has_start_hook()), ((0, false), stream));
    }
    assert_eq!(counters(0).debug_contexts, 2);
}

#[test]
fn no_time_out_is_lowered_and_none_is_switched_on() {
    let thread = serve_debuggers(&[("logging", &filter(LOGGING), true)], "");
    let _client = attach_by(&[], vec![Rule::Path { prefix: "/here".into() }]);
    for (records, raised, held) in [
        ([0, LONG + 7, 0], [0, LONG + 7, 0], (LONG, LONG + 7)),
        ([LONG + 5, 31, LONG], [LONG + 5, LONG, LONG], (LONG + 5, LONG)),
    ] {
        for stream in [true, false] {
            let taken = Exchange { records, origin_waits: true, ..exchange("/here", stream) }.start();
            assert_eq!(*taken.settings.lock().unwrap(), raised, "stream: {stream}");
            thread.run(|| taken.at() == At::Origin);
            taken.respond();
            assert_eq!((taken.client.held().0, taken.origin.held().0), held, "stream: {stream}");
            thread.run(|| taken.is_over());
            let passed = Exchange { records, ..exchange("/there", stream) }.start();
            assert!(passed.is_over());
            assert_eq!(*passed.settings.lock().unwrap(), records, "stream: {stream}");
        }
    }
}

#[test]
fn both_connections_are_held_while_a_callback_runs() {
    let thread = serve(&[("logging", &filter(LOGGING), true)], "");
    let _client = attach(&[]);
    let transaction = Exchange { origin_waits: true, ..Exchange::new() }.start();
    assert_eq!((transaction.client.held(), transaction.origin.held()), ((LONG, true), (0, false)));
    thread.run(|| transaction.at() == At::Origin);
    transaction.respond();
    assert_eq!(transaction.origin.held(), (LONG, true));
    thread.run(|| transaction.is_over());
}

/// The next event that `wanted` takes.
fn next<T>(client: &wasmdbg_control::Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let event = client.recv_timeout(until - Instant::now()).unwrap();
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

#[test]
fn the_end_says_the_status_and_whether_the_client_was_still_there() {
    let thread = serve(&[("logging", &filter(LOGGING), true)], "");
    let (_client, events) = crate::double::attach_with_events(&[], Vec::new());
    for aborted in [false, true] {
        let transaction = Exchange { origin_waits: true, ..Exchange::new() }.start();
        thread.run(|| transaction.at() == At::Origin);
        transaction.aborted.store(aborted, std::sync::atomic::Ordering::Relaxed);
        transaction.respond();
        thread.run(|| transaction.is_over());
        let ended = next(&events, |event| match event {
            Event::TransactionEnded(ended) => Some(ended),
            _ => None,
        });
        assert_eq!((ended.id.0, ended.aborted, ended.status), (transaction.number(), aborted, Some(200)));
    }
}

/// In its callback, and while its filter pauses it.
#[test]
fn a_client_is_watched_while_its_transaction_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let watched = || plugin().unwrap().watch.next_look(Instant::now()).is_some();
    for (lane, text) in [("logging", LOGGING), ("pausing", PAUSING)] {
        let thread = serve(&[(lane, &filter(text), true)], "limits: {pause: 300ms}");
        let _client = attach(&[]);
        let exchange = Exchange { socket: Some(socket.as_raw_fd()), origin_waits: true, ..Exchange::new() };
        assert!(!watched());
        let transaction = exchange.start();
        assert!(watched(), "{lane}");
        thread.run(|| transaction.at() == At::Origin);
        assert!(!watched(), "{lane}: it has gone on");
        transaction.respond();
        thread.run(|| transaction.is_over());
    }
}

#[test]
fn without_a_free_slot_a_transaction_takes_the_fast_lane_and_its_end_frees_one() {
    let thread = serve(&[("logging", &filter(LOGGING), true)], "debug: {max_vms: 1}");
    let _client = attach(&[]);
    let first = Exchange { origin_waits: true, ..Exchange::new() }.start();
    // The one slot is taken.
    let second = Exchange::new().start();
    assert!(second.is_over());
    assert_eq!(counters(0).debug_missed, 1);
    assert_eq!((thread.logged("response"), thread.logged("done")), (1, 1), "in the fast lane");
    thread.run(|| first.at() == At::Origin);
    first.respond();
    thread.run(|| first.is_over());
    let third = Exchange::new().start();
    thread.run(|| third.is_over());
    assert_eq!((counters(0).debug_contexts, counters(0).debug_missed), (2, 1), "the slot is free again");
}

/// Its callback is queued when that is known; or the claim is not used yet, for another filter has its turn.
#[test]
fn a_transaction_whose_slot_gets_no_thread_takes_the_fast_lane() {
    let texts = [filter(PAUSING), filter(LOGGING)];
    for before in [false, true] {
        let logging = ("logging", texts[1].as_str(), false);
        let all = [("pausing", texts[0].as_str(), true), logging];
        let thread = serve(if before { &all } else { &all[1..] }, "limits: {pause: 50ms}");
        let debugged = usize::from(before);
        let _client = attach(&["logging"]);
        let first = Exchange { origin_waits: true, ..Exchange::new() }.start();
        thread.run(|| first.at() == At::Origin);
        thread.exhausted.store(true, Ordering::SeqCst);
        let second = Exchange::new().start();
        thread.run(|| second.is_over());
        assert_eq!((second.answer(), thread.logged("response")), (None, 1), "{:?}", thread.log());
        assert_eq!((counters(debugged).debug_contexts, counters(debugged).debug_missed), (1, 1));
        first.respond();
        thread.run(|| first.is_over());
        // The slot that has its thread serves on.
        let third = Exchange::new().start();
        thread.run(|| third.is_over());
        assert_eq!((counters(debugged).debug_contexts, counters(debugged).debug_missed), (2, 1));
    }
}
