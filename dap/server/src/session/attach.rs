//! From `attach` or `launch` to a session: the arguments, the thread that waits for the debug lane, what the
//! user is told meanwhile and how to get a request stopped; and the same once more at a `restart`.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use serde::Deserialize as _;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::LanePhase;
use wasmdbg_control::{Client, Events};
use wasmdbg_session::proxy::{self, ConnectError, Target};
use wasmdbg_session::text::{describe, parse_duration, parse_rule, show_duration};
use wasmdbg_session::{AttachOptions, DebugInfo, Error, Progress, Session, SymbolOptions};

use crate::adapter::{Adapter, Input, Phase};
use crate::protocol::{
    AttachArguments, Category, CommonArguments, Event, LaunchArguments, ProgressEndEvent, ProgressStartEvent,
    ProgressUpdateEvent, RestartArguments, WrittenDuration,
};
use crate::session::launch::{self, Launched};
use crate::session::link::Line;
use crate::session::reconnect;

/// How long a stop may last without a sign of life unless the user says otherwise: a person thinks.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The request that begins a session anew.
const RESTART: &str = "restart";

/// How a session begins.
#[derive(Debug, Clone)]
pub(crate) enum Beginning {
    Attach(AttachArguments),
    Launch(LaunchArguments),
}

impl Beginning {
    /// What both ways have in common.
    pub(crate) fn common(&self) -> &CommonArguments {
        match self {
            Self::Attach(arguments) => &arguments.common,
            Self::Launch(arguments) => &arguments.common,
        }
    }
}

/// A session that stands.
pub(crate) struct Begun {
    pub(crate) session: Session,
    /// The control socket of its proxy, if that has a process of its own.
    pub(crate) socket: Option<PathBuf>,
    /// Its proxy, if it is one of our own.
    pub(crate) launched: Option<Launched>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The proxy will not, or is gone again.
    #[error(transparent)]
    Session(#[from] Error),
    /// It is for us or the user to mend.
    #[error("{0}")]
    Here(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Here(why)
    }
}

impl Failed {
    /// Whether the same may succeed a moment later, when the proxy runs.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_passing(),
            Self::Session(error) => matches!(error, Error::Disconnected(_)),
            Self::Here(_) => false,
        }
    }
}

/// A session that is being made.
pub(crate) struct Pending {
    request: i64,
    /// `attach`, `launch` or `restart`.
    command: &'static str,
    /// The progress that is shown.
    progress: Option<String>,
}

impl Pending {
    pub(crate) fn request(&self) -> i64 {
        self.request
    }

    pub(crate) fn has_progress(&self, id: Option<&str>) -> bool {
        self.progress.is_some() && self.progress.as_deref() == id
    }
}

impl Adapter {
    pub(crate) fn begin(&mut self, request: i64, command: &'static str, beginning: Beginning) {
        let refuse = match &self.phase {
            Phase::New => None,
            Phase::Attaching(_) | Phase::Live(_) | Phase::Waiting(_) => {
                Some("attached already: one proxy per session")
            }
            Phase::Over => Some("the session is over: start a new one"),
        };
        let started = match refuse {
            Some(why) => Err(why.to_owned()),
            None => start(beginning.clone(), self.input.clone(), self.line.clone()),
        };
        match started {
            Ok(()) => {
                self.no_debug = matches!(&beginning, Beginning::Launch(arguments) if arguments.no_debug);
                self.beginning = Some(beginning);
                self.phase = Phase::Attaching(Pending { request, command, progress: None });
            }
            Err(why) => self.peer.respond(request, command, &Err(why)),
        }
    }

    /// Ends the session, what it held goes on, and begins it anew; the breakpoints stay.
    pub(crate) fn restart(&mut self, request: i64, arguments: RestartArguments) {
        let pid = match &self.beginning {
            Some(Beginning::Attach(arguments)) => arguments.pid,
            _ => None,
        };
        let Some(mut beginning) = self.beginning.clone() else {
            self.peer.respond(request, RESTART, &Err("there is nothing to restart yet".into()));
            return;
        };
        let busy = match &self.phase {
            Phase::Attaching(_) => Some("still attaching to the proxy"),
            Phase::Waiting(_) => Some(reconnect::GONE),
            Phase::New | Phase::Live(_) | Phase::Over => None,
        };
        if let Some(why) = busy {
            self.peer.respond(request, RESTART, &Err(why.into()));
            return;
        }
        if let Some(value) = arguments.arguments {
            let read = match &beginning {
                Beginning::Attach(_) => AttachArguments::deserialize(value).map(Beginning::Attach),
                Beginning::Launch(_) => LaunchArguments::deserialize(value).map(Beginning::Launch),
            };
            match read {
                Ok(read) => beginning = read,
                Err(error) => {
                    let why = format!("the arguments of `restart` are not understood: {error}");
                    self.peer.respond(request, RESTART, &Err(why));
                    return;
                }
            }
        }
        // The same proxy: it may have another process by now.
        if let Beginning::Attach(arguments) = &mut beginning
            && arguments.pid == pid
            && arguments.socket.as_ref().is_none_or(String::is_empty)
        {
            arguments.socket =
                self.socket.take().and_then(|socket| socket.into_os_string().into_string().ok());
        }
        self.end_session();
        self.launched = None;
        self.phase = Phase::New;
        self.begin(request, RESTART, beginning);
    }

