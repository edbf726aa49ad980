//! `launch`, `restart` and `terminate`: a filter debugged from an editor without any other proxy.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::dap::Dap;
use wasmdbg_tests::http::{Pending, Request, fetch, is_refused};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::{PATIENCE, Scratch, wait_for};

use crate::adapter::{Editor, PRIME};
use crate::debugger::random;

const MODULE: &str = "examples/rust-token/rust-token.debug.wasm";

/// Initialized; `launch` is under way with these arguments besides the program.
fn launch(further: &Value) -> Result<(Editor, i64)> {
    let mut dap = Dap::start()?;
    dap.ask("initialize", &json!({ "adapterID": "wasmdbg" }))?;
    let mut arguments = json!({ "program": repository().join(MODULE), "request": "launch" });
    for (name, value) in further.as_object().into_iter().flatten() {
        arguments[name] = value.clone();
    }
    let seq = dap.send("launch", &arguments)?;
    Ok((Editor::over(dap), seq))
}

fn refusal(further: &Value) -> Result<String> {
    let (mut editor, seq) = launch(further)?;
    let response = editor.dap.response(seq)?;
    ensure!(response["success"] == false, "{response}");
    Ok(response["message"].as_str().unwrap_or_default().to_owned())
}

/// Where the launched proxy listens, as the console says.
fn address(editor: &mut Editor) -> Result<SocketAddr> {
    let said = editor.dap.output("listening at http://")?;
    Ok(said.rsplit_once("http://").context("an address")?.1.trim().parse()?)
}

fn token_of(editor: &mut Editor, thread: i64) -> Result<Value> {
    let frame = editor.frame(thread, 0)?;
    Ok(editor.evaluate(&frame, "token")?["result"].clone())
}

#[test]
fn requests_of_a_file_are_played_and_stop_and_then_it_is_over() -> Result<()> {
    let token = random().to_string();
    let folder = Scratch::new("launch")?;
    std::fs::write(folder.path().join("a.http"), format!("GET /played\ntoken: {token}\n"))?;
    let (mut editor, seq) = launch(&json!({ "requests": "a.http", "cwd": folder.path() }))?;
    editor.dap.event("initialized")?;
    ensure!(editor.dap.response(seq)?["success"] == true);
    assert_eq!(editor.break_at(&[(PRIME, json!({}))])?[0]["verified"], true);
    editor.dap.ask("configurationDone", &Value::Null)?;
    let thread = editor.stopped()?;
    assert_eq!(token_of(&mut editor, thread)?, token);
    let named = editor.dap.ask("threads", &Value::Null)?["threads"].to_string();
    assert!(named.contains("GET /played #1"), "{named}");
    editor.go_on(thread)?;
    editor.dap.output("client: ")?;
    assert_eq!(editor.dap.event("exited")?["exitCode"], 0);
    editor.dap.event("terminated")?;
    editor.dap.ask("disconnect", &Value::Null)?;
    Ok(())
}

#[test]
fn the_exit_code_says_whether_a_callback_died() -> Result<()> {
    let folder = Scratch::new("launch")?;
    for (order, code) in [("request=header", 0), ("request=panic", 1)] {
        std::fs::write(folder.path().join("a.http"), format!("GET /played\ndo: {order}\n"))?;
        let program = repository().join("tests/fixtures/misbehave/misbehave.debug.wasm");
        let further = json!({ "program": program, "requests": "a.http", "cwd": folder.path() });
        let (mut editor, _) = launch(&further)?;
        editor.dap.event("initialized")?;
        editor.dap.ask("setExceptionBreakpoints", &json!({ "filters": [] }))?;
        editor.dap.ask("configurationDone", &Value::Null)?;
        assert_eq!(editor.dap.event("exited")?["exitCode"], code, "{order}");
        editor.dap.event("terminated")?;
    }
    Ok(())
}

