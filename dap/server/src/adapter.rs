//! One client's adapter: takes what comes in its order, from the client and from the session, and hands it
//! to the file of its topic. Owns the phases of a session; does nothing itself.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmdbg_control::{FilterId, TransactionId};
use wasmdbg_session::{Progress, Session, Stop};

use crate::protocol::{Body, CancelArguments, Category, Event, Incoming, Request, ThreadEvent, capabilities};
use crate::serve::Reach;
use crate::session::attach::{Beginning, Begun, Pending};
use crate::session::launch::Launched;
use crate::session::link::Line;
use crate::session::reconnect::{self, Waiting};
use crate::transport::client::Peer;
use crate::view::breakpoints::Breakpoints;
use crate::view::handles::Handles;
use crate::view::sources::Sources;
use crate::view::threads::Threads;

/// How often the plugin is told that the user is at work, at most.
const ACTIVITY: Duration = Duration::from_secs(1);

/// What the adapter works on.
pub(crate) enum Input {
    /// From the client.
    Message(Incoming),
    /// From the client, and no message.
    Malformed(String),
    /// The client is gone.
    Closed,
    /// The session has events.
    Wake,
    /// The attach goes on.
    Progress(Progress),
    /// The session stands, or cannot.
    Begun(Box<Result<Begun, String>>),
    /// What happens in a launched proxy.
    Told(String),
    /// All requests of a launch have been played.
    Played,
}

/// Requests that the client wants no more, noted by the thread that reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancelled {
    requests: Arc<Mutex<BTreeSet<i64>>>,
}

impl Cancelled {
    pub(crate) fn add(&self, arguments: &CancelArguments) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.extend(arguments.request_id);
    }

    fn take(&self, request: i64) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).remove(&request)
    }
}

/// How far the session is.
pub(crate) enum Phase {
    /// Not attached yet.
    New,
    /// The lane is compiled and the symbols are read, on another thread.
    Attaching(Pending),
    /// Attached.
    Live(Box<Session>),
    /// The proxy is gone; another thread looks for it until it is back.
    Waiting(Waiting),
    /// The proxy is gone, or the session has ended.
    Over,
}

/// The result of a request.
pub(crate) type Answer = Result<Option<Body>, String>;

/// See the module.
pub(crate) struct Adapter {
    pub(crate) peer: Peer,
    pub(crate) input: Sender<Input>,
    pub(crate) line: Line,
    pub(crate) phase: Phase,
    pub(crate) breakpoints: Breakpoints,
    pub(crate) threads: Threads,
    pub(crate) handles: Handles,
    pub(crate) sources: Sources,
    /// What a filter logged last for whom: a panic's message comes before its trap.
    pub(crate) last_log: HashMap<(FilterId, Option<TransactionId>), VecDeque<String>>,
    pub(crate) configured: bool,
    /// As the session began, for a restart.
    pub(crate) beginning: Option<Beginning>,
    pub(crate) launched: Option<Launched>,
    /// The control socket of the proxy that is attached to.
    pub(crate) socket: Option<PathBuf>,
    /// How many progresses the client was told of.
    pub(crate) progresses: u32,
    /// Nothing stops.
    pub(crate) no_debug: bool,
    /// Which source files the client can ask for.
    pub(crate) reach: Reach,
    cancelled: Cancelled,
    last_activity: Option<Instant>,
    ending: bool,
}

impl Adapter {
    pub(crate) fn new(peer: Peer, input: Sender<Input>, line: Line, reach: Reach) -> Self {
        Self {
            peer,
            input,
            line,
            phase: Phase::New,
            breakpoints: Breakpoints::default(),
            threads: Threads::default(),
            handles: Handles::default(),
            sources: Sources::default(),
            last_log: HashMap::new(),
            configured: false,
            beginning: None,
            launched: None,
            socket: None,
            progresses: 0,
            no_debug: false,
            reach,
            cancelled: Cancelled::default(),
            last_activity: None,
            ending: false,
        }
    }

    pub(crate) fn cancelled(&self) -> Cancelled {
        self.cancelled.clone()
    }

