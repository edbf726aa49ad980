//! What a guest may make its host do in one call, in one callback, and in all: time, log, header maps.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use wasmdbg_proxy_wasm::{Action, Callback, EpochThread, FastVm, Level, Settings, TrapKind};

use crate::debug_stage::PATIENCE;
use crate::double::{Loaded, Request};
use crate::wat::{load, load_with, module};

const REQUEST: Callback = Callback::RequestHeaders { end_of_stream: true };

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn under(limits: &str, body: &str) -> (Loaded, FastVm) {
    let (settings, warnings) =
        Settings::parse(&format!("limits: {{{limits}}}"), "settings".as_ref()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let loaded = load_with(&module(body), "", settings);
    assert_eq!(loaded.filter.inactive_reason(), None);
    let vm = loaded.filter.take_vm().unwrap();
    (loaded, vm)
}

/// A filter whose request callback does `act`.
fn acting(act: &str) -> String {
    format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $i i32)
            {act} (i32.const 0))"#
    )
}

/// `count` times `act`, which finds the number of the round in `$i`.
fn repeated(count: u32, act: &str) -> String {
    format!(
        "(local.set $i (i32.const 0))
        (loop {act} (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const {count}))))"
    )
}

#[test]
fn a_callback_ends_when_its_cpu_time_is_used_up() {
    let (loaded, mut vm) = under("cpu_per_callback: 200 ms", &acting("(loop (br 0))"));
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let before = thread_cpu();
    assert_eq!(vm.call(context, REQUEST).action, Action::Failed);
    let used = thread_cpu() - before;
    assert_eq!(loaded.traps.try_recv().unwrap().kind, TrapKind::Cpu);
    // Nothing else has run on this thread. A machine that gives the ticker no processor adds to it.
    assert!(used >= Duration::from_millis(200) && used < Duration::from_secs(1), "{used:?}");
}

/// When no guest has run for a while.
fn once_epochs_stand_still(loaded: &Loaded) -> EpochThread {
    let until = Instant::now() + PATIENCE;
    loop {
        let thread = loaded.runtime.epoch_thread();
        if thread.sleeps {
            return thread;
        }
        assert!(Instant::now() < until, "{thread:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn nothing_wakes_up_while_no_guest_runs() {
    let (idle, _vm) = under("memory: 256 MB", &acting(""));
    let asleep = once_epochs_stand_still(&idle);
    // The epochs of a filter that is busy are the clock.
    let (busy, mut vm) = under("memory: 256 MB", &acting(""));
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let begin = busy.runtime.epoch_thread().wakes;
    let until = Instant::now() + PATIENCE;
    while busy.runtime.epoch_thread().wakes < begin + 20 {
        assert!(Instant::now() < until, "no epoch passes");
        assert_eq!(vm.call(context, REQUEST).action, Action::Continue);
    }
    assert_eq!(idle.runtime.epoch_thread(), asleep);
}

#[test]
fn an_endless_loop_ends_after_epochs_stood_still_and_they_do_again() {
    // Longer than it takes until they stand still when nobody enters a guest.
    let (loaded, mut vm) = under("cpu_per_callback: 300 ms", &acting("(loop (br 0))"));
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    once_epochs_stand_still(&loaded);
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(vm.call(context, REQUEST).action));
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Action::Failed), "it is not stopped");
    assert_eq!(loaded.traps.try_recv().unwrap().kind, TrapKind::Cpu);
    once_epochs_stand_still(&loaded);
}

#[test]
fn adding_to_many_fields_is_work() {
    let fields: Vec<(String, String)> = (0..600).map(|number| (format!("x-{number}"), "1".into())).collect();
    let headers: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    // No loop and no call between them where the guest would look at an epoch.
    let add = "(drop (call $proxy_add_header_map_value (i32.const 0)
        (i32.const 0x1000) (i32.const 1) (i32.const 0x20000) (i32.const 0x80000)))";
    let data = r#"(data (i32.const 0x1000) "k")"#;
    let fill = "(drop (memory.grow (i32.const 16)))
        (memory.fill (i32.const 0x20000) (i32.const 97) (i32.const 0x80000))";
    let body = acting(&format!("{fill} {}", add.repeat(40))) + data;
    let limits = "cpu_per_callback: 1 ms, map_bytes: 1 GB";
    for (headers, action) in [(&headers[..], Action::Failed), (&[], Action::Continue)] {
        let (_loaded, mut vm) = under(limits, &body);
        let (context, _) = vm.create_context(Request::new(1, headers).boxed());
        assert_eq!(vm.call(context, REQUEST).action, action, "{} fields", headers.len());
    }
}