#[test]
fn it_stops_on_entry_serves_restarts_with_its_breakpoints_and_terminates() -> Result<()> {
    let (mut editor, _) = launch(&json!({ "listen": "127.0.0.1:0", "stopOnEntry": true }))?;
    editor.dap.event("initialized")?;
    editor.break_at(&[(PRIME, json!({}))])?;
    editor.dap.ask("configurationDone", &Value::Null)?;
    let mut before = None;
    // The second time after a restart.
    for _ in 0..2 {
        let address = address(&mut editor)?;
        let entry = editor.dap.event("stopped")?;
        assert_eq!(entry["reason"], "entry");
        let thread = entry["threadId"].as_i64().context("a thread")?;
        editor.go_on(thread)?;
        let token = random();
        let request = Request::get("/x").header("token", &token.to_string());
        let pending = Pending::start(address, request, PATIENCE);
        let thread = editor.stopped()?;
        assert_eq!(token_of(&mut editor, thread)?, token.to_string());
        if before.is_none() {
            // What stands goes on at the restart, and is answered.
            editor.dap.ask("restart", &json!({}))?;
        } else {
            editor.go_on(thread)?;
        }
        ensure!([200, 403].contains(&pending.wait()?.status));
        before = Some(address);
    }
    let served = before.context("an address")?;
    let others = editor.break_at(&[])?;
    assert!(others.is_empty());
    assert_eq!(fetch(served, &Request::get("/y").header("token", "7"))?.status, 200);
    editor.dap.ask("terminate", &Value::Null)?;
    editor.dap.event("exited")?;
    editor.dap.event("terminated")?;
    wait_for("the port's end", PATIENCE, || matches!(is_refused(served), Ok(true)).then_some(()))?;
    Ok(())
}

#[test]
fn an_attached_session_restarts_too() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    editor.break_at(&[(PRIME, json!({}))])?;
    editor.dap.ask("configurationDone", &Value::Null)?;
    let first = editor.request(&ats, "7");
    editor.stopped()?;
    editor.dap.ask("restart", &Value::Null)?;
    assert_eq!(first.wait()?.header("x-token-prime"), Some("7"), "it goes on");
    let second = editor.request(&ats, "11");
    let thread = editor.stopped()?;
    assert_eq!(token_of(&mut editor, thread)?, "11");
    editor.go_on(thread)?;
    assert_eq!(second.wait()?.header("x-token-prime"), Some("11"));
    Ok(())
}

#[test]
fn without_debugging_nothing_stops() -> Result<()> {
    let (mut editor, _) = launch(&json!({ "listen": "127.0.0.1:0", "noDebug": true }))?;
    editor.dap.event("initialized")?;
    editor.break_at(&[(PRIME, json!({}))])?;
    editor.dap.ask("configurationDone", &Value::Null)?;
    let address = address(&mut editor)?;
    assert_eq!(fetch(address, &Request::get("/x").header("token", "7"))?.status, 200);
    editor.dap.ask("disconnect", &Value::Null)?;
    Ok(())
}

#[test]
fn a_launch_that_cannot_be_says_why_and_can_be_tried_again() -> Result<()> {
    let listen = json!("127.0.0.1:0");
    assert!(refusal(&json!({ "program": "", "listen": listen }))?.contains("`program` is missing"));
    let absent = refusal(&json!({ "program": "/absent.wasm", "listen": listen }))?;
    assert!(absent.contains("cannot read /absent.wasm"), "{absent}");
    let text = refusal(&json!({ "program": repository().join("Cargo.toml"), "listen": listen }))?;
    assert!(text.contains("is not a Wasm module"), "{text}");
    assert!(refusal(&json!({}))?.contains("give `listen`"));
    assert!(refusal(&json!({ "listen": "here" }))?.contains("is no address and port"));
    assert!(refusal(&json!({ "requests": "/absent.http" }))?.contains("cannot read /absent.http"));
    let upstream = refusal(&json!({ "listen": listen, "upstream": "https://x" }))?;
    assert!(upstream.contains("TLS"), "{upstream}");
    assert!(refusal(&json!({ "listen": listen, "when": "nonsense" }))?.contains("`when`"));

    let (mut editor, seq) = launch(&json!({ "program": "/absent.wasm", "listen": listen }))?;
    ensure!(editor.dap.response(seq)?["success"] == false);
    let again = json!({ "program": repository().join(MODULE), "listen": listen });
    editor.dap.ask("launch", &again)?;
    editor.dap.event("initialized")?;
    Ok(())
}
