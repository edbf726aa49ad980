//! Every way to resume: where it stops and where it does not.

use wasmdbg_control::ErrorKind;
use wasmdbg_control::PcRange;
use wasmdbg_control::stop::{Calls, Resume, ResumeMode, StopReason, Stopped};
use wasmdbg_proxy_wasm::Callback;

use crate::debug_stage::{Flow, Front, Stage, filter, i32s, refusal};

/// A "line" is what lies between two markers. `$callee` spins as often as the byte at 0 times 65536 says
/// (by default not at all): with a lot of it a step has to run at full speed.
fn lines() -> String {
    filter(
        r#"(func $callee (param $n i32) (result i32) (local $spin i32)
            (drop (i32.const 6100))
            (local.set $spin (i32.shl (i32.load8_u (i32.const 0)) (i32.const 16)))
            (block (loop
                (br_if 1 (i32.eqz (local.get $spin)))
                (local.set $spin (i32.sub (local.get $spin) (i32.const 1)))
                (br 0)))
            (i32.add (local.get $n) (i32.const 1)))
        (func $down (param $n i32) (result i32)
            (drop (i32.const 6200))
            (if (result i32) (local.get $n)
                (then (call $down (i32.sub (local.get $n) (i32.const 1))))
                (else (i32.const 7)))
            (drop (i32.const 6201)))
        (func $lines (param $n i32) (result i32) (local $x i32)
            (drop (i32.const 6000))
            (local.set $x (call $callee (local.get $n)))
            (drop (i32.const 6001))
            (local.set $x (i32.add (local.get $x) (call $down (i32.const 3))))
            (drop (i32.const 6002))
            (local.get $x))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 6300))
            (drop (call $lines (i32.const 10)))
            (drop (i32.const 6301))
            ;; The host allocates in the guest for this one.
            (drop (call $header (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 512) (i32.const 516)))
            (drop (i32.const 6302))
            (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 6400))
            (i32.const 0))"#,
    )
}

struct Session {
    stage: Stage,
    front: Front,
    flow: Flow,
}

impl Session {
    /// Stands at `marker`, with no other breakpoint.
    fn at(marker: u32) -> (Self, Stopped) {
        let stage = Stage::new(&lines(), "");
        let front = stage.attached();
        front.breakpoints(stage.module(), &[stage.pc(marker)]);
        let flow = stage.request(1);
        let stop = front.stopped();
        front.breakpoints(stage.module(), &[]);
        (Self { stage, front, flow }, stop)
    }

    fn line(&self, from: u32, to: u32, calls: Calls) -> ResumeMode {
        let range = PcRange { start: self.stage.pc(from), end: self.stage.pc(to) };
        ResumeMode::Range { ranges: vec![range], calls }
    }

    fn step(&self, stop: &Stopped, mode: ResumeMode) -> Stopped {
        self.front.step(stop.stop, mode)
    }

    /// Makes the callee spin 65536 times `count`.
    fn spin(&self, stop: &Stopped, count: u8) {
        let data = vec![count];
        let write = wasmdbg_control::state::WriteMemory { stop: stop.stop, memory: 0, address: 0, data };
        self.front.client.call(write).unwrap();
    }

    #[track_caller]
    fn is_at(&self, stop: &Stopped, marker: u32) {
        assert_eq!(stop.reason, StopReason::Step);
        assert_eq!(stop.frames[0].pc, self.stage.pc(marker), "at marker {marker}");
    }

    /// Resumes, and asserts that nothing stops before the callback's end.
    fn finish(self, stop: &Stopped, mode: ResumeMode) {
        self.front.resume(stop.stop, mode);
        self.flow.action();
        self.flow.end();
        let stops = self.front.events.try_iter();
        assert_eq!(stops.filter(|event| matches!(event, wasmdbg_control::Event::Stopped(_))).count(), 0);
    }
}

const CONTINUE: ResumeMode = ResumeMode::Continue;

#[test]
fn an_instruction_is_one_opcode_into_calls_and_out_again() {
    let (session, mut stop) = Session::at(6000);
    let mut trail = Vec::new();
    for _ in 0..6 {
        stop = session.step(&stop, ResumeMode::Instruction);
        trail.push((stop.frames[0].function, stop.frame_count));
    }
    // drop, local.get, call, then three opcodes of the callee.
    let (lines, callee) = (stop.frames[1].function, stop.frames[0].function);
    assert_ne!(lines, callee);
    assert_eq!(trail[..3], [(lines, 2); 3]);
    assert_eq!(trail[3..], [(callee, 3); 3]);
    session.finish(&stop, CONTINUE);
}

