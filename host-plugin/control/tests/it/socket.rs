//! Sockets in the file system: permissions, stale ones, long paths, dead ones.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use wasmdbg_control::CallError;
use wasmdbg_control::client::{AttachError, Client};
use wasmdbg_control::connection::ConnectError;
use wasmdbg_control::server::{Access, BindError, Listener, ServerLoop};
use wasmdbg_control::session::Activity;

use crate::support::{PATIENCE, Scratch, Server, crowded, welcome};

fn connect(path: &std::path::Path) -> Result<(), AttachError> {
    Client::unix(path, "wasmdbg 0.1.0").map(drop)
}

#[test]
fn the_mode_says_who_may_connect() {
    let scratch = Scratch::new();
    let mode = |access| {
        let listener = Listener::bind(&scratch.socket(), access).unwrap();
        let mode = std::fs::metadata(listener.path()).unwrap().permissions().mode();
        mode & 0o777
    };
    assert_eq!(mode(Access::Owner), 0o600);
    assert_eq!(mode(Access::Everybody), 0o666);
    assert!(!scratch.socket().exists(), "a listener takes its file along");
}

#[test]
fn a_dead_socket_is_replaced() {
    let scratch = Scratch::new();
    drop(UnixListener::bind(scratch.socket()).unwrap());
    let before = std::fs::symlink_metadata(scratch.socket()).unwrap();
    assert!(before.file_type().is_socket());
    assert!(matches!(connect(&scratch.socket()), Err(AttachError::Connect(ConnectError::Dead { .. }))));
    let _server = Server::at(&scratch.socket());
    connect(&scratch.socket()).unwrap();
}

#[test]
fn a_socket_that_answers_is_left_alone() {
    let scratch = Scratch::new();
    let _first = Server::at(&scratch.socket());
    let error = Listener::bind(&scratch.socket(), Access::Owner).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    connect(&scratch.socket()).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let scratch = Scratch::new();
    std::fs::write(scratch.socket(), "precious").unwrap();
    let error = Listener::bind(&scratch.socket(), Access::Owner).unwrap_err();
    assert!(error.to_string().ends_with("exists and is no socket: remove it or choose another socket path"));
    assert_eq!(std::fs::read(scratch.socket()).unwrap(), b"precious");
}

#[test]
fn a_successor_keeps_its_socket() {
    let scratch = Scratch::new();
    let first = Listener::bind(&scratch.socket(), Access::Owner).unwrap();
    std::fs::remove_file(scratch.socket()).unwrap();
    let second = Listener::bind(&scratch.socket(), Access::Owner).unwrap();
    let inode = std::fs::metadata(second.path()).unwrap().ino();
    drop(first);
    assert_eq!(std::fs::metadata(scratch.socket()).unwrap().ino(), inode);
}

/// A folder whose sockets' paths do not fit `sockaddr_un`.
fn deep(scratch: &Scratch) -> PathBuf {
    let folder = scratch.0.join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn long_paths_work_on_both_sides() {
    let scratch = Scratch::new();
    let path = deep(&scratch).join("wasmdbg.sock");
    let server = Server::at(&path);
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let (client, _events) = Client::unix(&path, "wasmdbg 0.1.0").unwrap();
    client.call(Activity {}).unwrap();
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_dead_socket_with_a_long_path_is_replaced() {
    let scratch = Scratch::new();
    let folder = deep(&scratch);
    drop(UnixListener::bind(scratch.socket()).unwrap());
    std::fs::rename(scratch.socket(), folder.join("wasmdbg.sock")).unwrap();
    let _server = Server::at(&folder.join("wasmdbg.sock"));
    connect(&folder.join("wasmdbg.sock")).unwrap();
}

#[test]
fn an_absent_socket_is_named() {
    let scratch = Scratch::new();
    let error = connect(&scratch.socket()).unwrap_err();
    assert!(matches!(error, AttachError::Connect(ConnectError::Absent { .. })));
    assert!(error.to_string().contains(scratch.socket().to_str().unwrap()), "{error}");
}

#[test]
fn a_proxy_that_dies_ends_calls_with_a_reason() {
    let scratch = Scratch::new();
    let server = Server::at(&scratch.socket());
    let (client, events) = Client::unix(&scratch.socket(), "wasmdbg 0.1.0").unwrap();
    drop(server);
    assert_eq!(events.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    let error = client.call(Activity {}).unwrap_err();
    assert_eq!(error.to_string(), "the connection is closed: the other side ended it or is gone");
    assert!(client.fault().is_some());
}

#[test]
fn a_listener_that_does_not_accept_keeps_neither_a_client_nor_a_proxy_that_starts() {
    let scratch = Scratch::new();
    let _crowd = crowded(&scratch.socket());
    let patience = Duration::from_millis(100);
    let error = Client::unix_within(&scratch.socket(), "wasmdbg 0.1.0", patience).map(drop).unwrap_err();
    assert!(matches!(error, AttachError::Connect(ConnectError::Busy { .. })), "{error}");
    assert!(error.to_string().contains("accepts no connections: its proxy is stopped or hangs"), "{error}");
    let error = Listener::bind(&scratch.socket(), Access::Owner).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    assert!(scratch.socket().exists(), "it is not ours to remove");
}

#[test]
fn a_proxy_that_never_greets_is_given_up() {
    let scratch = Scratch::new();
    let _silent = UnixListener::bind(scratch.socket()).unwrap();
    let patience = Duration::from_millis(100);
    let error = Client::unix_within(&scratch.socket(), "wasmdbg 0.1.0", patience).map(drop).unwrap_err();
    assert!(
        matches!(error, AttachError::Call(CallError::Timeout { method: "hello", waited }) if waited == patience),
        "{error}"
    );
}

#[test]
fn the_socket_is_gone_when_the_loop_has_ended_whatever_its_host_still_does() {
    let scratch = Scratch::new();
    let listener = Listener::bind(&scratch.socket(), Access::Owner).unwrap();
    let mut server = ServerLoop::new(Some(listener), welcome()).unwrap();
    server.waker().stop();
    server.run(&mut crate::support::Answers::default()).unwrap();
    assert!(!scratch.socket().exists());
}
