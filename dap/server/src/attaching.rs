//! From `attach` to a session: the arguments, the thread that waits for the debug lane, what the user is
//! told meanwhile and how to get a request stopped.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use wasmdbg_control::Event as ControlEvent;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::LanePhase;
use wasmdbg_session::proxy::{self, Target};
use wasmdbg_session::text::{describe, parse_duration, parse_rule, show_duration};
use wasmdbg_session::{AttachOptions, DebugInfo, Progress, Session, SymbolOptions};

use crate::adapter::{Adapter, Input, Phase};
use crate::line::Line;
use crate::protocol::{
    AttachArguments, Category, Deadline, Event, ProgressEndEvent, ProgressStartEvent, ProgressUpdateEvent,
};

/// How long a stop may last without a sign of life unless the user says otherwise: a person thinks.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The one progress there is at a time.
const PROGRESS: &str = "attach";

/// An attach under way.
pub(crate) struct Pending {
    request: i64,
    arguments: AttachArguments,
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
    pub(crate) fn begin_attach(&mut self, request: i64, arguments: AttachArguments) {
        let refuse = match &self.phase {
            Phase::New => None,
            Phase::Attaching(_) | Phase::Live(_) => Some("attached already: one proxy per session"),
            Phase::Over => Some("the session is over: start a new one"),
        };
        let started = match refuse {
            Some(why) => Err(why.to_owned()),
            None => start(&arguments, self.input.clone(), self.line.clone()),
        };
        match started {
            Ok(()) => self.phase = Phase::Attaching(Pending { request, arguments, progress: false }),
            Err(why) => self.peer.respond(request, "attach", &Err(why)),
        }
    }

    /// Gives an attach under way up: its connection ends, and with it what it made in the proxy.
    pub(crate) fn abandon_attach(&mut self, why: &str) {
        let Phase::Attaching(pending) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        self.line.close();
        self.end_progress(&pending);
        self.peer.respond(pending.request, "attach", &Err(why.to_owned()));
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
    pub(crate) fn attached(&mut self, result: Result<Session, String>) {
        let Phase::Attaching(pending) = std::mem::replace(&mut self.phase, Phase::New) else {
            self.phase = Phase::Over;
            return;
        };
        self.end_progress(&pending);
        match result {
            Err(why) => self.peer.respond(pending.request, "attach", &Err(why)),
            Ok(mut session) => {
                let sources = session.sources_mut();
                for (from, to) in &pending.arguments.source_map {
                    sources.map(from, to);
                }
                if let Some(folder) = &pending.arguments.cwd {
                    sources.add_directory(folder);
                }
                self.greet(&session);
                self.phase = Phase::Live(Box::new(session));
                self.plant_all();
                self.peer.respond(pending.request, "attach", &Ok(None));
                self.peer.event(&Event::Initialized);
                if self.configured {
                    self.invite();
                }
            }
        }
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

    /// How to get a request stopped; once the breakpoints stand.
    pub(crate) fn invite(&mut self) {
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

/// Starts the thread that attaches.
fn start(arguments: &AttachArguments, input: Sender<Input>, line: Line) -> Result<(), String> {
    let options = options(arguments)?;
    let target = match (&arguments.socket, arguments.pid) {
        (Some(socket), _) if !socket.is_empty() => Target::Socket(PathBuf::from(socket)),
        (_, Some(pid)) => Target::Pid(pid),
        _ => Target::Only,
    };
    let run = move || {
        let attached = attach(&target, &options, &input, &line);
        let _ = input.send(Input::Attached(Box::new(attached)));
    };
    let spawned = std::thread::Builder::new().name("wasmdbg-attach".into()).spawn(run);
    spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn attach(
    target: &Target,
    options: &AttachOptions,
    input: &Sender<Input>,
    line: &Line,
) -> Result<Session, String> {
    let name = format!("wasmdbg dap {}", env!("CARGO_PKG_VERSION"));
    let (client, events) = proxy::connect(target, &name).map_err(|error| error.to_string())?;
    if !line.connected(&client) {
        return Err("cancelled".into());
    }
    let events =
        with_wakes(events, input.clone()).map_err(|error| format!("cannot start a thread: {error}"))?;
    let mut progress = |progress: &Progress| {
        let _ = input.send(Input::Progress(progress.clone()));
    };
    Session::attach(client, events, options, &mut progress).map_err(|error| error.to_string())
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

fn options(arguments: &AttachArguments) -> Result<AttachOptions, String> {
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
        filters: arguments.filter.clone(),
        rules,
        all: arguments.all,
        deadline: Some(deadline),
        symbols: SymbolOptions { files, ..SymbolOptions::default() },
        ..AttachOptions::default()
    })
}