#[test]
fn over_runs_a_callee_through() {
    let (session, stop) = Session::at(6000);
    let stop = session.step(&stop, session.line(6000, 6001, Calls::Over));
    session.is_at(&stop, 6001);
    assert_eq!(i32s(&stop.frames[0].locals), [10, 11]);
    assert_eq!(stop.frame_count, 2);
    session.finish(&stop, CONTINUE);
}

#[test]
fn over_runs_a_long_callee_at_full_speed() {
    let (session, stop) = Session::at(6000);
    // Some 80 million opcodes: by single steps this test would take its whole patience.
    session.spin(&stop, 255);
    let stop = session.step(&stop, session.line(6000, 6001, Calls::Over));
    session.is_at(&stop, 6001);
    assert_eq!(i32s(&stop.frames[0].locals), [10, 11]);
    // And steps go on from there.
    let stop = session.step(&stop, ResumeMode::Instruction);
    assert_eq!(stop.frames[0].pc, session.stage.pc(6001) + 3);
    session.finish(&stop, CONTINUE);
}

#[test]
fn a_breakpoint_in_a_long_callee_ends_a_step_over_it() {
    let (session, stop) = Session::at(6000);
    session.spin(&stop, 9);
    let end = session.stage.pc(6100) + 3;
    session.front.breakpoints(session.stage.module(), &[end]);
    let stop = session.step(&stop, session.line(6000, 6001, Calls::Over));
    assert_eq!(stop.reason, StopReason::Breakpoint { ids: vec![1] });
    assert_eq!(stop.frame_count, 3);
    session.finish(&stop, CONTINUE);
}

#[test]
fn into_stops_at_the_callees_first_opcode() {
    let (session, stop) = Session::at(6000);
    let stop = session.step(&stop, session.line(6000, 6001, Calls::Into));
    session.is_at(&stop, 6100);
    assert_eq!(stop.frame_count, 3);
    session.finish(&stop, CONTINUE);
}

#[test]
fn into_a_host_call_is_not_into_what_the_host_allocates() {
    let (session, stop) = Session::at(6301);
    let stop = session.step(&stop, session.line(6301, 6302, Calls::Into));
    session.is_at(&stop, 6302);
    session.finish(&stop, CONTINUE);
}

#[test]
fn a_breakpoint_in_what_the_host_allocates_shows_the_whole_stack() {
    let (session, stop) = Session::at(6301);
    session.front.breakpoints(session.stage.module(), &[session.stage.pc(9000)]);
    let stop = session.step(&stop, CONTINUE);
    assert_eq!(stop.frame_count, 2, "malloc and, beyond the host, the callback");
    // Out of it leads through the host to the callback.
    let stop = session.step(&stop, ResumeMode::Out { frame: 0 });
    assert_eq!((stop.reason.clone(), stop.frame_count), (StopReason::Step, 1));
    session.finish(&stop, CONTINUE);
}

#[test]
fn over_a_recursion_stays_in_its_own_frame() {
    let (session, stop) = Session::at(6001);
    let stop = session.step(&stop, session.line(6001, 6002, Calls::Over));
    session.is_at(&stop, 6002);
    assert_eq!(i32s(&stop.frames[0].locals), [10, 18]);
    session.finish(&stop, CONTINUE);
}

#[test]
fn inside_a_recursion_frames_of_the_same_function_are_told_apart() {
    let (session, _) = {
        let (session, stop) = Session::at(6001);
        let stop = session.step(&stop, session.line(6001, 6002, Calls::Into));
        session.is_at(&stop, 6200);
        // The line of the recursive call, over it: the callee's own 6201 is not ours.
        let depth = stop.frame_count;
        let stop = session.step(&stop, session.line(6200, 6201, Calls::Over));
        session.is_at(&stop, 6201);
        assert_eq!((stop.frame_count, i32s(&stop.frames[0].locals)), (depth, vec![3]));
        (session, stop)
    };
    drop(session);
    let (session, stop) = Session::at(6001);
    let stop = session.step(&stop, session.line(6001, 6002, Calls::Into));
    let stop = session.step(&stop, session.line(6200, 6201, Calls::Into));
    session.is_at(&stop, 6200);
    assert_eq!(i32s(&stop.frames[0].locals), [2], "one deeper");
    session.finish(&stop, CONTINUE);
}

