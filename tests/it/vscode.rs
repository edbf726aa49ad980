//! The packaged extension in a real VS Code, headless, against a live server with load on it.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::browser;
use wasmdbg_tests::dap;
use wasmdbg_tests::http::{Request, fetch, fetch_within};
use wasmdbg_tests::process::{product, repository};
use wasmdbg_tests::scratch::Scratch;

use crate::debugger::{line_of, random};

#[test]
#[ignore = "needs both processors, Chromium and VS Code: `make test` runs it last, by `make test-vscode`"]
fn a_live_filter_is_debugged_in_vs_code() -> Result<()> {
    let scratch = Scratch::new("vscode")?;
    let vsix = scratch.path().join("wasmdbg.vsix");
    browser::script("dap/vscode/package.sh", &[&vsix.display().to_string()])?;

    // The filter's folder as its author has it.
    let workspace = scratch.path().join("rust-token");
    std::fs::create_dir_all(workspace.join("src"))?;
    let example = repository().join("examples/rust-token");
    for file in ["src/lib.rs", "rust-token.debug.wasm", "Cargo.toml"] {
        std::fs::copy(example.join(file), workspace.join(file))?;
    }
    let module = workspace.join("rust-token.debug.wasm");
    std::fs::write(workspace.join("requests.http"), "GET /played\ntoken: 10007\n")?;
    let name = format!("token-{}", random());
    let mut ats = Ats::options()
        .filter(Filter::new(&name, &module).configuration("token quiet"))
        .filter(Filter::new("another", &module).configuration("token quiet"))
        .start()?;

    let source = "examples/rust-token/src/lib.rs";
    let line = line_of(source, "let prime = is_prime(token)");
    let inner = line_of(source, "divisor += 2;");
    let path = workspace.join("src/lib.rs");
    let rule = random().to_string();
    // Prime, so that the loop runs up to its root: 3, 5, … 99.
    let token = "10007";
    let trace = scratch.path().join("trace");
    // What the driver wants of the proxy: `gone` or `back`.
    let wanted = scratch.path().join("proxy");
    let plan = json!({
        "vsix": vsix, "wasmdbg": product("wasmdbg")?, "workspace": workspace, "source": path,
        "line": line, "next": line + 1, "filter": name, "token": token, "trace": trace,
        "proxy": wanted,
        "launch": { "when": format!("header:x-debug={rule}") },
        "run": { "program": "${workspaceFolder}/rust-token.debug.wasm", "requests": "requests.http" },
        "port": TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
        "conditional": [
            { "path": path, "line": inner, "condition": "divisor == 33", "expression": "divisor", "value": "33" },
            { "path": path, "line": line, "logMessage": "asked for {token}", "says": format!("asked for {token}") },
        ],
    });

    let over = AtomicBool::new(false);
    // Odd while the proxy is restarted.
    let changes = AtomicU64::new(0);
    let address = ats.address();
    std::thread::scope(|scope| -> Result<()> {
        let restarted = scope.spawn(|| -> Result<()> {
            let wait_until = |what| {
                let wants = || std::fs::read_to_string(&wanted).is_ok_and(|now| now == what);
                while !wants() && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            };
            wait_until("gone");
            changes.fetch_add(1, Ordering::SeqCst);
            let port = ats.end_for_now(Signal::SIGTERM)?;
            wait_until("back");
            ats.start_again(port)?;
            changes.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        // Everyone else, and one whose requests match: they stop once a session is there.
        let served = scope.spawn(|| -> Result<u64> {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                let before = changes.load(Ordering::SeqCst);
                let response = fetch(address, &Request::get("/cache/10/x").header("token", "7"));
                if before.is_multiple_of(2) && changes.load(Ordering::SeqCst) == before {
                    let response = response?;
                    let soon = response.elapsed < Duration::from_secs(20);
                    ensure!(response.status == 200 && soon, "{response:?}");
                    count += 1;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(count)
        });
        let debugged = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let request = Request::get("/cache/10/x").header("token", token).header("x-debug", &rule);
                let _ = fetch_within(address, &request, Duration::from_secs(120));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let driven = browser::drive("dap/vscode/e2e/drive.mjs", plan, &scratch);
        over.store(true, Ordering::Relaxed);
        let served = served.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        debugged.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
        let restarted = restarted.join().map_err(|_| anyhow::anyhow!("the restart panicked"))?;
        driven?;
        restarted?;
        ensure!(served > 50, "only {served} requests were served meanwhile");
        Ok(())
    })?;
    check_trace(&std::fs::read_to_string(trace)?)
}

/// Every message of the adapter is what the protocol says.
fn check_trace(trace: &str) -> Result<()> {
    let mut asked = HashMap::new();
    // What comes behind a disconnect finds no adapter; the next session begins with an initialize.
    let mut over = false;
    let mut count = 0;
    for line in trace.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let message = &entry["message"];
        if entry["from"] == "adapter" {
            dap::check(message)?;
            count += 1;
            if message["type"] == "response" {
                let command = asked.remove(&message["request_seq"].to_string());
                ensure!(command.as_ref() == Some(&message["command"]), "{message} answers {command:?}");
            }
        } else if message["type"] == "request" && (!over || message["command"] == "initialize") {
            over = message["command"] == "disconnect";
            asked.insert(message["seq"].to_string(), message["command"].clone());
        }
    }
    ensure!(count > 50, "only {count} messages");
    ensure!(asked.is_empty(), "never answered: {asked:?}");
    Ok(())
}
