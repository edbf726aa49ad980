//! Sessions: attach and what it refuses, rules, roles, slots on demand, and what stays after the last.

use std::sync::atomic::Ordering;

use wasmdbg_control::CallError;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::{Attach, Detach, LanePhase, LaneStart, Start};
use wasmdbg_control::state::{ReadMemory, Value, WriteGlobal, WriteMemory};
use wasmdbg_control::stop::{Context, Interrupt, Resume, ResumeMode, StopReason};
use wasmdbg_control::{ContextId, ErrorKind, Event, FilterId};
use wasmdbg_proxy_wasm::Action;

use crate::debug_stage::{Stage, attach, filter, refusal, wait_for};

fn plain() -> String {
    filter(
        r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (drop (i32.const 8000))
            (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 8001))
            (drop (call $log (i32.const 3) (i32.const 21) (i32.const 4)))
            (drop (i32.const 8002))
            (i32.const 0))"#,
    )
}

#[test]
fn without_rules_a_token_is_made() {
    let stage = Stage::new(&plain(), "");
    assert!(!stage.lane.any_session());
    let front = stage.client();
    let attached = front.attach(attach()).unwrap();
    assert!(stage.lane.any_session());
    let [Rule::Header { name, value }] = &attached.rules[..] else { panic!("{:?}", attached.rules) };
    assert_eq!((name.as_str(), value.len()), ("x-wasmdbg", 32));
    assert!(stage.try_request(1, &[]).is_none());
    assert!(stage.try_request(1, &[("x-wasmdbg", "guessed")]).is_none());
    let flow = stage.try_request(1, &[("x-wasmdbg", value)]).expect("the token");
    flow.end();
    assert!(!stage.log().contains(value.as_str()), "a token is a secret");
    let other = stage.client().attach(attach()).unwrap();
    assert_ne!(attached.rules, other.rules);
    assert!(stage.lane.event_thread_work().count >= 4);
}

#[test]
fn attach_tells_how_far_it_is_and_takes_code_from_the_cache_the_second_time() {
    let stage = Stage::new(&plain(), "");
    let front = stage.client();
    let first = front.attach(Attach { all: true, ..attach() }).unwrap();
    assert!(!first.filters[0].cached);
    assert_eq!((first.filters[0].module, first.filters[0].name.as_str()), (stage.module(), "filter"));
    let phases: Vec<LanePhase> = front
        .events
        .try_iter()
        .filter_map(|event| match event {
            Event::LaneProgress(progress) => Some(progress.phase),
            _ => None,
        })
        .collect();
    assert_eq!(phases, [LanePhase::Compiling, LanePhase::Starting, LanePhase::Ready]);
    // While it stands another one needs no compile.
    let second = stage.client().attach(Attach { all: true, ..attach() }).unwrap();
    assert!(second.filters[0].cached);
    assert_eq!((second.filters[0].compile_ms, second.filters[0].slot), (0, first.filters[0].slot));
    front.client.call(Detach {}).unwrap();
    wait_for("the end of the lane", || (stage.threads() == 0).then_some(()));
    // Behind the last session the code is on disk only.
    front.wait_status("the images go", |status| status.code_images == 1);
    let third = front.attach(Attach { all: true, ..attach() }).unwrap();
    assert!(third.filters[0].cached);
}