#[test]
fn a_long_host_call_ends_when_the_cpu_time_is_used_up() {
    // 64 MB of random bytes take much longer than the budget, and the one call is all of the callback.
    let act = "(drop (memory.grow (i32.const 1024)))
        (drop (call $random_get (i32.const 0x20000) (i32.const 0x4000000)))";
    let (loaded, mut vm) = under("cpu_per_callback: 5 ms", &acting(act));
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Failed);
    let report = loaded.traps.try_recv().unwrap();
    assert_eq!((report.kind, report.frames.len()), (TrapKind::Cpu, 1), "{report:?}");
}

#[test]
fn a_callback_logs_so_many_lines_and_bytes_and_the_rest_is_counted() {
    let flood = repeated(20_000, "(drop (call $proxy_log (i32.const 2) (i32.const 0x1000) (i32.const 10)))");
    // 2,000 buffers of 64 KB, all of them the same lines of one byte.
    let buffers = format!(
        "{} {} (drop (call $fd_write (i32.const 1) (i32.const 0x14000) (i32.const 2000) (i32.const 0x100)))",
        repeated(
            16_384,
            "(i32.store (i32.add (i32.const 0x2000) (i32.mul (local.get $i) (i32.const 4))) (i32.const 0x0a610a61))"
        ),
        repeated(
            2_000,
            "(i64.store (i32.add (i32.const 0x14000) (i32.mul (local.get $i) (i32.const 8)))
                (i64.const 0x1000000002000))"
        ),
    );
    let data = r#"(data (i32.const 0x1000) "a\nb\nc\nd\ne\n")"#;
    for (act, limits, lines, left_out) in [
        // Two of the second five lines, and nothing of the others.
        (&flood, "log_lines: 7", 7, 3 + 19_998 * 10),
        (&flood, "log_bytes: 25", 13, 200_000 - 25),
        (&buffers, "log_lines: 5000", 5_000, 27_768 + 1_999 * 65_536),
    ] {
        let (loaded, mut vm) = under(limits, &(acting(act) + data));
        let (context, _) = vm.create_context(Request::new(9, &[]).boxed());
        let before = thread_cpu();
        assert_eq!(vm.call(context, REQUEST).action, Action::Continue, "{:?}", loaded.traps.try_recv());
        let used = thread_cpu() - before;
        println!("{limits}: {used:?} of CPU time");
        let mut log = loaded.proxy.lines();
        let (level, transaction, said) = log.pop().unwrap();
        assert_eq!((log.len(), level, transaction), (lines, Level::Warn, Some(9)), "{limits}: {said}");
        let start =
            format!("{left_out} bytes that this callback logged are not in the log: limits.log_bytes allows");
        assert!(said.starts_with(&start), "{limits}: {said}");
        assert_eq!(loaded.filter.counters().snapshot().log_left_out, left_out);
        // The next callback has its own allowance.
        let (context, _) = vm.create_context(Request::new(10, &[]).boxed());
        vm.call(context, REQUEST);
        assert_eq!(loaded.proxy.lines().len(), 2 * (lines + 1), "{limits}");
    }
}

#[test]
fn all_virtual_machines_of_a_filter_share_a_rate() {
    let act = repeated(20, "(drop (call $proxy_log (i32.const 2) (i32.const 0x1000) (i32.const 100)))");
    let data = format!("(data (i32.const 0x1000) \"{}\")", "x".repeat(100));
    let (loaded, vm) = under("log_rate: 10 KB", &(acting(&act) + &data));
    let mut vms = [vm, loaded.filter.take_vm().unwrap()];
    let before = std::time::Instant::now();
    // 2,000 lines of 180 bytes with what a line takes: 360 KB.
    for number in 0..100 {
        let vm = &mut vms[number % 2];
        let (context, _) = vm.create_context(Request::new(number as u64, &[]).boxed());
        vm.call(context, REQUEST);
    }
    let log = loaded.proxy.lines();
    let lines = log.iter().filter(|(level, ..)| *level == Level::Info).count() as u64;
    // Four seconds' worth, and what the time of the test adds.
    let most = (5 + before.elapsed().as_secs()) * 10_240 / 180;
    assert!(lines >= 227 && lines <= most, "{lines} of at most {most}");
    assert_eq!(loaded.filter.counters().snapshot().log_left_out, (2_000 - lines) * 100);
}

