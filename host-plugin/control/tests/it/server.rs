//! Clients that misbehave, and the others that must not notice.

use std::io::{Read, Write};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use wasmdbg_control::client::Client;
use wasmdbg_control::codec::FrameError;
use wasmdbg_control::connection::Connection;
use wasmdbg_control::filters::ReadModule;
use wasmdbg_control::server::{Disconnect, MAX_CLIENTS, OUTBOX_LIMIT, QueueError};
use wasmdbg_control::session::Activity;
use wasmdbg_control::transactions::LogLine;
use wasmdbg_control::{CallError, ErrorKind, Event, Events, FilterId, MAX_FRAME, Message, ModuleHash};

use crate::support::{PATIENCE, Seen, Server, frame, greet, read_message};

fn log(text: &str) -> Message {
    Message::Event(Event::Log(LogLine {
        filter: FilterId(0),
        transaction: None,
        level: "info".into(),
        message: text.into(),
    }))
}

fn client(server: &Server) -> (Client, Events) {
    let connection = Connection::over(server.remote.connect().unwrap()).unwrap();
    let client = Client::greet(connection, "wasmdbg 0.1.0").unwrap();
    server.connected();
    client
}

/// Sends `bytes` after a good greeting; gives the last words and the reason the host got.
fn after_greeting(bytes: &[u8]) -> (String, Disconnect) {
    let server = Server::with(None, None);
    let (bystander, _events) = client(&server);
    let mut stream = server.remote.connect().unwrap();
    greet(&mut stream);
    server.connected();
    stream.write_all(bytes).unwrap();
    let Message::Error { id: 0, error } = read_message(&mut stream) else { panic!("still served") };
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "the connection ends");
    let why = server.disconnected();
    bystander.call(Activity {}).unwrap();
    (error.message, why)
}

