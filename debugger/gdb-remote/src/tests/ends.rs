//! Whoever goes, nothing stays stopped for LLDB, and the next one is served while the proxy is there.

use std::io::Read;

use wasmdbg_control::stop::{ReleaseCause, Released};
use wasmdbg_control::{Event, SlotId};

use super::proxy::breakpoint;
use super::stage::Stage;

/// A breakpoint, a stop that LLDB has been shown, and one that waits.
fn busy() -> Stage {
    let mut stage = Stage::new(|_| {});
    let first = stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> Z0,4000000000000030,1
        .. set_breakpoints token 1@0x30
        <- OK
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
    ",
    );
    stage.proxy.stop(2, breakpoint());
    stage.proxy.stop(3, breakpoint());
    let cause = ReleaseCause::Deadline;
    stage.proxy.tell(Event::Released(Released { stop: first, slot: SlotId(1), cause }));
    // The server has taken the others when it has taken this.
    stage.wait_for("p0", "0000000000000000");
    stage.play(
        "
        -> vCont;c
        <- T05thread:04;swbreak:;00:3000000000000040;
    ",
    );
    stage
}

const LET_GO: &str = "
    .. set_breakpoints token
    .. resume 2 continue
    .. resume 3 continue
";

/// The conversation is over, and the next one begins with nothing of it.
fn assert_serves_the_next(mut stage: Stage) {
    stage.next_lldb();
    stage.greet();
    stage.play(
        "
        -> p0
        <- 0000000000000000
        -> z0,4000000000000030,1
        <- E16
        -> Z0,4000000000000012,1
        .. set_breakpoints token 2@0x12
        <- OK
    ",
    );
}

#[test]
fn a_detach_is_answered() {
    for detach in ["D", "D;1"] {
        let mut stage = busy();
        stage.play(&format!("-> {detach}\n<- OK\n{LET_GO}\n<- (end)"));
        assert_serves_the_next(stage);
    }
}

/// LLDB waits for no answer to it, and the proxy's process lives on.
#[test]
fn a_kill_ends_the_conversation_and_nothing_else() {
    for kill in ["k", "vKill;1"] {
        let mut stage = busy();
        stage.play(&format!("-> {kill}\n{LET_GO}\n<- (end)"));
        assert_serves_the_next(stage);
    }
}

#[test]
fn what_stood_for_an_lldb_that_is_gone_goes_on() {
    let mut stage = busy();
    stage.hang_up();
    stage.play(LET_GO);
    assert_serves_the_next(stage);

    // While it runs, too.
    let mut stage = busy();
    stage.play(
        "
        -> vCont;c
        .. resume 2 continue
        <- T05thread:05;swbreak:;00:3000000000000040;
        -> vCont;c
        .. resume 3 continue
    ",
    );
    stage.hang_up();
    stage.play(".. set_breakpoints token");
    assert_serves_the_next(stage);
}

#[test]
fn what_stops_while_no_lldb_is_there_goes_on_at_once() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> D
        <- OK
        <- (end)
    ",
    );
    stage.proxy.stop(1, breakpoint());
    stage.play(".. resume 1 continue");
    stage.next_lldb();
    stage.greet();
    stage.play(
        "
        -> qfThreadInfo
        <- m01
    ",
    );
}

#[test]
fn a_second_lldb_is_turned_away_whatever_the_first_one_does() {
    let mut stage = busy();
    for state in ["it looks at a stop", "it waits for one"] {
        let mut second = stage.second_lldb();
        assert_eq!(second.read(&mut [0]).expect("an end"), 0, "{state}");
        stage.play(
            "
            -> vCont;c
        ",
        );
        let resumed = stage.proxy.next();
        assert!(resumed.starts_with("resume"), "{resumed}");
        if state == "it looks at a stop" {
            stage.play("<- T05thread:05;swbreak:;00:3000000000000040;");
        }
    }
}

/// LLDB hears of it as of the end of a process.
#[test]
fn the_end_of_the_proxy_is_told_to_an_lldb_that_waits() {
    let mut stage = Stage::new(|_| {});
    // The second one is answered when it runs.
    stage.play(
        "
        -> vCont;c
        -> qsThreadInfo
        <- l
    ",
    );
    stage.proxy.dies();
    stage.play(
        "
        <- W00
        <- (end)
    ",
    );
    assert_eq!(stage.ended(), "the connection is closed: the other side ended it or is gone");
}

#[test]
fn the_end_of_the_proxy_ends_an_lldb_that_looks_at_a_stop() {
    let mut stage = busy();
    stage.proxy.dies();
    stage.play("<- (end)");
    assert_eq!(stage.ended(), "the connection is closed: the other side ended it or is gone");
}

#[test]
fn with_no_lldb_the_end_of_the_proxy_is_the_end_too() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> D
        <- OK
        <- (end)
    ",
    );
    stage.proxy.dies();
    assert_eq!(stage.ended(), "the connection is closed: the other side ended it or is gone");
}
