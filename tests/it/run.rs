//! `wasmdbg run`: a filter in a small proxy of its own, without Traffic Server.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use wasmdbg_tests::ats::example;
use wasmdbg_tests::http::{Connection, Pending, Request, fetch, is_refused};
use wasmdbg_tests::origin::{Answer, Origin};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::{PATIENCE, Scratch};
use wasmdbg_tests::wasmdbg::{self, Wasmdbg};

use crate::adapter::{PRIME, SOURCE};
use crate::debugger::{line_of, random};

/// A filter that is served, with a prompt that the test types at.
struct Served {
    wasmdbg: Wasmdbg,
    address: SocketAddr,
}

impl Served {
    fn start(filter: &str, upstream: Option<SocketAddr>, further: &[&str]) -> Result<Self> {
        let module = example(filter, "debug").display().to_string();
        let upstream = upstream.map(|address| format!("http://{address}"));
        let mut arguments = vec!["run", &module, "--listen", "127.0.0.1:0", "--batch", "--timeout", "60s"];
        if let Some(upstream) = &upstream {
            arguments.extend(["--upstream", upstream]);
        }
        arguments.extend(further);
        let mut wasmdbg = Wasmdbg::start(&arguments)?;
        let said = wasmdbg.expect("listening at http://")?;
        let address = said.rsplit_once("http://").context("an address")?.1.trim().parse()?;
        Ok(Self { wasmdbg, address })
    }

    fn request(&self, token: &str) -> Request {
        Request::get("/some/path?x=1").header("token", token)
    }
}

/// The output of a run of a file of requests.
fn play(module: &str, text: &str, further: &[&str]) -> Result<(Option<i32>, String)> {
    let folder = Scratch::new("run")?;
    let file = folder.path().join("requests.http");
    std::fs::write(&file, text)?;
    let module = repository().join(module).display().to_string();
    let output = wasmdbg::run(
        &[&["run", &module, "--request", file.to_str().context("a path")?][..], further].concat(),
    )?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok((output.status.code(), said.concat()))
}

const RUST: &str = "examples/rust-token/rust-token.debug.wasm";
const MISBEHAVE: &str = "tests/fixtures/misbehave/misbehave.debug.wasm";

#[test]
fn filters_are_debugged_from_configure_on_and_serve_an_upstream() -> Result<()> {
    let origin = Origin::start(|_| Answer::ok("from the origin").header("x-origin", "yes"))?;
    let configure = format!("break lib.rs:{}", line_of(SOURCE, "info!(\"configured"));
    let mut served = Served::start("rust-token", Some(origin.address()), &["-ex", &configure])?;
    // The first stop is before any request.
    served.wasmdbg.ask("continue", "stopped: breakpoint")?;
    served.wasmdbg.ask("bt", "proxy_on_configure")?;
    served.wasmdbg.send("delete")?;
    served.wasmdbg.ask(&format!("break lib.rs:{}", line_of(SOURCE, PRIME)), "Breakpoint 2")?;
    served.wasmdbg.send("continue")?;
    let token = random();
    let pending = Pending::start(served.address, served.request(&token.to_string()), PATIENCE);
    served.wasmdbg.expect("GET /some/path?x=1")?;
    served.wasmdbg.ask("print token", &format!("token = {token}"))?;
    served.wasmdbg.send("detach")?;
    let response = pending.wait()?;
    let prime = (2..).take_while(|n| n * n <= u64::from(token)).all(|n| u64::from(token) % n != 0);
    assert_eq!(response.status, if prime { 200 } else { 403 });
    Ok(())
}

#[test]
fn requests_reach_the_upstream_by_http_1_and_2() -> Result<()> {
    let origin = Origin::start(|_| Answer::ok("from the origin").header("x-origin", "yes"))?;
    for filter in ["rust-token", "cpp-headers"] {
        let served = Served::start(filter, Some(origin.address()), &["--when", "path:/nobody"])?;
        let mut connection = Connection::open(served.address, PATIENCE)?;
        for _ in 0..3 {
            let response = connection.exchange(&served.request("7919"))?;
            assert_eq!((response.status, response.text().as_str()), (200, "from the origin"), "{filter}");
            assert_eq!(response.header("x-origin"), Some("yes"));
            let own = if filter == "rust-token" { "x-token-prime" } else { "x-headers" };
            assert!(response.header(own).is_some(), "{filter}: {:?}", response.headers);
        }
        let posted = fetch(served.address, &Request::post("/in", b"a body").header("token", "7"))?;
        assert_eq!(posted.status, 200);
        assert_eq!(origin.requests().last().context("a request")?.body, b"a body");
        let curl = Command::new("curl")
            .args(["-s", "--http2-prior-knowledge", "-H", "token: 7", "-o", "/dev/null"])
            .args(["-w", "%{http_version} %{http_code}", &format!("http://{}/two", served.address)])
            .output()?;
        assert_eq!(String::from_utf8_lossy(&curl.stdout), "2 200", "{filter}");
    }
    assert!(origin.requests().iter().any(|request| request.path == "/some/path?x=1"));
    Ok(())
}

