//! An editor whose proxy is restarted: it attaches again by itself, and the same requests stop.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter, example};
use wasmdbg_tests::dap::Dap;
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::scratch::{PATIENCE, Scratch};

use crate::adapter::{Editor, PRIME, SOURCE};
use crate::debugger::{line_of, random};

fn server() -> Result<Ats> {
    Ats::options().filter(Filter::example("rust-token", "debug")).start()
}

/// The next news of a breakpoint.
fn changed(editor: &mut Editor, id: &Value) -> Result<Value> {
    Ok(editor.dap.event_where("breakpoint", |body| body["breakpoint"]["id"] == *id)?["breakpoint"].clone())
}

/// A random token stops at the breakpoint and is what the filter's variable says.
fn stops(editor: &mut Editor, pending: Pending, token: u32) -> Result<()> {
    let thread = editor.stopped()?;
    let frame = editor.frame(thread, 0)?;
    assert_eq!(frame["line"], line_of(SOURCE, PRIME));
    assert_eq!(editor.evaluate(&frame, "token")?["result"], token.to_string());
    editor.go_on(thread)?;
    let prime = (2..).take_while(|n| n * n <= u64::from(token)).all(|n| u64::from(token) % n != 0);
    assert_eq!(pending.wait()?.status, if prime { 200 } else { 403 });
    Ok(())
}

#[test]
fn a_proxy_that_crashed_is_attached_to_again_and_the_same_requests_stop() -> Result<()> {
    let mut ats = server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let set = editor.break_at(&[(PRIME, json!({}))])?;
    assert_eq!(set[0]["verified"], true);
    editor.dap.ask("configurationDone", &Value::Null)?;
    // One request stands when the proxy dies.
    let lost = editor.request(&ats, "7");
    let thread = editor.stopped()?;
    let port = ats.end_for_now(Signal::SIGKILL)?;
    lost.wait_for_loss()?;
    editor.dap.event_where("thread", |body| *body == json!({ "reason": "exited", "threadId": thread }))?;
    let told = changed(&mut editor, &set[0]["id"])?;
    assert_eq!((&told["verified"], &told["reason"]), (&json!(false), &json!("pending")));
    assert!(told["message"].as_str().is_some_and(|text| text.contains("waiting")), "{told}");
    editor.dap.output("waiting 1m for the proxy to come back")?;
    let progress = editor.dap.event_where("progressStart", |body| body["title"] == "The proxy is gone")?;
    assert_eq!((&progress["requestId"], &progress["cancellable"]), (&Value::Null, &json!(true)));

    // The editor is used meanwhile.
    for (command, arguments) in [("stackTrace", json!({ "threadId": thread })), ("restart", json!({}))] {
        assert!(editor.dap.refused(command, &arguments)?.contains("waiting"), "{command}");
    }
    assert_eq!(editor.dap.ask("threads", &json!({}))?["threads"][0]["name"], "proxy (gone)");
    let set = editor.break_at(&[(PRIME, json!({})), ("let mut divisor = 3;", json!({}))])?;
    assert_eq!((&set[1]["verified"], &set[1]["reason"]), (&json!(false), &json!("pending")));

    ats.start_again(port)?;
    editor.dap.output("the proxy is back")?;
    editor.dap.event_where("progressEnd", |body| body["progressId"] == progress["progressId"])?;
    for breakpoint in &set {
        assert_eq!(changed(&mut editor, &breakpoint["id"])?["verified"], true);
    }
    editor.dap.event_where("thread", |body| *body == json!({ "reason": "started", "threadId": 1 }))?;
    editor.dap.output("x-debug: ")?;
    editor.break_at(&[(PRIME, json!({}))])?;
    let token = random();
    let pending = editor.request(&ats, &token.to_string());
    stops(&mut editor, pending, token)?;
    // The process that the user named is another one now.
    editor.dap.ask("restart", &Value::Null)?;
    let token = random();
    let pending = editor.request(&ats, &token.to_string());
    stops(&mut editor, pending, token)?;
    assert_eq!(editor.dap.waiting("terminated"), 0);
    assert_eq!(editor.dap.waiting("initialized"), 0);
    Ok(())
}

