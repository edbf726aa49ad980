//! Filters without contexts of streams: how that is known, and what is never taken for one.

use wasmdbg_proxy_wasm::{Action, FastVm, Settings};

use crate::debug_stage::{Stage, filter};
use crate::double::{Loaded, Request};
use crate::wat::{load, load_with, module, tick};

/// Traps for each stream while `$refuses` is set; a tick takes it back.
const REFUSING: &str = r#"(global $accepts (mut i32) (i32.const 0))
    (func (export "proxy_on_context_create") (param i32 i32)
        (if (i32.and (i32.ne (local.get 1) (i32.const 0)) (i32.eqz (global.get $accepts))) (then unreachable)))
    (func (export "proxy_on_tick") (param i32) (global.set $accepts (i32.const 1)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;

fn start(body: &str, yaml: &str) -> Loaded {
    let loaded = load(&module(body), yaml);
    assert_eq!(loaded.filter.inactive_reason(), None);
    loaded
}

/// Asks a new virtual machine for the context of a stream, after `prepare`. Whether it has died of it.
fn refuses(loaded: &Loaded, prepare: impl Fn(&mut FastVm)) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    loaded.filter.when_ready(Box::new(move |made| sender.send(made).unwrap()));
    let mut vm = receiver.recv().unwrap().unwrap();
    prepare(&mut vm);
    let (_, outcome) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(outcome.action == Action::Failed, vm.is_dead());
    vm.is_dead()
}

fn said(loaded: &Loaded, text: &str) -> usize {
    loaded.proxy.text().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_root_context_that_refuses_its_first_streams_is_a_service() {
    let loaded = start(REFUSING, "");
    for _ in 0..3 {
        assert!(!loaded.filter.is_service() && loaded.filter.wants_request_headers());
        assert!(refuses(&loaded, |_| ()));
    }
    assert!(loaded.filter.is_service() && loaded.filter.info().service);
    assert!(!loaded.filter.wants_request_headers() && loaded.filter.runs_by_itself());
    assert_eq!(said(&loaded, "write http: false into its file if that is so, else http: true"), 1);
    // Somebody has a virtual machine for it, and no other.
    assert_eq!((loaded.filter.claim(), loaded.filter.claim()), (true, false));
    loaded.filter.give_up_claim();
    assert!(loaded.filter.claim());
}

#[test]
fn what_is_ready_for_a_filter_goes_when_it_is_a_service() {
    let loaded = start(REFUSING, "");
    while !loaded.filter.is_service() {
        assert!(refuses(&loaded, |_| ()));
    }
    loaded.filter.drop_spares();
    // One that is still being made finds nobody who wants it.
    let until = std::time::Instant::now() + crate::debug_stage::PATIENCE;
    while loaded.filter.counters().snapshot().vms > 0 {
        assert!(std::time::Instant::now() < until, "{:?}", loaded.filter.counters());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    loaded.filter.when_ready(Box::new(move |made| sender.send(made).unwrap()));
    let vm = receiver.recv().unwrap().unwrap();
    assert_eq!(loaded.filter.counters().snapshot().vms, 1);
    loaded.filter.return_vm(vm);
    assert_eq!(loaded.filter.counters().snapshot().vms, 0);
}

#[test]
fn a_filter_that_has_had_a_stream_is_none_whatever_it_refuses() {
    let loaded = start(REFUSING, "");
    assert!(refuses(&loaded, |_| ()) && refuses(&loaded, |_| ()));
    assert!(!refuses(&loaded, |vm| drop(tick(vm))));
    for _ in 0..5 {
        assert!(refuses(&loaded, |_| ()));
    }
    assert!(!loaded.filter.is_service());
    assert_eq!(said(&loaded, "http:"), 0);
}

#[test]
fn a_filter_that_must_run_is_refused_by_its_policy_and_says_what_to_write() {
    let loaded = start(REFUSING, "  fail_open: false\n");
    for _ in 0..5 {
        assert!(refuses(&loaded, |_| ()));
    }
    assert!(!loaded.filter.is_service() && !loaded.filter.info().service);
    assert_eq!(said(&loaded, "write http: false into its file"), 1, "{}", loaded.proxy.text());
    let level = |text: &str| loaded.proxy.lines().into_iter().find(|line| line.2.contains(text)).unwrap().0;
    assert_eq!(level("write http: false"), wasmdbg_proxy_wasm::Level::Error);
}

#[test]
fn what_its_file_says_counts() {
    let loaded = start(REFUSING, "  http: true\n");
    for _ in 0..5 {
        assert!(refuses(&loaded, |_| ()));
    }
    assert!(!loaded.filter.is_service());
    assert_eq!(said(&loaded, "http:"), 0);
    // Two virtual machines are ready for others.
    let loaded = start(REFUSING, "  http: false\n  fail_open: false\n");
    assert!(loaded.filter.is_service());
    assert_eq!(loaded.filter.counters().snapshot().vms_started, 1);
    assert!(loaded.filter.take_vm().is_some());
    assert_eq!(loaded.filter.counters().snapshot().vms_started, 1);
    assert_eq!(loaded.proxy.text(), "");
}

#[test]
fn a_limit_says_nothing_of_what_the_filter_is() {
    let body = r#"(func (export "proxy_on_context_create") (param i32 i32)
        (if (local.get 1) (then (loop $on (br $on)))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let (settings, _) = Settings::parse("limits: {cpu_per_callback: 1 ms}", "settings".as_ref()).unwrap();
    let loaded = load_with(&module(body), "", settings);
    for _ in 0..5 {
        assert!(refuses(&loaded, |_| ()));
    }
    assert!(!loaded.filter.is_service());
}

/// A module with these exports, that imports one function.
fn small(import: &str, exports: &[&str]) -> Vec<u8> {
    let function = |name: &&str| {
        let ty = match *name {
            "proxy_on_context_create" => "(param i32 i32)",
            "proxy_on_tick" | "proxy_on_log" | "proxy_on_queue_ready" => "(param i32)",
            _ => "(param i32 i32 i32) (result i32) (i32.const 0)",
        };
        format!("(func (export \"{name}\") {ty})")
    };
    let exports: String = exports.iter().map(function).collect();
    let text = format!(
        r#"(module {import} (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0)) {exports})"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn a_module_without_a_callback_for_streams_is_a_service() {
    let close = r#"(import "env" "proxy_close_stream" (func (param i32) (result i32)))"#;
    let log = r#"(import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))"#;
    let cases = [
        (log, &[][..], true),
        (log, &["proxy_on_tick", "proxy_on_context_create"], true),
        (close, &["proxy_on_tick"], true),
        // It can refuse streams as it creates their contexts.
        (close, &["proxy_on_tick", "proxy_on_context_create"], false),
        (log, &["proxy_on_tick", "proxy_on_request_headers"], false),
        // Called by this host or not.
        (log, &["proxy_on_tick", "proxy_on_downstream_data"], false),
        // A log of requests.
        (log, &["proxy_on_tick", "proxy_on_log"], false),
    ];
    for (import, exports, service) in cases {
        for (yaml, expected) in [("  fail_open: false\n", service), ("  http: true\n", false)] {
            let loaded = load(&small(import, exports), yaml);
            assert_eq!(loaded.filter.inactive_reason(), None);
            assert_eq!(loaded.filter.is_service(), expected, "{exports:?} {import}");
            assert_eq!(said(&loaded, "requests go on without it"), usize::from(expected));
        }
    }
}

/// Stops in its second tick, and counts.
const COUNTING: &str = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $tick (i32.const 5)))
        (i32.const 1))
    (func (export "proxy_on_tick") (param i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (if (i32.gt_u (global.get $count) (i32.const 1)) (then (drop (i32.const 8100)))))"#;

#[test]
fn a_debugger_stops_in_the_ticks_of_a_service_and_in_no_request() {
    let stage = Stage::new(&filter(COUNTING), "");
    assert!(stage.filters[0].is_service());
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8100)]);
    let stop = front.stopped();
    assert_eq!(stop.callback, "proxy_on_tick");
    assert!(stage.try_request(1, &[]).is_none(), "the rules take all requests");
    front.breakpoints(stage.module(), &[]);
    front.resume(stop.stop, wasmdbg_control::stop::ResumeMode::Continue);
    let counters = stage.filters[0].counters().snapshot();
    assert_eq!((counters.debug_contexts, counters.debug_missed, counters.contexts), (0, 0, 0));
}
