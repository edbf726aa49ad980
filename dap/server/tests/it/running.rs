//! Sessions at a proxy in memory: what the client is told, message by message, and what the proxy is asked.

use serde_json::{Value, json};
use wasmdbg_control::session::{LanePhase, LaneProgress};
use wasmdbg_control::stop::{
    CallbackEnded, CallbackOutcome, DeadlineWarning, ReleaseCause, Released, ResumeMode, StopReason,
};
use wasmdbg_control::transactions::{LogLine, Missed};
use wasmdbg_control::{Event, FilterId, Request, SlotId, StopId, TransactionId};

use crate::client::{Client, line_of};
use crate::proxy::{Asked, Halt, Proxy, context};
use crate::recording::fixture;

/// The breakpoints of the fixture's source, by their lines.
pub(crate) fn breakpoints(lines: &[i64]) -> Value {
    let lines: Vec<_> = lines.iter().map(|line| json!({ "line": line })).collect();
    json!({ "source": { "path": fixture("values.rs") }, "breakpoints": lines })
}

/// `attach`, with the sources where they lie here.
pub(crate) fn attach(more: Value) -> Value {
    let folder = fixture("values.rs").parent().expect("a folder").to_owned();
    let mut arguments = json!({ "all": true, "sourceMap": { "/fixtures": folder } });
    for (name, value) in more.as_object().into_iter().flatten() {
        arguments[name] = value.clone();
    }
    arguments
}

/// A client that is attached to a proxy whose filter stops at `name`, configured and with nothing stopped.
pub(crate) fn attached(name: &str, features: &Value) -> (Client, Proxy, Asked) {
    let (proxy, asked) = Proxy::new(name);
    let mut client = Client::of(&proxy, features);
    client.ask("attach", &attach(json!({})));
    client.event("initialized");
    client.ask("configurationDone", &Value::Null);
    (client, proxy, asked)
}

/// The same, stopped: the client and its thread.
pub(crate) fn stopped(name: &str, features: &Value) -> (Client, Proxy, Asked, Value) {
    let (mut client, proxy, asked) = attached(name, features);
    proxy.stop(Halt { reason: StopReason::Interrupt, ..Halt::default() });
    let thread = client.event("stopped")["threadId"].clone();
    (client, proxy, asked, thread)
}

