//! A proxy with one filter, the Rust example, whose requests stop as soon as a breakpoint stands. It
//! answers from the test's own process, over a real socket.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmdbg_control::breakpoints::{Planted, PlantedBreakpoints};
use wasmdbg_control::filters::{FilterCounters, FilterInfo, FilterList, FilterState, ModuleBytes};
use wasmdbg_control::message::{Request, RequestId};
use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::{
    Access, ClientHandle, ClientId, Disconnect, Listener, Peer, ServerLoop, Service, Waker,
};
use wasmdbg_control::session::{ActivityNoted, Attached, AttachedFilter, Detached, Hello, Welcome};
use wasmdbg_control::state::MemoryBytes;
use wasmdbg_control::status::{Histogram, SessionInfo, SlotInfo, Status};
use wasmdbg_control::stop::{
    CallbackEnded, CallbackOutcome, Context, DeadlineWarning, Frame, Resumed, StopReason, Stopped,
};
use wasmdbg_control::transactions::{TransactionEnded, TransactionList};
use wasmdbg_control::{
    ContextId, ErrorKind, Event, FilterId, Message, ModuleHash, ModulePc, SessionId, SlotId, StopId,
    TransactionId, WireError,
};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the proxy does besides answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Play {
    /// A request stops when a breakpoint is set; `continue` ends it with 200.
    Stop,
    /// The same, but its deadline warning and its path try to move the cursor.
    Hostile,
    /// Nothing ever stops.
    Nothing,
    /// It hangs up when a breakpoint is set.
    Die,
    /// It refuses everybody.
    Refuse,
}

