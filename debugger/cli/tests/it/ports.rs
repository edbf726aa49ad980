//! The ports of `wasmdbg dap --listen` and `wasmdbg gdb-server`: whoever reaches one has the rights of the
//! user who runs it, so other users must not.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::proxy::{NOBODY, Play, Proxy, can_be_nobody, wasmdbg};

/// A server and what it has said; ended when dropped.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    /// Starts it; `before` stands in front of its address in its output.
    fn start(arguments: &[&str], before: &str) -> Self {
        Self::of(wasmdbg(arguments), before)
    }

    fn of(mut command: Command, before: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(before) {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "no line with {before}");
        }
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Self { child, port }
    }

    /// What a client gets that says `text` and reads to the end of the connection, or so many bytes.
    fn talk(&self, user: Option<u32>, text: &str, bytes: usize) -> String {
        let script = "exec 3<>/dev/tcp/127.0.0.1/$0 && printf %s \"$1\" >&3; head -c \"$2\" <&3";
        let mut client = Command::new("bash");
        client.args(["-c", script, &self.port, text, &bytes.to_string()]).current_dir("/");
        if let Some(user) = user {
            client.uid(user).gid(user);
        }
        let output = client.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Nobody reads its complaints from now on.
    fn ignore(&mut self) {
        drop(self.child.stderr.take());
    }

    /// Ends it; what it has complained about.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const INITIALIZE: &str = "{\"seq\":1,\"type\":\"request\",\"command\":\"initialize\"}";

#[test]
fn another_users_editor_is_turned_away() {
    if !can_be_nobody() {
        return;
    }
    let server = Server::start(&["dap", "--listen", "127.0.0.1:0"], "debug adapter at");
    let initialize = format!("Content-Length: {}\r\n\r\n{INITIALIZE}", INITIALIZE.len());
    let said = server.talk(Some(NOBODY), &initialize, 100_000);
    assert!(!said.contains("capabilities") && !said.contains("initialize"), "{said}");
    assert!(said.contains("\"event\":\"output\""), "{said}");
    assert!(said.contains("user 65534 may not connect, only user 0 who runs this and root"), "{said}");
    let said = server.talk(None, &initialize, 200);
    assert!(said.contains("\"command\":\"initialize\"") && said.contains("\"success\":true"), "{said}");
    let complained = server.end();
    assert_eq!(complained.lines().count(), 1, "{complained}");
    assert!(complained.starts_with("refused a connection from 127.0.0.1:"), "{complained}");
    assert!(complained.contains(": user 65534 may not connect"), "{complained}");
}

#[test]
fn another_users_lldb_is_turned_away() {
    if !can_be_nobody() {
        return;
    }
    let proxy = Proxy::start(Play::Nothing);
    let server = Server::start(
        &["gdb-server", &proxy.socket(), "--listen", "127.0.0.1:0"],
        "process connect --plugin wasm connect://",
    );
    let hello = "$QStartNoAckMode#b0";
    assert_eq!(server.talk(Some(NOBODY), hello, 100), "");
    assert_eq!(server.talk(None, hello, 7), "+$OK#9a");
    let complained = server.end();
    assert!(complained.contains("user 65534 may not connect"), "{complained}");
}

#[test]
fn a_stranger_does_not_end_a_server_whose_complaints_nobody_reads() {
    if !can_be_nobody() {
        return;
    }
    let mut adapter = Server::start(&["dap", "--listen", "127.0.0.1:0"], "debug adapter at");
    adapter.ignore();
    let initialize = format!("Content-Length: {}\r\n\r\n{INITIALIZE}", INITIALIZE.len());
    assert!(adapter.talk(Some(NOBODY), &initialize, 100_000).contains("may not connect"));
    assert!(adapter.talk(None, &initialize, 200).contains("\"success\":true"));

    let proxy = Proxy::start(Play::Nothing);
    let mut server = Server::start(
        &["gdb-server", &proxy.socket(), "--listen", "127.0.0.1:0"],
        "process connect --plugin wasm connect://",
    );
    server.ignore();
    let hello = "$QStartNoAckMode#b0";
    assert_eq!(server.talk(Some(NOBODY), hello, 100), "");
    assert_eq!(server.talk(None, hello, 7), "+$OK#9a");
}

#[test]
fn users_without_a_number_in_the_servers_namespace_are_turned_away() {
    let unshare = |program: &std::ffi::OsStr| {
        let mut command = Command::new("unshare");
        command.arg("--user").arg(program);
        command
    };
    if !can_be_nobody() || !unshare("true".as_ref()).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no user namespace can be made");
        return;
    }
    let dap = wasmdbg(&["dap", "--listen", "127.0.0.1:0"]);
    let mut command = unshare(dap.get_program());
    command.args(dap.get_args());
    // The server has no number there either: all of them are shown as 65534.
    let server = Server::of(command, "debug adapter at");
    for user in [Some(NOBODY), Some(1000)] {
        // Not to the end: a client that is served has none.
        let initialize = format!("Content-Length: {}\r\n\r\n{INITIALIZE}", INITIALIZE.len());
        let said = server.talk(user, &initialize, 250);
        assert!(said.contains("user 65534 stands for everybody who has no number"), "{said}");
    }
}
