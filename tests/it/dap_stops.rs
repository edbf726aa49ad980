//! Breakpoints, stops, values and steps as an editor asks for them.

use anyhow::Result;
use serde_json::{Value, json};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::{PATIENCE, wait_for};

use crate::adapter::{Editor, PRIME, SOURCE};
use crate::debugger::{line_of, random};

fn token_server() -> Result<Ats> {
    Ats::options().filter(Filter::example("rust-token", "debug")).start()
}

fn misbehave(build: &str) -> Result<Ats> {
    let module = repository().join(format!("tests/fixtures/misbehave/misbehave.{build}.wasm"));
    Ats::options().filter(Filter::new("misbehave", &module)).start()
}

#[test]
fn a_request_stops_is_looked_at_and_stepped() -> Result<()> {
    let ats = token_server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let set = editor.break_at(&[(PRIME, json!({}))])?;
    assert_eq!(set[0]["verified"], true);
    editor.dap.ask("configurationDone", &json!({}))?;
    editor.dap.output("x-debug: ")?;
    let token = random().to_string();
    let pending = editor.request(&ats, &token);
    let stop = editor.dap.event("stopped")?;
    assert_eq!((&stop["reason"], &stop["allThreadsStopped"]), (&json!("breakpoint"), &json!(false)));
    assert_eq!(stop["hitBreakpointIds"], json!([set[0]["id"]]));
    let thread = stop["threadId"].as_i64().unwrap_or_default();
    // The proxy serves everyone else.
    assert_eq!(ats.fetch(&Request::get("/cache/10/y").header("token", "7"))?.status, 200);

    let threads = editor.dap.ask("threads", &Value::Null)?["threads"].clone();
    assert_eq!(threads[0]["name"], "proxy (always runs)");
    assert!(
        threads[1]["name"].as_str().is_some_and(|name| name.starts_with("GET /cache/10/x #")),
        "{threads}"
    );

    let all = editor.dap.ask("stackTrace", &json!({ "threadId": thread, "levels": null }))?;
    let count = all["stackFrames"].as_array().map_or(0, Vec::len);
    assert!(count >= 3 && all["totalFrames"] == count, "{all}");
    let page = editor.dap.ask("stackTrace", &json!({ "threadId": thread, "startFrame": 1, "levels": 1 }))?;
    assert_eq!(page["stackFrames"], json!([all["stackFrames"][1]]), "the same frame, the same id");
    assert_eq!(page["totalFrames"], 3, "there are more");
    let frame = all["stackFrames"][0].clone();
    assert!(frame["name"].as_str().is_some_and(|name| name.ends_with("judge")));
    assert_eq!(frame["line"], line_of(SOURCE, PRIME));
    assert_eq!(frame["source"]["path"], json!(repository().join(SOURCE)));

    let (reference, locals) = editor.scope(&frame, "Locals")?;
    let local = locals.iter().find(|local| local["name"] == "token").cloned().unwrap_or_default();
    assert_eq!((&local["value"], &local["type"]), (&json!(token), &json!("u64")));
    let hex = json!({ "variablesReference": reference, "format": { "hex": true } });
    let hex = editor.dap.ask("variables", &hex)?["variables"].to_string();
    assert!(hex.contains(&format!("{:#x}", token.parse::<u64>()?)), "{hex}");
    let (_, arguments) = editor.scope(&frame, "Arguments")?;
    assert_eq!(arguments[0]["value"], format!("Some({token:?})"));
    assert!(arguments[0].get("evaluateName").is_none(), "a local of its name hides it: {arguments:?}");
    // Each child of a variable says how to ask for it.
    let caller = all["stackFrames"][1].clone();
    let (_, arguments) = editor.scope(&caller, "Arguments")?;
    let mut level = vec![arguments[0].clone()];
    while let Some(value) = level.iter().find(|value| value["variablesReference"] != 0).cloned() {
        level = editor.children(value["variablesReference"].as_i64().unwrap_or_default())?;
        for child in &level {
            let name = child["evaluateName"].as_str().unwrap_or_default();
            assert_eq!(editor.evaluate(&caller, name)?["result"], child["value"], "{name}");
        }
    }
    for context in ["hover", "watch", "repl", "clipboard", "variables", "unheard-of"] {
        let arguments = json!({ "expression": "token", "frameId": frame["id"], "context": context });
        assert_eq!(editor.dap.ask("evaluate", &arguments)?["result"], token, "{context}");
    }

    for (command, line) in [("next", "if prime {"), ("stepOut", "self.verdict = judge")] {
        editor
            .dap
            .ask(command, &json!({ "threadId": thread, "granularity": "statement", "singleThread": true }))?;
        assert_eq!(editor.dap.event("stopped")?["reason"], "step");
        assert_eq!(editor.frame(thread, 0)?["line"], line_of(SOURCE, line), "{command}");
    }
    let before = editor.frame(thread, 0)?["instructionPointerReference"].clone();
    for command in ["next", "stepIn"] {
        editor.dap.ask(command, &json!({ "threadId": thread, "granularity": "instruction" }))?;
        editor.dap.event("stopped")?;
    }
    assert_ne!(editor.frame(thread, 0)?["instructionPointerReference"], before);
    // The old frames are of a stop that is over.
    assert!(editor.dap.refused("scopes", &json!({ "frameId": frame["id"] }))?.contains("over"));
    assert!(editor.dap.refused("variables", &json!({ "variablesReference": reference }))?.contains("over"));
    assert_eq!(editor.go_on(thread)?["allThreadsContinued"], true);
    assert!([200, 403].contains(&pending.wait()?.status));
    editor.dap.event_where("thread", |body| body["reason"] == "exited")?;
    editor.dap.ask("disconnect", &json!({}))?;
    assert!(editor.dap.wait()?.success());
    assert_eq!(editor.dap.waiting("terminated"), 0, "the client ended it");
    Ok(())
}

