//! How slots start: modules that end their start by an exit, threads that cannot be made, slots that are held
//! back, and what becomes of those that never begin.

use std::sync::atomic::Ordering;

use wasmdbg_control::breakpoints::Planted;
use wasmdbg_control::session::{Attach, Detach, LanePhase, LaneStart, Start};
use wasmdbg_control::stop::{ResumeMode, StopReason};
use wasmdbg_control::transactions::Missed;
use wasmdbg_control::{ErrorKind, Event, SlotId};
use wasmdbg_proxy_wasm::{Action, Callback};

use crate::debug_sessions::moody;
use crate::debug_stage::{Front, Stage, attach, filter, refusal, wait_for};

fn plain() -> String {
    filter(
        r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (drop (i32.const 8000))
            (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 8001))
            (i32.const 0))"#,
    )
}

/// [`filter`] with `$exit`.
fn exiting(functions: &str) -> String {
    let import = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    filter(functions).replacen("(module", import, 1)
}

/// At the first slot, at the next one, and at the new start after a trap.
#[test]
fn an_exit_with_success_ends_a_start_and_is_no_trap() {
    for exits in [
        r#"(func (export "_start") (call $exit (i32.const 0)))"#,
        r#"(func (export "_initialize"))
        (func (export "main") (param i32 i32) (result i32) (call $exit (i32.const 0)) (i32.const 1))"#,
    ] {
        let body = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (if (i32.eqz (local.get 1)) (then (call $exit (i32.const 0))))
                (i32.eq (local.get 1) (i32.const 5)))"#;
        let stage = Stage::new(&exiting(&format!("{exits} {body}")), "");
        let front = stage.client();
        // It would not be answered while a slot stands.
        front.attach(Attach { all: true, ..attach() }).unwrap();
        let first = stage.try_request(1, &[("more", "1")]).unwrap();
        let second = stage.request(2);
        assert_eq!(second.action(), Action::Continue);
        second.end();
        // In a callback it is a death as any other.
        let third = stage.try_request(3, &[]).unwrap();
        third.request.maps.lock().unwrap().request.clear();
        third.call(Callback::RequestHeaders { end_of_stream: true });
        let stop = front.stopped();
        assert_eq!(stop.callback, "proxy_on_request_headers");
        let message = String::from("the guest called proc_exit(0)");
        assert_eq!(stop.reason, StopReason::Trap { message });
        front.resume(stop.stop, ResumeMode::Continue);
        assert_eq!(third.action(), Action::Failed);
        third.end();
        first.end();
        let fourth = stage.request(4);
        assert_eq!(fourth.action(), Action::Continue);
        fourth.end();
        let stops = front.events.try_iter().filter(|event| matches!(event, Event::Stopped(_)));
        assert_eq!(stops.count(), 0, "{exits}");
    }
}

/// A client whose slot waits until it says so.
fn held(stage: &Stage, filters: &[&str]) -> (Front, SlotId) {
    let front = stage.client();
    let filters = filters.iter().map(|name| String::from(*name)).collect();
    let asked = Attach { filters, all: true, start: LaneStart::Held, ..attach() };
    let slot = front.attach(asked).unwrap().filters[0].slot;
    (front, slot)
}

fn wait_ready(front: &Front) {
    front.wait("the lane is ready", |event| match event {
        Event::LaneProgress(progress) => (progress.phase == LanePhase::Ready).then_some(()),
        _ => None,
    });
}

