//! Shared data and queues: what virtual machines of one filter, of several filters and of both lanes have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use wasmdbg_control::stop::ResumeMode;
use wasmdbg_proxy_wasm::{Action, Callback, FastVm, Level, Settings};

use crate::debug_stage::{Stage, wait_for};
use crate::double::Request;
use crate::wat::{load, load_with, module, probe, text};

const NAMES: &str = r#"(data (i32.const 0x1000) "key") (data (i32.const 0x1010) "value") (data (i32.const 0x1020) "none")
    (data (i32.const 0x1030) "queue") (data (i32.const 0x1040) "vm")"#;

/// `$NAME(arguments)`.
fn call(name: &str, arguments: &[u32]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|number| format!("(i32.const {number})")).collect();
    format!("call ${name} {}", arguments.join(" "))
}

#[test]
fn shared_data_has_numbers() {
    let set = |cas| call("proxy_set_shared_data", &[0x1000, 3, 0x1010, 5, cas]);
    let get = |key, at| call("proxy_get_shared_data", &[key, 3, at, at + 4, at + 8]);
    let empty = call("proxy_set_shared_data", &[0x1000, 3, 0, 0, 0]);
    let calls = [
        get(0x1000, 0x100),
        set(7),
        get(0x1000, 0x110),
        set(2),
        set(1),
        get(0x1000, 0x120),
        empty,
        get(0x1000, 0x130),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], NAMES, &calls);
    assert_eq!(probe.statuses, [1, 0, 0, 8, 0, 0, 0, 0], "NOT_FOUND before, CAS_MISMATCH for another number");
    assert_eq!((probe.bytes(0x110, 0x114), probe.u32(0x118)), (b"value".as_slice(), 1));
    assert_eq!((probe.bytes(0x120, 0x124), probe.u32(0x128)), (b"value".as_slice(), 2));
    assert_eq!((probe.u32(0x130), probe.u32(0x134), probe.u32(0x138)), (0, 0, 3), "an empty value");
}

#[test]
fn what_leaves_the_guests_memory_changes_nothing() {
    const OUT: u32 = 0x7fff_fff0;
    let calls = [
        call("proxy_set_shared_data", &[OUT, 3, 0x1010, 5, 0]),
        call("proxy_set_shared_data", &[0x1000, 3, OUT, 5, 0]),
        call("proxy_set_shared_data", &[0x1000, 3, 0x1010, u32::MAX, 0]),
        call("proxy_get_shared_data", &[0x1000, 3, 0x100, 0x104, 0x108]),
        call("proxy_register_shared_queue", &[0x1030, 5, OUT]),
        call("proxy_register_shared_queue", &[OUT, 5, 0x110]),
        call("proxy_resolve_shared_queue", &[0x1040, 2, 0x1030, 5, 0x110]),
        call("proxy_register_shared_queue", &[0x1030, 5, 0x110]),
        call("proxy_enqueue_shared_queue", &[1, OUT, 5]),
        call("proxy_enqueue_shared_queue", &[1, 0x1010, 5]),
        call("proxy_dequeue_shared_queue", &[1, OUT, 0x124]),
        call("proxy_get_shared_data", &[0x1000, 3, 0x120, 0x124, OUT]),
        call("proxy_dequeue_shared_queue", &[1, 0x120, 0x124]),
        call("proxy_dequeue_shared_queue", &[1, 0x130, 0x134]),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], NAMES, &calls);
    assert_eq!(probe.statuses, [6, 6, 6, 1, 6, 6, 1, 0, 6, 0, 6, 1, 0, 7]);
    assert_eq!(probe.bytes(0x120, 0x124), b"value", "it was not lost when it could not be handed over");
}

