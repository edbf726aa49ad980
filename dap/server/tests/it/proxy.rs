//! A proxy in memory: the far side of the control protocol with the filter `values`, whose machine was recorded.
//! The session engine and the codec are the real ones; what runs and stops is up to the test.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmdbg_control::breakpoints::{Planted, PlantedBreakpoints};
use wasmdbg_control::connection::Sender;
use wasmdbg_control::filters::{FilterCounters, FilterInfo, FilterList, FilterState, ModuleBytes};
use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::answer_each;
use wasmdbg_control::session::{ActivityNoted, Attached, AttachedFilter, Detached, Welcome};
use wasmdbg_control::state::{GlobalValues, GlobalWritten, MemoryBytes, MemoryWritten};
use wasmdbg_control::stop::{Context, FrameList, InterruptNoted, Resumed, StopReason, Stopped};
use wasmdbg_control::stream::StreamState;
use wasmdbg_control::transactions::{TransactionInfo, TransactionList, TransactionState};
use wasmdbg_control::{
    Client, Connection, ContextId, ErrorKind, Event, FilterId, Message, ModuleHash, PROTOCOL_VERSION, Reply,
    Request, SessionId, SlotId, StopId, TransactionId, WireError,
};
use wasmdbg_dap::Proxies;
use wasmdbg_session::proxy::{ConnectError, Connected, Lost, Target};

use crate::recording::{Machine, fixture};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy; clones are the same one.
#[derive(Clone)]
pub(crate) struct Proxy {
    shared: Arc<Mutex<State>>,
}

struct State {
    module: Vec<u8>,
    hash: ModuleHash,
    machine: Machine,
    /// The connections, oldest first.
    clients: Vec<Sender>,
    /// Nobody is let in.
    gone: bool,
    /// The request of this name is not answered.
    silent: Option<&'static str>,
    asking: mpsc::Sender<Option<Request>>,
    last_stop: u64,
}

/// What a stop is about.
pub(crate) struct Halt {
    pub(crate) reason: StopReason,
    /// Slot, transaction and path tell several apart.
    pub(crate) slot: u32,
    pub(crate) control: bool,
}

impl Default for Halt {
    fn default() -> Self {
        Self { reason: StopReason::Breakpoint { ids: vec![1] }, slot: 1, control: true }
    }
}

impl Proxy {
    /// One whose filter was recorded where its source says `stop NAME`, and what it is asked from now on.
    pub(crate) fn new(name: &str) -> (Self, Asked) {
        let (asking, asked) = mpsc::channel();
        let module = std::fs::read(fixture("rust.O0.v5.wasm")).expect("the module");
        let state = State {
            hash: ModuleHash::of(&module),
            module,
            machine: Machine::recorded("rust.O0.v5.state", name),
            clients: Vec::new(),
            gone: false,
            silent: None,
            asking,
            last_stop: 0,
        };
        (Self { shared: Arc::new(Mutex::new(state)) }, Asked(asked))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, name: &str) -> Result<Connected, ConnectError> {
        if self.lock().gone {
            return Err(ConnectError::Search("nobody is there".into()));
        }
        let (client, server) = Connection::memory().expect("a socket pair");
        self.lock().clients.push(server.sender.clone());
        let proxy = self.clone();
        std::thread::spawn(move || {
            answer_each(server, |request| {
                let mut state = proxy.lock();
                let _ = state.asking.send(Some(request.clone()));
                if state.silent == Some(request.method()) {
                    return None;
                }
                let refusal = || WireError::new(ErrorKind::State, "not in this test");
                Some(state.reply(&request).ok_or_else(refusal))
            });
            let _ = proxy.lock().asking.send(None);
        });
        let (client, events) = Client::greet(client, name).expect("a greeting");
        Ok(Connected { client, events, socket: "/run/proxy.sock".into() })
    }

    /// Tells the newest client.
    pub(crate) fn tell(&self, event: Event) {
        let state = self.lock();
        state.clients.last().expect("a client").send(&Message::Event(event)).expect("it is there");
    }

    /// A request stops where the machine was recorded.
    pub(crate) fn stop(&self, halt: Halt) -> StopId {
        let Halt { reason, slot, control } = halt;
        let stopped = {
            let mut state = self.lock();
            state.last_stop += 1;
            Stopped {
                stop: StopId(state.last_stop),
                slot: SlotId(slot),
                filter: FilterId(0),
                filter_name: "values".into(),
                module: state.hash,
                context: context(slot),
                callback: "proxy_on_request_headers".into(),
                reason,
                control,
                deadline_ms: 300_000,
                frames: state.machine.frames.clone(),
                frame_count: state.machine.frames.len() as u32,
                fresh_vm: false,
            }
        };
        let stop = stopped.stop;
        self.tell(Event::Stopped(Box::new(stopped)));
        stop
    }

    /// The request of this name is not answered any more.
    pub(crate) fn is_silent_at(&self, method: &'static str) {
        self.lock().silent = Some(method);
    }

    /// The process ends.
    pub(crate) fn dies(&self) {
        let mut state = self.lock();
        state.gone = true;
        for client in state.clients.drain(..) {
            client.close();
        }
    }

