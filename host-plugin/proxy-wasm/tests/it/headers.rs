//! Header maps: status codes, encodings, pseudo-headers.

use crate::wat::probe;

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const BAD_ARGUMENT: i32 = 2;
const PARSE_FAILURE: i32 = 4;
const INVALID_MEMORY: i32 = 6;
const UNIMPLEMENTED: i32 = 12;

/// `(name, value)` of strings.
fn field(name: &str, value: &str) -> (String, String) {
    (name.to_string(), value.to_string())
}

#[test]
fn a_value_is_placed_where_the_guest_allocates() {
    let probe = probe(
        &[("Token", "7919"), ("empty", ""), ("twice", "a"), ("twice", "b")],
        r#"(data (i32.const 0x1000) "tokenemptytwiceabsent:path")"#,
        &[
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 5) (i32.const 0x100) (i32.const 0x104)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x1005) (i32.const 5) (i32.const 0x108) (i32.const 0x10c)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x100a) (i32.const 5) (i32.const 0x110) (i32.const 0x114)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x100f) (i32.const 6) (i32.const 0x118) (i32.const 0x11c)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x1015) (i32.const 5) (i32.const 0x120) (i32.const 0x124)",
        ],
    );
    assert_eq!(probe.statuses, [OK, OK, OK, NOT_FOUND, OK]);
    assert_eq!(probe.bytes(0x100, 0x104), b"7919");
    assert_eq!((probe.u32(0x108), probe.u32(0x10c)), (0, 0), "an empty value is a null pointer");
    assert_eq!(probe.bytes(0x110, 0x114), b"a,b");
    assert_eq!(probe.bytes(0x120, 0x124), b"/");
}

#[test]
fn maps_have_the_encoding_of_the_abi() {
    let probe = probe(
        &[("k", "vv"), ("empty", "")],
        "",
        &[
            "call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0x100) (i32.const 0x104)",
            "call $proxy_get_header_map_size (i32.const 0) (i32.const 0x108)",
        ],
    );
    assert_eq!(probe.statuses, [OK, OK]);
    let fields = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "here"),
        (":scheme", "http"),
        ("k", "vv"),
        ("empty", ""),
    ];
    let mut expected = 6u32.to_le_bytes().to_vec();
    for (name, value) in fields {
        expected.extend((name.len() as u32).to_le_bytes());
        expected.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in fields {
        expected.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    assert_eq!(probe.bytes(0x100, 0x104), expected);
    assert_eq!(probe.u32(0x108) as usize, expected.len());
}

#[test]
fn fields_are_added_replaced_and_removed() {
    let probe = probe(
        &[("old", "1"), ("gone", "1")],
        r#"(data (i32.const 0x1000) "oldnewgone2:path/elsewhere")"#,
        &[
            "call $proxy_replace_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 3) (i32.const 0x100a) (i32.const 1)",
            "call $proxy_replace_header_map_value (i32.const 0) (i32.const 0x1003) (i32.const 3) (i32.const 0x100a) (i32.const 1)",
            "call $proxy_add_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 3) (i32.const 0x1003) (i32.const 3)",
            "call $proxy_remove_header_map_value (i32.const 0) (i32.const 0x1006) (i32.const 4)",
            "call $proxy_remove_header_map_value (i32.const 0) (i32.const 0x1006) (i32.const 4)",
            "call $proxy_replace_header_map_value (i32.const 0) (i32.const 0x100b) (i32.const 5) (i32.const 0x1010) (i32.const 10)",
            "call $proxy_add_header_map_value (i32.const 2) (i32.const 0x1003) (i32.const 3) (i32.const 0) (i32.const 0)",
        ],
    );
    assert_eq!(probe.statuses, [OK; 7]);
    let maps = probe.request.maps.lock().unwrap();
    let expected = [
        field(":method", "GET"),
        field(":path", "/elsewhere"),
        field(":authority", "here"),
        field(":scheme", "http"),
        field("old", "2"),
        field("new", "2"),
        field("old", "new"),
    ];
    assert_eq!(maps.request, expected);
    assert_eq!(maps.response, [field(":status", "200"), field("new", "")]);
}

#[test]
fn a_whole_map_is_replaced() {
    let probe = probe(
        &[],
        r#"(data (i32.const 0x1000) "\01\00\00\00\01\00\00\00\02\00\00\00k\00vv\00")"#,
        &[
            "call $proxy_set_header_map_pairs (i32.const 0) (i32.const 0x1000) (i32.const 17)",
            "call $proxy_set_header_map_pairs (i32.const 2) (i32.const 0x1000) (i32.const 16)",
            "call $proxy_set_header_map_pairs (i32.const 2) (i32.const 0x1000) (i32.const 3)",
        ],
    );
    assert_eq!(probe.statuses, [OK, PARSE_FAILURE, PARSE_FAILURE]);
    let maps = probe.request.maps.lock().unwrap();
    assert_eq!(maps.request, [field("k", "vv")]);
    assert_eq!(maps.response, [field(":status", "200")], "a map that cannot be read changes nothing");
}

#[test]
fn maps_that_are_not_there() {
    let get = |map: u32| {
        format!("call $proxy_get_header_map_pairs (i32.const {map}) (i32.const 0x100) (i32.const 0x104)")
    };
    let calls: Vec<String> = (0..10).map(get).collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], "", &calls);
    assert_eq!(probe.statuses[..4], [OK, BAD_ARGUMENT, OK, BAD_ARGUMENT], "the proxy has no trailers");
    assert_eq!(probe.statuses[4..8], [UNIMPLEMENTED; 4]);
    assert_eq!(probe.statuses[8..], [BAD_ARGUMENT; 2]);
    let says = probe.loaded.proxy.text();
    assert_eq!(says.matches("header maps of gRPC calls are not implemented").count(), 1, "{says}");
    assert_eq!(says.matches("header maps of HTTP calls are not implemented").count(), 1, "{says}");
}

