//! Clients, requests and guests that make everything as long as it can be: no line of the log and no message
//! grows with it, and nobody else's either.

use std::fmt::Write as _;
use std::io::Read;

use wasmdbg_control::breakpoints::{Breakpoint, SetBreakpoints};
use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::MAX_CLIENTS;
use wasmdbg_control::session::{Attach, Detach};
use wasmdbg_control::stop::{GetFrames, ResumeMode};
use wasmdbg_control::stream::ReadStream;
use wasmdbg_control::transactions::ListTransactions;
use wasmdbg_control::{ErrorKind, Event, MAX_FRAME, MAX_LIST, ModulePc};
use wasmdbg_proxy_wasm::Action;

use crate::debug_stage::{Stage, attach, filter, refusal, wait_for};

fn plain() -> String {
    filter(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 8001))
            (i32.const 0))"#,
    )
}

/// What the audit log may have in a line.
const LINE: usize = 1100;

fn assert_lines_are_short(stage: &Stage) {
    let log = stage.log();
    let longest = log.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(longest <= LINE, "a line of {longest} characters");
    assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "control characters reach the log");
}

#[test]
fn names_of_a_mebibyte_stand_in_no_line_and_break_no_listing() {
    let stage = Stage::new(&plain(), "");
    let name = "\u{1b}".repeat(150_000);
    let fronts: Vec<_> = (0..20).map(|_| stage.client_named(&name)).collect();
    for front in &fronts {
        front.attach(Attach { all: true, ..attach() }).unwrap();
    }
    let status = fronts[0].status();
    assert_eq!(status.sessions.len(), 20);
    assert_eq!(status.sessions[0].client, "\\u{1b}".repeat(100) + "…");
    for front in fronts {
        front.client.call(Detach {}).unwrap();
    }
    assert_lines_are_short(&stage);
}

#[test]
fn what_a_client_asks_for_is_refused_in_a_short_text_when_it_is_too_much() {
    let stage = Stage::new(&plain(), "");
    let front = stage.client();
    let named = Attach { filters: vec!["\"".repeat(400_000)], ..attach() };
    assert_eq!(refusal(front.attach(named)), ErrorKind::NotFound);
    let rules = vec![Rule::Path { prefix: "/".into() }; 65];
    assert_eq!(refusal(front.attach(Attach { rules, ..attach() })), ErrorKind::State);
    let mut rules = vec![Rule::Path { prefix: "\u{1}".repeat(2000) }; 64];
    rules[0] = Rule::Path { prefix: "/\naudit: forged".into() };
    front.attach(Attach { rules, ..attach() }).unwrap();
    let breakpoints = |count| (0..count).map(|id| Breakpoint { id, pc: ModulePc(1) }).collect();
    let set = |count| {
        let asked = SetBreakpoints { module: stage.module(), breakpoints: breakpoints(count) };
        front.client.call(asked).map(|planted| planted.breakpoints.len())
    };
    assert_eq!(refusal(set(4001)), ErrorKind::State);
    assert_eq!(set(4000).unwrap(), 4000);
    assert!(!stage.log().lines().any(|line| line.starts_with("audit: forged")), "{}", stage.log());
    assert_lines_are_short(&stage);
}

#[test]
fn refused_connections_are_a_line_and_a_count() {
    let stage = Stage::new(&plain(), "");
    let _silent: Vec<_> = (0..MAX_CLIENTS).map(|_| stage.connect()).collect();
    for _ in 0..500 {
        // To its end: refused, and closed.
        stage.connect().read_to_end(&mut Vec::new()).unwrap();
    }
    let counted = || {
        let log = stage.log();
        let refused: Vec<&str> = log.lines().filter_map(|line| line.split("refused ").nth(1)).collect();
        let number = |line: &&str| line.split(' ').next()?.parse::<usize>().ok();
        let counts: usize = refused.iter().filter_map(number).sum();
        (refused.iter().filter(|line| line.starts_with("a connection of uid")).count(), counts)
    };
    let (lines, counts) =
        wait_for("all are counted", || Some(counted()).filter(|(lines, more)| lines + more >= 500));
    assert_eq!(lines + counts, 500);
    // A line a second, and this takes far less than a minute.
    assert!(lines < 60, "{lines} lines");
}

