//! The phases of a session: attaching, live, lost and waited for, over; what the client is told on the way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wasmdbg_control::rules::Rule;
use wasmdbg_session::proxy::Lost;
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{Progress, Session, SessionEvent, Stop};

use crate::protocol::{
    CancelArguments, Category, CommonArguments, Event, ExitedEvent, ProgressEndEvent, ProgressStartEvent,
    ProgressUpdateEvent, RestartArguments, ThreadEvent,
};
use crate::session::announce;
use crate::session::arguments::{StartRequest, patience};
use crate::session::attach;
use crate::session::connector::Connector;
use crate::session::launched::Launched;
use crate::session::notice::{Notice, Started};
use crate::session::reconnect::Search;
use crate::transport::client::Client;
use crate::view::View;
use crate::view::threads::PROXY;

/// The request that begins a session anew.
const RESTART: &str = "restart";

/// What waits while the proxy is gone.
const GONE: &str = "the proxy is gone; waiting for it to come back";

/// How far the session is.
enum Phase {
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

/// A session that is being made.
struct Pending {
    request: i64,
    /// `attach`, `launch` or `restart`.
    command: &'static str,
    /// The progress that is shown.
    progress: Option<String>,
}

/// A proxy that is waited for.
struct Waiting {
    since: Instant,
    /// The progress that is shown.
    progress: Option<String>,
}

/// The session of one client, whatever its phase.
pub(crate) struct Lifecycle {
    phase: Phase,
    /// The client has said all that it wants before anything runs.
    configured: bool,
    /// As the session began, for a restart.
    request: Option<StartRequest>,
    launched: Option<Launched>,
    /// The control socket of the proxy that is attached to.
    socket: Option<PathBuf>,
    /// How many progresses the client was told of.
    progresses: u32,
    connector: Connector,
}

/// What requests and events ask.
impl Lifecycle {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            phase: Phase::New,
            configured: false,
            request: None,
            launched: None,
            socket: None,
            progresses: 0,
            connector,
        }
    }

    /// The session, or what is missing.
    pub(crate) fn session(&self) -> Result<&Session, String> {
        match &self.phase {
            Phase::Live(session) => Ok(session),
            other => Err(other.missing().into()),
        }
    }

    /// The same, to be changed: breakpoints, steps, where its sources are.
    pub(crate) fn session_mut(&mut self) -> Result<&mut Session, String> {
        match &mut self.phase {
            Phase::Live(session) => Ok(session),
            other => Err(other.missing().into()),
        }
    }

    /// The session for breakpoints, or what they wait for.
    pub(crate) fn session_to_plant_in(&mut self) -> Result<&mut Session, &'static str> {
        match &mut self.phase {
            Phase::Live(session) => Ok(session),
            Phase::Waiting(_) => Err(GONE),
            Phase::New | Phase::Attaching(_) | Phase::Over => Err("not attached to a proxy yet"),
        }
    }

    /// The proxy is gone, and waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_))
    }

    /// What the session has to say, as far as it has come.
    pub(crate) fn next_event(&mut self) -> Option<SessionEvent> {
        self.session_mut().ok()?.next_event(Duration::ZERO)
    }

    /// Nothing stops in this session.
    pub(crate) fn no_debug(&self) -> bool {
        self.request.as_ref().is_some_and(StartRequest::no_debug)
    }

    /// What the client has said about the session and its sources.
    pub(crate) fn arguments(&self) -> Option<&CommonArguments> {
        self.request.as_ref().map(StartRequest::common)
    }

    /// Whether a launched filter has been stopped at its entry now, as the client wanted.
    pub(crate) fn enters(&mut self, stop: &Stop) -> bool {
        match (&mut self.launched, &mut self.phase) {
            (Some(launched), Phase::Live(session)) => launched.enters(session, stop.breakpoints()),
            _ => false,
        }
    }
}

impl Phase {
    fn missing(&self) -> &'static str {
        match self {
            Self::New => "not attached to a proxy yet",
            Self::Attaching(_) => "still attaching to the proxy",
            Self::Waiting(_) => GONE,
            Self::Live(_) | Self::Over => "the session is over",
        }
    }
}

