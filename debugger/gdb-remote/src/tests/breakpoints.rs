//! Breakpoints: where they stand, and where LLDB hears that they do not.

use wasmdbg_control::ModulePc;

use super::stage::Stage;

/// The proxy is told all that stand in a module, each time.
#[test]
fn breakpoints_are_set_and_removed_one_by_one() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> Z0,4000000000000030,1
        .. set_breakpoints token 1@0x30
        <- OK
        -> Z0,4000000000000012,1
        .. set_breakpoints token 2@0x12 1@0x30
        <- OK
        -> z0,4000000000000030,1
        .. set_breakpoints token 2@0x12
        <- OK
        -> z0,4000000000000030,1
        <- E16
        -> z0,4000000000000012,1
        .. set_breakpoints token
        <- OK
    ",
    );
}

#[test]
fn each_module_has_breakpoints_of_its_own() {
    let mut stage = Stage::new(|state| state.filters = vec![("one", vec![1]), ("two", vec![2])]);
    stage.play(
        "
        -> Z0,4000000000000030,1
        .. set_breakpoints one 1@0x30
        <- OK
        -> Z0,4000000100000030,1
        .. set_breakpoints two 2@0x30
        <- OK
        -> z0,4000000000000030,1
        .. set_breakpoints one
        <- OK
        -> Z0,4000000200000030,1
        <- E16
        -> z0,4000000200000030,1
        <- E16
    ",
    );
}

/// LLDB would wait at an address where nothing stops.
#[test]
fn a_breakpoint_that_would_move_does_not_stand() {
    let mut stage = Stage::new(|state| state.place = |pc| Some(ModulePc(pc.0.next_multiple_of(4))));
    stage.play(
        "
        -> Z0,4000000000000030,1
        .. set_breakpoints token 1@0x30
        <- OK
        -> Z0,4000000000000032,1
        .. set_breakpoints token 1@0x30 2@0x32
        .. set_breakpoints token 1@0x30
        <- E16
        -> z0,4000000000000032,1
        <- E16
    ",
    );
}

#[test]
fn a_breakpoint_that_the_filter_refuses_does_not_stand() {
    let mut stage = Stage::new(|state| state.place = |_| None);
    stage.play(
        "
        -> Z0,4000000000000030,1
        .. set_breakpoints token 1@0x30
        .. set_breakpoints token
        <- E16
    ",
    );
}

/// An address in memory, or of a kind that does not exist; in hardware; of data.
#[test]
fn there_are_breakpoints_in_code_only() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> Z0,30,1
        <- E16
        -> z0,30,1
        <- E16
        -> Z0,8000000000000030,1
        <- E16
        -> Z1,4000000000000030,1
        <-
        -> Z2,100,4
        <-
    ",
    );
}