#[test]
fn nobody_waits_for_a_slot_that_another_session_holds_back() {
    let stage = Stage::new(&plain(), "");
    let (patient, first) = held(&stage, &[]);
    // One that is held back as well is another one.
    let (other, second) = held(&stage, &[]);
    // It would not be answered before the other one starts.
    let front = stage.attached();
    let slots = || front.status().slots.iter().map(|slot| slot.id).collect::<Vec<_>>();
    assert_eq!(slots(), [first, second, SlotId(2)]);
    let flows = [1, 2].map(|id| stage.request(id));
    for flow in &flows {
        assert_eq!(flow.action(), Action::Continue);
    }
    assert_eq!(front.status().filters[0].counters.debug_missed, 0, "the debug lane serves them");
    assert_eq!(slots().len(), 4, "a slot of its own for the second, too");
    for flow in flows {
        flow.end();
    }
    for (front, slot) in [(&other, second), (&patient, first)] {
        front.breakpoints(stage.module(), &[stage.pc(8000)]);
        assert_eq!(front.client.call(Start {}).unwrap().slots, 1);
        // Of the others' stops all are told.
        let stop = front.wait("its own stop", |event| match event {
            Event::Stopped(stop) if stop.control => Some(stop),
            _ => None,
        });
        assert_eq!((stop.slot, stop.callback.as_str()), (slot, "proxy_on_vm_start"));
        front.breakpoints(stage.module(), &[]);
        front.resume(stop.stop, ResumeMode::Continue);
    }
}

#[test]
fn a_slot_that_its_session_held_back_goes_with_it() {
    let stage = Stage::new(&plain(), "debug:\n  max_vms: 2\n");
    let (first, _) = held(&stage, &[]);
    let front = stage.attached();
    first.client.call(Detach {}).unwrap();
    assert_eq!(front.status().slots.len(), 1, "there is one slot, which serves");
    let pc = stage.pc(8001);
    assert_eq!(front.breakpoints(stage.module(), &[pc]), [Planted::Bound { id: 1, pc }]);
    let flow = stage.request(1);
    let stop = front.stopped();
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
    front.client.call(Detach {}).unwrap();
    // And with nobody else there.
    let (last, _) = held(&stage, &[]);
    last.client.call(Detach {}).unwrap();
    last.wait_status("the images go", |status| status.code_images == 1 && status.slots.is_empty());
    assert_eq!(stage.threads(), 0);
}

/// Another session debugs another filter with the same module.
#[test]
fn breakpoints_of_a_slot_that_is_held_back_need_no_other_one() {
    let stage = Stage::with(&[("one", &plain()), ("two", &plain())], "");
    let front = stage.client();
    front.attach(Attach { filters: vec!["two".into()], all: true, ..attach() }).unwrap();
    let (patient, slot) = held(&stage, &["one"]);
    let pc = stage.pc(8000);
    assert_eq!(patient.breakpoints(stage.module(), &[pc]), [Planted::Bound { id: 1, pc }]);
    patient.client.call(Start {}).unwrap();
    let stop = patient.stopped();
    assert_eq!((stop.slot, stop.control), (slot, true));
    patient.resume(stop.stop, ResumeMode::Continue);
    wait_ready(&patient);
}

#[test]
fn the_end_of_the_agent_leaves_no_transaction_for_a_slot_that_never_begins() {
    let mut stage = Stage::new(&plain(), "");
    let _front = stage.attached();
    let first = stage.request(1);
    assert_eq!(first.action(), Action::Continue);
    stage.deaf.store(true, Ordering::SeqCst);
    // The second one's slot waits for its thread, and so does the third one's, which is not there yet.
    let second = stage.request(2);
    let (claim, request) = stage.claim(0, 3, &[]).unwrap();
    stage.end_agent();
    assert_eq!(second.action(), Action::Failed);
    let third = stage.entered(claim, request);
    third.call(Callback::RequestHeaders { end_of_stream: true });
    assert_eq!(third.action(), Action::Failed);
    for flow in [first, second, third] {
        flow.end();
    }
    assert!(stage.try_request(4, &[]).is_none());
}

fn missed(front: &Front) -> Missed {
    front.wait("a missed transaction", |event| match event {
        Event::Missed(missed) => Some(missed),
        _ => None,
    })
}

