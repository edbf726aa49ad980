//! Guests that run on, time that runs out, clients that are gone.

use std::sync::mpsc;
use std::time::Duration;

use wasmdbg_control::session::{Activity, Attach, Detach};
use wasmdbg_control::state::WriteMemory;
use wasmdbg_control::stop::{CallbackOutcome, Interrupt, ReleaseCause, ResumeMode, StopReason, Stopped};
use wasmdbg_control::{ErrorKind, Event, ModulePc};
use wasmdbg_proxy_wasm::{Action, Callback, Ending};

use crate::debug_stage::{Flow, Front, PATIENCE, Stage, attach, filter, refusal, wait_for};

/// Runs until the byte at 0 is set.
fn endless() -> String {
    filter(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 7000))
            (loop
                (drop (i32.const 7003))
                (br_if 0 (i32.eqz (i32.load8_u (i32.const 0)))))
            (drop (i32.const 7001))
            (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 7002))
            (i32.const 0))"#,
    )
}

fn release(front: &Front) -> ReleaseCause {
    front.wait("a release", |event| match event {
        Event::Released(released) => Some(released.cause),
        _ => None,
    })
}

/// Asks until a callback runs.
fn interrupt(front: &Front) {
    wait_for("a running callback", || front.client.call(Interrupt { slot: None }).ok());
}

#[test]
fn an_interrupt_stops_an_endless_loop() {
    let stage = Stage::new(&endless(), "");
    let front = stage.attached();
    assert_eq!(refusal(front.client.call(Interrupt { slot: None })), ErrorKind::State);
    let flow = stage.request(1);
    interrupt(&front);
    let stop = front.stopped();
    assert_eq!(stop.reason, StopReason::Interrupt);
    let slot = Some(stop.slot);
    assert_eq!(refusal(front.client.call(Interrupt { slot })), ErrorKind::State, "it stands already");
    // Steps work from there, and so does the way out of the loop.
    let stop = front.step(stop.stop, ResumeMode::Instruction);
    assert_eq!(stop.reason, StopReason::Step);
    front.client.call(WriteMemory { stop: stop.stop, memory: 0, address: 0, data: vec![1] }).unwrap();
    front.breakpoints(stage.module(), &[stage.pc(7001)]);
    let stop = front.step(stop.stop, ResumeMode::Continue);
    assert_eq!(stop.reason, StopReason::Breakpoint { ids: vec![1] });
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn breakpoints_reach_a_guest_that_runs() {
    let stage = Stage::new(&endless(), "");
    let front = stage.attached();
    let flow = stage.request(1);
    interrupt(&front);
    let stop = front.stopped();
    front.resume(stop.stop, ResumeMode::Continue);
    // It runs in its loop and is not told but by an epoch.
    let pc = stage.pc(7003);
    front.breakpoints(stage.module(), &[pc]);
    let stop = front.stopped();
    assert_eq!((stop.reason, stop.frames[0].pc), (StopReason::Breakpoint { ids: vec![1] }, pc));
    front.breakpoints(stage.module(), &[]);
    front.client.call(WriteMemory { stop: stop.stop, memory: 0, address: 0, data: vec![1] }).unwrap();
    front.resume(stop.stop, ResumeMode::Continue);
    flow.action();
    flow.end();
}

#[test]
fn the_plain_budget_holds_again_when_the_last_session_is_gone() {
    let stage = Stage::new(&endless(), "limits:\n  cpu_per_callback: 50ms\n");
    let front = stage.attached();
    let flow = stage.request(1);
    interrupt(&front);
    let stop = front.stopped();
    front.resume(stop.stop, ResumeMode::Continue);
    // Attached, it may run on: more than 50 ms have passed when it is stopped again.
    std::thread::sleep(Duration::from_millis(100));
    interrupt(&front);
    let stop = front.stopped();
    assert_eq!(stop.reason, StopReason::Interrupt);
    front.client.call(Detach {}).unwrap();
    assert_eq!(flow.action(), Action::Failed);
    flow.end();
    let line = wait_for("the line in the log", || {
        stage.log().lines().find(|line| line.contains("50 ms")).map(str::to_owned)
    });
    assert!(line.contains("proxy_on_request_headers"), "{line}");
    wait_for("the end of the slot", || (stage.threads() == 0).then_some(()));
}

#[test]
fn standing_costs_no_budget() {
    let stage = Stage::new(&endless(), "limits:\n  cpu_per_callback: 1ms\n");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(7000)]);
    let flow = stage.request(1);
    let stop = front.stopped();
    front.client.call(WriteMemory { stop: stop.stop, memory: 0, address: 0, data: vec![1] }).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    front.client.call(Detach {}).unwrap();
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

