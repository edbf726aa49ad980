//! AssemblyScript modules by their source maps, and maps of any kind.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use wasmdbg_symbols::{
    DebugFileError, Language, Location, LookupError, Machine, Symbols, Unreadable, VariableKind, WasmValue,
};

use crate::bad_input::{Dice, ask_everything};
use crate::recording::{bytes, fixture, line_of};

const SOURCE: &str = "script/filter.ts";
const BUILDS: [&str; 2] = ["script/script.debug", "script/script.release"];

fn map_of(build: &str) -> Arc<[u8]> {
    bytes(&format!("{build}.wasm.map"))
}

fn open(build: &str) -> Symbols {
    Symbols::with_debug_file(bytes(&format!("{build}.wasm")), map_of(build)).unwrap()
}

/// The debug build with a map that `change` made of its own.
fn with_map(change: impl FnOnce(&mut Value)) -> Result<Symbols, DebugFileError> {
    let mut map: Value = serde_json::from_slice(&map_of(BUILDS[0])).unwrap();
    change(&mut map);
    Symbols::with_debug_file(bytes("script/script.debug.wasm"), map.to_string().into_bytes().into())
}

/// The debug build with another URL in its `sourceMappingURL`.
fn with_url(url: &str) -> Symbols {
    let wasm = bytes("script/script.debug.wasm");
    let name = b"sourceMappingURL";
    // It is the last section: an id and a one-byte length stand in front of its name's length.
    let at = wasm.windows(name.len()).position(|window| window == name).unwrap() - 3;
    let mut section = vec![name.len() as u8];
    section.extend(name);
    leb(&mut section, url.len());
    section.extend(url.as_bytes());
    let mut module = wasm[..=at].to_vec();
    leb(&mut module, section.len());
    module.extend(section);
    Symbols::new(module.into()).unwrap()
}

