//! Which stop LLDB is shown, as which thread and with which signal.

use wasmdbg_control::stop::{ReleaseCause, Released, StopReason};
use wasmdbg_control::{Event, SlotId};

use super::proxy::breakpoint;
use super::stage::Stage;

/// A thread is a slot, whatever runs there; the pc comes with the stop, the lowest byte first.
#[test]
fn each_reason_has_its_signal() {
    let mut stage = Stage::new(|_| {});
    let trap = StopReason::Trap { message: "unreachable".into() };
    for (slot, reason, shown) in [
        (1, breakpoint(), "T05thread:03;swbreak:;00:3000000000000040;"),
        (1, StopReason::Interrupt, "T02thread:03;00:3000000000000040;"),
        (7, trap, "T0bthread:09;00:3000000000000040;"),
        (7, StopReason::Step, "T05thread:09;00:3000000000000040;"),
    ] {
        stage.play("-> vCont;c");
        let stop = stage.proxy.stop(slot, reason);
        stage.play(&format!(
            "
            <- {shown}
            -> ?
            <- T05thread:{:02x};
            -> qfThreadInfo
            <- m{:02x}
            -> c
            .. resume {stop} continue
        ",
            slot + 2,
            slot + 2
        ));
        // It runs: the byte makes LLDB stand again, at nothing.
        stage.play(
            "
            -> ^C
            .. interrupt
            <- T02thread:01;
        ",
        );
    }
}

#[test]
fn of_two_stops_the_second_is_shown_when_the_first_goes_on() {
    let mut stage = Stage::new(|_| {});
    stage.proxy.stop(1, breakpoint());
    stage.proxy.stop(2, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
        -> qfThreadInfo
        <- m03
        -> vCont;c
        .. resume 1 continue
        <- T05thread:04;swbreak:;00:3000000000000040;
        -> D
        <- OK
        .. resume 2 continue
        <- (end)
    ",
    );
}

/// Its deadline has passed, or its client has gone, while LLDB looked at it or at another one.
#[test]
fn a_stop_that_is_over_is_not_shown() {
    let mut stage = Stage::new(|state| state.memory = vec![7]);
    let released = |stop, slot, cause| Event::Released(Released { stop, slot: SlotId(slot), cause });
    let shown = stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
    ",
    );
    let waits = stage.proxy.stop(2, breakpoint());
    stage.proxy.tell(released(waits, 2, ReleaseCause::Deadline));
    stage.proxy.stop(3, breakpoint());
    stage.proxy.tell(released(shown, 1, ReleaseCause::ClientGone));
    stage.wait_for("p0", "0000000000000000");
    stage.play(
        "
        -> m0,1
        <- E79
        -> qWasmCallStack:3
        <-
        -> vCont;c
        <- T05thread:05;swbreak:;00:3000000000000040;
        -> m0,1
        .. read_memory 0:0x0+1
        <- 07
    ",
    );
}

#[test]
fn a_stop_that_another_session_controls_is_not_shown() {
    let mut stage = Stage::new(|_| {});
    stage.proxy.stop_as(1, breakpoint(), false);
    stage.proxy.stop(2, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:04;swbreak:;00:3000000000000040;
    ",
    );
}

/// A proxy that lets a stop go on at once, while its frames are still read.
#[test]
fn a_stop_whose_frames_are_gone_is_no_stop() {
    let mut stage = Stage::new(|state| {
        state.frames = vec![super::proxy::frame(0x30), super::proxy::frame(0x40)];
        state.at_once = 1;
        state.over = true;
    });
    stage.play("-> vCont;c");
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        .. frames 1..
        -> ^C
        .. interrupt
        <- T02thread:01;
    ",
    );
}

/// The proxy's deadline counts from LLDB's last question.
#[test]
fn what_lldb_asks_at_a_stop_is_a_sign_of_life() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> qfThreadInfo
        <- m01
    ",
    );
    stage.proxy.set(|state| assert_eq!(state.signs_of_life, 0, "nothing stands"));
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
        -> qfThreadInfo
        .. activity
        <- m03
    ",
    );
}