#[test]
fn queues_are_found_by_the_name_of_a_virtual_machine() {
    let resolve =
        |size, name_size, at| call("proxy_resolve_shared_queue", &[0x1040, size, 0x1030, name_size, at]);
    let calls = [
        call("proxy_register_shared_queue", &[0x1030, 5, 0x100]),
        call("proxy_register_shared_queue", &[0x1030, 4, 0x104]),
        call("proxy_register_shared_queue", &[0x1030, 5, 0x108]),
        resolve(2, 5, 0x10c),
        resolve(0, 4, 0x110),
        resolve(1, 5, 0x114),
        resolve(2, 3, 0x114),
        call("proxy_enqueue_shared_queue", &[9, 0x1010, 5]),
        call("proxy_dequeue_shared_queue", &[0, 0x120, 0x124]),
    ];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let probe = probe(&[], NAMES, &calls);
    assert_eq!(probe.statuses, [0, 0, 0, 0, 0, 1, 1, 1, 1]);
    let numbers: Vec<u32> = (0..5).map(|index| probe.u32(0x100 + 4 * index)).collect();
    assert_eq!(numbers, [1, 2, 1, 1, 2]);
}

/// Registers a queue when it is configured; each request leaves a message in it, unless its map is empty, and each
/// message is logged. A message "trap" is fatal.
const WORKER: &str = r#"(data (i32.const 0x1000) "queue")
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $proxy_register_shared_queue (i32.const 0x1000) (i32.const 5) (i32.const 0x100))
        (i32.eqz))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $proxy_get_header_map_value (i32.const 0)
            (i32.const 0x1000) (i32.const 5) (i32.const 0x110) (i32.const 0x114)))
        (if (call $proxy_enqueue_shared_queue (i32.load (i32.const 0x100))
                (i32.load (i32.const 0x110)) (i32.load (i32.const 0x114)))
            (then unreachable))
        (i32.const 0))
    (func (export "proxy_on_queue_ready") (param $context i32) (param $queue i32) (local $status i32)
        (drop (i32.const 8000))
        (if (i32.ne (local.get $context) (i32.const 1)) (then unreachable))
        (if (i32.ne (local.get $queue) (i32.load (i32.const 0x100))) (then unreachable))
        (local.set $status (call $proxy_dequeue_shared_queue
            (local.get $queue) (i32.const 0x110) (i32.const 0x114)))
        (if (i32.eq (local.get $status) (i32.const 7)) (then return))
        (if (local.get $status) (then unreachable))
        (if (i32.eq (i32.load (i32.load (i32.const 0x110))) (i32.const 0x70617274)) (then unreachable))
        (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 0x110)) (i32.load (i32.const 0x114)))))"#;

/// A virtual machine on a thread of its own, and how often that was woken.
fn own(vm: &mut FastVm) -> Arc<AtomicUsize> {
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    vm.owned(move || _ = count.fetch_add(1, Ordering::SeqCst));
    woken
}

fn send(vm: &mut FastVm, message: &str) {
    let (context, _) = vm.create_context(Request::new(1, &[("queue", message)]).boxed());
    let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
    assert_eq!(outcome.action, Action::Continue);
    vm.end(context);
}

/// Has the thread of `vm` do what it has to do.
fn work(vm: &mut FastVm) {
    while vm.pass_time(Instant::now()).is_some() {}
}

#[test]
fn a_message_is_one_virtual_machines_and_another_ones_when_that_dies() {
    let loaded = load(&module(WORKER), "");
    assert_eq!(loaded.filter.inactive_reason(), None);
    assert!(loaded.filter.runs_by_itself(), "messages come without requests");
    let machine = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        loaded.filter.when_ready(Box::new(move |made| sender.send(made).unwrap()));
        receiver.recv().unwrap().unwrap()
    };
    let (mut one, mut two) = (machine(), machine());
    send(&mut one, "early");
    let one_woken = own(&mut one);
    assert_eq!((one_woken.load(Ordering::SeqCst), loaded.proxy.text().as_str()), (1, ""), "nobody was there");
    work(&mut one);
    assert_eq!(loaded.proxy.text(), "early\n");
    let two_woken = own(&mut two);
    // Both are there, and whoever registered last hears of it.
    for (from, message) in [(0, "one"), (1, "two"), (0, "three")] {
        send(if from == 0 { &mut one } else { &mut two }, message);
    }
    let woken = || one_woken.load(Ordering::SeqCst) - 1 + two_woken.load(Ordering::SeqCst);
    assert_eq!(woken(), 1, "one of them, once until it has looked");
    let (mut last, mut other) = if two_woken.load(Ordering::SeqCst) == 1 { (two, one) } else { (one, two) };
    work(&mut other);
    assert_eq!(loaded.proxy.text(), "early\n");
    work(&mut last);
    assert_eq!(loaded.proxy.text(), "early\none\ntwo\nthree\n");
    for message in ["trap", "four", "five"] {
        send(&mut last, message);
    }
    work(&mut last);
    assert!(last.is_dead());
    drop(last);
    work(&mut other);
    assert_eq!(loaded.proxy.text(), "early\none\ntwo\nthree\nfour\nfive\n");
    send(&mut other, "six");
    work(&mut other);
    assert!(loaded.proxy.text().ends_with("five\nsix\n"));
}

