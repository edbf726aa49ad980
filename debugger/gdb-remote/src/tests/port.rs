//! The port itself, and conversations that are given their bytes by the test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use super::proxy::{PATIENCE, Proxy};
use super::stage::packet;
use crate::attach::Module;
use crate::serve::{Input, listen_to, talk};
use crate::target::Filters;
use crate::{Listener, ServeError};

const GREETING: &str = "QStartNoAckMode";

#[test]
fn an_lldb_is_served_at_a_port() {
    let (_proxy, attached) = Proxy::attached(|_| {});
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), false).expect("a port");
    let address = listener.address().expect("its address");
    std::thread::spawn(move || listener.serve(attached, |line| panic!("{line}")));
    let mut lldb = TcpStream::connect(address).expect("the port");
    lldb.set_read_timeout(Some(PATIENCE)).expect("a limit");
    lldb.write_all(packet(GREETING).as_bytes()).expect("the server reads");
    let mut answer = [0; 7];
    lldb.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+$OK#9a");
}

#[test]
fn a_port_that_others_reach_is_opened_by_explicit_wish_only() {
    let everywhere = "0.0.0.0:0".parse().expect("an address");
    let refused = Listener::bind(everywhere, false).expect_err("no password protects it");
    assert!(matches!(refused, ServeError::NotLoopback(_)), "{refused}");
    Listener::bind(everywhere, true).expect("as the user says");
}

fn filters() -> (Proxy, Filters) {
    let (proxy, client, _events) = Proxy::new();
    let bytes: &[u8] = b"\0asm\x01\0\0\0";
    let module =
        Module { hash: wasmdbg_control::ModuleHash::of(bytes), name: "token".into(), bytes: bytes.into() };
    (proxy, Filters::new(client, vec![module]))
}

/// Whatever a conversation waits for, the end of LLDB ends it, and the proxy is still there. The channel ends
/// behind it: who overhears it finds no proxy, at once.
#[test]
fn the_end_of_lldb_is_heard_in_every_state() {
    for (state, said) in [
        ("idle", vec![packet(GREETING)]),
        ("runs", vec![packet(GREETING), packet("vCont;c")]),
        ("detached", vec![packet(GREETING), packet("D")]),
    ] {
        let (_proxy, mut filters) = filters();
        let (_lldb, stream) = UnixStream::pair().expect("a socket pair");
        let (inputs, input) = mpsc::channel();
        for bytes in said {
            inputs.send(Input::Bytes(bytes.into_bytes())).expect("open");
        }
        inputs.send(Input::Hangup).expect("open");
        drop(inputs);
        let next = talk(&mut filters, stream, &input).expect(state);
        assert!(next.is_none(), "{state}");
    }
}

/// One LLDB goes, and the next one is there before the first one's end is heard.
#[test]
fn an_lldb_that_comes_at_once_is_the_next_one() {
    let (_proxy, mut filters) = filters();
    let (_lldb, stream) = UnixStream::pair().expect("a socket pair");
    let (_second, next) = UnixStream::pair().expect("a socket pair");
    let (inputs, input) = mpsc::channel();
    for said in [Input::Bytes(packet("D").into_bytes()), Input::Client(next), Input::Hangup] {
        inputs.send(said).expect("open");
    }
    assert!(talk(&mut filters, stream, &input).expect("the proxy is there").is_some());
}

/// It shows when LLDB asks for something.
#[test]
fn a_question_that_the_proxy_cannot_answer_any_more_is_the_end() {
    let (proxy, mut filters) = filters();
    let (_lldb, stream) = UnixStream::pair().expect("a socket pair");
    let (inputs, input) = mpsc::channel();
    inputs.send(Input::Event(proxy.stopped(1))).expect("open");
    proxy.dies();
    for question in ["vCont;c", "m0,4"] {
        inputs.send(Input::Bytes(packet(question).into_bytes())).expect("open");
    }
    // Who only refuses the question goes on until here.
    inputs.send(Input::Hangup).expect("open");
    let ended = talk(&mut filters, stream, &input).expect_err("the proxy is gone");
    assert_eq!(ended, "the connection is closed: the other side ended it or is gone");
}

#[test]
fn a_closed_connection_is_the_end_of_lldb() {
    let (lldb, stream) = UnixStream::pair().expect("a socket pair");
    let (inputs, input) = mpsc::sync_channel(1);
    listen_to(stream, inputs).expect("a thread");
    drop(lldb);
    assert!(matches!(input.recv(), Ok(Input::Hangup)));
}
