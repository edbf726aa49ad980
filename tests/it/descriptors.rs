//! File descriptors of the proxy: debugging uses none up, and without free ones it is refused.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::Request;
use wasmdbg_tests::process;
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

/// A client of the control socket that needs no process of its own.
struct Control {
    stream: UnixStream,
    id: u64,
}

impl Control {
    fn connect(ats: &Ats) -> Result<Self> {
        let stream = UnixStream::connect(ats.socket()?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut control = Self { stream, id: 0 };
        control.call("hello", json!({"protocol": 1, "client": "test"}))?;
        Ok(control)
    }

    /// Waits for the reply; events are passed over.
    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.id += 1;
        let request = json!({"request": {"id": self.id, "body": {"method": method, "params": params}}});
        let body = serde_json::to_vec(&request)?;
        self.stream.write_all(&u32::try_from(body.len())?.to_be_bytes())?;
        self.stream.write_all(&body)?;
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).with_context(|| format!("no reply to {method}"))?;
            let mut body = vec![0; u32::from_be_bytes(header) as usize];
            self.stream.read_exact(&mut body)?;
            let message: Value = serde_json::from_slice(&body)?;
            if let Some(response) = message.get("response") {
                ensure!(response["id"] == self.id, "a reply to something else: {message}");
                return Ok(response["body"]["result"].clone());
            }
            if let Some(error) = message.get("error") {
                bail!("{}", error["error"]["message"].as_str().unwrap_or_default());
            }
        }
    }

    fn attach(&mut self, filter: &str) -> Result<Value> {
        self.call("attach", json!({"filters": [filter], "rules": [], "all": true, "deadline_ms": null}))
    }

    fn detach(&mut self) -> Result<Value> {
        self.call("detach", json!({}))
    }
}

fn small(scratch: &Scratch) -> Result<Filter> {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;
    Ok(Filter::new("small", &scratch.write("small.wasm", wat::parse_str(text)?)?))
}

fn descriptors(ats: &Ats) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", ats.pid()))?.count())
}

fn serves(ats: &Ats) -> Result<()> {
    let request = Request::get("/nocache/10/x").header("token", "7");
    ensure!(ats.fetch(&request)?.status == 200, "{}", ats.diags());
    Ok(())
}

#[test]
fn a_debug_virtual_machine_leaves_no_descriptor() -> Result<()> {
    let scratch = Scratch::new("descriptors")?;
    // The engine stays while the other filter has a session: one attach is a slot and little else.
    let ats =
        Ats::options().filter(small(&scratch)?).filter(Filter::example("rust-token", "debug")).start()?;
    let mut keeper = Control::connect(&ats)?;
    keeper.attach("rust-token")?;
    let mut control = Control::connect(&ats)?;
    let mut attach = |times| -> Result<usize> {
        for _ in 0..times {
            control.attach("small")?;
            control.detach()?;
        }
        descriptors(&ats)
    };
    let after_10 = attach(10)?;
    let after_500 = attach(490)?;
    println!("{after_10} descriptors after 10 attaches, {after_500} after 500");
    assert!(after_500 <= after_10 + 8, "{after_10} descriptors after 10 attaches, {after_500} after 500");
    serves(&ats)?;
    keeper.detach()?;
    // A slot may still be ending when the next ones begin: of `debug.max_vms` at most.
    let idle = || {
        let names = process::thread_names(ats.pid()).ok()?;
        Some(names.iter().filter(|name| *name == "[WASMDBG_IDLE]").count())
    };
    wait_for("the slots' threads wait", PATIENCE, || idle().filter(|count| (1..=4).contains(count)))
        .with_context(|| format!("{:?}", process::thread_names(ats.pid())))?;
    Ok(())
}

/// Sets how many descriptors a running process may have.
fn limit(ats: &Ats, soft: usize) -> Result<()> {
    let set = Command::new("prlimit")
        .arg(format!("--pid={}", ats.pid()))
        .arg(format!("--nofile={soft}:"))
        .status()
        .context("prlimit runs: it is in util-linux")?;
    ensure!(set.success(), "prlimit: {set}");
    Ok(())
}

#[test]
fn without_free_descriptors_an_attach_is_refused_and_the_proxy_serves_on() -> Result<()> {
    let scratch = Scratch::new("descriptors")?;
    let ats = Ats::options().filter(small(&scratch)?).start()?;
    serves(&ats)?;
    let mut control = Control::connect(&ats)?;
    let few = descriptors(&ats)? + 30;
    limit(&ats, few)?;
    for _ in 0..20 {
        let refused =
            control.attach("small").err().context("a session without a descriptor for its thread")?;
        let text = refused.to_string();
        assert!(text.contains(&format!("of the {few} file descriptors")), "{text}");
        assert!(text.contains("LimitNOFILE"), "{text}");
        serves(&ats)?;
    }
    limit(&ats, 1000)?;
    control.attach("small")?;
    serves(&ats)?;
    control.detach()?;
    // A thread that is there needs none.
    wait_for("the slot's end", PATIENCE, || {
        process::thread_names(ats.pid()).ok()?.iter().any(|name| name == "[WASMDBG_IDLE]").then_some(())
    })?;
    limit(&ats, few)?;
    control.attach("small")?;
    serves(&ats)?;
    assert!(ats.is_running());
    Ok(())
}

#[test]
fn a_socket_that_does_not_accept_at_the_control_path_does_not_keep_the_proxy_from_starting() -> Result<()> {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
    };

    let scratch = Scratch::new("crowded")?;
    let path = scratch.path().join("control.sock");
    let address = UnixAddr::new(&path)?;
    let make = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None);
    let listener = make()?;
    bind(listener.as_raw_fd(), &address)?;
    listen(&listener, Backlog::new(1)?)?;
    let mut crowd = Vec::new();
    loop {
        let next = make()?;
        match connect(next.as_raw_fd(), &address) {
            Ok(()) => crowd.push(next),
            Err(nix::Error::EAGAIN) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let settings = format!("control:\n  socket: {}\n", path.display());
    let ats = Ats::options().filter(small(&scratch)?).settings(&settings).start()?;
    serves(&ats)?;
    let line = ats.wait_for_log("no debugger can attach")?;
    assert!(line.contains("is in use: another process listens there"), "{line}");
    Ok(())
}