#[test]
fn step_into_and_breakpoints_of_all_kinds() -> Result<()> {
    let ats = token_server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let functions = json!({ "breakpoints": [
        { "name": "judge" }, { "name": "proxy_on_request_headers" }, { "name": "no_such_function" }, { "name": "" },
    ] });
    let set = editor.dap.ask("setFunctionBreakpoints", &functions)?["breakpoints"].clone();
    let verified: Vec<_> = (0..4).map(|at| set[at]["verified"] == true).collect();
    assert_eq!(verified, [true, true, false, false], "{set}");
    let pending = editor.request(&ats, "91");
    let callback = editor.dap.event("stopped")?;
    assert_eq!(callback["reason"], "function breakpoint");
    assert_eq!(callback["hitBreakpointIds"], json!([set[1]["id"]]));
    let thread = callback["threadId"].as_i64().unwrap_or_default();
    editor.go_on(thread)?;
    assert_eq!(editor.dap.event("stopped")?["hitBreakpointIds"], json!([set[0]["id"]]));
    // Sets replace each other.
    editor.dap.ask("setFunctionBreakpoints", &json!({ "breakpoints": [] }))?;
    editor.break_at(&[(PRIME, json!({}))])?;
    editor.go_on(thread)?;
    editor.stopped()?;
    editor.dap.ask("stepIn", &json!({ "threadId": thread }))?;
    editor.stopped()?;
    let frame = editor.frame(thread, 0)?;
    assert_eq!(frame["line"], line_of(SOURCE, "if number < 2"));

    // An opcode of the listing, ahead of where it stands.
    let place = frame["instructionPointerReference"].clone();
    let list = json!({ "memoryReference": place, "instructionOffset": -5, "instructionCount": 20 });
    let rows = editor.dap.ask("disassemble", &list)?["instructions"].clone();
    assert_eq!(rows.as_array().map(Vec::len), Some(20));
    assert_eq!(rows[5]["address"], place);
    assert!(rows.to_string().contains("local.get"), "{rows}");
    let ahead = rows[6]["address"].clone();
    let one =
        json!({ "breakpoints": [{ "instructionReference": ahead }, { "instructionReference": "nonsense" }] });
    let set = editor.dap.ask("setInstructionBreakpoints", &one)?["breakpoints"].clone();
    assert_eq!((&set[0]["verified"], &set[1]["verified"]), (&json!(true), &json!(false)));
    editor.go_on(thread)?;
    assert_eq!(editor.dap.event("stopped")?["reason"], "instruction breakpoint");
    assert_eq!(editor.frame(thread, 0)?["instructionPointerReference"], ahead);
    // Far before the code there are rows, too, exactly so many, with addresses in order.
    let list = json!({ "memoryReference": place, "instructionOffset": -10_000_000, "instructionCount": 7 });
    let rows = editor.dap.ask("disassemble", &list)?["instructions"].clone();
    assert_eq!(rows.as_array().map(Vec::len), Some(7));
    assert_eq!(rows[6]["presentationHint"], "invalid");
    editor.dap.ask("disconnect", &json!({}))?;
    assert_eq!(pending.wait()?.status, 403);
    Ok(())
}