#[test]
fn out_of_a_recursion_by_frame_number() {
    let stage = Stage::new(&lines(), "");
    let front = stage.attached();
    front.breakpoints(stage.module(), &[stage.pc(6200)]);
    let flow = stage.request(1);
    let mut stop = front.stopped();
    while i32s(&stop.frames[0].locals) != [0] {
        stop = front.step(stop.stop, CONTINUE);
    }
    front.breakpoints(stage.module(), &[]);
    // $down four times, $lines, the callback.
    assert_eq!(stop.frame_count, 6);
    let stop = front.step(stop.stop, ResumeMode::Out { frame: 0 });
    assert_eq!((stop.reason.clone(), stop.frame_count), (StopReason::Step, 5));
    assert_eq!(i32s(&stop.frames[0].locals), [1]);
    let stop = front.step(stop.stop, ResumeMode::Out { frame: 1 });
    assert_eq!((stop.frame_count, i32s(&stop.frames[0].locals)), (3, vec![3]));
    let stop = front.step(stop.stop, ResumeMode::Out { frame: 0 });
    assert_eq!((stop.frame_count, i32s(&stop.frames[0].locals)), (2, vec![10, 11]));
    let asked = Resume { stop: stop.stop, mode: ResumeMode::Out { frame: 9 } };
    assert_eq!(refusal(front.client.call(asked)), ErrorKind::State);
    front.resume(stop.stop, CONTINUE);
    flow.action();
    flow.end();
}

#[test]
fn out_after_a_step_and_out_of_a_long_callee() {
    let (session, stop) = Session::at(6000);
    session.spin(&stop, 255);
    let stop = session.step(&stop, session.line(6000, 6001, Calls::Into));
    // Single-step is on by now.
    let stop = session.step(&stop, ResumeMode::Out { frame: 0 });
    assert_eq!((stop.reason.clone(), stop.frame_count), (StopReason::Step, 2));
    assert!(stop.frames[0].pc < session.stage.pc(6001));
    session.finish(&stop, CONTINUE);
}

#[test]
fn out_of_the_outermost_frame_ends_the_callback_and_nothing_stops() {
    let (session, stop) = Session::at(6300);
    session.finish(&stop, ResumeMode::Out { frame: 0 });
}

#[test]
fn a_step_does_not_reach_into_the_next_callback() {
    let (session, stop) = Session::at(6302);
    let start = session.stage.pc(6302);
    let ranges = vec![PcRange { start, end: start + 100 }];
    session.front.resume(stop.stop, ResumeMode::Range { ranges, calls: Calls::Into });
    session.flow.action();
    session.flow.call(Callback::ResponseHeaders { end_of_stream: true });
    session.flow.action();
    session.flow.end();
    let stops = session.front.events.try_iter();
    assert_eq!(stops.filter(|event| matches!(event, wasmdbg_control::Event::Stopped(_))).count(), 0);
}

#[test]
fn until_stops_at_its_pcs_or_when_the_frame_has_returned() {
    let (session, stop) = Session::at(6000);
    let until = |pc, frame| ResumeMode::Until { pcs: vec![pc], frame };
    let stop = session.step(&stop, until(session.stage.pc(6002), 0));
    session.is_at(&stop, 6002);
    // A pc that this frame does not pass any more: its end.
    let stop = session.step(&stop, until(session.stage.pc(6000), 0));
    assert_eq!((stop.reason.clone(), stop.frame_count), (StopReason::Step, 1));
    session.finish(&stop, CONTINUE);
}

#[test]
fn until_does_not_stop_in_deeper_frames() {
    let (session, stop) = Session::at(6001);
    let stop = session.step(&stop, session.line(6001, 6002, Calls::Into));
    let depth = stop.frame_count;
    let pc = session.stage.pc(6201);
    let stop = session.step(&stop, ResumeMode::Until { pcs: vec![pc], frame: 0 });
    session.is_at(&stop, 6201);
    assert_eq!(stop.frame_count, depth, "the deeper ones passed it first");
    session.finish(&stop, CONTINUE);
}