    /// Works until the client has disconnected or is gone. Whatever it held goes on then.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) {
        while !self.ending {
            let Ok(input) = inputs.recv() else { break };
            match input {
                Input::Message(incoming) => self.message(incoming),
                Input::Malformed(why) => self.peer.say(Category::Stderr, &why),
                Input::Closed => break,
                Input::Wake => {}
                Input::Progress(progress) => self.show_progress(&progress),
                Input::Begun(result) => self.begun(*result),
                Input::Told(text) => self.peer.say(Category::Stdout, &text),
                Input::Played => self.end_launched(),
            }
            self.session_events();
        }
        self.leave();
    }

    fn message(&mut self, incoming: Incoming) {
        let (seq, command) = (incoming.seq, incoming.command.clone());
        if self.cancelled.take(seq) {
            self.peer.respond(seq, &command, &Err("cancelled".into()));
            return;
        }
        let request = match Request::parse(incoming) {
            Ok(request) => request,
            Err(why) => {
                self.peer.respond(seq, &command, &Err(why.to_string()));
                return;
            }
        };
        self.activity();
        match request {
            // Answered when the session stands.
            Request::Attach(arguments) => self.begin(seq, "attach", Beginning::Attach(arguments)),
            Request::Launch(arguments) => self.begin(seq, "launch", Beginning::Launch(arguments)),
            Request::Restart(arguments) => self.restart(seq, arguments),
            Request::Terminate => {
                self.peer.respond(seq, &command, &Ok(None));
                self.end_launched();
            }
            Request::Initialize(arguments) => {
                self.peer.features = arguments;
                let body = Body::from(Box::new(capabilities()));
                self.peer.respond(seq, &command, &Ok(Some(body)));
            }
            Request::Disconnect => {
                self.leave();
                self.peer.respond(seq, &command, &Ok(None));
                self.ending = true;
            }
            Request::ConfigurationDone => {
                self.peer.respond(seq, &command, &Ok(None));
                self.configuration_done();
            }
            request => {
                let answer = self.answer(request);
                self.peer.respond(seq, &command, &answer);
            }
        }
    }

    fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Initialize(_)
            | Request::Attach(_)
            | Request::Launch(_)
            | Request::Restart(_)
            | Request::Terminate
            | Request::ConfigurationDone
            | Request::Disconnect => Ok(None),
            Request::Cancel(arguments) => self.cancel(&arguments),
            Request::SetBreakpoints(arguments) => self.set_breakpoints(arguments),
            Request::SetFunctionBreakpoints(arguments) => self.set_function_breakpoints(arguments),
            Request::SetInstructionBreakpoints(arguments) => self.set_instruction_breakpoints(arguments),
            Request::SetExceptionBreakpoints(arguments) => self.set_exception_breakpoints(arguments),
            Request::BreakpointLocations(arguments) => self.breakpoint_locations(&arguments),
            Request::Threads => self.thread_list(),
            Request::Transactions => self.transaction_list(),
            Request::StackTrace(arguments) => self.stack_trace(&arguments),
            Request::Scopes(arguments) => self.scopes(&arguments),
            Request::Variables(arguments) => self.variables(&arguments),
            Request::SetVariable(arguments) => self.set_variable(&arguments),
            Request::SetExpression(arguments) => self.set_expression(&arguments),
            Request::Evaluate(arguments) => self.evaluate(&arguments),
            Request::Completions(arguments) => self.completions(&arguments),
            Request::ExceptionInfo(arguments) => self.exception_info(&arguments),
            Request::Continue(arguments) => self.go_on(&arguments),
            Request::Next(arguments) => self.next(&arguments),
            Request::StepIn(arguments) => self.step_in(&arguments),
            Request::StepOut(arguments) => self.step_out(&arguments),
            Request::Pause(arguments) => self.pause(&arguments),
            Request::Source(arguments) => self.source(&arguments),
            Request::LoadedSources => self.loaded_sources(),
            Request::Modules(arguments) => self.module_list(&arguments),
            Request::ReadMemory(arguments) => self.read_memory(&arguments),
            Request::WriteMemory(arguments) => self.write_memory(&arguments),
            Request::Disassemble(arguments) => self.disassemble(&arguments),
        }
    }

    /// What was asked for is dropped where it has not begun; of what has, only an attach can be ended.
    fn cancel(&mut self, arguments: &CancelArguments) -> Answer {
        if let Some(request) = arguments.request_id {
            // It came too late when the request was answered before.
            self.cancelled.take(request);
        }
        let progress = arguments.progress_id.as_deref();
        match &self.phase {
            Phase::Attaching(pending)
                if arguments.request_id == Some(pending.request()) || pending.has_progress(progress) =>
            {
                self.abandon_attach("cancelled");
            }
            Phase::Waiting(waiting) if progress.is_some() && waiting.progress.as_deref() == progress => {
                self.stop_waiting();
                self.peer.say(Category::Important, "not waiting for the proxy any more");
                self.terminate();
            }
            _ => {}
        }
        Ok(None)
    }

    /// The session, or what is missing.
    pub(crate) fn session(&mut self) -> Result<&mut Session, String> {
        match &mut self.phase {
            Phase::Live(session) => Ok(session),
            Phase::New => Err("not attached to a proxy yet".into()),
            Phase::Attaching(_) => Err("still attaching to the proxy".into()),
            Phase::Waiting(_) => Err(reconnect::GONE.into()),
            Phase::Over => Err("the session is over".into()),
        }
    }

    /// What stands and is this session's to let go, oldest first.
    pub(crate) fn stops(&self) -> Vec<Arc<Stop>> {
        let Phase::Live(session) = &self.phase else { return Vec::new() };
        session.stops().into_iter().filter(|stop| stop.info().control).collect()
    }

    /// The user is at work: what is read from memory here would not tell the plugin.
    fn activity(&mut self) {
        let Phase::Live(session) = &self.phase else { return };
        let due = self.last_activity.is_none_or(|last| last.elapsed() >= ACTIVITY);
        if due && !session.stops().is_empty() {
            self.last_activity = Some(Instant::now());
            // A dead connection shows by itself.
            let _ = session.activity();
        }
    }

    /// Ends the session for good; what it held goes on.
    fn leave(&mut self) {
        if let Phase::Attaching(_) = self.phase {
            self.abandon_attach("disconnected");
        }
        self.stop_waiting();
        self.end_session();
        self.phase = Phase::Over;
        self.line.close();
        self.launched = None;
    }

    /// Ends the session, if there is one; what it held goes on.
    pub(crate) fn end_session(&mut self) {
        if !matches!(self.phase, Phase::Live(_)) {
            return;
        }
        let Phase::Live(session) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        // Gone already if it fails.
        let _ = session.detach();
        self.forget_stops();
    }

    /// Nothing of what the client saw of the session is there any more.
    pub(crate) fn forget_stops(&mut self) {
        for thread_id in self.threads.clear() {
            self.peer.event(&Event::Thread(ThreadEvent { reason: "exited", thread_id }));
        }
        self.handles.clear();
        self.last_log.clear();
    }

    /// The proxy is gone, or the session with it.
    pub(crate) fn terminate(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Over;
            self.peer.event(&Event::Terminated);
        }
    }
}
