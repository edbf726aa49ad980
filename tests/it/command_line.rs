//! `wasmdbg` as scripts and people call it: exit codes, `ps`, and what it says when it cannot.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Output;

use anyhow::{Context, Result};
use serde_json::Value;
use wasmdbg_tests::ats::{Ats, Filter, example};
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::load::{Load, Plan};
use wasmdbg_tests::module;
use wasmdbg_tests::scratch::{PATIENCE, Scratch};
use wasmdbg_tests::wasmdbg::{Wasmdbg, run, run_in};

use crate::state::Proxy;

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn token_server() -> Result<Ats> {
    Ats::options().filter(Filter::example("rust-token", "debug")).start()
}

#[test]
fn exit_codes_tell_scripts_what_happened() -> Result<()> {
    let ats = token_server()?;
    let pid = ats.pid().to_string();
    let attach = |further: &[&str]| {
        let mut arguments =
            vec!["attach", &pid, "--batch", "--timeout", "1s", "--when", "header:x-debug=none"];
        arguments.extend(further);
        run(&arguments)
    };
    let cases: [(&[&str], i32); 4] = [
        (&["-ex", "break judge", "-ex", "info breakpoints"], 0),
        (&["-ex", "print nothing_stands"], 1),
        (&["-ex", "break judge", "-ex", "continue"], 4),
        (&["-ex", "frobnicate"], 1),
    ];
    for (arguments, code) in cases {
        let output = attach(arguments)?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(run(&["attach", "--no-such-option"])?.status.code(), Some(2));
    assert_eq!(run(&["attach", &pid, "--when", "moon:full"])?.status.code(), Some(2));
    assert_eq!(run(&["attach", &std::process::id().to_string()])?.status.code(), Some(3));
    Ok(())
}

#[test]
fn a_generated_token_is_printed_and_stops_its_request() -> Result<()> {
    let ats = token_server()?;
    let mut wasmdbg = Wasmdbg::start(&[
        "attach",
        &ats.pid().to_string(),
        "--batch",
        "-ex",
        "break judge",
        "-ex",
        "continue",
    ])?;
    let line = wasmdbg.expect("x-wasmdbg: ")?;
    let token: String = line
        .rsplit("x-wasmdbg: ")
        .next()
        .unwrap_or_default()
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    assert!(token.len() >= 16, "{line}");
    let request = Request::get("/cache/10/x").header("token", "7").header("x-wasmdbg", &token);
    let pending = Pending::start(ats.address(), request, PATIENCE);
    wasmdbg.expect("GET /cache/10/x #")?;
    wasmdbg.close_input();
    // The end of a batch detaches: its request goes on.
    assert_eq!(wasmdbg.wait(PATIENCE)?.code(), Some(0), "{}", wasmdbg.transcript());
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn ps_lists_the_server_and_its_filters() -> Result<()> {
    let ats = token_server()?;
    ats.fetch(&Request::get("/cache/10/x").header("token", "7"))?;
    let table = said(&run(&["ps"])?);
    let pid = ats.pid().to_string();
    assert!(table.contains(&pid) && table.contains("rust-token"), "{table}");
    let proxy = Proxy::of(&ats)?;
    let filter = proxy.filter("rust-token")?;
    assert_eq!(filter["state"]["state"], "active");
    assert_eq!(filter["counters"]["contexts"], 1);
    let all: Value = serde_json::from_slice(&run(&["ps", "--json"])?.stdout)?;
    assert!(all["schema"].is_u64(), "{all:#}");
    Ok(())
}

#[test]
fn a_socket_that_nobody_serves_is_said_to_be_dead() -> Result<()> {
    let scratch = Scratch::new("dead")?;
    let path = scratch.path().join("wasmdbg.sock");
    drop(UnixListener::bind(&path)?);
    let output = run(&["attach", &path.display().to_string()])?;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("wasmdbg.sock"), "{}", said(&output));
    Ok(())
}

#[test]
fn a_socket_path_beyond_107_bytes_works() -> Result<()> {
    let scratch = Scratch::new("long")?;
    let folder = scratch.path().join("a-folder-with-a-long-name".repeat(6));
    std::fs::create_dir(&folder)?;
    let socket = folder.join("control.sock");
    assert!(socket.as_os_str().len() > 107);
    let ats = Ats::options()
        .filter(Filter::example("rust-token", "debug"))
        .settings(&format!("control:\n  socket: {}\n", socket.display()))
        .start()?;
    for target in [socket.display().to_string(), ats.pid().to_string()] {
        let output = run(&["attach", &target, "--batch", "--all", "-ex", "info filters"])?;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(said(&output).contains("rust-token"), "{}", said(&output));
    }
    Proxy::of(&ats)?;
    Ok(())
}

#[test]
fn control_can_be_switched_off() -> Result<()> {
    let ats = Ats::options()
        .filter(Filter::example("rust-token", "debug"))
        .settings("control:\n  enabled: false\n")
        .start()?;
    assert_eq!(ats.fetch(&Request::get("/cache/10/x").header("token", "7"))?.status, 200);
    let output = run(&["attach", &ats.pid().to_string()])?;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    Ok(())
}

/// What the command line says about modules whose debug info is missing, broken or another build's.
#[test]
fn modules_without_usable_debug_info_are_debugged_by_function_and_said_to_be_so() -> Result<()> {
    let bytes = std::fs::read(example("rust-token", "debug"))?;
    let scratch = Scratch::new("no-dwarf")?;
    let cases = [
        (scratch.write("stripped.wasm", module::without_custom(&bytes, ".debug")?)?, "debug info"),
        (scratch.write("corrupt.wasm", module::with_corrupt(&bytes, ".debug_info")?)?, "debug"),
    ];
    for (path, expected) in cases {
        let ats = Ats::options().filter(Filter::new("bare", &path).configuration("token")).start()?;
        let pid = ats.pid().to_string();
        let mut wasmdbg = Wasmdbg::start(&[
            "attach",
            &pid,
            "--batch",
            "--when",
            "header:x-debug=yes",
            "-ex",
            "break proxy_on_request_headers",
            "-ex",
            "continue",
            "-ex",
            "bt",
            "-ex",
            "detach",
        ])?;
        wasmdbg.expect(expected)?;
        // Only now can a request stop.
        wasmdbg.expect("Breakpoint 1")?;
        let request = Request::get("/cache/10/x").header("token", "7").header("x-debug", "yes");
        let pending = Pending::start(ats.address(), request, PATIENCE);
        wasmdbg.expect("GET /cache/10/x #").with_context(|| path.display().to_string())?;
        assert_eq!(wasmdbg.wait(PATIENCE)?.code(), Some(0), "{}", wasmdbg.transcript());
        assert!(wasmdbg.transcript().contains("proxy_on_request_headers"), "{}", wasmdbg.transcript());
        assert_eq!(pending.wait()?.status, 200);
    }
    Ok(())
}

#[test]
fn a_line_without_code_moves_and_a_file_that_is_absent_is_named() -> Result<()> {
    let ats = token_server()?;
    let pid = ats.pid().to_string();
    let output =
        run(&["attach", &pid, "--batch", "--all", "-ex", "break lib.rs:1", "-ex", "break absent.rs:3"])?;
    let text = said(&output);
    assert!(text.contains("absent.rs"), "{text}");
    assert!(text.contains("lib.rs:") && text.to_lowercase().contains("line 1"), "{text}");
    Ok(())
}

#[test]
fn commands_come_from_a_file_and_from_a_pipe() -> Result<()> {
    let ats = token_server()?;
    let pid = ats.pid().to_string();
    let scratch = Scratch::new("script")?;
    let script = scratch.write("commands", "break judge\ninfo breakpoints\n")?;
    let output = run(&["attach", &pid, "--batch", "--all", "-x", &script.display().to_string()])?;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("judge"));
    let mut piped = Wasmdbg::start(&["attach", &pid, "--all"])?;
    piped.ask("break judge", "judge")?;
    piped.ask("info breakpoints", "judge")?;
    piped.send("quit")?;
    assert_eq!(piped.wait(PATIENCE)?.code(), Some(0), "{}", piped.transcript());
    Ok(())
}

