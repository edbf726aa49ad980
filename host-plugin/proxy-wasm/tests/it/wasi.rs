//! WASI preview 1 as guests use it.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmdbg_proxy_wasm::{Action, Callback, Level};

use crate::double::Request;
use crate::wat::{load, probe, start, tick};

const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOENT: i32 = 44;
const NOTSUP: i32 = 58;
const SPIPE: i32 = 70;

#[test]
fn lines_on_stdout_and_stderr_go_to_the_log() {
    let write = |fd: u32, vectors: u32, count: u32| {
        format!("call $fd_write (i32.const {fd}) (i32.const {vectors}) (i32.const {count}) (i32.const 0x100)")
    };
    let calls = [write(1, 0x1100, 2), write(2, 0x1108, 1), write(3, 0x1100, 1), write(1, 0x1110, 1)];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(
        &[],
        r#"(data (i32.const 0x1000) "one\nand tw") (data (i32.const 0x1010) "o\nrest")
        (data (i32.const 0x1100) "\00\10\00\00\0a\00\00\00\10\10\00\00\06\00\00\00\ff\ff\ff\ff\01\00\00\00")"#,
        &calls,
    );
    assert_eq!(probe.statuses, [0, 0, BADF, FAULT]);
    assert_eq!(probe.u32(0x100), 6);
    let line = |level, text: &str| (level, Some(1), text.to_string());
    assert_eq!(
        probe.loaded.proxy.lines(),
        [
            line(Level::Info, "one"),
            line(Level::Info, "and two"),
            line(Level::Error, "o"),
            // What is left of a line comes out when the callback ends.
            line(Level::Info, "rest"),
            line(Level::Error, "rest"),
        ]
    );
}

#[test]
fn a_panic_message_comes_before_the_trap() {
    let (loaded, mut vm) = start(
        r#"(data (i32.const 0x1000) "\08\10\00\00\06\00\00\00" "it was") (func (export "proxy_on_tick") (param i32)
        (drop (call $fd_write (i32.const 2) (i32.const 0x1000) (i32.const 1) (i32.const 0x100))) unreachable)"#,
    );
    assert_eq!(tick(&mut vm).action, Action::Failed);
    assert_eq!(loaded.proxy.lines().last().unwrap().2, "it was");
}

#[test]
fn the_environment_is_that_of_the_configuration() {
    let probe = probe(
        &[],
        "",
        &[
            "call $environ_sizes_get (i32.const 0x100) (i32.const 0x104)",
            "call $environ_get (i32.const 0x108) (i32.const 0x200)",
            "call $environ_get (i32.const 0x108) (i32.const 0x1fffc)",
            "call $args_sizes_get (i32.const 0x110) (i32.const 0x114)",
            "call $args_get (i32.const 0x118) (i32.const 0x11c)",
        ],
    );
    assert_eq!(probe.statuses, [0, 0, FAULT, 0, 0]);
    assert_eq!((probe.u32(0x100), probe.u32(0x104)), (2, 18));
    assert_eq!(probe.memory(0x200, 18), b"COLOUR=red\0SIZE=7\0");
    assert_eq!((probe.u32(0x108), probe.u32(0x10c)), (0x200, 0x20b));
    assert_eq!((probe.u32(0x110), probe.u32(0x114)), (0, 0));
}

#[test]
fn clocks_and_randomness() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let before = now();
    let probe = probe(
        &[],
        "",
        &[
            "call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0x100)",
            "call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0x108)",
            "call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0x110)",
            "call $clock_time_get (i32.const 3) (i64.const 0) (i32.const 0x118)",
            "call $clock_time_get (i32.const 4) (i64.const 0) (i32.const 0x118)",
            "call $random_get (i32.const 0x200) (i32.const 32)",
            "call $random_get (i32.const 0x220) (i32.const 32)",
            "call $random_get (i32.const 0x1ffff) (i32.const 2)",
            "call $sched_yield",
        ],
    );
    assert_eq!(probe.statuses, [0, 0, 0, 0, NOTSUP, 0, 0, FAULT, 0]);
    assert!((before..=now()).contains(&probe.u64(0x100)));
    assert!(probe.u64(0x108) <= probe.u64(0x110));
    assert!(probe.u64(0x118) > 0);
    assert_ne!(probe.memory(0x200, 32), probe.memory(0x220, 32));
}

#[test]
fn there_are_no_files() {
    let probe = probe(
        &[],
        "",
        &[
            "call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x100)",
            "call $fd_read (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0x100)",
            "call $fd_close (i32.const 1)",
            "call $fd_close (i32.const 3)",
            "call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0x100)",
            "call $fd_prestat_get (i32.const 3) (i32.const 0x100)",
            "call $fd_fdstat_get (i32.const 1) (i32.const 0x200)",
            "call $fd_fdstat_get (i32.const 3) (i32.const 0x200)",
            "call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)",
        ],
    );
    assert_eq!(probe.statuses, [0, BADF, 0, BADF, SPIPE, BADF, 0, BADF, NOENT]);
    assert_eq!(probe.u32(0x100), 0, "standard input is at its end");
    assert_eq!(probe.memory(0x200, 1), [2], "a character device");
}

#[test]
fn nothing_sleeps() {
    // Two subscriptions: a clock of one hour and the readability of a file.
    let probe = probe(
        &[],
        r#"(data (i32.const 0x1000) "\07\00\00\00\00\00\00\00\00")
        (data (i32.const 0x1030) "\08\00\00\00\00\00\00\00\01")"#,
        &[
            "call $poll_oneoff (i32.const 0x1000) (i32.const 0x200) (i32.const 2) (i32.const 0x100)",
            "call $poll_oneoff (i32.const 0x1000) (i32.const 0x200) (i32.const 0) (i32.const 0x100)",
        ],
    );
    assert_eq!(probe.statuses, [0, INVAL]);
    assert_eq!(probe.u32(0x100), 2);
    assert_eq!((probe.u64(0x200), probe.memory(0x208, 3)), (7, &[0, 0, 0][..]));
    assert_eq!((probe.u64(0x220), probe.memory(0x228, 3)), (8, &[52, 0, 1][..]));
}

#[test]
fn the_old_name_of_the_module_works_too() {
    let text = r#"(module
        (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0x1000) "\08\10\00\00\02\00\00\00" "hi")
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $write (i32.const 1) (i32.const 0x1000) (i32.const 1) (i32.const 0))))"#;
    let loaded = load(&wat::parse_str(text).unwrap(), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    let mut vm = loaded.filter.take_vm().unwrap();
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
    assert_eq!(outcome.action, Action::Continue);
    assert_eq!(loaded.proxy.text(), "hi\n");
}
