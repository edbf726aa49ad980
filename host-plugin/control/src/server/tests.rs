//! The loop turn by turn on the test's own thread, so that what it keeps can be looked at in between.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use wasmdbg_code_address::ModuleHash;

use super::connected::{Connected, IN_WORK, TURN_BYTES};
use super::*;
use crate::messages::breakpoints::SetBreakpoints;
use crate::messages::filters::{ModuleBytes, ReadModule};
use crate::messages::message::{ErrorKind, Message, Reply, Request, RequestId, WireError};
use crate::messages::session::{Activity, ActivityNoted, Attach, Hello, LaneStart, Welcome};
use crate::wire::codec::{Decoder, MAX_FRAME, encode};

/// Keeps requests, as the agent does whose slots answer from their threads, or answers each at once.
#[derive(Default)]
struct Later {
    at_once: Option<Reply>,
    client: Option<ClientHandle>,
    kept: Vec<RequestId>,
    most: usize,
    served: usize,
    ended: Option<Disconnect>,
}

impl Later {
    fn answer_all(&mut self, reply: impl Into<Reply>) {
        let reply = reply.into();
        for id in self.kept.drain(..) {
            self.client.as_ref().unwrap().reply(id, reply.clone()).unwrap();
            self.served += 1;
        }
    }
}

/// Never sleeps.
impl Service for Later {
    fn allow(&mut self, _: &Peer) -> Result<(), String> {
        Ok(())
    }

    fn refused(&mut self, _: &Peer, _: &str) {}

    fn connected(&mut self, client: ClientHandle, _: Peer, _: Hello) {
        self.client = Some(client);
    }

    fn request(&mut self, _: ClientId, id: RequestId, _: Request) {
        self.kept.push(id);
        self.most = self.most.max(self.kept.len());
        if let Some(reply) = self.at_once.clone() {
            self.answer_all(reply);
        }
    }

    fn disconnected(&mut self, _: ClientId, why: &Disconnect) {
        self.ended = Some(why.clone());
    }

    fn tick(&mut self, _: Instant) {}

    fn next_tick(&self) -> Option<Instant> {
        Some(Instant::now())
    }
}

fn server() -> ServerLoop {
    let welcome =
        Welcome { protocol: 0, plugin: String::new(), host: String::new(), pid: 0, capabilities: Vec::new() };
    ServerLoop::new(None, welcome).unwrap()
}

fn frame(id: RequestId, body: impl Into<Request>) -> Vec<u8> {
    encode(&Message::Request { id, body: body.into() }).unwrap()
}

/// A client that has said hello, and reads and writes without waiting.
fn client(server: &ServerLoop) -> UnixStream {
    let mut client = server.remote().connect().unwrap();
    client.set_nonblocking(true).unwrap();
    let hello = Hello { protocol: crate::PROTOCOL_VERSION, client: "greedy".into() };
    client.write_all(&frame(1, hello)).unwrap();
    client
}

fn half_a_megabyte() -> ReadModule {
    ReadModule { module: ModuleHash([0; 32]), offset: 0, length: 512 << 10 }
}

#[test]
fn what_a_client_pipelines_is_read_only_as_fast_as_it_takes_the_replies() {
    let mut server = server();
    // As much as fits a reply.
    let reply = ModuleBytes { size: 1 << 20, data: vec![7; 512 << 10] };
    let mut service = Later { at_once: Some(reply.into()), ..Later::default() };
    let mut greedy = client(&server);
    let requests: Vec<u8> = (2..2002).flat_map(|id| frame(id, half_a_megabyte())).collect();
    let (mut written, mut most, mut read) = (0, 0, 0);
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..100 {
        // As much as the socket takes, and one reply's worth of reading.
        while let Ok(count) = greedy.write(&requests[written % requests.len()..]) {
            written += count;
        }
        server.turn(&mut service).unwrap();
        read += greedy.read(&mut chunk).unwrap_or(0);
        most = most.max(server.clients.values().map(Connected::undecoded).max().unwrap());
    }
    assert_eq!(service.ended, None);
    assert!(read > 1 << 20 && service.served > 6, "it is served: {read} bytes, {} replies", service.served);
    assert!(most <= TURN_BYTES + crate::MAX_FRAME, "{most} bytes of requests lie in the decoder");
    assert!(most <= 2 * TURN_BYTES, "none of them is larger than some hundred bytes: {most}");
    // What was not read waits in the client's own socket.
    assert!(written < 4 * TURN_BYTES, "{written} bytes were taken from it");
}

