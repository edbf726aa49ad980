//! Modules that cannot run: each is inactive, and its reason says what to do.

use std::path::PathBuf;

use wasmdbg_control::filters::FilterState;
use wasmdbg_proxy_wasm::{Settings, Unavailable};

use crate::double::load_yaml;
use crate::wat::{load, load_with, module};

/// Why a module is inactive.
fn reason(bytes: &[u8]) -> String {
    let loaded = load(bytes, "");
    assert!(loaded.filter.take_vm().is_none());
    assert!(!loaded.filter.wants_request_headers());
    let reason = loaded.filter.inactive_reason().expect("it must not load").to_string();
    assert_eq!(loaded.filter.info().state, FilterState::Inactive { reason: reason.clone() });
    let text = loaded.proxy.text();
    assert!(text.contains(&format!("inactive, transactions pass: {reason}")), "{text}");
    reason
}

/// A module of a few exports.
fn small(text: &str) -> String {
    reason(&wat::parse_str(text).unwrap())
}

#[test]
fn a_file_that_is_not_there() {
    let yaml = "config:\n  fail_open: false\n  vmConfig: {code: {local: {filename: gone.wasm}}}\n";
    let loaded = load_yaml(yaml, PathBuf::from("/nowhere/filter.yaml"), Settings::default());
    let reason = loaded.filter.inactive_reason().unwrap();
    assert!(reason.starts_with("cannot read /nowhere/gone.wasm: No such file"), "{reason}");
    assert!(loaded.proxy.text().contains("inactive, transactions get 503"));
    assert_eq!(loaded.filter.info().module, None);
}

#[test]
fn not_wasm_at_all() {
    assert!(reason(b"#!/bin/sh\n").ends_with("is not a Wasm module: it does not begin with \\0asm"));
    assert!(reason(b"").contains("does not begin with \\0asm"));
}

#[test]
fn truncated() {
    let good = module("");
    for end in [4, 7, good.len() / 2, good.len() - 1] {
        let reason = reason(&good[..end]);
        assert!(reason.contains("is not a valid Wasm module"), "{end}: {reason}");
        assert!(reason.contains("end") || reason.contains("offset"), "{end}: {reason}");
    }
}

#[test]
fn an_invalid_function() {
    // A body whose type is wrong: caught when it is compiled.
    let mut bytes = wat::parse_str(r#"(module (func (result i32) (i32.const 0)))"#).unwrap();
    let opcode = bytes.iter().rposition(|byte| *byte == 0x41).unwrap();
    bytes[opcode] = 0x42; // i64.const
    let reason = reason(&bytes);
    assert!(reason.contains("type mismatch"), "{reason}");
}

#[test]
fn an_unknown_import() {
    let reason = small(
        r#"(module (import "env" "proxy_levitate" (func (param i32))) (import "extra" "thing" (global i32))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")))"#,
    );
    assert!(
        reason.starts_with("the module imports env.proxy_levitate, extra.thing: not a function"),
        "{reason}"
    );
}

#[test]
fn an_import_of_another_type() {
    let reason = small(
        r#"(module (import "env" "proxy_log" (func (param i64)))
        (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")))"#,
    );
    assert!(reason.contains("env::proxy_log"), "{reason}");
}

#[test]
fn exports_that_are_missing() {
    let reason_of = |exports: &str| small(&format!("(module {exports})"));
    let reason = reason_of(r#"(memory (export "memory") 1)"#);
    assert!(reason.contains("exports no proxy_abi_version_0_2_1, nor that of 0.2.0 or 0.1.0"), "{reason}");
    let reason = reason_of(r#"(memory (export "memory") 1) (func (export "proxy_abi_version_0_3_0"))"#);
    assert!(reason.contains("another version of Proxy-Wasm (proxy_abi_version_0_3_0): 0.1.0, "), "{reason}");
    let reason = reason_of(r#"(func (export "proxy_abi_version_0_2_1"))"#);
    assert_eq!(reason, "the module exports no memory named \"memory\"");
    let reason = reason_of(
        r#"(import "env" "proxy_get_property" (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))"#,
    );
    assert!(reason.starts_with("the module imports proxy_get_property, which needs memory"), "{reason}");
}

#[test]
fn a_callback_of_another_type() {
    // 0.1.0 had no end_of_stream.
    let reason = reason(&module(
        r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))"#,
    ));
    assert!(reason.starts_with("export proxy_on_request_headers: "), "{reason}");
}

#[test]
fn a_filter_that_refuses_its_configuration() {
    for callback in ["proxy_on_vm_start", "proxy_on_configure"] {
        let body = format!(r#"(func (export "{callback}") (param i32 i32) (result i32) (i32.const 0))"#);
        assert_eq!(
            reason(&module(&body)),
            format!("{callback} returned false: the filter refuses its configuration")
        );
    }
}

#[test]
fn a_start_that_dies() {
    let dying = module(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) unreachable)"#);
    let loaded = load(&dying, "");
    let reason = loaded.filter.inactive_reason().unwrap();
    assert_eq!(reason, "proxy_on_configure: wasm trap: wasm `unreachable` instruction executed");
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!((report.callback, report.frames.len()), ("proxy_on_configure", 1));
    let counters = loaded.filter.counters().snapshot();
    assert_eq!((counters.vms, counters.vms_started), (0, 0));
    let refused = std::sync::Mutex::new(None);
    let refused = std::sync::Arc::new(refused);
    let answer = std::sync::Arc::clone(&refused);
    loaded.filter.when_ready(Box::new(move |vm| *answer.lock().unwrap() = vm.err()));
    assert_eq!(*refused.lock().unwrap(), Some(Unavailable::Inactive));
}

#[test]
fn a_start_that_never_ends() {
    let body = module(r#"(func $endless (loop (br 0))) (start $endless)"#);
    let (settings, _) = Settings::parse("start_timeout: 50 ms", "settings".as_ref()).unwrap();
    let loaded = load_with(&body, "", settings);
    let reason = loaded.filter.inactive_reason().unwrap();
    assert_eq!(reason, "the module could not be instantiated: it used more than its 50 ms of CPU time");
}

#[test]
fn a_memory_over_the_limit() {
    let text = r#"(module (memory (export "memory") 100) (func (export "proxy_abi_version_0_2_1")))"#;
    let loaded = load(&wat::parse_str(text).unwrap(), "  limits: {memory: 1 MB}\n");
    let reason = loaded.filter.inactive_reason().unwrap();
    assert!(
        reason.starts_with("the module could not be instantiated: ") && reason.contains("memory"),
        "{reason}"
    );
}
