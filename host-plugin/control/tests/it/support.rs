//! A proxy of the tests: a loop on a thread of its own with a service that answers what the tests ask.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use wasmdbg_control::filters::{FilterList, ModuleBytes};
use wasmdbg_control::message::{Request, RequestId};
use wasmdbg_control::server::{
    Access, ClientHandle, ClientId, Disconnect, Listener, Peer, Remote, ServerLoop, Service, Waker,
};
use wasmdbg_control::session::{ActivityNoted, Hello, Welcome};
use wasmdbg_control::{ErrorKind, Message, WireError};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of this test, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmdbg-control-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("wasmdbg.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A socket at `path` with a full backlog: its listener does not accept.
pub(crate) fn crowded(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    let make = || {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap()
    };
    let (listener, address) = (make(), UnixAddr::new(path).unwrap());
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    let mut crowd = Vec::new();
    loop {
        let next = make();
        match connect(next.as_raw_fd(), &address) {
            Ok(()) => crowd.push(next),
            Err(nix::Error::EAGAIN) => return (listener, crowd),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What the service saw.
#[derive(Debug)]
pub(crate) enum Seen {
    Refused(String),
    Connected(ClientHandle, Peer, Hello),
    Disconnected(Disconnect),
}

#[derive(Default)]
pub(crate) struct Answers {
    clients: Vec<ClientHandle>,
    refuse: Option<String>,
    seen: Option<mpsc::Sender<Seen>>,
}

impl Answers {
    fn tell(&self, seen: Seen) {
        let _ = self.seen.as_ref().unwrap().send(seen);
    }
}

impl Service for Answers {
    fn allow(&mut self, _: &Peer) -> Result<(), String> {
        self.refuse.clone().map_or(Ok(()), Err)
    }

    fn refused(&mut self, peer: &Peer, reason: &str) {
        self.tell(Seen::Refused(format!("{peer}: {reason}")));
    }

    fn connected(&mut self, client: ClientHandle, peer: Peer, hello: Hello) {
        self.clients.push(client.clone());
        self.tell(Seen::Connected(client, peer, hello));
    }

    fn request(&mut self, client: ClientId, id: RequestId, request: Request) {
        let client = self.clients.iter().find(|known| known.id() == client).unwrap();
        let _ = match request {
            Request::Activity(_) => client.reply(id, ActivityNoted {}),
            Request::Filters(_) => client.reply(id, FilterList { filters: vec![] }),
            Request::ReadModule(read) => {
                client.reply(id, ModuleBytes { size: 0, data: vec![7; read.length as usize] })
            }
            other => client.refuse(
                id,
                WireError::new(ErrorKind::State, format!("no `{}` in this test", other.method())),
            ),
        };
    }

    fn disconnected(&mut self, client: ClientId, why: &Disconnect) {
        self.clients.retain(|known| known.id() != client);
        self.tell(Seen::Disconnected(why.clone()));
    }

    fn tick(&mut self, _: Instant) {}

    fn next_tick(&self) -> Option<Instant> {
        None
    }
}

/// A running loop; stopped and joined when dropped.
pub(crate) struct Server {
    pub(crate) seen: mpsc::Receiver<Seen>,
    pub(crate) remote: Remote,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn at(path: &Path) -> Self {
        Self::with(Some(Listener::bind(path, Access::Owner).unwrap()), None)
    }

    pub(crate) fn with(listener: Option<Listener>, refuse: Option<&str>) -> Self {
        let mut server = ServerLoop::new(listener, welcome()).unwrap();
        let (waker, remote) = (server.waker(), server.remote());
        let (sender, seen) = mpsc::channel();
        let mut service =
            Answers { refuse: refuse.map(Into::into), seen: Some(sender), ..Answers::default() };
        let thread = std::thread::spawn(move || server.run(&mut service).unwrap());
        Self { seen, remote, waker, thread: Some(thread) }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("the service is told")
    }

    pub(crate) fn connected(&self) -> ClientHandle {
        match self.seen() {
            Seen::Connected(handle, ..) => handle,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn disconnected(&self) -> Disconnect {
        match self.seen() {
            Seen::Disconnected(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.waker.stop();
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            assert!(joined.is_ok() || std::thread::panicking());
        }
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        protocol: 0,
        plugin: "0.1.0".into(),
        host: "a test".into(),
        pid: std::process::id(),
        capabilities: vec![],
    }
}

/// A frame with any body.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// Greets by hand on a raw stream and reads the welcome's bytes away.
pub(crate) fn greet(stream: &mut UnixStream) -> Message {
    let hello = br#"{"request":{"id":1,"body":{"method":"hello","params":{"protocol":1,"client":"raw"}}}}"#;
    stream.write_all(&frame(hello)).unwrap();
    read_message(stream)
}

pub(crate) fn read_message(stream: &mut UnixStream) -> Message {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}
