//! Buffers, properties, log, time, tick, and what is not there yet.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmdbg_proxy_wasm::{Action, Level};

use crate::double::Request;
use crate::wat::{load, module, probe, probe_of, start, tick};

#[test]
fn configurations_are_buffers() {
    let get = |id: u32, start: i64, size: i64, to: u32| {
        format!(
            "call $proxy_get_buffer_bytes (i32.const {id}) (i32.const {start}) (i32.const {size}) (i32.const {to}) (i32.const {})",
            to + 4
        )
    };
    let calls = [
        get(6, 0, 1000, 0x100),
        get(6, 3, 3, 0x108),
        get(6, 100, 3, 0x110),
        get(6, 0xffff_ffff, 1, 0x118),
        get(7, 0, 1000, 0x120),
        get(0, 0, 1, 0x128),
        get(9, 0, 1, 0x130),
        "call $proxy_get_buffer_status (i32.const 6) (i32.const 0x200) (i32.const 0x204)".to_string(),
        "call $proxy_get_buffer_status (i32.const 9) (i32.const 0x200) (i32.const 0x204)".to_string(),
        "call $proxy_get_buffer_status (i32.const 6) (i32.const -2) (i32.const 0x204)".to_string(),
        "call $proxy_set_buffer_bytes (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"
            .to_string(),
        "call $proxy_set_buffer_bytes (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"
            .to_string(),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], "", &calls);
    assert_eq!(probe.statuses, [0, 0, 0, 2, 0, 1, 2, 0, 2, 6, 2, 1]);
    let says = probe.loaded.proxy.text();
    let line = "buffers of HTTP bodies are not implemented, the filter gets NOT_FOUND\n";
    assert_eq!(says.matches(line).count(), 1, "{says}");
    assert_eq!(probe.bytes(0x100, 0x104), b"of the vm");
    assert_eq!(probe.bytes(0x108, 0x10c), b"the");
    assert_eq!(probe.u32(0x114), 0, "behind the end there is nothing");
    assert_eq!(probe.u32(0x124), 0, "no configuration is an empty one");
    assert_eq!(probe.u32(0x200), 9);
}

