//! Proxies that misbehave, and clients that must survive it.

use std::sync::mpsc::RecvTimeoutError;

use wasmdbg_control::connection::{Connection, ConnectionError, SendError};
use wasmdbg_control::events::EVENTS_LIMIT;
use wasmdbg_control::session::{Activity, ActivityNoted};
use wasmdbg_control::state::{GlobalValues, Value};
use wasmdbg_control::transactions::LogLine;
use wasmdbg_control::{CallError, Client, Event, FilterId, Message, Request, StopId};

use crate::support::{PATIENCE, welcome};

fn log(bytes: usize) -> Message {
    let (level, message) = ("info".into(), "x".repeat(bytes));
    Message::Event(Event::Log(LogLine { filter: FilterId(0), transaction: None, level, message }))
}

/// A greeted client and the proxy's end.
fn greeted() -> (Client, wasmdbg_control::Events, Connection) {
    let (ours, theirs) = Connection::memory().unwrap();
    let proxy = std::thread::spawn(move || {
        let (Message::Request { id, body: Request::Hello(_) }, _) = theirs.receiver.recv().unwrap().unwrap()
        else {
            panic!("hello is not first")
        };
        let body = wasmdbg_control::session::Welcome { protocol: 1, ..welcome() }.into();
        theirs.sender.send(&Message::Response { id, body }).unwrap();
        theirs
    });
    let (client, events) = Client::greet(ours, "wasmdbg 0.1.0").unwrap();
    (client, events, proxy.join().unwrap())
}

#[test]
fn a_proxy_that_sends_events_without_end_is_left_when_too_many_wait() {
    let (client, events, proxy) = greeted();
    let (flood, mut sent) = (log(512 << 10), 0);
    let ended = loop {
        match proxy.sender.send(&flood) {
            Ok(()) => sent += 512 << 10,
            Err(error) => break error,
        }
        assert!(sent < 4 * EVENTS_LIMIT, "nobody stops it");
    };
    assert!(matches!(ended, SendError::Connection(_)), "{ended}");
    // What the socket and the reader hold is beside the limit.
    assert!(sent <= 2 * EVENTS_LIMIT, "{sent} bytes were taken");
    let fault = loop {
        if let Err(CallError::Connection(fault)) = client.call(Activity {}) {
            break fault;
        }
    };
    assert_eq!(fault, ConnectionError::Flooded { bytes: EVENTS_LIMIT });
    assert!(fault.to_string().contains("16 MB are waiting"), "{fault}");
    // What had come before can be read.
    assert_eq!(events.iter().count(), EVENTS_LIMIT / (513 << 10));
    assert_eq!(events.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn events_that_nobody_takes_delay_no_reply_and_those_that_nobody_wants_are_dropped() {
    let (client, events, proxy) = greeted();
    // Each reply comes after 10 MB of events.
    let answering = std::thread::spawn(move || {
        for _ in 0..5 {
            let (Message::Request { id, .. }, _) = proxy.receiver.recv().unwrap().unwrap() else {
                panic!("no request")
            };
            (0..20).for_each(|_| proxy.sender.send(&log(512 << 10)).unwrap());
            proxy.sender.send(&Message::Response { id, body: ActivityNoted {}.into() }).unwrap();
        }
        proxy
    });
    client.call(Activity {}).unwrap();
    assert_eq!(events.try_iter().count(), 20);
    drop(events);
    for _ in 0..4 {
        client.call(Activity {}).unwrap();
    }
    let _proxy = answering.join().unwrap();
    assert!(client.fault().is_none());
}

#[test]
fn globals_are_read_as_far_as_a_module_can_have_them() {
    // Each of a proxy's answers is `globals` and says that there are `count`; it ends after 200.
    let read = |globals: Vec<Value>, count| {
        let (client, _events, proxy) = greeted();
        let answering = std::thread::spawn(move || {
            for _ in 0..200 {
                let Ok(Ok((Message::Request { id, .. }, _))) = proxy.receiver.recv() else { return };
                let body = GlobalValues { globals: globals.clone(), count }.into();
                proxy.sender.send(&Message::Response { id, body }).unwrap();
            }
        });
        let read = client.globals(StopId(1));
        drop(client);
        answering.join().unwrap();
        read
    };
    assert_eq!(read(vec![Value::I32(7)], 3).unwrap().len(), 3);
    assert_eq!(read(vec![Value::I32(7)], 0).unwrap().len(), 1, "a plugin that does not say how many");
    let endless = read(vec![Value::I32(7)], 1_000_001).unwrap_err();
    assert!(matches!(endless, CallError::Globals { count: 1_000_001, .. }), "{endless}");
    let huge = read(vec![Value::Ref("x".repeat(900 << 10))], 1_000_000).unwrap_err();
    assert!(matches!(huge, CallError::Globals { bytes: 64_000_000.., .. }), "{huge}");
}
