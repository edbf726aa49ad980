//! From `attach` or `launch` to a session: the arguments, the thread that waits for the debug lane, what the
//! user is told meanwhile and how to get a request stopped; and the same once more at a `restart`.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde::Deserialize as _;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::LanePhase;
use wasmdbg_control::{Client, Event as ControlEvent};
use wasmdbg_session::proxy::{self, Target};
use wasmdbg_session::text::{describe, parse_duration, parse_rule, show_duration};
use wasmdbg_session::{AttachOptions, DebugInfo, Progress, Session, SymbolOptions};

use crate::adapter::{Adapter, Input, Phase};
use crate::launching::{self, Launched};
use crate::line::Line;
use crate::protocol::{
    AttachArguments, Category, CommonArguments, Deadline, Event, LaunchArguments, ProgressEndEvent,
    ProgressStartEvent, ProgressUpdateEvent, RestartArguments,
};

/// How long a stop may last without a sign of life unless the user says otherwise: a person thinks.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The one progress there is at a time.
const PROGRESS: &str = "attach";

/// The request that begins a session anew.
const RESTART: &str = "restart";

/// How a session begins.
#[derive(Debug, Clone)]
pub(crate) enum Beginning {
    Attach(AttachArguments),
    Launch(LaunchArguments),
}

impl Beginning {
    fn common(&self) -> &CommonArguments {
        match self {
            Self::Attach(arguments) => &arguments.common,
            Self::Launch(arguments) => &arguments.common,
        }
    }
}

/// A session that stands.
pub(crate) struct Begun {
    pub(crate) session: Session,
    /// Its proxy, if it is one of our own.
    pub(crate) launched: Option<Launched>,
}

/// A session that is being made.
pub(crate) struct Pending {
    request: i64,
    /// `attach`, `launch` or `restart`.
    command: &'static str,
    /// `progressStart` was sent.
    progress: bool,
}

impl Pending {
    pub(crate) fn request(&self) -> i64 {
        self.request
    }

    pub(crate) fn has_progress(&self, id: Option<&str>) -> bool {
        self.progress && id == Some(PROGRESS)
    }
}