#[test]
fn a_buffer_that_is_lent_is_read_and_changed_where_the_guest_says() {
    let get = |id: u32, start: i64, size: i64, to: u32| {
        format!(
            "call $proxy_get_buffer_bytes (i32.const {id}) (i32.const {start}) (i32.const {size}) (i32.const {to}) (i32.const {})",
            to + 4
        )
    };
    let set = |id: u32, start: i64, size: i64, value_at: i64, value_size: u32| {
        format!(
            "call $proxy_set_buffer_bytes (i32.const {id}) (i32.const {start}) (i32.const {size}) (i32.const {value_at}) (i32.const {value_size})"
        )
    };
    let calls = [
        get(0, 2, 3, 0x100),
        get(0, 7, 100, 0x108),
        get(0, 10, 1, 0x110),
        get(0, 0xffff_ffff, 1, 0x118),
        "call $proxy_get_buffer_status (i32.const 0) (i32.const 0x200) (i32.const 0x204)".to_string(),
        set(0, 2, 3, 0x1000, 1),
        get(0, 0, 100, 0x120),
        set(0, 0, 0, 0x1000, 3),
        set(0, 100, 5, 0x1001, 2),
        get(0, 0, 100, 0x128),
        set(0, 0xffff_ffff, 1, 0x1000, 3),
        set(0, 0, 0, -1, 1),
        set(0, 0, 0xffff_ffff, 0, 0),
        get(1, 0, 1, 0x130),
        set(1, 0, 0, 0x1000, 1),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let request = Request::new(1, &[]);
    request.maps.lock().unwrap().body = Some(b"0123456789".to_vec());
    let probe = probe_of(request, r#"(data (i32.const 0x1000) "abc")"#, &calls);
    assert_eq!(probe.statuses, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2, 6, 0, 1, 1]);
    assert_eq!(probe.bytes(0x100, 0x104), b"234");
    assert_eq!(probe.bytes(0x108, 0x10c), b"789", "as much as there is");
    assert_eq!(probe.u32(0x114), 0, "behind the end there is nothing");
    assert_eq!(probe.u32(0x200), 10);
    assert_eq!(probe.bytes(0x120, 0x124), b"01a56789");
    assert_eq!(probe.bytes(0x128, 0x12c), b"abc01a56789bc", "before it and behind it");
    assert_eq!(probe.request.maps.lock().unwrap().body.as_deref(), Some(&b""[..]));
    assert_eq!(probe.loaded.proxy.text(), "", "a body that is not there now is nothing that is missing");
}

#[test]
fn properties_of_the_filter_and_of_the_transaction() {
    let get = |at: u32, size: u32, to: u32| {
        format!(
            "call $proxy_get_property (i32.const {at}) (i32.const {size}) (i32.const {to}) (i32.const {})",
            to + 4
        )
    };
    let calls = [
        get(0x1000, 11, 0x100),
        get(0x1010, 14, 0x108),
        get(0x1020, 12, 0x110),
        get(0x1030, 12, 0x118),
        "call $proxy_set_property (i32.const 0x1030) (i32.const 12) (i32.const 0x1000) (i32.const 6)"
            .to_string(),
        get(0x1030, 12, 0x118),
        get(0x1030, 13, 0x120),
        "call $proxy_set_property (i32.const 0x1040) (i32.const 10) (i32.const 0x1000) (i32.const 6)"
            .to_string(),
        get(0x1030, 0x7fff_ffff, 0x128),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(
        &[],
        r#"(data (i32.const 0x1000) "plugin_name") (data (i32.const 0x1010) "plugin_root_id")
        (data (i32.const 0x1020) "plugin_vm_id") (data (i32.const 0x1030) "request\00path\00")
        (data (i32.const 0x1040) "source\00xyz")"#,
        &calls,
    );
    assert_eq!(probe.statuses, [0, 0, 0, 1, 0, 0, 0, 1, 6]);
    assert_eq!(probe.bytes(0x100, 0x104), b"probe");
    assert_eq!(probe.bytes(0x108, 0x10c), b"root");
    assert_eq!(probe.bytes(0x110, 0x114), b"vm");
    assert_eq!(probe.bytes(0x118, 0x11c), b"plugin");
    assert_eq!(probe.bytes(0x120, 0x124), b"plugin", "a path may end in a NUL");
    assert_eq!(
        probe.request.maps.lock().unwrap().properties,
        [("request.path".to_string(), b"plugin".to_vec())]
    );
}

#[test]
fn log_lines_carry_level_and_transaction() {
    let calls: Vec<String> = (0..7)
        .map(|level| format!("call $proxy_log (i32.const {level}) (i32.const 0x1000) (i32.const 5)"))
        .chain(["call $proxy_log (i32.const 0) (i32.const -1) (i32.const 5)".to_string()])
        .chain(["call $proxy_get_log_level (i32.const 0x100)".to_string()])
        .collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], r#"(data (i32.const 0x1000) "h\ffllo")"#, &calls);
    assert_eq!(probe.statuses, [0, 0, 0, 0, 0, 0, 2, 6, 0]);
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical];
    let expected = levels.map(|level| (level, Some(1), "h\u{fffd}llo".to_string()));
    assert_eq!(probe.loaded.proxy.lines(), expected);
    assert_eq!(probe.u32(0x100), Level::Info as u32);
}

#[test]
fn the_time_is_that_of_the_machine() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let before = now();
    let probe = probe(
        &[],
        "",
        &[
            "call $proxy_get_current_time_nanoseconds (i32.const 0x100)",
            "call $proxy_get_current_time_nanoseconds (i32.const 0x1fffc)",
        ],
    );
    assert_eq!(probe.statuses, [0, 6]);
    assert!((before..=now()).contains(&probe.u64(0x100)));
}

#[test]
fn a_tick_period_is_set_and_taken_back() {
    let (_loaded, mut vm) = start(
        r#"(global $left (mut i32) (i32.const 2))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.eqz (call $proxy_set_tick_period_milliseconds (i32.const 250))))
        (func (export "proxy_on_tick") (param i32)
            (global.set $left (i32.sub (global.get $left) (i32.const 1)))
            (if (i32.eqz (global.get $left))
                (then (drop (call $proxy_set_tick_period_milliseconds (i32.const 0))))))"#,
    );
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(250)));
    tick(&mut vm);
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(250)));
    tick(&mut vm);
    assert_eq!(vm.tick_period(), None);
}