#[test]
fn an_orderly_restart_with_another_build_keeps_the_generated_header() -> Result<()> {
    let folder = Scratch::new("reconnect")?;
    let module = folder.path().join("filter.wasm");
    std::fs::copy(example("rust-token", "debug"), &module)?;
    let mut ats = Ats::options().filter(Filter::new("own", &module)).start()?;
    let mut editor = Editor::over(Dap::start()?);
    editor.introduce(&ats, &json!({ "pid": null, "socket": ats.socket()?, "filter": "own", "when": [] }))?;
    editor.dap.event("initialized")?;
    editor.break_at(&[(PRIME, json!({}))])?;
    editor.dap.ask("configurationDone", &Value::Null)?;
    let header = |editor: &mut Editor| -> Result<String> {
        let said = editor.dap.output("send your request with this header")?;
        let line = said.lines().find(|line| line.contains("x-wasmdbg: ")).context("a header")?;
        Ok(line.trim().to_owned())
    };
    let first = header(&mut editor)?;
    for round in 1..3 {
        let port = ats.end_for_now(Signal::SIGTERM)?;
        editor.dap.output("for the proxy to come back")?;
        // A section that no engine reads makes it another module.
        let mut bytes = std::fs::read(&module)?;
        bytes.extend([0, 3, 2, b'v', round]);
        std::fs::write(&module, bytes)?;
        ats.start_again(port)?;
        editor.dap.output("the proxy is back")?;
        assert_eq!(header(&mut editor)?, first);
        let token = random();
        let value = first.trim_start_matches("x-wasmdbg: ");
        let request = Request::get("/cache/10/x").header("token", &token.to_string());
        let pending = Pending::start(ats.address(), request.header("x-wasmdbg", value), PATIENCE);
        stops(&mut editor, pending, token)?;
    }
    Ok(())
}

#[test]
fn waiting_ends_at_once_when_the_user_wants_it() -> Result<()> {
    let mut ats = server()?;
    for end in ["disconnect", "terminate", "cancel", "close"] {
        let mut editor = Editor::attach(&ats, &json!({ "reconnect": "1h" }))?;
        let port = ats.end_for_now(Signal::SIGKILL)?;
        let progress =
            editor.dap.event_where("progressStart", |body| body["title"] == "The proxy is gone")?;
        match end {
            "disconnect" => drop(editor.dap.ask("disconnect", &json!({}))?),
            "close" => editor.dap.close(),
            "cancel" => {
                editor.dap.ask("cancel", &json!({ "progressId": progress["progressId"] }))?;
                editor.dap.output("not waiting for the proxy any more")?;
            }
            _ => drop(editor.dap.ask(end, &json!({}))?),
        }
        if ["terminate", "cancel"].contains(&end) {
            editor.dap.event_where("progressEnd", |body| body["progressId"] == progress["progressId"])?;
            editor.dap.event("terminated")?;
            editor.dap.ask("disconnect", &json!({}))?;
        }
        assert!(editor.dap.wait()?.success(), "{end}");
        ats.start_again(port)?;
    }
    Ok(())
}

#[test]
fn a_proxy_that_does_not_come_back_or_is_another_ends_the_session() -> Result<()> {
    let mut ats = server()?;
    // A further proxy with a filter of the same name is not it.
    let other = server()?;
    let mut editor = Editor::attach(&ats, &json!({ "reconnect": 0.3 }))?;
    let port = ats.end_for_now(Signal::SIGKILL)?;
    let said = editor.dap.output("has not come back within 300ms")?;
    assert!(said.contains("nobody listens at"), "{said}");
    editor.dap.event("terminated")?;
    ats.start_again(port)?;
    drop(other);

    // Back, without the filter.
    let mut editor = Editor::attach(&ats, &json!({ "filter": "rust-token" }))?;
    let port = ats.end_for_now(Signal::SIGTERM)?;
    editor.dap.output("for the proxy to come back")?;
    let config = ats.folder().join("etc/filter-0.yaml");
    let text = std::fs::read_to_string(&config)?.replace("name: \"rust-token\"", "name: \"renamed\"");
    std::fs::write(&config, text)?;
    ats.start_again(port)?;
    let said = editor.dap.output("cannot be attached to")?;
    assert!(said.contains("there is no filter \"rust-token\" here; there are: renamed"), "{said}");
    editor.dap.event("terminated")?;
    Ok(())
}
