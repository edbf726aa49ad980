//! The loop turn by turn on the test's own thread, so that what it keeps can be looked at in between.

use std::io::{Read, Write};

use super::remote::TURN_BYTES;
use super::*;
use crate::filters::{ModuleBytes, ReadModule};
use crate::{Message, ModuleHash, encode};

/// Answers each request with as much as fits; never sleeps.
#[derive(Default)]
struct Generous {
    client: Option<ClientHandle>,
    served: usize,
}

impl Service for Generous {
    fn allow(&mut self, _: &Peer) -> Result<(), String> {
        Ok(())
    }

    fn refused(&mut self, _: &Peer, _: &str) {}

    fn connected(&mut self, client: ClientHandle, _: Peer, _: Hello) {
        self.client = Some(client);
    }

    fn request(&mut self, _: ClientId, id: RequestId, _: Request) {
        self.served += 1;
        let reply = ModuleBytes { size: 1 << 20, data: vec![7; 512 << 10] };
        self.client.as_ref().unwrap().reply(id, reply).unwrap();
    }

    fn disconnected(&mut self, _: ClientId, why: &Disconnect) {
        panic!("{why}");
    }

    fn tick(&mut self, _: Instant) {}

    fn next_tick(&self) -> Option<Instant> {
        Some(Instant::now())
    }
}

#[test]
fn what_a_client_pipelines_is_read_only_as_fast_as_it_takes_the_replies() {
    let welcome =
        Welcome { protocol: 0, plugin: String::new(), host: String::new(), pid: 0, capabilities: Vec::new() };
    let mut server = ServerLoop::new(None, welcome).unwrap();
    let mut service = Generous::default();
    let mut greedy = server.remote().connect().unwrap();
    greedy.set_nonblocking(true).unwrap();
    let frame = |id, body| encode(&Message::Request { id, body }).unwrap();
    let hello = Hello { protocol: crate::PROTOCOL_VERSION, client: "greedy".into() };
    greedy.write_all(&frame(1, hello.into())).unwrap();
    let ask = ReadModule { module: ModuleHash([0; 32]), offset: 0, length: 512 << 10 };
    let requests: Vec<u8> = (2..2002).flat_map(|id| frame(id, ask.clone().into())).collect();
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
    assert!(read > 1 << 20 && service.served > 6, "it is served: {read} bytes, {} replies", service.served);
    assert!(most <= TURN_BYTES + crate::MAX_FRAME, "{most} bytes of requests lie in the decoder");
    assert!(most <= 2 * TURN_BYTES, "none of them is larger than some hundred bytes: {most}");
    // What was not read waits in the client's own socket.
    assert!(written < 4 * TURN_BYTES, "{written} bytes were taken from it");
}