#[test]
fn a_file_of_requests_shows_what_each_callback_did() -> Result<()> {
    let text = "# comment\n@token = 7919\n### passes\nGET /one?x=1\ntoken: {{token}}\n\n\
                ### refused\nPOST /two\ntoken: 8\n\nhello\n### no token\nGET /three\n";
    let (code, said) = play(RUST, text, &[])?;
    assert_eq!(code, Some(0), "{said}");
    let mut rest = said.as_str();
    for part in [
        "log info rust-token",
        ": configured: Settings",
        "#1 GET /one?x=1",
        "7919 is prime",
        "proxy_on_request_headers: Continue",
        "response + x-token-prime: 7919",
        "client: 200",
        "#2 POST /two",
        "content-length: 5",
        "proxy_on_request_headers: answers 403: 8 is not prime: 2 divides it",
        "client: 403",
        "#3 GET /three",
        "the header token is missing",
    ] {
        let at = rest.find(part).with_context(|| format!("no {part:?} in its place in\n{said}"))?;
        rest = &rest[at + part.len()..];
    }
    Ok(())
}

#[test]
fn a_played_request_stops_at_a_breakpoint() -> Result<()> {
    let token = random().to_string();
    let stop = format!("break lib.rs:{}", line_of(SOURCE, PRIME));
    let commands = ["-ex", &stop, "-ex", "continue", "-ex", "print token", "-ex", "detach", "--batch"];
    let (code, said) = play(RUST, &format!("GET /played\ntoken: {token}\n"), &commands)?;
    assert!(said.contains(&format!("token = {token}")), "{said}");
    assert!(said.contains("#1 GET /played"), "{said}");
    assert!(!said.contains("virtual machine"), "there is no other than the debugger's: {said}");
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

#[test]
fn a_foreign_function_that_a_file_calls_stops_in_the_filter() -> Result<()> {
    let text = "GET /before\ntoken: 7\n\n###\nforeign: 42\n\nthe arguments\n";
    let (code, said) = play(RUST, text, &[])?;
    assert!(code == Some(0) && said.contains("\nforeign function 42: returned\n"), "{code:?} {said}");
    assert!(!said.contains("proxy_on_foreign_function"), "it is called: nobody says that it is not: {said}");
    let commands = [
        "-ex",
        "break proxy_on_foreign_function",
        "-ex",
        "continue",
        "-ex",
        "bt",
        "-ex",
        "detach",
        "--batch",
    ];
    let (code, said) = play(RUST, text, &commands)?;
    let stop = said.find("proxy_on_foreign_function (").with_context(|| format!("no stop in {said}"))?;
    assert!(said[..stop].contains("client: 200"), "after the request before it: {said}");
    assert!(code == Some(0) && said[stop..].contains("foreign function 42: returned"), "{code:?} {said}");
    Ok(())
}

#[test]
fn requests_wait_for_the_commands_of_a_script_on_standard_input() -> Result<()> {
    let (token, folder) = (random().to_string(), Scratch::new("run")?);
    let file = folder.path().join("requests.http");
    std::fs::write(&file, format!("GET /played\ntoken: {token}\n"))?;
    let module = repository().join(RUST).display().to_string();
    let mut wasmdbg = Wasmdbg::start(&["run", &module, "--request", &file.display().to_string(), "--batch"])?;
    wasmdbg.send(&format!("break lib.rs:{}", line_of(SOURCE, PRIME)))?;
    wasmdbg.ask("continue", "#1 GET /played")?;
    wasmdbg.ask("print token", &format!("token = {token}"))?;
    wasmdbg.ask("continue", "GET /played #1 is done")?;
    Ok(())
}

#[test]
fn continue_behind_the_last_request_ends_at_once_and_the_next_command_runs() -> Result<()> {
    let tokens = [random().to_string(), random().to_string()];
    let text = tokens.iter().map(|token| format!("### one\nGET /played\ntoken: {token}\n"));
    let text: String = text.collect();
    let stop = format!("break lib.rs:{}", line_of(SOURCE, PRIME));
    // A wait for a stop that cannot come ends with exit code 4.
    let mut commands = vec!["--batch", "--timeout", "20s", "-ex", &stop];
    for command in
        ["continue", "print token", "continue", "print token", "continue", "continue", "info breakpoints"]
    {
        commands.extend(["-ex", command]);
    }
    let (code, said) = play(RUST, &text, &commands)?;
    assert_eq!(code, Some(0), "{said}");
    let mut rest = said.as_str();
    for part in [
        &format!("token = {}", tokens[0]),
        "GET /played #1 is done",
        &format!("token = {}", tokens[1]),
        "GET /played #2 is done",
        "all requests have been played",
        "all requests have been played",
        "lib.rs",
        "Detached",
    ] {
        let at = rest.find(part).with_context(|| format!("no {part:?} in its place in\n{said}"))?;
        rest = &rest[at + part.len()..];
    }
    // Nor does one wait whose requests do not match.
    let nobody = ["--when", "path:/nobody", "--batch", "--timeout", "20s", "-ex", &stop, "-ex", "continue"];
    let (code, said) = play(RUST, &text, &nobody)?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("all requests have been played") && !said.contains("token ="), "{said}");
    Ok(())
}