fn leb(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[test]
fn lines_have_places_and_places_have_lines() {
    for build in BUILDS {
        let symbols = open(build);
        for marker in ["number * 10", "if (n % divisor == 0)", "divisor++", "respond(verdict.status()"] {
            let line = line_of(SOURCE, marker);
            let binding = symbols.break_line("filter.ts", line, None).unwrap();
            assert!(!binding.moved(), "{build}: {marker}");
            for place in binding.places {
                let frames = symbols.frames(place.pc);
                assert_eq!(frames.len(), 1, "{build}");
                assert_eq!(frames[0].position, place.position, "{build}");
                let position = place.position.unwrap();
                assert_eq!((&*position.path, position.line), ("filter.ts", line), "{build}: {marker}");
                assert_eq!(frames[0].language, Language::AssemblyScript);
            }
        }
        let moved = symbols.break_line("filter.ts", line_of(SOURCE, "// A filter in"), None).unwrap();
        assert!(moved.moved(), "{build}: a comment has no code");
        assert!(matches!(
            symbols.break_line("filter.ts", 1000, None),
            Err(LookupError::NoCode { last: Some(_), .. })
        ));
    }
}

#[test]
fn each_call_has_the_line_that_calls() {
    let symbols = open(BUILDS[0]);
    let mut checked = 0;
    for (caller, callee, marker) in [
        ("filter/isPrime", "smallestDivisor", "smallestDivisor(n) == n"),
        ("filter/judge", "parse", "const token = parse("),
        ("filter/judge", "isPrime", "const prime = isPrime(token)"),
        ("filter/proxy_on_request_headers", "judge", "const verdict = judge()"),
        ("filter/proxy_on_memory_allocate", "alloc", "return heap.alloc(size)"),
    ] {
        let function = symbols.break_function(caller).unwrap().places[0].function;
        let code = symbols.disassemble(function);
        let is_call =
            |text: &str| text.trim_start().starts_with("call") && text.ends_with(&format!(" {callee}"));
        let calls = code.iter().filter(|instruction| is_call(&instruction.text));
        for call in calls {
            let position = symbols.position(call.range.start).unwrap();
            assert_eq!((&*position.path, position.line), ("filter.ts", line_of(SOURCE, marker)), "{caller}");
            checked += 1;
        }
    }
    assert_eq!(checked, 5);
}

#[test]
fn functions_are_found_by_the_end_of_their_name() {
    for (query, name) in [
        ("isPrime", "filter/isPrime"),
        ("filter/judge", "filter/judge"),
        ("Verdict#status", "filter/Verdict#status"),
        ("status", "filter/Verdict#status"),
        ("proxy_on_request_headers", "filter/proxy_on_request_headers"),
    ] {
        let symbols = open(BUILDS[0]);
        let places = symbols.break_function(query).unwrap().places;
        assert_eq!((places.len(), &*places[0].name), (1, name), "{query}");
        assert_eq!(&*places[0].position.as_ref().unwrap().path, "filter.ts", "{query}");
    }
}

#[test]
fn statements_are_those_of_the_source() {
    let symbols = open(BUILDS[0]);
    let place = symbols.break_function("smallestDivisor").unwrap().places.remove(0);
    let first = line_of(SOURCE, "let divisor: u32 = 2");
    let starts = symbols.statement_starts(place.function);
    let lines: Vec<u32> = starts.iter().map(|start| start.position.line).collect();
    assert_eq!(lines, [first, first + 1, first + 2, first + 3, first + 5]);
    for start in starts {
        let statement = symbols.statement(start.pc, start.instance.unwrap()).unwrap();
        assert_eq!(statement.position.line, start.position.line);
        assert!(statement.ranges.iter().any(|range| range.contains(start.pc)));
    }
}

#[test]
fn a_function_without_lines_has_its_name_alone() {
    let symbols = open(BUILDS[0]);
    let place = symbols.break_function("Verdict#set:token").unwrap().places.remove(0);
    assert_eq!((&*place.name, place.position, place.instance), ("filter/Verdict#set:token", None, None));
}

/// A frame whose locals hold ten times their index.
struct Tens;

impl Machine for Tens {
    fn local(&self, index: u32) -> Result<WasmValue, Unreadable> {
        Ok(WasmValue::I32(10 * index))
    }
    fn operand(&self, _: u32) -> Result<WasmValue, Unreadable> {
        Err(Unreadable("not asked".into()))
    }
    fn global(&self, _: u32) -> Result<WasmValue, Unreadable> {
        Err(Unreadable("not asked".into()))
    }
    fn stack_pointer(&self) -> Result<u32, Unreadable> {
        Err(Unreadable("not asked".into()))
    }
    fn memory(&self, _: u64, _: usize) -> Result<Vec<u8>, Unreadable> {
        Err(Unreadable("not asked".into()))
    }
}

#[test]
fn variables_are_the_locals_that_have_names() {
    let symbols = open(BUILDS[0]);
    let place = symbols.break_function("parse").unwrap().places.remove(0);
    let variables = symbols.variables(place.instance.unwrap(), place.pc).unwrap();
    let found: Vec<_> = variables.iter().map(|variable| (&*variable.name, variable.kind)).collect();
    let (argument, local) = (VariableKind::Argument, VariableKind::Local);
    assert_eq!(found, [("text", argument), ("length", argument), ("number", local), ("at", local)]);
    let number = &variables[2];
    let ty = symbols.type_of(number.ty.unwrap()).unwrap();
    assert_eq!((&*ty.name, ty.size), ("i32", Some(4)));
    assert_eq!(symbols.locate(number, place.pc, &Tens), Location::Value(20_u32.to_le_bytes().into()));
    assert_eq!(symbols.describe_location(number, place.pc), "local 2");
    // The optimiser puts locals together, and takes their names away.
    let symbols = open(BUILDS[1]);
    let place = symbols.break_function("proxy_on_request_headers").unwrap().places.remove(0);
    assert_eq!(symbols.variables(place.instance.unwrap(), place.pc).unwrap(), []);
}

#[test]
fn the_compilers_root_is_no_folder_and_its_library_is_foreign() {
    let symbols = open(BUILDS[1]);
    let files: Vec<_> = symbols.source_files().iter().map(|file| file.to_string()).collect();
    assert_eq!(files[0], "filter.ts");
    assert!(files[1..].iter().all(|file| file.starts_with("~lib/")), "{files:?}");
}

#[test]
fn texts_come_with_the_map() {
    let symbols = open(BUILDS[1]);
    let text = std::fs::read_to_string(fixture(SOURCE)).unwrap();
    assert_eq!(symbols.source_text("filter.ts").as_deref(), Some(&*text));
    assert_eq!(symbols.source_text("~lib/rt/stub.ts"), None, "the fixture was built without it");
}

#[test]
fn a_root_stands_before_its_sources() {
    let files = |symbols: Symbols| {
        symbols.source_files().iter().map(|file| file.to_string()).collect::<Vec<_>>().join(" ")
    };
    let symbols = with_map(|map| {
        map["sourceRoot"] = json!("/filter/src/");
        map["sources"] = json!(["a.c", "../b.c", "/there/c.c", null]);
    });
    assert_eq!(files(symbols.unwrap()), "/filter/b.c /filter/src/a.c /there/c.c");
    let symbols = with_map(|map| {
        map.as_object_mut().unwrap().remove("sourceRoot");
        map["sources"] = json!(["file:///a/b.c", "./c.c", "..\\d.c", "e.c"]);
    });
    assert_eq!(files(symbols.unwrap()), "../d.c /a/b.c c.c e.c");
}

#[test]
fn a_map_inside_the_module_needs_no_file() {
    let beside = open(BUILDS[0]);
    let map = map_of(BUILDS[0]);
    let encoded = base64::engine::general_purpose::STANDARD.encode(&map);
    let percent: String = map.iter().map(|byte| format!("%{byte:02X}")).collect();
    for url in [
        format!("data:application/json;base64,{encoded}"),
        format!("data:application/json;charset=utf-8;base64,{}", encoded.trim_end_matches('=')),
        format!("data:application/json,{percent}"),
    ] {
        let inside = with_url(&url);
        let line = line_of(SOURCE, "divisor++");
        assert_eq!(
            inside.break_line("filter.ts", line, None).unwrap(),
            beside.break_line("filter.ts", line, None).unwrap()
        );
    }
    assert!(!with_url("./script.debug.wasm.map").has_debug_info(), "files are the caller's");
}

#[test]
fn a_broken_map_is_an_error_that_says_where() {
    let mapped = |mappings: &str| {
        let mappings = json!(mappings);
        with_map(|map| map["mappings"] = mappings).unwrap_err().to_string()
    };
    let at = |offset: u32, reason: &str| {
        format!("bad debug info at the mappings of the source map+{offset:#x}: {reason}")
    };
    assert_eq!(mapped("qWIAA"), at(0, "there is no source 4"));
    assert_eq!(mapped("qWCYA,A!AA"), at(7, "a byte is no base64"));
    assert_eq!(mapped("qWCYA,AAA"), at(6, "a segment must have one, four or five fields"));
    assert_eq!(mapped("qWCYA,AAAAAA"), at(6, "a segment has more than five fields"));
    assert_eq!(mapped("qWCYAg"), at(6, "a number is cut off"));
    assert_eq!(mapped("ggggggggA"), at(7, "a number has more than 32 bits"));
    assert_eq!(mapped("D"), at(0, "an offset is out of range"));
    assert_eq!(mapped("qWADA"), at(0, "a line or column is out of range"));
    assert_eq!(mapped("qWCYA;AAAA"), at(5, "it maps several lines of code, and a module is one"));
    let error = |change: &dyn Fn(&mut Value)| with_map(change).unwrap_err().to_string();
    let version = error(&|map| map["version"] = json!(2));
    assert!(version.ends_with("it is of version 2, only version 3 is read"), "{version}");
    let sections = error(&|map| map["sections"] = json!([]));
    assert!(sections.contains("index of several maps"), "{sections}");
    let type_error = error(&|map| map["sources"] = json!(7));
    assert!(type_error.starts_with("bad debug info at source map+0x0: invalid type"), "{type_error}");
    let cut = &map_of(BUILDS[0])[..100];
    let error = Symbols::with_debug_file(bytes("script/script.debug.wasm"), cut.into()).unwrap_err();
    assert!(error.to_string().contains("EOF while parsing"), "{error}");
}

#[test]
fn a_broken_map_inside_leaves_names_and_pcs_and_says_what_is_wrong() {
    for (url, reason) in [
        ("data:application/json;base64,&&&", "no base64"),
        ("data:application/json;base64", "no comma"),
        ("data:application/json,{}", "missing field `version`"),
    ] {
        let symbols = with_url(url);
        let problem = symbols.units().remove(0).problem.expect("a problem").to_string();
        assert!(problem.contains(reason), "{problem}");
        let place = symbols.break_function("isPrime").unwrap().places.remove(0);
        assert_eq!((&*place.name, place.position), ("filter/isPrime", None));
        assert!(symbols.break_line("filter.ts", 30, None).is_err());
        ask_everything(&symbols);
    }
}

#[test]
fn a_map_of_another_build_is_refused() {
    for (build, other) in [(BUILDS[0], BUILDS[1]), (BUILDS[1], BUILDS[0])] {
        let error = Symbols::with_debug_file(bytes(&format!("{build}.wasm")), map_of(other)).unwrap_err();
        assert!(matches!(error, DebugFileError::OtherMap(_)), "{error}");
        assert!(error.to_string().starts_with("the source map is of another build"), "{error}");
    }
    let nothing = with_map(|map| map["mappings"] = json!("AAAA"));
    assert!(matches!(nothing, Err(DebugFileError::OtherMap(_))), "it maps no function");
}

#[test]
fn a_corrupt_map_never_panics() {
    let map = map_of(BUILDS[0]);
    let wasm = bytes("script/script.debug.wasm");
    let mut dice = Dice::new(0x5eed_0007);
    let mut read = 0;
    for _ in 0..3000 {
        let mut broken = map.to_vec();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(broken.len());
            broken[at] = match dice.roll(3) {
                0 => b"ABCDgh+/,;\"{}[]0"[dice.roll(16)],
                1 => broken[at] ^ (1 << dice.roll(8)),
                _ => dice.roll(256) as u8,
            };
        }
        if let Ok(symbols) = Symbols::with_debug_file(wasm.clone(), broken.into()) {
            ask_everything(&symbols);
            read += 1;
        }
    }
    assert!(read > 100, "changed texts and names are no faults: {read}");
}