#[test]
fn an_oversized_frame_drops_only_its_sender() {
    let (words, why) = after_greeting(&[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(why, Disconnect::Frame(FrameError::TooLarge { length: 0xffff_ffff }));
    assert_eq!(words, "a frame of 4294967295 bytes is over the limit of 1048576: the connection ends here");
}

#[test]
fn a_malformed_frame_drops_only_its_sender() {
    let (words, why) = after_greeting(&frame(br#"{"request":{"id":5,"body":{"method":"fly","params":{}}}}"#));
    assert!(matches!(why, Disconnect::Frame(FrameError::Malformed { .. })), "{why}");
    assert!(words.contains("unknown variant `fly`"), "{words}");
}

#[test]
fn an_event_from_a_client_drops_it() {
    let bytes = wasmdbg_control::encode(&log("I am a proxy")).unwrap();
    assert_eq!(after_greeting(&bytes).1, Disconnect::NoRequest);
}

#[test]
fn a_truncated_frame_is_noticed_at_the_end() {
    let server = Server::with(None, None);
    let mut stream = server.remote.connect().unwrap();
    greet(&mut stream);
    server.connected();
    stream.write_all(&[0, 0, 0, 9, b'{']).unwrap();
    drop(stream);
    assert_eq!(server.disconnected(), Disconnect::Frame(FrameError::Truncated { received: 5 }));
}

#[test]
fn a_client_that_goes_away_is_noticed_at_once() {
    let server = Server::with(None, None);
    let (client, _events) = client(&server);
    drop(client);
    assert_eq!(server.disconnected(), Disconnect::HungUp);
}

#[test]
fn a_client_that_never_reads_is_dropped_at_the_limit_and_blocks_nobody() {
    let server = Server::with(None, None);
    let (bystander, events) = client(&server);
    let mut silent = server.remote.connect().unwrap();
    greet(&mut silent);
    let handle = server.connected();
    let text = "x".repeat(64 * 1024);
    let mut queued = 0;
    let refusal = loop {
        match handle.send(&log(&text)) {
            Ok(()) => queued += text.len(),
            Err(error) => break error,
        }
        assert!(queued < 2 * OUTBOX_LIMIT, "the queue is bounded");
    };
    assert_eq!(refusal, QueueError::Gone);
    assert!(queued > OUTBOX_LIMIT / 2, "a burst is no reason: {queued}");
    assert!(matches!(server.disconnected(), Disconnect::Unread { bytes } if bytes > OUTBOX_LIMIT));
    bystander.call(Activity {}).unwrap();
    // The reply came after whatever the loop had for this one.
    let got = events.recv_timeout(Duration::ZERO);
    assert_eq!(got, Err(RecvTimeoutError::Timeout), "nobody else gets its events");
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_read_either() {
    let server = Server::with(None, None);
    let mut greedy = server.remote.connect().unwrap();
    greet(&mut greedy);
    server.connected();
    greedy.set_nonblocking(true).unwrap();
    let ask = |id| Message::Request {
        id,
        body: ReadModule { module: ModuleHash([0; 32]), offset: 0, length: 512 * 1024 }.into(),
    };
    // Written until the kernel's buffer is full: the loop has stopped reading, and has not dropped it.
    let (bystander, _events) = client(&server);
    let mut asked = 0_u64;
    let full = |asked: u64| asked > 10_000;
    while !full(asked) {
        match greedy.write_all(&wasmdbg_control::encode(&ask(asked + 2)).unwrap()) {
            Ok(()) => asked += 1,
            Err(_) => match bystander.call(Activity {}) {
                Ok(_) if asked > 100 => break,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }
    assert!(!full(asked), "the loop goes on reading");
    // It is kept, and served when it reads.
    greedy.set_nonblocking(false).unwrap();
    assert!(matches!(read_message(&mut greedy), Message::Response { id: 2, .. }));
    drop(greedy);
    // The first that leaves, and for no other reason.
    assert_eq!(server.disconnected(), Disconnect::HungUp);
}

#[test]
fn one_client_too_many_is_turned_away_until_another_leaves() {
    let server = Server::with(None, None);
    let greeted = || {
        let mut stream = server.remote.connect().unwrap();
        let welcomed = matches!(greet(&mut stream), Message::Response { .. });
        (stream, welcomed)
    };
    let mut streams: Vec<_> = (0..MAX_CLIENTS).map(|_| greeted()).collect();
    assert!(streams.iter().all(|(_, welcomed)| *welcomed));
    assert_eq!(streams.len(), 64);
    (0..MAX_CLIENTS).for_each(|_| drop(server.connected()));
    let mut late = server.remote.connect().unwrap();
    let Message::Error { id: 0, error } = read_message(&mut late) else { panic!("let in") };
    assert_eq!(error.kind, ErrorKind::Denied);
    assert_eq!(error.message, "64 clients are connected already: end one of them");
    assert!(matches!(server.seen(), Seen::Refused(line) if line.contains("64 clients")));
    drop(streams.pop());
    assert_eq!(server.disconnected(), Disconnect::HungUp);
    assert!(greeted().1);
}

#[test]
fn a_client_may_call_itself_what_it_likes_and_is_known_by_a_short_and_plain_name() {
    let server = Server::with(None, None);
    let connection = Connection::over(server.remote.connect().unwrap()).unwrap();
    let name = format!("a\nb{}", "\u{1b}".repeat(150_000));
    let _client = Client::greet(connection, &name).unwrap();
    let Seen::Connected(_, _, hello) = server.seen() else { panic!("refused") };
    assert_eq!(hello.client, format!("a\\nb{}…", "\\u{1b}".repeat(97)));
}

#[test]
fn events_keep_their_order_and_come_from_any_thread() {
    let server = Server::with(None, None);
    let connection = Connection::over(server.remote.connect().unwrap()).unwrap();
    let (_client, events) = Client::greet(connection, "wasmdbg 0.1.0").unwrap();
    let handle = server.connected();
    std::thread::spawn(move || (0..500).for_each(|n| handle.send(&log(&n.to_string())).unwrap()));
    for n in 0..500 {
        let Event::Log(line) = events.recv_timeout(PATIENCE).unwrap() else { panic!("another event") };
        assert_eq!(line.message, n.to_string());
    }
}

#[test]
fn a_reply_over_the_limit_is_an_error_of_that_call_alone() {
    let server = Server::with(None, None);
    let (client, _events) = client(&server);
    let length = u32::try_from(MAX_FRAME).unwrap();
    let error = client.call(ReadModule { module: ModuleHash([0; 32]), offset: 0, length }).unwrap_err();
    assert!(matches!(&error, CallError::Refused(error) if error.kind == ErrorKind::State), "{error}");
    client.call(Activity {}).unwrap();
}

#[test]
fn a_handle_closes_after_its_last_message() {
    let server = Server::with(None, None);
    let connection = Connection::over(server.remote.connect().unwrap()).unwrap();
    let (client, events) = Client::greet(connection, "wasmdbg 0.1.0").unwrap();
    let handle = server.connected();
    handle.send(&log("good bye")).unwrap();
    handle.close();
    assert!(matches!(events.recv_timeout(PATIENCE), Ok(Event::Log(line)) if line.message == "good bye"));
    assert_eq!(events.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    assert_eq!(server.disconnected(), Disconnect::Closed);
    assert!(client.fault().is_some());
}

#[test]
fn requests_that_were_held_back_are_served_when_their_client_reads() {
    let server = Server::with(None, None);
    let stream = server.remote.connect().unwrap();
    let connection = Connection::over(stream).unwrap();
    let (client, _events) = Client::greet(connection, "wasmdbg 0.1.0").unwrap();
    // 40 replies of 700 KB at once are more than the queue's limit, yet nobody is dropped.
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let client = client.clone();
            scope.spawn(move || {
                let read = ReadModule { module: ModuleHash([0; 32]), offset: 0, length: 512 * 1024 };
                assert_eq!(client.call(read).unwrap().data.len(), 512 * 1024);
            });
        }
    });
}