#[test]
fn a_damaged_cache_is_refused_and_made_anew() {
    let stage = Stage::new(&plain(), "");
    let front = stage.attached();
    front.client.call(Detach {}).unwrap();
    front.wait_status("the images go", |status| status.code_images == 1);
    let entries: Vec<_> = std::fs::read_dir(stage.folder.join("cache")).unwrap().flatten().collect();
    assert_eq!(entries.len(), 1);
    let mut bytes = std::fs::read(entries[0].path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(entries[0].path(), bytes).unwrap();
    let attached = front.attach(Attach { all: true, ..attach() }).unwrap();
    assert!(!attached.filters[0].cached);
    assert!(stage.log().contains("checksum is wrong"), "{}", stage.log());
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn nothing_stays_after_the_last_session() {
    let stage = Stage::new(&plain(), "");
    let front = stage.attached();
    let before = front.status();
    assert_eq!((before.code_images, stage.threads(), before.slots.len()), (3, 1, 1));
    let flow = stage.request(1);
    flow.action();
    front.client.call(Detach {}).unwrap();
    // A bound transaction is served to its end.
    assert!(!stage.lane.any_session());
    flow.end();
    let after = front.wait_status("the images go", |status| status.code_images == 1);
    assert!(after.slots.is_empty() && after.sessions.is_empty());
    assert_eq!(stage.threads(), 0);
    assert!(stage.try_request(2, &[]).is_none());
    for _ in 0..3 {
        front.attach(Attach { all: true, ..attach() }).unwrap();
        front.client.call(Detach {}).unwrap();
    }
    front.wait_status("the images go again", |status| status.code_images == 1);
}

#[test]
fn what_cannot_be_attached_is_refused_with_a_reason() {
    let refusing = filter(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    );
    let stage = Stage::with(&[("one", &plain()), ("two", &refusing)], "debug:\n  max_vms: 1\n");
    let front = stage.client();
    let with = |attach: Attach| refusal(front.attach(attach));
    let named = |name: &str| Attach { filters: vec![name.into()], all: true, ..attach() };
    assert_eq!(with(named("three")), ErrorKind::NotFound);
    assert_eq!(with(Attach { all: true, ..attach() }), ErrorKind::Lane, "two filters, one VM");
    let rules = vec![Rule::Percent { percent: 101.0 }];
    assert_eq!(with(Attach { rules, ..named("one") }), ErrorKind::State);
    front.attach(named("one")).unwrap();
    assert_eq!(with(named("two")), ErrorKind::State, "this connection has a session");
    let second = stage.client();
    let refused = second.attach(named("two"));
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("1 of 1 in use")), "{refused:?}");
    assert_eq!(refusal(refused), ErrorKind::Lane);
    let idle = stage.client();
    let asked = Resume { stop: wasmdbg_control::StopId(1), mode: ResumeMode::Continue };
    assert_eq!(refusal(idle.client.call(asked)), ErrorKind::State, "it has no session");
}

#[test]
fn only_the_filters_a_session_names_enter_the_debug_lane() {
    let stage = Stage::with(&[("one", &plain()), ("two", &plain())], "");
    let front = stage.client();
    front.attach(Attach { filters: vec!["two".into()], all: true, ..attach() }).unwrap();
    assert!(stage.try_filter(0, 1, &[]).is_none());
    let flow = stage.try_filter(1, 1, &[]).expect("filter two");
    flow.end();
    let status = front.status();
    assert_eq!(status.slots[0].filter, FilterId(1));
    assert_eq!(
        (status.filters[0].counters.debug_contexts, status.filters[1].counters.debug_contexts),
        (0, 1)
    );
}

#[test]
fn slots_are_made_on_demand_up_to_the_limit_and_the_rest_is_missed() {
    let stage = Stage::new(&plain(), "debug:\n  max_vms: 2\n");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8001)]);
    let first = stage.request(1);
    let one = front.stopped();
    let second = stage.request(2);
    let two = front.stopped();
    assert_ne!(one.slot, two.slot);
    assert!(stage.try_request(3, &[]).is_none());
    let missed = front.wait("a missed transaction", |event| match event {
        Event::Missed(missed) => Some(missed),
        _ => None,
    });
    assert_eq!((missed.reason.as_str(), missed.total), ("no slot was free (2 of 2 in use)", 1));
    let status = front.status();
    let slots: Vec<(bool, bool)> = status.slots.iter().map(|slot| (slot.busy, slot.stopped)).collect();
    assert_eq!(slots, [(true, true), (true, true)]);
    assert_eq!(status.filters[0].counters.debug_missed, 1);
    front.resume(one.stop, ResumeMode::Continue);
    first.action();
    first.end();
    // Free again.
    let third = stage.request(4);
    let three = front.stopped();
    assert_eq!(three.slot, one.slot);
    for (stop, flow) in [(two, second), (three, third)] {
        front.resume(stop.stop, ResumeMode::Continue);
        flow.action();
        flow.end();
    }
}

#[test]
fn memory_limits_slots_too() {
    let stage = Stage::new(&plain(), "debug:\n  max_memory: 2120 KB\n");
    let front = stage.attached();
    let first = stage.request(1);
    assert!(stage.try_request(2, &[]).is_none());
    let missed = front.wait("a missed transaction", |event| match event {
        Event::Missed(missed) => Some(missed.reason),
        _ => None,
    });
    assert!(missed.contains("debug.max_memory"), "{missed}");
    first.action();
    first.end();
}

