//! The plugin's side of the control protocol around one test machine: one filter, one slot, one client.
//! It knows breakpoints, the ways to resume, frames, memory and globals, as the debug lane does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmdbg_control::breakpoints::{Planted, PlantedBreakpoints};
use wasmdbg_control::connection::Connection;
use wasmdbg_control::filters::{FilterCounters, FilterInfo, FilterList, FilterState, ModuleBytes};
use wasmdbg_control::session::{
    ActivityNoted, Attached, AttachedFilter, Detached, LanePhase, LaneProgress, Welcome,
};
use wasmdbg_control::state::{GlobalValues, GlobalWritten, MemoryBytes, MemoryWritten, Value};
use wasmdbg_control::stop::{
    CallbackEnded, CallbackOutcome, Calls, Context, Frame, FrameList, InterruptNoted, ReleaseCause, Released,
    ResumeMode, Resumed, StopReason, Stopped,
};
use wasmdbg_control::transactions::{LogLine, TransactionList};
use wasmdbg_control::{
    Client, ContextId, ErrorKind, Event, Events, FilterId, Message, ModuleHash, ModulePc, PROTOCOL_VERSION,
    Reply, Request, SessionId, SlotId, StopId, TransactionId, WireError,
};
use wasmdbg_session::{AttachOptions, Error, Progress, Session, SessionEvent, SymbolOptions};

use crate::machine::{Host, Machine, Ran, Val};

/// A filter on the test machine, with a client's connection to it.
pub(crate) struct Proxy {
    callbacks: mpsc::Sender<Callback>,
    thread: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    deadline: Arc<AtomicBool>,
    client: Option<(Client, Events)>,
}

/// A callback to run.
struct Callback {
    export: String,
    arguments: Vec<Val>,
    done: mpsc::Sender<Host>,
}

impl Proxy {
    /// A proxy with `wasm` loaded and `headers` on its one request.
    pub(crate) fn new(wasm: &[u8], module_path: &str, headers: &[(&str, &str)]) -> Self {
        let (client_side, server_side) = Connection::memory().expect("a socket pair");
        let (callbacks, received) = mpsc::channel();
        let closing = Arc::new(AtomicBool::new(false));
        let mut lane = Lane::new(wasm, module_path, headers, server_side, Arc::clone(&closing));
        let deadline = Arc::clone(&lane.deadline);
        let thread = std::thread::spawn(move || lane.serve(&received));
        let client = Client::greet(client_side, "session tests").expect("a greeting");
        Self { callbacks, thread: Some(thread), closing, deadline, client: Some(client) }
    }

    /// Attaches a session.
    pub(crate) fn attach(&mut self, symbols: SymbolOptions) -> Session {
        let options = AttachOptions { symbols, ..AttachOptions::default() };
        let mut session = self.attach_with(&options, &mut |_| {}).expect("a session");
        let first = session.next_event(Duration::from_secs(20));
        assert!(matches!(first, Some(SessionEvent::Log(_))), "{first:?}");
        session
    }

    /// Attaches a session with options of all kinds.
    pub(crate) fn attach_with(
        &mut self,
        options: &AttachOptions,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Session, Error> {
        let (client, events) = self.client.take().expect("not attached yet");
        Session::attach(client, events, options, progress)
    }

    /// Lets the pause deadline of the present stop pass.
    pub(crate) fn pass_deadline(&self) {
        self.deadline.store(true, Ordering::Relaxed);
    }

    /// Starts a callback; what the host saw comes when it has ended.
    pub(crate) fn call(&self, export: &str, arguments: &[u32]) -> mpsc::Receiver<Host> {
        let (done, receiver) = mpsc::channel();
        let arguments = arguments.iter().map(|value| Val::I32(*value)).collect();
        self.callbacks.send(Callback { export: export.into(), arguments, done }).expect("the lane");
        receiver
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.client = None;
        self.closing.store(true, Ordering::Relaxed);
        let (closed, _) = mpsc::channel();
        self.callbacks = closed;
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking(), "the test machine panicked");
        }
    }
}

struct Lane {
    machine: Machine,
    wasm: Vec<u8>,
    module_path: String,
    hash: ModuleHash,
    connection: Connection,
    breakpoints: BTreeMap<ModulePc, Vec<u32>>,
    pcs: Vec<ModulePc>,
    stops: u64,
    stopped: Option<StopId>,
    gone: bool,
    /// The test is over: nobody resumes a stop any more.
    closing: Arc<AtomicBool>,
    /// The pause deadline passes now.
    deadline: Arc<AtomicBool>,
}

