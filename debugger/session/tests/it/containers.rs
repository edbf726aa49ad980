//! Containers and smart pointers of both languages, as a user sees them.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_session::{
    BreakpointOptions, BreakpointSpec, Format, ScopeKind, Session, SessionEvent, Stop, SymbolOptions,
    ValueState,
};

use crate::proxy::Proxy;

const SEED: u32 = 70_001;

struct Held {
    stop: Arc<Stop>,
    _session: Session,
    _proxy: Proxy,
}

/// Stops a fixture at its stop line.
fn held(name: &str, file: &str) -> Held {
    let folder = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let wasm = std::fs::read(format!("{folder}/{name}.debug.wasm")).expect("a fixture");
    let source = std::fs::read_to_string(format!("{folder}/src/{file}")).expect("its source");
    let line =
        source.lines().position(|line| line.contains("// stop here")).expect("the stop line") as u32 + 1;
    let mut proxy = Proxy::new(&wasm, "", &[]);
    let mut session = proxy.attach(SymbolOptions::default());
    let spec = BreakpointSpec::Line { file: file.into(), line, column: None };
    let breakpoint = session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
    assert!(!breakpoint.is_pending(), "{:?}", breakpoint.notes);
    let _done = proxy.call("proxy_on_request_headers", &[2, SEED, 1]);
    match session.next_event(Duration::from_secs(20)) {
        Some(SessionEvent::Stopped(stop)) => Held { _proxy: proxy, _session: session, stop },
        other => panic!("{other:?} is no stop"),
    }
}

/// What `print` shows, or the error.
fn print(stop: &Stop, expression: &str) -> String {
    match stop.evaluate(0, expression) {
        Ok(value) => value.display(Format::Natural),
        Err(error) => format!("error: {error}"),
    }
}

