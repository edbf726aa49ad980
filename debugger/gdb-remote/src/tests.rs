//! The port and its conversations, with a proxy in memory and packets by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use wasmdbg_control::breakpoints::{Planted, PlantedBreakpoints};
use wasmdbg_control::connection::Sender;
use wasmdbg_control::filters::{FilterList, ModuleBytes};
use wasmdbg_control::session::{
    ActivityNoted, Attach, Attached as Reply, AttachedFilter, LaneStart, Welcome,
};
use wasmdbg_control::stop::{Context, Frame, InterruptNoted, Resumed, StopReason, Stopped};
use wasmdbg_control::{
    Client, Connection, ContextId, ErrorKind, Event, Events, FilterId, Message, ModuleHash, ModulePc,
    PROTOCOL_VERSION, Request, SessionId, SlotId, StopId, WireError,
};

use crate::attach::Module;
use crate::serve::{Input, listen_to, talk};
use crate::target::Filters;
use crate::{Attached, Listener};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const HASH: ModuleHash = ModuleHash([7; 32]);

/// A proxy with one filter, at the other end of a connection.
struct Proxy {
    sender: Sender,
    /// What it was asked, but for the greeting.
    asked: Receiver<Request>,
}

impl Proxy {
    /// One that moves each breakpoint by so many bytes.
    fn new(moved: u32) -> (Self, Client, Events) {
        let (client, server) = Connection::memory().expect("a socket pair");
        let (asking, asked) = mpsc::channel();
        let sender = server.sender.clone();
        std::thread::spawn(move || {
            for message in server.receiver {
                let Ok((Message::Request { id, body }, _)) = message else { return };
                let _ = asking.send(body.clone());
                let answer = match reply(&body, moved) {
                    Some(body) => Message::Response { id, body },
                    None => {
                        let error = WireError::new(ErrorKind::State, "not in this test");
                        Message::Error { id, error }
                    }
                };
                if server.sender.send(&answer).is_err() {
                    return;
                }
            }
        });
        let (client, events) = Client::greet(client, "tests").expect("a greeting");
        let proxy = Self { sender, asked };
        assert!(matches!(proxy.next(), Request::Hello(_)));
        (proxy, client, events)
    }

    fn next(&self) -> Request {
        self.asked.recv_timeout(PATIENCE).expect("the proxy is asked")
    }

    /// A request stops at `pc`.
    fn stop(&self, pc: ModulePc) {
        let stopped = Stopped {
            stop: StopId(3),
            slot: SlotId(1),
            filter: FilterId(0),
            filter_name: "token".into(),
            module: HASH,
            context: Context::Root { id: ContextId(1) },
            callback: "proxy_on_tick".into(),
            reason: StopReason::Breakpoint { ids: vec![1] },
            control: true,
            deadline_ms: 30_000,
            frames: vec![Frame { function: 0, pc, locals: vec![], operands: vec![] }],
            frame_count: 1,
            fresh_vm: true,
        };
        self.sender.send(&Message::Event(Event::Stopped(Box::new(stopped)))).expect("the client is there");
    }
}

fn reply(request: &Request, moved: u32) -> Option<wasmdbg_control::Reply> {
    Some(match request {
        Request::Hello(_) => Welcome {
            protocol: PROTOCOL_VERSION,
            plugin: "0.1.0".into(),
            host: "a test".into(),
            pid: 1,
            capabilities: vec![],
        }
        .into(),
        Request::Filters(_) => FilterList { filters: vec![] }.into(),
        Request::Attach(_) => Reply {
            session: SessionId(1),
            rules: vec![],
            deadline_ms: 30_000,
            filters: vec![AttachedFilter {
                filter: FilterId(0),
                name: "token".into(),
                module: HASH,
                slot: SlotId(1),
                compile_ms: 1,
                cached: false,
            }],
            missed: 0,
        }
        .into(),
        Request::ReadModule(_) => ModuleBytes { size: MODULE.len() as u64, data: MODULE.to_vec() }.into(),
        Request::SetBreakpoints(set) => {
            let bound = set.breakpoints.iter().map(|one| Planted::Bound { id: one.id, pc: one.pc + moved });
            PlantedBreakpoints { breakpoints: bound.collect() }.into()
        }
        Request::Resume(_) => Resumed {}.into(),
        Request::Activity(_) => ActivityNoted {}.into(),
        Request::Interrupt(_) => InterruptNoted { slots: 0 }.into(),
        _ => return None,
    })
}

/// A connected pair of sockets.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (client, listener.accept().expect("the same").0)
}

