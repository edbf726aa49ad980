//! What reaches a root context from outside of its transactions, in either lane.

use std::sync::mpsc;

use wasmdbg_control::session::{Attach, Detach};
use wasmdbg_control::stop::{CallbackOutcome, ResumeMode};
use wasmdbg_control::{Event, FilterId};
use wasmdbg_proxy_wasm::{Action, DebugRoot, Letter};

use crate::debug_stage::{PATIENCE, Stage, attach, filter, wait_for};

/// Its ticks log, or trap while the log level is critical; its requests can be stopped.
fn ticking() -> String {
    filter(
        r#"(func (export "proxy_on_tick") (param i32)
            (drop (call $level (i32.const 0)))
            (if (i32.eq (i32.load (i32.const 0)) (i32.const 5)) (then unreachable))
            (drop (call $log (i32.const 3) (i32.const 21) (i32.const 4))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (i32.const 8000))
            (i32.const 0))"#,
    )
}

fn root(stage: &Stage) -> DebugRoot {
    stage.lane.root(FilterId(0)).expect("somebody debugs the filter")
}

/// Waits for what has become of the letter.
fn post(root: DebugRoot, letter: Letter) -> Action {
    let (sender, outcome) = mpsc::channel();
    root.post(letter, Box::new(move |outcome| _ = sender.send(outcome.action)));
    outcome.recv_timeout(PATIENCE).expect("an answer")
}

#[test]
fn a_letter_goes_to_a_slot_that_serves_nobody() {
    let stage = Stage::with(&[("debugged", &ticking()), ("other", &ticking())], "");
    assert!(stage.lane.root(FilterId(0)).is_none(), "nobody is attached");
    let front = stage.client();
    front.attach(Attach { filters: vec!["debugged".into()], all: true, ..attach() }).unwrap();
    assert!(stage.lane.root(FilterId(1)).is_none(), "nobody debugs this one");
    front.breakpoints(stage.module(), &[stage.pc(8000)]);
    let stopped = stage.request(1);
    let stop = front.stopped();
    let served = stage.request(2);
    front.resume(front.stopped().stop, ResumeMode::Continue);
    served.action();
    served.end();
    assert_eq!(post(root(&stage), Letter::Tick), Action::Continue);
    assert_eq!(stage.log().matches("text\n").count(), 1, "{}", stage.log());
    assert!(stopped.is_held(), "the other slot has nothing to do with it");
    front.resume(stop.stop, ResumeMode::Continue);
    stopped.action();
    stopped.end();
}

#[test]
fn a_letter_that_the_filter_dies_of_has_failed_and_the_next_one_has_a_new_machine() {
    let stage = Stage::new(&ticking(), "");
    let front = stage.attached();
    front.wait_status("a slot", |status| status.slots.len() == 1);
    stage.host.quiet.store(true, std::sync::atomic::Ordering::SeqCst);
    let (sender, outcome) = mpsc::channel();
    root(&stage).post(Letter::Tick, Box::new(move |outcome| _ = sender.send(outcome.action)));
    // Nobody asked for a stop there: it is shown because the session debugs the filter.
    front.resume(front.stopped().stop, ResumeMode::Continue);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Action::Failed));
    let ended = front.wait("the end of the tick", |event| match event {
        Event::CallbackEnded(ended) if ended.callback == "proxy_on_tick" => Some(ended.outcome),
        _ => None,
    });
    assert!(matches!(ended, CallbackOutcome::Trapped { .. }), "{ended:?}");
    stage.host.quiet.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(post(root(&stage), Letter::Tick), Action::Continue);
}

#[test]
fn a_letter_to_a_slot_that_has_gone_has_failed() {
    let stage = Stage::new(&ticking(), "");
    let front = stage.attached();
    let root = root(&stage);
    front.client.call(Detach {}).unwrap();
    wait_for("no slot", || (stage.threads() == 0).then_some(()));
    assert_eq!(post(root, Letter::Tick), Action::Failed);
}