fn resumed(asked: &Asked) -> (StopId, ResumeMode) {
    match asked.next("resume") {
        Request::Resume(resume) => (resume.stop, resume.mode),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_from_its_start_to_its_end() {
    let (proxy, asked) = Proxy::new("scalars");
    let mut client = Client::of(&proxy, &json!({}));
    client.ask("attach", &attach(json!({})));
    client.event("initialized");
    let line = line_of(&fixture("values.rs"), "// stop scalars");
    client.ask("setBreakpoints", &breakpoints(&[line, 9999]));
    client.ask("configurationDone", &Value::Null);
    client.ask("threads", &Value::Null);
    proxy.stop(Halt::default());
    let thread = client.event("stopped")["threadId"].clone();
    let stack = client.ask("stackTrace", &json!({ "threadId": thread, "startFrame": 0, "levels": 2 }));
    let scopes = client.ask("scopes", &json!({ "frameId": stack["stackFrames"][0]["id"] }));
    for scope in scopes["scopes"].as_array().expect("scopes").iter().take(2) {
        client.ask("variables", &json!({ "variablesReference": scope["variablesReference"] }));
    }
    client.ask("continue", &json!({ "threadId": thread }));
    assert_eq!(resumed(&asked), (StopId(1), ResumeMode::Continue));
    let late = json!({ "variablesReference": scopes["scopes"][0]["variablesReference"] });
    assert_eq!(client.refused("variables", &late), "this belongs to a stop that is over");
    client.ask("disconnect", &Value::Null);
    client.ended();
    asked.next("detach");
    client.assert_transcript("session");
}

#[test]
fn a_line_that_counts_from_zero_is_the_one_below() {
    // The line above has code as well: one too few would show.
    let source = fixture("values.rs");
    let above = line_of(&source, "let sum = i32::from(small)");
    assert_eq!(line_of(&source, "// stop scalars"), above + 1);
    let (proxy, asked) = Proxy::new("scalars");
    let mut planted = Vec::new();
    for (features, lines) in [
        (json!({}), [above, above + 1]),
        (json!({ "linesStartAt1": false, "columnsStartAt1": false }), [above - 1, above]),
    ] {
        let mut client = Client::of(&proxy, &features);
        client.ask("attach", &attach(json!({})));
        let mut pcs = Vec::new();
        for line in lines {
            let set = client.ask("setBreakpoints", &breakpoints(&[line]))["breakpoints"][0].clone();
            assert_eq!((&set["verified"], &set["line"]), (&json!(true), &json!(line)), "{set}");
            // The one before goes in a request of its own.
            let Request::SetBreakpoints(set) = std::iter::repeat_with(|| asked.next("set_breakpoints"))
                .find(
                    |request| matches!(request, Request::SetBreakpoints(set) if !set.breakpoints.is_empty()),
                )
                .expect("breakpoints")
            else {
                unreachable!()
            };
            pcs.push(set.breakpoints[0].pc);
        }
        assert_ne!(pcs[0], pcs[1]);
        planted.push(pcs);
    }
    assert_eq!(planted[0], planted[1]);
}

#[test]
fn steps_and_pauses_are_what_the_proxy_is_asked_for() {
    let (mut client, proxy, asked, thread) = stopped("scalars", &json!({}));
    client.ask("next", &json!({ "threadId": thread }));
    assert!(matches!(resumed(&asked), (StopId(1), ResumeMode::Range { .. })));
    let busy = client.refused("next", &json!({ "threadId": thread }));
    assert_eq!(busy, "this request is not stopped");
    proxy.stop(Halt { reason: StopReason::Interrupt, ..Halt::default() });
    client.event("stopped");
    client.ask("stepIn", &json!({ "threadId": thread, "granularity": "instruction" }));
    assert_eq!(resumed(&asked), (StopId(2), ResumeMode::Instruction));
    proxy.stop(Halt { reason: StopReason::Step, ..Halt::default() });
    client.event("stopped");
    client.ask("stepOut", &json!({ "threadId": thread }));
    assert_eq!(resumed(&asked), (StopId(3), ResumeMode::Out { frame: 0 }));
    proxy.tell(Event::CallbackEnded(CallbackEnded {
        slot: SlotId(1),
        context: context(1),
        callback: "proxy_on_request_headers".into(),
        outcome: CallbackOutcome::Returned { value: Some(1), local_response: Some(403) },
    }));
    let returned = "GET /1 #11: proxy_on_request_headers returned Pause, with a response of its own: 403\n";
    client.event_where("output", |event| event["output"] == returned);
    client.ask("pause", &json!({ "threadId": 1 }));
    assert!(matches!(asked.next("interrupt"), Request::Interrupt(all) if all.slot.is_none()));
    let why = client.refused("pause", &json!({ "threadId": 77 }));
    assert_eq!(why, "there is no thread 77: its request is over");
    client.assert_transcript("steps");
}

#[test]
fn two_requests_are_two_threads_and_the_second_does_not_take_the_view() {
    let (mut client, proxy, asked) = attached("scalars", &json!({}));
    for slot in [1, 2] {
        proxy.stop(Halt { slot, reason: StopReason::Interrupt, ..Halt::default() });
        client.event("stopped");
    }
    let threads = client.ask("threads", &Value::Null);
    let names: Vec<_> =
        threads["threads"].as_array().expect("threads").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["proxy (always runs)", "GET /1 #11", "GET /2 #12"]);
    client.ask("continue", &json!({ "threadId": 3 }));
    assert_eq!(resumed(&asked), (StopId(2), ResumeMode::Continue));
    client.ask("stackTrace", &json!({ "threadId": 2, "levels": 1 }));
    // The proxy's own thread stands for all.
    client.ask("continue", &json!({ "threadId": 1 }));
    assert_eq!(resumed(&asked), (StopId(1), ResumeMode::Continue));
    client.assert_transcript("two-requests");
}

#[test]
fn what_another_session_has_stopped_is_said_and_not_shown() {
    let (mut client, proxy, _asked) = attached("scalars", &json!({}));
    let (mut other, ..) = (Client::of(&proxy, &json!({})), ());
    other.ask("attach", &attach(json!({})));
    other.ask("configurationDone", &Value::Null);
    // The newest client is the one that hears of it.
    proxy.stop(Halt { control: false, ..Halt::default() });
    while !other.event("output")["output"].as_str().is_some_and(|said| said.contains("in another session")) {}
    let threads = other.ask("threads", &Value::Null)["threads"].clone();
    assert_eq!(threads.as_array().map(Vec::len), Some(2), "{threads}");
    let nothing = other.refused("evaluate", &json!({ "expression": "small" }));
    assert_eq!(nothing, "nothing is stopped: send a request that matches");
    // One client's end is not the other's.
    other.ask("disconnect", &Value::Null);
    other.ended();
    client.ask("threads", &Value::Null);
}

#[test]
fn what_the_proxy_says_unasked_is_in_the_console() {
    let (mut client, proxy, _asked, _thread) = stopped("scalars", &json!({}));
    let line = |level: &str, message: &str| {
        Event::Log(LogLine {
            filter: FilterId(0),
            transaction: Some(TransactionId(11)),
            level: level.into(),
            message: message.into(),
        })
    };
    proxy.tell(line("info", "hello"));
    proxy.tell(line("error", "no token"));
    for total in [1, 2, 3, 4] {
        let (method, path) = ("GET".into(), "/missed".into());
        proxy.tell(Event::Missed(Missed {
            filter: FilterId(0),
            method,
            path,
            reason: "no slot is free".into(),
            total,
        }));
    }
    proxy.tell(Event::LaneProgress(LaneProgress {
        filter: FilterId(0),
        name: "values".into(),
        phase: LanePhase::Ready,
        elapsed_ms: 1,
    }));
    proxy.tell(Event::DeadlineWarning(DeadlineWarning { stop: StopId(1), remaining_ms: 30_000 }));
    let cause = ReleaseCause::Deadline;
    proxy.tell(Event::Released(Released { stop: StopId(1), slot: SlotId(1), cause }));
    assert_eq!(client.event("continued"), json!({ "threadId": 2, "allThreadsContinued": false }));
    client.assert_transcript("unasked");
}

#[test]
fn a_trap_shows_the_last_words_and_goes_on_where_it_is_not_wanted() {
    let (mut client, proxy, asked) = attached("scalars", &json!({}));
    for message in ["panicked at src/lib.rs:7:5:", "no token", "note: run with `RUST_BACKTRACE=1`"] {
        proxy.tell(Event::Log(LogLine {
            filter: FilterId(0),
            transaction: Some(TransactionId(11)),
            level: "critical".into(),
            message: message.into(),
        }));
    }
    let trap =
        |message: &str| Halt { reason: StopReason::Trap { message: message.into() }, ..Halt::default() };
    proxy.stop(trap("unreachable"));
    let thread = client.event("stopped")["threadId"].clone();
    let info = client.ask("exceptionInfo", &json!({ "threadId": thread }));
    assert_eq!(info["details"]["message"], "panicked at src/lib.rs:7:5:\nno token", "{info}");
    client.ask("continue", &json!({ "threadId": thread }));
    assert_eq!(resumed(&asked).0, StopId(1));
    let only =
        json!({ "filters": [], "filterOptions": [{ "filterId": "trap", "condition": "out of bounds" }] });
    client.ask("setExceptionBreakpoints", &only);
    proxy.stop(trap("unreachable"));
    assert_eq!(resumed(&asked), (StopId(2), ResumeMode::Continue));
    proxy.stop(trap("out of bounds memory access"));
    assert_eq!(client.event("stopped")["text"], "out of bounds memory access");
}
