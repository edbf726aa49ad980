//! What LLDB reads of a stop: frames, values, memory, code, registers.

use wasmdbg_control::state::Value;
use wasmdbg_control::stop::Frame;

use super::proxy::{State, breakpoint, frame};
use super::stage::Stage;

/// At a stop that LLDB has been shown.
fn stopped(change: impl FnOnce(&mut State)) -> Stage {
    let mut stage = Stage::new(change);
    stage.proxy.stop(1, breakpoint());
    stage.play("-> vCont;c");
    let shown = stage.receive();
    assert!(shown.starts_with("T05thread:03;"), "{shown}");
    stage
}

/// 8 bytes a frame, the innermost first.
#[test]
fn the_call_stack_has_the_frames_that_did_not_fit_the_stop_too() {
    let mut stage = Stage::new(|state| {
        state.frames = vec![frame(0x30), frame(0x1234), frame(0xfffe)];
        state.at_once = 1;
    });
    stage.play("-> vCont;c");
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        .. frames 1..
        .. frames 2..
        <- T05thread:03;swbreak:;00:3000000000000040;
        -> qWasmCallStack:3
        <- 30000000000000403412000000000040feff000000000040
    ",
    );
}

#[test]
fn frames_are_in_the_module_that_runs() {
    let mut stage = Stage::new(|state| {
        state.filters = vec![("one", vec![1]), ("two", vec![2])];
        state.runs = 1;
    });
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000001000040;
        -> qWasmCallStack:3
        <- 3000000001000040
        ",
    );
}

#[test]
fn locals_and_operands_belong_to_their_frame() {
    let mut stage = stopped(|state| {
        let inner = Frame {
            locals: vec![Value::I32(-2), Value::I64(0x0102_0304_0506_0708), Value::Unknown],
            operands: vec![Value::I32(7), Value::F32(1.5f32.to_bits())],
            ..frame(0x30)
        };
        let outer = Frame { locals: vec![Value::F64((-0.5f64).to_bits())], ..frame(0x40) };
        state.frames = vec![inner, outer];
    });
    stage.play(
        "
        -> qWasmLocal:0;0
        <- feffffff
        -> qWasmLocal:0;1
        <- 0807060504030201
        -> qWasmLocal:0;2
        <-
        -> qWasmLocal:0;3
        <-
        -> qWasmLocal:1;0
        <- 000000000000e0bf
        -> qWasmLocal:2;0
        <-
        -> qWasmStackValue:0;0
        <- 07000000
        -> qWasmStackValue:0;1
        <- 0000c03f
        -> qWasmStackValue:1;0
        <-
    ",
    );
}

/// Whichever frame LLDB asks in: a module has one set of them.
#[test]
fn globals_are_read_once_a_stop() {
    let wide = "000102030405060708090a0b0c0d0e0f";
    let mut stage = stopped(|state| {
        state.globals = vec![Value::I32(0x0010_0000), Value::V128(wide.into()), Value::Ref("null".into())];
    });
    stage.play(
        "
        -> qWasmGlobal:0;0
        .. read_globals 0..
        <- 00001000
        -> qWasmGlobal:3;1
        <- 0f0e0d0c0b0a09080706050403020100
        -> qWasmGlobal:0;2
        <-
        -> qWasmGlobal:0;3
        <-
    ",
    );
    stage.proxy.set(|state| state.globals = vec![Value::I32(5)]);
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        .. resume 1 continue
        <- T05thread:03;swbreak:;00:3000000000000040;
        -> qWasmGlobal:0;0
        .. read_globals 0..
        <- 05000000
    ",
    );
}

#[test]
fn memory_is_read_and_written_up_to_its_end() {
    let mut stage = stopped(|state| state.memory = (0..=0xff).collect());
    stage.play(
        "
        -> m10,4
        .. read_memory 0:0x10+4
        <- 10111213
        -> mfe,10
        .. read_memory 0:0xfe+16
        <- feff
        -> m100,4
        .. read_memory 0:0x100+4
        <- E79
        -> mffffffff,4
        .. read_memory 0:0xffffffff+4
        <- E79
        -> m100000010,4
        .. read_memory 1:0x10+4
        <- E79
        -> M10,2:5742
        .. write_memory 0:0x10 5742
        <- OK
        -> Mff,2:5742
        .. write_memory 0:0xff 5742
        <- E79
    ",
    );
}

#[test]
fn code_is_read_of_every_module_and_not_written() {
    let mut stage = stopped(|state| {
        state.filters = vec![("one", (0..=0xff).collect()), ("two", vec![0xaa, 0xbb])];
    });
    stage.play(
        "
        -> m4000000000000030,3
        <- 303132
        -> m40000000000000fe,10
        <- feff
        -> m4000000000000100,1
        <- E79
        -> m4000000000000101,1
        <- E79
        -> m4000000100000001,1
        <- bb
        -> m4000000200000000,1
        <- E79
        -> m8000000000000000,1
        <- E79
        -> mc000000000000000,1
        <- E79
        -> M4000000000000030,1:00
        <- E79
        -> M8000000000000000,1:00
        <- E79
    ",
    );
}

/// More than a packet has room for comes in several reads.
#[test]
fn a_module_is_read_in_pieces_as_large_as_a_packet() {
    let module: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    let expected: String = module[..0x7000].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut stage = stopped(|state| state.filters = vec![("large", module)]);
    stage.play(&format!(
        "
        -> m4000000000000000,7000
        <- {expected}
        -> m400000000001869e,7000
        <- 9e9f
    "
    ));
}

#[test]
fn the_pc_is_read_in_every_way_and_set_in_none() {
    let mut stage = stopped(|_| {});
    stage.play(
        "
        -> p0
        <- 3000000000000040
        -> p1
        <-
        -> g
        <- 3000000000000040
        -> P0=3100000000000040
        <- E79
        -> G3100000000000040
        <- E79
        -> p0
        <- 3000000000000040
    ",
    );
}
