//! What comes in is not as it should be.

use super::proxy::breakpoint;
use super::stage::{Stage, packet};

#[test]
fn what_the_server_does_not_know_has_an_empty_answer() {
    let mut stage = Stage::new(|_| {});
    stage.play(
        "
        -> qNoSuchThing:1,2
        <-
        -> jThreadsInfo
        <-
        -> QThreadSuffixSupported
        <-
        -> vFile:open:2f,0,0
        <-
        -> qXfer:features:read:target.xml:0,100
        <-
        -> ?
        <- T05thread:01;
    ",
    );
}

/// Bytes come as the network has them.
#[test]
fn packets_are_put_together_whatever_pieces_they_come_in() {
    let mut stage = Stage::new(|_| {});
    for byte in packet("qfThreadInfo").bytes() {
        stage.send(&[byte]);
    }
    stage.play("<- m01");
    stage.send([packet("?"), packet("qsThreadInfo"), packet("p0")].concat().as_bytes());
    stage.play(
        "
        <- T05thread:01;
        <- l
        <- 0000000000000000
    ",
    );
}

/// What stood for this LLDB goes on, and the next one is served.
fn assert_ends_the_conversation(broken: &[u8]) {
    let mut stage = Stage::new(|_| {});
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
    ",
    );
    stage.send(broken);
    stage.play(
        "
        .. resume 1 continue
        <- (end)
    ",
    );
    stage.next_lldb();
    stage.greet();
}

#[test]
fn a_packet_that_is_cut_off_is_the_end_of_lldb() {
    let mut stage = Stage::new(|_| {});
    stage.proxy.stop(1, breakpoint());
    stage.play(
        "
        -> vCont;c
        <- T05thread:03;swbreak:;00:3000000000000040;
    ",
    );
    stage.send(b"$M10,4:57");
    stage.hang_up();
    stage.play(".. resume 1 continue");
    stage.next_lldb();
    stage.greet();
}

/// Nothing is asked for again, and nothing sent again: no LLDB sends this, nor what is no packet at all.
#[test]
fn a_packet_with_a_wrong_sum_ends_the_conversation() {
    for broken in ["$qfThreadInfo#00", "$qfThreadInfo#xy", "-", "GET / HTTP/1.1\r\n"] {
        assert_ends_the_conversation(broken.as_bytes());
    }
}

#[test]
fn a_packet_larger_than_was_agreed_ends_the_conversation() {
    let packet = packet(&"x".repeat(0x10000));
    assert_ends_the_conversation(packet.as_bytes());
}

#[test]
fn a_packet_that_makes_no_sense_ends_the_conversation() {
    for broken in ["qWasmLocal:0", "m4000000000000000", "vCont;s", "Z0,zz,1", "k1"] {
        assert_ends_the_conversation(packet(broken).as_bytes());
    }
}
