//! When the proxy is gone: what the client sees of the session ends, and a thread looks for the proxy until it
//! is back, and attaches with the rules that were in force. The user's requests keep matching.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use wasmdbg_session::proxy::Lost;
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{AttachOptions, Progress};

use crate::adapter::{Adapter, Input, Phase};
use crate::protocol::{AttachArguments, Category, Event, ProgressStartEvent, ThreadEvent, WrittenDuration};
use crate::session::attach::{Beginning, Begun, Failed, client_name, common, duration, over};
use crate::session::link::Line;
use crate::view::threads::PROXY;

/// How long to wait unless the user says otherwise: a restart, or a build and a restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked for.
const PERIOD: Duration = Duration::from_millis(200);

/// What a breakpoint is told to wait for.
pub(crate) const GONE: &str = "the proxy is gone; waiting for it to come back";

/// A proxy is waited for.
pub(crate) struct Waiting {
    since: Instant,
    /// The progress that is shown.
    pub(crate) progress: Option<String>,
}

/// The patience that the arguments ask for; zero: none.
pub(crate) fn patience(arguments: &AttachArguments) -> Result<Duration, String> {
    match &arguments.reconnect {
        None => Ok(PATIENCE),
        Some(WrittenDuration::Seconds(seconds)) if *seconds == 0.0 => Ok(Duration::ZERO),
        Some(written) => duration("reconnect", written),
    }
}

impl Adapter {
    /// The connection is over, and with it what stood.
    pub(crate) fn lost(&mut self, why: &str) {
        let Phase::Live(session) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        let rules = session.attached().rules.clone();
        // What is left of the connection ends.
        drop(session);
        self.forget_stops();
        let waits = match (&self.beginning, self.socket.take()) {
            (Some(Beginning::Attach(arguments)), Some(socket)) => patience(arguments)
                .ok()
                .filter(|patience| !patience.is_zero())
                .map(|patience| (arguments.clone(), patience, Lost::at(socket))),
            _ => None,
        };
        let Some((arguments, patience, lost)) = waits else {
            let text = format!("{why}; what was stopped goes on. Attach again when the proxy runs");
            self.peer.say(Category::Important, &text);
            self.terminate();
            return;
        };
        self.peer.event(&Event::Thread(ThreadEvent { reason: "exited", thread_id: PROXY }));
        self.unplant_all(GONE);
        let socket = lost.socket().display().to_string();
        let text = format!(
            "no connection to the proxy any more ({why})\nwaiting {} for the proxy to come back at {socket}: start it \
             again, and the same requests stop as before\n(\"reconnect\" in launch.json sets the time; 0: the \
             session ends at once)",
            show_duration(patience)
        );
        let progress = self.peer.features.supports_progress_reporting.then(|| self.progress_id());
        // A progress is seen by itself.
        let category = if progress.is_some() { Category::Console } else { Category::Important };
        self.peer.say(category, &text);
        let wait = Wait { lost, arguments, rules, patience };
        let (input, line) = (self.input.clone(), self.line.clone());
        let spawned = std::thread::Builder::new()
            .name("wasmdbg-reconnect".into())
            .spawn(move || wait.run(&input, &line));
        if let Err(error) = spawned {
            self.peer.say(Category::Important, &format!("not waiting: cannot start a thread: {error}"));
            self.terminate();
            return;
        }
        if let Some(progress_id) = progress.clone() {
            self.peer.event(&Event::ProgressStart(ProgressStartEvent {
                progress_id,
                title: "The proxy is gone".into(),
                request_id: None,
                cancellable: true,
                message: format!("waiting for it at {socket}"),
            }));
        }
        self.phase = Phase::Waiting(Waiting { since: Instant::now(), progress });
    }

    /// It is back, or will not be.
    pub(crate) fn waited(&mut self, waiting: &Waiting, result: Result<Begun, String>) {
        self.end_progress(waiting.progress.as_deref());
        let begun = match result {
            Err(why) => {
                self.peer.say(Category::Important, &format!("{why}. Attach again when the proxy runs"));
                self.terminate();
                return;
            }
            Ok(begun) => begun,
        };
        let waited = show_duration(waiting.since.elapsed().max(Duration::from_millis(1)));
        self.peer.say(Category::Important, &format!("the proxy is back after {waited}: attached again"));
        self.take_session(begun);
        self.peer.event(&Event::Thread(ThreadEvent { reason: "started", thread_id: PROXY }));
        if self.configured {
            self.configuration_done();
        }
    }

    /// The proxy is waited for no longer.
    pub(crate) fn stop_waiting(&mut self) {
        let Phase::Waiting(waiting) = &self.phase else { return };
        let progress = waiting.progress.clone();
        self.phase = Phase::New;
        self.line.close();
        self.end_progress(progress.as_deref());
    }
}

/// What the thread needs.
struct Wait {
    lost: Lost,
    arguments: AttachArguments,
    rules: Vec<wasmdbg_control::rules::Rule>,
    patience: Duration,
}

impl Wait {
    fn run(&self, input: &Sender<Input>, line: &Line) {
        let start = Instant::now();
        let result = loop {
            let failed = match self.again(input, line) {
                Ok(begun) => break Ok(begun),
                Err(failed) => failed,
            };
            if !failed.is_passing() {
                break Err(format!("the proxy is back and cannot be attached to: {failed}"));
            }
            if start.elapsed() >= self.patience {
                let patience = show_duration(self.patience);
                break Err(format!("the proxy has not come back within {patience}: {failed}"));
            }
            if line.ends_within(PERIOD) {
                return;
            }
        };
        let _ = input.send(Input::Begun(Box::new(result)));
    }

    fn again(&self, input: &Sender<Input>, line: &Line) -> Result<Begun, Failed> {
        let connected = self.lost.connect(&client_name())?;
        let options = AttachOptions {
            filters: self.arguments.filter.clone(),
            // A token among them that the plugin made at first.
            all: self.rules.is_empty(),
            rules: self.rules.clone(),
            ..common(&self.arguments.common, false)?
        };
        let mut progress = |progress: &Progress| {
            let _ = input.send(Input::Progress(progress.clone()));
        };
        let session = over(connected.client, connected.events, &options, input, line, &mut progress)?;
        Ok(Begun { session, socket: Some(connected.socket), launched: None })
    }
}
