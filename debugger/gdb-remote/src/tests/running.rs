//! Going on, stepping, and making what runs stop.

use wasmdbg_control::stop::{CallbackEnded, CallbackOutcome, StopReason};
use wasmdbg_control::{Event, SlotId};

use super::proxy::{ROOT, breakpoint};
use super::stage::Stage;

/// A slot's callback returns.
fn returned(slot: u32) -> Event {
    Event::CallbackEnded(CallbackEnded {
        slot: SlotId(slot),
        context: ROOT,
        callback: "proxy_on_tick".into(),
        outcome: CallbackOutcome::Returned { value: None, local_response: None },
    })
}

/// In slot 1, and shown.
fn stopped() -> Stage {
    let mut stage = Stage::new(|_| {});
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
    ",
    );
    stage
}

#[test]
fn a_stop_goes_on_and_the_next_one_is_shown() {
    let mut stage = stopped();
    stage.play(
        "
        -> vCont;c:3
        .. resume 1 continue
    ",
    );
    stage.proxy.set(|state| state.frames[0].pc.0 = 0x44);
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        <- T05thread:03;swbreak:;00:4400000000000040;
        -> vCont;c
        .. resume 2 continue
    ",
    );
}

/// LLDB steps by opcodes, and knows no breakpoint where a step ends even if one stands there.
#[test]
fn a_step_ends_at_the_next_opcode() {
    let mut stage = stopped();
    for (stop, reason) in [(1, StopReason::Step), (2, breakpoint())] {
        stage.play(&format!(
            "
            -> vCont;s:3
            .. resume {stop} instruction
        "
        ));
        stage.proxy.stop(1, reason);
        stage.play("<- T05thread:03;00:3000000000000040;");
    }
    // The step is over: this is a breakpoint again.
    stage.play(
        "
        -> vCont;c
        .. resume 3 continue
    ",
    );
    stage.proxy.stop(1, breakpoint());
    stage.play("<- T05thread:03;swbreak:;00:3000000000000040;");
}

/// LLDB would take another request's stop for the end of its step.
#[test]
fn while_a_slot_steps_stops_of_others_wait() {
    let mut stage = stopped();
    stage.play(
        "
        -> vCont;s:3
        .. resume 1 instruction
    ",
    );
    stage.proxy.stop(2, breakpoint());
    stage.proxy.tell(returned(2));
    stage.proxy.stop(1, StopReason::Step);
    stage.play(
        "
        <- T05thread:03;00:3000000000000040;
        -> vCont;c
        .. resume 3 continue
        <- T05thread:04;swbreak:;00:3000000000000040;
    ",
    );
}

#[test]
fn a_step_out_of_the_filter_ends_with_its_callback() {
    let mut stage = stopped();
    stage.play(
        "
        -> vCont;s:3
        .. resume 1 instruction
    ",
    );
    stage.proxy.tell(returned(1));
    stage.play(
        "
        <- T05thread:01;
        -> p0
        <- 0000000000000000
        -> vCont;c
    ",
    );
    // Nothing steps any more.
    stage.proxy.tell(returned(1));
    stage.proxy.stop(2, breakpoint());
    stage.play("<- T05thread:04;swbreak:;00:3000000000000040;");
}

/// Its deadline has passed before LLDB wanted a step: there is none to wait for.
#[test]
fn a_stop_that_went_on_by_itself_does_not_step() {
    let mut stage = stopped();
    stage.proxy.set(|state| state.over = true);
    stage.play(
        "
        -> vCont;s:3
        .. resume 1 instruction
    ",
    );
    stage.proxy.stop(2, breakpoint());
    stage.play("<- T05thread:04;swbreak:;00:3000000000000040;");
}

/// The signal is that of the stop that comes.
#[test]
fn what_runs_can_be_interrupted() {
    let mut stage = Stage::new(|state| state.running = 1);
    stage.play(
        "
        -> vCont;c
        -> ^C
        .. interrupt
    ",
    );
    stage.proxy.stop(5, StopReason::Interrupt);
    stage.play(
        "
        <- T02thread:07;00:3000000000000040;
        -> vCont;c
        .. resume 1 continue
        ",
    );
    // That was it: the end of this callback is none of LLDB's business.
    stage.proxy.tell(returned(5));
    stage.proxy.stop(5, breakpoint());
    stage.play("<- T05thread:07;swbreak:;00:3000000000000040;");
}

/// The proxy serves everybody; LLDB stands at nothing.
#[test]
fn with_nothing_to_interrupt_lldb_stands_by_itself() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> vCont;c
        -> ^C
        .. interrupt
        <- T02thread:01;
        -> qWasmCallStack:1
        <-
        -> vCont;c
    ",
    );
    stage.proxy.stop(1, breakpoint());
    stage.play("<- T05thread:03;swbreak:;00:3000000000000040;");
}

/// The callback may be over before it comes to a place where it could stop.
#[test]
fn an_interrupt_that_comes_too_late_is_over_with_the_callback() {
    let mut stage = Stage::new(|state| state.running = 1);
    stage.play(
        "
        -> vCont;c
        -> ^C
        .. interrupt
    ",
    );
    stage.proxy.tell(returned(1));
    stage.play(
        "
        <- T02thread:01;
        -> vCont;c
    ",
    );
    // Nobody waits for another one.
    stage.proxy.tell(returned(1));
    stage.proxy.stop(1, breakpoint());
    stage.play("<- T05thread:03;swbreak:;00:3000000000000040;");
}

/// LLDB's byte can cross a stop on its way.
#[test]
fn an_interrupt_while_lldb_stands_ends_its_next_run() {
    let mut stage = stopped();
    stage.play(
        "
        -> ^C
        .. interrupt
        -> vCont;c
        .. resume 1 continue
        <- T02thread:03;
    ",
    );
}
