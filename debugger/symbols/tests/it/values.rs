//! Every variable at every stop of the fixtures, in all frames, is compared with what the program held.

use std::collections::BTreeMap;

use crate::recording::{Stop, symbols};
use crate::render;

type Expected = &'static [(&'static str, &'static [(&'static str, &'static str)])];

/// What the variables of each function hold while `run(11)` of `values.c` stops in it or below it.
const C: Expected = &[
    ("run", &[("seed", "11"), ("out", "0|22|244|278|60278|60289|60319")]),
    ("twice", &[("amount", "11|111"), ("doubled", "22|222")]),
    ("leaf", &[("first", "11"), ("second", "3"), ("product", "33")]),
    (
        "scalars",
        &[
            ("small", "-2"),
            ("medium", "60000"),
            ("large", "1099511627776"),
            ("real", "0.25"),
            ("precise", "-1e100"),
            ("yes", "true"),
            ("letter", "'q'"),
            ("huge", "3298534883328"),
            ("color", "GREEN"),
        ],
    ),
    (
        "records",
        &[
            ("seed", "11"),
            ("corner", "{x=11 y=12}"),
            ("flags", "{low=5 middle=-3 high=1000}"),
            ("number", "{whole=1069547520 real=1.5}"),
            ("grid", "[[1, 2, 3], [4, 5, 11]]"),
            ("last", "{value=20 next=null}"),
            ("list", "{value=10 next=&{value=20 next=null}}"),
            ("head", "&{value=10 next=&{value=20 next=null}}"),
        ],
    ),
    (
        "inner",
        &[
            ("where", "&{x=11 y=12}"),
            ("add", "2"),
            (
                "room",
                "[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, \
                 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41]",
            ),
            ("sum", "64"),
        ],
    ),
    ("recursive", &[("depth", "0|1|2"), ("here", "[0, 0]|[1, 10]|[2, 20]")]),
    ("loops", &[("count", "3"), ("sum", "0|1"), ("i", "0|1|2")]),
];

/// The same for `values.rs`.
const RUST: Expected = &[
    ("run", &[("seed", "11"), ("out", "244|245")]),
    ("twice", &[("amount", "11|111"), ("doubled", "22|222")]),
    (
        "scalars",
        &[
            ("small", "-7"),
            ("large", "8589934592"),
            ("huge", "1267650600228229401496703205376"),
            ("real", "-0.5"),
            ("letter", "'ß'"),
            ("yes", "true"),
            ("unit", "()"),
            ("sum", "-7"),
        ],
    ),
    (
        "shapes",
        &[
            ("seed", "11"),
            ("point", "{x=11 y=4}"),
            ("circle", "Circle{radius=9}"),
            ("line", "Line{__0=-3 __1=7}"),
            ("empty", "Empty{}"),
            ("some", "Some{__0=77}"),
            ("none", "None{}"),
            ("reference", "Some{__0=&{x=11 y=4}}"),
            ("nothing", "None{}"),
            ("text", "\"token\""),
            ("array", "[1, 2, 3]"),
            ("slice", "[1, 2, 3]"),
            ("pair", "{__0=11 __1=2.5}"),
            ("level", "High"),
            ("wrapped", "{inner=11 tag=3}"),
            ("wide", "{inner=1099511627776 tag=4}"),
        ],
    ),
    ("area", &[("self", "&{x=11 y=4}"), ("product", "44")]),
    ("take", &[("self", "&{inner=11 tag=3}|&{inner=1099511627776 tag=4}")]),
];

/// The same for `classes.cc`. Of `diamond` only its own member is known: where a virtual base lies the
/// object's vtable says.
const CPP: Expected = &[
    (
        "run",
        &[
            ("seed", "11"),
            ("box", "{width=11}"),
            ("small", "{first=11 second=1}"),
            ("large", "{first=0.5 second=2.25}"),
            ("reference", "&{width=11}"),
            ("diamond", "{_vptr$Diamond=&&code own=2}"),
            ("out", "0|34|36|54"),
        ],
    ),
    ("area", &[("this", "&{width=11}"), ("factor", "2"), ("result", "22")]),
    ("sum", &[("this", "&{first=11 second=1}|&{first=0.5 second=2.25}"), ("total", "12|2.75")]),
    ("digits", &[("number", "3600010|360001|36000|3600|360|36|3|0"), ("sum", "8|9|15|18")]),
    ("ahead", &[("number", "54162|5416|541|54|5"), ("sum", "2|8|9|13|18")]),
];