#[test]
fn what_is_not_there_says_so_once() {
    let names = [
        ("proxy_http_call", 10),
        ("proxy_grpc_call", 12),
        ("proxy_grpc_stream", 9),
        ("proxy_grpc_send", 4),
        ("proxy_grpc_cancel", 1),
        ("proxy_grpc_close", 1),
    ];
    let mut calls: Vec<String> = names
        .iter()
        .map(|(name, count)| format!("call ${name}{}", " (i32.const 0)".repeat(*count)))
        .collect();
    calls.push(calls[0].clone());
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], "", &calls);
    assert_eq!(probe.statuses, [12; 7]);
    let says = probe.loaded.proxy.text();
    for (name, _) in names {
        let line = format!("{name} is not implemented, the filter gets UNIMPLEMENTED\n");
        assert_eq!(says.matches(&line).count(), 1, "{name} in {says}");
    }
    assert_eq!(probe.outcome.action, Action::Continue, "nothing aborts");
}

#[test]
fn foreign_functions_are_those_of_the_hosts_registry() {
    let call = |name_at: u32, name_size: u32, at: i64, size: u32, to: i64| {
        format!(
            "call $proxy_call_foreign_function (i32.const {name_at}) (i32.const {name_size}) (i32.const {at}) (i32.const {size}) (i32.const {to}) (i32.const {})",
            to + 4
        )
    };
    let calls = [
        call(0x1000, 7, 0x1000, 3, 0x100),
        call(0x1000, 7, 0x1000, 0, 0x108),
        call(0x1000, 6, 0x1000, 3, 0x110),
        call(0x1000, 0, 0, 0, 0x110),
        call(0x1010, 6, 0x1000, 1, 0x110),
        call(0x1020, 17, 0, 0, 0x118),
        call(0x1000, 7, -1, 3, 0x110),
        call(0x1000, 7, 0x1000, 3, 0x1fffd),
        call(0x1fffe, 7, 0x1000, 3, 0x110),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let names = r#"(data (i32.const 0x1000) "reverse") (data (i32.const 0x1010) "refuse")
        (data (i32.const 0x1020) "clear_route_cache") (data (i32.const 0x110) "01234567")"#;
    let probe = probe(&[], names, &calls);
    assert_eq!(probe.statuses, [0, 0, 1, 1, 7, 0, 6, 6, 6]);
    assert_eq!(probe.bytes(0x100, 0x104), b"ver");
    assert_eq!((probe.u32(0x108), probe.u32(0x10c)), (0, 0), "an empty result is a null pointer");
    assert_eq!(probe.memory(0x110, 8), b"01234567", "without a result nothing is written");
    let line = "the filter calls a foreign function that this host does not have, and gets NOT_FOUND\n";
    assert_eq!(probe.loaded.proxy.text(), line, "once");
}

#[test]
fn a_property_of_a_name_of_ones_own_is_left_for_others() {
    let get = |at: u32, size: u32, to: u32| {
        format!(
            "call $proxy_get_property (i32.const {at}) (i32.const {size}) (i32.const {to}) (i32.const {})",
            to + 4
        )
    };
    let set = |at: u32, size: u32, value: u32| {
        format!(
            "call $proxy_set_property (i32.const {at}) (i32.const {size}) (i32.const 0x1100) (i32.const {value})"
        )
    };
    let calls = [
        get(0x1000, 5, 0x100),
        set(0x1000, 5, 3),
        get(0x1000, 5, 0x100),
        get(0x1000, 6, 0x108),
        get(0x1000, 3, 0x110),
        set(0x1000, 6, 4),
        get(0x1000, 5, 0x118),
        set(0x1000, 3, 0),
        get(0x1000, 3, 0x120),
        set(0x1010, 10, 3),
        set(0x1000, 0, 3),
        get(0x1000, 0, 0x128),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let names = r#"(data (i32.const 0x1000) "own\00a\00") (data (i32.const 0x1010) "source\00own")
        (data (i32.const 0x1100) "1234")"#;
    let probe = probe(&[], names, &calls);
    assert_eq!(probe.statuses, [1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1]);
    assert_eq!((probe.bytes(0x100, 0x104), probe.bytes(0x108, 0x10c)), (&b"123"[..], &b"123"[..]));
    assert_eq!(probe.bytes(0x118, 0x11c), b"1234", "a path may end in a NUL");
    assert_eq!(probe.bytes(0x120, 0x124), b"", "it is there and empty");
    // Another filter, with a context of its own in the same transaction.
    let other = probe_of(probe.request.clone(), names, &[&get(0x1000, 5, 0x100)]);
    assert_eq!((other.statuses[0], other.bytes(0x100, 0x104)), (0, &b"1234"[..]));
}

#[test]
fn the_node_is_described_by_nothing_and_maps_are_properties_too() {
    let get = |at: u32, size: u32, to: u32| {
        format!(
            "call $proxy_get_property (i32.const {at}) (i32.const {size}) (i32.const {to}) (i32.const {})",
            to + 4
        )
    };
    let calls = [
        get(0x1000, 4, 0x100),
        get(0x1010, 15, 0x108),
        get(0x1020, 16, 0x110),
        "call $proxy_get_header_map_pairs (i32.const 2) (i32.const 0x118) (i32.const 0x11c)".to_string(),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let names = r#"(data (i32.const 0x1000) "node") (data (i32.const 0x1010) "request\00headers")
        (data (i32.const 0x1020) "response\00headers")"#;
    let probe = probe(&[("k", "v")], names, &calls);
    assert_eq!(probe.statuses, [0; 4]);
    assert_eq!(probe.bytes(0x100, 0x104), b"");
    let request = probe.bytes(0x108, 0x10c);
    assert!(request.starts_with(b"\x05\0\0\0") && request.ends_with(b"k\0v\0"), "{request:?}");
    assert_eq!(probe.bytes(0x110, 0x114), probe.bytes(0x118, 0x11c));
}

#[test]
fn before_the_first_reply_of_a_call_its_status_is_empty() {
    let status = |code_at: i32, size_at: i32| {
        format!("call $proxy_get_status (i32.const {code_at}) (i32.const 0x104) (i32.const {size_at})")
    };
    let calls = [status(0x100, 0x108), status(-2, 0x108), status(0x100, -2)];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let garbage = r#"(data (i32.const 0x100) "0123456789ab")"#;
    let probe = probe(&[], garbage, &calls);
    assert_eq!(probe.statuses, [0, 6, 6]);
    assert_eq!((probe.u32(0x100), probe.bytes(0x104, 0x108)), (0, &b""[..]));
    assert_eq!(probe.loaded.proxy.text(), "", "nothing is said to be missing");
}

#[test]
fn capabilities_restrict_functions_and_callbacks() {
    let body = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (if (i32.ne (call $proxy_set_tick_period_milliseconds (i32.const 5)) (i32.const 10)) (then unreachable))
            (if (i32.ne (call $sched_yield) (i32.const 76)) (then unreachable))
            (i32.eqz (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 0))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)"#;
    let yaml = "  capability_restriction_config: {allowed_capabilities: [proxy_log, proxy_on_configure]}\n";
    let loaded = load(&module(body), yaml);
    assert_eq!(loaded.filter.inactive_reason(), None);
    assert!(!loaded.filter.wants_request_headers());
    assert_eq!(loaded.filter.take_vm().unwrap().tick_period(), None);
    let says = loaded.proxy.text();
    assert!(says.contains("sched_yield is not among the filter's allowed_capabilities"), "{says}");
}

#[test]
fn emscripten_imports() {
    let probe = probe(
        &[],
        "",
        &[
            "call $pthread_equal (i32.const 3) (i32.const 3)",
            "call $pthread_equal (i32.const 3) (i32.const 4)",
            "block (result i32) (call $emscripten_notify_memory_growth (i32.const 0)) (i32.const 9)",
        ],
    );
    assert_eq!(probe.statuses, [1, 0, 9]);
}
