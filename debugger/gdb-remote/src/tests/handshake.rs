//! What LLDB asks before it shows anything.

use super::stage::Stage;

/// As LLDB 22 begins.
#[test]
fn lldb_and_the_server_agree_on_what_they_can() {
    let mut stage = Stage::silent(|_| {});
    stage.play("
        -> +
        -> QStartNoAckMode
        <- +
        <- OK
        -> +
        -> qSupported:xmlRegisters=i386,arm,mips,arc;multiprocess+;fork-events+;vfork-events+;swbreak+;hwbreak+
        <- PacketSize=010000;vContSupported+;multiprocess+;QStartNoAckMode+;fork-events+;vfork-events+;vforkdone-events+;swbreak+;qXfer:libraries:read+
        -> vCont?
        <- vCont;c;C;s;S
        -> qAttached
        <- 1
        -> qHostInfo
        <- triple:{wasm32-unknown-unknown-wasm};endian:little;;ptrsize:4;
        -> qProcessInfo
        <- pid:1;triple:{wasm32-unknown-unknown-wasm};endian:little;;ptrsize:4;
        -> qRegisterInfo0
        <- name:pc;alt-name:pc;bitsize:64;offset:0;encoding:uint;format:hex;set:PC;gcc:16;dwarf:16;generic:pc;
        -> qRegisterInfo1
        <- E45
    ");
}

/// With the feature `multiprocess` threads have the one process in front.
#[test]
fn while_nothing_stands_there_is_one_thread_without_frames() {
    let mut stage = Stage::new(|_| {});
    stage.play("
        -> ?
        <- T05thread:01;
        -> qfThreadInfo
        <- m01
        -> qsThreadInfo
        <- l
        -> Hg1
        <- OK
        -> p0
        <- 0000000000000000
        -> qWasmCallStack:1
        <-
        -> qWasmLocal:0;0
        <-
        -> qWasmGlobal:0;0
        <-
        -> m100,4
        <- E79
        -> qSupported:multiprocess+
        <- PacketSize=010000;vContSupported+;multiprocess+;QStartNoAckMode+;fork-events+;vfork-events+;vforkdone-events+;swbreak+;qXfer:libraries:read+
        -> ?
        <- T05thread:p01.01;
        -> qfThreadInfo
        <- mp01.01
    ");
}

/// LLDB reads the list in parts, and each module from the address that stands there.
#[test]
fn the_modules_are_in_a_list_and_readable_at_their_addresses() {
    let mut stage = Stage::new(|state| {
        state.filters =
            vec![("a<b>", b"\0asm\x01\0\0\0".to_vec()), ("two", b"\0asm\x01\0\0\0\xfe\xff".to_vec())];
    });
    stage.play("
        -> qXfer:libraries:read::0,e
        <- m<library-list>
        -> qXfer:libraries:read::e,1000
        <- m<library name=\"a&lt;b>\"><section address=\"4611686018427387904\"/></library><library name=\"two\"><section address=\"4611686022722355200\"/></library></library-list>
        -> qXfer:libraries:read::ad,1000
        <- l
        -> qXfer:libraries:read::ffffffffffffffff,1000
        <- l
        -> m4000000000000000,4
        <- {\0asm}
        -> m4000000100000004,4
        <- 01000000
    ".replace("\\0", "\0").as_str());
}