#[test]
fn requests_that_are_worked_on_count_before_their_answers_come() {
    let (mut server, mut service) = (server(), Later::default());
    let mut reader = client(&server);
    for id in 2..32 {
        reader.write_all(&frame(id, half_a_megabyte())).unwrap();
    }
    let (mut decoder, mut chunk, mut replies) = (Decoder::new(), vec![0; 1 << 20], 0);
    for _ in 0..1000 {
        server.turn(&mut service).unwrap();
        // All at once, and only then the client reads.
        service.answer_all(ModuleBytes { size: 1 << 20, data: vec![7; 512 << 10] });
        while let Ok(count @ 1..) = reader.read(&mut chunk) {
            decoder.push(&chunk[..count]);
        }
        while let Some(message) = decoder.next_message().unwrap() {
            assert!(matches!(message, Message::Response { .. }), "{message:?}");
            replies += 1;
        }
        assert_eq!(service.ended, None, "after {replies} replies");
        if replies == 31 {
            break;
        }
    }
    assert_eq!((replies, service.most), (31, IN_WORK), "each is answered");
}

#[test]
fn a_client_that_hangs_up_while_its_requests_are_worked_on_is_let_go() {
    let (mut server, mut service) = (server(), Later::default());
    let mut client = client(&server);
    for id in 2..32 {
        client.write_all(&frame(id, Activity {})).unwrap();
    }
    // One turn to admit it, one to read it.
    (0..3).for_each(|_| server.turn(&mut service).unwrap());
    assert_eq!(service.kept.len(), IN_WORK);
    drop(client);
    server.turn(&mut service).unwrap();
    assert_eq!(service.ended, Some(Disconnect::HungUp));
}

#[test]
fn requests_that_are_long_by_nature_hold_nothing_back() {
    let (mut server, mut service) = (server(), Later::default());
    let mut client = client(&server);
    let plant = SetBreakpoints { module: ModuleHash([0; 32]), breakpoints: Vec::new() };
    let start = LaneStart::AtOnce;
    let attach = Attach { filters: vec![], rules: vec![], all: true, deadline_ms: None, start };
    for id in 2..17 {
        client.write_all(&frame(id, plant.clone())).unwrap();
        client.write_all(&frame(id + 15, attach.clone())).unwrap();
    }
    (0..3).for_each(|_| server.turn(&mut service).unwrap());
    assert_eq!(service.kept.len(), 30);
}

#[test]
fn a_client_that_has_greeted_is_given_all_the_time_there_is() {
    let (mut server, mut service) = (server(), Later::default());
    let _client = client(&server);
    server.turn(&mut service).unwrap();
    let limits = |server: &ServerLoop| server.clients.values().map(Connected::give_up).collect::<Vec<_>>();
    assert!(matches!(limits(&server)[..], [Some(_)]), "it is waited for");
    server.turn(&mut service).unwrap();
    assert!(service.client.is_some());
    assert_eq!(limits(&server), [None], "the loop would wake for it again and again");
}

#[test]
fn what_was_queued_when_the_loop_ends_is_sent() {
    let (mut server, mut service) = (server(), Later::default());
    let mut client = client(&server);
    client.write_all(&frame(2, Activity {})).unwrap();
    (0..3).for_each(|_| server.turn(&mut service).unwrap());
    service.answer_all(ActivityNoted {});
    server.waker().stop();
    server.run(&mut service).unwrap();
    let (mut decoder, mut chunk) = (Decoder::new(), vec![0; 1 << 16]);
    while let Ok(count @ 1..) = client.read(&mut chunk) {
        decoder.push(&chunk[..count]);
    }
    assert!(matches!(decoder.next_message(), Ok(Some(Message::Response { id: 1, .. }))), "the welcome");
    assert!(matches!(decoder.next_message(), Ok(Some(Message::Response { id: 2, .. }))), "the last reply");
}

#[test]
fn an_answer_that_does_not_fit_is_an_answer() {
    let (mut server, mut service) = (server(), Later::default());
    let mut client = client(&server);
    for id in 2..32 {
        client.write_all(&frame(id, Activity {})).unwrap();
    }
    (0..3).for_each(|_| server.turn(&mut service).unwrap());
    let handle = service.client.clone().unwrap();
    // A refusal and a reply end the work on a request; an event does not, nor what answers another one.
    handle.refuse(service.kept[0], WireError::new(ErrorKind::State, "no")).unwrap();
    handle.reply(99, ActivityNoted {}).unwrap();
    server.turn(&mut service).unwrap();
    assert_eq!(service.kept.len(), IN_WORK + 1);
    handle.reply(service.kept[1], ModuleBytes { size: 0, data: vec![7; 2 * MAX_FRAME] }).unwrap();
    server.turn(&mut service).unwrap();
    assert_eq!(service.kept.len(), IN_WORK + 2);
    let bytes = ReadModule { module: ModuleHash([0; 32]), offset: 0, length: 1 };
    let unsent = Message::Request { id: service.kept[2], body: bytes.into() };
    handle.send(&unsent).unwrap();
    server.turn(&mut service).unwrap();
    assert_eq!(service.kept.len(), IN_WORK + 2, "a request answers nothing");
}
