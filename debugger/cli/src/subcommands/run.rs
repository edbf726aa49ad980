//! `wasmdbg run`: a filter in a small proxy of this process, under the debugger from its first
//! instruction, or requests of a file played through it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, raise};
use wasmdbg_control::Client;
use wasmdbg_proxy_wasm::Level;
use wasmdbg_session::LaneStart;
use wasmdbg_standalone::request_file::{self, Section};
use wasmdbg_standalone::{Called, Ending, Happening, Host, Playing, Program, Report, Verdict};

use crate::args::Run;
use crate::debugger::LaunchedProxy;
use crate::failure::{Code, explain};
use crate::subcommands::attach;
use crate::subcommands::connect::client_name;
use crate::terminal::console::{Console, harmless};
use crate::terminal::input::{Input, watch_interrupts};

/// Threads that serve requests.
const THREADS: usize = 1;

/// Signals that end a proxy; the last one not if it has a prompt.
const ENDS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT];

/// Runs the filter.
pub(crate) fn run(options: Run, mut console: Console) -> Option<Code> {
    let commands =
        !options.attach.commands.is_empty() || options.attach.batch && !std::io::stdin().is_terminal();
    let debugs = options.listen.is_some() || options.prompt || commands;
    let (input, inputs) = mpsc::channel();
    // Before the host starts threads. Requests that are only played end as every program does.
    let ends: &[Signal] = if debugs { &ENDS[..2] } else { &ENDS };
    let watched = watch_end(ends).and_then(|ending| {
        if debugs {
            watch_interrupts(input.clone())?;
        }
        Ok(ending)
    });
    let ending = match watched {
        Ok(ending) => ending,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Attach);
        }
    };
    let printer = Arc::new(Printer { callbacks: options.request.is_some(), ..Printer::default() });
    let made = host(&options, Arc::clone(&printer), &mut console)
        .and_then(|host| Ok((host, requests(&options).transpose()?)));
    let (host, requests) = match made {
        Ok(made) => made,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Attach);
        }
    };
    // The one host.
    let _ = ending.set(host.ending());
    if debugs {
        return debug(options, host, requests, &printer, (input, inputs), console);
    }
    match host.play(requests.unwrap_or_default()) {
        Ok(playing) => {
            playing.wait();
            printer.died.load(Ordering::Relaxed).then_some(Code::Command)
        }
        Err(error) => {
            console.complain(&error.to_string());
            Some(Code::Command)
        }
    }
}

/// From now on one of `signals` ends the process only when the control socket of the host that is put in there
/// is gone. Must be called before any other thread is started, [`watch_interrupts`]'s too: they are blocked from
/// here on, as is SIGINT, so that nobody else takes them.
fn watch_end(signals: &[Signal]) -> Result<Arc<OnceLock<Ending>>> {
    let ignored = ignored_signals();
    let ends: SigSet = signals.iter().copied().filter(|signal| !ignored(*signal)).collect();
    let mut blocked = ends;
    blocked.add(Signal::SIGINT);
    blocked.thread_block().context("cannot block signals")?;
    let socket = Arc::new(OnceLock::<Ending>::new());
    let ending = Arc::clone(&socket);
    let wait = move || {
        let Ok(signal) = ends.wait() else { return };
        if let Some(ending) = ending.get() {
            ending.end();
        }
        // As it would have ended without us.
        let _ = ends.thread_unblock();
        let _ = raise(signal);
    };
    std::thread::Builder::new().name("wasmdbg-end".into()).spawn(wait).context("cannot start a thread")?;
    Ok(socket)
}

/// Which signals who started us has us ignore: `nohup`, or a script's `&`.
fn ignored_signals() -> impl Fn(Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    move |signal| mask >> (signal as i32 - 1) & 1 == 1
}

fn debug(
    options: Run,
    host: Host,
    requests: Option<Vec<Section>>,
    printer: &Arc<Printer>,
    (input, inputs): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    mut console: Console,
) -> Option<Code> {
    let mode = attach::mode(&options.attach);
    let connection = host.connect().context("cannot reach the debugger's side of this process");
    let attached = connection.and_then(|connection| {
        let (client, events) = Client::greet(connection, &client_name())?;
        attach::attach_over(client, events, &options.attach, LaneStart::Held, mode, &input, &mut console)
    });
    let session = match attached {
        Ok(session) => session,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Attach);
        }
    };
    // The session tells of them.
    printer.session.store(true, Ordering::Relaxed);
    let host = Arc::new(host);
    let listening = match options.listen.map(|address| host.listen(address, THREADS)).transpose() {
        Ok(listening) => listening,
        Err(error) => {
            console.complain(&error.to_string());
            return Some(Code::Attach);
        }
    };
    if let Some(listening) = &listening {
        console.say(&format!("listening at http://{}", listening.address()));
    }
    let plays = requests.is_some();
    let (started, playing) = mpsc::channel();
    let (player, wake) = (Arc::clone(&host), input.clone());
    let played = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&played);
    let start = move |session: &wasmdbg_session::Session, _: &mut Console| {
        session.start()?;
        if let Some(requests) = requests {
            let playing = player.play(requests)?;
            // The receiver outlives the debugger.
            let _ = started.send(tell_when_played(playing, over, wake)?);
        }
        Ok(())
    };
    let launched = LaunchedProxy::new(Box::new(start), played, plays);
    let code = attach::debug(session, &options.attach, mode, (input, inputs), console, Some(launched));
    // Detached: what stood goes on.
    for playing in playing {
        let _ = playing.join();
    }
    drop(listening);
    code
}

/// Waits for the end on a thread; `wake` has the debugger look at `over`.
fn tell_when_played(
    playing: Playing,
    over: Arc<AtomicBool>,
    wake: mpsc::Sender<Input>,
) -> Result<JoinHandle<()>> {
    let wait = move || {
        playing.wait();
        over.store(true, Ordering::Release);
        // The debugger may have ended.
        let _ = wake.send(Input::Wake);
    };
    std::thread::Builder::new().name("wasmdbg-played".into()).spawn(wait).context("cannot start a thread")
}

fn host(options: &Run, printer: Arc<Printer>, console: &mut Console) -> Result<Host> {
    let program = Program {
        module: options.program.clone(),
        config: options.config.clone(),
        configuration: options.configuration.clone(),
        settings: options.settings.clone(),
        upstream: options.upstream.clone(),
    };
    let (made, notes) = program.options(printer)?;
    notes.iter().for_each(|note| console.note(note));
    Ok(Host::new(made)?)
}

fn requests(options: &Run) -> Option<Result<Vec<Section>>> {
    let path = options.request.as_ref()?;
    let read = || {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        request_file::parse(&text).with_context(|| path.display().to_string())
    };
    Some(read())
}

/// Prints what happens, whole lines at a time.
#[derive(Default)]
struct Printer {
    callbacks: bool,
    /// A session shows logs itself.
    session: AtomicBool,
    /// A callback died.
    died: AtomicBool,
}

impl Report for Printer {
    fn take(&self, happening: Happening) {
        match &happening {
            Happening::Log { source, level, .. } => {
                let own = source == "wasmdbg" && *level < Level::Warn;
                if own || self.session.load(Ordering::Relaxed) {
                    return;
                }
            }
            Happening::Callback { verdict: Verdict::Failed, .. }
            | Happening::ForeignFunction { called: Called::Failed, .. } => {
                self.died.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        // That nobody reads it any more is no reason to stop serving.
        let _ = writeln!(std::io::stdout().lock(), "{}", harmless(&happening.to_string()));
    }

    fn wants_callbacks(&self) -> bool {
        self.callbacks
    }
}