/// A session with one slot, which has a transaction; a second transaction's slot cannot start, for `reason`.
fn one_slot_of_two(text: &str, refuse: impl Fn(&Stage, bool), reason: &str) {
    let stage = Stage::new(text, "");
    let front = stage.attached();
    let first = stage.try_request(1, &[]).unwrap();
    refuse(&stage, true);
    let second = stage.request(2);
    assert_eq!(second.action(), Action::Failed);
    assert!(second.take_back(), "no slot has taken it");
    let told = missed(&front);
    assert!(told.total == 1 && told.reason.contains(reason), "{told:?}");
    assert!(stage.log().contains(reason), "{}", stage.log());
    // Not each request tries again.
    wait_for("a transaction that is missed at once", || {
        let Some(flow) = stage.try_request(3, &[]) else { return Some(()) };
        flow.call(Callback::RequestHeaders { end_of_stream: true });
        assert_eq!(flow.action(), Action::Failed);
        assert!(flow.take_back());
        None
    });
    let told = missed(&front);
    assert!(told.total == 2 && told.reason.contains(reason), "{told:?}");
    front.wait_status("the other slot goes", |status| status.slots.len() == 1);
    assert!(stage.lane.any_session());
    // The slot that is there serves on, and when it can there is another one.
    refuse(&stage, false);
    let further = wait_for("a further slot", || stage.try_request(4, &[]));
    assert_eq!(front.status().slots.len(), 2);
    first.end();
    further.end();
    let fifth = stage.try_request(5, &[]).expect("a slot is free");
    fifth.end();
    let failed = |event: &Event| matches!(event, Event::LaneFailed(_));
    assert!(!front.events.try_iter().any(|event| failed(&event)), "its lane goes on");
}

#[test]
fn a_slot_without_a_thread_leaves_the_lane_to_the_others() {
    let refuse = |stage: &Stage, refuses| stage.host.exhausted.store(refuses, Ordering::SeqCst);
    one_slot_of_two(&plain(), refuse, "no thread is left");
}

#[test]
fn a_slot_that_refuses_its_configuration_leaves_the_lane_to_the_others() {
    let refuse = |stage: &Stage, refuses| stage.host.quiet.store(refuses, Ordering::SeqCst);
    one_slot_of_two(&moody(), refuse, "proxy_on_configure returned false");
}

#[test]
fn what_a_slot_has_taken_is_not_taken_back() {
    let stage = Stage::new(&plain(), "");
    let _front = stage.attached();
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Continue);
    assert!(!flow.take_back());
    // Dropped, it has ended.
    assert_eq!(stage.filters[0].counters().snapshot().debug_missed, 0);
    wait_for("the free slot", || stage.try_request(2, &[]).map(|flow| flow.end()));
}

#[test]
fn without_threads_there_is_no_debug_lane_and_its_sessions_are_told() {
    let stage = Stage::new(&plain(), "");
    let (front, _) = held(&stage, &[]);
    stage.host.exhausted.store(true, Ordering::SeqCst);
    front.client.call(Start {}).unwrap();
    let reason = front.wait("the lane's failure", |event| match event {
        Event::LaneFailed(failed) => Some(failed.reason),
        _ => None,
    });
    assert!(reason.contains("no thread is left"), "{reason}");
    let reason = wait_for("what is missed", || {
        assert!(stage.try_request(1, &[]).is_none());
        Some(missed(&front).reason).filter(|reason| !reason.contains("not ready yet"))
    });
    assert_eq!(reason, "the debug lane of this filter has failed: attach again");
    front.client.call(Detach {}).unwrap();
    front.wait_status("the images go", |status| status.code_images == 1);
    let refused = front.attach(Attach { all: true, ..attach() });
    assert!(
        refused.as_ref().is_err_and(|error| error.to_string().contains("no thread is left")),
        "{refused:?}"
    );
    assert_eq!(refusal(refused), ErrorKind::Lane);
    front.wait_status("the images go", |status| status.code_images == 1);
    stage.host.exhausted.store(false, Ordering::SeqCst);
    front.attach(Attach { all: true, ..attach() }).unwrap();
}
