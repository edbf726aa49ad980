//! The life of an adapter: every order of requests, wrong arguments, and ends of all kinds. Nothing may stay
//! stopped for a client that is gone.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::dap::Dap;
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::process::product;

use crate::adapter::{Editor, PRIME};

/// All but `initialize`, `attach`, `launch`, `restart`, `terminate` and `disconnect`, which change what the next one meets.
const COMMANDS: [&str; 28] = [
    "configurationDone",
    "cancel",
    "setBreakpoints",
    "setFunctionBreakpoints",
    "setInstructionBreakpoints",
    "setExceptionBreakpoints",
    "breakpointLocations",
    "threads",
    "stackTrace",
    "scopes",
    "variables",
    "setVariable",
    "setExpression",
    "evaluate",
    "completions",
    "exceptionInfo",
    "next",
    "stepIn",
    "stepOut",
    "pause",
    "source",
    "loadedSources",
    "modules",
    "readMemory",
    "writeMemory",
    "disassemble",
    "wasmdbg/transactions",
    "no-such-request",
];

fn server() -> Result<Ats> {
    Ats::options().filter(Filter::example("rust-token", "debug")).start()
}

/// Each command with arguments that no adapter expects; each must be answered, and the next ones too.
fn torment(dap: &mut Dap) -> Result<()> {
    let wrong = json!({
        "threadId": "x", "frameId": [], "variablesReference": {}, "source": 7, "breakpoints": "none", "lines": "1",
        "expression": 1, "name": 2, "value": 3, "memoryReference": 4, "count": "many", "instructionCount": "few",
        "text": 5, "column": "a", "line": "b", "filters": 6, "requestId": "c", "data": 8, "format": 9,
        "startModule": "d", "startFrame": "e",
    });
    let far = json!({
        "threadId": 99, "frameId": 99, "variablesReference": -1, "source": { "path": "/absent.rs", "sourceReference": 77 },
        "memoryReference": "0xffffffffffffffff", "offset": i64::MAX, "count": -5, "instructionCount": i64::MAX,
        "instructionOffset": i64::MIN, "startFrame": -7, "levels": -1, "start": -3, "column": -9, "line": i64::MIN,
        "expression": "((((", "text": "", "data": "*", "startModule": i64::MAX, "unheardOf": [1, { "of": null }],
        "requestId": 4711, "name": "\u{0}", "value": "",
    });
    let nulls: serde_json::Map<_, _> =
        wrong.as_object().into_iter().flatten().map(|(name, _)| (name.clone(), Value::Null)).collect();
    for command in COMMANDS {
        let mut sent = Vec::new();
        sent.push(dap.send_message(command, &json!({ "type": "request", "command": command }))?);
        for arguments in
            [&Value::Null, &json!({}), &wrong, &far, &Value::from(nulls.clone()), &json!([]), &json!("x")]
        {
            sent.push(dap.send(command, arguments)?);
        }
        for seq in sent {
            let response = dap.response(seq).with_context(|| format!("{command}, request {seq}"))?;
            if response["success"] == false {
                assert!(response["message"].as_str().is_some_and(|text| !text.is_empty()), "{response}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_request_is_answered_whatever_its_arguments_and_whenever_it_comes() -> Result<()> {
    let ats = server()?;
    let mut editor = Editor::over(Dap::start()?);
    torment(&mut editor.dap).context("before initialize")?;
    editor.introduce(&ats, &json!({ "unheardOf": true, "__sessionId": "x", "request": null }))?;
    torment(&mut editor.dap).context("while attaching")?;
    editor.dap.event("initialized")?;
    torment(&mut editor.dap).context("attached")?;
    assert!(editor.dap.refused("attach", &json!({}))?.contains("attached already"));
    assert!(editor.dap.refused("launch", &Value::Null)?.contains("attached already"));
    editor.break_at(&[(PRIME, json!({}))])?;
    let pending = editor.request(&ats, "7");
    let thread = editor.stopped()?;
    torment(&mut editor.dap).context("stopped")?;
    // That replaced no breakpoint of the file and let nothing go.
    assert!(!pending.is_finished());
    assert!(editor.frame(thread, 0)?["line"].is_u64());
    editor.go_on(thread)?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn breakpoints_that_come_before_the_session_are_planted_when_it_stands() -> Result<()> {
    let ats = server()?;
    let mut editor = Editor::over(Dap::start()?);
    let early = editor.break_at(&[(PRIME, json!({}))])?;
    assert_eq!((&early[0]["verified"], &early[0]["reason"]), (&json!(false), &json!("pending")));
    editor.dap.ask("configurationDone", &Value::Null)?;
    editor.introduce(&ats, &json!({}))?;
    let changed = editor.dap.event("breakpoint")?["breakpoint"].clone();
    assert_eq!((&changed["id"], &changed["verified"]), (&early[0]["id"], &json!(true)));
    editor.dap.output("x-debug: ")?;
    let pending = editor.request(&ats, "7");
    let thread = editor.stopped()?;
    editor.go_on(thread)?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn an_attach_that_cannot_be_says_why() -> Result<()> {
    for (arguments, part) in [
        (json!({ "pid": std::process::id() }), "has no wasmdbg.so loaded"),
        (json!({ "pid": "4711x" }), "process id"),
        (json!({ "socket": "/nowhere/wasmdbg.sock" }), "no socket"),
        (json!({ "socket": "/nowhere", "when": "moon:full" }), "`when`"),
        (json!({ "socket": "/nowhere", "when": ["next:1"], "all": true }), "exclude each other"),
        (json!({ "socket": "/nowhere", "deadline": "soon" }), "`deadline`"),
        (json!({ "socket": "/nowhere", "reconnect": "later" }), "`reconnect`"),
        (json!({ "socket": "/nowhere", "reconnect": -1 }), "`reconnect`"),
    ] {
        let mut dap = Dap::start()?;
        dap.ask("initialize", &json!({ "clientID": "test", "linesStartsAt1": true, "adapterID": null }))?;
        let why = dap.refused("attach", &arguments)?;
        assert!(why.contains(part), "{arguments}: {why}");
        dap.ask("disconnect", &Value::Null)?;
        assert!(dap.wait()?.success());
    }
    Ok(())
}

/// The moments at which a client leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    First,
    Attaching,
    Attached,
    Stopped,
    Stepping,
}

/// How it leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Exit {
    Disconnect,
    Close,
    Kill,
}

#[test]
fn whoever_leaves_whenever_leaves_nothing_stopped() -> Result<()> {
    let ats = server()?;
    let moments = [Moment::First, Moment::Attaching, Moment::Attached, Moment::Stopped, Moment::Stepping];
    for moment in moments {
        for exit in [Exit::Disconnect, Exit::Close, Exit::Kill] {
            leave(&ats, moment, exit).with_context(|| format!("{moment:?}, {exit:?}"))?;
        }
    }
    assert_eq!(ats.fetch(&Request::get("/cache/10/z").header("token", "7"))?.status, 200);
    Ok(())
}

fn leave(ats: &Ats, moment: Moment, exit: Exit) -> Result<()> {
    let mut editor = Editor::over(Dap::start()?);
    let mut pending: Option<Pending> = None;
    if moment != Moment::First {
        editor.introduce(ats, &json!({}))?;
    }
    if !matches!(moment, Moment::First | Moment::Attaching) {
        editor.dap.event("initialized")?;
        editor.break_at(&[(PRIME, json!({}))])?;
    }
    if matches!(moment, Moment::Stopped | Moment::Stepping) {
        pending = Some(editor.request(ats, "7"));
        let thread = editor.stopped()?;
        if moment == Moment::Stepping {
            editor.dap.send("next", &json!({ "threadId": thread }))?;
        }
    }
    match exit {
        Exit::Disconnect => {
            let arguments = json!({ "restart": false, "terminateDebuggee": true, "suspendDebuggee": true });
            editor.dap.ask("disconnect", &arguments)?;
        }
        Exit::Close => editor.dap.close(),
        Exit::Kill => editor.dap.child()?.kill()?,
    }
    let status = editor.dap.wait()?;
    assert_eq!(status.success(), exit != Exit::Kill);
    if let Some(pending) = pending {
        assert_eq!(pending.wait()?.status, 200);
    }
    Ok(())
}

#[test]
fn an_attach_is_cancelled() -> Result<()> {
    // There is something to cancel as long as it compiles.
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).compile_anew().start()?;
    let mut editor = Editor::over(Dap::start()?);
    editor.dap.ask("initialize", &json!({ "supportsProgressReporting": true }))?;
    let attach = editor.dap.send("attach", &json!({ "pid": ats.pid() }))?;
    let progress = editor.dap.event("progressStart")?;
    assert_eq!((&progress["requestId"], &progress["cancellable"]), (&json!(attach), &json!(true)));
    editor.dap.ask("cancel", &json!({ "progressId": progress["progressId"] }))?;
    let response = editor.dap.response(attach)?;
    assert_eq!((&response["success"], &response["message"]), (&json!(false), &json!("cancelled")));
    editor.dap.event("progressEnd")?;
    // A request that waits behind others is dropped.
    let waiting = editor.dap.send("threads", &json!({}))?;
    let cancel = editor.dap.send("cancel", &json!({ "requestId": waiting }))?;
    editor.dap.response(waiting)?;
    assert_eq!(editor.dap.response(cancel)?["success"], true);
    Ok(())
}

#[test]
fn what_is_no_message_is_told_and_the_session_lives() -> Result<()> {
    let mut dap = Dap::start()?;
    dap.send_bytes(b"{nonsense")?;
    dap.output("no JSON")?;
    dap.send_bytes(
        b"{\"seq\": 1, \"type\": \"response\", \"request_seq\": 1, \"success\": true, \"command\": \"x\"}",
    )?;
    dap.send_bytes(b"[]")?;
    dap.ask("initialize", &Value::Null)?;
    Ok(())
}

#[test]
fn the_end_of_the_proxy_ends_the_session_once() -> Result<()> {
    let ats = server()?;
    let mut editor = Editor::attach(&ats, &json!({ "reconnect": 0 }))?;
    editor.break_at(&[(PRIME, json!({}))])?;
    drop(ats);
    editor.dap.event("terminated")?;
    let said = editor.dap.output("Attach again")?;
    assert!(said.contains("goes on"), "{said}");
    assert!(editor.dap.refused("stackTrace", &json!({ "threadId": 2 }))?.contains("over"));
    editor.dap.ask("threads", &json!({}))?;
    editor.dap.ask("disconnect", &json!({}))?;
    assert!(editor.dap.wait()?.success());
    assert_eq!(editor.dap.waiting("terminated"), 0, "only once");
    Ok(())
}

#[test]
fn the_deadline_lets_go_and_says_so() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).deadlines_pass().start()?;
    let mut editor = Editor::attach(&ats, &json!({ "deadline": "1500ms" }))?;
    editor.break_at(&[(PRIME, json!({}))])?;
    let pending = editor.request(&ats, "7");
    let thread = editor.stopped()?;
    assert_eq!(editor.dap.event("continued")?["threadId"], thread);
    editor.dap.output("its deadline has passed")?;
    assert_eq!(pending.wait()?.status, 200);
    assert!(!editor.dap.refused("next", &json!({ "threadId": thread }))?.is_empty());
    Ok(())
}

#[test]
fn two_editors_at_a_port() -> Result<()> {
    let ats = server()?;
    let mut listener = Command::new(product("wasmdbg")?)
        .args(["dap", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(listener.stdout.take().context("its output")?).read_line(&mut line)?;
    let address = line.trim().rsplit(' ').next().unwrap_or_default().parse().context(line.clone())?;
    let both = || -> Result<()> {
        let mut editors = [Editor::over(Dap::connect(address)?), Editor::over(Dap::connect(address)?)];
        let mut stopped = Vec::new();
        for editor in &mut editors {
            editor.introduce(&ats, &json!({}))?;
            editor.dap.event("initialized")?;
            editor.break_at(&[(PRIME, json!({}))])?;
        }
        for editor in &mut editors {
            let pending = editor.request(&ats, "7");
            stopped.push((editor.stopped()?, pending));
        }
        for (editor, (thread, pending)) in editors.iter_mut().zip(stopped) {
            assert!(!pending.is_finished());
            editor.go_on(thread)?;
            assert_eq!(pending.wait()?.status, 200);
        }
        Ok(())
    };
    let result = both();
    listener.kill()?;
    listener.wait()?;
    result?;
    let refused = Command::new(product("wasmdbg")?).args(["dap", "--listen", "0.0.0.0:0"]).output()?;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("other machines"));
    Ok(())
}

#[test]
fn clients_that_count_from_zero_and_send_uris() -> Result<()> {
    let ats = server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let zero = json!({ "linesStartAt1": false, "columnsStartAt1": false, "pathFormat": "uri" });
    editor.dap.ask("initialize", &zero)?;
    let path = wasmdbg_tests::process::repository().join(crate::adapter::SOURCE);
    let uri = format!("file://{}", path.display());
    // The line above has code too: one too few would show.
    let line = crate::debugger::line_of(crate::adapter::SOURCE, "if prime {") - 1;
    let set = json!({ "source": { "path": uri }, "breakpoints": [{ "line": line }] });
    let set = editor.dap.ask("setBreakpoints", &set)?["breakpoints"].clone();
    assert_eq!((&set[0]["verified"], &set[0]["line"]), (&json!(true), &json!(line)));
    assert_eq!(set[0]["source"]["path"], uri);
    let pending = editor.request(&ats, "7");
    let thread = editor.stopped()?;
    assert_eq!(editor.frame(thread, 0)?["line"], line);
    editor.dap.ask("disconnect", &json!({}))?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}
