//! The greeting: versions on both sides, and refusals.

use std::io::Write;
use std::os::unix::net::UnixStream;

use wasmdbg_control::client::{AttachError, Client};
use wasmdbg_control::connection::Connection;
use wasmdbg_control::message::Request;
use wasmdbg_control::server::Disconnect;
use wasmdbg_control::session::{Activity, Welcome};
use wasmdbg_control::{ErrorKind, Message, Reply, WireError};

use crate::support::{Scratch, Seen, Server, frame, greet, read_message, welcome};

/// What a client hears that greets a plugin in another version.
fn refused(protocol: u32, client: &str) -> String {
    let server = Server::with(None, None);
    let mut stream = server.remote.connect().unwrap();
    let hello = format!(
        r#"{{"request":{{"id":7,"body":{{"method":"hello","params":{{"protocol":{protocol},"client":"{client}"}}}}}}}}"#
    );
    stream.write_all(&frame(hello.as_bytes())).unwrap();
    let Message::Error { id: 7, error } = read_message(&mut stream) else { panic!("greeted") };
    assert_eq!(error.kind, ErrorKind::Version);
    error.message
}

#[test]
fn a_client_of_a_newer_version_is_told_to_upgrade_the_plugin() {
    assert_eq!(
        refused(2, "wasmdbg 9.9.9"),
        "the plugin in the proxy (wasmdbg.so 0.1.0) speaks version 1 of the control protocol and the client \
         (wasmdbg 9.9.9) version 2: upgrade wasmdbg.so and restart the proxy, or use the client installed with it"
    );
}

#[test]
fn a_client_of_an_older_version_is_told_to_upgrade() {
    let message = refused(0, "wasmdbg 0.0.9");
    assert!(message.ends_with("upgrade the client, or use the one that was installed with the plugin"));
}

#[test]
fn a_second_hello_makes_no_second_client() {
    let server = Server::with(None, None);
    let mut stream = server.remote.connect().unwrap();
    for _ in 0..2 {
        assert!(matches!(greet(&mut stream), Message::Response { id: 1, .. }));
    }
    server.connected();
    drop(stream);
    assert_eq!(server.disconnected(), Disconnect::HungUp, "and nothing in between");
}

/// The messages that have got fields since version 1 came out, as it wrote them then. Nothing is added here
/// when a field comes: a client must understand a plugin that does not send it.
const OLDEST: [&str; 6] = [
    r#"{"response": {"id": 2, "body": {"method": "status", "result": {
      "uptime_ms": 51234, "transactions": 3,
      "sessions": [{"id": 1, "client": "wasmdbg 0.1.0", "uid": 1000, "pid": 4890, "filters": [0]}],
      "slots": [{"id": 1, "filter": 0, "busy": true, "stopped": true}],
      "code_images": 2,
      "event_thread_debug_work": {"buckets": [0, 0, 1, 7, 2], "max_ns": 12801, "count": 10},
      "filters": [{
        "id": 0, "name": "token", "root_id": "token", "vm_id": "", "module_path": "/etc/trafficserver/token.wasm",
        "module": "3b1f0a64c5d2e79880aa17c2fd4e6b9051c37d28e4f6a0b18c92d37e5fa416b0", "module_size": 2417362,
        "state": {"state": "active"}, "fail_open": false,
        "counters": {"contexts": 10245, "traps": 1, "contexts_lost": 0, "vms_started": 3, "vms": 2, "hops": 0,
                     "debug_contexts": 2, "debug_missed": 0, "paused": 0}}]}}}}"#,
    r#"{"response": {"id": 3, "body": {"method": "filters", "result": {"filters": [{
      "id": 1, "name": "headers", "root_id": "", "vm_id": "", "module_path": "/etc/trafficserver/headers.wasm",
      "module": null, "module_size": 0, "state": {"state": "inactive", "reason": "no such file"}, "fail_open": true,
      "counters": {"contexts": 7, "traps": 0, "contexts_lost": 0, "vms_started": 0, "vms": 0, "hops": 0,
                   "debug_contexts": 0, "debug_missed": 0, "paused": 0}}]}}}}"#,
    r#"{"response": {"id": 6, "body": {"method": "transactions", "result": {
      "transactions": [{"id": 19, "method": "GET", "path": "/other", "client": "127.0.0.1:40320", "filter": 0, "slot": 2,
         "state": {"state": "proxy"}, "age_ms": 12}],
      "fast_lane": 3}}}}"#,
    r#"{"request": {"id": 20, "body": {"method": "read_globals", "params": {"stop": 1}}}}"#,
    r#"{"response": {"id": 20, "body": {"method": "read_globals", "result": {"globals": [{"i32": 1048480}]}}}}"#,
    r#"{"response": {"id": 11, "body": {"method": "frames", "result": {"frames": [], "frame_count": 2}}}}"#,
];

