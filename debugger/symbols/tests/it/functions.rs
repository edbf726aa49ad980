//! Functions by name and pc, inlined frames, prologues, names without debug info.

use wasmdbg_symbols::{Language, LookupError, Symbols};

use crate::recording::{bytes, line_of, symbols};

#[test]
fn functions_are_found_by_each_of_their_names() {
    for name in ["rust.O0.v4.wasm", "rust.O0.v5.wasm", "rust.O2.v4.wasm", "rust.O2.v5.wasm"] {
        let symbols = symbols(name);
        for query in [
            "area",
            "Point::area",
            "Area::area",
            "values::Point::area",
            "<values::Point as values::Area>::area",
            "scalars",
            "values::scalars",
            "scalars()",
            "run",
        ] {
            let binding = symbols.break_function(query).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(binding.places.len(), 1, "{name}: {query}");
        }
        let generic = symbols.break_function("Wrapper::take").unwrap();
        assert_eq!(generic.places.len(), 2, "{name}: both instances");
        let one = symbols.break_function("Wrapper<u64>::take").unwrap();
        assert_eq!(one.places.len(), 1, "{name}: {:?}", one.places);
        assert_eq!(symbols.break_function("twice").unwrap().places.len(), 2, "{name}: both copies");
        for query in ["are", "Circle::area", "other::scalars", ""] {
            assert!(symbols.break_function(query).is_err(), "{name}: {query}");
        }
    }
}

#[test]
fn an_unknown_function_names_those_that_look_alike() {
    let error = symbols("rust.O0.v4.wasm").break_function("scalar").unwrap_err();
    assert_eq!(error.to_string(), "no function `scalar`; did you mean values::scalars");
}

#[test]
fn function_breakpoints_are_behind_the_prologue() {
    for (name, source, first) in [
        ("c.O0.v4.wasm", "values.c", "struct point corner"),
        ("c.O0.v5.wasm", "values.c", "struct point corner"),
        ("rust.O0.v4.wasm", "values.rs", "let point = Point"),
        ("rust.O0.v5.wasm", "values.rs", "let point = Point"),
    ] {
        let symbols = symbols(name);
        let function = if source == "values.c" { "records" } else { "shapes" };
        let place = symbols.break_function(function).unwrap().places.remove(0);
        // rustc fills constants (`text`) before the rest of the body.
        let lines =
            line_of(source, first)..=line_of(source, first) + if source == "values.c" { 0 } else { 8 };
        let line = place.position.unwrap().line;
        assert!(lines.contains(&line), "{name}: {line}");
        let setup = symbols.frame_pointer_hint(place.function).expect("it has a frame");
        assert!(place.pc >= setup.ready, "{name}");
        assert!(setup.size.is_some_and(|size| size >= 80), "{name}: {setup:?}");
    }
}

#[test]
fn a_line_that_opens_a_function_is_behind_the_prologue_too() {
    for name in ["c.O0.v4.wasm", "c.O0.v5.wasm"] {
        let symbols = symbols(name);
        let line = line_of("values.c", "static int records(int seed)");
        let by_line = symbols.break_line("values.c", line, None).unwrap().places.remove(0);
        let by_name = symbols.break_function("records").unwrap().places.remove(0);
        assert_eq!(by_line.pc, by_name.pc, "{name}");
    }
}

#[test]
fn inlined_frames_are_innermost_first_with_their_calls() {
    for name in ["rust.O0.v4.wasm", "rust.O2.v5.wasm"] {
        let symbols = symbols(name);
        let place = symbols.break_function("twice").unwrap().places.remove(0);
        let frames = symbols.frames(place.pc);
        let names: Vec<_> = frames.iter().map(|f| (&*f.name.full, f.inlined)).collect();
        assert_eq!(names, [("values::twice", true), ("values::run", false)], "{name}");
        assert_eq!(
            frames[1].position.as_ref().unwrap().line,
            line_of("values.rs", "twice(seed) + twice"),
            "{name}"
        );
        assert_eq!(frames[0].language, Language::Rust);
        let copy = symbols.instance(frames[0].instance.unwrap()).unwrap();
        assert_eq!(copy.caller, frames[1].instance);
        assert_eq!(copy.call, frames[1].position);
        assert_eq!(copy.declared.unwrap().line, line_of("values.rs", "fn twice(amount"));
        assert!(copy.ranges.iter().any(|r| r.contains(place.pc)));
    }
}

