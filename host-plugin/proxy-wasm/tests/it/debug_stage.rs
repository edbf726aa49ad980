//! A proxy with a debug lane, in memory: filters as text, an agent on its own thread, clients over
//! connections inside the process, transactions driven as a proxy drives them.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmdbg_control::breakpoints::{Breakpoint, Planted, SetBreakpoints};
use wasmdbg_control::client::CallError;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::server::{ClientHandle, ClientId, Disconnect, Peer, Remote, ServerLoop, Service, Waker};
use wasmdbg_control::session::{Attach, Attached, Hello, LaneStart};
use wasmdbg_control::state::Value;
use wasmdbg_control::status::{GetStatus, Status};
use wasmdbg_control::stop::{Resume, ResumeMode, Stopped};
use wasmdbg_control::{
    Client, Connection, ErrorKind, Event, Events, FilterId, ModuleHash, ModulePc, Request as Asked,
    RequestId, StopId, TransactionId,
};
use wasmdbg_proxy_wasm::debug::Candidate;
use wasmdbg_proxy_wasm::{
    Action, Agent, AgentParts, Callback, Claim, DebugContext, DebugLane, Embedder, Ending, Filter,
    FilterConfig, Level, Outcome, Runtime, Settings, ThreadHandle, Transaction,
};

use crate::double::{Proxy, Request};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The embedder: as [`Proxy`], and it counts the threads that live.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) proxy: Proxy,
    pub(crate) threads: Arc<AtomicUsize>,
    /// No thread can be made.
    pub(crate) exhausted: AtomicBool,
    /// The log level is critical: a filter can see that.
    pub(crate) quiet: AtomicBool,
}

impl Embedder for Host {
    fn host_name(&self) -> String {
        self.proxy.host_name()
    }

    fn log(&self, level: Level, filter: &str, transaction: Option<TransactionId>, message: &str) {
        self.proxy.log(level, filter, transaction, message);
    }

    fn compiles_in_background(&self) -> bool {
        self.proxy.compiles_in_background()
    }

    fn task(&self, body: Box<dyn FnOnce() + Send>) {
        self.proxy.task(body);
    }

    fn log_level(&self) -> Level {
        if self.quiet.load(Ordering::SeqCst) { Level::Critical } else { Level::Trace }
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Box<dyn ThreadHandle>, String> {
        struct Joined(Box<dyn ThreadHandle>, Arc<AtomicUsize>);
        impl ThreadHandle for Joined {
            fn join(self: Box<Self>) {
                self.0.join();
                self.1.fetch_sub(1, Ordering::SeqCst);
            }
        }
        if self.exhausted.load(Ordering::SeqCst) {
            return Err("no thread is left".into());
        }
        let thread = self.proxy.spawn(name, body)?;
        self.threads.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Joined(thread, Arc::clone(&self.threads))))
    }
}

/// The agent, with a clock that can be ahead of the machine's.
struct Ahead {
    agent: Agent,
    milliseconds: Arc<AtomicU64>,
    deaf: Arc<AtomicBool>,
}

impl Ahead {
    fn by(&self) -> Duration {
        Duration::from_millis(self.milliseconds.load(Ordering::SeqCst))
    }
}

impl Service for Ahead {
    fn allow(&mut self, peer: &Peer) -> Result<(), String> {
        self.agent.allow(peer)
    }

    fn refused(&mut self, peer: &Peer, reason: &str) {
        self.agent.refused(peer, reason);
    }

    fn connected(&mut self, client: ClientHandle, peer: Peer, hello: Hello) {
        self.agent.connected(client, peer, hello);
    }

    fn request(&mut self, client: ClientId, id: RequestId, request: Asked) {
        self.agent.request(client, id, request);
    }

    fn disconnected(&mut self, client: ClientId, why: &Disconnect) {
        self.agent.disconnected(client, why);
    }

