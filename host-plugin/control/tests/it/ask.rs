//! Sockets of one process, asked one after the other.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wasmdbg_control::client::AttachError;
use wasmdbg_control::discover::{MAX_ASKED, greet_first};

use crate::support::{PATIENCE, Scratch, Server};

/// Sockets that accept and never greet.
fn silent(scratch: &Scratch, count: usize) -> (Vec<PathBuf>, Vec<UnixListener>) {
    let paths: Vec<_> = (0..count).map(|n| scratch.0.join(format!("silent{n}.sock"))).collect();
    let listeners = paths.iter().map(|path| UnixListener::bind(path).unwrap()).collect();
    (paths, listeners)
}

#[test]
fn a_socket_that_greets_is_found_behind_silent_ones() {
    let scratch = Scratch::new();
    let (mut paths, _listeners) = silent(&scratch, 2);
    let _server = Server::at(&scratch.socket());
    paths.push(scratch.socket());
    // A third of it for each: no silent one takes all.
    let greeted = greet_first(&paths, "wasmdbg 0.1.0", Duration::from_secs(6)).unwrap();
    assert_eq!(greeted.socket, scratch.socket());
}

#[test]
fn silent_sockets_share_one_limit_and_those_that_were_not_asked_are_counted() {
    let scratch = Scratch::new();
    let (paths, _listeners) = silent(&scratch, MAX_ASKED + 3);
    let start = Instant::now();
    let nobody = greet_first(&paths, "wasmdbg 0.1.0", Duration::from_millis(800)).unwrap_err();
    assert!(start.elapsed() < PATIENCE, "each had a limit of its own");
    assert_eq!((nobody.asked, nobody.left_out), (8, 3));
    assert_eq!(
        nobody.to_string(),
        "the proxy has not answered `hello` within 0.1 s (none of 8 sockets of this process is the plugin's, and 3 \
         more were not asked: give the socket's path)"
    );
}

#[test]
fn the_first_reason_is_told_unless_another_knows_the_protocol() {
    let scratch = Scratch::new();
    let absent = [scratch.0.join("one.sock"), scratch.0.join("two.sock")];
    let nobody = greet_first(&absent, "wasmdbg 0.1.0", PATIENCE).unwrap_err();
    assert_eq!(nobody.socket, absent[0]);
    let text = nobody.to_string();
    assert!(text.ends_with("(none of the 2 sockets of this process is the plugin's)"), "{text}");
    let listener = wasmdbg_control::server::Listener::bind(
        &scratch.socket(),
        wasmdbg_control::server::Access::Everybody,
    );
    let _server = Server::with(Some(listener.unwrap()), Some("no strangers"));
    let [one, two] = absent;
    let nobody = greet_first(&[one, scratch.socket(), two], "wasmdbg 0.1.0", PATIENCE).unwrap_err();
    assert!(nobody.error.denied(), "{nobody}");
    assert_eq!(nobody.socket, scratch.socket());
}

#[test]
fn one_socket_has_all_the_time_and_its_own_words() {
    let scratch = Scratch::new();
    let absent = [scratch.socket()];
    let nobody = greet_first(&absent, "wasmdbg 0.1.0", PATIENCE).unwrap_err();
    assert_eq!(nobody.to_string(), nobody.error.to_string());
    let none = greet_first(&[], "wasmdbg 0.1.0", PATIENCE).unwrap_err();
    assert!(matches!(none.error, AttachError::NoSocket), "{none}");
}
