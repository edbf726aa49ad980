//! Source lines to pcs, pcs to source lines, statements for stepping.

use std::collections::BTreeSet;

use wasmdbg_symbols::{LookupError, ModulePc, Symbols};

use crate::recording::{line_of, symbols};

const C: [&str; 4] = ["c.O0.v4", "c.O0.v5", "c.O2.v4", "c.O2.v5"];
const RUST: [&str; 4] = ["rust.O0.v4", "rust.O0.v5", "rust.O2.v4", "rust.O2.v5"];

fn load(name: &str) -> Symbols {
    symbols(&format!("{name}.wasm"))
}

/// The pc of the first place of a marked line.
fn pc_at(symbols: &Symbols, source: &str, marker: &str) -> ModulePc {
    symbols.break_line(source, line_of(source, marker), None).unwrap().places[0].pc
}

#[test]
fn a_line_of_an_inlined_function_has_a_place_in_each_copy() {
    for (names, source) in [(C, "values.c"), (RUST, "values.rs")] {
        for name in names {
            let symbols = load(name);
            let line = line_of(source, "stop twice");
            let binding = symbols.break_line(source, line, None).unwrap();
            assert_eq!(binding.places.len(), 2, "{name}: {:?}", binding.places);
            assert!(!binding.moved());
            for place in &binding.places {
                assert!(place.inlined && place.name.ends_with("twice"), "{name}: {place:?}");
                assert_eq!(place.position.as_ref().unwrap().line, line);
                let frames = symbols.frames(place.pc);
                assert_eq!(&*frames[1].name.short, "run", "{name}");
            }
            let callers: BTreeSet<_> = binding
                .places
                .iter()
                .map(|p| symbols.frames(p.pc)[1].position.as_ref().map(|p| (p.line, p.column)))
                .collect();
            assert_eq!(callers.len(), 2, "{name}: two calls");
        }
    }
}

#[test]
fn a_line_that_begins_with_an_inlined_call_stops_in_front_of_it() {
    for (names, source, call) in
        [(C, "values.c", "int out = twice(seed)"), (RUST, "values.rs", "twice(seed) + twice")]
    {
        for name in names {
            let symbols = load(name);
            let line = line_of(source, call);
            let binding = symbols.break_line(source, line, None).unwrap();
            assert!(!binding.moved(), "{name}: {binding:?}");
            let place = &binding.places[0];
            assert!(place.name.ends_with("run") && !place.inlined, "{name}: {place:?}");
            assert_eq!(place.position.as_ref().unwrap().line, line, "{name}");
            assert!(place.pc <= pc_at(&symbols, source, "stop twice"), "{name}: in front of the callee");
        }
    }
}

#[test]
fn a_line_of_a_generic_function_has_a_place_in_each_instance() {
    for name in RUST {
        let symbols = load(name);
        let binding = symbols.break_line("values.rs", line_of("values.rs", "stop take"), None).unwrap();
        let functions: BTreeSet<_> = binding.places.iter().map(|p| p.function).collect();
        assert_eq!((binding.places.len(), functions.len()), (2, 2), "{name}: {:?}", binding.places);
    }
}

#[test]
fn a_line_with_several_blocks_stops_once_a_pass() {
    for name in ["c.O0.v4", "c.O0.v5"] {
        // `for (init; condition; step)` has code before the loop, at its head and at its end.
        let symbols = load(name);
        let binding = symbols.break_line("values.c", line_of("values.c", "one place"), None).unwrap();
        assert_eq!(binding.places.len(), 1, "{:?}", binding.places);
        // The body is entered through it, and stops on each round.
        assert!(binding.places[0].pc < pc_at(&symbols, "values.c", "stop loops"));
    }
}

#[test]
fn blocks_that_exclude_each_other_are_all_kept() {
    // An unoptimised conditional expression has no second block; the two arms of the recursion have a
    // line each. What must not be lost: a line whose code is in both arms of an `if`.
    let symbols = load("c.O0.v5");
    let line = line_of("values.c", "stop recursive");
    assert_eq!(symbols.break_line("values.c", line, None).unwrap().places.len(), 1);
    assert_eq!(symbols.break_line("values.c", line + 3, None).unwrap().places.len(), 1);
}

#[test]
fn a_line_without_code_moves_to_the_next_one_and_says_so() {
    for name in C {
        let symbols = load(name);
        let comment = line_of("values.c", "no code here");
        let binding = symbols.break_line("values.c", comment, None).unwrap();
        assert!(binding.moved() && binding.requested == comment, "{name}");
        assert_eq!(binding.line, comment + 1, "{name}");
        assert_eq!(binding.places[0].position.as_ref().unwrap().line, comment + 1);
    }
}

