//! An AssemblyScript filter in a session: lines by its source map.

use std::path::{Path, PathBuf};

use wasmdbg_session::{
    BreakpointOptions, BreakpointSpec, DebugInfo, SessionEvent, Step, Stop, SymbolOptions,
};

use crate::proxy::Proxy;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../symbols/tests/fixtures/script").join(name)
}

/// A copy of the fixture in a folder of its own, without its source.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("wasmdbg-scripts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (from, to) in files {
            std::fs::copy(fixture(from), folder.join(to)).expect("a copy");
        }
        Self(folder)
    }

    fn proxy(&self, module: &str, token: &str) -> Proxy {
        let path = self.0.join(module);
        let wasm = std::fs::read(&path).expect("the module");
        Proxy::new(&wasm, path.to_str().expect("text"), &[("token", token), (":path", "/")])
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn line(marker: &str) -> u32 {
    let source = std::fs::read_to_string(fixture("filter.ts")).expect("the source");
    let mut found = source.lines().enumerate().filter(|(_, line)| line.contains(marker));
    let (index, _) = found.next().unwrap_or_else(|| panic!("no line has `{marker}`"));
    assert!(found.next().is_none(), "several lines have `{marker}`");
    index as u32 + 1
}

fn at(marker: &str) -> BreakpointSpec {
    BreakpointSpec::Line { file: "filter.ts".into(), line: line(marker), column: None }
}

fn stack(stop: &Stop) -> Vec<String> {
    let frames = stop.frames(0, 10).expect("frames");
    let place = |frame: &wasmdbg_session::Frame| match &frame.position {
        Some(position) => format!("{} {position}", frame.function),
        None => frame.function.clone(),
    };
    frames.iter().map(place).collect()
}

fn frame(function: &str, marker: &str) -> String {
    format!("filter/{function} filter.ts:{}", line(marker))
}

fn next_stop(session: &mut wasmdbg_session::Session) -> std::sync::Arc<Stop> {
    loop {
        match session.next_event(std::time::Duration::from_secs(20)).expect("an event") {
            SessionEvent::Stopped(stop) => return stop,
            SessionEvent::CallbackEnded { ended, .. } => {
                assert_eq!(ended.callback, "proxy_on_context_create");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_breakpoint_by_line_stops_with_lines_in_the_backtrace() {
    let copy = Copy::new(
        "lines",
        &[("script.debug.wasm", "script.debug.wasm"), ("script.debug.wasm.map", "script.debug.wasm.map")],
    );
    let mut proxy = copy.proxy("script.debug.wasm", "35");
    let mut session = proxy.attach(SymbolOptions::default());
    let module = session.modules().remove(0);
    assert_eq!(module.debug_info, DebugInfo::Full);
    assert_eq!(module.symbols_from, Some(copy.0.join("script.debug.wasm.map")));
    assert!(module.notes.is_empty(), "{:?}", module.notes);
    let breakpoint = session.set_breakpoint(at("divisor++"), &BreakpointOptions::default()).expect("a place");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
    let _contexts =
        [proxy.call("proxy_on_context_create", &[1, 0]), proxy.call("proxy_on_context_create", &[2, 1])];
    let _done = proxy.call("proxy_on_request_headers", &[2, 1, 1]);
    let stop = next_stop(&mut session);
    assert_eq!(
        stack(&stop),
        [
            frame("smallestDivisor", "divisor++"),
            frame("isPrime", "return n > 1"),
            frame("judge", "const prime ="),
            frame("proxy_on_request_headers", "const verdict ="),
        ]
    );
    // The variables are the Wasm locals of that name.
    let value = |frame, text| stop.evaluate(frame, text).expect("a value").summary();
    let values = [value(0, "n"), value(0, "divisor"), value(1, "n"), value(2, "token")];
    assert_eq!(values, ["35", "2", "35", "35"]);
    // The source came with the map: there is no filter.ts beside this copy.
    let source = stop.source(0, 0, session.sources()).expect("a text");
    assert_eq!(source.lines, ["    divisor++;"]);
    // By line, over the loop's head, and out of the function.
    let mut lines = Vec::new();
    let mut stop = stop;
    session.delete_breakpoint(breakpoint.number).expect("it is there");
    for step in [Step::Over, Step::Over, Step::Over, Step::Out { frame: 0 }, Step::Over] {
        session.resume(stop.id(), step).expect("to step");
        stop = next_stop(&mut session);
        lines.push(stack(&stop).remove(0));
    }
    assert_eq!(
        lines,
        [
            frame("smallestDivisor", "while (divisor"),
            frame("smallestDivisor", "if (n % divisor == 0)"),
            frame("smallestDivisor", "divisor++"),
            frame("isPrime", "return n > 1"),
            frame("judge", "return new Verdict(token"),
        ]
    );
}

#[test]
fn a_step_into_enters_functions_of_the_source() {
    let copy = Copy::new(
        "into",
        &[
            ("script.debug.wasm", "module.wasm"),
            // Not the name that the module says: the one of its file.
            ("script.debug.wasm.map", "module.wasm.map"),
        ],
    );
    let mut proxy = copy.proxy("module.wasm", "7");
    let mut session = proxy.attach(SymbolOptions::default());
    session.set_breakpoint(at("const prime ="), &BreakpointOptions::default()).expect("a breakpoint");
    let _contexts =
        [proxy.call("proxy_on_context_create", &[1, 0]), proxy.call("proxy_on_context_create", &[2, 1])];
    let _done = proxy.call("proxy_on_request_headers", &[2, 1, 1]);
    let mut stop = next_stop(&mut session);
    let mut lines = Vec::new();
    for _ in 0..2 {
        session.resume(stop.id(), Step::Into).expect("to step");
        stop = next_stop(&mut session);
        lines.push(stack(&stop).remove(0));
    }
    assert_eq!(lines, [frame("isPrime", "return n > 1"), frame("smallestDivisor", "let divisor: u32 = 2")]);
}

#[test]
fn a_map_is_named_by_the_user_or_missed() {
    let copy = Copy::new("named", &[("script.release.wasm", "module.wasm")]);
    let mut proxy = copy.proxy("module.wasm", "7");
    let mut session = proxy.attach(SymbolOptions::default());
    let module = session.modules().remove(0);
    assert!(matches!(module.debug_info, DebugInfo::NamesOnly(_)));
    assert!(
        module.notes[0].contains("source map ./script.release.wasm.map is not on this machine"),
        "{:?}",
        module.notes
    );
    let breakpoint = session.set_breakpoint(at("divisor++"), &BreakpointOptions::default()).expect("pending");
    assert!(breakpoint.is_pending());
    let other = session.add_symbol_file(&fixture("script.debug.wasm.map")).expect_err("another build");
    assert!(other.to_string().contains("the source map is of another build"), "{other}");
    session.add_symbol_file(&fixture("script.release.wasm.map")).expect("the right one");
    assert!(!session.breakpoints()[0].is_pending(), "bound now");
    let text = session.sources().lines("filter.ts", 1, 1).expect("the text that came with it");
    assert!(text.lines[0].starts_with("// A filter in AssemblyScript"), "{text:?}");
}

#[test]
fn a_broken_map_is_said_and_names_still_work() {
    let copy = Copy::new("broken", &[("script.debug.wasm", "module.wasm")]);
    std::fs::write(copy.0.join("module.wasm.map"), "{\"version\":3,\"mappings\":\"!\"}").expect("a file");
    let mut proxy = copy.proxy("module.wasm", "7");
    let mut session = proxy.attach(SymbolOptions::default());
    let module = session.modules().remove(0);
    assert!(module.notes[0].contains("module.wasm.map is not used"), "{:?}", module.notes);
    assert!(module.notes[0].contains("a byte is no base64"), "{:?}", module.notes);
    let spec = BreakpointSpec::Function("isPrime".into());
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
}