impl Adapter {
    pub(crate) fn begin(&mut self, request: i64, command: &'static str, beginning: Beginning) {
        let refuse = match &self.phase {
            Phase::New => None,
            Phase::Attaching(_) | Phase::Live(_) => Some("attached already: one proxy per session"),
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
                self.phase = Phase::Attaching(Pending { request, command, progress: false });
            }
            Err(why) => self.peer.respond(request, command, &Err(why)),
        }
    }

    /// Ends the session, what it held goes on, and begins it anew; the breakpoints stay.
    pub(crate) fn restart(&mut self, request: i64, arguments: RestartArguments) {
        let Some(mut beginning) = self.beginning.clone() else {
            self.peer.respond(request, RESTART, &Err("there is nothing to restart yet".into()));
            return;
        };
        if let Phase::Attaching(_) = self.phase {
            self.peer.respond(request, RESTART, &Err("still attaching to the proxy".into()));
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
        self.end_session();
        self.launched = None;
        self.phase = Phase::New;
        self.begin(request, RESTART, beginning);
    }

    /// Gives an attach under way up: its connection ends, and with it what it made in the proxy.
    pub(crate) fn abandon_attach(&mut self, why: &str) {
        let Phase::Attaching(pending) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        self.line.close();
        self.end_progress(&pending);
        self.peer.respond(pending.request, pending.command, &Err(why.to_owned()));
        self.phase = Phase::Over;
    }

    pub(crate) fn show_progress(&mut self, progress: &Progress) {
        let Phase::Attaching(pending) = &mut self.phase else { return };
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
        let progress_id = PROGRESS.to_owned();
        let event = if std::mem::replace(&mut pending.progress, true) {
            Event::ProgressUpdate(ProgressUpdateEvent { progress_id, message, percentage })
        } else {
            let title = "Attaching to the filter".into();
            let request_id = pending.request;
            Event::ProgressStart(ProgressStartEvent {
                progress_id,
                title,
                request_id,
                cancellable: true,
                message,
            })
        };
        self.peer.event(&event);
    }

    fn end_progress(&mut self, pending: &Pending) {
        if pending.progress {
            self.peer.event(&Event::ProgressEnd(ProgressEndEvent { progress_id: PROGRESS.into() }));
        }
    }

    /// The thread has come back.
    pub(crate) fn begun(&mut self, result: Result<Begun, String>) {
        let Phase::Attaching(pending) = std::mem::replace(&mut self.phase, Phase::New) else {
            self.phase = Phase::Over;
            return;
        };
        self.end_progress(&pending);
        let Begun { mut session, launched } = match result {
            Err(why) => {
                self.peer.respond(pending.request, pending.command, &Err(why));
                return;
            }
            Ok(begun) => begun,
        };
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
        self.phase = Phase::Live(Box::new(session));
        self.plant_all();
        self.peer.respond(pending.request, pending.command, &Ok(None));
        // At a restart the client has configured us, and does not again.
        if pending.command != RESTART {
            self.peer.event(&Event::Initialized);
        }
        if self.configured {
            self.configuration_done();
        }
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
    let run = move || {
        let mut progress = |progress: &Progress| {
            let _ = input.send(Input::Progress(progress.clone()));
        };
        let begun = match &beginning {
            Beginning::Attach(arguments) => attach(arguments, &input, &line, &mut progress),
            Beginning::Launch(arguments) => launching::launch(arguments, &input, &line, &mut progress),
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
) -> Result<Begun, String> {
    let filters = arguments.filter.clone();
    let options = AttachOptions { filters, ..common(&arguments.common, false)? };
    let target = match (&arguments.socket, arguments.pid) {
        (Some(socket), _) if !socket.is_empty() => Target::Socket(PathBuf::from(socket)),
        (_, Some(pid)) => Target::Pid(pid),
        _ => Target::Only,
    };
    let (client, events) = proxy::connect(&target, &client_name()).map_err(|error| error.to_string())?;
    Ok(Begun { session: over(client, events, &options, input, line, progress)?, launched: None })
}

/// How this adapter introduces itself to a plugin.
pub(crate) fn client_name() -> String {
    format!("wasmdbg dap {}", env!("CARGO_PKG_VERSION"))
}

/// A session over a greeted connection.
pub(crate) fn over(
    client: Client,
    events: Receiver<ControlEvent>,
    options: &AttachOptions,
    input: &Sender<Input>,
    line: &Line,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Session, String> {
    if !line.connected(&client) {
        return Err("cancelled".into());
    }
    let events =
        with_wakes(events, input.clone()).map_err(|error| format!("cannot start a thread: {error}"))?;
    Session::attach(client, events, options, progress).map_err(|error| error.to_string())
}

/// The same events, and an [`Input::Wake`] for each and for their end.
fn with_wakes(
    events: Receiver<ControlEvent>,
    input: Sender<Input>,
) -> std::io::Result<Receiver<ControlEvent>> {
    let (sender, receiver) = mpsc::channel();
    let forward = move || {
        for event in events {
            if sender.send(event).is_err() || input.send(Input::Wake).is_err() {
                return;
            }
        }
        drop(sender);
        let _ = input.send(Input::Wake);
    };
    std::thread::Builder::new().name("wasmdbg-wake".into()).spawn(forward)?;
    Ok(receiver)
}

/// The options that `attach` and `launch` have in common. `all`: every request can stop unless there are
/// rules.
pub(crate) fn common(arguments: &CommonArguments, all: bool) -> Result<AttachOptions, String> {
    let rules = arguments.when.iter().map(|text| parse_rule(text));
    let rules = rules.collect::<Result<Vec<_>, _>>().map_err(|error| format!("`when`: {error}"))?;
    if arguments.all && !rules.is_empty() {
        return Err("`all` and `when` exclude each other: the rules would have no effect".into());
    }
    let deadline = match &arguments.deadline {
        None => DEADLINE,
        Some(Deadline::Text(text)) => parse_duration(text).map_err(|error| format!("`deadline`: {error}"))?,
        Some(Deadline::Seconds(seconds)) => {
            parse_duration(&format!("{seconds}s")).map_err(|error| format!("`deadline`: {error}"))?
        }
    };
    let files = arguments.module.iter().map(PathBuf::from).collect();
    Ok(AttachOptions {
        all: arguments.all || (all && rules.is_empty()),
        rules,
        deadline: Some(deadline),
        symbols: SymbolOptions { files, ..SymbolOptions::default() },
        ..AttachOptions::default()
    })
}