#[test]
fn breakpoints_stand_before_a_later_slot_runs_its_first_callback() {
    let stage = Stage::new(&plain(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8000)]);
    let first = stage.request(1);
    first.action();
    let second = stage.request(2);
    let stop = front.stopped();
    assert_eq!(stop.context, Context::Root { id: ContextId(1) });
    assert_eq!(stop.callback, "proxy_on_vm_start");
    assert!(stop.control);
    assert!(second.is_held(), "it waits for its slot");
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(second.action(), Action::Continue);
    first.end();
    second.end();
}

#[test]
fn one_session_controls_and_the_others_observe() {
    let stage = Stage::new(&plain(), "");
    let (owner, other) = (stage.client(), stage.client());
    let rules = vec![Rule::Header { name: "who".into(), value: "owner".into() }];
    owner.attach(Attach { rules, ..attach() }).unwrap();
    let rules = vec![Rule::Header { name: "who".into(), value: "other".into() }];
    other.attach(Attach { rules, ..attach() }).unwrap();
    owner.breakpoints(stage.module(), &[stage.pc(8001)]);
    other.breakpoints(stage.module(), &[stage.pc(8002), stage.pc(8001)]);
    let flow = stage.try_request(1, &[("who", "owner")]).unwrap();
    flow.call(wasmdbg_proxy_wasm::Callback::RequestHeaders { end_of_stream: true });
    let (mine, theirs) = (owner.stopped(), other.stopped());
    assert_eq!(mine.stop, theirs.stop);
    assert!(mine.control && !theirs.control);
    // Numbers are a session's own.
    assert_eq!(mine.reason, StopReason::Breakpoint { ids: vec![1] });
    assert_eq!(theirs.reason, StopReason::Breakpoint { ids: vec![2] });
    let resume = Resume { stop: mine.stop, mode: ResumeMode::Continue };
    assert_eq!(refusal(other.client.call(resume)), ErrorKind::Denied);
    let write = WriteMemory { stop: mine.stop, memory: 0, address: 0, data: vec![1] };
    assert_eq!(refusal(other.client.call(write)), ErrorKind::Denied);
    let read = ReadMemory { stop: mine.stop, memory: 0, address: 16, length: 5 };
    assert_eq!(other.client.call(read).unwrap().data, b":path");
    let global = WriteGlobal { stop: mine.stop, index: 0, value: Value::I32(1) };
    assert_eq!(refusal(other.client.call(global)), ErrorKind::Denied);
    owner.resume(mine.stop, ResumeMode::Continue);
    // At the other's breakpoint: the owner has no number there and controls all the same.
    let mine = owner.stopped();
    assert_eq!((mine.reason.clone(), mine.control), (StopReason::Breakpoint { ids: vec![] }, true));
    owner.resume(mine.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
    let log = stage.log();
    for deed in ["attaches to filter", "breakpoints in", "resume at stop", "refused write of 1 bytes"] {
        assert!(log.contains(deed), "{deed} in {log}");
    }
}

#[test]
fn only_the_session_that_took_a_transaction_interrupts_it() {
    let stage = Stage::new(
        &filter(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 0)))))
                (i32.const 0))"#,
        ),
        "",
    );
    let owner = stage.attached();
    let other = stage.client();
    other.attach(Attach { rules: vec![Rule::Path { prefix: "/other".into() }], ..attach() }).unwrap();
    let flow = stage.request(1);
    let slot =
        owner.wait_status("a busy slot", |status| status.slots.iter().any(|slot| slot.busy)).slots[0].id;
    let interrupt = |front: &crate::debug_stage::Front, slot| front.client.call(Interrupt { slot });
    // Until the callback runs nobody can interrupt it; from then on only its owner.
    let refused = wait_for("a running callback", || match interrupt(&other, Some(slot)) {
        Err(CallError::Refused(error)) if error.kind == ErrorKind::State => None,
        other => Some(other),
    });
    assert_eq!(refusal(refused), ErrorKind::Denied);
    assert_eq!(refusal(interrupt(&other, None)), ErrorKind::State, "none of its own runs");
    assert!(flow.is_held());
    assert_eq!(interrupt(&owner, Some(slot)).unwrap().slots, 1);
    let stop = owner.stopped();
    assert_eq!(stop.reason, StopReason::Interrupt);
    owner.client.call(WriteMemory { stop: stop.stop, memory: 0, address: 0, data: vec![1] }).unwrap();
    owner.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn the_end_of_a_session_releases_its_stops_and_says_how_many() {
    let stage = Stage::new(&plain(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8001)]);
    let first = stage.request(1);
    front.stopped();
    let second = stage.request(2);
    front.stopped();
    assert!(first.is_held() && second.is_held());
    assert_eq!(front.client.call(Detach {}).unwrap().released, 2);
    for flow in [first, second] {
        assert_eq!(flow.action(), Action::Continue);
        flow.end();
    }
    assert!(stage.log().contains("ended: detached"), "{}", stage.log());
}

