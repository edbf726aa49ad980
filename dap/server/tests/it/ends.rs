//! How sessions end, and that nothing stays stopped: the client goes, the proxy goes and comes back.

use serde_json::{Value, json};
use wasmdbg_control::Request;
use wasmdbg_control::stop::StopReason;

use crate::client::{Client, line_of};
use crate::proxy::{Halt, Proxy};
use crate::recording::fixture;
use crate::running::{attach, attached, breakpoints, stopped};

#[test]
fn a_client_that_goes_without_a_word_leaves_nothing_stopped() {
    let (mut client, _proxy, asked, _thread) = stopped("scalars", &json!({}));
    client.hang_up();
    client.ended();
    // The connection ends: the plugin lets go what it held.
    asked.end();
}

#[test]
fn terminate_ends_the_session_and_disconnect_the_adapter() {
    let (mut client, _proxy, asked, thread) = stopped("scalars", &json!({}));
    client.ask("terminate", &Value::Null);
    client.event("terminated");
    asked.next("detach");
    assert_eq!(client.event_where("thread", |event| event["reason"] == "exited")["threadId"], thread);
    assert_eq!(client.refused("stackTrace", &json!({ "threadId": thread })), "the session is over");
    assert_eq!(client.refused("attach", &attach(json!({}))), "the session is over: start a new one");
    // Twice is no harm.
    client.ask("terminate", &Value::Null);
    client.ask("disconnect", &json!({ "terminateDebuggee": false }));
    client.ended();
}

#[test]
fn a_restart_attaches_again_with_the_same_breakpoints() {
    let (proxy, asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({}));
    client.ask("attach", &attach(json!({ "filter": "values" })));
    let line = line_of(&fixture("values.rs"), "// stop scalars");
    client.ask("setBreakpoints", &breakpoints(&[line]));
    client.ask("configurationDone", &Value::Null);
    let Request::SetBreakpoints(before) = asked.next("set_breakpoints") else { unreachable!() };
    client.ask("restart", &Value::Null);
    asked.next("detach");
    let Request::Attach(again) = asked.next("attach") else { unreachable!() };
    assert_eq!((again.filters, again.all), (vec!["values".to_owned()], true));
    let Request::SetBreakpoints(after) = asked.next("set_breakpoints") else { unreachable!() };
    assert_eq!(before.breakpoints[0].pc, after.breakpoints[0].pc);
    let changed = client.event("breakpoint")["breakpoint"].clone();
    assert_eq!((&changed["verified"], &changed["line"]), (&json!(true), &json!(line)), "{changed}");
}

#[test]
fn a_proxy_that_goes_away_for_good_ends_the_session() {
    let (proxy, _asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({}));
    client.ask("attach", &attach(json!({ "reconnect": 0 })));
    client.ask("configurationDone", &Value::Null);
    proxy.stop(Halt { reason: StopReason::Interrupt, ..Halt::default() });
    let thread = client.event("stopped")["threadId"].clone();
    proxy.dies();
    client.event("terminated");
    let said = client.event_where("output", |event| event["category"] == "important");
    let said = said["output"].as_str().expect("words");
    assert!(said.contains("what was stopped goes on. Attach again when the proxy runs"), "{said}");
    assert_eq!(client.refused("stackTrace", &json!({ "threadId": thread })), "the session is over");
}

#[test]
fn a_proxy_that_comes_back_has_the_same_breakpoints_and_rules() {
    let (proxy, asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({ "supportsProgressReporting": true }));
    let mut arguments = attach(json!({}));
    // The plugin makes a token.
    arguments["all"] = json!(false);
    client.ask("attach", &arguments);
    client.event("initialized");
    let line = line_of(&fixture("values.rs"), "// stop scalars");
    client.ask("setBreakpoints", &breakpoints(&[line]));
    client.ask("configurationDone", &Value::Null);
    asked.next("set_breakpoints");
    proxy.dies();
    client.event_where("progressStart", |event| event["title"] == "The proxy is gone");
    assert_eq!(client.ask("threads", &Value::Null)["threads"][0]["name"], "proxy (gone)");
    let waits = "the proxy is gone; waiting for it to come back";
    assert_eq!(client.refused("modules", &Value::Null), waits);
    let pending = client.ask("setBreakpoints", &breakpoints(&[line, line + 1]))["breakpoints"].clone();
    assert_eq!((&pending[1]["reason"], &pending[1]["message"]), (&json!("pending"), &json!(waits)));
    proxy.comes_back();
    client
        .event_where("output", |event| event["output"].as_str().is_some_and(|text| text.contains("is back")));
    let Request::Attach(again) = asked.next("attach") else { unreachable!() };
    assert!(!again.all && again.rules.len() == 1, "{again:?}");
    for _ in 0..2 {
        client.event_where("breakpoint", |event| event["breakpoint"]["verified"] == true);
    }
    client.event_where("thread", |event| event["reason"] == "started");
    proxy.stop(Halt::default());
    client.event("stopped");
}

#[test]
fn the_wait_for_a_proxy_can_be_cancelled() {
    let (proxy, _asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({ "supportsProgressReporting": true }));
    client.ask("attach", &attach(json!({})));
    client.event("initialized");
    proxy.dies();
    let progress = client.event_where("progressStart", |event| event["title"] == "The proxy is gone");
    let progress = progress["progressId"].clone();
    client.ask("cancel", &json!({ "progressId": "another" }));
    assert_eq!(client.ask("threads", &Value::Null)["threads"][0]["name"], "proxy (gone)");
    client.ask("cancel", &json!({ "progressId": progress }));
    client.event_where("progressEnd", |event| event["progressId"] == progress);
    client.event("terminated");
    client.event_where("output", |event| event["output"] == "not waiting for the proxy any more\n");
}

#[test]
fn a_launch_says_what_is_missing_and_a_second_one_is_tried() {
    let (mut client, ..) = (attached_nowhere(), ());
    for (arguments, said) in [
        (json!({}), "`program` is missing"),
        (json!({ "program": "/nowhere/a.wasm" }), "give `listen`"),
        (json!({ "program": "/nowhere/a.wasm", "listen": "here" }), "is no address and port"),
        (
            json!({ "program": "/nowhere/a.wasm", "requests": "/nowhere/a.http" }),
            "cannot read /nowhere/a.http",
        ),
        (json!({ "program": "/nowhere/a.wasm", "listen": "127.0.0.1:0" }), "/nowhere/a.wasm"),
    ] {
        let why = client.refused("launch", &arguments);
        assert!(why.contains(said), "{why}");
    }
}

fn attached_nowhere() -> Client {
    let (proxy, _asked) = Proxy::new("scalars");
    Client::of(&proxy, &json!({}))
}

#[test]
fn breakpoints_set_before_the_attach_are_planted_by_it() {
    let (proxy, asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({}));
    let line = line_of(&fixture("values.rs"), "// stop scalars");
    let set = client.ask("setBreakpoints", &breakpoints(&[line]))["breakpoints"][0].clone();
    assert_eq!((&set["verified"], &set["message"]), (&json!(false), &json!("not attached to a proxy yet")));
    client.ask("attach", &attach(json!({})));
    let Request::SetBreakpoints(planted) = asked.next("set_breakpoints") else { unreachable!() };
    assert_eq!(planted.breakpoints.len(), 1);
    let changed = client.event("breakpoint")["breakpoint"].clone();
    assert_eq!((&changed["id"], &changed["verified"]), (&set["id"], &json!(true)), "{changed}");
    let (mut other, ..) = attached("scalars", &json!({}));
    other.ask("disconnect", &Value::Null);
}