#[derive(Default)]
struct Tally {
    right: usize,
    missing: usize,
    seen: BTreeMap<String, usize>,
}

fn compare(name: &str, expected: Expected) -> Tally {
    let symbols = symbols(&format!("{name}.wasm"));
    let mut tally = Tally::default();
    for stop in Stop::all(&format!("{name}.state")) {
        for at in stop.machines(&symbols) {
            for frame in symbols.frames(at.pc()) {
                let short = &*frame.name.short;
                let (_, wanted) = expected
                    .iter()
                    .find(|(function, _)| *function == short)
                    .unwrap_or_else(|| panic!("{name}: stopped in {short}"));
                let instance = frame.instance.expect("the fixture has debug info");
                for variable in symbols.variables(instance, at.pc()).unwrap() {
                    let value = render::variable(&symbols, &variable, &at)
                        .replace(&format!("1{}", "0".repeat(100)), "1e100");
                    let (_, may) = wanted
                        .iter()
                        .find(|(wanted, _)| *wanted == &*variable.name)
                        .unwrap_or_else(|| panic!("{name}: {short} has no `{}`", variable.name));
                    *tally.seen.entry(format!("{short}.{}", variable.name)).or_default() += 1;
                    if value.starts_with('<') {
                        tally.missing += 1;
                        continue;
                    }
                    tally.right += 1;
                    assert!(
                        may.split('|').any(|one| one == value),
                        "{name}, stop {}: {short}.{} is {value}, not {may} ({})",
                        stop.name,
                        variable.name,
                        symbols.describe_location(&variable, at.pc())
                    );
                }
            }
        }
    }
    for (function, variables) in expected {
        for (variable, _) in *variables {
            let key = format!("{function}.{variable}");
            assert!(tally.seen.contains_key(&key), "{name}: never saw {key}");
        }
    }
    tally
}

#[test]
fn unoptimised_variables_are_all_right() {
    for (name, expected, least) in [
        ("c.O0.v4", C, 71),
        ("c.O0.v5", C, 71),
        ("cpp.O0.v4", CPP, 100),
        ("cpp.O0.v5", CPP, 100),
        ("rust.O0.v4", RUST, 80),
        ("rust.O0.v5", RUST, 80),
    ] {
        let tally = compare(name, expected);
        assert_eq!(tally.missing, 0, "{name}");
        assert!(tally.right >= least, "{name}: only {}", tally.right);
    }
}

#[test]
fn optimised_variables_are_right_or_said_to_be_missing() {
    for (name, expected, least) in [
        ("c.O2.v4", C, 42),
        ("c.O2.v5", C, 42),
        ("cpp.O2.v4", CPP, 55),
        ("cpp.O2.v5", CPP, 55),
        ("rust.O2.v4", RUST, 55),
        ("rust.O2.v5", RUST, 55),
    ] {
        let tally = compare(name, expected);
        println!("{name}: {} right, {} missing", tally.right, tally.missing);
        assert!(tally.right >= least, "{name}: only {} right, {} missing", tally.right, tally.missing);
    }
}

/// What a variable that changes holds at each stop, in order.
fn course(name: &str, function: &str, variable: &str) -> Vec<String> {
    let symbols = symbols(&format!("{name}.wasm"));
    let mut out = Vec::new();
    for stop in Stop::all(&format!("{name}.state")) {
        let machines = stop.machines(&symbols);
        for at in &machines {
            for frame in symbols.frames(at.pc()).into_iter().filter(|f| &*f.name.short == function) {
                let all = symbols.variables(frame.instance.unwrap(), at.pc()).unwrap();
                let found = all.iter().find(|v| &*v.name == variable).unwrap();
                out.push(render::variable(&symbols, found, at));
            }
        }
    }
    out
}

#[test]
fn changing_values_change_at_the_right_stops() {
    for version in ["c.O0.v4", "c.O0.v5"] {
        let out = course(version, "run", "out");
        let expected = ["0", "22", "244", "278", "60278", "60278", "60289", "60319", "60319", "60319"];
        assert_eq!(out, expected, "{version}: `out` of the caller at each stop");
        assert_eq!(course(version, "loops", "i"), ["0", "1", "2"]);
        assert_eq!(course(version, "loops", "sum"), ["0", "0", "1"]);
    }
}

#[test]
fn recursive_frames_have_variables_of_their_own() {
    for version in ["c.O0.v4", "c.O0.v5"] {
        assert_eq!(course(version, "recursive", "depth"), ["0", "1", "2"], "innermost first");
        assert_eq!(course(version, "recursive", "here"), ["[0, 0]", "[1, 10]", "[2, 20]"]);
    }
}

