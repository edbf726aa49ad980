//! `wasmdbg attach`: from the command line to a session, and the greeting that tells the user what is
//! debugged and how to get there.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use wasmdbg_control::Events;
use wasmdbg_control::client::Client;
use wasmdbg_control::session::LanePhase;
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{AttachOptions, DebugInfo, LaneStart, Progress, Session, SymbolOptions};

use crate::args::Attach;
use crate::debugger::{Debugger, LaunchedProxy, Mode, User};
use crate::failure::{Code, explain};
use crate::prompt;
use crate::show::count;
use crate::show::rules::greeting;
use crate::subcommands::connect;
use crate::terminal::console::{Console, Paint};
use crate::terminal::input::{Input, Reader, watch_interrupts};

/// The pause deadlines: a person thinks, a script does not.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5 * 60);
const BATCH_DEADLINE: Duration = Duration::from_secs(30);

/// How long a batch waits for a stop unless told otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Attaches and debugs.
pub(crate) fn run(options: Attach, mut console: Console) -> Option<Code> {
    let mode = mode(&options);
    let (input, inputs) = mpsc::channel();
    let session = watch_interrupts(input.clone()).and_then(|()| attach(&options, mode, &input, &mut console));
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Attach);
        }
    };
    debug(session, &options, mode, (input, inputs), console, None)
}

pub(crate) fn mode(options: &Attach) -> Mode {
    match (options.batch, std::io::stdin().is_terminal()) {
        (true, _) => Mode::Batch,
        (false, true) => Mode::Terminal,
        (false, false) => Mode::Pipe,
    }
}

/// From a session to its end. The filter of a proxy of one's own starts when the breakpoints of the command
/// line stand.
pub(crate) fn debug(
    session: Session,
    options: &Attach,
    mode: Mode,
    (input, inputs): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    mut console: Console,
    launched: Option<LaunchedProxy>,
) -> Option<Code> {
    let reader = match reader(mode, input, &mut console) {
        Ok(reader) => reader,
        Err(error) => {
            console.complain(&explain(&error));
            return Some(Code::Command);
        }
    };
    let timeout = options.timeout.or((mode == Mode::Batch).then_some(STOP_TIMEOUT));
    let debugger = Debugger::new(session, console, User { mode, inputs, timeout }, launched);
    prompt::run(debugger, &options.commands, reader.as_ref())
}

fn reader(mode: Mode, input: mpsc::Sender<Input>, console: &mut Console) -> Result<Option<Reader>> {
    let terminal = std::io::stdin().is_terminal();
    Ok(match mode {
        // A script at a terminal ends with its commands.
        Mode::Batch if terminal => None,
        Mode::Batch | Mode::Pipe => Some(Reader::pipe(input)?),
        Mode::Terminal => {
            let (reader, printer) = Reader::terminal(input, console.colours())?;
            if let Some(printer) = printer {
                console.set_printer(printer).context("cannot start a thread")?;
            }
            Some(reader)
        }
    })
}

fn attach(
    options: &Attach,
    mode: Mode,
    input: &mpsc::Sender<Input>,
    console: &mut Console,
) -> Result<Session> {
    let named = options.target.as_deref();
    let (client, events) =
        connect::connect(named).with_context(|| format!("cannot attach to {}", connect::display(named)))?;
    attach_over(client, events, options, LaneStart::AtOnce, mode, input, console)
        .with_context(|| format!("cannot attach to {}", connect::display(named)))
}

/// A session over a connection that is there.
pub(crate) fn attach_over(
    client: Client,
    events: Events,
    options: &Attach,
    start: LaneStart,
    mode: Mode,
    input: &mpsc::Sender<Input>,
    console: &mut Console,
) -> Result<Session> {
    let greeting = greeting(&client, console);
    console.say(&greeting);
    let wake = input.clone();
    // The debugger may have ended.
    events.on_arrival(move || drop(wake.send(Input::Wake)));
    let deadline = if mode == Mode::Batch { BATCH_DEADLINE } else { DEADLINE };
    let request = AttachOptions {
        filters: options.filters.clone(),
        rules: options.rules.clone(),
        all: options.all,
        deadline: Some(options.deadline.unwrap_or(deadline)),
        symbols: SymbolOptions { files: options.modules.clone(), ..SymbolOptions::default() },
        start,
    };
    let mut progress = |progress: &Progress| show_progress(progress, console);
    let mut session = Session::attach(client, events, &request, &mut progress)?;
    let sources = session.sources_mut();
    for (from, to) in &options.source_maps {
        sources.map(from, to);
    }
    if let Ok(here) = std::env::current_dir() {
        sources.add_directory(here);
    }
    show_attached(&session, console);
    Ok(session)
}

/// Only what a user would wonder about: a debug lane from the cache is ready at once.
fn show_progress(progress: &Progress, console: &mut Console) {
    const SLOW: u64 = 8 << 20;
    let text = match progress {
        Progress::Lane(lane) if lane.phase == LanePhase::Compiling => {
            format!("making filter {} ready for debugging …", lane.name)
        }
        Progress::ReadingModule { filter, done: 0, size } if *size >= SLOW => {
            format!("reading the module of filter {filter}, {} MB …", size >> 20)
        }
        _ => return,
    };
    let text = console.paint(Paint::Faint, &text);
    console.say(&text);
}

fn show_attached(session: &Session, console: &mut Console) {
    let attached = session.attached();
    for filter in &attached.filters {
        let name = console.paint(Paint::Function, &filter.name);
        let took = show_duration(Duration::from_millis(filter.compile_ms.max(1)));
        let how = if filter.cached { "from the cache in" } else { "compiled in" };
        console.say(&format!("filter {name} can be debugged ({how} {took})"));
    }
    for module in session.modules() {
        let names: Vec<_> = module.filters.iter().map(|(_, name)| name.as_str()).collect();
        if let DebugInfo::NamesOnly(why) = &module.debug_info {
            console.note(&format!("filter {}: {why}", names.join(", ")));
        }
        for note in &module.notes {
            console.note(&format!("filter {}: {note}", names.join(", ")));
        }
    }
    if attached.missed > 0 {
        let missed = count(attached.missed, "matching request");
        console.note(&format!("{missed} passed before the debug lane was ready"));
    }
}