#[test]
fn a_line_behind_all_code_is_an_error_with_the_last_line() {
    let symbols = load("c.O0.v4");
    let error = symbols.break_line("values.c", 10_000, None).unwrap_err();
    let LookupError::NoCode { last: Some(last), .. } = &error else { panic!("{error:?}") };
    let returns = line_of("values.c", "return out;");
    assert_eq!(*last, returns);
    assert_eq!(
        error.to_string(),
        format!("no code at /fixtures/values.c:10000; the last line with code is {last}")
    );
}

#[test]
fn files_match_by_the_end_of_their_path() {
    let symbols = load("c.O0.v5");
    for spec in
        ["values.c", "fixtures/values.c", "/fixtures/values.c", "./values.c", "/home/me/fixtures/values.c"]
    {
        assert_eq!(symbols.matching_files(spec), ["/fixtures/values.c".into()], "{spec}");
    }
    for spec in ["alues.c", "other/values.c", "/home/me/values.c", "values.h", ""] {
        assert!(symbols.matching_files(spec).is_empty(), "{spec}");
    }
    let error = symbols.break_line("valves.c", 1, None).unwrap_err();
    assert!(matches!(error, LookupError::UnknownFile { .. }), "{error}");
    let error = symbols.break_line("values.rs", 1, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no source file `values.rs` in the debug info; did you mean /fixtures/values.c"
    );
}

#[test]
fn a_name_that_several_files_have_is_ambiguous_unless_one_is_the_users() {
    // rustc's core has several `mod.rs`; the fixture's own file is found among any of them.
    let symbols = load("rust.O0.v4");
    assert!(symbols.matching_files("mod.rs").len() > 1);
    let error = symbols.break_line("mod.rs", 1, None).unwrap_err();
    assert!(matches!(error, LookupError::AmbiguousFile { .. }), "{error}");
    assert!(symbols.break_line("values.rs", 69, None).is_ok());
}