#[test]
fn inlined_copies_have_variables_of_their_own() {
    for name in ["c.O0.v5", "c.O2.v5", "rust.O0.v5", "rust.O2.v4"] {
        assert_eq!(course(name, "twice", "amount"), ["11", "111"], "{name}");
        assert_eq!(course(name, "twice", "doubled"), ["22", "222"], "{name}");
    }
}

#[test]
fn statics_are_found_by_name_and_read() {
    for (name, statics) in [
        ("c.O0.v4", &[("counter", "8"), ("total", "-10")][..]),
        ("c.O2.v5", &[("counter", "8")]),
        (
            "rust.O0.v5",
            &[
                ("values::stats::COUNTER", "42"),
                ("stats::COUNTER", "42"),
                ("COUNTER", "42"),
                ("GREETING", "\"hello\""),
            ],
        ),
        ("rust.O2.v4", &[("stats::COUNTER", "42")]),
    ] {
        let symbols = symbols(&format!("{name}.wasm"));
        let stops = Stop::all(&format!("{name}.state"));
        let at = &stops[0].machines(&symbols)[0];
        for (query, value) in statics {
            let found = symbols.find_statics(query, Some(at.pc()));
            let variable = found.first().unwrap_or_else(|| panic!("{name}: no {query}"));
            assert_eq!(render::variable(&symbols, variable, at), *value, "{name}: {query}");
        }
        assert!(symbols.find_statics("nothing::COUNTER", None).is_empty());
        let all = symbols.statics(at.pc()).unwrap();
        assert!(all.iter().any(|v| v.full_name.ends_with(statics[0].0)), "{name}: listed with its unit");
    }
}

#[test]
fn nothing_of_a_frame_is_read_before_the_prologue_has_made_it() {
    // The frame base is a local that still holds 0, or the stack pointer, still the caller's.
    for (name, function, variable) in
        [("c.O0.v4", "records", "corner"), ("c.O2.v5", "records", "corner"), ("rust.O0.v5", "shapes", "seed")]
    {
        let symbols = symbols(&format!("{name}.wasm"));
        let stops = Stop::all(&format!("{name}.state"));
        let machine = &stops[0].machines(&symbols)[0];
        let place = symbols.break_function(function).unwrap().places.remove(0);
        let body = symbols.module().function(place.function).unwrap();
        let all = symbols.variables(place.instance.unwrap(), place.pc).unwrap();
        let found = all.iter().find(|v| &*v.name == variable).unwrap();
        let early = symbols.locate(found, body.first_instruction, machine);
        let wasmdbg_symbols::Location::Unreadable(reason) = early else { panic!("{name}: {early:?}") };
        assert_eq!(reason.to_string(), "the function has not set its frame up yet", "{name}");
        let ready = symbols.locate(found, place.pc, machine);
        assert!(matches!(ready, wasmdbg_symbols::Location::Memory(_)), "{name}: {ready:?}");
    }
}

#[test]
fn a_local_that_the_optimiser_gave_away_is_not_shown() {
    // clang says that `seed` is in local 0 throughout; the code writes the result of `area` there.
    for name in ["cpp.O2.v4", "cpp.O2.v5"] {
        let course = course(name, "run", "seed");
        assert_eq!(course[0], "11", "{name}: while `area` runs it is still there");
        assert!(course[1].contains("in Wasm local 0, which has another use since"), "{name}: {}", course[1]);
        assert!(course[1..].iter().all(|value| value.starts_with('<')), "{name}: {course:?}");
    }
}

#[test]
fn a_local_that_is_updated_is_shown() {
    for name in ["cpp.O0.v4", "cpp.O2.v4", "cpp.O2.v5"] {
        let numbers = course(name, "digits", "number");
        assert_eq!(numbers, ["3600010", "360001", "36000", "3600", "360", "36", "3", "0"], "{name}");
        assert_eq!(course(name, "digits", "sum"), ["8", "8", "9", "9", "9", "9", "15", "18"], "{name}");
    }
}

#[test]
fn a_local_that_was_updated_ahead_of_its_line_is_not_shown() {
    let right = ["54162", "5416", "541", "54", "5"];
    assert_eq!(course("cpp.O0.v5", "ahead", "number"), right);
    for name in ["cpp.O2.v4", "cpp.O2.v5"] {
        for (value, right) in course(name, "ahead", "number").iter().zip(right) {
            assert!(value == right || value.starts_with('<'), "{name}: {value}, not {right}");
        }
    }
}