/// The start.
impl Lifecycle {
    /// Answered when there is a session.
    pub(crate) fn begin(
        &mut self,
        client: &mut Client,
        request: i64,
        command: &'static str,
        how: StartRequest,
    ) {
        let refuse = match &self.phase {
            Phase::New => None,
            Phase::Attaching(_) | Phase::Live(_) | Phase::Waiting(_) => {
                Some("attached already: one proxy per session")
            }
            Phase::Over => Some("the session is over: start a new one"),
        };
        let started = match refuse {
            Some(why) => Err(why.to_owned()),
            None => attach::start(how.clone(), self.connector.clone()),
        };
        match started {
            Ok(()) => {
                self.request = Some(how);
                self.phase = Phase::Attaching(Pending { request, command, progress: None });
            }
            Err(why) => client.respond(request, command, &Err(why)),
        }
    }

    /// Ends the session, what it held goes on, and begins it anew; the breakpoints stay.
    pub(crate) fn restart(
        &mut self,
        client: &mut Client,
        view: &mut View,
        request: i64,
        arguments: RestartArguments,
    ) {
        match self.restart_request(arguments) {
            Ok(how) => {
                self.end_session(client, view);
                self.launched = None;
                self.phase = Phase::New;
                self.begin(client, request, RESTART, how);
            }
            Err(why) => client.respond(request, RESTART, &Err(why)),
        }
    }

    fn restart_request(&mut self, arguments: RestartArguments) -> Result<StartRequest, String> {
        let before = self.request.as_ref().ok_or("there is nothing to restart yet")?;
        if let Phase::Attaching(_) | Phase::Waiting(_) = &self.phase {
            return Err(self.phase.missing().into());
        }
        let mut how = match arguments.arguments {
            Some(arguments) => before
                .with_arguments(arguments)
                .map_err(|error| format!("the arguments of `restart` are not understood: {error}"))?,
            None => before.clone(),
        };
        // The same proxy: it may have another process by now.
        let pid = before.pid();
        if let StartRequest::Attach(arguments) = &mut how
            && arguments.pid == pid
            && arguments.socket.as_ref().is_none_or(String::is_empty)
        {
            arguments.socket =
                self.socket.take().and_then(|socket| socket.into_os_string().into_string().ok());
        }
        Ok(how)
    }

    pub(crate) fn show_progress(&mut self, client: &mut Client, progress: &Progress) {
        let (shown, request_id) = match &self.phase {
            Phase::Attaching(pending) => (pending.progress.clone(), Some(pending.request)),
            Phase::Waiting(waiting) => (waiting.progress.clone(), None),
            Phase::New | Phase::Live(_) | Phase::Over => return,
        };
        let (message, percentage) = announce::progress(progress);
        if !client.features.supports_progress_reporting {
            // One line per step, not one per piece of a module.
            if matches!(progress, Progress::Lane(_)) {
                client.say(Category::Console, &message);
            }
            return;
        }
        if let Some(progress_id) = shown {
            client.event(&Event::ProgressUpdate(ProgressUpdateEvent { progress_id, message, percentage }));
            return;
        }
        let progress_id = self.progress_id();
        if let Phase::Attaching(pending) = &mut self.phase {
            pending.progress = Some(progress_id.clone());
        }
        client.event(&Event::ProgressStart(ProgressStartEvent {
            progress_id,
            title: "Attaching to the filter".into(),
            request_id,
            cancellable: true,
            message,
        }));
    }