#[test]
fn clients_hear_what_the_filter_logs() {
    let stage = Stage::new(&plain(), "");
    let front = stage.attached();
    let flow = stage.request(3);
    let line = front.wait("a line", |event| match event {
        Event::Log(line) => Some(line),
        _ => None,
    });
    assert_eq!((line.level.as_str(), line.message.as_str()), ("warn", "text"));
    assert_eq!(line.transaction.map(|id| id.0), Some(3));
    flow.action();
    flow.end();
}

#[test]
fn a_tick_continues_a_paused_transaction_and_shows_as_the_root_context() {
    let stage = Stage::new(
        &filter(
            r#"(global $who (mut i32) (i32.const 0))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 5)))
                (i32.const 1))
            (func (export "proxy_on_tick") (param i32)
                (if (global.get $who) (then
                    (drop (i32.const 8100))
                    (drop (call $effective (global.get $who)))
                    (drop (call $continue (i32.const 0)))
                    (global.set $who (i32.const 0)))))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (global.set $who (local.get 0))
                (i32.const 1))"#,
        ),
        "",
    );
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(8100)]);
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Pause);
    let stop = front.stopped();
    assert_eq!((stop.context, stop.callback.as_str()), (Context::Root { id: ContextId(1) }, "proxy_on_tick"));
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.effect(), Action::Continue);
    flow.end();
}

#[test]
fn next_takes_so_many_and_no_more() {
    let stage = Stage::new(&plain(), "");
    let front = stage.client();
    front.attach(Attach { rules: vec![Rule::Next { count: 2 }], ..attach() }).unwrap();
    for id in 0..2 {
        stage.try_request(id, &[]).expect("one of two").end();
    }
    assert!(stage.try_request(3, &[]).is_none());
}

/// Its configuration is refused once the host logs critical lines only, which is after the fast lane has
/// started.
pub(crate) fn moody() -> String {
    filter(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $level (i32.const 512)))
            (i32.ne (i32.load (i32.const 512)) (i32.const 5)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (unreachable))"#,
    )
}

#[test]
fn a_slot_that_refuses_its_configuration_ends_the_attach_with_the_reason() {
    let stage = Stage::new(&moody(), "");
    let front = stage.client();
    stage.host.quiet.store(true, Ordering::SeqCst);
    let refused = front.attach(Attach { all: true, ..attach() });
    let text = refused.as_ref().expect_err("a refusal").to_string();
    assert!(text.contains("proxy_on_configure returned false"), "{text}");
    assert_eq!(refusal(refused), ErrorKind::Lane);
    assert!(!stage.lane.any_session());
    front.wait_status("the images go", |status| status.code_images == 1 && status.slots.is_empty());
    // And it can be tried again on the same connection.
    stage.host.quiet.store(false, Ordering::SeqCst);
    front.attach(Attach { all: true, ..attach() }).unwrap();
}

#[test]
fn a_slot_that_cannot_be_rebuilt_gives_its_transactions_to_the_fail_policy() {
    let stage = Stage::new(&moody(), "");
    let front = stage.attached();
    let flow = stage.request(1);
    let stop = front.stopped();
    stage.host.quiet.store(true, Ordering::SeqCst);
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Failed);
    let failed = front.wait("the lane's failure", |event| match event {
        Event::LaneFailed(failed) => Some(failed.reason),
        _ => None,
    });
    assert!(failed.contains("proxy_on_configure returned false"), "{failed}");
    flow.call(wasmdbg_proxy_wasm::Callback::ResponseHeaders { end_of_stream: true });
    assert_eq!(flow.action(), Action::Failed);
    flow.end();
    front.wait_status("the slot goes", |status| status.slots.is_empty());
    assert!(stage.try_request(2, &[]).is_none(), "the fast lane serves");
}

