//! Breakpoints as asked for against where they stand, and what becomes of them.

use std::time::Duration;

use wasmdbg_control::ModulePc;
use wasmdbg_session::{BreakpointOptions, BreakpointSpec, SessionEvent, Step};

use crate::bench::{Bench, function};

fn line(file: &str, line: u32) -> BreakpointSpec {
    BreakpointSpec::Line { file: file.into(), line, column: None }
}

#[test]
fn a_line_without_code_moves_and_says_so() {
    let mut bench = Bench::rust("debug", "91");
    let wanted = bench.line("/// Reads the header's text as a number and decides.");
    let breakpoint = bench.set(line("lib.rs", wanted));
    assert_eq!(breakpoint.notes, [format!("line {wanted} has no code: moved to line {}", wanted + 1)]);
    let position = breakpoint.locations[0].position.as_ref().expect("a position");
    // The line that opens a function is behind its prologue.
    assert_eq!(position.line, bench.line("let Some(text) = text else {"));
}

#[test]
fn what_is_not_there_is_pending_and_says_why() {
    let mut bench = Bench::rust("debug", "91");
    let mut set =
        |spec| bench.session.set_breakpoint(spec, &BreakpointOptions::default()).expect("no failure");
    for (spec, why) in [
        (line("absent.rs", 1), "no source file `absent.rs`"),
        (line("examples/rust-token/src/lib.rs", 100_000), "no code at"),
        (BreakpointSpec::Function("jugde".into()), "no function `jugde`"),
        (BreakpointSpec::Pc(ModulePc(4)), "0x4 is not in a function body"),
    ] {
        let breakpoint = set(spec);
        assert!(breakpoint.is_pending());
        assert!(breakpoint.notes.iter().any(|note| note.contains(why)), "{:?}", breakpoint.notes);
    }
    assert_eq!(bench.session.breakpoints().len(), 4);
}

#[test]
fn hits_are_counted_and_disabled_and_deleted_ones_do_not_stop() {
    let mut bench = Bench::rust("debug", "91");
    let first = bench.set(BreakpointSpec::Function("is_prime".into())).number;
    let second = bench.set(BreakpointSpec::Function("smallest_divisor".into())).number;
    let third = bench.set(BreakpointSpec::Function("refusal".into())).number;
    bench.session.disable_breakpoint(first).expect("disabled");
    let done = bench.request();
    let stop = bench.stop();
    assert_eq!((stop.breakpoints(), function(&stop, 0).as_str()), (&[second][..], "smallest_divisor"));
    bench.session.resume(stop.id(), Step::Continue).expect("to go on");
    let stop = bench.stop();
    assert_eq!(bench.session.breakpoints()[1].hits, 2);
    bench.session.delete_breakpoint(third).expect("deleted");
    assert!(bench.session.delete_breakpoint(third).is_err(), "its number is gone");
    bench.session.resume(stop.id(), Step::Continue).expect("to go on");
    assert!(matches!(bench.event(), SessionEvent::CallbackEnded { ended_step: false, .. }));
    done.recv_timeout(Duration::from_secs(20)).expect("the end");
    assert_eq!(bench.session.breakpoints().iter().map(|b| b.hits).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_temporary_one_goes_with_its_first_hit() {
    let mut bench = Bench::rust("debug", "91");
    let spec = BreakpointSpec::Function("smallest_divisor".into());
    bench
        .session
        .set_breakpoint(spec, &BreakpointOptions { temporary: true, ..BreakpointOptions::default() })
        .expect("a breakpoint");
    let done = bench.request();
    let stop = bench.stop();
    assert_eq!(stop.breakpoints(), [1]);
    assert!(
        matches!(bench.event(), SessionEvent::BreakpointChanged(gone) if gone.number == 1 && gone.hits == 1)
    );
    assert!(bench.session.breakpoints().is_empty());
    // It is called once more.
    bench.session.resume(stop.id(), Step::Continue).expect("to go on");
    assert!(matches!(bench.event(), SessionEvent::CallbackEnded { .. }));
    done.recv_timeout(Duration::from_secs(20)).expect("the end");
}

#[test]
fn one_number_has_a_place_in_each_inlined_copy() {
    let mut bench = Bench::rust("release", "91");
    let breakpoint = bench.break_at("if number < 4 {");
    assert_eq!(breakpoint.locations.len(), 1, "called twice, inlined once: {breakpoint:?}");
    let breakpoint = bench.set(BreakpointSpec::Function("judge".into()));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(stop.breakpoints(), [breakpoint.number]);
    let frame = stop.frame(0).expect("a frame");
    assert!(frame.inlined && frame.function == "rust_token::judge", "{frame:?}");
}

#[test]
fn an_opcode_can_be_named() {
    let mut bench = Bench::cpp("debug");
    let pc = bench.set(BreakpointSpec::Function("measure".into())).locations[0].pc;
    bench.session.delete_breakpoint(1).expect("deleted");
    let breakpoint = bench.set(BreakpointSpec::Pc(pc));
    assert_eq!(breakpoint.requested.to_string(), format!("*{pc}"));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!((stop.frame(0).expect("a frame").pc, function(&stop, 0).as_str()), (pc, "measure"));
}

#[test]
fn a_callback_is_a_function_by_its_export() {
    let mut bench = Bench::cpp("release");
    bench.set(BreakpointSpec::Function("proxy_on_request_headers".into()));
    let _done = bench.request();
    let stop = bench.stop();
    assert_eq!(function(&stop, 0), "proxy_on_request_headers");
    assert_eq!(stop.evaluate(0, "count").expect("an argument").summary(), "3");
}

#[test]
fn names_are_completed() {
    let bench = Bench::rust("debug", "91");
    let functions = bench.session.complete_function("is_prime", 10);
    assert_eq!(functions, ["rust_token::is_prime"]);
    let files = bench.session.complete_file("examples/rust-token/src/", 10);
    assert_eq!(files, ["examples/rust-token/src/lib.rs"]);
    let position = bench.session.function_position("judge").expect("a position");
    assert_eq!(position.line, bench.line("let Some(text) = text else {"));
    assert!(
        bench.session.sources().lines(&position.file, position.line, position.line).is_ok(),
        "by the module's folder"
    );
}