    /// The thread that makes a session has come back.
    pub(crate) fn started(&mut self, client: &mut Client, view: &mut View, result: Result<Started, String>) {
        let pending = match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Attaching(pending) => pending,
            Phase::Waiting(waiting) => {
                self.waited(client, view, &waiting, result);
                return;
            }
            Phase::New | Phase::Live(_) | Phase::Over => {
                self.phase = Phase::Over;
                return;
            }
        };
        end_progress(client, pending.progress);
        let started = match result {
            Err(why) => {
                client.respond(pending.request, pending.command, &Err(why));
                return;
            }
            Ok(started) => started,
        };
        self.take_session(client, view, started);
        client.respond(pending.request, pending.command, &Ok(None));
        // At a restart the client has configured us, and does not again.
        if pending.command != RESTART {
            client.event(&Event::Initialized);
        }
        if self.configured {
            self.configuration_done(client);
        }
    }

    /// From here on it is what the client talks to, with the breakpoints that it wants.
    fn take_session(&mut self, client: &mut Client, view: &mut View, started: Started) {
        let Started { mut session, socket, launched } = started;
        if let Some(arguments) = self.arguments() {
            let sources = session.sources_mut();
            for (from, to) in &arguments.source_map {
                sources.map(from, to);
            }
            if let Some(folder) = &arguments.cwd {
                sources.add_directory(folder);
            }
        }
        announce::ready(client, &session);
        view.breakpoints.plant_all(&mut session, &mut view.sources, client);
        self.launched = launched;
        self.socket = socket;
        self.phase = Phase::Live(Box::new(session));
    }

    /// The breakpoints stand: requests may come, and a launched filter may start.
    pub(crate) fn configuration_done(&mut self, client: &mut Client) {
        self.configured = true;
        let Phase::Live(session) = &mut self.phase else { return };
        announce::invitation(client, session);
        let Some(launched) = &mut self.launched else { return };
        if let Some(address) = launched.address() {
            client.say(Category::Console, &format!("listening at http://{address}"));
        }
        let notices = self.connector.notices();
        if let Err(why) = launched.start(session, move || notices.send(Notice::Played)) {
            client.say(Category::Important, &format!("the filter cannot start: {why}"));
        }
    }

    /// An id that no progress has had.
    fn progress_id(&mut self) -> String {
        self.progresses += 1;
        format!("attach-{}", self.progresses)
    }
}

/// A proxy that goes away.
impl Lifecycle {
    /// The connection is over, and with it what was stopped.
    pub(crate) fn lost(&mut self, client: &mut Client, view: &mut View, why: &str) {
        let Some(session) = self.take_live() else { return };
        let rules = session.attached().rules.clone();
        // What is left of the connection ends.
        drop(session);
        view.forget_stops(client);
        let Some(search) = self.search(rules) else {
            let text = format!("{why}; what was stopped goes on. Attach again when the proxy runs");
            client.say(Category::Important, &text);
            self.terminate(client);
            return;
        };
        client.event(&Event::Thread(ThreadEvent { reason: "exited", thread_id: PROXY }));
        view.breakpoints.unplant_all(client, GONE);
        let socket = search.lost.socket().display().to_string();
        let text = format!(
            "no connection to the proxy any more ({why})\nwaiting {} for the proxy to come back at {socket}: start it \
             again, and the same requests stop as before\n(\"reconnect\" in launch.json sets the time; 0: the \
             session ends at once)",
            show_duration(search.patience)
        );
        let progress = client.features.supports_progress_reporting.then(|| self.progress_id());
        // A progress is seen by itself.
        let category = if progress.is_some() { Category::Console } else { Category::Important };
        client.say(category, &text);
        if let Err(error) = search.start(self.connector.clone()) {
            client.say(Category::Important, &format!("not waiting: cannot start a thread: {error}"));
            self.terminate(client);
            return;
        }
        if let Some(progress_id) = progress.clone() {
            client.event(&Event::ProgressStart(ProgressStartEvent {
                progress_id,
                title: "The proxy is gone".into(),
                request_id: None,
                cancellable: true,
                message: format!("waiting for it at {socket}"),
            }));
        }
        self.phase = Phase::Waiting(Waiting { since: Instant::now(), progress });
    }

    /// The search for the proxy that was attached to, if the client wants one.
    fn search(&mut self, rules: Vec<Rule>) -> Option<Search> {
        let socket = self.socket.take()?;
        let Some(StartRequest::Attach(arguments)) = &self.request else { return None };
        let patience = patience(arguments).ok().filter(|patience| !patience.is_zero())?;
        Some(Search { lost: Lost::at(socket), arguments: arguments.clone(), rules, patience })
    }

