//! Stock LLDB: by the gdb-remote server on one live request, and on the whole process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::{Ats, Filter, example};
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::process::{product, repository};
use wasmdbg_tests::scratch::{PATIENCE, wait_for};
use wasmdbg_tests::text::Transcript;
use wasmdbg_tests::wasmdbg::{self, Wasmdbg};

use crate::adapter::{PRIME, SOURCE};
use crate::debugger::{Debugger, HEADER, line_of, random};

const LLDB: &str = "lldb-22";

/// A debugger that reads its commands from a pipe.
struct Lldb {
    child: Child,
    input: ChildStdin,
    output: Transcript,
    cursor: usize,
}

impl Lldb {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .current_dir(repository())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{LLDB} starts: apt-get install {LLDB}"))?;
        let output = Transcript::default();
        output.also_follow(child.stdout.take().context("a pipe")?);
        output.also_follow(child.stderr.take().context("a pipe")?);
        let input = child.stdin.take().context("a pipe")?;
        Ok(Self { child, input, output, cursor: 0 })
    }

    fn send(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    /// What comes up to the end of the line with `text`.
    fn expect(&mut self, text: &str) -> Result<String> {
        self.expect_any(&[text])
    }

    /// The same with whichever of the texts comes first.
    fn expect_any(&mut self, texts: &[&str]) -> Result<String> {
        let found = self.output.wait(&format!("{texts:?}"), self.cursor, PATIENCE, |tail| {
            let start = texts.iter().filter_map(|text| tail.find(text)).min()?;
            let length = tail[start..].find('\n').map(|end| start + end + 1)?;
            Some(tail[..length].to_string())
        })?;
        self.cursor += found.len();
        Ok(found)
    }

    fn ask(&mut self, line: &str, text: &str) -> Result<String> {
        self.send(line)?;
        self.expect(text)
    }
}

impl Drop for Lldb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line in `… at lib.rs:122:17`.
fn line_in(text: &str) -> Option<usize> {
    let (_, behind) = text.rsplit_once("lib.rs:")?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

struct Server {
    wasmdbg: Wasmdbg,
    url: String,
    token: u32,
}

/// `wasmdbg gdb-server` for a server's filters.
fn serve(ats: &Ats) -> Result<Server> {
    let token = random();
    let (pid, rule) = (ats.pid().to_string(), format!("header:{HEADER}={token}"));
    let mut wasmdbg = Wasmdbg::start(&["gdb-server", &pid, "--when", &rule])?;
    let said = wasmdbg.expect("connect://")?;
    let url = said.split_whitespace().find(|word| word.starts_with("connect://")).context("an address")?;
    Ok(Server { url: url.to_owned(), wasmdbg, token })
}

impl Server {
    fn request(&self, ats: &Ats, token: u32) -> Pending {
        let request = Request::get("/cache/10/x")
            .header(HEADER, &self.token.to_string())
            .header("token", &token.to_string());
        Pending::start(ats.address(), request, PATIENCE)
    }

    fn lldb(&self) -> Result<Lldb> {
        let mut lldb = Lldb::start(Command::new(LLDB).arg("--no-use-colors"))?;
        lldb.ask(&format!("process connect --plugin wasm {}", self.url), "stop reason")?;
        Ok(lldb)
    }
}

fn start(settings: &str) -> Result<Ats> {
    let module = example("rust-token", "debug");
    Ats::options().settings(settings).filter(Filter::new("rust-token", &module)).start()
}

#[test]
fn lldb_debugs_one_request_and_the_proxy_serves_everyone_else() -> Result<()> {
    let ats = start("control:\n  enabled: true\n")?;
    let server = serve(&ats)?;
    let mut lldb = server.lldb()?;
    let line = line_of(SOURCE, PRIME);
    lldb.ask(&format!("breakpoint set --file lib.rs --line {line}"), "address = 0x4")?;
    lldb.ask("breakpoint set --name rust_token::is_prime", "address = 0x4")?;
    lldb.ask("continue", "resuming")?;

    let token = random();
    let request = server.request(&ats, token);
    lldb.expect(&format!("lib.rs:{line}"))?;
    let frames = lldb.ask("bt", "proxy_on_request_headers at")?;
    ensure!(frames.contains("on_http_request_headers") && frames.contains("rust_token::judge"), "{frames}");
    lldb.ask("frame variable token", &token.to_string())?;
    assert_eq!(ats.fetch(&Request::get("/cache/10/x"))?.status, 403, "others are served, and refused");
    assert!(!request.is_finished());

    lldb.ask("next", "rust_token::is_prime")?;
    lldb.ask("frame variable number", &format!("number = {token}"))?;
    lldb.ask("memory read --size 1 --count 4 --format x 0x100000", "0x00100000: 0x")?;
    lldb.ask("memory write 0x100000 0x57 0x42", "")?;
    lldb.ask("memory read --size 1 --count 2 --format x 0x100000", "0x57 0x42")?;
    lldb.ask("register write pc 0x1", "error")?;
    lldb.ask("finish", "rust_token::judge")?;
    lldb.send("detach")?;
    let response = request.wait()?;
    let passed = response.header("x-token-prime") == Some(&token.to_string());
    assert_eq!(passed, response.status != 403, "{}", response.text());
    Ok(())
}

/// The lines of each step, as our own engine has them.
#[test]
fn lldb_steps_through_the_lines_that_our_own_engine_steps_through() -> Result<()> {
    let ats = start("control:\n  enabled: true\n")?;
    let line = line_of(SOURCE, PRIME);
    let mut own = Debugger::attach(&ats, "rust-token", &[])?;
    own.ask(&format!("break lib.rs:{line}"), "Breakpoint 1")?;
    let request = own.request("/cache/10/x").header("token", "12");
    let stopped = own.stop(&ats, request)?;
    own.ask("print token", "token = 12")?;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(line_in(&own.ask("next", "lib.rs:")?).context("a line")?);
    }
    drop(own);
    stopped.wait()?;

    let server = serve(&ats)?;
    let mut lldb = server.lldb()?;
    lldb.ask(&format!("breakpoint set --file lib.rs --line {line}"), "address = 0x4")?;
    lldb.ask("continue", "resuming")?;
    let request = server.request(&ats, 12);
    lldb.expect(&format!("lib.rs:{line}"))?;
    let mut stepped = Vec::new();
    for _ in 0..3 {
        let said = lldb.ask("next", "lib.rs:")?;
        stepped.push(line_in(&said).context("a line")?);
    }
    assert_eq!(stepped, expected, "{}", lldb.output.all());
    lldb.send("detach")?;
    assert_eq!(request.wait()?.status, 403);
    Ok(())
}

