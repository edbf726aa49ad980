//! A proxy in memory: what it answers is up to the test, what it was asked is kept.

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmdbg_control::breakpoints::{Breakpoint, Planted, PlantedBreakpoints};
use wasmdbg_control::connection::Sender;
use wasmdbg_control::filters::{FilterList, ModuleBytes};
use wasmdbg_control::server::answer_each;
use wasmdbg_control::session::{
    ActivityNoted, Attach, Attached as Reply, AttachedFilter, LaneStart, Welcome,
};
use wasmdbg_control::state::{GlobalValues, MemoryBytes, MemoryWritten, Value};
use wasmdbg_control::stop::{
    Context, Frame, FrameList, InterruptNoted, ResumeMode, Resumed, StopReason, Stopped,
};
use wasmdbg_control::{
    Client, Connection, ContextId, ErrorKind, Event, Events, FilterId, Message, ModuleHash, ModulePc,
    PROTOCOL_VERSION, Request, SessionId, SlotId, StopId, WireError,
};

use crate::Attached;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy, at the other end of a connection.
pub(super) struct Proxy {
    sender: Sender,
    asked: Receiver<String>,
    state: Arc<Mutex<State>>,
}

/// What the proxy answers with.
pub(super) struct State {
    /// The filters with their modules.
    pub(super) filters: Vec<(&'static str, Vec<u8>)>,
    /// Which of them stops.
    pub(super) runs: usize,
    /// Where a breakpoint stands that is asked for at a pc; nowhere is a refusal.
    pub(super) place: fn(ModulePc) -> Option<ModulePc>,
    /// The frames of a stop, innermost first.
    pub(super) frames: Vec<Frame>,
    /// How many of them an answer has.
    pub(super) at_once: usize,
    pub(super) globals: Vec<Value>,
    pub(super) memory: Vec<u8>,
    /// How many slots an interrupt stops; with none there is nothing to stop.
    pub(super) running: u32,
    /// How often it was told that somebody is at work.
    pub(super) signs_of_life: u32,
    /// No stop lasts until it is asked about.
    pub(super) over: bool,
    last_stop: u64,
}

pub(super) fn frame(pc: u32) -> Frame {
    Frame { function: 0, pc: ModulePc(pc), locals: vec![], operands: vec![] }
}

impl Proxy {
    /// One with the filter `token`, whose stops have one frame at 0x30; and a client that has greeted it.
    pub(super) fn new() -> (Self, Client, Events) {
        let (client, server) = Connection::memory().expect("a socket pair");
        let (asking, asked) = mpsc::channel();
        let state = State {
            filters: vec![("token", b"\0asm\x01\0\0\0".to_vec())],
            runs: 0,
            place: Some,
            frames: vec![frame(0x30)],
            at_once: 32,
            globals: vec![],
            memory: vec![],
            running: 0,
            signs_of_life: 0,
            over: false,
            last_stop: 0,
        };
        let proxy = Self { sender: server.sender.clone(), asked, state: Arc::new(Mutex::new(state)) };
        let state = Arc::clone(&proxy.state);
        std::thread::spawn(move || {
            answer_each(server, |request| {
                let mut state = state.lock().expect("nobody panics with it");
                state.signs_of_life += u32::from(matches!(request, Request::Activity(_)));
                let _ = asking.send(state.words(&request));
                Some(state.answer(request))
            });
        });
        let (client, events) = Client::greet(client, "tests").expect("a greeting");
        assert_eq!(proxy.next(), "hello");
        (proxy, client, events)
    }

    /// The same with a session.
    pub(super) fn attached(change: impl FnOnce(&mut State)) -> (Self, Attached) {
        let (proxy, client, events) = Self::new();
        proxy.set(change);
        let request =
            Attach { filters: vec![], rules: vec![], all: true, deadline_ms: None, start: LaneStart::AtOnce };
        let attached = Attached::new(client, events, request).expect("a session");
        assert_eq!(proxy.next(), "filters");
        assert_eq!(proxy.next(), "attach");
        for _ in attached.filters() {
            assert_eq!(proxy.next(), "read_module 0..");
        }
        (proxy, attached)
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("nobody panics with it"));
    }

    /// What it is asked next, but for signs of life: they come by the clock.
    pub(super) fn next(&self) -> String {
        self.any_where(|words| words != "activity")
    }

    /// Waits until it is asked so; other requests are passed over.
    pub(super) fn any_where(&self, fits: impl Fn(&str) -> bool) -> String {
        loop {
            let words = self.asked.recv_timeout(PATIENCE).expect("the proxy is asked");
            if fits(&words) {
                return words;
            }
        }
    }