    fn tick(&mut self, now: Instant) {
        if !self.deaf.load(Ordering::SeqCst) {
            self.agent.tick(now + self.by());
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        self.agent.next_tick().and_then(|due| due.checked_sub(self.by()))
    }
}

/// See the module.
pub(crate) struct Stage {
    pub(crate) host: Arc<Host>,
    pub(crate) lane: Arc<DebugLane>,
    pub(crate) filters: Vec<Arc<Filter>>,
    remote: Remote,
    waker: Waker,
    agent: Option<JoinHandle<()>>,
    ahead: Arc<AtomicU64>,
    /// The agent hears nothing of what other threads tell it.
    pub(crate) deaf: Arc<AtomicBool>,
    pub(crate) folder: PathBuf,
}

impl Stage {
    /// One filter.
    pub(crate) fn new(wat: &str, settings: &str) -> Self {
        Self::with(&[("filter", wat)], settings)
    }

    /// Filters by name.
    pub(crate) fn with(filters: &[(&str, &str)], settings: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("wasmdbg-stage-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let host = Arc::new(Host::default());
        let embedder: Arc<dyn Embedder> = host.clone();
        let (settings, _) = Settings::parse(settings, &folder).unwrap();
        let (runtime, traps) = Runtime::new(embedder, settings, 1 << 20).unwrap();
        let load = |(id, (name, wat)): (usize, &(&str, &str))| {
            let file = folder.join(format!("{name}.wasm"));
            fs::write(&file, wat::parse_str(wat).unwrap()).unwrap();
            let yaml = format!(
                "config:\n  name: {name}\n  rootId: root\n  vmConfig:\n    vmId: vm\n    code:\n      local:\n        filename: {}\n",
                file.display()
            );
            let (config, _) = FilterConfig::parse(&yaml, &folder.join("filter.yaml"), None).unwrap();
            Filter::load(&runtime, FilterId(id as u32), config, 1)
        };
        let filters: Vec<Arc<Filter>> = filters.iter().enumerate().map(load).collect();
        for filter in &filters {
            assert_eq!(filter.inactive_reason(), None);
        }
        let lane = DebugLane::new(runtime);
        let mut server = ServerLoop::new(None, Agent::welcome(&lane)).unwrap();
        let (waker, remote) = (server.waker(), server.remote());
        let parts = AgentParts {
            lane: Arc::clone(&lane),
            filters: filters.clone(),
            traps,
            symbolise: Box::new(|_, frame| {
                Some(format!("function {} at {}", frame.function, frame.pc.unwrap_or_default()))
            }),
            users: Vec::new(),
            cache_folder: Some(folder.join("cache")),
            transactions: Box::new(|| 7),
            waker: waker.clone(),
        };
        let ahead = Arc::new(AtomicU64::new(0));
        let deaf = Arc::new(AtomicBool::new(false));
        let mut agent =
            Ahead { agent: Agent::new(parts), milliseconds: Arc::clone(&ahead), deaf: Arc::clone(&deaf) };
        let agent = thread::spawn(move || server.run(&mut agent).unwrap());
        Self { host, lane, filters, remote, waker, agent: Some(agent), ahead, deaf, folder }
    }

    /// Puts the agent's clock so far ahead of the machine's.
    pub(crate) fn put_ahead(&self, time: Duration) {
        self.ahead.store(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
        self.waker.wake();
    }

    pub(crate) fn module(&self) -> ModuleHash {
        self.filters[0].module()
    }

    pub(crate) fn client(&self) -> Front {
        self.client_named("test 1.0")
    }

    pub(crate) fn client_named(&self, name: &str) -> Front {
        let connection = Connection::over(self.connect()).unwrap();
        let (client, events) = Client::greet(connection, name).unwrap();
        Front { client, events }
    }

    /// A connection on which nobody has said anything.
    pub(crate) fn connect(&self) -> UnixStream {
        self.remote.connect().unwrap()
    }

    /// A client that is attached to every filter and all transactions.
    pub(crate) fn attached(&self) -> Front {
        let front = self.client();
        front.attach(Attach { all: true, ..attach() }).unwrap();
        front
    }

    /// Where `i32.const MARKER` is in the first filter.
    pub(crate) fn pc(&self, marker: u32) -> ModulePc {
        pc(self.filters[0].module_bytes(), marker)
    }

    /// A transaction that a session wants, with its request headers callback queued.
    pub(crate) fn request(&self, id: u64) -> Flow {
        let flow = self.try_request(id, &[]).expect("the transaction enters the debug lane");
        flow.call(Callback::RequestHeaders { end_of_stream: true });
        flow
    }

    /// A transaction; `None`: it takes the fast lane.
    pub(crate) fn try_request(&self, id: u64, headers: &[(&str, &str)]) -> Option<Flow> {
        self.try_filter(0, id, headers)
    }

    pub(crate) fn try_filter(&self, filter: u32, id: u64, headers: &[(&str, &str)]) -> Option<Flow> {
        let (claim, request) = self.claim(filter, id, headers)?;
        Some(self.entered(claim, request))
    }

    /// A transaction whose slot was chosen.
    pub(crate) fn entered(&self, claim: Claim, request: Request) -> Flow {
        let (outcomes, receiver) = mpsc::channel();
        let (effects, effect_receiver) = mpsc::channel();
        let context = claim.enter(request.boxed(), Box::new(move |_, action| _ = effects.send(action)));
        Flow { request, context, outcomes, receiver, effects: effect_receiver }
    }

    /// A slot for a transaction that has not entered it yet.
    pub(crate) fn claim(&self, filter: u32, id: u64, headers: &[(&str, &str)]) -> Option<(Claim, Request)> {
        let mut request = Request::new(id, headers);
        let facts = request.facts();
        let header = |name: &str, value: &mut Vec<u8>| match headers.iter().find(|(k, _)| *k == name) {
            Some((_, found)) => {
                value.extend_from_slice(found.as_bytes());
                true
            }
            None => false,
        };
        let facts = || facts.clone();
        let claim =
            self.lane.choose(FilterId(filter), TransactionId(id), &Candidate::new(&facts, &header))?;
        Some((claim, request))
    }

    pub(crate) fn threads(&self) -> usize {
        self.host.threads.load(Ordering::SeqCst)
    }

    pub(crate) fn log(&self) -> String {
        self.host.proxy.text()
    }
}

impl Stage {
    /// The agent serves no more.
    pub(crate) fn end_agent(&mut self) {
        self.waker.stop();
        if let Some(agent) = self.agent.take() {
            let ended = agent.join();
            assert!(thread::panicking() || ended.is_ok(), "the agent panicked");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_agent();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An empty attach.
pub(crate) fn attach() -> Attach {
    Attach {
        filters: Vec::new(),
        rules: Vec::<Rule>::new(),
        all: false,
        deadline_ms: None,
        start: LaneStart::AtOnce,
    }
}

/// Where `i32.const MARKER` is in a module; markers are above 4095.
pub(crate) fn pc(module: &[u8], marker: u32) -> ModulePc {
    let mut pattern = vec![0x41];
    let mut rest = marker;
    while rest >= 64 {
        pattern.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    pattern.push(rest as u8);
    let found: Vec<usize> = (0..module.len()).filter(|&at| module[at..].starts_with(&pattern)).collect();
    assert_eq!(found.len(), 1, "marker {marker} is there once");
    ModulePc::at(found[0])
}

/// A transaction in the hands of the proxy.
pub(crate) struct Flow {
    pub(crate) request: Request,
    context: DebugContext,
    outcomes: mpsc::Sender<Outcome>,
    receiver: mpsc::Receiver<Outcome>,
    effects: mpsc::Receiver<Action>,
}

impl Flow {
    pub(crate) fn call(&self, callback: Callback) {
        let outcomes = self.outcomes.clone();
        self.context.call(callback, Box::new(move |outcome| _ = outcomes.send(outcome)));
    }

    /// Waits for the callback's outcome.
    pub(crate) fn action(&self) -> Action {
        self.receiver.recv_timeout(PATIENCE).expect("the callback ends").action
    }

    /// Waits for what something else decides.
    pub(crate) fn effect(&self) -> Action {
        self.effects.recv_timeout(PATIENCE).expect("something decides about the parked transaction")
    }

    /// Whether the callback is still under way.
    pub(crate) fn is_held(&self) -> bool {
        self.receiver.try_recv().is_err()
    }

    /// Takes the transaction back for the fast lane; whether its slot had not taken it.
    pub(crate) fn take_back(self) -> bool {
        self.context.take_back().is_ok()
    }

    pub(crate) fn client_gone(&self) {
        self.context.client_gone();
    }

    /// Ends the transaction and waits for it.
    pub(crate) fn end(self) {
        let (done, ended) = mpsc::channel();
        let ending = Ending { status: Some(200), aborted: false };
        self.context.end(ending, Box::new(move || _ = done.send(())));
        ended.recv_timeout(PATIENCE).expect("the transaction ends");
    }
}

/// A client with its events.
pub(crate) struct Front {
    pub(crate) client: Client,
    pub(crate) events: Events,
}

impl Front {
    pub(crate) fn attach(&self, attach: Attach) -> Result<Attached, CallError> {
        self.client.call_within(attach, PATIENCE)
    }

    /// Replaces all breakpoints; each is numbered by its place, from 1.
    pub(crate) fn breakpoints(&self, module: ModuleHash, pcs: &[ModulePc]) -> Vec<Planted> {
        let breakpoints = pcs.iter().zip(1..).map(|(&pc, id)| Breakpoint { id, pc }).collect();
        self.client.call_within(SetBreakpoints { module, breakpoints }, PATIENCE).unwrap().breakpoints
    }

    /// Waits for the event that `pick` wants; others are skipped.
    pub(crate) fn wait<T>(&self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(found) = pick(event) {
                        return found;
                    }
                }
                Err(_) => panic!("no event: {what}"),
            }
        }
    }

    pub(crate) fn stopped(&self) -> Stopped {
        self.wait("a stop", |event| match event {
            Event::Stopped(stopped) => Some(*stopped),
            _ => None,
        })
    }

    pub(crate) fn resume(&self, stop: StopId, mode: ResumeMode) {
        self.client.call_within(Resume { stop, mode }, PATIENCE).unwrap();
    }

    /// Resumes and waits for the next stop.
    pub(crate) fn step(&self, stop: StopId, mode: ResumeMode) -> Stopped {
        self.resume(stop, mode);
        self.stopped()
    }

    pub(crate) fn status(&self) -> Status {
        self.client.call(GetStatus {}).unwrap()
    }

    pub(crate) fn wait_status(&self, what: &str, good: impl Fn(&Status) -> bool) -> Status {
        wait_for(what, || Some(self.status()).filter(&good))
    }
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The kind of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, CallError>) -> ErrorKind {
    match result.expect_err("a refusal") {
        CallError::Refused(error) => error.kind,
        other => panic!("{other}"),
    }
}

pub(crate) fn i32s(values: &[Value]) -> Vec<i32> {
    let number = |value: &Value| match value {
        Value::I32(value) => *value,
        other => panic!("{other:?}"),
    };
    values.iter().map(number).collect()
}

/// A filter with `functions` beside what every filter has. Markers (`i32.const` above 4095) are places.
pub(crate) fn filter(functions: &str) -> String {
    format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
            (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
            (import "env" "proxy_get_log_level" (func $level (param i32) (result i32)))
            (import "env" "proxy_done" (func $done (result i32)))
            (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
            (import "env" "proxy_get_header_map_value"
                (func $header (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (global $count (mut i32) (i32.const 41))
            (global $fixed i64 (i64.const -3))
            (data (i32.const 16) ":pathtext")
            (func (export "proxy_abi_version_0_2_1"))
            (func $malloc (export "malloc") (param i32) (result i32)
                (drop (i32.const 9000))
                (i32.const 4096))
            {functions})"#
    )
}