/// `$text#sum`.
fn packet(text: &str) -> String {
    let sum = text.bytes().fold(0u8, u8::wrapping_add);
    format!("${text}#{sum:02x}")
}

const GREETING: &str = "QStartNoAckMode";

/// An LLDB that speaks by hand, after its greeting.
struct Lldb(TcpStream);

impl Lldb {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut lldb = Self(stream);
        assert_eq!(lldb.ask(GREETING), "OK");
        lldb.0.write_all(b"+").expect("to acknowledge");
        lldb
    }

    fn ask(&mut self, text: &str) -> String {
        self.0.write_all(packet(text).as_bytes()).expect("the server reads");
        self.answer()
    }

    /// The next packet's text.
    fn answer(&mut self) -> String {
        let mut next = || {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("an answer");
            char::from(byte[0])
        };
        while next() != '$' {}
        let mut text = String::new();
        loop {
            match next() {
                '#' => break,
                byte => text.push(byte),
            }
        }
        next();
        next();
        text
    }
}

/// A server in front of a proxy that moves breakpoints.
fn serve(moved: u32) -> (Proxy, SocketAddr) {
    let (proxy, client, events) = Proxy::new(moved);
    let request =
        Attach { filters: vec![], rules: vec![], all: true, deadline_ms: None, start: LaneStart::AtOnce };
    let attached = Attached::new(client, events, request).expect("a session");
    assert!(matches!(proxy.next(), Request::Filters(_)));
    assert!(matches!(proxy.next(), Request::Attach(_)));
    assert!(matches!(proxy.next(), Request::ReadModule(_)));
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address"), false).expect("a port");
    let address = listener.address().expect("its address");
    std::thread::spawn(move || listener.serve(attached, |line| panic!("{line}")));
    (proxy, address)
}

fn planted(request: Request) -> Vec<ModulePc> {
    match request {
        Request::SetBreakpoints(set) => set.breakpoints.iter().map(|one| one.pc).collect(),
        other => panic!("{other:?}"),
    }
}

const AT: &str = "4000000000000030";

#[test]
fn a_breakpoint_that_would_move_does_not_stand() {
    let (proxy, address) = serve(0);
    let mut lldb = Lldb::connect(address);
    assert_eq!(lldb.ask(&format!("Z0,{AT},1")), "OK");
    assert_eq!(planted(proxy.next()), [ModulePc(0x30)]);
    assert_eq!(lldb.ask(&format!("z0,{AT},1")), "OK");
    assert!(planted(proxy.next()).is_empty());

    // LLDB would wait at an address where nothing stops.
    let (proxy, address) = serve(2);
    let mut lldb = Lldb::connect(address);
    let answer = lldb.ask(&format!("Z0,{AT},1"));
    assert!(answer.starts_with('E'), "{answer}");
    assert_eq!(planted(proxy.next()), [ModulePc(0x30)]);
    assert!(planted(proxy.next()).is_empty(), "it is taken away again");
}

#[test]
fn what_stood_for_an_lldb_that_is_gone_goes_on_and_the_next_one_is_served() {
    let (proxy, address) = serve(0);
    let mut lldb = Lldb::connect(address);
    assert_eq!(lldb.ask(&format!("Z0,{AT},1")), "OK");
    assert_eq!(planted(proxy.next()), [ModulePc(0x30)]);
    lldb.0.write_all(packet("vCont;c").as_bytes()).expect("the server reads");
    proxy.stop(ModulePc(0x30));
    let stopped = lldb.answer();
    assert!(stopped.starts_with("T05"), "{stopped}");
    drop(lldb);
    assert!(planted(proxy.next()).is_empty());
    assert!(matches!(proxy.next(), Request::Resume(resume) if resume.stop == StopId(3)));
    Lldb::connect(address);
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
        let (_proxy, client, _events) = Proxy::new(0);
        let module = Module { hash: HASH, name: "token".into(), bytes: MODULE.into() };
        let mut filters = Filters::new(client, vec![module]);
        let (_lldb, stream) = sockets();
        let (inputs, input) = mpsc::channel();
        for bytes in said {
            inputs.send(Input::Bytes(bytes.into_bytes())).expect("open");
        }
        inputs.send(Input::Hangup).expect("open");
        drop(inputs);
        assert_eq!(talk(&mut filters, stream, &input), None, "{state}");
    }
}

#[test]
fn a_closed_connection_is_the_end_of_lldb() {
    let (lldb, stream) = sockets();
    let (inputs, input) = mpsc::sync_channel(1);
    listen_to(stream, inputs).expect("a thread");
    drop(lldb);
    assert!(matches!(input.recv(), Ok(Input::Hangup)));
}