/// A session with a deadline of a minute, and a request that stands at 7002 in it.
fn standing_for_a_minute(stage: &Stage) -> (Front, Flow, Stopped) {
    let front = stage.client();
    let attached = front.attach(Attach { all: true, deadline_ms: Some(60_000), ..attach() }).unwrap();
    assert_eq!(attached.deadline_ms, 60_000);
    front.breakpoints(stage.module(), &[stage.pc(7002)]);
    let flow = stage.try_request(1, &[]).unwrap();
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    let stop = front.stopped();
    assert_eq!(stop.deadline_ms, 60_000);
    (front, flow, stop)
}

/// The next event about the deadline: what a warning says is left, or why the stop was released.
fn deadline(front: &Front) -> Result<u64, ReleaseCause> {
    front.wait("a warning or a release", |event| match event {
        Event::DeadlineWarning(warning) => Some(Ok(warning.remaining_ms)),
        Event::Released(released) => Some(Err(released.cause)),
        _ => None,
    })
}

#[test]
fn a_silent_controller_is_warned_and_loses_the_stop_at_its_deadline() {
    let stage = Stage::new(&endless(), "");
    let (front, flow, _) = standing_for_a_minute(&stage);
    stage.put_ahead(Duration::from_secs(51));
    let left = deadline(&front).expect("a warning before the release");
    assert!(left <= 9_000, "{left} ms are left of 60 s after 51 s");
    assert!(flow.is_held());
    stage.put_ahead(Duration::from_secs(60));
    assert_eq!(deadline(&front), Err(ReleaseCause::Deadline), "warned once");
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn signs_of_life_keep_a_stop() {
    let stage = Stage::new(&endless(), "");
    let (front, flow, _) = standing_for_a_minute(&stage);
    // Each one begins a minute of its own, with a warning of its own.
    stage.put_ahead(Duration::from_secs(51));
    for _ in 0..3 {
        assert!(deadline(&front).is_ok());
        front.client.call(Activity {}).unwrap();
        assert!(flow.is_held());
    }
    assert!(deadline(&front).is_ok());
    stage.put_ahead(Duration::from_secs(60));
    assert_eq!(deadline(&front), Err(ReleaseCause::Deadline));
    flow.action();
    flow.end();
}

#[test]
fn a_dead_client_releases_what_it_held() {
    let stage = Stage::new(&endless(), "");
    let observer = stage.client();
    let front = stage.attached();
    observer.attach(Attach { all: true, ..attach() }).unwrap();
    front.breakpoints(stage.module(), &[stage.pc(7002)]);
    let flow = stage.try_request(1, &[]).unwrap();
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    front.stopped();
    front.client.close();
    assert_eq!(release(&observer), ReleaseCause::Detached);
    assert_eq!(flow.action(), Action::Continue);
    // The rest of its transaction stops nowhere, although the observer has a breakpoint there.
    observer.breakpoints(stage.module(), &[stage.pc(7002)]);
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
    // The next one is the observer's.
    let flow = stage.try_request(2, &[]).unwrap();
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    let stop = observer.stopped();
    assert!(stop.control);
    observer.resume(stop.stop, ResumeMode::Continue);
    flow.action();
    flow.end();
}

#[test]
fn a_client_of_the_proxy_that_is_gone_frees_the_slot() {
    let stage = Stage::new(&endless(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(7002)]);
    let flow = stage.try_request(1, &[]).unwrap();
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    front.stopped();
    flow.client_gone();
    assert_eq!(release(&front), ReleaseCause::ClientGone);
    flow.action();
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    flow.action();
    flow.end();
    let stops = front.events.try_iter().filter(|event| matches!(event, Event::Stopped(_))).count();
    assert_eq!(stops, 0, "nobody waits for it any more");
}

#[test]
fn a_trap_stops_and_is_reported_and_the_slot_is_rebuilt() {
    let stage = Stage::new(
        &filter(
            r#"(func $deep (param i32) (drop (i32.load (local.get 0))))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (drop (i32.const 7500))
                (call $deep (i32.const -4))
                (i32.const 0))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                (drop (i32.const 7501))
                (i32.const 0))"#,
        ),
        "",
    );
    let front = stage.attached();
    let flow = stage.request(9);
    let stop = front.stopped();
    let StopReason::Trap { message } = &stop.reason else { panic!("{:?}", stop.reason) };
    assert_eq!(message, "out of bounds memory access");
    assert_eq!((stop.frame_count, stop.frames[0].locals.len()), (2, 1));
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Failed);
    let outcome = front.wait("the callback's end", |event| match event {
        Event::CallbackEnded(ended) => match ended.outcome {
            CallbackOutcome::Trapped { message } => Some(message),
            CallbackOutcome::Returned { .. } => None,
        },
        _ => None,
    });
    assert!(outcome.contains("out of bounds memory access"), "{outcome}");
    // No further callback reaches the guest.
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    assert_eq!(flow.action(), Action::Failed);
    flow.end();
    let line = wait_for("the line in the log", || {
        stage.log().lines().find(|line| line.contains("out of bounds")).map(str::to_owned)
    });
    // The innermost frame is at the opcode that trapped, the outer one inside its call and not after it.
    let [inner, outer] = [stop.frames[0].function, stop.frames[1].function];
    let bytes = stage.filters[0].module_bytes();
    let call = (stage.pc(7500).0 as usize..).find(|at| bytes[*at] == 0x10).unwrap();
    let frames = format!(
        "#0 function {inner} at {}; #1 function {outer} at {}",
        stop.frames[0].pc,
        ModulePc::at(call + 1)
    );
    assert!(line.ends_with(&frames), "{frames}: {line}");
    // A new machine in the same slot, with the session's breakpoints.
    front.breakpoints(stage.module(), &[stage.pc(7501)]);
    let flow = stage.try_request(10, &[]).unwrap();
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    let again = front.stopped();
    assert_eq!(again.slot, stop.slot);
    assert!(again.fresh_vm);
    front.resume(again.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
}