#[test]
fn a_filter_that_is_not_done_yet_holds_its_transaction_until_it_is() {
    let stage = Stage::new(
        &filter(
            r#"(global $who (mut i32) (i32.const 0))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 5)))
                (i32.const 1))
            (func (export "proxy_on_done") (param i32) (result i32)
                (global.set $who (local.get 0))
                (i32.const 0))
            (func (export "proxy_on_tick") (param i32)
                (if (global.get $who) (then
                    (drop (call $effective (global.get $who)))
                    (drop (i32.const 8200))
                    (drop (call $done)))))
            (func (export "proxy_on_log") (param i32)
                (global.set $who (i32.const 0))
                (drop (call $log (i32.const 3) (i32.const 21) (i32.const 4))))"#,
        ),
        "",
    );
    let front = stage.attached();
    stage.try_request(1, &[]).unwrap().end();
    let line = front.wait("the log callback's line", |event| match event {
        Event::Log(line) => Some(line.message),
        _ => None,
    });
    assert_eq!(line, "text");
    // The slot is free for the next one.
    stage.try_request(2, &[]).unwrap().end();
    assert_eq!(front.status().slots.len(), 1);
}

#[test]
fn the_name_of_a_client_cannot_forge_a_line() {
    let stage = Stage::new(&plain(), "");
    let front = stage.client_named("x\naudit: session 1 (root) \u{1b}[2J");
    front.attach(Attach { all: true, ..attach() }).unwrap();
    let log = stage.log();
    assert!(log.contains(r"x\naudit: session 1 (root) \u{1b}[2J"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("audit: session 1 (root)")), "{log}");
}

#[test]
fn a_missed_transaction_does_not_use_up_next() {
    let stage = Stage::new(&plain(), "debug:\n  max_vms: 1\n");
    let front = stage.client();
    front.attach(Attach { rules: vec![Rule::Next { count: 2 }], ..attach() }).unwrap();
    let first = stage.try_request(1, &[]).expect("the first of two");
    for id in 2..5 {
        assert!(stage.try_request(id, &[]).is_none(), "no slot is free");
    }
    first.end();
    stage.try_request(5, &[]).expect("the second of two").end();
    assert!(stage.try_request(6, &[]).is_none());
}

#[test]
fn a_transaction_enters_a_slot_of_its_own_filter() {
    let stage = Stage::with(&[("one", &plain()), ("two", &plain())], "");
    let front = stage.attached();
    assert_eq!(front.status().slots.len(), 2, "a free slot of each");
    for (filter, id) in [(1, 1), (0, 2), (1, 3)] {
        let flow = stage.try_filter(filter, id, &[]).expect("a slot is free");
        let busy: Vec<FilterId> =
            front.status().slots.iter().filter(|slot| slot.busy).map(|slot| slot.filter).collect();
        assert_eq!(busy, [FilterId(filter)]);
        flow.end();
    }
}

#[test]
fn a_claim_that_is_not_used_gives_its_slot_back() {
    let stage = Stage::new(&plain(), "debug:\n  max_vms: 1\n");
    let front = stage.attached();
    for id in 0..3 {
        drop(stage.claim(0, id, &[]).expect("the slot is free"));
    }
    assert!(front.status().slots.iter().all(|slot| !slot.busy), "{:?}", front.status().slots);
    stage.try_request(3, &[]).expect("the slot is free").end();
    assert_eq!(front.status().filters[0].counters.debug_missed, 0);
}

#[test]
fn transactions_that_come_before_the_lane_is_ready_are_missed() {
    let stage = Stage::new(&plain(), "");
    let front = stage.client();
    front.attach(Attach { all: true, start: LaneStart::Held, ..attach() }).unwrap();
    assert_eq!(front.status().slots.len(), 1, "there is a slot");
    assert!(stage.try_request(1, &[]).is_none());
    let missed = front.wait("a missed transaction", |event| match event {
        Event::Missed(missed) => Some(missed),
        _ => None,
    });
    assert_eq!((missed.reason.as_str(), missed.total), ("the debug lane is not ready yet", 1));
    front.client.call(Start {}).unwrap();
    front.wait("the lane is ready", |event| match event {
        Event::LaneProgress(progress) => (progress.phase == LanePhase::Ready).then_some(()),
        _ => None,
    });
    stage.try_request(2, &[]).expect("it is ready").end();
}
