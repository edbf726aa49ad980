//! Finding sockets through `/proc`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use wasmdbg_control::client::Client;
use wasmdbg_control::discover::{self, Socket};

use crate::support::{Scratch, Server};

#[test]
fn a_process_without_the_plugin_is_told_apart_from_none() {
    let error = discover::proxy(std::process::id()).unwrap_err();
    assert!(error.to_string().contains("has no wasmdbg.so loaded"), "{error}");
    // The largest pid there can be is never in use on a machine of this size.
    let error = discover::proxy(4_194_304).unwrap_err();
    assert_eq!(error.to_string(), "there is no process 4194304");
}

#[test]
fn a_socket_of_our_name_is_found_even_when_its_process_is_not_known() {
    let scratch = Scratch::new();
    let _server = Server::at(&scratch.socket());
    let found = discover::proxies().unwrap();
    let ours = Socket::At(vec![scratch.socket()]);
    assert!(found.iter().any(|proxy| proxy.socket == ours && proxy.pid.is_none()), "{found:?}");
}

/// Not a test: a process that has a `wasmdbg.so` mapped and listens where its environment says.
#[test]
#[ignore = "started by the tests below"]
fn holder() {
    let Some(paths) = std::env::var_os("HOLDER_SOCKETS") else { return };
    let servers: Vec<_> = std::env::split_paths(&paths)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| Server::at(&path))
        .collect();
    std::io::stdout().write_all(b"\nready\n").unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    drop(servers);
}

struct Holder(Child, BufReader<ChildStdout>);

impl Holder {
    /// Any shared library will do as the plugin: what counts is the name of a mapped file.
    fn start(scratch: &Scratch, sockets: &[&Path], folder: &Path) -> Self {
        let library = scratch.0.join("wasmdbg.so");
        std::fs::copy(a_library(), &library).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("LD_PRELOAD", &library);
        Self::of(command, sockets, folder)
    }

    fn of(mut command: Command, sockets: &[&Path], folder: &Path) -> Self {
        let mut child = command
            .args(["--ignored", "--exact", "discover::holder", "--nocapture"])
            .env("HOLDER_SOCKETS", std::env::join_paths(sockets).unwrap())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ready = output.by_ref().lines().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the holder ended early");
        Self(child, output)
    }

    fn socket(&self) -> Socket {
        discover::proxy(self.0.id()).unwrap().socket
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.1.read_to_string(&mut String::new());
        let _ = self.0.wait();
    }
}

/// The math library that this very process may have mapped, or libgcc_s, which it has.
fn a_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let path =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libgcc_s"));
    PathBuf::from(path.expect("Rust's unwinder is in libgcc_s"))
}

#[test]
fn a_proxy_is_found_with_its_pid_and_name() {
    let scratch = Scratch::new();
    let socket = scratch.socket();
    let holder = Holder::start(&scratch, &[&socket], &scratch.0);
    let found = discover::proxies().unwrap();
    let proxy = found.iter().find(|proxy| proxy.pid == Some(holder.0.id())).expect("it is listed");
    assert_eq!(proxy.socket, Socket::At(vec![socket.clone()]));
    assert!(proxy.process.as_ref().is_some_and(|name| name.starts_with("it-")), "{proxy:?}");
    let listed = found.iter().filter(|proxy| proxy.socket == Socket::At(vec![socket.clone()])).count();
    assert_eq!(listed, 1, "and not once more as a stranger's");
}

/// `wasmdbg run` has the plugin built in.
#[test]
fn the_command_is_a_proxy_when_it_listens() {
    let scratch = Scratch::new();
    let program = scratch.0.join("wasmdbg");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let socket = scratch.0.join("of its settings.sock");
    let listed = |holder: &Holder| {
        let found = discover::proxies().unwrap();
        found.into_iter().find(|proxy| proxy.pid == Some(holder.0.id())).map(|proxy| proxy.socket)
    };
    let run = Holder::of(Command::new(&program), &[&socket], &scratch.0);
    assert_eq!(listed(&run), Some(Socket::At(vec![socket.clone()])));
    assert_eq!(run.socket(), Socket::At(vec![socket]));
    drop(run);
    let other = Holder::of(Command::new(&program), &[], &scratch.0);
    assert_eq!(listed(&other), None, "it serves no filter");
    let error = discover::proxy(other.0.id()).unwrap_err();
    assert!(error.to_string().contains("has no wasmdbg.so loaded"), "{error}");
}

#[test]
fn another_name_is_found_and_the_proxys_own_sockets_are_not() {
    let scratch = Scratch::new();
    let (ours, other) = (scratch.0.join("debug.socket"), scratch.0.join("jsonrpc20.sock"));
    let holder = Holder::start(&scratch, &[&ours, &other], &scratch.0);
    assert_eq!(holder.socket(), Socket::At(vec![ours]));
}

#[test]
fn a_plugin_that_does_not_listen_is_said_to_be_closed() {
    let scratch = Scratch::new();
    let holder = Holder::start(&scratch, &[], &scratch.0);
    let Socket::Closed { reason } = holder.socket() else { panic!("it listens") };
    assert!(reason.contains(" s ago and does not listen yet"), "{reason}");
}

#[test]
fn long_and_relative_paths_lead_to_the_socket() {
    let scratch = Scratch::new();
    let folder = scratch.0.join("d".repeat(120));
    std::fs::create_dir(&folder).unwrap();
    let long = folder.join("wasmdbg.sock");
    let holder = Holder::start(&scratch, &[&long, Path::new("wasmdbg.sock")], &scratch.0);
    let Socket::At(mut paths) = holder.socket() else { panic!("hidden") };
    paths.sort();
    let mut expected = vec![long, scratch.socket()];
    expected.sort();
    assert_eq!(paths, expected);
    for path in paths {
        Client::unix(&path, "wasmdbg 0.1.0").unwrap();
    }
}
