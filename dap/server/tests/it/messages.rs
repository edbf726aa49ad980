//! Messages that are none, requests that do not exist, and requests that nobody wants any more.

use serde_json::{Value, json};

use crate::client::Client;
use crate::proxy::Proxy;
use crate::running::{attach, attached};

#[test]
fn what_is_no_message_is_said_and_the_next_one_answered() {
    let (proxy, _asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({}));
    for (body, said) in [
        ("", "no JSON of this protocol"),
        ("{", "no JSON of this protocol"),
        ("[1, 2]", "no JSON of this protocol"),
        ("\"threads\"", "no JSON of this protocol"),
        ("{}", "neither request, response nor event"),
        ("{\"seq\":1,\"type\":\"request\"}", "neither request, response nor event"),
        ("{\"seq\":\"one\",\"type\":\"request\",\"command\":\"threads\"}", "no JSON of this protocol"),
        ("\u{0}\u{0}", "no JSON of this protocol"),
    ] {
        client.send_bytes(body.as_bytes());
        let event = client.event("output");
        assert!(event["output"].as_str().is_some_and(|text| text.contains(said)), "{body}: {event}");
        assert_eq!(event["category"], "stderr");
    }
    client.send_bytes(&[0xff, 0xfe]);
    assert_eq!(client.event("output")["category"], "stderr");
    // A client's own answers and events are taken, and mean nothing.
    client.send_bytes(b"{\"seq\":3,\"type\":\"response\",\"request_seq\":1,\"success\":true}");
    client.send_bytes(b"{\"seq\":4,\"type\":\"event\",\"event\":\"x\"}");
    let threads = client.ask("threads", &Value::Null);
    assert_eq!(threads["threads"].as_array().map(Vec::len), Some(1), "{threads}");
}

#[test]
fn a_stream_without_headers_is_the_end_and_lets_the_proxy_go() {
    for broken in ["hello\r\n\r\n", "Content-Length: many\r\n\r\n{}", "Content-Length: 99999999999\r\n\r\n"] {
        let (mut client, _proxy, asked) = attached("scalars", &json!({}));
        client.send_raw(broken.as_bytes());
        let said = client.event_where("output", |event| event["category"] == "stderr");
        let said = said["output"].as_str().expect("words");
        assert!(said.contains("the client's stream is broken"), "{said}");
        client.ended();
        asked.end();
    }
}

#[test]
fn unknown_requests_and_arguments_are_refused_by_name() {
    let (mut client, _proxy, _asked) = attached("scalars", &json!({}));
    for (command, arguments) in [
        ("gotoTargets", json!({})),
        ("", json!({})),
        ("restartFrame", json!({ "frameId": 1 })),
        ("stackTrace", json!({ "threadId": "two" })),
        ("stackTrace", json!([])),
        ("stackTrace", json!({ "threadId": 1 })),
        ("scopes", json!({ "frameId": 4711 })),
        ("variables", Value::Null),
        ("continue", json!({ "threadId": -1 })),
        ("setBreakpoints", json!({ "source": {} })),
        ("breakpointLocations", json!({ "source": { "path": "/a.rs" }, "line": 0 })),
        ("disassemble", json!({ "memoryReference": "0x0", "instructionCount": 1 })),
        ("disassemble", json!({ "memoryReference": "0x100000000", "instructionCount": -1 })),
        ("attach", json!({})),
        ("launch", json!({ "program": "a.wasm" })),
    ] {
        if command.is_empty() {
            // Not even a request: it has no name.
            continue;
        }
        client.refused(command, &arguments);
    }
    client.assert_transcript("refusals");
}

#[test]
fn before_there_is_a_session_everything_says_so() {
    let (proxy, _asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({}));
    for command in ["stackTrace", "continue", "next", "pause", "modules", "loadedSources", "restart"] {
        let why = client.refused(command, &json!({ "threadId": 1 }));
        assert!(
            why.contains("not attached to a proxy") || why.contains("nothing to restart"),
            "{command}: {why}"
        );
    }
    let help = client.ask("evaluate", &json!({ "expression": "help", "context": "repl" }));
    assert!(help["result"].as_str().is_some_and(|text| text.contains("transactions")), "{help}");
    for (arguments, said) in [
        (attach(json!({ "when": ["header:x=y"] })), "`all` and `when` exclude each other"),
        (attach(json!({ "deadline": "soon" })), "`deadline`"),
        (attach(json!({ "reconnect": "-1s" })), "`reconnect`"),
        (attach(json!({ "pid": "x" })), "`pid` is a process id"),
    ] {
        let why = client.refused("attach", &arguments);
        assert!(why.contains(said), "{why}");
    }
    // None of these has used the connection up.
    client.ask("attach", &attach(json!({})));
}

#[test]
fn a_cancel_overtakes_the_request_that_waits() {
    let (mut client, proxy, asked) = attached("scalars", &json!({}));
    // The adapter is busy with the first one; what follows waits.
    proxy.is_silent_at("transactions");
    let busy = client.send("threads", &Value::Null);
    asked.next("transactions");
    let unwanted = client.send("evaluate", &json!({ "expression": "help", "context": "repl" }));
    let cancel = client.send("cancel", &json!({ "requestId": unwanted }));
    // The reader has the cancel when it waits for what comes next.
    client.settle();
    proxy.dies();
    assert_eq!(client.response(busy)["success"], true);
    assert_eq!(client.response(unwanted)["message"], "cancelled");
    assert_eq!(client.response(cancel)["success"], true);
}

#[test]
fn an_attach_under_way_can_be_cancelled() {
    let (proxy, asked) = Proxy::new("scalars");
    proxy.is_silent_at("attach");
    let mut client = Client::of(&proxy, &json!({}));
    let seq = client.send("attach", &attach(json!({})));
    asked.next("attach");
    assert_eq!(client.refused("threads-of-none", &json!({})), "wasmdbg has no request `threads-of-none`");
    assert_eq!(client.refused("modules", &json!({})), "still attaching to the proxy");
    client.ask("cancel", &json!({ "requestId": seq }));
    assert_eq!(client.response(seq)["message"], "cancelled");
    asked.end();
}