/// A run under way.
struct Run {
    mode: ResumeMode,
    /// Activations when it began.
    depth: usize,
}

impl Lane {
    fn new(
        wasm: &[u8],
        module_path: &str,
        headers: &[(&str, &str)],
        connection: Connection,
        closing: Arc<AtomicBool>,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut machine = Machine::new(wasm, Host { headers, ..Host::default() });
        if machine.has_export("_initialize") {
            machine.call("_initialize", &[]).expect("_initialize");
        }
        let mut pcs: Vec<ModulePc> = machine.pcs().collect();
        pcs.sort_unstable();
        Self {
            machine,
            wasm: wasm.to_vec(),
            module_path: module_path.into(),
            hash: ModuleHash::of(wasm),
            connection,
            breakpoints: BTreeMap::new(),
            pcs,
            stops: 0,
            stopped: None,
            gone: false,
            closing,
            deadline: Arc::default(),
        }
    }

    fn serve(&mut self, callbacks: &mpsc::Receiver<Callback>) {
        while !self.gone {
            self.requests(Duration::from_millis(1));
            match callbacks.try_recv() {
                Ok(callback) => {
                    self.callback(&callback);
                    let _ = callback.done.send(self.machine.host.clone());
                }
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => break,
            }
        }
    }

    fn callback(&mut self, callback: &Callback) {
        self.machine.begin(&callback.export, &callback.arguments);
        let mut run = Run { mode: ResumeMode::Continue, depth: 1 };
        let mut moved = false;
        let mut opcodes = 0u64;
        let outcome = loop {
            if let Some(reason) = self.due(&run, moved) {
                run = self.stop(&callback.export, reason);
                if self.gone {
                    run = Run { mode: ResumeMode::Continue, depth: 1 };
                }
            }
            opcodes += 1;
            if opcodes.is_multiple_of(100_000) {
                self.requests(Duration::ZERO);
            }
            moved = true;
            match self.machine.step() {
                Ok(Ran::Went) => {}
                Ok(Ran::Returned(value)) => {
                    let value = value.map(|value| match value {
                        Val::I32(value) => value as i32,
                        other => panic!("a callback returned {other:?}"),
                    });
                    break CallbackOutcome::Returned {
                        value,
                        local_response: self.machine.host.local_response,
                    };
                }
                Err(message) => {
                    self.stop(&callback.export, StopReason::Trap { message: message.clone() });
                    self.machine.frames.clear();
                    break CallbackOutcome::Trapped { message };
                }
            }
        };
        let context = context();
        let ended = CallbackEnded { slot: SlotId(1), context, callback: callback.export.clone(), outcome };
        self.event(Event::CallbackEnded(ended));
    }

    /// Whether the machine is to stop in front of its next opcode.
    fn due(&self, run: &Run, moved: bool) -> Option<StopReason> {
        let (pc, depth) = (self.machine.pc(0), self.machine.frames.len());
        let first = depth == 1 && !moved && self.stopped.is_none();
        if (moved || first)
            && !self.gone
            && let Some(ids) = self.breakpoints.get(&pc)
        {
            return Some(StopReason::Breakpoint { ids: ids.clone() });
        }
        if !moved {
            return None;
        }
        let step = match &run.mode {
            ResumeMode::Continue => false,
            ResumeMode::Instruction => true,
            ResumeMode::Range { ranges, calls } => {
                let inside = ranges.iter().any(|range| range.start <= pc && pc < range.end);
                match depth.cmp(&run.depth) {
                    std::cmp::Ordering::Less => true,
                    std::cmp::Ordering::Equal => !inside,
                    std::cmp::Ordering::Greater => *calls == Calls::Into,
                }
            }
            ResumeMode::Out { frame } => depth < run.depth - *frame as usize,
            ResumeMode::Until { pcs, frame } => {
                let of = run.depth - *frame as usize;
                depth < of || depth <= of && pcs.contains(&pc)
            }
        };
        step.then_some(StopReason::Step)
    }