#[test]
fn what_the_first_plugins_and_clients_of_this_version_write_is_understood() {
    let messages = OLDEST.map(|text| {
        serde_json::from_str::<Message>(text).unwrap_or_else(|error| panic!("{error} in {text}"))
    });
    let [Message::Response { body: Reply::Status(status), .. }, ..] = &messages else { panic!("another") };
    let counters = &status.filters[0].counters;
    assert_eq!((counters.contexts, counters.pause_timeouts, counters.done_timeouts), (10_245, 0, 0));
    assert_eq!(status.event_thread_releases.count, 0);
}

/// Plays a proxy that answers the greeting with `answer`.
fn greeted_with(answer: impl FnOnce(u64) -> Message + Send + 'static) -> AttachError {
    let (ours, theirs) = Connection::memory().unwrap();
    let proxy = std::thread::spawn(move || {
        let Ok((Message::Request { id, body: Request::Hello(_) }, _)) = theirs.receiver.recv().unwrap()
        else {
            panic!("hello is not first")
        };
        theirs.sender.send(&answer(id)).unwrap();
        theirs
    });
    let error = Client::greet(ours, "wasmdbg 0.1.0").map(drop).unwrap_err();
    drop(proxy.join().unwrap());
    error
}

#[test]
fn a_plugin_of_a_newer_version_asks_for_a_newer_client() {
    let error = greeted_with(|id| Message::Response {
        id,
        body: Welcome { protocol: 2, plugin: "0.2.0".into(), ..welcome() }.into(),
    });
    assert!(matches!(error, AttachError::Version(_)));
    assert!(
        error.to_string().ends_with("upgrade the client, or use the one that was installed with the plugin")
    );
}

#[test]
fn a_plugins_own_words_about_the_version_are_kept() {
    let refusal = WireError::new(ErrorKind::Version, "version 3 only: upgrade the client");
    let error = greeted_with(move |id| Message::Error { id, error: refusal });
    assert!(matches!(error, AttachError::Version(text) if text == "version 3 only: upgrade the client"));
}

#[test]
fn a_request_before_the_greeting_is_refused() {
    let server = Server::with(None, None);
    let mut stream = server.remote.connect().unwrap();
    stream.write_all(&frame(br#"{"request":{"id":3,"body":{"method":"activity","params":{}}}}"#)).unwrap();
    let Message::Error { id: 3, error } = read_message(&mut stream) else { panic!("served") };
    assert_eq!(error.kind, ErrorKind::Version);
    // The first that the service hears of is the next one.
    let connection = Connection::over(server.remote.connect().unwrap()).unwrap();
    let _next = Client::greet(connection, "the next one").unwrap();
    let Seen::Connected(_, _, hello) = server.seen() else { panic!("something else") };
    assert_eq!(hello.client, "the next one");
}

#[test]
fn a_refused_peer_learns_why_and_so_does_the_host() {
    let scratch = Scratch::new();
    let listener = wasmdbg_control::server::Listener::bind(
        &scratch.socket(),
        wasmdbg_control::server::Access::Everybody,
    );
    let server = Server::with(Some(listener.unwrap()), Some("user 1234 is not named in control.users"));
    let error = Client::unix(&scratch.socket(), "wasmdbg 0.1.0").map(drop).unwrap_err();
    assert!(error.denied(), "{error}");
    assert_eq!(error.to_string(), "user 1234 is not named in control.users");
    let Seen::Refused(line) = server.seen() else { panic!("let in") };
    let pid = std::process::id();
    assert!(line.contains(&format!("pid {pid}: user 1234")), "{line}");
}

#[test]
fn a_proxy_that_hangs_up_while_greeting_is_named() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let error = Client::greet(Connection::over(ours).unwrap(), "x").map(drop).unwrap_err();
    assert_eq!(error.to_string(), "the connection is closed: the other side ended it or is gone");
}

#[test]
fn replies_and_refusals_find_their_call() {
    let server = Server::with(None, None);
    let connection = Connection::over(server.remote.connect().unwrap()).unwrap();
    let (client, _events) = Client::greet(connection, "wasmdbg 0.1.0").unwrap();
    assert_eq!(client.welcome().protocol, wasmdbg_control::PROTOCOL_VERSION);
    let Seen::Connected(_, peer, hello) = server.seen() else { panic!("not let in") };
    assert_eq!((peer.pid, hello.client.as_str()), (std::process::id(), "wasmdbg 0.1.0"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let client = client.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    client.call(Activity {}).unwrap();
                }
            });
        }
    });
    let error = client.call(wasmdbg_control::session::Detach {}).unwrap_err();
    assert_eq!(error.to_string(), "no `detach` in this test");
}