#[test]
fn traps_are_counted_and_not_all_reported() {
    let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)"#;
    let (loaded, first) = under("log_rate: 1 KB", body);
    let mut vm = first;
    for number in 0..100 {
        let (context, _) = vm.create_context(Request::new(number, &[]).boxed());
        assert_eq!(vm.call(context, REQUEST).action, Action::Failed);
        let (sender, made) = std::sync::mpsc::channel();
        loaded.filter.when_ready(Box::new(move |vm| _ = sender.send(vm)));
        vm = made.recv_timeout(crate::debug_stage::PATIENCE).unwrap().unwrap();
    }
    assert_eq!(loaded.filter.counters().snapshot().traps, 100);
    let reported = loaded.traps.try_iter().count();
    assert!((10..60).contains(&reported), "{reported} of 100 traps");
}

/// Serialized pairs `n: v`, so many of them, as a data segment at 0x2000; and their size.
fn pairs(count: u32, value: usize) -> (String, usize) {
    let mut bytes = count.to_le_bytes().to_vec();
    for _ in 0..count {
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend((value as u32).to_le_bytes());
    }
    for _ in 0..count {
        bytes.extend(b"n\0");
        bytes.extend(std::iter::repeat_n(b'v', value));
        bytes.push(0);
    }
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    (format!("(data (i32.const 0x2000) \"{text}\")"), bytes.len())
}