    /// Stands until it is resumed.
    fn stop(&mut self, callback: &str, reason: StopReason) -> Run {
        self.stops += 1;
        let stop = StopId(self.stops);
        self.stopped = Some(stop);
        let frame_count = self.machine.frames.len() as u32;
        // Fewer than the protocol allows, so that outer frames have to be asked for.
        let frames = self.frames(0, 4);
        self.event(Event::Stopped(Box::new(Stopped {
            stop,
            slot: SlotId(1),
            filter: FilterId(0),
            filter_name: "fixture".into(),
            module: self.hash,
            context: context(),
            callback: callback.into(),
            reason,
            control: true,
            deadline_ms: 30_000,
            frames,
            frame_count,
            fresh_vm: self.stops == 1,
        })));
        loop {
            if let Some(mode) = self.requests(Duration::from_millis(20)) {
                self.event(Event::Released(Released { stop, slot: SlotId(1), cause: ReleaseCause::Resumed }));
                return Run { mode, depth: frame_count as usize };
            }
            if self.deadline.swap(false, Ordering::Relaxed) {
                self.stopped = None;
                self.event(Event::Released(Released {
                    stop,
                    slot: SlotId(1),
                    cause: ReleaseCause::Deadline,
                }));
                return Run { mode: ResumeMode::Continue, depth: frame_count as usize };
            }
            if self.gone || self.closing.load(Ordering::Relaxed) {
                self.gone = true;
                return Run { mode: ResumeMode::Continue, depth: frame_count as usize };
            }
        }
    }

    fn frames(&self, first: u32, count: u32) -> Vec<Frame> {
        let total = self.machine.frames.len();
        let wire = |value: &Val| match *value {
            Val::I32(value) => Value::I32(value as i32),
            Val::I64(value) => Value::I64(value as i64),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
        };
        (first as usize..total)
            .take(count as usize)
            .map(|index| {
                let activation = &self.machine.frames[total - 1 - index];
                Frame {
                    function: activation.function,
                    pc: self.machine.pc(index),
                    locals: activation.locals.iter().map(wire).collect(),
                    operands: activation.operands.iter().map(wire).collect(),
                }
            })
            .collect()
    }

    fn event(&self, event: Event) {
        let _ = self.connection.sender.send(&Message::Event(event));
    }

