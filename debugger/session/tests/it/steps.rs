//! Steps by line through real filters, unoptimised and optimised.

use std::time::Duration;

use wasmdbg_control::stop::{CallbackOutcome, StopReason};
use wasmdbg_session::{BreakpointOptions, BreakpointSpec, Format, Libraries, SessionEvent, Step};

use crate::bench::{Bench, function, stack};

const CALL: &str = "self.verdict = judge(text.as_deref());";
const PRIME: &str = "let prime = is_prime(token);";

#[test]
fn next_goes_from_line_to_line_and_over_calls() {
    let mut bench = Bench::rust("debug", "91");
    bench.break_at(PRIME);
    let _done = bench.request();
    let mut stop = bench.stop();
    assert_eq!(bench.at(&stop, 0), format!("judge: {PRIME}"));
    let mut lines = Vec::new();
    for _ in 0..5 {
        stop = bench.step(&stop, Step::Over);
        lines.push(bench.at(&stop, 0));
    }
    assert_eq!(
        lines,
        [
            "judge: if prime {",
            "judge: Verdict::Composite { number: token, divisor: smallest_divisor(token) }",
            // rustc gives what is behind both arms to the line of the condition.
            "judge: if prime {",
            "judge: }",
            // The rest of the calling line is run too: a step ends where a statement starts.
            "on_http_request_headers: match &self.verdict {",
        ]
    );
    assert_eq!(*stop.reason(), StopReason::Step);
    let verdict = stop.evaluate(0, "self.verdict").expect("a value").display(Format::Natural);
    assert_eq!(verdict, "Composite { number: 91, divisor: 7 }");
}

#[test]
fn step_enters_a_function_behind_its_prologue() {
    let mut bench = Bench::rust("debug", "91");
    bench.break_at(PRIME);
    let _done = bench.request();
    let stop = bench.stop();
    let stop = bench.step(&stop, Step::Into);
    assert_eq!(bench.at(&stop, 0), "is_prime: if number < 2 {");
    assert_eq!(stop.evaluate(0, "number").expect("a value").summary(), "91");
    assert_eq!(bench.at(&stop, 1), format!("judge: {PRIME}"));
    assert_eq!(stop.evaluate(1, "token + 1").expect("a value").summary(), "92");
}

#[test]
fn finish_stops_in_the_caller_and_next_completes_its_line() {
    let mut bench = Bench::rust("debug", "10007");
    bench.set(BreakpointSpec::Function("smallest_divisor".into()));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(stack(&stop, 3), "smallest_divisor < is_prime < judge");
    let out = bench.step(&stop, Step::Out { frame: 0 });
    assert_eq!(bench.at(&out, 0), "is_prime: smallest_divisor(number) == number");
    assert_eq!(out.returned(), Some("smallest_divisor returned 10007"));
    let out = bench.step(&out, Step::Over);
    assert_eq!(bench.at(&out, 0), "is_prime: }");
    let next = bench.step(&out, Step::Over);
    assert_eq!(bench.at(&next, 0), "judge: if prime {");
    assert_eq!(next.evaluate(0, "prime").expect("a value").summary(), "true");
}

#[test]
fn finish_leaves_several_frames_at_once() {
    let mut bench = Bench::rust("debug", "10007");
    bench.set(BreakpointSpec::Function("smallest_divisor".into()));
    let _done = bench.request();
    let stop = bench.stop();
    let out = bench.step(&stop, Step::Out { frame: 1 });
    assert_eq!(bench.at(&out, 0), format!("judge: {PRIME}"));
    assert_eq!(out.returned(), Some("is_prime returned true"), "not what the innermost one did");
}

#[test]
fn an_inlined_frame_is_left_from_further_in_and_its_caller_is_not() {
    let mut bench = Bench::rust("release", "10007");
    bench.set(BreakpointSpec::Function("get_map".into()));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(
        stack(&stop, 4),
        "get_map < ~get_http_request_headers < ~log_headers < on_http_request_headers"
    );
    let out = bench.step(&stop, Step::Out { frame: 1 });
    assert_eq!(stack(&out, 2), "~log_headers < on_http_request_headers");
    let out = bench.step(&out, Step::Out { frame: 0 });
    assert_eq!(function(&out, 0), "on_http_request_headers");
}

