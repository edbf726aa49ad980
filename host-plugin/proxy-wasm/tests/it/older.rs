//! Modules of version 0.1.0 of the ABI, and what modules of later versions still import of it.

use wasmdbg_proxy_wasm::{Action, Callback, StreamType};

use crate::double::Request;
use crate::wat::{load, tick};

/// A filter of version 0.1.0 with the imports and functions of `body`.
fn oldest(body: &str) -> String {
    format!(
        r#"(module {body}
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_1_0"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0x2000)))"#
    )
}

const SET: &str = r#"(import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
    (data (i32.const 0x1000) "token")"#;

#[test]
fn its_header_callbacks_have_no_end_of_stream() {
    let text = oldest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            (i32.eq (local.get 1) (i32.const 5)))
        (func (export "proxy_on_response_headers") (param i32 i32) (result i32)
            (i32.eq (local.get 1) (i32.const 1)))"#,
    );
    let loaded = load(&wat::parse_str(text).unwrap(), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    assert!(loaded.filter.wants_request_headers() && loaded.filter.wants_response_headers());
    let mut vm = loaded.filter.take_vm().unwrap();
    let (context, _) = vm.create_context(Request::new(1, &[("token", "1")]).boxed());
    for end_of_stream in [false, true] {
        let callback = Callback::RequestHeaders { end_of_stream };
        assert_eq!(vm.call(context, callback).action, Action::Pause, "it sees how many there are");
    }
    let callback = Callback::ResponseHeaders { end_of_stream: true };
    assert_eq!(vm.call(context, callback).action, Action::Pause);
}

/// As some SDKs for it already have them.
#[test]
fn its_header_callbacks_may_have_one_nevertheless() {
    let text = oldest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local.get 2))"#,
    );
    let loaded = load(&wat::parse_str(text).unwrap(), "");
    let mut vm = loaded.filter.take_vm().unwrap();
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let call = |vm: &mut wasmdbg_proxy_wasm::FastVm, end_of_stream| {
        vm.call(context, Callback::RequestHeaders { end_of_stream }).action
    };
    assert_eq!((call(&mut vm, false), call(&mut vm, true)), (Action::Continue, Action::Pause));
}

/// Its SDKs panic at NOT_FOUND.
#[test]
fn a_field_that_is_absent_is_empty_there() {
    let text = oldest(&format!(
        r#"(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        {SET}
        (data (i32.const 0x100) "0123456789ab")
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            (i32.store (i32.const 0x108) (call $get (i32.const 0) (i32.const 0x1000) (i32.const 5) (i32.const 0x100) (i32.const 0x104)))
            (drop (call $set (i32.const 0x1000) (i32.const 5) (i32.const 0x100) (i32.const 12)))
            (i32.const 0))"#
    ));
    let loaded = load(&wat::parse_str(text).unwrap(), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = Request::new(1, &[]);
    let (context, _) = vm.create_context(request.boxed());
    vm.call(context, Callback::RequestHeaders { end_of_stream: false });
    assert_eq!(request.maps.lock().unwrap().properties, [("token".to_string(), vec![0; 12])]);
}

#[test]
fn a_configuration_is_that_of_its_callback() {
    let text = oldest(&format!(
        r#"(import "env" "proxy_get_configuration" (func $get (param i32 i32) (result i32)))
        {SET}
        (global $sizes (mut i32) (i32.const 0))
        (func $read
            (if (call $get (i32.const 0x100) (i32.const 0x104)) (then unreachable))
            (global.set $sizes (i32.add (i32.mul (global.get $sizes) (i32.const 100)) (i32.load (i32.const 0x104)))))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) call $read (i32.const 1))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) call $read (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
            call $read
            (i32.store (i32.const 0x200) (global.get $sizes))
            (drop (call $set (i32.const 0x1000) (i32.const 5) (i32.const 0x200) (i32.const 4)))
            (i32.const 0))"#
    ));
    let loaded = load(&wat::parse_str(text).unwrap(), "  configuration: four\n");
    assert_eq!(loaded.filter.inactive_reason(), None);
    let mut vm = loaded.filter.take_vm().unwrap();
    let request = Request::new(1, &[]);
    let (context, _) = vm.create_context(request.boxed());
    vm.call(context, Callback::RequestHeaders { end_of_stream: false });
    // `of the vm` when it started, and `four` when it was configured and later.
    let sizes = request.maps.lock().unwrap().properties.pop().unwrap().1;
    assert_eq!(u32::from_le_bytes(sizes.try_into().unwrap()), 9_04_04);
}

/// The specification says they return nothing, hosts and SDKs that they return a status.
#[test]
fn what_continues_a_stream_links_with_a_result_and_without() {
    for version in ["0_1_0", "0_2_1"] {
        for (ty, status) in [("", "(i32.const 7)"), ("(result i32)", "")] {
            let text = format!(
                r#"(module
                (import "env" "proxy_set_effective_context" (func $act_for (param i32) (result i32)))
                (import "env" "proxy_continue_request" (func $request {ty}))
                (import "env" "proxy_continue_response" (func $response {ty}))
                (import "env" "proxy_clear_route_cache" (func $clear {ty}))
                (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (data (i32.const 0x1000) "0123456789")
                (func (export "proxy_abi_version_{version}"))
                (func $say (param i32) (drop (call $log (i32.const 2) (i32.add (i32.const 0x1000) (local.get 0)) (i32.const 1))))
                (func (export "proxy_on_context_create") (param i32 i32))
                (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
                (func (export "proxy_on_tick") (param i32)
                    ;; The root context has no stream.
                    (call $say (block (result i32) (call $request) {status}))
                    (drop (call $act_for (i32.const 2)))
                    (call $say (block (result i32) (call $clear) {status}))
                    (call $say (block (result i32) (call $response) {status}))
                    (call $say (block (result i32) (call $request) {status}))))"#
            );
            let loaded = load(&wat::parse_str(text).unwrap(), "  http: true\n");
            assert_eq!(loaded.filter.inactive_reason(), None);
            let mut vm = loaded.filter.take_vm().unwrap();
            vm.create_context(Request::new(1, &[]).boxed());
            assert_eq!(tick(&mut vm).effects, [], "nothing is parked");
            let said = if ty.is_empty() { "7\n7\n7\n7\n" } else { "2\n0\n0\n0\n" };
            assert!(loaded.proxy.text().ends_with(said), "{}", loaded.proxy.text());
        }
    }
}

#[test]
fn a_parked_request_is_continued() {
    let text = oldest(
        r#"(import "env" "proxy_set_effective_context" (func $act_for (param i32) (result i32)))
        (import "env" "proxy_continue_request" (func $continue))
        (import "env" "proxy_continue_response" (func $response))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (drop (call $act_for (i32.const 2))) (call $response) (call $continue))"#,
    );
    let loaded = load(&wat::parse_str(text).unwrap(), "");
    let mut vm = loaded.filter.take_vm().unwrap();
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(context, Callback::RequestHeaders { end_of_stream: true }).action, Action::Pause);
    let effects = tick(&mut vm).effects;
    assert_eq!(effects.len(), 1);
    assert_eq!((effects[0].context, effects[0].stream), (context, Some(StreamType::Request)));
    assert_eq!(effects[0].action, Action::Continue);
}

#[test]
fn a_module_may_speak_several_versions() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_9_0")) (func (export "proxy_abi_version_0_1_0"))
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0)))"#;
    let loaded = load(&wat::parse_str(text).unwrap(), "");
    let reason = loaded.filter.inactive_reason().unwrap();
    assert!(reason.starts_with("export proxy_on_request_headers: "), "the newest counts: {reason}");
}