#[test]
fn a_filter_that_dies_is_told_with_its_line_and_the_next_request_is_served() -> Result<()> {
    let text = "GET /a\ndo: request=panic\n###\nGET /b\ndo: request=loop\n###\nGET /c\n";
    let (code, said) = play(MISBEHAVE, text, &[])?;
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("proxy_on_request_headers: failed").count(), 2, "{said}");
    assert!(said.contains("told to panic in request"), "{said}");
    assert!(said.contains("misbehave::endless_loop (tests/fixtures/misbehave/src/lib.rs:"), "{said}");
    assert_eq!(said.matches("client: 200").count(), 3, "it fails open: {said}");

    let folder = Scratch::new("run")?;
    let config = folder.path().join("filter.yaml");
    std::fs::write(
        &config,
        "config:\n  name: strict\n  fail_open: false\n  vm_config:\n    code: {local: {filename: x.wasm}}\n",
    )?;
    let (_, said) = play(MISBEHAVE, text, &["--config", config.to_str().context("a path")?])?;
    assert_eq!(said.matches("client: 503").count(), 2, "{said}");
    assert_eq!(said.matches("client: 200").count(), 1, "{said}");
    Ok(())
}

#[test]
fn a_dead_upstream_is_a_502_that_says_so() -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (code, said) = play(RUST, "GET /\ntoken: 7\n", &["--upstream", &format!("http://{free}")])?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("upstream: cannot connect to http://{free}")), "{said}");
    assert!(said.contains("client: 502"), "{said}");
    Ok(())
}

#[test]
fn what_cannot_run_says_why() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let module = repository().join(RUST).display().to_string();
    for (arguments, code, reason) in [
        (vec!["run", "/absent.wasm", "--listen", "127.0.0.1:0"], 3, "cannot read /absent.wasm"),
        (vec!["run", "Cargo.toml", "--listen", "127.0.0.1:0"], 3, "is not a Wasm module"),
        (vec!["run", &module], 2, "--listen"),
        (vec!["run", &module, "--listen", "nowhere"], 2, "is no address and port"),
        (vec!["run", &module, "--listen", &address], 3, "cannot listen at"),
        (vec!["run", &module, "--request", "/absent.http"], 3, "cannot read /absent.http"),
        (vec!["run", &module, "--listen", "127.0.0.1:0", "--upstream", "https://x"], 3, "TLS"),
    ] {
        let output = wasmdbg::run_in(&repository(), &arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains(reason), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
    let (code, said) = play(RUST, "GET /\ntoken 7\n", &[])?;
    assert!(code == Some(3) && said.contains("requests.http: line 2: "), "{code:?} {said}");
    Ok(())
}

#[test]
fn an_interrupt_stops_a_loop_and_the_end_of_input_ends_it() -> Result<()> {
    let module = repository().join(MISBEHAVE).display().to_string();
    let mut wasmdbg = Wasmdbg::start(&["run", &module, "--listen", "127.0.0.1:0"])?;
    let said = wasmdbg.expect("listening at http://")?;
    let address = said.rsplit_once("http://").context("an address")?.1.trim().parse()?;
    wasmdbg.send("continue")?;
    let pending = Pending::start(address, Request::get("/").header("do", "request=loop"), PATIENCE);
    // Until the loop runs there is nothing to interrupt.
    wasmdbg_tests::scratch::wait_for("the loop", PATIENCE, || {
        wasmdbg.signal(Signal::SIGINT).ok()?;
        wasmdbg.transcript().contains("stopped: interrupt").then_some(())
    })?;
    wasmdbg.close_input();
    // A SIGINT that came too early is a command that failed.
    assert!(wasmdbg.wait(PATIENCE)?.code().is_some(), "{}", wasmdbg.transcript());
    drop(pending);
    assert!(is_refused(address)?, "the port is closed");
    Ok(())
}