#[test]
fn steps_pass_through_the_standard_library_unless_told_otherwise() {
    let mut bench = Bench::rust("debug", "91");
    bench.break_at(CALL);
    let _done = bench.request();
    let stop = bench.stop();
    let stop = bench.step(&stop, Step::Into);
    assert_eq!(function(&stop, 0), "judge");

    let mut bench = Bench::rust("debug", "91");
    bench.session.set_libraries(Libraries::Enter);
    bench.break_at(CALL);
    let _done = bench.request();
    let stop = bench.stop();
    let stop = bench.step(&stop, Step::Into);
    assert!(stop.frame(0).expect("a frame").function.contains("as_deref"), "{}", stack(&stop, 2));
}

#[test]
fn an_inlined_call_is_entered_stepped_over_and_left() {
    let mut bench = Bench::rust("release", "91");
    bench.break_at(CALL);
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(
        bench.at(&stop, 0),
        format!("on_http_request_headers: {CALL}"),
        "in front of the inlined call"
    );
    let mut inside = bench.step(&stop, Step::Into);
    assert_eq!(stack(&inside, 2), "~judge < on_http_request_headers");
    assert_eq!(bench.at(&inside, 1), format!("on_http_request_headers: {CALL}"));
    while function(&inside, 0) != "is_prime" {
        assert_eq!(stack(&inside, 2), "~judge < on_http_request_headers");
        inside = bench.step(&inside, Step::Into);
    }
    assert_eq!(stack(&inside, 3), "~is_prime < ~judge < on_http_request_headers");
    // The optimiser kept `token` only inside the calls it was passed to.
    assert_eq!(inside.evaluate(1, "token").expect("a value").summary(), "<optimized out>");
    let out = bench.step(&inside, Step::Out { frame: 0 });
    assert_eq!(stack(&out, 2), "~judge < on_http_request_headers");
    let out = bench.step(&out, Step::Out { frame: 0 });
    assert_eq!(function(&out, 0), "on_http_request_headers");

    let mut bench = Bench::rust("release", "91");
    bench.break_at(CALL);
    let _done = bench.request();
    let stop = bench.stop();
    let over = bench.step(&stop, Step::Over);
    assert_eq!(bench.at(&over, 0), "on_http_request_headers: match &self.verdict {", "over all of `judge`");
}

#[test]
fn an_inlined_call_that_begins_at_the_pc_is_entered_without_moving() {
    let mut bench = Bench::rust("release", "10007");
    bench.break_at(PRIME);
    let _done = bench.request();
    let mut stop = bench.stop();
    assert_eq!(stack(&stop, 2), "~judge < on_http_request_headers");
    let pc = stop.frame(0).expect("a frame").pc;
    stop = bench.step(&stop, Step::Into);
    assert_eq!(stack(&stop, 3), "~is_prime < ~judge < on_http_request_headers");
    assert_eq!(stop.frame(0).expect("a frame").pc, pc);
    assert_eq!(*stop.reason(), StopReason::Step);
    assert!(stop.breakpoints().is_empty());
}

#[test]
fn until_runs_to_a_line_and_out_of_a_loop() {
    let mut bench = Bench::rust("debug", "10007");
    let spec =
        BreakpointSpec::Line { file: "lib.rs".into(), line: bench.line("divisor += 2;"), column: None };
    bench
        .session
        .set_breakpoint(spec, &BreakpointOptions { temporary: true, ..BreakpointOptions::default() })
        .expect("a breakpoint");
    let _done = bench.request();
    let stop = bench.stop();
    assert!(matches!(bench.event(), SessionEvent::BreakpointChanged(gone) if gone.number == 1));
    let out = bench.step(&stop, Step::Until { frame: 0, line: None });
    assert_eq!(bench.at(&out, 0), "smallest_divisor: number", "behind the loop, not at its head");

    let mut bench = Bench::rust("debug", "10007");
    bench.set(BreakpointSpec::Function("judge".into()));
    let _done = bench.request();
    let stop = bench.stop();
    let line = bench.line(PRIME);
    let stop = bench.step(&stop, Step::Until { frame: 0, line: Some(line) });
    assert_eq!(bench.at(&stop, 0), format!("judge: {PRIME}"));
    let other = bench.line(CALL);
    let error =
        bench.session.resume(stop.id(), Step::Until { frame: 0, line: Some(other) }).expect_err("elsewhere");
    assert!(error.to_string().contains("is not in rust_token::judge"), "{error}");
}