#[track_caller]
fn check(stop: &Stop, expected: &[(&str, &str)]) {
    let wrong: Vec<_> = expected
        .iter()
        .map(|(expression, wanted)| (*expression, *wanted, print(stop, expression)))
        .filter(|(_, wanted, found)| wanted != found)
        .map(|(expression, wanted, found)| format!("{expression}: {found}, not {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rust() {
    let held = held("containers-rust", "lib.rs");
    check(
        &held.stop,
        &[
            ("map", "{70001: \"value 70001\"}"),
            ("map[70001]", "\"value 70001\""),
            ("map[1]", "error: it has no key 1 (column 4)"),
            ("set", "[70001]"),
            ("empty", "{}"),
            ("tree[70039]", "38"),
            ("words", "[\"a\", \"b\", \"c\"]"),
            ("ring", "[2, 3, 4, 70001]"),
            ("ring[3]", "70001"),
            ("shared", "Pair(70001, \"shared\")"),
            ("again.1", "\"shared\""),
            ("atomic", "[70001, 2]"),
            ("atomic[0] + 1", "70002"),
            ("cell", "70001"),
            ("ref_cell", "RefCell { value: Pair(70001, \"in a cell\"), borrow: 0 }"),
            ("boxed_slice", "[4465, 7]"),
            ("boxed_text", "\"boxed\""),
            ("option_box", "Some(70001)"),
            ("*option_box.0", "70001"),
            ("option_ref", "None"),
            ("fine", "Ok(70001)"),
            ("failed", "Err(\"no\")"),
            ("non_zero", "Some(70001)"),
            ("nested", "Node(Leaf, 70001, Node(Leaf, 2, Leaf))"),
            ("nested.2.1", "2"),
            ("unit", "Unit"),
            ("nothing", "()"),
            ("tuples", "[(1, 'a'), (2, 'é')]"),
            ("tuples[1].1 == 'é'", "true"),
            ("wide", "88736809666576286334170721079525376"),
            ("negative", "-70001"),
            ("path", "\"/etc/hosts\""),
            ("bytes", "[0, 255, 97, 98, 99]"),
            ("GREETING", "\"hello\""),
            ("COUNTER", "70001"),
            ("containers_rust::COUNTER", "70001"),
            ("seed >= 70001 && !(seed == 2)", "true"),
            ("*pointer", "70001"),
            ("pointer == &cell", "true"),
            ("vec", "error: no variable `vec` in containers_rust::run (column 1)"),
            ("seed.x", "error: `u32` has no field `x` (column 5)"),
            ("again.2", "error: `containers_rust::Pair` has no field `2`; it has 0, 1 (column 6)"),
            ("ring[4]", "error: index 4 is out of range: it has 4 elements (column 5)"),
            ("seed / 0", "error: division by zero (column 6)"),
        ],
    );
    let tree = print(&held.stop, "tree");
    assert!(tree.starts_with("{70001: 0, 70002: 1, ") && tree.ends_with(", 70040: 39}"), "{tree}");
}

#[test]
fn rust_types_and_children() {
    let held = held("containers-rust", "lib.rs");
    let value = |name: &str| held.stop.evaluate(0, name).expect(name);
    for (name, ty) in [
        ("map", "HashMap<u32, String>"),
        ("tree", "BTreeMap<u32, u32>"),
        ("speaks", "Box<dyn containers_rust::Speaks>"),
        ("option_box", "Option<Box<u32>>"),
        ("bytes", "&[u8]"),
    ] {
        assert_eq!(value(name).type_name(), ty, "{name}");
    }
    let tree = value("tree");
    assert_eq!(tree.child_count(), 40);
    let page = tree.children(38, 10);
    let shown: Vec<_> =
        page.iter().map(|child| format!("{} {}", child.name, child.value.summary())).collect();
    assert_eq!(shown, ["[70039] 38", "[70040] 39"]);
    assert!(tree.summary().ends_with(", … 32 more}"), "{}", tree.summary());
    let shared = value("shared");
    let fields: Vec<_> = shared.children(0, 9).into_iter().map(|field| field.name).collect();
    assert_eq!(fields, ["__0", "__1"], "a pointer opens what it points to");
    let locals = held.stop.variables(0, ScopeKind::Locals).expect("locals");
    let missing: Vec<_> =
        locals.iter().filter(|local| *local.value.state() != ValueState::Available).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let arguments = held.stop.variables(0, ScopeKind::Arguments).expect("arguments");
    assert_eq!(
        arguments.iter().map(|a| (&*a.name, a.value.summary())).collect::<Vec<_>>(),
        [("seed", SEED.to_string())]
    );
}

/// The marks of a hash table's buckets: their address, and what they are.
fn marks(stop: &Stop, map: &str) -> (u64, Vec<u8>) {
    let number = |path: &str| {
        let value = stop.evaluate(0, &format!("{map}.base.table.table.{path}")).expect(path);
        u64::try_from(value.as_integer().expect(path)).expect(path)
    };
    let (address, buckets) = (number("ctrl.pointer"), number("bucket_mask") + 1);
    (address, stop.read_memory(address, buckets as u32).expect("its marks"))
}

#[test]
fn a_bucket_whose_entry_was_removed_is_none() {
    let held = held("containers-rust", "lib.rs");
    let (address, mut buckets) = marks(&held.stop, "map");
    let free = buckets.iter().filter(|mark| **mark == 0xff).count();
    assert_eq!((buckets.len() - free, free > 0), (1, true), "{buckets:x?}");
    // What a table leaves where it must not look empty.
    buckets.iter_mut().filter(|mark| **mark == 0xff).for_each(|mark| *mark = 0x80);
    held.stop.write_memory(address, buckets).expect("to write");
    check(&held.stop, &[("map", "{70001: \"value 70001\"}")]);
}

#[test]
fn cpp() {
    let held = held("containers-cpp", "filter.cc");
    check(
        &held.stop,
        &[
            ("map", "{1 = \"one\", 70001 = \"seed\"}"),
            ("map[70001]", "\"seed\""),
            ("set", "{1, 2, 3}"),
            ("hashed", "{\"seed\" = 70001}"),
            ("hashed[\"seed\"]", "70001"),
            ("hashed_set", "{70001}"),
            ("list", "{70001, 2, 3}"),
            ("array", "{1, 2, 4465}"),
            ("some", "70001"),
            ("none", "nullopt"),
            ("unique", "{Base = {base_field = 1}, own_field = 2}"),
            ("unique->base_field", "1"),
            ("empty", "0x0"),
            ("*empty", "error: it is a null pointer (column 1)"),
            ("shared", "\"shared\""),
            ("view", "\"a view\""),
            ("pair", "{first = 5, second = \"five\"}"),
            ("wide", "{'h', 'i'}"),
            ("quoted", "\"a \\\"quote\\\"\\n\""),
            ("text", "\"chars\""),
            ("text[1] == 'h'", "true"),
            ("small", "-3"),
            ("small < 1", "true"),
            ("small > 4294967290", "false"),
            ("small == 4294967293", "false"),
            ("4294967296 > 1", "true"),
            ("derived.base_field + derived.own_field", "3"),
            ("flags", "{a = 5, b = -7, c = 1000}"),
            ("either.number", "70001"),
            ("anonymous", "{before = 1, inner = 70001, other = 9.8092e-41}"),
            ("anonymous.inner", "70001"),
            ("plain", "Green"),
            ("odd", "<no enumerator is 3>"),
            ("scoped", "Two"),
            ("grid[4]", "5"),
            ("*into", "4"),
            ("into[1]", "5"),
            ("into[-3]", "1"),
            ("word", "\"word\""),
            ("*word", "'w'"),
            ("real", "17500.25"),
            ("truth", "true"),
            ("unit", "'x'"),
            ("nested", "{{1}, {2, 3}}"),
            ("nested[1][0]", "2"),
            ("config::limit", "70043"),
            ("limit", "70043"),
            ("Derived::shared_field", "77"),
        ],
    );
}

#[test]
fn cpp_types() {
    let held = held("containers-cpp", "filter.cc");
    for (name, ty) in [
        ("map", "std::map<uint32_t, std::string>"),
        ("unique", "std::unique_ptr<Derived>"),
        ("nested", "std::vector<std::vector<int>>"),
        ("word", "const char *"),
    ] {
        let value = held.stop.evaluate(0, name).expect(name);
        assert_eq!(value.type_name().replace("unsigned int", "uint32_t"), ty, "{name}");
    }
}