#[test]
fn no_place_is_in_a_prologue() {
    for (names, source) in [(C, "values.c"), (RUST, "values.rs")] {
        for name in names {
            let symbols = load(name);
            for line in 1..140 {
                let Ok(binding) = symbols.break_line(source, line, None) else { continue };
                for place in binding.places {
                    let function = symbols.module().function(place.function).unwrap();
                    assert!(place.pc >= function.first_instruction, "{name}:{line} {place:?}");
                    if let Some(setup) = symbols.frame_pointer_hint(place.function)
                        && !place.inlined
                    {
                        assert!(place.pc >= setup.ready, "{name}:{line} {place:?} {setup:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn columns_choose_a_statement_of_the_line() {
    let symbols = load("c.O0.v5");
    let line = line_of("values.c", "one place");
    let columns: Vec<u32> =
        symbols.break_columns("values.c", line..=line).unwrap().into_iter().map(|(_, c)| c).collect();
    // `int i` and the increment at least; clang makes the condition no statement.
    assert!(columns.len() >= 2, "{columns:?}");
    let step = *columns.last().unwrap();
    let place = symbols.break_line("values.c", line, Some(step)).unwrap().places.remove(0);
    assert_eq!(place.position.unwrap().column, step);
    assert!(place.pc > pc_at(&symbols, "values.c", "stop loops"), "the increment is behind the body");
}

#[test]
fn each_pc_has_the_line_of_its_row() {
    for (names, source) in [(C, "values.c"), (RUST, "values.rs")] {
        for name in names {
            let symbols = load(name);
            for marker in ["stop twice", "stop scalars"] {
                let position = symbols.position(pc_at(&symbols, source, marker)).unwrap();
                assert_eq!(&*position.path, format!("/fixtures/{source}"), "{name}");
                assert_eq!(position.line, line_of(source, marker), "{name}");
            }
            assert_eq!(symbols.position(ModulePc(0)), None);
            assert_eq!(symbols.position(ModulePc(u32::MAX)), None);
        }
    }
}

#[test]
fn a_statement_holds_its_inlined_calls_only_for_the_caller() {
    for (names, source) in [(C, "values.c"), (RUST, "values.rs")] {
        for name in names {
            let symbols = load(name);
            let pc = pc_at(&symbols, source, "stop twice");
            let frames = symbols.frames(pc);
            let (inner, outer) = (frames[0].instance.unwrap(), frames[1].instance.unwrap());
            let within = symbols.statement(pc, inner).unwrap();
            assert_eq!(within.position.line, line_of(source, "stop twice"), "{name}");
            assert!(within.ranges.iter().any(|r| r.contains(pc)));
            let call = symbols.statement(pc, outer).unwrap();
            assert_eq!(call.position.line, frames[1].position.as_ref().unwrap().line, "{name}");
            // All code of the copy lies in the caller's statement.
            for range in symbols.instance(inner).unwrap().ranges {
                assert!(
                    call.ranges.iter().any(|r| r.start <= range.start && range.end <= r.end),
                    "{name}: {range:?} in {:?}",
                    call.ranges
                );
            }
            // And none of the other statements of the copy in the inner one.
            let bytes = |ranges: &[wasmdbg_symbols::PcRange]| -> u32 {
                ranges.iter().map(|r| r.end.0 - r.start.0).sum()
            };
            assert!(bytes(&within.ranges) <= bytes(&call.ranges), "{name}");
        }
    }
}

#[test]
fn statement_starts_are_instructions_with_lines_in_order() {
    for name in ["c.O0.v4", "c.O2.v5", "rust.O0.v5", "rust.O2.v4"] {
        let symbols = load(name);
        let mut all = 0;
        for function in symbols.module().functions() {
            let starts = symbols.statement_starts(function.index);
            all += starts.len();
            assert!(starts.is_sorted_by_key(|s| s.pc), "{name}");
            for start in &starts {
                assert!(function.body.contains(start.pc) && start.pc >= function.first_instruction);
                let position = symbols.position(start.pc).unwrap();
                assert_eq!(
                    (position.line, &position.path),
                    (start.position.line, &start.position.path),
                    "{name}"
                );
            }
        }
        assert!(all > 20, "{name}: {all}");
    }
}

#[test]
fn every_unoptimised_line_of_a_body_is_a_statement_start() {
    let symbols = load("c.O0.v4");
    let first = line_of("values.c", "struct point corner");
    let function = symbols.break_function("records").unwrap().places[0].function;
    let lines: BTreeSet<u32> = symbols.statement_starts(function).iter().map(|s| s.position.line).collect();
    for line in first..first + 9 {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
}

#[test]
fn code_of_no_line_in_particular_has_the_line_before_it() {
    let mut without = 0;
    for name in [&C[..], &RUST[..]].concat() {
        let symbols = load(name);
        for function in symbols.module().functions() {
            let starts = symbols.statement_starts(function.index);
            let Some(first) = starts.first() else { continue };
            for pc in first.pc.0..function.body.end.0 {
                match symbols.position(ModulePc(pc)) {
                    Some(position) => assert!(position.line > 0, "{name}: {pc:#x}"),
                    None => without += 1,
                }
            }
        }
    }
    assert_eq!(without, 0, "pcs behind a function's first statement without a line");
}

#[test]
fn a_line_cursor_finds_the_same_in_any_order() {
    for name in [&C[..], &RUST[..]].concat() {
        let symbols = load(name);
        let code = symbols.module().functions().iter();
        let all: Vec<u32> = code.flat_map(|function| function.body.start.0..function.body.end.0).collect();
        let jumping = (0..all.len()).map(|at| all[at * 7919 % all.len()]);
        let near = (0..all.len()).map(|at| all[(at ^ 5).min(all.len() - 1)]);
        for order in [all.clone(), all.iter().rev().copied().collect(), jumping.collect(), near.collect()] {
            let mut cursor = symbols.line_cursor();
            for pc in order.into_iter().chain([0, u32::MAX]) {
                let expected = symbols.position(ModulePc(pc)).map(|position| (position.path, position.line));
                let found = cursor.at(ModulePc(pc)).map(|(path, line)| (path.clone(), line));
                assert_eq!(found, expected, "{name}: {pc:#x}");
            }
        }
    }
}

#[test]
fn the_users_file_is_meant_where_dependencies_have_one_of_the_same_name() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/rust-token");
    let wasm = std::fs::read(format!("{example}/rust-token.release.wasm")).unwrap();
    let source = std::fs::read_to_string(format!("{example}/src/lib.rs")).unwrap();
    let line = source.lines().position(|line| line.contains("is_prime(token)")).unwrap() as u32 + 1;
    let symbols = Symbols::new(wasm.into()).unwrap();
    assert!(symbols.matching_files("lib.rs").len() > 1, "proxy-wasm has a lib.rs too");
    let binding = symbols.break_line("lib.rs", line, None).unwrap();
    assert_eq!(&*binding.path, "examples/rust-token/src/lib.rs");
    assert!(!binding.moved(), "the call is inlined in this build, and has a place all the same");
}
