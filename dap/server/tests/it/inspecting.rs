//! What is asked of a stopped request: pages of variables, expressions, memory, code, sources.

use serde_json::{Value, json};
use wasmdbg_control::Request;

use crate::client::{Client, frame};
use crate::recording::fixture;
use crate::running::stopped;

fn names(variables: &Value) -> Vec<String> {
    let all = variables["variables"].as_array().expect("variables");
    all.iter().map(|variable| variable["name"].as_str().expect("a name").to_owned()).collect()
}

/// The reference of a scope of the outer frame, which has arguments, locals and statics.
fn scope(client: &mut Client, thread: &Value, name: &str) -> Value {
    let stack = client.ask("stackTrace", &json!({ "threadId": thread }));
    let shapes = stack["stackFrames"].as_array().expect("frames").iter();
    let shapes =
        shapes.clone().find(|frame| frame["name"].as_str().is_some_and(|name| name.contains("shapes")));
    let scopes = client.ask("scopes", &json!({ "frameId": shapes.expect("the frame")["id"] }));
    let found =
        scopes["scopes"].as_array().expect("scopes").iter().find(|scope| scope["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("no {name}: {scopes}"))["variablesReference"].clone()
}

#[test]
fn pages_of_variables_start_where_asked_and_have_so_many() {
    let (mut client, _proxy, _asked, thread) = stopped("shapes", &json!({}));
    let locals = scope(&mut client, &thread, "Locals");
    let all = client.ask("variables", &json!({ "variablesReference": locals }));
    let every = names(&all);
    assert!(every.len() > 10, "{every:?}");
    let mut page =
        |reference: &Value, start: i64, count: Value| {
            names(&client.ask(
                "variables",
                &json!({ "variablesReference": reference, "start": start, "count": count }),
            ))
        };
    assert_eq!(page(&locals, 3, json!(2)), every[3..5]);
    assert_eq!(page(&locals, 3, Value::Null), every[3..]);
    assert_eq!(page(&locals, 0, json!(4)), every[..4]);
    assert!(page(&locals, 9999, json!(4)).is_empty());
    let array = all["variables"].as_array().expect("variables").iter().find(|one| one["name"] == "array");
    let array = array.expect("the array");
    assert_eq!(array["indexedVariables"], 3);
    let array = &array["variablesReference"];
    assert_eq!(page(array, 0, json!(0)), ["[0]", "[1]", "[2]"]);
    assert_eq!(page(array, 1, json!(1)), ["[1]"]);
    assert_eq!(page(array, 1, json!(9)), ["[1]", "[2]"]);
    assert!(page(array, 3, json!(1)).is_empty());
}

#[test]
fn expressions_have_values_or_reasons() {
    let (mut client, _proxy, _asked, thread) = stopped("scalars", &json!({}));
    let frame = frame(&mut client, &thread)["id"].clone();
    let mut evaluate = |expression: &str, context: &str| {
        client
            .respond("evaluate", &json!({ "expression": expression, "context": context, "frameId": frame }));
    };
    for (expression, context) in [
        ("small", "hover"),
        ("small + 10", "watch"),
        ("sum == 11", "watch"),
        ("huge", "clipboard"),
        ("letter", "repl"),
        ("nothing", "watch"),
        ("", "watch"),
        ("small +", "repl"),
        ("transactions", "repl"),
        ("transactions", "watch"),
        ("breakpoints", "repl"),
        ("$method", "watch"),
    ] {
        evaluate(expression, context);
    }
    client.ask("completions", &json!({ "frameId": frame, "text": "la", "column": 3 }));
    client.assert_transcript("expressions");
}

#[test]
fn a_new_value_reaches_the_proxy_and_what_was_shown_is_asked_anew() {
    let features = json!({ "supportsInvalidatedEvent": true, "supportsMemoryEvent": true });
    let (mut client, _proxy, asked, thread) = stopped("shapes", &features);
    let locals = scope(&mut client, &thread, "Locals");
    let stack = client.ask("stackTrace", &json!({ "threadId": thread }));
    let frames = stack["stackFrames"].as_array().expect("frames").iter();
    let frame = frames.clone().find(|one| one["name"].as_str().is_some_and(|name| name.contains("shapes")));
    let frame = frame.expect("the frame")["id"].clone();
    let set = json!({ "expression": "point.y", "value": "-5", "frameId": frame });
    assert_eq!(client.ask("setExpression", &set)["value"], "-5");
    let Request::WriteMemory(write) = asked.next("write_memory") else { unreachable!() };
    assert_eq!(write.data, (-5_i32).to_le_bytes());
    assert_eq!(client.event("invalidated"), json!({ "areas": ["variables"], "threadId": thread }));
    let point = json!({ "expression": "point.y", "frameId": frame });
    assert_eq!(client.ask("evaluate", &point)["result"], "-5");
    let all = client.ask("variables", &json!({ "variablesReference": locals }));
    let point =
        all["variables"].as_array().expect("variables").iter().find(|one| one["name"] == "point").cloned();
    let point = point.expect("the point");
    let memory = point["memoryReference"].clone();
    let x = json!({ "variablesReference": point["variablesReference"], "name": "x", "value": "300" });
    assert_eq!(client.ask("setVariable", &x)["value"], "300");
    let read = json!({ "memoryReference": memory, "count": 8 });
    // 300, then -5.
    assert_eq!(client.ask("readMemory", &read)["data"], "LAEAAPv///8=");
    let write = json!({ "memoryReference": memory, "offset": 4, "data": "BwAAAA==" });
    assert_eq!(client.ask("writeMemory", &write), json!({ "bytesWritten": 4 }));
    assert_eq!(client.event("memory"), json!({ "memoryReference": memory, "offset": 4, "count": 4 }));
    let point = json!({ "expression": "point.y", "frameId": frame });
    assert_eq!(client.ask("evaluate", &point)["result"], "7");
    for (wrong, said) in [
        (json!({ "memoryReference": "here", "count": 1 }), "is no place in memory"),
        (json!({ "memoryReference": "slot9:0x10", "count": 1 }), "while its request is stopped"),
        (json!({ "memoryReference": memory, "count": -1 }), "`count` is negative"),
    ] {
        let why = client.refused("readMemory", &wrong);
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn code_sources_and_modules_have_names_that_lead_back() {
    let (mut client, _proxy, asked, thread) = stopped("scalars", &json!({}));
    let top = frame(&mut client, &thread);
    let reference = top["instructionPointerReference"].clone();
    let code = json!({ "memoryReference": reference, "instructionCount": 3 });
    let code = client.ask("disassemble", &code)["instructions"].clone();
    assert_eq!((code.as_array().map(Vec::len), &code[0]["address"]), (Some(3), &reference), "{code}");
    let set = json!({ "breakpoints": [{ "instructionReference": code[1]["address"] }] });
    let set = client.ask("setInstructionBreakpoints", &set)["breakpoints"][0].clone();
    assert_eq!(
        (&set["verified"], &set["instructionReference"]),
        (&json!(true), &code[1]["address"]),
        "{set}"
    );
    let Request::SetBreakpoints(planted) = asked.next("set_breakpoints") else { unreachable!() };
    let address = code[1]["address"].as_str().and_then(|text| i64::from_str_radix(&text[2..], 16).ok());
    assert_eq!(Some(i64::from(planted.breakpoints[0].pc.0) + (1 << 32)), address);
    let modules = client.ask("modules", &Value::Null);
    assert_eq!((&modules["totalModules"], &modules["modules"][0]["id"]), (&json!(1), &top["moduleId"]));
    let sources = client.ask("loadedSources", &Value::Null)["sources"].clone();
    let own = sources.as_array().expect("sources").iter().find(|one| one["name"] == "values.rs");
    assert_eq!(own.expect("the source")["path"], json!(fixture("values.rs")));
    let text = client.ask("source", &json!({ "source": own }));
    assert!(text["content"].as_str().is_some_and(|text| text.contains("// stop scalars")));
    let other = client.refused("source", &json!({ "source": { "path": "/etc/hostname" } }));
    assert!(other.contains("no filter of this session was built"), "{other}");
    assert_eq!(client.refused("source", &json!({ "sourceReference": 99 })), "there is no source 99");
}
