//! `launch`: the filter in a small proxy of the adapter's own process, under the debugger from its first
//! callback on. No other proxy is needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use wasmdbg_control::session::LaneStart;
use wasmdbg_session::{AttachOptions, BreakpointOptions, BreakpointSpec, Progress, Session};
use wasmdbg_standalone::request_file::{self, FileRequest};
use wasmdbg_standalone::{Happening, Host, Listening, Program, Report, Verdict};

use crate::adapter::{Adapter, Input, Phase};
use crate::protocol::{Category, Event, ExitedEvent, LaunchArguments};
use crate::session::attach::{Begun, client_name, common, over};
use crate::session::link::Line;

/// Threads that serve requests.
const THREADS: usize = 1;

/// Where `stopOnEntry` stops: the first of these that runs. The names are those of the ABI.
const ENTRY: [&str; 5] =
    ["_initialize", "_start", "proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure"];

/// The proxy of a launch.
pub(crate) struct Launched {
    // Before the host: it is closed first.
    listening: Option<Listening>,
    host: Arc<Host>,
    requests: Vec<FileRequest>,
    /// A callback of a request that was played has died.
    died: Arc<AtomicBool>,
    stop_on_entry: bool,
    /// The breakpoints of `stopOnEntry`.
    entry: Vec<u32>,
}

impl Launched {
    /// Whether a stop at these breakpoints is the one that `stopOnEntry` asked for.
    pub(crate) fn is_entry(&self, breakpoints: &[u32]) -> bool {
        breakpoints.iter().any(|number| self.entry.contains(number))
    }
}

/// Makes the host and a session in it, on the thread that waits for the debug lane.
pub(crate) fn launch(
    arguments: &LaunchArguments,
    input: &Sender<Input>,
    line: &Line,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Begun, String> {
    let options = AttachOptions { start: LaneStart::Held, ..common(&arguments.common, true)? };
    let place = |path: &String| within(arguments.common.cwd.as_deref(), path);
    if arguments.program.is_empty() {
        return Err("`program` is missing: the filter's .wasm file".into());
    }
    let program = Program {
        module: place(&arguments.program),
        config: arguments.config.as_ref().map(place),
        configuration: arguments.configuration.clone(),
        settings: arguments.settings.as_ref().map(place),
        upstream: arguments.upstream.clone(),
    };
    let requests = arguments.request_file().map(|file| read(&place(file))).transpose()?.unwrap_or_default();
    let listen = arguments.listen.as_ref().map(|address| {
        address
            .parse()
            .map_err(|_| format!("`listen`: {address:?} is no address and port, as in 127.0.0.1:0"))
    });
    let listen = listen.transpose()?;
    if listen.is_none() && requests.is_empty() {
        return Err("give `listen` (as in 127.0.0.1:8080), or `requests`, a .http file that is played".into());
    }
    let died = Arc::new(AtomicBool::new(false));
    let report = Teller { input: input.clone(), callbacks: !requests.is_empty(), died: Arc::clone(&died) };
    let report = Arc::new(report);
    let (made, notes) = program.options(report).map_err(|error| error.to_string())?;
    for note in notes {
        let _ = input.send(Input::Told(note));
    }
    let host = Arc::new(Host::new(made).map_err(|error| error.to_string())?);
    let listening = listen.map(|address| host.listen(address, THREADS)).transpose();
    let listening = listening.map_err(|error| error.to_string())?;
    let connection = host.connect().map_err(|error| format!("cannot reach the filter's agent: {error}"))?;
    let (client, events) =
        wasmdbg_control::Client::greet(connection, &client_name()).map_err(|error| error.to_string())?;
    let session = over(client, events, &options, input, line, progress).map_err(|error| error.to_string())?;
    let stop_on_entry = arguments.stop_on_entry;
    let launched = Launched { listening, host, requests, died, stop_on_entry, entry: Vec::new() };
    Ok(Begun { session, socket: None, launched: Some(launched) })
}

fn read(path: &Path) -> Result<Vec<FileRequest>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    request_file::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A path of the editor's folder.
fn within(folder: Option<&str>, path: &str) -> PathBuf {
    folder.map_or_else(|| PathBuf::from(path), |folder| Path::new(folder).join(path))
}

/// Tells the console what happens, as far as the session does not.
struct Teller {
    input: Sender<Input>,
    callbacks: bool,
    died: Arc<AtomicBool>,
}

impl Report for Teller {
    fn take(&self, happening: Happening) {
        if matches!(happening, Happening::Callback { verdict: Verdict::Failed, .. }) {
            self.died.store(true, Ordering::Relaxed);
        }
        if !matches!(happening, Happening::Log { .. }) {
            let _ = self.input.send(Input::Told(happening.to_string()));
        }
    }

    fn wants_callbacks(&self) -> bool {
        self.callbacks
    }
}

impl Adapter {
    /// Lets a launched filter start, once the breakpoints stand.
    pub(crate) fn start_launched(&mut self) {
        let (Some(launched), Phase::Live(session)) = (&mut self.launched, &mut self.phase) else { return };
        if launched.stop_on_entry {
            launched.entry = entry_breakpoints(session);
        }
        if let Some(listening) = &launched.listening {
            self.peer.say(Category::Console, &format!("listening at http://{}", listening.address()));
        }
        let requests = std::mem::take(&mut launched.requests);
        // Without requests the port serves until the session ends.
        let ends = !requests.is_empty() && launched.listening.is_none();
        let started = session.start().map_err(|error| error.to_string());
        let played = started.and_then(|_| {
            if requests.is_empty() {
                return Ok(());
            }
            let playing = launched.host.play(requests).map_err(|error| error.to_string())?;
            let input = self.input.clone();
            let wait = move || {
                playing.wait();
                if ends {
                    let _ = input.send(Input::Played);
                }
            };
            let spawned = std::thread::Builder::new().name("wasmdbg-played".into()).spawn(wait);
            spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
        });
        if let Err(why) = played {
            self.peer.say(Category::Important, &format!("the filter cannot start: {why}"));
        }
    }

    /// The filter has been stopped at its entry: the other places where it could have been are no more.
    pub(crate) fn entered(&mut self) {
        let (Some(launched), Phase::Live(session)) = (&mut self.launched, &mut self.phase) else { return };
        for number in launched.entry.drain(..) {
            // The one that was hit is gone already.
            let _ = session.delete_breakpoint(number);
        }
    }

    /// All requests of the file have been played, or the client wants the end. The exit code is that of
    /// `wasmdbg run --request`: 1 when a callback died.
    pub(crate) fn end_launched(&mut self) {
        if let Some(launched) = &self.launched
            && !matches!(self.phase, Phase::Over)
        {
            let exit_code = i64::from(launched.died.load(Ordering::Relaxed));
            self.peer.event(&Event::Exited(ExitedEvent { exit_code }));
        }
        self.stop_waiting();
        self.end_session();
        self.terminate();
        self.launched = None;
    }
}

fn entry_breakpoints(session: &mut Session) -> Vec<u32> {
    let options = BreakpointOptions { temporary: true, ..BreakpointOptions::default() };
    let set = |name: &&str| {
        let breakpoint =
            session.set_breakpoint(BreakpointSpec::Function((*name).to_owned()), &options).ok()?;
        if breakpoint.is_pending() {
            let _ = session.delete_breakpoint(breakpoint.number);
            return None;
        }
        Some(breakpoint.number)
    };
    ENTRY.iter().filter_map(set).collect()
}
