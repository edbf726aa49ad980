//! Go modules by the table of their runtime, stripped of everything else.

use wasmdbg_symbols::{Language, ModulePc, SourceFrame, Symbols};

use crate::bad_input::Dice;
use crate::recording::{bytes, line_of, symbols};

const SOURCE: &str = "go/main.go";

fn line(marker: &str) -> u32 {
    line_of(SOURCE, marker)
}

/// The calls of `callee` in the function `caller`.
fn calls(symbols: &Symbols, caller: &str, callee: &str) -> Vec<ModulePc> {
    let function = symbols.break_function(caller).unwrap().places[0].function;
    let code = symbols.disassemble(function);
    let is_call = |text: &str| text.trim_start().starts_with("call") && text.ends_with(&format!(" {callee}"));
    code.iter().filter(|opcode| is_call(&opcode.text)).map(|opcode| opcode.range.start).collect()
}

fn place(frame: &SourceFrame) -> (&str, u32, bool) {
    let position = frame.position.as_ref().expect("a line");
    assert_eq!(&*position.path, "fixture/main.go");
    (&frame.name.full, position.line, frame.inlined)
}

#[test]
fn each_call_has_the_line_that_calls() {
    let symbols = symbols("go/go.wasm");
    for (caller, callee, marker) in [
        ("main.onRequestBody", "add", "all.add(size)"),
        ("main.onRequestBody", "isPrime", "if isPrime(size)"),
        ("main.onRequestHeaders", "half", "last = half(around(10*percent), third)"),
        ("main.onResponseHeaders", "half", "last = half(around(40*percent), last)"),
        ("main.(*counter).add", "growslice", "c.sizes = append("),
    ] {
        let calls = calls(&symbols, caller, callee);
        assert_eq!(calls.len(), 1, "{caller} calls {callee}");
        // As a caller is looked up: inside the call.
        let frames = symbols.frames(ModulePc(calls[0].0 + 1));
        assert_eq!(frames.len(), 1, "{caller}");
        assert_eq!(place(&frames[0]), (caller, line(marker), false));
        assert!(!frames[0].approximate, "{caller}: the line of a call is exact");
        assert_eq!(frames[0].language, Language::Go);
    }
}

#[test]
fn inlined_calls_are_frames() {
    let symbols = symbols("go/go.wasm");
    let call = calls(&symbols, "main.onRequestBody", "proxyLog");
    let frames = symbols.frames(call[0]);
    let places: Vec<_> = frames.iter().map(place).collect();
    assert_eq!(
        places,
        [("main.say", line("proxyLog(2,"), true), ("main.onRequestBody", line("say(\"prime\")"), false)]
    );
    let copy = symbols.instance(frames[0].instance.unwrap()).unwrap();
    assert_eq!(copy.caller, frames[1].instance);
    assert_eq!(copy.call, frames[1].position);
    // The loop of a call that is inlined into an inlined call.
    let spin = symbols.break_function("main.spin").unwrap();
    let places: Vec<_> = spin
        .places
        .iter()
        .map(|copy| symbols.frames(copy.pc).iter().map(|f| f.name.short.to_string()).collect::<Vec<_>>())
        .collect();
    assert!(places.contains(&vec!["spin".into(), "half".into()]), "{places:?}");
    assert!(
        places.contains(&vec!["spin".into(), "inlinedThird".into(), "onRequestHeaders".into()]),
        "{places:?}"
    );
}

#[test]
fn code_between_calls_has_the_line_where_its_block_ends() {
    let symbols = symbols("go/go.wasm");
    let function = symbols.break_function("main.isPrime").unwrap().places[0].function;
    let (first, last) = (line("func isPrime(size"), line("return size > 1"));
    let mut approximate = 0;
    for opcode in symbols.disassemble(function) {
        let frames = symbols.frames(opcode.range.start);
        let (name, at, _) = place(&frames[0]);
        assert_eq!(name, "main.isPrime");
        assert!((first..=last).contains(&at), "{}: {at}", opcode.text);
        approximate += usize::from(frames[0].approximate);
    }
    assert!(approximate > 20, "it makes no calls");
    let lines: Vec<u32> =
        symbols.statement_starts(function).iter().map(|start| start.position.line).collect();
    for marker in ["for divisor := uint32(2)", "if size%divisor == 0", "return false", "return size > 1"] {
        assert!(lines.contains(&line(marker)), "{marker}: {lines:?}");
    }
}