    /// Answers requests until `patience` is over; a resume ends it.
    fn requests(&mut self, patience: Duration) -> Option<ResumeMode> {
        loop {
            let (id, body) = match self.connection.receiver.recv_timeout(patience) {
                Ok(Ok((Message::Request { id, body }, _))) => (id, body),
                Ok(Ok((other, _))) => panic!("a client sent {other:?}"),
                Err(RecvTimeoutError::Timeout) => return None,
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                    self.gone = true;
                    return None;
                }
            };
            let resumed = match &body {
                Request::Resume(resume) if Some(resume.stop) == self.stopped => Some(resume.mode.clone()),
                _ => None,
            };
            let message = match self.answer(body) {
                Ok(body) => Message::Response { id, body },
                Err(error) => Message::Error { id, error },
            };
            let _ = self.connection.sender.send(&message);
            if resumed.is_some() {
                return resumed;
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<Reply, WireError> {
        let state = |text: &str| WireError::new(ErrorKind::State, text);
        Ok(match request {
            Request::Hello(_) => Welcome {
                protocol: PROTOCOL_VERSION,
                plugin: "0.1.0".into(),
                host: "test machine".into(),
                pid: std::process::id(),
                capabilities: Vec::new(),
            }
            .into(),
            Request::Attach(attach) if attach.filters.iter().any(|name| name != "fixture") => {
                return Err(WireError::new(ErrorKind::NotFound, "no filter has that name"));
            }
            Request::Attach(attach) => {
                self.event(Event::LaneProgress(LaneProgress {
                    filter: FilterId(0),
                    name: "fixture".into(),
                    phase: LanePhase::Compiling,
                    elapsed_ms: 1,
                }));
                self.event(Event::Log(LogLine {
                    filter: FilterId(0),
                    transaction: None,
                    level: "info".into(),
                    message: "configured".into(),
                }));
                Attached {
                    session: SessionId(1),
                    rules: attach.rules,
                    deadline_ms: attach.deadline_ms.unwrap_or(30_000),
                    filters: vec![AttachedFilter {
                        filter: FilterId(0),
                        name: "fixture".into(),
                        module: self.hash,
                        slot: SlotId(1),
                        compile_ms: 0,
                        cached: true,
                    }],
                    missed: 0,
                }
                .into()
            }
            Request::Filters(_) => FilterList { filters: vec![self.filter()] }.into(),
            Request::ReadModule(read) => {
                let from = (read.offset as usize).min(self.wasm.len());
                let to = (from + read.length as usize).min(self.wasm.len());
                ModuleBytes { size: self.wasm.len() as u64, data: self.wasm[from..to].to_vec() }.into()
            }
            Request::SetBreakpoints(set) => self.plant(&set.breakpoints).into(),
            Request::Transactions(_) => {
                TransactionList { transactions: Vec::new(), fast_lane: 0, left_out: 0 }.into()
            }
            Request::Activity(_) => ActivityNoted {}.into(),
            Request::Detach(_) => Detached { released: 0 }.into(),
            Request::Interrupt(_) => InterruptNoted { slots: 0 }.into(),
            Request::Resume(resume) if Some(resume.stop) == self.stopped => Resumed {}.into(),
            Request::Frames(get) if Some(get.stop) == self.stopped => FrameList {
                frames: self.frames(get.first, get.count.min(3)),
                frame_count: self.machine.frames.len() as u32,
            }
            .into(),
            Request::ReadMemory(read) if Some(read.stop) == self.stopped => {
                let size = self.machine.memory.len();
                let from = (read.address as usize).min(size);
                let to = (from + read.length as usize).min(size);
                MemoryBytes { size: size as u64, data: self.machine.memory[from..to].to_vec() }.into()
            }
            Request::ReadGlobals(read) if Some(read.stop) == self.stopped => {
                let globals = self.machine.globals.iter().map(|value| match *value {
                    Val::I32(value) => Value::I32(value as i32),
                    other => panic!("a global of {other:?}"),
                });
                // One at a time: a module can have more than fit an answer.
                let count = globals.len() as u32;
                GlobalValues { globals: globals.skip(read.first as usize).take(1).collect(), count }.into()
            }
            Request::WriteMemory(write) if Some(write.stop) == self.stopped => {
                let from = write.address as usize;
                match self.machine.memory.get_mut(from..from + write.data.len()) {
                    Some(bytes) => bytes.copy_from_slice(&write.data),
                    None => return Err(state("the address is outside the memory")),
                }
                MemoryWritten {}.into()
            }
            Request::WriteGlobal(write) if Some(write.stop) == self.stopped => {
                let Value::I32(value) = write.value else { return Err(state("globals here are i32")) };
                self.machine.globals[write.index as usize] = Val::I32(value as u32);
                GlobalWritten {}.into()
            }
            Request::Resume(_)
            | Request::Frames(_)
            | Request::ReadMemory(_)
            | Request::ReadGlobals(_)
            | Request::WriteMemory(_)
            | Request::WriteGlobal(_) => {
                return Err(WireError::new(ErrorKind::NotFound, "that stop is over"));
            }
            other => return Err(state(&format!("{other:?} is not for the test machine"))),
        })
    }

    fn plant(&mut self, wanted: &[wasmdbg_control::breakpoints::Breakpoint]) -> PlantedBreakpoints {
        self.breakpoints.clear();
        let mut planted = Vec::new();
        for breakpoint in wanted {
            let at = self.pcs.partition_point(|pc| *pc < breakpoint.pc);
            planted.push(match self.pcs.get(at) {
                Some(pc) => {
                    self.breakpoints.entry(*pc).or_default().push(breakpoint.id);
                    Planted::Bound { id: breakpoint.id, pc: *pc }
                }
                None => Planted::Refused { id: breakpoint.id, reason: "no opcode there".into() },
            });
        }
        PlantedBreakpoints { breakpoints: planted }
    }

    fn filter(&self) -> FilterInfo {
        FilterInfo {
            id: FilterId(0),
            name: "fixture".into(),
            root_id: String::new(),
            vm_id: String::new(),
            module_path: self.module_path.clone(),
            module: Some(self.hash),
            module_size: self.wasm.len() as u64,
            state: FilterState::Active,
            fail_open: true,
            service: false,
            counters: FilterCounters::default(),
        }
    }
}

fn context() -> Context {
    Context::Stream {
        id: ContextId(2),
        transaction: TransactionId(17),
        method: "GET".into(),
        path: "/path".into(),
    }
}