#[test]
fn a_request_with_the_longest_path_is_shown_in_short() {
    let stage = Stage::new(&plain(), "debug:\n  max_vms: 3\n");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8001)]);
    let path = "\"".repeat(600_000);
    let mut flows = Vec::new();
    for id in 1..=3 {
        let flow = stage.try_request(id, &[(":path", &path)]).expect("a slot");
        flow.call(wasmdbg_proxy_wasm::Callback::RequestHeaders { end_of_stream: true });
        flows.push((front.stopped().stop, flow));
    }
    assert!(stage.try_request(4, &[(":path", &path)]).is_none());
    let missed = front.wait("a missed one", |event| match event {
        Event::Missed(missed) => Some(missed.path),
        _ => None,
    });
    let shown = "\"".repeat(1000) + "…";
    assert_eq!(missed, shown);
    let list = front.client.call(ListTransactions {}).unwrap();
    assert_eq!((list.transactions.len(), list.left_out), (3, 0));
    assert!(list.transactions.iter().all(|transaction| transaction.path == shown));
    for (stop, flow) in flows {
        front.resume(stop, ResumeMode::Continue);
        assert_eq!(flow.action(), Action::Continue);
        flow.end();
    }
}

#[test]
fn frames_and_globals_of_any_size_arrive_in_parts() {
    const FRAMES: u32 = 40;
    const LOCALS: usize = 1000;
    const GLOBALS: usize = 30_000;
    let mut text = String::new();
    for _ in 0..GLOBALS {
        text.push_str("(global (mut v128) (v128.const i64x2 -1 -1))\n");
    }
    let locals = "v128 ".repeat(LOCALS);
    write!(
        text,
        r#"(func $deep (param $left i32) (local {locals})
            (if (local.get $left)
                (then (call $deep (i32.sub (local.get $left) (i32.const 1))))
                (else (drop (i32.const 8002)))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $deep (i32.const {}))
            (i32.const 0))"#,
        FRAMES - 2
    )
    .unwrap();
    let stage = Stage::new(&filter(&text), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8002)]);
    let flow = stage.request(1);
    let stop = front.stopped();
    assert_eq!(stop.frame_count, FRAMES);
    let mut frames = stop.frames.clone();
    assert!(!frames.is_empty() && frames.len() < FRAMES as usize, "{} came with the stop", frames.len());
    while frames.len() < FRAMES as usize {
        let first = frames.len() as u32;
        let more = front.client.call(GetFrames { stop: stop.stop, first, count: FRAMES }).unwrap().frames;
        assert!(!more.is_empty(), "{first} frames and no more");
        frames.extend(more);
    }
    assert!(frames[..FRAMES as usize - 1].iter().all(|frame| frame.locals.len() == LOCALS + 1));
    assert_eq!(front.client.globals(stop.stop).unwrap().len(), GLOBALS + 2);
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn headers_of_any_size_are_shown_as_far_as_they_fit() {
    let stage = Stage::new(&plain(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8001)]);
    let long = "\u{1}".repeat(2 * MAX_FRAME);
    let mut headers = vec![("long", long.as_str())];
    headers.extend((0..50_000).map(|_| ("many", "v")));
    let flow = stage.try_request(1, &headers).expect("a slot");
    flow.call(wasmdbg_proxy_wasm::Callback::RequestHeaders { end_of_stream: true });
    let stop = front.stopped();
    let state = front.client.call(ReadStream { stop: stop.stop, properties: Vec::new() }).unwrap();
    let shown = state.request_headers.unwrap();
    let value =
        |name: &str| shown.iter().find(|(found, _)| found == name).map(|(_, value)| value.chars().count());
    assert_eq!(value("long"), Some(32_001));
    let (last, rest) = shown.last().unwrap();
    assert_eq!(last, "…");
    assert_eq!(*rest, format!("{} more do not fit this answer", 50_005 - (shown.len() - 1)));
    assert!(serde_json::to_vec(&shown).unwrap().len() < MAX_LIST / 4 + 100);
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}