#[test]
fn conditions_hit_counts_and_log_points() -> Result<()> {
    let ats = token_server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let inner = "divisor += 2;";
    let set = editor.break_at(&[
        (inner, json!({ "condition": "divisor == 11" })),
        (inner, json!({ "hitCondition": "7" })),
        (PRIME, json!({ "logMessage": "token is {token} in {$path}" })),
        (inner, json!({ "condition": "divisor ==" })),
        (inner, json!({ "hitCondition": "often" })),
    ])?;
    let verified: Vec<_> = set.iter().map(|one| one["verified"] == true).collect();
    assert_eq!(verified, [true, true, true, false, false], "{set:?}");
    assert!(set[3]["message"].as_str().is_some_and(|text| text.contains("column 11")), "{set:?}");
    let pending = editor.request(&ats, "10007");
    let said =
        editor.dap.event_where("output", |body| body["output"].to_string().contains("token is 10007"))?;
    assert!(said["output"].as_str().is_some_and(|text| text.contains("/cache/10/x")), "{said}");
    assert_eq!(said["line"], line_of(SOURCE, PRIME));
    for (divisor, which) in [("11", 0), ("15", 1)] {
        let stop = editor.dap.event("stopped")?;
        assert_eq!(stop["hitBreakpointIds"], json!([set[which]["id"]]));
        let thread = stop["threadId"].as_i64().unwrap_or_default();
        let frame = editor.frame(thread, 0)?;
        assert_eq!(editor.evaluate(&frame, "divisor")?["result"], divisor);
        editor.go_on(thread)?;
    }
    // The condition holds once more for `judge`'s own question only when the number is no prime.
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn lines_are_told_as_they_are() -> Result<()> {
    let ats = token_server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let source = json!({ "path": repository().join(SOURCE) });
    let set = json!({ "source": source, "breakpoints": [{ "line": 1 }, { "line": 100_000 }, { "line": 0 }] });
    let set = editor.dap.ask("setBreakpoints", &set)?["breakpoints"].clone();
    assert!(set[0]["verified"] == true && set[0]["line"].as_u64() > Some(1), "moved: {set}");
    assert!(set[0]["message"].as_str().is_some_and(|text| text.contains("moved")), "{set}");
    assert_eq!((&set[1]["verified"], &set[2]["verified"]), (&json!(false), &json!(false)));
    // A file of the same name that no filter was built from.
    let other = json!({ "path": repository().join("debugger/session/src/lib.rs") });
    let set =
        editor.dap.ask("setBreakpoints", &json!({ "source": other, "lines": [1] }))?["breakpoints"].clone();
    assert_eq!(set[0]["verified"], false);
    assert!(set[0]["message"].as_str().is_some_and(|text| text.contains("was built from")), "{set}");
    let line = line_of(SOURCE, PRIME);
    let place = json!({ "source": source, "line": line, "endLine": line + 1 });
    let found = editor.dap.ask("breakpointLocations", &place)?["breakpoints"].clone();
    assert!(found.to_string().contains(&format!("\"line\":{line}")), "{found}");
    let sources = editor.dap.ask("loadedSources", &json!({}))?["sources"].to_string();
    assert!(sources.contains(SOURCE), "{sources}");
    let modules = editor.dap.ask("modules", &json!({}))?;
    assert_eq!((&modules["modules"][0]["name"], &modules["totalModules"]), (&json!("rust-token"), &json!(1)));
    let text = editor.dap.ask("source", &json!({ "source": source, "sourceReference": 0 }))?;
    assert!(text["content"].as_str().is_some_and(|text| text.contains(PRIME)));
    let secret = json!({ "source": { "path": "/etc/passwd" } });
    assert!(editor.dap.refused("source", &secret)?.contains("was built from"));
    Ok(())
}

#[test]
fn memory_and_variables_are_written() -> Result<()> {
    let ats = token_server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    editor.break_at(&[("divisor += 2;", json!({}))])?;
    let pending = editor.request(&ats, "10007");
    let thread = editor.stopped()?;
    let frame = editor.frame(thread, 0)?;
    let (locals, _) = editor.scope(&frame, "Locals")?;
    let set = json!({ "variablesReference": locals, "name": "divisor", "value": "number - 6" });
    assert_eq!(editor.dap.ask("setVariable", &set)?["value"], "10001");
    editor.dap.event("invalidated")?;
    let divisor = editor.evaluate(&frame, "divisor")?;
    assert_eq!(divisor["result"], "10001");
    let place = divisor["memoryReference"].clone();
    let read = editor.dap.ask("readMemory", &json!({ "memoryReference": place, "count": 8 }))?;
    assert_eq!(read["data"], "EScAAAAAAAA=");
    // 9 to the byte that makes it 9.
    let write = json!({ "memoryReference": place, "data": "CQAAAAAAAAA=" });
    assert_eq!(editor.dap.ask("writeMemory", &write)?["bytesWritten"], 8);
    editor.dap.event("memory")?;
    assert_eq!(editor.evaluate(&frame, "divisor")?["result"], "9");
    let set = json!({ "expression": "divisor", "value": "21", "frameId": frame["id"] });
    assert_eq!(editor.dap.ask("setExpression", &set)?["value"], "21");
    for (name, value, part) in [
        ("divisor", "-1", "does not fit"),
        ("absent", "1", "no variable"),
        ("divisor", "1 +", "the new value"),
    ] {
        let set = json!({ "variablesReference": locals, "name": name, "value": value });
        let why = editor.dap.refused("setVariable", &set)?;
        assert!(why.contains(part), "{why}");
    }
    let (wasm, locals) = editor.scope(&frame, "Wasm locals")?;
    let set = json!({ "variablesReference": wasm, "name": locals[0]["name"], "value": "1" });
    assert!(editor.dap.refused("setVariable", &set)?.contains("engine cannot write"));
    let far = json!({ "memoryReference": "0xfffffff0", "count": 64 });
    assert_eq!(editor.dap.ask("readMemory", &far)?["unreadableBytes"], 64);
    let none = json!({ "memoryReference": place, "count": 0 });
    assert_eq!(editor.dap.ask("readMemory", &none)?["data"], "");
    // What was written is what the program goes on with: 23 is the next divisor.
    editor.dap.ask("next", &json!({ "threadId": thread }))?;
    editor.stopped()?;
    let frame = editor.frame(thread, 0)?;
    assert_eq!(editor.evaluate(&frame, "divisor")?["result"], "23");
    editor.dap.ask("disconnect", &json!({}))?;
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn the_console_has_commands_and_completes() -> Result<()> {
    let ats = token_server()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let repl = |text: &str| json!({ "expression": text, "context": "repl" });
    assert!(editor.dap.refused("evaluate", &repl("token"))?.contains("nothing is stopped"));
    editor.break_at(&[("match &self.verdict {", json!({}))])?;
    let pending = editor.request(&ats, "91");
    let thread = editor.stopped()?;
    let frame = editor.frame(thread, 0)?;
    for (command, part) in [
        ("help", "transactions"),
        ("transactions", "stopped in proxy_on_request_headers"),
        ("filters", "rust-token  active"),
        ("breakpoints", "1 hits"),
        ("bt", "#0 "),
        ("location count", "frame base"),
        ("x self", "0x"),
    ] {
        let said = editor.dap.ask("evaluate", &repl(command))?["result"].to_string();
        assert!(said.contains(part), "{command}: {said}");
    }
    let complete = |text: &str| json!({ "text": text, "column": text.len() + 1, "frameId": frame["id"] });
    for (text, label, start) in
        [("co", "count", 1), ("1 + self.ver", "verdict", 10), ("self.settings.", "quiet", 15)]
    {
        let targets = editor.dap.ask("completions", &complete(text))?["targets"].clone();
        let found = targets.as_array().into_iter().flatten().find(|target| target["label"] == label);
        assert_eq!(found.map(|target| target["start"].clone()), Some(json!(start)), "{text}: {targets}");
    }
    let own = editor.dap.ask("wasmdbg/transactions", &Value::Null)?;
    assert_eq!(own["transactions"][0]["state"], "stopped", "{own}");
    let error = editor.dap.refused("evaluate", &json!({ "expression": "self.", "frameId": frame["id"] }))?;
    assert!(error.contains("column 6"), "{error}");
    editor.dap.ask("disconnect", &json!({}))?;
    assert_eq!(pending.wait()?.status, 403);
    Ok(())
}

#[test]
fn a_trap_is_an_exception_with_its_message() -> Result<()> {
    let ats = misbehave("debug")?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    editor.dap.ask("setExceptionBreakpoints", &json!({ "filters": ["trap"], "exceptionOptions": [] }))?;
    let orders = |what: &str| editor_request(what);
    let pending = Pending::start(ats.address(), editor.matching(orders("request=panic")), PATIENCE);
    let stop = editor.dap.event("stopped")?;
    assert_eq!(stop["reason"], "exception");
    let thread = stop["threadId"].as_i64().unwrap_or_default();
    let info = editor.dap.ask("exceptionInfo", &json!({ "threadId": thread }))?;
    assert_eq!(info["breakMode"], "always");
    assert!(info["details"]["stackTrace"].as_str().is_some_and(|text| text.contains("lib.rs")), "{info}");
    assert!(
        info["description"].as_str().is_some_and(|text| text.contains("told to panic in request")),
        "{info}"
    );
    editor.go_on(thread)?;
    editor.dap.output("trapped")?;
    pending.wait()?;
    // Only those that are asked for.
    let only = json!({ "filters": [], "filterOptions": [{ "filterId": "trap", "condition": "out of bounds" }, { "filterId": "x" }] });
    let set = editor.dap.ask("setExceptionBreakpoints", &only)?["breakpoints"].clone();
    assert_eq!((&set[0]["verified"], &set[1]["verified"]), (&json!(true), &json!(false)));
    ats.fetch(&editor.matching(orders("request=unreachable")))?;
    let pending = Pending::start(ats.address(), editor.matching(orders("request=bounds")), PATIENCE);
    let stop = editor.dap.event("stopped")?;
    assert!(stop["text"].as_str().is_some_and(|text| text.contains("out of bounds")), "{stop}");
    editor.dap.ask("disconnect", &json!({}))?;
    pending.wait()?;
    Ok(())
}

/// For the engine all three are one trap.
#[test]
fn a_panic_an_abort_and_a_bad_instruction_are_told_apart() -> Result<()> {
    for build in ["debug", "release"] {
        let ats = misbehave(build)?;
        let mut editor = Editor::attach(&ats, &json!({}))?;
        editor.dap.ask("setExceptionBreakpoints", &json!({ "filters": ["panic"] }))?;
        let panic = exception(&mut editor, &ats, "request=panic")?;
        assert_eq!(
            (&panic["exceptionId"], &panic["details"]["typeName"]),
            (&json!("panic"), &json!("panic"))
        );
        let said = panic["description"].as_str().unwrap_or_default();
        assert!(said.contains("a panic") && said.contains("told to panic in request"), "{panic}");
        assert_eq!(exception(&mut editor, &ats, "request=abort")?["exceptionId"], "abort");
        for order in ["request=unreachable", "request=bounds"] {
            // Would never end if it stopped.
            ats.fetch(&editor.matching(editor_request(order)))?;
        }
        editor.dap.ask("setExceptionBreakpoints", &json!({ "filters": ["trap"] }))?;
        let trap = exception(&mut editor, &ats, "request=unreachable")?;
        assert_eq!(trap["details"]["typeName"], "trap");
        assert!(trap["exceptionId"].as_str().is_some_and(|id| id.contains("unreachable")), "{trap}");
        assert_eq!(exception(&mut editor, &ats, "request=panic")?["exceptionId"], "panic");
        editor.dap.ask("disconnect", &json!({}))?;
    }
    Ok(())
}

/// What the editor is told of a request that stops as an exception, and goes on.
fn exception(editor: &mut Editor, ats: &Ats, orders: &str) -> Result<Value> {
    let pending = Pending::start(ats.address(), editor.matching(editor_request(orders)), PATIENCE);
    let thread = editor.dap.event("stopped")?["threadId"].as_i64().unwrap_or_default();
    let info = editor.dap.ask("exceptionInfo", &json!({ "threadId": thread }))?;
    editor.go_on(thread)?;
    pending.wait()?;
    Ok(info)
}

fn editor_request(orders: &str) -> Request {
    Request::get("/cache/10/x").header("do", orders)
}

#[test]
fn a_loop_is_paused() -> Result<()> {
    let ats = misbehave("debug")?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let idle = editor.dap.refused("pause", &json!({ "threadId": 1 }))?;
    assert!(!idle.is_empty());
    let pending = Pending::start(ats.address(), editor.matching(editor_request("request=loop")), PATIENCE);
    let thread = editor.dap.event_where("thread", |body| body["reason"] == "started")?["threadId"].as_i64();
    let thread = thread.unwrap_or_default();
    wait_for("the loop", PATIENCE, || {
        let list = editor.dap.ask("wasmdbg/transactions", &Value::Null).ok()?;
        list.to_string().contains("runs proxy_on_request_headers").then_some(())
    })?;
    editor.dap.ask("pause", &json!({ "threadId": thread }))?;
    assert_eq!(editor.dap.event("stopped")?["reason"], "pause");
    // Wherever it was in the callback.
    let stack = editor.dap.ask("stackTrace", &json!({ "threadId": thread }))?["stackFrames"].to_string();
    assert!(stack.contains("proxy_on_request_headers"), "{stack}");
    editor.dap.ask("disconnect", &json!({}))?;
    // Its budget ends it, by the fail policy.
    assert_eq!(pending.wait()?.status, 200);
    Ok(())
}

#[test]
fn a_local_response_is_an_exception_when_it_is_asked_for() -> Result<()> {
    let ats = Ats::options().filter(Filter::example("rust-token", "debug")).start()?;
    let mut editor = Editor::attach(&ats, &json!({}))?;
    let condition = json!({ "filterId": "local_response", "condition": "$req[\"token\"] == \"9\"" });
    editor.dap.ask("setExceptionBreakpoints", &json!({ "filters": [], "filterOptions": [condition] }))?;
    editor.dap.ask("configurationDone", &Value::Null)?;
    assert_eq!(editor.request(&ats, "8").wait()?.status, 403, "the condition does not hold");
    let pending = editor.request(&ats, "9");
    let stopped = editor.dap.event("stopped")?;
    assert_eq!(stopped["reason"], "exception");
    let said = stopped["description"].as_str().unwrap_or_default();
    assert!(said.contains(": 403, body \"9 is not prime: 3 divides it"), "{said}");
    let info = editor.dap.ask("exceptionInfo", &json!({ "threadId": stopped["threadId"] }))?;
    assert_eq!(info["exceptionId"], "local response");
    let stack = info["details"]["stackTrace"].as_str().unwrap_or_default();
    assert!(stack.contains("on_http_request_headers"), "{stack}");
    editor.go_on(stopped["threadId"].as_i64().unwrap_or_default())?;
    assert_eq!(pending.wait()?.status, 403);
    editor.dap.ask("setExceptionBreakpoints", &json!({ "filters": ["trap", "panic"] }))?;
    assert_eq!(editor.request(&ats, "9").wait()?.status, 403, "nothing stops any more");
    Ok(())
}