    /// Gives an attach under way up: its connection ends, and with it what it made in the proxy.
    pub(crate) fn abandon_attach(&mut self, why: &str) {
        let Phase::Attaching(pending) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        self.line.close();
        self.end_progress(pending.progress.as_deref());
        self.peer.respond(pending.request, pending.command, &Err(why.to_owned()));
        self.phase = Phase::Over;
    }

    pub(crate) fn show_progress(&mut self, progress: &Progress) {
        let (shown, request_id) = match &self.phase {
            Phase::Attaching(pending) => (pending.progress.clone(), Some(pending.request)),
            Phase::Waiting(waiting) => (waiting.progress.clone(), None),
            Phase::New | Phase::Live(_) | Phase::Over => return,
        };
        let (message, percentage) = match progress {
            Progress::Lane(lane) => {
                let what = match lane.phase {
                    LanePhase::Compiling => "compiling for debugging",
                    LanePhase::Starting => "starting a virtual machine of its own",
                    LanePhase::Ready => "ready",
                };
                (format!("{}: {what}", lane.name), None)
            }
            Progress::ReadingModule { filter, done, size } => {
                let part = 100.0 * *done as f64 / (*size).max(1) as f64;
                (format!("{filter}: reading the module from the proxy"), Some(part.min(100.0)))
            }
        };
        if !self.peer.features.supports_progress_reporting {
            // One line per step, not one per piece of a module.
            if matches!(progress, Progress::Lane(_)) {
                self.peer.say(Category::Console, &message);
            }
            return;
        }
        if let Some(progress_id) = shown {
            self.peer.event(&Event::ProgressUpdate(ProgressUpdateEvent { progress_id, message, percentage }));
            return;
        }
        let progress_id = self.progress_id();
        if let Phase::Attaching(pending) = &mut self.phase {
            pending.progress = Some(progress_id.clone());
        }
        self.peer.event(&Event::ProgressStart(ProgressStartEvent {
            progress_id,
            title: "Attaching to the filter".into(),
            request_id,
            cancellable: true,
            message,
        }));
    }

    /// An id that no progress has had.
    pub(crate) fn progress_id(&mut self) -> String {
        self.progresses += 1;
        format!("attach-{}", self.progresses)
    }

    pub(crate) fn end_progress(&mut self, shown: Option<&str>) {
        if let Some(shown) = shown {
            self.peer.event(&Event::ProgressEnd(ProgressEndEvent { progress_id: shown.to_owned() }));
        }
    }

    /// The thread has come back.
    pub(crate) fn begun(&mut self, result: Result<Begun, String>) {
        let pending = match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Attaching(pending) => pending,
            Phase::Waiting(waiting) => {
                self.waited(&waiting, result);
                return;
            }
            Phase::New | Phase::Live(_) | Phase::Over => {
                self.phase = Phase::Over;
                return;
            }
        };
        self.end_progress(pending.progress.as_deref());
        let begun = match result {
            Err(why) => {
                self.peer.respond(pending.request, pending.command, &Err(why));
                return;
            }
            Ok(begun) => begun,
        };
        self.take_session(begun);
        self.peer.respond(pending.request, pending.command, &Ok(None));
        // At a restart the client has configured us, and does not again.
        if pending.command != RESTART {
            self.peer.event(&Event::Initialized);
        }
        if self.configured {
            self.configuration_done();
        }
    }

    /// The session stands: from here on it is what the client talks to, with the breakpoints it wants.
    pub(crate) fn take_session(&mut self, begun: Begun) {
        let Begun { mut session, socket, launched } = begun;
        if let Some(beginning) = &self.beginning {
            let sources = session.sources_mut();
            for (from, to) in &beginning.common().source_map {
                sources.map(from, to);
            }
            if let Some(folder) = &beginning.common().cwd {
                sources.add_directory(folder);
            }
        }
        self.greet(&session);
        self.launched = launched;
        self.socket = socket;
        self.phase = Phase::Live(Box::new(session));
        self.plant_all();
    }

    /// The breakpoints stand.
    pub(crate) fn configuration_done(&mut self) {
        self.configured = true;
        self.invite();
        self.start_launched();
    }

    /// What is debugged, and what is wrong with its symbols.
    fn greet(&mut self, session: &Session) {
        for filter in &session.attached().filters {
            let took = Duration::from_millis(filter.compile_ms.max(1));
            let how = if filter.cached { "from the cache" } else { "compiled" };
            let text = format!("filter {}: debug lane ready, {how} in {}", filter.name, show_duration(took));
            self.peer.say(Category::Console, &text);
        }
        for module in session.modules() {
            let names: Vec<_> = module.filters.iter().map(|(_, name)| name.as_str()).collect();
            if let DebugInfo::NamesOnly(why) = &module.debug_info {
                self.peer.say(Category::Important, &format!("{}: {why}", names.join(", ")));
            }
            for note in &module.notes {
                self.peer.say(Category::Console, &format!("{}: {note}", names.join(", ")));
            }
        }
    }

    /// How to get a request stopped.
    fn invite(&mut self) {
        let Phase::Live(session) = &self.phase else { return };
        let attached = session.attached();
        let deadline = show_duration(Duration::from_millis(attached.deadline_ms.max(1)));
        let mut text = match attached.rules.as_slice() {
            [] => "every request to this proxy can stop at your breakpoints".to_owned(),
            [Rule::Header { name, value }] => {
                format!("send your request with this header, all others pass by:\n    {name}: {value}")
            }
            rules => {
                let words: Vec<_> = rules.iter().map(describe).collect();
                format!("requests that match stop, all others pass by: {}", words.join("; "))
            }
        };
        text.push_str(&format!(
            "\na stopped request goes on by itself after {deadline} in which you do nothing"
        ));
        if attached.missed > 0 {
            text.push_str(&format!(
                "\n{} matching requests went by while the debug lane was made ready",
                attached.missed
            ));
        }
        self.peer.say(Category::Console, &text);
    }
}