    /// What it has been asked by now and nobody has taken, but for signs of life.
    pub(super) fn untaken(&self) -> Option<String> {
        loop {
            match self.asked.try_recv() {
                Ok(words) if words == "activity" => {}
                Ok(words) => return Some(words),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// A callback in a slot stops.
    pub(super) fn stop(&self, slot: u32, reason: StopReason) -> StopId {
        self.stop_as(slot, reason, true)
    }

    /// The same, perhaps under the control of another session.
    pub(super) fn stop_as(&self, slot: u32, reason: StopReason, control: bool) -> StopId {
        let mut stopped = self.state.lock().expect("nobody panics with it").stopped(slot, reason);
        stopped.control = control;
        let stop = stopped.stop;
        self.tell(Event::Stopped(Box::new(stopped)));
        stop
    }

    /// What is told of a stop at a breakpoint.
    pub(super) fn stopped(&self, slot: u32) -> Event {
        let mut state = self.state.lock().expect("nobody panics with it");
        Event::Stopped(Box::new(state.stopped(slot, breakpoint())))
    }

    pub(super) fn tell(&self, event: Event) {
        self.sender.send(&Message::Event(event)).expect("the client is there");
    }

    /// The process ends.
    pub(super) fn dies(&self) {
        self.sender.close();
    }
}

pub(super) fn breakpoint() -> StopReason {
    StopReason::Breakpoint { ids: vec![1] }
}

/// The filter itself, as in `proxy_on_tick`.
pub(super) const ROOT: Context = Context::Root { id: ContextId(1) };

impl State {
    fn stopped(&mut self, slot: u32, reason: StopReason) -> Stopped {
        self.last_stop += 1;
        Stopped {
            stop: StopId(self.last_stop),
            slot: SlotId(slot),
            filter: FilterId(self.runs as u32),
            filter_name: self.filters[self.runs].0.into(),
            module: ModuleHash::of(&self.filters[self.runs].1),
            context: ROOT,
            callback: "proxy_on_tick".into(),
            reason,
            control: true,
            deadline_ms: 30_000,
            frames: self.frames.iter().take(self.at_once).cloned().collect(),
            frame_count: self.frames.len() as u32,
            fresh_vm: true,
        }
    }

    fn answer(&self, request: Request) -> Result<wasmdbg_control::Reply, WireError> {
        let state = |text: &str| Err(WireError::new(ErrorKind::State, text));
        Ok(match request {
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
                filters: self.attached_filters(),
                missed: 0,
            }
            .into(),
            Request::ReadModule(read) => {
                let module = self.filters.iter().find(|(_, module)| ModuleHash::of(module) == read.module);
                let module = &module.expect("a module of the session").1;
                ModuleBytes { size: module.len() as u64, data: module.clone() }.into()
            }
            Request::SetBreakpoints(set) => {
                let plant = |one: &Breakpoint| match (self.place)(one.pc) {
                    Some(pc) => Planted::Bound { id: one.id, pc },
                    None => Planted::Refused { id: one.id, reason: "no opcode there".into() },
                };
                PlantedBreakpoints { breakpoints: set.breakpoints.iter().map(plant).collect() }.into()
            }
            Request::Activity(_) => ActivityNoted {}.into(),
            Request::Interrupt(_) if self.running == 0 => return state("no callback of this session runs"),
            Request::Interrupt(_) => InterruptNoted { slots: self.running }.into(),
            _ if self.over => return state("that stop is over"),
            Request::Resume(_) => Resumed {}.into(),
            Request::Frames(part) => FrameList {
                frames: self.frames.iter().skip(part.first as usize).take(self.at_once).cloned().collect(),
                frame_count: self.frames.len() as u32,
            }
            .into(),
            Request::ReadGlobals(part) => GlobalValues {
                globals: self.globals.iter().skip(part.first as usize).cloned().collect(),
                count: self.globals.len() as u32,
            }
            .into(),
            Request::ReadMemory(read) if read.memory == 0 => {
                let from = self.memory.len().min(read.address as usize);
                let to = self.memory.len().min(from + read.length as usize);
                MemoryBytes { size: self.memory.len() as u64, data: self.memory[from..to].to_vec() }.into()
            }
            Request::WriteMemory(write) if write.address as usize + write.data.len() <= self.memory.len() => {
                MemoryWritten {}.into()
            }
            other => return state(&format!("`{}` does not succeed here", other.method())),
        })
    }

    fn attached_filters(&self) -> Vec<AttachedFilter> {
        let filters = (0..).zip(&self.filters).map(|(index, (name, module))| AttachedFilter {
            filter: FilterId(index),
            name: (*name).into(),
            module: ModuleHash::of(module),
            slot: SlotId(1),
            compile_ms: 1,
            cached: false,
        });
        filters.collect()
    }

    /// A request as transcripts show it.
    fn words(&self, request: &Request) -> String {
        match request {
            Request::SetBreakpoints(set) => {
                let of = self.filters.iter().find(|(_, module)| ModuleHash::of(module) == set.module);
                let mut words = format!("set_breakpoints {}", of.expect("a module of the session").0);
                for one in &set.breakpoints {
                    words.push_str(&format!(" {}@{:#x}", one.id, one.pc.0));
                }
                words
            }
            Request::Frames(part) => format!("frames {}..", part.first),
            Request::ReadModule(part) => format!("read_module {}..", part.offset),
            Request::ReadGlobals(part) => format!("read_globals {}..", part.first),
            Request::ReadMemory(read) => {
                format!("read_memory {}:{:#x}+{}", read.memory, read.address, read.length)
            }
            Request::WriteMemory(write) => {
                let bytes: String = write.data.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("write_memory {}:{:#x} {bytes}", write.memory, write.address)
            }
            Request::Resume(resume) => match resume.mode {
                ResumeMode::Continue => format!("resume {} continue", resume.stop),
                ResumeMode::Instruction => format!("resume {} instruction", resume.stop),
                _ => format!("resume {} by a mode that LLDB does not know", resume.stop),
            },
            other => other.method().to_owned(),
        }
    }
}