#[test]
fn deep_recursion_is_a_trap_like_another() {
    let stage = Stage::new(
        &filter(
            r#"(func $deeper (param i32) (result i32)
                (i32.add (local.get 0) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $deeper (i32.const 0)))"#,
        ),
        "",
    );
    let front = stage.attached();
    let flow = stage.request(1);
    let stop = front.stopped();
    assert!(
        matches!(&stop.reason, StopReason::Trap { message } if message.contains("stack")),
        "{:?}",
        stop.reason
    );
    assert_eq!(stop.frames.len(), 32);
    assert!(stop.frame_count > 1000);
    front.resume(stop.stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Failed);
    flow.end();
}

/// The virtual machine that comes after the one that died does not know it.
#[test]
fn a_context_that_has_failed_gets_no_further_callback() {
    let stage = Stage::new(
        &filter(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
        ),
        "",
    );
    let front = stage.attached();
    let flow = stage.request(1);
    front.resume(front.stopped().stop, ResumeMode::Continue);
    assert_eq!(flow.action(), Action::Failed);
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    assert_eq!(flow.action(), Action::Failed);
    flow.end();
}

#[test]
fn the_end_of_a_callback_tells_of_its_local_response() {
    let stage = Stage::new(
        r#"(module
            (import "env" "proxy_send_local_response"
                (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 1))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#,
        "",
    );
    let front = stage.attached();
    let flow = stage.request(1);
    assert!(matches!(flow.action(), Action::Respond(response) if response.status == 403));
    flow.call(Callback::ResponseHeaders { end_of_stream: true });
    assert_eq!(flow.action(), Action::Continue);
    flow.end();
    let ended = |callback: &str| {
        front.wait(callback, |event| match event {
            Event::CallbackEnded(ended) if ended.callback == callback => Some(ended.outcome),
            _ => None,
        })
    };
    let request = CallbackOutcome::Returned { value: Some(1), local_response: Some(403) };
    assert_eq!(ended("proxy_on_request_headers"), request);
    let response = CallbackOutcome::Returned { value: Some(0), local_response: None };
    assert_eq!(ended("proxy_on_response_headers"), response);
}

#[test]
fn what_is_debugged_has_more_time_in_host_calls_too() {
    // 16 MB of random bytes are more than 1 ms, and far less than the ten seconds of what is debugged.
    let stage = Stage::new(
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (memory (export "memory") 300)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $random (i32.const 0) (i32.const 0x1000000))))"#,
        "limits:\n  cpu_per_callback: 1ms\n",
    );
    let _front = stage.attached();
    let flow = stage.request(1);
    assert_eq!(flow.action(), Action::Continue, "{}", stage.log());
    flow.end();
}

/// What the slot's thread does beside its virtual machine panics once: here the proxy's part in a decision.
#[test]
fn a_parked_transaction_does_not_wait_for_a_thread_that_panicked() {
    let stage = Stage::new(
        &filter(
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 1))) (i32.const 1))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
            (func (export "proxy_on_tick") (param i32)
                (if (i32.eqz (call $effective (i32.const 2)))
                    (then (drop (call $continue (i32.const 0))))))"#,
        ),
        "",
    );
    let _front = stage.attached();
    let (claim, request) = stage.claim(0, 1, &[]).unwrap();
    let (decisions, decided) = mpsc::channel();
    let mut panicked = false;
    let sink = move |_, action| {
        if !std::mem::replace(&mut panicked, true) {
            panic!("a fault of the proxy's part");
        }
        _ = decisions.send(action);
    };
    let context = claim.enter(request.boxed(), Box::new(sink));
    let (returns, returned) = mpsc::channel();
    context.call(
        Callback::RequestHeaders { end_of_stream: true },
        Box::new(move |outcome| _ = returns.send(outcome.action)),
    );
    assert_eq!(returned.recv_timeout(PATIENCE), Ok(Action::Pause));
    assert_eq!(decided.recv_timeout(PATIENCE), Ok(Action::Failed));
    let (done, ended) = mpsc::channel();
    context.end(Ending::default(), Box::new(move || _ = done.send(())));
    ended.recv_timeout(PATIENCE).unwrap();
    wait_for("the end of the slot", || (stage.threads() == 0).then_some(()));
}