#[test]
fn an_lldb_that_dies_leaves_nothing_stopped_and_the_next_one_is_served() -> Result<()> {
    let ats = start("control:\n  enabled: true\n")?;
    let mut server = serve(&ats)?;
    for _ in 0..2 {
        let mut lldb = server.lldb()?;
        lldb.ask("breakpoint set --name rust_token::judge", "address = 0x4")?;
        lldb.ask("continue", "resuming")?;
        let request = server.request(&ats, 7);
        lldb.expect("stop reason = breakpoint")?;
        drop(lldb);
        assert_eq!(request.wait()?.header("x-token-prime"), Some("7"));
        assert_eq!(server.request(&ats, 7).wait()?.header("x-token-prime"), Some("7"), "no breakpoint stays");
    }
    ats.stop()?;
    let status = server.wasmdbg.wait(PATIENCE)?;
    assert_eq!(status.code(), Some(3), "{}", server.wasmdbg.transcript());
    Ok(())
}

#[test]
fn requests_that_stop_meanwhile_are_shown_one_after_the_other() -> Result<()> {
    let ats = start("control:\n  enabled: true\n")?;
    let server = serve(&ats)?;
    let mut lldb = server.lldb()?;
    lldb.ask("breakpoint set --name rust_token::is_prime", "address = 0x4")?;
    lldb.ask("continue", "resuming")?;
    let requests = [server.request(&ats, 7), server.request(&ats, 11)];
    let mut seen = Vec::new();
    for more in [true, false] {
        lldb.expect("stop reason = breakpoint 1.1")?;
        let said = lldb.ask("frame variable number", "number = ")?;
        seen.push(said.trim().rsplit(' ').next().unwrap_or_default().to_owned());
        lldb.send(if more { "continue" } else { "detach" })?;
    }
    seen.sort();
    assert_eq!(seen, ["11", "7"], "{}", lldb.output.all());
    for request in requests {
        assert_eq!(request.wait()?.status, 200);
    }
    Ok(())
}