#[test]
fn breakpoints_by_line_and_by_name_are_behind_the_jump_table() {
    let symbols = symbols("go/go.wasm");
    let table_of = |function| {
        let code = symbols.disassemble(function);
        code.iter().find(|opcode| opcode.text.contains("br_table")).map(|opcode| opcode.range.start)
    };
    for (query, name) in [
        ("main.isPrime", "main.isPrime"),
        ("isPrime", "main.isPrime"),
        ("main.(*counter).add", "main.(*counter).add"),
        ("counter.add", "main.(*counter).add"),
        ("main.onRequestBody", "main.onRequestBody"),
    ] {
        let places = symbols.break_function(query).unwrap().places;
        assert_eq!((places.len(), &*places[0].name), (1, name), "{query}");
        assert!(
            Some(places[0].pc) > table_of(places[0].function),
            "{query}: each resumption passes the table"
        );
    }
    let bound = symbols.break_line("main.go", line("if isPrime(size)"), None).unwrap();
    assert!(!bound.moved());
    assert_eq!((bound.places.len(), &*bound.places[0].name), (1, "main.onRequestBody"));
    // A line of the function's first block: behind the code that grows the stack, which few calls run.
    let first = symbols.break_line("main.go", line("all.add(size)"), None).unwrap().places.remove(0);
    let code = symbols.disassemble(first.function);
    let grows = code.iter().position(|opcode| opcode.text.contains("morestack")).expect("it has a frame");
    let closes = code[grows..].iter().position(|opcode| opcode.text.trim() == "end").expect("its end");
    assert_eq!(first.pc, code[grows + closes].range.end);
    let hidden = symbols.break_line("main.go", line("x ^= x << 13"), None).unwrap();
    assert!(hidden.moved(), "the table has one line of the loop's body");
}

#[test]
fn the_export_is_a_wrapper_and_has_its_name() {
    let symbols = symbols("go/go.wasm");
    let function = symbols.module().exported_function("proxy_on_request_body").unwrap();
    assert_eq!(&*symbols.function_name(function).full, "proxy_on_request_body");
    let call = calls(&symbols, "proxy_on_request_body", "onRequestBody");
    assert_eq!(call.len(), 1);
    assert_eq!(symbols.position(call[0]), None, "nobody wrote it");
}

#[test]
fn all_functions_have_names_though_the_module_was_stripped() {
    let symbols = symbols("go/go.wasm");
    assert!(symbols.module().custom_section("name").is_none() && symbols.has_debug_info());
    let functions = symbols.module().functions();
    let nameless = functions.iter().filter(|f| symbols.function_name(f.index).full.starts_with("func["));
    assert_eq!(nameless.count(), 0);
    assert!(symbols.units().iter().all(|unit| unit.problem.is_none()));
}

#[test]
fn a_broken_table_is_an_error_or_a_smaller_table() {
    let whole = bytes("go/go.wasm");
    let table = whole.windows(8).position(|window| window == [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]).unwrap();
    let mut cut = whole.to_vec();
    // The number of functions.
    cut[table + 10] = 0xff;
    let symbols = Symbols::new(cut.into()).unwrap();
    let problem = symbols.units().remove(0).problem.expect("a problem").to_string();
    assert!(problem.starts_with("bad debug info at runtime.pclntab"), "{problem}");
    assert!(symbols.break_function("proxy_on_request_body").is_ok(), "the exports stay");
    let mut dice = Dice::new(0x5eed_0009);
    for _ in 0..40 {
        let mut broken = whole.to_vec();
        for _ in 0..=dice.roll(200) {
            // Header, names, files and values follow each other.
            let at = table + dice.roll((whole.len() - table).min(300_000));
            broken[at] = dice.roll(256) as u8;
        }
        let Ok(symbols) = Symbols::new(broken.into()) else { continue };
        for function in symbols.module().functions().iter().step_by(40) {
            let _ = symbols.statement_starts(function.index);
            let _ = symbols.frames(function.first_instruction);
        }
        let _ = symbols.break_function("isPrime");
        let _ = symbols.break_line("main.go", 75, None);
    }
}
