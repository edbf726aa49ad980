//! What the debugger shows for a variable is what the program itself says it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use wasmdbg_session::{
    BreakpointOptions, BreakpointSpec, Format, SessionEvent, Step, SymbolOptions, ValueState,
};

use crate::proxy::Proxy;

/// The C++ fixture logs floats with six digits (`%g`).
fn same(shown: &str, said: &str) -> bool {
    if shown == said {
        return true;
    }
    let digits = |text: &str| text.parse::<f64>().map(|number| format!("{number:.5e}"));
    shown.contains('.') && matches!((digits(shown), digits(said)), (Ok(a), Ok(b)) if a == b)
}

/// In which frame the variables are looked at.
#[derive(Clone, Copy, PartialEq)]
enum From {
    /// The innermost one.
    Line,
    /// The caller's, while a callee has moved the stack pointer.
    Callee,
}

/// Runs a fixture to its stop line, evaluates every variable it logs, and compares after its end.
fn check(name: &str, build: &str, file: &str, from: From) -> (usize, Vec<String>) {
    let folder = format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let wasm = std::fs::read(format!("{folder}/{name}.{build}.wasm")).expect("a fixture");
    let source = std::fs::read_to_string(format!("{folder}/src/{file}")).expect("its source");
    let line =
        source.lines().position(|line| line.contains("// stop here")).expect("the stop line") as u32 + 1;
    let seed = (u64::from(std::process::id()) * 7919 + 12_345).to_string();
    let mut proxy = Proxy::new(&wasm, "/nowhere/fixture.wasm", &[("seed", &seed)]);
    let mut session = proxy.attach(SymbolOptions::default());
    let (spec, frame) = match from {
        From::Line => (BreakpointSpec::Line { file: file.into(), line, column: None }, 0),
        From::Callee => (BreakpointSpec::Function("checkpoint".into()), 1),
    };
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
    let done = proxy.call("proxy_on_request_headers", &[2, 1, 1]);
    let Some(SessionEvent::Stopped(stop)) = session.next_event(Duration::from_secs(20)) else {
        panic!("no stop");
    };
    // Names of the program, in the order of its log.
    let names: Vec<&str> =
        source.lines().filter_map(|line| line.trim().strip_prefix("show(\"")?.split('"').next()).collect();
    assert!(names.len() >= 20, "the fixture shows {} variables", names.len());
    let mut shown = BTreeMap::new();
    for name in names {
        shown.insert(name, stop.evaluate(frame, name));
    }
    let dwarf = |name: &str| stop.describe_location(frame, name).expect("frame 0").unwrap_or_default();
    let text: BTreeMap<&str, Result<(String, ValueState), String>> = shown
        .into_iter()
        .map(|(name, value)| {
            (name, value.map(|v| (v.display(Format::Natural), v.state().clone())).map_err(|e| e.to_string()))
        })
        .collect();
    session.resume(stop.id(), Step::Continue).expect("to go on");
    let host = done.recv_timeout(Duration::from_secs(20)).expect("the callback's end");
    let mut wrong = Vec::new();
    let mut right = 0;
    for logged in host.logs.iter().filter_map(|line| line.strip_prefix("value ")) {
        let (name, said) = logged.split_once(" = ").expect("name = value");
        match &text[name] {
            Ok((shown, _)) if same(shown, said) => right += 1,
            Ok((shown, ValueState::Available)) => {
                wrong.push(format!("{name}: shown {shown}, is {said} ({})", dwarf(name)))
            }
            Ok((shown, _)) => println!("{build} {name}: {shown}"),
            Err(error) => wrong.push(format!("{name}: {error}, is {said}")),
        }
    }
    (right, wrong)
}

#[test]
fn rust_unoptimised() {
    for from in [From::Line, From::Callee] {
        assert_eq!(check("values-rust", "debug", "lib.rs", from), (24, vec![]));
    }
}

#[test]
fn rust_optimised() {
    for from in [From::Line, From::Callee] {
        let (right, wrong) = check("values-rust", "release", "lib.rs", from);
        assert_eq!(wrong, Vec::<String>::new());
        assert!(right >= 22, "{right} of 24 are there");
    }
}

#[test]
fn cpp_unoptimised() {
    for from in [From::Line, From::Callee] {
        assert_eq!(check("values-cpp", "debug", "filter.cc", from), (22, vec![]));
    }
}

#[test]
fn cpp_optimised() {
    for from in [From::Line, From::Callee] {
        let (right, mut wrong) = check("values-cpp", "release", "filter.cc", from);
        // clang says that `truth` is `(seed & 1) == 0`: it has lost the negation.
        wrong.retain(|text| !(text.starts_with("truth") && text.contains("constant 0, Eq")));
        assert_eq!(wrong, Vec::<String>::new());
        assert!(right >= 5, "{right} of 22 are there");
    }
}