#[test]
fn what_is_shared_has_limits() {
    let (settings, _) =
        Settings::parse("limits: {shared_data: 1 KB, queue: 100}", "settings".as_ref()).unwrap();
    let set = call("proxy_set_shared_data", &[0x1000, 4, 0x1000, 0, 0]);
    let body = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $key i32)
            (drop (call $proxy_register_shared_queue (i32.const 0x1000) (i32.const 5) (i32.const 0x100)))
            (if (call $proxy_enqueue_shared_queue (i32.const 1) (i32.const 0x1000) (i32.const 30)) (then unreachable))
            (if (i32.ne (call $proxy_enqueue_shared_queue (i32.const 1) (i32.const 0x1000) (i32.const 30)) (i32.const 2))
                (then unreachable))
            (if (i32.ne (call $proxy_enqueue_shared_queue (i32.const 1) (i32.const 0x1000) (i32.const 200)) (i32.const 2))
                (then unreachable))
            (loop $next
                (i32.store (i32.const 0x1000) (local.get $key))
                (local.set $key (i32.add (local.get $key) (i32.const 1)))
                (br_if $next (i32.eqz ({set}))))
            (if (i32.ne (local.get $key) (i32.const 16)) (then unreachable))
            (i32.const 0))"#
    );
    let loaded = load_with(&module(&body), "", settings);
    let mut vm = loaded.filter.take_vm().unwrap();
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let outcome = vm.call(context, Callback::RequestHeaders { end_of_stream: true });
    assert_eq!(outcome.action, Action::Continue, "{:?}", loaded.traps.try_recv());
    assert_eq!(loaded.filter.counters().snapshot().shared_refused, 3);
    let warned = |text: &str| {
        let lines = loaded.proxy.lines().into_iter();
        lines.filter(|(level, _, line)| *level == Level::Warn && line.contains(text)).count()
    };
    assert_eq!(
        (warned("limits.shared_data allows 1024 bytes"), warned("limits.queue allows 100 bytes")),
        (1, 1)
    );
}

#[test]
fn a_debugger_stops_where_a_message_arrives_and_holds_up_no_other() {
    let stage = Stage::new(&text(WORKER), "");
    let mut fast = stage.filters[0].take_vm().unwrap();
    let woken = own(&mut fast);
    let front = stage.attached();
    front.wait_status("a slot", |status| status.slots.len() == 1);
    front.breakpoints(stage.module(), &[stage.pc(8000)]);
    send(&mut fast, "seen");
    let stop = front.stopped();
    assert_eq!(stop.callback, "proxy_on_queue_ready");
    let messages = || -> Vec<String> {
        let log = stage.log();
        log.lines().filter(|line| !line.starts_with("audit:")).map(str::to_owned).collect()
    };
    assert!(messages().is_empty());
    send(&mut fast, "beside");
    assert_eq!(woken.load(Ordering::SeqCst), 1, "a thread that serves");
    work(&mut fast);
    assert_eq!(messages(), ["seen"], "whoever is there takes the first one");
    front.breakpoints(stage.module(), &[]);
    front.resume(stop.stop, ResumeMode::Continue);
    wait_for("the other message", || (messages() == ["seen", "beside"]).then_some(()));
}
