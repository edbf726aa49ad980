//! The greeting: versions on both sides, and refusals.

use std::io::Write;
use std::os::unix::net::UnixStream;

use wasmdbg_control::client::{AttachError, Client};
use wasmdbg_control::connection::Connection;
use wasmdbg_control::message::Request;
use wasmdbg_control::session::{Activity, Welcome};
use wasmdbg_control::{ErrorKind, Message, WireError};

use crate::support::{Scratch, Seen, Server, frame, read_message, welcome};

#[test]
fn a_client_of_a_newer_version_is_told_to_upgrade_the_plugin() {
    let server = Server::with(None, None);
    let mut stream = server.remote.connect().unwrap();
    let hello =
        br#"{"request":{"id":7,"body":{"method":"hello","params":{"protocol":2,"client":"wasmdbg 9.9.9"}}}}"#;
    stream.write_all(&frame(hello)).unwrap();
    let Message::Error { id: 7, error } = read_message(&mut stream) else { panic!("greeted") };
    assert_eq!(error.kind, ErrorKind::Version);
    assert_eq!(
        error.message,
        "the plugin in the proxy (wasmdbg.so 0.1.0) speaks version 1 of the control protocol and the client \
         (wasmdbg 9.9.9) version 2: upgrade wasmdbg.so and restart the proxy, or use the client installed with it"
    );
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