#[test]
fn a_step_that_runs_out_of_the_callback_ends_with_it() {
    let mut bench = Bench::cpp("debug");
    bench.break_at("if (request.bytes > limit) {");
    let _done = bench.request();
    let mut stop = bench.stop();
    loop {
        bench.session.resume(stop.id(), Step::Over).expect("to step");
        match bench.event() {
            SessionEvent::Stopped(next) => stop = next,
            SessionEvent::CallbackEnded { ended, ended_step } => {
                assert!(ended_step);
                assert_eq!(ended.outcome, CallbackOutcome::Returned { value: Some(0), local_response: None });
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(bench.session.stops().is_empty());
    assert!(bench.session.resume(stop.id(), Step::Over).is_err(), "that stop is over");
}

#[test]
fn one_opcode_at_a_time() {
    let mut bench = Bench::cpp("release");
    bench.set(BreakpointSpec::Function("measure".into()));
    let _done = bench.request();
    let mut stop = bench.stop();
    for _ in 0..10 {
        let (pc, depth) = (stop.frame(0).expect("a frame").pc, stop.info().frame_count);
        stop = bench.step(&stop, Step::Instruction);
        let next = stop.frame(0).expect("a frame").pc;
        assert!(next != pc || depth != stop.info().frame_count);
        assert!(next.0.abs_diff(pc.0) < 64 || depth != stop.info().frame_count, "{pc} to {next}");
    }
}

#[test]
fn a_loop_of_an_optimised_cpp_filter_is_walked_and_left() {
    for build in ["debug", "release"] {
        let mut bench = Bench::cpp(build);
        bench.set(BreakpointSpec::Function("measure".into()));
        let _done = bench.request();
        let mut stop = bench.stop();
        let mut sizes = Vec::new();
        while function(&stop, 0) == "measure" {
            let at = bench.at(&stop, 0);
            if at.contains("if (header_size > longest_size)") {
                sizes.push(stop.evaluate(0, "header_size").map_or_else(|e| e.to_string(), |v| v.summary()));
            }
            stop = bench.step(&stop, Step::Over);
        }
        assert_eq!(sizes, ["10", "13", "2"], "{build}");
        assert_eq!(function(&stop, 0), "proxy_on_request_headers");
    }
}

#[test]
fn a_stop_names_its_request_and_says_once_that_the_machine_is_fresh() {
    let mut bench = Bench::rust("debug", "91");
    bench.set(BreakpointSpec::Function("smallest_divisor".into()));
    let done = bench.request();
    let first = bench.stop();
    let summary = first.summary();
    assert_eq!((summary.thread.as_str(), summary.reason.as_str()), ("GET /path #17", "breakpoint 1"));
    assert!(summary.notes.iter().any(|note| note.contains("not here")), "{:?}", summary.notes);
    let frames = first.frames(0, u32::MAX).expect("frames");
    assert!(frames.len() > 6, "more than the event carried: {}", frames.len());
    assert_eq!(
        frames.last().map(|frame| frame.function.as_str()),
        Some("proxy_wasm::dispatcher::proxy_on_request_headers")
    );
    assert_eq!(frames.len() as u32, first.frame_count().expect("a count"));
    assert!(first.frame(frames.len() as u32).is_err());
    bench.session.resume(first.id(), Step::Continue).expect("to go on");
    let second = bench.stop();
    assert!(second.summary().notes.is_empty());
    bench.session.resume(second.id(), Step::Continue).expect("to go on");
    let host = done.recv_timeout(Duration::from_secs(20)).expect("the end");
    assert_eq!(host.local_response, Some(403));
}