/// Runs calls that leave a status, and returns the statuses.
fn statuses(limits: &str, request: &Request, data: &str, calls: &[&str]) -> (Loaded, Vec<u8>) {
    let mut act = String::new();
    for (index, call) in calls.iter().enumerate() {
        act += &format!("(i32.store8 (i32.const {}) ({call}))\n", 0x800 + index);
    }
    act += &format!(
        "(drop (call $proxy_set_property (i32.const 0x700) (i32.const 1) (i32.const 0x800) (i32.const {})))",
        calls.len()
    );
    let (loaded, mut vm) = under(limits, &(acting(&act) + data + r#"(data (i32.const 0x700) "s")"#));
    let (context, _) = vm.create_context(request.boxed());
    assert_eq!(vm.call(context, REQUEST).action, Action::Continue, "{:?}", loaded.traps.try_recv());
    let (_, statuses) = request.maps.lock().unwrap().properties.pop().unwrap();
    (loaded, statuses)
}

const NAMES: &str = r#"(data (i32.const 0x1000) "x-new") (data (i32.const 0x1010) "x-old")
    (data (i32.const 0x1020) ":path") (data (i32.const 0x1030) "/other")"#;
const ADD: &str = "call $proxy_add_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 5) (i32.const 0x1000) (i32.const 1)";
const REPLACE_NEW: &str = "call $proxy_replace_header_map_value (i32.const 0) (i32.const 0x1000) (i32.const 5) (i32.const 0x1000) (i32.const 1)";
const REPLACE_OLD: &str = "call $proxy_replace_header_map_value (i32.const 0) (i32.const 0x1010) (i32.const 5) (i32.const 0x1000) (i32.const 1)";
const SET_PATH: &str = "call $proxy_add_header_map_value (i32.const 0) (i32.const 0x1020) (i32.const 5) (i32.const 0x1030) (i32.const 6)";
const SIZE: &str = "call $proxy_get_header_map_size (i32.const 0) (i32.const 0x100)";

#[test]
fn a_filter_adds_fields_up_to_the_limit() {
    let request = Request::new(1, &[("x-old", "1")]);
    let calls = [ADD, ADD, REPLACE_NEW, REPLACE_OLD];
    let (loaded, got) = statuses("map_fields: 1", &request, NAMES, &calls);
    assert_eq!(got, [0, 2, 0, 0], "{}", loaded.proxy.text());
    let says = loaded.proxy.text();
    assert!(says.contains("limits.map_fields allows 1 fields"), "{says}");
    assert_eq!(request.maps.lock().unwrap().request.len(), 6);
}

#[test]
fn a_request_that_came_with_more_fields_is_enlarged_like_any_other() {
    let fields: Vec<(String, String)> = (0..600).map(|number| (format!("x-{number}"), "1".into())).collect();
    let mut headers: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    headers.push(("x-old", "1"));
    let request = Request::new(1, &headers);
    let remove = "call $proxy_remove_header_map_value (i32.const 0) (i32.const 0x1010) (i32.const 5)";
    let calls = [SIZE, ADD, ADD, REPLACE_NEW, REPLACE_OLD, SET_PATH, remove, ADD];
    let (_, got) = statuses("map_fields: 2", &request, NAMES, &calls);
    assert_eq!(got, [0, 0, 0, 0, 0, 0, 0, 2]);
    let request = request.maps.lock().unwrap().request.clone();
    assert_eq!(request.iter().filter(|(name, _)| name == "x-new").count(), 2);
    assert!(!request.iter().any(|(name, _)| name == "x-old"));
}

#[test]
fn a_map_is_set_up_to_the_limits() {
    let set = |size: usize| {
        format!("call $proxy_set_header_map_pairs (i32.const 0) (i32.const 0x2000) (i32.const {size})")
    };
    for (limits, count, value, expected) in [
        ("", 504, 10, 0),
        ("", 505, 10, 2),
        ("map_bytes: 20 KB", 4, 5_000, 0),
        ("map_bytes: 19 KB", 4, 5_000, 2),
        ("map_fields: 5", 9, 1, 0),
        ("map_fields: 5", 10, 1, 2),
    ] {
        // Four pseudo-headers came, and are replaced.
        let (data, size) = pairs(count, value);
        let request = Request::new(1, &[]);
        let call = set(size);
        let (loaded, got) = statuses(limits, &request, &data, &[&call]);
        assert_eq!(got, [expected], "{limits} {count} {value}: {}", loaded.proxy.text());
        let fields = request.maps.lock().unwrap().request.len();
        assert_eq!(fields, if expected == 0 { count as usize } else { 4 }, "all or nothing");
    }
}

#[test]
fn a_map_that_came_larger_can_be_read_and_written_back() {
    let value = "v".repeat(100);
    let headers = vec![("x-old", value.as_str()); 600];
    let read = "call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0x100) (i32.const 0x104)";
    let write = "call $proxy_set_header_map_pairs (i32.const 0) (i32.load (i32.const 0x100)) (i32.load (i32.const 0x104))";
    let request = Request::new(1, &headers);
    let before = request.maps.lock().unwrap().request.clone();
    // 70 KB; one that is written a second time counts.
    let limits = "map_fields: 2, map_bytes: 20 KB";
    let (loaded, got) = statuses(limits, &request, NAMES, &[read, write, ADD, ADD, write]);
    assert_eq!(got, [0, 0, 2, 2, 2], "{}", loaded.proxy.text());
    assert_eq!(request.maps.lock().unwrap().request, before);
    // As often as the bytes of its own allow.
    let (_, got) = statuses("map_fields: 2", &request, NAMES, &[read, write, write, ADD, write, ADD, ADD]);
    assert_eq!(got, [0, 0, 0, 0, 0, 0, 2]);
}

#[test]
fn properties_of_ones_own_have_room_for_what_is_there() {
    let data = r#"(data (i32.const 0x1000) "own1own2")"#;
    let set = |name: u32, size: u32| {
        format!(
            "call $proxy_set_property (i32.const {name}) (i32.const 4) (i32.const 0x1000) (i32.const {size})"
        )
    };
    // Each takes 64 bytes besides its name and value.
    let (first, second, smaller) = (set(0x1000, 32), set(0x1004, 32), set(0x1000, 30));
    let calls = [&first, &first, &first, &second, &smaller, &second, &set(0x1004, 31), &set(0x1000, 31)];
    let request = Request::new(1, &[]);
    let (loaded, got) = statuses("properties: 198, map_bytes: 1", &request, data, &calls.map(String::as_str));
    assert_eq!(got, [0, 0, 0, 2, 0, 0, 0, 0], "{}", loaded.proxy.text());
    let (loaded, got) = statuses("properties: 0", &request, data, &[&first, &first]);
    assert_eq!(got, [2, 2]);
    assert_eq!(loaded.filter.counters().snapshot().properties_refused, 2);
    assert_eq!(loaded.proxy.text().matches("limits.properties allows 0 bytes").count(), 1);
}

#[test]
fn what_is_written_into_a_map_counts_in_all() {
    let request = Request::new(1, &[("x-old", "1")]);
    // Six bytes a time: four fit, also when they replace each other.
    let (_, got) = statuses("map_bytes: 24", &request, NAMES, &[REPLACE_OLD; 5]);
    assert_eq!(got, [0, 0, 0, 0, 2]);
    // The response's map has its own sum; the next request's too.
    let response = "call $proxy_add_header_map_value (i32.const 2) (i32.const 0x1000) (i32.const 5) (i32.const 0x1000) (i32.const 1)";
    let (_, got) = statuses("map_bytes: 12", &request, NAMES, &[ADD, ADD, response, ADD]);
    assert_eq!(got, [0, 0, 0, 2]);
}

#[test]
fn a_field_that_is_set_as_a_property_counts_for_its_map() {
    let data = String::from(NAMES)
        + r#"(data (i32.const 0x1100) "request\00headers\00x-new") (data (i32.const 0x1120) "request\00headers\00x-old")
            (data (i32.const 0x1140) "response\00headers\00x-new") (data (i32.const 0x1160) "upstream")"#;
    let set = |at: u32, size: u32| {
        format!(
            "call $proxy_set_property (i32.const {at}) (i32.const {size}) (i32.const 0x1000) (i32.const 1)"
        )
    };
    let (new, old, response, other) = (set(0x1100, 21), set(0x1120, 21), set(0x1140, 22), set(0x1160, 8));
    let request = Request::new(1, &[("x-old", "1")]);
    let (_, got) = statuses("map_fields: 1", &request, &data, &[&old, &new, &new, ADD, &response, &response]);
    assert_eq!(got, [0, 0, 2, 2, 0, 2]);
    // Six bytes each, of one sum with those of the map's own functions; nine are another property's.
    let (_, got) = statuses("map_bytes: 18", &request, &data, &[ADD, &old, ADD, &old, &other, &response]);
    assert_eq!(got, [0, 0, 0, 2, 0, 0]);
    let long = set(0x1160, 12);
    let (_, got) = statuses("map_bytes: 24", &request, &data, &[&long, &long]);
    assert_eq!(got, [0, 2]);
}

#[test]
fn a_callback_leaves_so_many_bytes_of_local_responses() {
    let answer = |body: u32, fields: usize| {
        format!(
            "call $proxy_send_local_response (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const {body}) (i32.const 0x2000) (i32.const {fields}) (i32.const -1)"
        )
    };
    let (data, size) = pairs(65, 1);
    let grow = "block (result i32) (drop (memory.grow (i32.const 300))) (i32.const 0)";
    let calls = [grow.into(), answer(17 << 20, 0), answer(0, size)];
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let (loaded, got) = statuses("map_fields: 500", &Request::new(1, &[]), &data, &calls);
    assert_eq!(got, [0, 2, 2]);
    assert!(loaded.proxy.text().contains("it may have 64 fields"), "{}", loaded.proxy.text());
    // Its own limit, not that of the maps.
    let (data, size) = pairs(64, 1);
    let (loaded, mut vm) =
        under("map_fields: 5", &(acting(&format!("(drop ({}))", answer(0, size))) + &data));
    let (context, _) = vm.create_context(Request::new(1, &[]).boxed());
    let Action::Respond(response) = vm.call(context, REQUEST).action else {
        panic!("{}", loaded.proxy.text())
    };
    assert_eq!(response.headers.len(), 64);
}

#[test]
fn names_and_paths_that_nothing_can_have_are_not_looked_for() {
    let calls = [
        "call $proxy_get_header_map_value (i32.const 0) (i32.const 0) (i32.const 0x10001) (i32.const 0x100) (i32.const 0x104)",
        "call $proxy_remove_header_map_value (i32.const 0) (i32.const 0) (i32.const 0x10001)",
        "call $proxy_get_property (i32.const 0) (i32.const 0x10001) (i32.const 0x100) (i32.const 0x104)",
    ];
    // The double would panic: these bytes are not text.
    let data = r#"(data (i32.const 0x10000) "\ff")"#;
    let (_, got) = statuses("", &Request::new(1, &[]), data, &calls);
    assert_eq!(got, [1, 0, 1]);
}

#[test]
fn every_line_is_a_line_of_its_own_and_control_characters_are_shown() {
    let act = "(drop (call $proxy_log (i32.const 2) (i32.const 0x1000) (i32.const 39)))";
    let data = r#"(data (i32.const 0x1000) "one\r\nother-filter: forged\1b[2J\00\r\n\c2\9bthree")"#;
    let (loaded, mut vm) = under("", &(acting(act) + data));
    let (context, _) = vm.create_context(Request::new(5, &[]).boxed());
    vm.call(context, REQUEST);
    let line = |text: &str| (Level::Info, Some(5), text.to_owned());
    assert_eq!(
        loaded.proxy.lines(),
        [line("one"), line(r"other-filter: forged\u{1b}[2J\u{0}"), line(r"\u{9b}three")]
    );
}

#[test]
fn callbacks_that_are_never_called_are_named_once() {
    let body = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_grpc_close") (param i32 i32 i32))
        (func (export "proxy_on_log") (param i32))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let loaded = load(&module(body), "");
    let warning =
        "it exports callbacks that this host does not call: proxy_on_request_body, proxy_on_grpc_close";
    assert_eq!(loaded.proxy.lines(), [(Level::Warn, None, warning.to_owned())]);
    assert_eq!(load(&module(&acting("")), "").proxy.text(), "");
}