/// Starts the thread that makes the session.
fn start(beginning: Beginning, input: Sender<Input>, line: Line) -> Result<(), String> {
    // What is wrong with the arguments is known at once.
    common(beginning.common(), false)?;
    if let Beginning::Attach(arguments) = &beginning {
        reconnect::patience(arguments)?;
    }
    let run = move || {
        let mut progress = |progress: &Progress| {
            let _ = input.send(Input::Progress(progress.clone()));
        };
        let begun = match &beginning {
            Beginning::Attach(arguments) => {
                attach(arguments, &input, &line, &mut progress).map_err(|failed| failed.to_string())
            }
            Beginning::Launch(arguments) => launch::launch(arguments, &input, &line, &mut progress),
        };
        let _ = input.send(Input::Begun(Box::new(begun)));
    };
    let spawned = std::thread::Builder::new().name("wasmdbg-attach".into()).spawn(run);
    spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn attach(
    arguments: &AttachArguments,
    input: &Sender<Input>,
    line: &Line,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Begun, Failed> {
    let filters = arguments.filter.clone();
    let options = AttachOptions { filters, ..common(&arguments.common, false)? };
    let target = match (&arguments.socket, arguments.pid) {
        (Some(socket), _) if !socket.is_empty() => Target::Socket(PathBuf::from(socket)),
        (_, Some(pid)) => Target::Pid(pid),
        _ => Target::Only,
    };
    let connected = proxy::connect(&target, &client_name())?;
    let session = over(connected.client, connected.events, &options, input, line, progress)?;
    Ok(Begun { session, socket: Some(connected.socket), launched: None })
}

/// How this adapter introduces itself to a plugin.
pub(crate) fn client_name() -> String {
    format!("wasmdbg dap {}", env!("CARGO_PKG_VERSION"))
}

/// A session over a greeted connection.
pub(crate) fn over(
    client: Client,
    events: Events,
    options: &AttachOptions,
    input: &Sender<Input>,
    line: &Line,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Session, Failed> {
    if !line.connected(&client) {
        return Err(Failed::Here("cancelled".into()));
    }
    let wake = input.clone();
    // The adapter may have ended.
    events.on_arrival(move || drop(wake.send(Input::Wake)));
    Ok(Session::attach(client, events, options, progress)?)
}

/// The options that `attach` and `launch` have in common. `all`: every request can stop unless there are
/// rules.
pub(crate) fn common(arguments: &CommonArguments, all: bool) -> Result<AttachOptions, String> {
    let rules = arguments.when.iter().map(|text| parse_rule(text));
    let rules = rules.collect::<Result<Vec<_>, _>>().map_err(|error| format!("`when`: {error}"))?;
    if arguments.all && !rules.is_empty() {
        return Err("`all` and `when` exclude each other: the rules would have no effect".into());
    }
    let deadline =
        arguments.deadline.as_ref().map_or(Ok(DEADLINE), |written| duration("deadline", written))?;
    let files = arguments.module.iter().map(PathBuf::from).collect();
    Ok(AttachOptions {
        all: arguments.all || (all && rules.is_empty()),
        rules,
        deadline: Some(deadline),
        symbols: SymbolOptions { files, ..SymbolOptions::default() },
        ..AttachOptions::default()
    })
}

/// The argument `name` as a duration.
pub(crate) fn duration(name: &str, written: &WrittenDuration) -> Result<Duration, String> {
    let parsed = match written {
        WrittenDuration::Text(text) => parse_duration(text),
        WrittenDuration::Seconds(seconds) => parse_duration(&format!("{seconds}s")),
    };
    parsed.map_err(|error| format!("`{name}`: {error}"))
}