pub(crate) struct Proxy {
    folder: PathBuf,
    /// Names of requests as they came.
    pub(crate) asked: Receiver<&'static str>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(play: Play) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmdbg-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let listener = Listener::bind(&folder.join("wasmdbg.sock"), Access::Owner).unwrap();
        let welcome = Welcome {
            protocol: 0,
            plugin: "0.1.0".into(),
            host: "Apache Traffic Server 9.2.5".into(),
            pid: 4711,
            capabilities: vec![],
        };
        let mut server = ServerLoop::new(Some(listener), welcome).unwrap();
        let waker = server.waker();
        let (asking, asked) = mpsc::channel();
        let mut script = Script { play, clients: HashMap::new(), asking, pc: ModulePc(0), resumed: false };
        let thread = std::thread::spawn(move || server.run(&mut script).unwrap());
        Self { folder, asked, waker, thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> String {
        self.folder.join("wasmdbg.sock").display().to_string()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `wasmdbg attach SOCKET …`, in a home of its own.
    pub(crate) fn attach(&self, arguments: &[&str]) -> Command {
        let mut command = wasmdbg(&["attach", &self.socket()]);
        command.args(arguments).env("HOME", &self.folder);
        command
    }

    /// Runs a batch to its end.
    pub(crate) fn batch(&self, arguments: &[&str]) -> Output {
        self.attach(arguments).arg("--batch").stdin(Stdio::null()).output().unwrap()
    }

    /// Waits until the proxy was asked for `method`.
    pub(crate) fn wait_for(&self, method: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let asked = self.asked.recv_timeout(left);
            if asked.unwrap_or_else(|_| panic!("nobody asked for {method}")) == method {
                return;
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.waker.stop();
        let joined = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_dir_all(&self.folder);
        assert!(matches!(joined, Some(Ok(()))) || std::thread::panicking());
    }
}

/// The binary, in the repository's folder, where the example's sources are.
pub(crate) fn wasmdbg(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmdbg"));
    command.args(arguments).current_dir(repository()).env_remove("XDG_STATE_HOME");
    command
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Whether this test can be another user too; where it must, it is made by root.
pub(crate) fn can_be_nobody() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        assert!(std::env::var("CI").is_err(), "CI runs as root");
        eprintln!("skipped: not root");
    }
    root
}

/// The user and group `nobody`.
pub(crate) const NOBODY: u32 = 65_534;

fn module_path() -> PathBuf {
    repository().join("examples/rust-token/rust-token.debug.wasm")
}

fn module_hash() -> ModuleHash {
    ModuleHash::of(&std::fs::read(module_path()).unwrap())
}

fn module_part(offset: u64, length: u32) -> ModuleBytes {
    let bytes = std::fs::read(module_path()).unwrap();
    let part = bytes.iter().skip(offset as usize).take(length as usize).copied().collect();
    ModuleBytes { size: bytes.len() as u64, data: part }
}

struct Script {
    play: Play,
    clients: HashMap<ClientId, ClientHandle>,
    asking: Sender<&'static str>,
    /// Where the first breakpoint stands.
    pc: ModulePc,
    resumed: bool,
}

impl Script {
    fn context(&self) -> Context {
        let path = if self.play == Play::Hostile { "/\x1b[2J\u{9b}31mowned" } else { "/path" };
        Context::Stream {
            id: ContextId(2),
            transaction: TransactionId(17),
            method: "GET".into(),
            path: path.into(),
        }
    }

    fn stopped(&self) -> Event {
        Event::Stopped(Box::new(Stopped {
            stop: StopId(1),
            slot: SlotId(1),
            filter: FilterId(0),
            filter_name: "token".into(),
            module: module_hash(),
            context: self.context(),
            callback: "proxy_on_request_headers".into(),
            reason: StopReason::Breakpoint { ids: vec![1] },
            control: true,
            deadline_ms: 30_000,
            frames: vec![Frame { function: 0, pc: self.pc, locals: vec![], operands: vec![] }],
            frame_count: 1,
            fresh_vm: true,
        }))
    }

    /// What follows an answer.
    fn events(&mut self, request: &Request) -> Vec<Event> {
        match (request, self.play) {
            (Request::SetBreakpoints(_), Play::Stop | Play::Hostile) if !self.resumed => {
                let warning = DeadlineWarning { stop: StopId(1), remaining_ms: 10_000 };
                vec![self.stopped(), Event::DeadlineWarning(warning)]
            }
            (Request::Resume(_), _) => {
                self.resumed = true;
                let outcome = CallbackOutcome::Returned { value: Some(0), local_response: None };
                let callback = "proxy_on_request_headers".into();
                let context = self.context();
                vec![
                    Event::CallbackEnded(CallbackEnded { slot: SlotId(1), context, callback, outcome }),
                    Event::TransactionEnded(TransactionEnded {
                        id: TransactionId(17),
                        filter: FilterId(0),
                        status: Some(200),
                        aborted: false,
                    }),
                ]
            }
            _ => Vec::new(),
        }
    }
}

impl Service for Script {
    fn allow(&mut self, peer: &Peer) -> Result<(), String> {
        match self.play {
            Play::Refuse => {
                Err(format!("user {} is not named in `control.users` of the plugin's settings", peer.uid))
            }
            _ => Ok(()),
        }
    }

    fn refused(&mut self, _: &Peer, _: &str) {}

    fn connected(&mut self, client: ClientHandle, _: Peer, _: Hello) {
        self.clients.insert(client.id(), client);
    }

    fn request(&mut self, client: ClientId, id: RequestId, request: Request) {
        // `wasmdbg ps` of another test may look in too.
        let client = self.clients[&client].clone();
        let _ = self.asking.send(request.method());
        let events = self.events(&request);
        let answered = match request {
            Request::Status(_) => client.reply(id, status()),
            Request::Filters(_) => client.reply(id, FilterList { filters: vec![filter()] }),
            Request::Attach(attach) => {
                client.reply(id, attached(attach.rules, attach.all, attach.deadline_ms))
            }
            Request::SetBreakpoints(_) if self.play == Play::Die => return client.close(),
            Request::SetBreakpoints(set) => {
                self.pc = set.breakpoints.first().map_or(self.pc, |first| first.pc);
                let bound = set.breakpoints.iter().map(|place| Planted::Bound { id: place.id, pc: place.pc });
                client.reply(id, PlantedBreakpoints { breakpoints: bound.collect() })
            }
            Request::ReadModule(read) => client.reply(id, module_part(read.offset, read.length)),
            Request::Resume(_) => client.reply(id, Resumed {}),
            Request::Activity(_) => client.reply(id, ActivityNoted {}),
            Request::ReadMemory(read) => {
                client.reply(id, MemoryBytes { size: 1 << 20, data: vec![0; read.length as usize] })
            }
            Request::Transactions(_) => {
                client.reply(id, TransactionList { transactions: vec![], fast_lane: 3, left_out: 0 })
            }
            Request::Detach(_) => client.reply(id, Detached { released: u32::from(!self.resumed) }),
            _ => client.refuse(id, WireError::new(ErrorKind::State, "no callback runs")),
        };
        if answered.is_err() {
            return;
        }
        // The breakpoints' pc is known now.
        let events = if events.is_empty() { events } else { self.refresh(events) };
        for event in events {
            let _ = client.send(&Message::Event(event));
        }
    }

    fn disconnected(&mut self, client: ClientId, _: &Disconnect) {
        self.clients.remove(&client);
    }

    fn tick(&mut self, _: Instant) {}

    fn next_tick(&self) -> Option<Instant> {
        None
    }
}

impl Script {
    fn refresh(&self, mut events: Vec<Event>) -> Vec<Event> {
        if let Some(Event::Stopped(_)) = events.first() {
            events[0] = self.stopped();
        }
        events
    }
}

fn attached(rules: Vec<Rule>, all: bool, deadline_ms: Option<u64>) -> Attached {
    let token = Rule::Header { name: "x-wasmdbg".into(), value: "5c0e17".into() };
    Attached {
        session: SessionId(1),
        rules: if rules.is_empty() && !all { vec![token] } else { rules },
        deadline_ms: deadline_ms.unwrap_or(1),
        filters: vec![AttachedFilter {
            filter: FilterId(0),
            name: "token".into(),
            module: module_hash(),
            slot: SlotId(1),
            compile_ms: 1840,
            cached: false,
        }],
        missed: 0,
    }
}

fn filter() -> FilterInfo {
    FilterInfo {
        id: FilterId(0),
        name: "token".into(),
        root_id: "token".into(),
        vm_id: String::new(),
        module_path: module_path().display().to_string(),
        module: Some(module_hash()),
        module_size: std::fs::metadata(module_path()).unwrap().len(),
        state: FilterState::Active,
        fail_open: false,
        service: false,
        counters: FilterCounters {
            contexts: 10_245,
            traps: 2,
            vms: 2,
            vms_started: 4,
            debug_contexts: 1,
            ..FilterCounters::default()
        },
    }
}

/// As in docs/PS_JSON.md, but for the module.
fn status() -> Status {
    let broken = FilterInfo {
        id: FilterId(1),
        name: "headers".into(),
        root_id: String::new(),
        vm_id: String::new(),
        module_path: "/etc/trafficserver/headers.wasm".into(),
        module: None,
        module_size: 0,
        state: FilterState::Inactive {
            reason: "cannot read /etc/trafficserver/headers.wasm: no such file".into(),
        },
        fail_open: true,
        service: false,
        counters: FilterCounters::default(),
    };
    let token = FilterInfo {
        module_path: "/etc/trafficserver/token.wasm".into(),
        module: Some(ModuleHash([0x3b; 32])),
        module_size: 2_417_362,
        ..filter()
    };
    Status {
        uptime_ms: 51_234,
        transactions: 3,
        sessions: vec![SessionInfo {
            id: SessionId(1),
            client: "wasmdbg 0.1.0".into(),
            uid: 1000,
            pid: 4890,
            filters: vec![FilterId(0)],
        }],
        slots: vec![SlotInfo { id: SlotId(1), filter: FilterId(0), busy: true, stopped: true }],
        code_images: 2,
        event_thread_debug_work: Histogram { buckets: vec![0, 0, 1, 7, 2], max_ns: 12_801, count: 10 },
        event_thread_releases: Histogram { buckets: vec![0, 0, 0, 1], max_ns: 7200, count: 1 },
        filters: vec![token, broken],
    }
}