#[test]
fn pointers_out_of_memory_are_refused() {
    // The memory has two pages: 0x20000 is its end.
    let probe = probe(
        &[("k", "v")],
        r#"(data (i32.const 0x1000) "k")"#,
        &[
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x1ffff) (i32.const 2) (i32.const 0x100) (i32.const 0x104)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const -1) (i32.const -1) (i32.const 0x100) (i32.const 0x104)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 1) (i32.const 0x1fffd) (i32.const 0x104)",
            "call $proxy_get_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 1) (i32.const 0x100) (i32.const -4)",
            "call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0x1fffd) (i32.const 0x104)",
            "call $proxy_get_header_map_size (i32.const 0) (i32.const 0x1fffd)",
            "call $proxy_add_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 1) (i32.const 0x20000) (i32.const 1)",
            "call $proxy_remove_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 0x7fffffff)",
            "call $proxy_set_header_map_pairs (i32.const 0) (i32.const 0x1fff0) (i32.const 17)",
            "call $proxy_remove_header_map_value (i32.const 0) (i32.const 0x20000) (i32.const 0)",
        ],
    );
    assert_eq!(probe.statuses[..9], [INVALID_MEMORY; 9]);
    assert_eq!(probe.statuses[9], OK, "an empty range at the end of the memory is inside");
    assert!(probe.request.maps.lock().unwrap().request.contains(&field("k", "v")));
}

#[test]
fn the_memory_may_grow_while_the_guest_allocates() {
    // An allocator that moves the whole heap to a new page each time.
    let text = r#"(module
        (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0x1000) "tokenshown")
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "malloc") (param i32) (result i32)
            (i32.mul (memory.grow (i32.const 1)) (i32.const 0x10000)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $get (i32.const 0) (i32.const 0x1000) (i32.const 5) (i32.const 0x100) (i32.const 0x104)))
            (call $set (i32.const 0x1005) (i32.const 5) (i32.load (i32.const 0x100)) (i32.load (i32.const 0x104)))))"#;
    let loaded = crate::wat::load(&wat::parse_str(text).unwrap(), "");
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = crate::double::Request::new(1, &[("token", "7919")]);
    let (context, _) = vm.create_context(request.boxed());
    vm.call(context, wasmdbg_proxy_wasm::Callback::RequestHeaders { end_of_stream: false });
    assert_eq!(request.maps.lock().unwrap().properties, [("shown".to_string(), b"7919".to_vec())]);
}
