//! Conditions, hit conditions and log messages of breakpoints.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::stop::StopReason;
use wasmdbg_session::{Breakpoint, BreakpointOptions, BreakpointSpec, SessionEvent, Step, Stop};

use crate::bench::Bench;

const LOOP: &str = "divisor += 2;";

fn set(bench: &mut Bench, text: &str, options: BreakpointOptions) -> Breakpoint {
    let spec = BreakpointSpec::Line { file: "lib.rs".into(), line: bench.line(text), column: None };
    bench.session.set_breakpoint(spec, &options).expect("a breakpoint")
}

fn when(condition: &str) -> BreakpointOptions {
    BreakpointOptions { condition: Some(condition.into()), ..BreakpointOptions::default() }
}

fn hits(condition: &str) -> BreakpointOptions {
    BreakpointOptions { hit_condition: Some(condition.into()), ..BreakpointOptions::default() }
}

fn divisor(stop: &Arc<Stop>) -> String {
    stop.evaluate(0, "divisor").expect("a value").summary()
}

/// 10007 is prime: the loop runs for 3, 5, … 99.
#[test]
fn a_condition_stops_where_it_holds_and_counts_only_there() {
    let mut bench = Bench::rust("debug", "10007");
    let breakpoint = set(&mut bench, LOOP, when("divisor == 33 || $txn == 0 && divisor > 90"));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(divisor(&stop), "33");
    assert_eq!(stop.breakpoints(), [breakpoint.number]);
    assert_eq!(bench.session.breakpoints()[0].hits, 1);
}

#[test]
fn hit_conditions_count() {
    let mut bench = Bench::rust("debug", "10007");
    set(&mut bench, LOOP, hits("3"));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(divisor(&stop), "7");
    // The third hit is the only one.
    bench.session.resume(stop.id(), Step::Continue).expect("to go on");
    assert!(matches!(bench.event(), SessionEvent::CallbackEnded { .. }));
    assert_eq!(bench.session.breakpoints()[0].hits, 49);

    let mut bench = Bench::rust("debug", "10007");
    set(&mut bench, LOOP, hits("% 20"));
    let _done = bench.request();
    let mut stop = bench.stop();
    assert_eq!(divisor(&stop), "41");
    bench.session.resume(stop.id(), Step::Continue).expect("to go on");
    stop = bench.stop();
    assert_eq!(divisor(&stop), "81");
}

#[test]
fn a_log_message_says_and_does_not_stop() {
    let mut bench = Bench::rust("debug", "121");
    let options = BreakpointOptions {
        log_message: Some("{{{divisor}}} of {number}, {nothing}, {$method}".into()),
        ..BreakpointOptions::default()
    };
    let breakpoint = set(&mut bench, LOOP, options);
    let _done = bench.request();
    let mut said = Vec::new();
    loop {
        match bench.event() {
            SessionEvent::LogPoint { breakpoint: number, text, position, .. } => {
                assert_eq!(number, breakpoint.number);
                assert_eq!(position.map(|position| position.line), Some(bench.line(LOOP)));
                said.push(text);
            }
            SessionEvent::CallbackEnded { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    // Twice for `is_prime`'s and twice for `judge`'s own question; 121 is 11 times 11.
    assert_eq!(said.len(), 8, "{said:?}");
    assert!(said[0].starts_with("{3} of 121, <no variable `nothing`"), "{said:?}");
    assert!(said[0].ends_with("\"GET\""), "{said:?}");
}

#[test]
fn a_condition_that_has_no_value_stops_and_says_so() {
    let mut bench = Bench::rust("debug", "10007");
    set(&mut bench, LOOP, when("divisr > 5"));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(divisor(&stop), "3");
    let notes = stop.summary().notes.join(" ");
    assert!(
        notes.contains("breakpoint 1: the condition cannot be evaluated: no variable `divisr`"),
        "{notes}"
    );
}

#[test]
fn mistakes_are_refused_when_the_breakpoint_is_set() {
    let mut bench = Bench::rust("debug", "10007");
    let spec = || BreakpointSpec::Function("judge".into());
    for (options, part) in [
        (when("a ="), "the condition: "),
        (hits("many"), "is no hit condition"),
        (BreakpointOptions { log_message: Some("{".into()), ..BreakpointOptions::default() }, "closing }"),
    ] {
        let error = bench.session.set_breakpoint(spec(), &options).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(bench.session.breakpoints().is_empty());
}

/// A breakpoint that lets pass what hits it must not swallow the step that was under way.
#[test]
fn steps_go_through_breakpoints_that_let_pass() {
    for false_one in [when("divisor == 0"), when("false")] {
        let mut bench = Bench::rust("debug", "10007");
        bench.break_at("let prime = is_prime(token);");
        let _done = bench.request();
        let stop = bench.stop();
        // In a call that is passed over, many times.
        set(&mut bench, LOOP, false_one.clone());
        // And where the step ends.
        if false_one.condition.as_deref() == Some("false") {
            set(&mut bench, "if prime {", false_one);
        }
        let stop = bench.step(&stop, Step::Over);
        assert_eq!(bench.at(&stop, 0), "judge: if prime {");
        assert_eq!(*stop.reason(), StopReason::Step);
    }
}

#[test]
fn finish_and_stepi_go_through_breakpoints_that_let_pass() {
    let mut bench = Bench::rust("debug", "10007");
    bench.set(BreakpointSpec::Function("smallest_divisor".into()));
    let _done = bench.request();
    let stop = bench.stop();
    set(&mut bench, LOOP, when("divisor == 0"));
    let out = bench.step(&stop, Step::Out { frame: 1 });
    assert_eq!(bench.at(&out, 0), "judge: let prime = is_prime(token);");
    let pc = out.frame(0).expect("a frame").pc;
    let next = bench.step(&out, Step::Instruction);
    let here = next.frame(0).expect("a frame").pc;
    assert!(here > pc);
    let spec = BreakpointSpec::Pc(bench.step(&next, Step::Instruction).frame(0).expect("a frame").pc);
    bench.session.set_breakpoint(spec, &when("false")).expect("a breakpoint");
    assert!(bench.session.next_event(Duration::ZERO).is_none());
}

#[test]
fn nexti_goes_over_calls() {
    let mut bench = Bench::rust("debug", "10007");
    bench.break_at("let prime = is_prime(token);");
    let _done = bench.request();
    let mut stop = bench.stop();
    let depth = stop.info().frame_count;
    let line = bench.line("let prime = is_prime(token);");
    let mut steps = 0;
    while stop.frame(0).expect("a frame").position.is_some_and(|position| position.line == line) {
        stop = bench.step(&stop, Step::InstructionOver);
        assert_eq!(stop.info().frame_count, depth, "never in the callee");
        steps += 1;
    }
    assert!((3..200).contains(&steps), "{steps} opcodes");
}