    /// It is started again.
    pub(crate) fn comes_back(&self) {
        self.lock().gone = false;
    }
}

impl Proxies for Proxy {
    fn connect(&self, _: &Target, name: &str) -> Result<Connected, ConnectError> {
        self.open(name)
    }

    fn find_again(&self, _: &Lost, name: &str) -> Result<Connected, ConnectError> {
        self.open(name)
    }
}

/// The transaction in a slot.
pub(crate) fn context(slot: u32) -> Context {
    Context::Stream {
        id: ContextId(slot + 1),
        transaction: TransactionId(u64::from(slot) + 10),
        method: "GET".into(),
        path: format!("/{slot}"),
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Option<Reply> {
        Some(match request {
            Request::Hello(_) => Welcome {
                protocol: PROTOCOL_VERSION,
                plugin: "0.1.0".into(),
                host: "a test".into(),
                pid: 1,
                capabilities: vec![],
            }
            .into(),
            Request::Filters(_) => FilterList { filters: vec![self.filter()] }.into(),
            Request::Attach(attach) => Attached {
                session: SessionId(1),
                rules: match attach.rules.as_slice() {
                    [] if attach.all => Vec::new(),
                    [] => vec![Rule::Header { name: "x-wasmdbg".into(), value: "a-token".into() }],
                    rules => rules.to_vec(),
                },
                deadline_ms: attach.deadline_ms.unwrap_or(30_000),
                filters: vec![AttachedFilter {
                    filter: FilterId(0),
                    name: "values".into(),
                    module: self.hash,
                    slot: SlotId(1),
                    compile_ms: 7,
                    cached: false,
                }],
                missed: 0,
            }
            .into(),
            Request::ReadModule(part) => {
                let from = self.module.len().min(part.offset as usize);
                let to = self.module.len().min(from + part.length as usize);
                ModuleBytes { size: self.module.len() as u64, data: self.module[from..to].to_vec() }.into()
            }
            Request::SetBreakpoints(set) => {
                let bound = set.breakpoints.iter().map(|one| Planted::Bound { id: one.id, pc: one.pc });
                PlantedBreakpoints { breakpoints: bound.collect() }.into()
            }
            Request::Transactions(_) => TransactionList {
                transactions: vec![TransactionInfo {
                    id: TransactionId(12),
                    method: "GET".into(),
                    path: "/2".into(),
                    client: "192.0.2.7:4000".into(),
                    filter: FilterId(0),
                    slot: SlotId(2),
                    state: TransactionState::Proxy,
                    age_ms: 5,
                }],
                fast_lane: 3,
                left_out: 0,
            }
            .into(),
            Request::Frames(part) => {
                let all = self.machine.frames.iter().skip(part.first as usize).take(part.count as usize);
                FrameList { frames: all.cloned().collect(), frame_count: self.machine.frames.len() as u32 }
                    .into()
            }
            Request::ReadMemory(part) => {
                MemoryBytes { size: 17 << 16, data: self.machine.read(part.address, part.length) }.into()
            }
            Request::WriteMemory(part) => {
                self.machine.write(part.address, &part.data);
                MemoryWritten {}.into()
            }
            Request::ReadGlobals(_) => GlobalValues {
                globals: self.machine.globals.clone(),
                count: self.machine.globals.len() as u32,
            }
            .into(),
            Request::WriteGlobal(new) => {
                self.machine.globals[new.index as usize] = new.value.clone();
                GlobalWritten {}.into()
            }
            Request::ReadStream(_) => StreamState {
                request_headers: Some(vec![("host".into(), "example.test".into())]),
                response_headers: None,
                properties: vec![],
                filter: vec![],
            }
            .into(),
            Request::Resume(_) => Resumed {}.into(),
            Request::Interrupt(_) => InterruptNoted { slots: 1 }.into(),
            Request::Activity(_) => ActivityNoted {}.into(),
            Request::Detach(_) => Detached { released: 0 }.into(),
            _ => return None,
        })
    }

    fn filter(&self) -> FilterInfo {
        FilterInfo {
            id: FilterId(0),
            name: "values".into(),
            root_id: String::new(),
            vm_id: String::new(),
            module_path: "/filters/values.wasm".into(),
            module: Some(self.hash),
            module_size: self.module.len() as u64,
            state: FilterState::Active,
            fail_open: false,
            service: false,
            counters: FilterCounters::default(),
        }
    }
}

/// What a proxy was asked, in order; nothing where a connection has ended.
pub(crate) struct Asked(Receiver<Option<Request>>);

impl Asked {
    /// The next request of this name; others before it are passed over.
    pub(crate) fn next(&self, method: &str) -> Request {
        loop {
            let request = self.0.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("`{method}` is not asked"));
            if let Some(request) = request.filter(|request| request.method() == method) {
                return request;
            }
        }
    }

    /// Waits until a connection has ended.
    pub(crate) fn end(&self) {
        while self.0.recv_timeout(PATIENCE).expect("the connection still stands").is_some() {}
    }
}
