//! Proposals of WebAssembly: those that are on run in both lanes, and a module that uses another one is told which, and
//! what to do. The table of docs/CONFORMANCE.md is made of these.

use wasmdbg_proxy_wasm::{Action, Callback};

use crate::debug_stage::Stage;
use crate::double::Request;
use crate::wat::load;

/// Each function leaves 7 when what it uses works.
const ON: &[(&str, &str)] = &[
    (
        "SIMD",
        "(func $SIMD (result i32) (i32x4.extract_lane 2 (i32x4.add (v128.const i32x4 0 0 3 0) (i32x4.splat (i32.const 4)))))",
    ),
    (
        "relaxed SIMD",
        "(func $relaxed_SIMD (result i32) (i32x4.extract_lane 0
            (i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 7.5 0 0 0))))",
    ),
    (
        "bulk memory",
        "(func $bulk_memory (result i32)
            (memory.fill (i32.const 0x900) (i32.const 7) (i32.const 4))
            (memory.copy (i32.const 0x910) (i32.const 0x900) (i32.const 4))
            (i32.load8_u (i32.const 0x913)))",
    ),
    (
        "multi-value",
        "(func $two (result i32 i32) (i32.const 3) (i32.const 4))
        (func $multi_value (result i32) (i32.add (call $two)))",
    ),
    (
        "reference types",
        "(table $of_functions 2 funcref) (elem declare func $seven)
        (func $reference_types (result i32)
            (table.set $of_functions (i32.const 1) (ref.func $seven))
            (call_indirect $of_functions (result i32) (i32.const 1)))",
    ),
    (
        "typed function references",
        "(type $number (func (result i32)))
        (func $typed_function_references (result i32) (call_ref $number (ref.func $seven)))",
    ),
    (
        "tail calls",
        "(func $count (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))
            (return_call $count (i32.sub (local.get 0) (i32.const 1))))
        (func $tail_calls (result i32) (call $count (i32.const 100000)))",
    ),
    (
        "multi-memory",
        "(memory $other 1)
        (func $multi_memory (result i32)
            (i32.store $other (i32.const 0) (i32.const 7)) (i32.load $other (i32.const 0)))",
    ),
    (
        "extended constants",
        "(global $sum i32 (i32.add (i32.const 3) (i32.const 4)))
        (func $extended_constants (result i32) (global.get $sum))",
    ),
    (
        "sign extension, saturating conversions, mutable globals",
        r#"(global $changed (export "changed") (mut i32) (i32.const 0))
        (func $sign_extension__saturating_conversions__mutable_globals (result i32)
            (global.set $changed (i32.trunc_sat_f32_s (f32.const 7.9)))
            (i32.extend8_s (global.get $changed)))"#,
    ),
];

/// A module that uses it, and words of what is said.
const OFF: &[(&str, &str, &str)] = &[
    ("exceptions", "(tag $e) (func (throw $e))", "-fno-exceptions"),
    ("threads", "(func (drop (i32.atomic.load (i32.const 0))))", "-pthread"),
    ("threads", "(memory 1 1 shared)", "-pthread"),
    (
        "garbage collection",
        "(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))",
        "linear memory",
    ),
    ("garbage collection", "(func (param externref))", "--reference-types"),
    ("memory64", "(memory i64 1)", "wasm32"),
    ("stack switching", "(type $f (func)) (type $c (cont $f))", "-sJSPI"),
    (
        "wide arithmetic",
        "(func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1)))",
        "-mwide-arithmetic",
    ),
    ("custom page sizes", "(memory 1 (pagesize 1))", "--page-size"),
];

fn module(body: &str) -> String {
    format!(
        r#"(module
        (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0x100) "found")
        (func (export "proxy_abi_version_0_2_1"))
        (func $seven (result i32) (i32.const 7)) (elem declare func $seven)
        {body})"#
    )
}

/// A filter that leaves what the functions return, as a property.
fn filter() -> String {
    let name = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let functions: String = ON.iter().map(|(_, text)| *text).collect();
    let calls: String = ON
        .iter()
        .enumerate()
        .map(|(index, (what, _))| {
            format!("(i32.store8 (i32.const {}) (call ${}))\n", 0x800 + index, name(what))
        })
        .collect();
    module(&format!(
        r#"{functions} (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {calls}
        (call $set (i32.const 0x100) (i32.const 5) (i32.const 0x800) (i32.const {})))"#,
        ON.len()
    ))
}

/// Which of them did not leave 7.
fn wrong(request: &Request) -> Vec<&'static str> {
    let (_, found) = request.maps.lock().unwrap().properties.pop().expect("the callback ended");
    ON.iter().zip(found).filter(|(_, found)| *found != 7).map(|((what, _), _)| *what).collect()
}

#[test]
fn what_is_on_runs_on_the_fast_lane() {
    let loaded = load(&wat::parse_str(filter()).unwrap(), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = Request::new(1, &[]);
    let (context, _) = vm.create_context(request.boxed());
    assert_eq!(vm.call(context, Callback::RequestHeaders { end_of_stream: true }).action, Action::Continue);
    assert_eq!(wrong(&request), [""; 0]);
}

#[test]
fn what_is_on_runs_on_the_debug_lane() {
    let stage = Stage::new(&filter(), "");
    let _front = stage.attached();
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Continue);
    assert_eq!(wrong(&flow.request), [""; 0]);
    flow.end();
}

#[test]
fn what_is_off_is_named_and_so_is_what_to_do() {
    for (what, body, instead) in OFF {
        let bytes = wat::parse_str(module(body)).unwrap();
        let loaded = load(&bytes, "");
        let reason = loaded.filter.inactive_reason().expect(what);
        let says = format!("it uses a proposal of WebAssembly that is off here, {what}");
        assert!(
            reason.contains("does not run here: ") && reason.contains(&says) && reason.contains(instead),
            "{what}: {reason}"
        );
        // Continuations are references that are collected.
        let named = if *what == "stack switching" { 2 } else { 1 };
        assert_eq!(reason.matches("that is off here").count(), named, "nothing else: {reason}");
    }
}

#[test]
fn all_that_a_module_needs_is_named() {
    let bytes = wat::parse_str(module("(tag $e) (func (throw $e)) (memory 1 1 shared)")).unwrap();
    let loaded = load(&bytes, "");
    let reason = loaded.filter.inactive_reason().unwrap();
    assert!(reason.contains("off here, exceptions: ") && reason.contains("off here, threads: "), "{reason}");
}

#[test]
fn a_component_is_no_filter() {
    for bytes in [wat::parse_str("(component)").unwrap(), b"\0asm\x0d\0\x01\0garbage".to_vec()] {
        let loaded = load(&bytes, "");
        let reason = loaded.filter.inactive_reason().unwrap();
        assert!(reason.contains("component") && reason.contains("wasm32-wasip1"), "{reason}");
    }
}

/// docs/CONFORMANCE.md says the same of each, and of nothing else.
#[test]
fn the_documented_table_has_these() {
    let document = include_str!("../../../../docs/CONFORMANCE.md");
    let table = document.split_once("| proposal | here | instead |\n|---|---|---|\n").expect("a table").1;
    let rows: Vec<(&str, &str)> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let mut found: Vec<(&str, &str)> = ON.iter().map(|(what, _)| (*what, "on")).collect();
    for (what, ..) in OFF {
        if !found.contains(&(what, "refused")) {
            found.push((what, "refused"));
        }
    }
    found.push(("components", "refused"));
    found.sort_unstable();
    let mut documented = rows.clone();
    documented.sort_unstable();
    assert_eq!(documented, found);
}