    /// It is back, or will not be.
    fn waited(
        &mut self,
        client: &mut Client,
        view: &mut View,
        waiting: &Waiting,
        result: Result<Started, String>,
    ) {
        end_progress(client, waiting.progress.clone());
        let started = match result {
            Err(why) => {
                client.say(Category::Important, &format!("{why}. Attach again when the proxy runs"));
                self.terminate(client);
                return;
            }
            Ok(started) => started,
        };
        let waited = show_duration(waiting.since.elapsed().max(Duration::from_millis(1)));
        client.say(Category::Important, &format!("the proxy is back after {waited}: attached again"));
        self.take_session(client, view, started);
        client.event(&Event::Thread(ThreadEvent { reason: "started", thread_id: PROXY }));
        if self.configured {
            self.configuration_done(client);
        }
    }
}

/// The end.
impl Lifecycle {
    /// Of what the client wants no more, an attach and the wait for a proxy can be ended.
    pub(crate) fn cancel(&mut self, client: &mut Client, arguments: &CancelArguments) {
        let progress = arguments.progress_id.as_ref();
        let is_shown = |shown: &Option<String>| progress.is_some() && shown.as_ref() == progress;
        match &self.phase {
            Phase::Attaching(pending)
                if arguments.request_id == Some(pending.request) || is_shown(&pending.progress) =>
            {
                self.abandon_attach(client, "cancelled");
            }
            Phase::Waiting(waiting) if is_shown(&waiting.progress) => {
                self.stop_waiting(client);
                client.say(Category::Important, "not waiting for the proxy any more");
                self.terminate(client);
            }
            _ => {}
        }
    }

    /// Gives an attach under way up: its connection ends, and with it what it made in the proxy.
    fn abandon_attach(&mut self, client: &mut Client, why: &str) {
        let Phase::Attaching(pending) = &mut self.phase else { return };
        let (request, command, progress) = (pending.request, pending.command, pending.progress.take());
        self.phase = Phase::Over;
        self.connector.close();
        end_progress(client, progress);
        client.respond(request, command, &Err(why.to_owned()));
    }

    /// The proxy is waited for no longer.
    fn stop_waiting(&mut self, client: &mut Client) {
        let Phase::Waiting(waiting) = &mut self.phase else { return };
        let progress = waiting.progress.take();
        self.phase = Phase::New;
        self.connector.close();
        end_progress(client, progress);
    }

    /// All requests of a launch have been played, or the client wants the end.
    pub(crate) fn end(&mut self, client: &mut Client, view: &mut View) {
        if let Some(launched) = &self.launched
            && !matches!(self.phase, Phase::Over)
        {
            client.event(&Event::Exited(ExitedEvent { exit_code: launched.exit_code() }));
        }
        self.stop_waiting(client);
        self.end_session(client, view);
        self.terminate(client);
        self.launched = None;
    }

    /// Ends the session for good, for a client that goes; what it held goes on.
    pub(crate) fn leave(&mut self, client: &mut Client, view: &mut View) {
        self.abandon_attach(client, "disconnected");
        self.stop_waiting(client);
        self.end_session(client, view);
        self.phase = Phase::Over;
        self.connector.close();
        self.launched = None;
    }

    /// Ends the session, if there is one; what it held goes on.
    fn end_session(&mut self, client: &mut Client, view: &mut View) {
        if let Some(session) = self.take_live() {
            // Gone already if it fails.
            let _ = session.detach();
            view.forget_stops(client);
        }
    }

    fn take_live(&mut self) -> Option<Box<Session>> {
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Live(session) => Some(session),
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn terminate(&mut self, client: &mut Client) {
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Over;
            client.event(&Event::Terminated);
        }
    }
}

fn end_progress(client: &mut Client, shown: Option<String>) {
    if let Some(progress_id) = shown {
        client.event(&Event::ProgressEnd(ProgressEndEvent { progress_id }));
    }
}