#[test]
fn a_stripped_module_has_pcs_and_exports() {
    let symbols = symbols("c.stripped.wasm");
    assert!(!symbols.has_debug_info());
    let run = symbols.break_function("run").unwrap().places.remove(0);
    assert_eq!((&*run.name, run.position, run.instance), ("run", None, None));
    assert!(
        run.pc >= symbols.frame_pointer_hint(run.function).unwrap().ready,
        "behind the prologue all the same"
    );
    let frames = symbols.frames(run.pc);
    assert_eq!(frames.len(), 1);
    let nameless = symbols.break_function("func[3]").unwrap().places.remove(0);
    assert_eq!((&*nameless.name, nameless.function), ("func[3]", 3));
    let error = symbols.break_line("values.c", 1, None).unwrap_err();
    assert!(matches!(error, LookupError::NoDebugInfo) && error.to_string().contains("-g"), "{error}");
}

#[test]
fn a_separate_debug_file_serves_a_stripped_module_of_the_same_code() {
    let symbols = Symbols::with_debug_file(bytes("c.stripped.wasm"), bytes("c.O0.v4.wasm")).unwrap();
    let whole = self::symbols("c.O0.v4.wasm");
    let line = line_of("values.c", "stop scalars");
    let here = symbols.break_line("values.c", line, None).unwrap().places.remove(0);
    let there = whole.break_line("values.c", line, None).unwrap().places.remove(0);
    assert_eq!((here.function, &here.name), (there.function, &there.name));
    // The same code, perhaps elsewhere in the file.
    let shift = |s: &Symbols| s.module().code().start.0;
    assert_eq!(here.pc.0 - shift(&symbols), there.pc.0 - shift(&whole));
    assert_eq!(&*symbols.function_name(1).full, &*whole.function_name(1).full);
}

#[test]
fn a_debug_file_of_another_build_is_refused() {
    let error = Symbols::with_debug_file(bytes("c.stripped.wasm"), bytes("c.O2.v4.wasm")).unwrap_err();
    assert!(error.to_string().starts_with("the debug file is of another build"), "{error}");
    let error = Symbols::with_debug_file(bytes("c.O0.v4.wasm"), bytes("c.stripped.wasm")).unwrap_err();
    assert!(error.to_string().contains("no .debug_info"), "{error}");
    let error = Symbols::with_debug_file(bytes("c.O0.v4.wasm"), bytes("values.c")).unwrap_err();
    assert!(error.to_string().starts_with("the debug file: not a Wasm module"), "{error}");
}

#[test]
fn units_name_their_language_and_version() {
    for (name, language, version) in [
        ("c.O0.v4.wasm", Language::C, 4),
        ("c.O2.v5.wasm", Language::C, 5),
        ("rust.O0.v4.wasm", Language::Rust, 4),
        ("rust.O2.v5.wasm", Language::Rust, 5),
    ] {
        let units = symbols(name).units();
        assert!(units.iter().any(|u| u.language == language && u.version == version), "{name}: {units:?}");
        assert!(units.iter().all(|u| u.problem.is_none()), "{name}: {units:?}");
    }
}

#[test]
fn completion_lists_each_name_once() {
    let names = symbols("rust.O2.v5.wasm").function_names();
    assert!(names.is_sorted());
    for name in ["run", "values::twice", "values::scalars"] {
        assert_eq!(names.iter().filter(|n| &***n == name).count(), 1, "{name} in {names:?}");
    }
}
