//! A Go filter in a session: names and lines by the table of its runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmdbg_session::{
    BreakpointOptions, BreakpointSpec, DebugInfo, Frame, Session, SessionEvent, Step, Stop, SymbolOptions,
};

use crate::proxy::Proxy;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../symbols/tests/fixtures/go").join(name)
}

fn line(marker: &str) -> u32 {
    let source = std::fs::read_to_string(fixture("main.go")).expect("the source");
    let mut found = source.lines().enumerate().filter(|(_, line)| line.contains(marker));
    let (index, _) = found.next().unwrap_or_else(|| panic!("no line has `{marker}`"));
    assert!(found.next().is_none(), "several lines have `{marker}`");
    index as u32 + 1
}

fn next_stop(session: &mut Session) -> Arc<Stop> {
    match session.next_event(Duration::from_secs(60)).expect("an event") {
        SessionEvent::Stopped(stop) => stop,
        other => panic!("{other:?}"),
    }
}

fn place(frame: &Frame) -> String {
    let about = if frame.approximate { "~" } else { "" };
    match &frame.position {
        Some(position) => format!("{} {about}{position}", frame.function),
        None => frame.function.clone(),
    }
}

fn stack(stop: &Stop) -> Vec<String> {
    stop.frames(0, 10).expect("frames").iter().map(place).collect()
}

#[test]
fn a_step_enters_the_filters_functions_and_passes_through_the_runtime() {
    let wasm = std::fs::read(fixture("go.wasm")).expect("the module");
    let mut proxy = Proxy::new(&wasm, fixture("go.wasm").to_str().expect("text"), &[(":path", "/")]);
    let mut session = proxy.attach(SymbolOptions::default());
    let by_line = BreakpointSpec::Line { file: "main.go".into(), line: line("all.add(size)"), column: None };
    session.set_breakpoint(by_line, &BreakpointOptions::default()).expect("a breakpoint");
    let _done = proxy.call("proxy_on_request_body", &[2, 7, 1]);
    let mut id = next_stop(&mut session).id();
    let mut functions = Vec::new();
    loop {
        session.resume(id, Step::Into).expect("to step");
        match session.next_event(Duration::from_secs(60)).expect("an event") {
            SessionEvent::Stopped(stop) => {
                id = stop.id();
                functions.push(stop.frame(0).expect("a frame").function);
            }
            SessionEvent::CallbackEnded { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    functions.dedup();
    let own = ["main.(*counter).add", "main.onRequestBody", "main.isPrime", "main.onRequestBody", "main.say"];
    assert_eq!(functions[..own.len()], own, "{functions:?}");
    assert!(functions.iter().all(|name| !name.starts_with("runtime.")), "{functions:?}");
}

#[test]
fn callers_have_exact_lines_and_the_innermost_frame_a_near_one() {
    let wasm = std::fs::read(fixture("go.wasm")).expect("the module");
    let mut proxy = Proxy::new(&wasm, fixture("go.wasm").to_str().expect("text"), &[(":path", "/")]);
    let mut session = proxy.attach(SymbolOptions::default());
    let module = session.modules().remove(0);
    assert_eq!(module.debug_info, DebugInfo::Full, "{:?}", module.notes);
    let by_name = BreakpointSpec::Function("isPrime".into());
    let breakpoint = session.set_breakpoint(by_name, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
    let by_line = BreakpointSpec::Line { file: "main.go".into(), line: line("proxyLog(2,"), column: None };
    session.set_breakpoint(by_line, &BreakpointOptions::default()).expect("a breakpoint");
    let _done = proxy.call("proxy_on_request_body", &[2, 7, 1]);
    let stop = next_stop(&mut session);
    let caller = format!("main.onRequestBody fixture/main.go:{}", line("if isPrime(size)"));
    let frames = stack(&stop);
    assert!(frames[0].starts_with("main.isPrime ~fixture/main.go:"), "{frames:?}");
    assert_eq!(frames[1..], [caller, "proxy_on_request_body".into()]);
    session.resume(stop.id(), Step::Continue).expect("to go on");
    let stop = next_stop(&mut session);
    let frames = stack(&stop);
    assert!(frames[0].starts_with("main.say ~fixture/main.go:"), "{frames:?}");
    assert!(frames[0].ends_with(&format!(":{}", line("proxyLog(2,"))), "{frames:?}");
    assert!(frames[1].ends_with(&format!("main.go:{}", line("say(\"prime\")"))), "{frames:?}");
    assert!(stop.frame(0).expect("a frame").inlined);
}