/// The file that the proxy loaded was replaced by another build: its symbols would lie.
#[test]
fn symbols_of_another_build_are_not_used() -> Result<()> {
    let scratch = Scratch::new("rebuilt")?;
    let path = scratch.write("filter.wasm", std::fs::read(example("rust-token", "debug"))?)?;
    let ats = Ats::options().filter(Filter::new("rebuilt", &path).configuration("token")).start()?;
    std::fs::write(&path, std::fs::read(example("cpp-headers", "debug"))?)?;
    let pid = ats.pid().to_string();
    let output = run(&["attach", &pid, "--batch", "--all", "-ex", "break judge", "-ex", "break measure"])?;
    let text = said(&output);
    assert!(text.contains("lib.rs:"), "the module is read from the proxy: {text}");
    assert!(!text.contains("filter.cc"), "symbols of another build were used: {text}");
    Ok(())
}

#[test]
fn an_absent_source_is_named_with_what_to_do() -> Result<()> {
    let scratch = Scratch::new("elsewhere")?;
    // A copy: sources are found beside a module too.
    let module = scratch.write("token.wasm", std::fs::read(example("rust-token", "debug"))?)?;
    let ats = Ats::options().filter(Filter::new("token", &module).configuration("token")).start()?;
    let pid = ats.pid().to_string();
    let arguments = [
        "attach",
        &pid,
        "--batch",
        "--all",
        "-ex",
        "break judge",
        "-ex",
        "continue",
        "-ex",
        "bt",
        "-ex",
        "list",
    ];
    // Requests come as long as it is attached, so that one of them stops.
    let plan = Plan::new(1, Request::get("/cache/10/x").header("token", "7")).within(PATIENCE);
    let client = Load::start(ats.address(), &plan);
    let output = run_in(scratch.path(), &arguments)?;
    let text = said(&output);
    assert!(text.contains("lib.rs:"), "positions need no source: {text}");
    assert!(text.contains("src/lib.rs") && text.contains("director"), "list says where to look: {text}");
    let lap = client.stop();
    assert_eq!(lap.errors, 0, "{:?}", lap.first_error);
    Ok(())
}

/// Another user of the machine sees that there is something, and is not let in.
#[test]
fn another_user_is_refused() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        assert!(std::env::var("CI").is_err(), "CI runs as root");
        return Ok(());
    }
    let ats = token_server()?;
    let socket = ats.socket()?;
    // Folder and binary are made reachable, so that only the socket's own check stands in the way.
    let open = |path: &std::path::Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755));
    open(ats.folder())?;
    open(&ats.folder().join("run"))?;
    let scratch = Scratch::new("nobody")?;
    let program = scratch.path().join("wasmdbg");
    // By a process of its own: a child that another test starts meanwhile would inherit a descriptor open
    // for writing, and the copy be "busy".
    let binary = wasmdbg_tests::process::product("wasmdbg")?;
    let copied = std::process::Command::new("cp").arg(binary).arg(&program).status()?;
    anyhow::ensure!(copied.success(), "cp of the command failed");
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["attach", "--batch"])
        .arg(&socket)
        .current_dir("/")
        .output()?;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).to_lowercase().contains("permission"), "{}", said(&output));
    Ok(())
}
