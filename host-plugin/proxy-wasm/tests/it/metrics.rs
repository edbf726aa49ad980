//! Metrics of a filter through the ABI.

use wasmdbg_proxy_wasm::{Callback, FastVm, MetricKind};

use crate::double::Request;
use crate::wat::{load, module, probe};

#[test]
fn metrics_are_defined_counted_and_read() {
    let define = |kind: u32, size: u32, at: u32| {
        format!(
            "call $proxy_define_metric (i32.const {kind}) (i32.const 0x1000) (i32.const {size}) (i32.const {at})"
        )
    };
    let change = |name: &str, number: u32, value: i64| {
        format!("call $proxy_{name}_metric (i32.const {number}) (i64.const {value})")
    };
    let get = |number: u32, at: u32| format!("call $proxy_get_metric (i32.const {number}) (i32.const {at})");
    let calls = [
        (change("record", 0, 1), 1),
        (get(0, 0x200), 1),
        (define(0, 5, 0x100), 0),
        (define(0, 5, 0x104), 0),
        (define(1, 5, 0x108), 0),
        (define(2, 5, 0x10c), 0),
        (define(3, 5, 0x110), 2),
        (define(0, 5, 0x7fff_fff0), 6),
        (define(0, 0x7fff_ffff, 0x110), 6),
        (define(0, 0x1000, 0x110), 2),
        (change("increment", 0, 5), 0),
        (change("increment", 0, -1), 2),
        (change("record", 0, 2), 0),
        (change("record", 1, 9), 0),
        (change("increment", 1, -4), 0),
        (change("record", 2, 30), 0),
        (change("increment", 2, 1), 2),
        (change("increment", 3, 1), 1),
        (get(0, 0x200), 0),
        (get(1, 0x208), 0),
        (get(2, 0x210), 2),
        (get(0, 0x7fff_fff0), 6),
    ];
    let texts: Vec<&str> = calls.iter().map(|(text, _)| text.as_str()).collect();
    let probe = probe(&[], r#"(data (i32.const 0x1000) "count")"#, &texts);
    for ((call, status), seen) in calls.iter().zip(&probe.statuses) {
        assert_eq!(seen, status, "{call}");
    }
    let numbers: Vec<u32> = (0..4).map(|index| probe.u32(0x100 + 4 * index)).collect();
    assert_eq!(numbers, [0, 0, 1, 2]);
    assert_eq!((probe.u64(0x200), probe.u64(0x208)), (7, 5));
    let shown: Vec<_> = probe
        .loaded
        .filter
        .metrics(1)
        .iter()
        .map(|metric| (metric.kind(), metric.value(), metric.count()))
        .collect();
    assert_eq!(shown, [(MetricKind::Gauge, 5, 0), (MetricKind::Histogram, 30, 1)]);
}

/// Counts requests.
const COUNTING: &str = r#"(data (i32.const 0x1000) "count")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (call $proxy_define_metric (i32.const 0) (i32.const 0x1000) (i32.const 5) (i32.const 0x100)) (then unreachable))
        (if (call $proxy_increment_metric (i32.load (i32.const 0x100)) (i64.const 1)) (then unreachable))
        (i32.const 0))"#;

#[test]
fn all_virtual_machines_count_in_one_metric() {
    let loaded = load(&module(COUNTING), "");
    let machine = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        loaded.filter.when_ready(Box::new(move |made| sender.send(made).unwrap()));
        receiver.recv().unwrap().unwrap()
    };
    let count = |vm: &mut FastVm| {
        for request in 0..10_000 {
            let (context, _) = vm.create_context(Request::new(request, &[]).boxed());
            vm.call(context, Callback::RequestHeaders { end_of_stream: true });
            vm.end(context);
        }
    };
    std::thread::scope(|scope| {
        for mut vm in [machine(), machine()] {
            scope.spawn(move || count(&mut vm));
        }
    });
    let metrics = loaded.filter.metrics(0);
    assert_eq!((metrics.len(), metrics[0].name(), metrics[0].value()), (1, "count", 20_000));
}