#[test]
fn a_running_callback_is_interrupted() -> Result<()> {
    let ats = Ats::options().filter(crate::fast_lane::misbehave()).start()?;
    let server = serve(&ats)?;
    let mut lldb = server.lldb()?;
    let request =
        Request::get("/cache/10/x").header(HEADER, &server.token.to_string()).header("do", "request=loop");
    let pending = Pending::start(ats.address(), request, PATIENCE);
    lldb.ask("continue", "resuming")?;
    let mut runs = true;
    let stopped = wait_for("a stop in the loop", PATIENCE, || {
        if !std::mem::replace(&mut runs, true) {
            lldb.ask("continue", "resuming").ok()?;
        }
        lldb.send("process interrupt").ok()?;
        // It says that it resumes before it does.
        if lldb.expect_any(&["stop reason", "Failed to halt"]).ok()?.contains("Failed to halt") {
            return None;
        }
        // One that comes before the loop finds nothing that runs.
        runs = false;
        lldb.send("bt").ok()?;
        let frames = lldb.ask("version", "lldb version").ok()?;
        frames.contains("endless_loop").then_some(())
    });
    stopped.with_context(|| lldb.output.all())?;
    lldb.send("detach")?;
    // Its budget ends it, by the fail policy.
    pending.wait()?;
    Ok(())
}

#[test]
fn garbage_and_a_second_client_do_not_disturb_the_port() -> Result<()> {
    let ats = start("control:\n  enabled: true\n")?;
    let server = serve(&ats)?;
    let address = server.url.strip_prefix("connect://").context("an address")?;
    let mut first = TcpStream::connect(address)?;
    first.write_all(b"$QStartNoAckMode#b0")?;
    ensure!(first.read(&mut [0; 1000])? > 0, "it is served");
    let mut second = TcpStream::connect(address)?;
    second.set_read_timeout(Some(PATIENCE))?;
    assert_eq!(second.read(&mut [0; 1000])?, 0, "only one at a time");
    first.write_all(
        b"\x03\x03$$$#zz\xff\x00}$vCont;c:p1.99#00$z0,ffffffffffffffffffffff,1#11GET / HTTP/1.1\r\n\r\n",
    )?;
    drop(first);
    server.lldb()?;
    assert_eq!(server.request(&ats, 7).wait()?.header("x-token-prime"), Some("7"));
    Ok(())
}

#[test]
fn other_machines_are_refused_unless_told() -> Result<()> {
    let output = wasmdbg::run(&["gdb-server", "--listen", "0.0.0.0:0"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("other machines"), "{said}");
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}

#[test]
fn lldb_on_the_whole_process_sees_filter_and_server_in_one_stack() -> Result<()> {
    let ats = start("debug:\n  native: true\n")?;
    let pid = ats.pid().to_string();
    let mut command = Command::new(product("wasmdbg")?);
    command.args(["lldb", &pid, "--yes", "--program", LLDB, "--", "--no-use-colors"]);
    let mut lldb = Lldb::start(&mut command)?;
    lldb.expect("EVERY request of this proxy stops")?;
    lldb.expect("stop reason")?;
    let line = line_of(SOURCE, PRIME);
    // The plugin's own crates have files named lib.rs too.
    lldb.ask(&format!("breakpoint set --file rust-token/src/lib.rs --line {line}"), "Breakpoint 1:")?;
    lldb.ask("continue", "resuming")?;
    let token = random();
    let request = Request::get("/cache/10/x").header("token", &token.to_string());
    let request = Pending::start(ats.address(), request, PATIENCE);
    lldb.expect(&format!("lib.rs:{line}"))?;
    lldb.ask("frame variable token", &token.to_string())?;
    let frames = lldb.ask("bt", "EThread::execute")?;
    for part in ["rust_token::judge", "on_http_request_headers", "wasmdbg.so`", "HttpSM::"] {
        ensure!(frames.contains(part), "no {part} in\n{frames}");
    }
    lldb.ask("breakpoint delete --force", "removed")?;
    lldb.send("detach")?;
    let response = request.wait()?;
    assert_eq!(response.header("x-token-prime").is_some(), response.status != 403);
    assert!(ats.is_running());
    wait_for("the end of lldb", PATIENCE, || {
        let _ = lldb.send("quit");
        lldb.child.try_wait().ok().flatten()
    })?;
    Ok(())
}

#[test]
fn lldb_says_what_to_set_and_asks() -> Result<()> {
    let plain = start("control:\n  enabled: true\n")?;
    let output = wasmdbg::run(&["lldb", &plain.pid().to_string(), "--yes"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("debug: { native: true }"), "{said}");
    assert_eq!(output.status.code(), Some(3));
    let native = start("debug:\n  native: true\n")?;
    let output = wasmdbg::run(&["lldb", &native.pid().to_string()])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("give --yes"), "{said}");
    assert_eq!(native.fetch(&Request::get("/cache/10/x").header("token", "7"))?.status, 200);
    Ok(())
}
