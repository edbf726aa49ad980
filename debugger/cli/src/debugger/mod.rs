//! A session at a terminal: reads commands, runs them, keeps what is looked at. What commands do is in
//! [`crate::commands`], what events look like in [`events`]; waiting is in [`waiting`].

mod events;
pub(crate) mod show;
pub(crate) mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Context as _;
use wasmdbg_control::transactions::LogLine;
use wasmdbg_control::{StopId, TransactionId};
use wasmdbg_session::{Session, Stop};

use crate::args::Source;
use crate::commands::{self, Flow};
use crate::failure::{Code, Failure, fail};
use crate::terminal::console::Console;
use crate::terminal::input::{Input, Reader};

/// How commands come and what waiting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A person types: events are shown as they come, Ctrl-C ends waiting.
    Terminal,
    /// A program types at the same prompt.
    Pipe,
    /// A script: only commands that wait take stops, and waiting has a limit.
    Batch,
}

/// What starts when the breakpoints of the command line stand.
pub(crate) type OnInvite = Box<dyn FnOnce(&Session, &mut Console) -> anyhow::Result<()>>;

/// The proxy, when it is of this process.
pub(crate) struct Own {
    /// Starts its filter.
    pub(crate) start: OnInvite,
    /// Set when all requests that it plays have been played; an [`Input::Wake`] follows.
    pub(crate) played: Arc<AtomicBool>,
    /// There are such requests.
    pub(crate) plays: bool,
}

/// The stop that is looked at.
#[derive(Clone)]
pub(crate) struct Selected {
    pub(crate) stop: Arc<Stop>,
    pub(crate) frame: u32,
}

/// What `list` shows next.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) file: String,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

pub(crate) struct Debugger {
    pub(crate) session: Session,
    pub(crate) console: Console,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) mode: Mode,
    /// How long a command waits for a stop; `None`: as long as it takes.
    pub(crate) timeout: Option<Duration>,
    pub(crate) selected: Option<Selected>,
    pub(crate) listed: Option<Listed>,
    /// Stops that nobody has looked at, oldest first.
    pub(crate) unseen: VecDeque<StopId>,
    /// Those of them that were told of.
    pub(crate) announced: HashSet<StopId>,
    /// Transactions that were stopped here, as they are called.
    pub(crate) touched: HashMap<TransactionId, String>,
    /// What filters logged last and nobody was shown: a panic's message comes before its trap.
    pub(crate) last_logs: VecDeque<LogLine>,
    /// Why the session is over, once it is.
    pub(crate) gone: Option<String>,
    /// See [`OnInvite`].
    pub(crate) on_invite: Option<OnInvite>,
    /// That starts requests which are played once.
    pub(crate) plays: bool,
    /// See [`Own`].
    pub(crate) played: Option<Arc<AtomicBool>>,
    failed: Option<Code>,
    repeat: Option<String>,
    invited: bool,
}

impl Debugger {
    pub(crate) fn new(
        session: Session,
        console: Console,
        inputs: Receiver<Input>,
        mode: Mode,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            session,
            console,
            inputs,
            mode,
            timeout,
            selected: None,
            listed: None,
            unseen: VecDeque::new(),
            announced: HashSet::new(),
            touched: HashMap::new(),
            last_logs: VecDeque::new(),
            gone: None,
            on_invite: None,
            plays: false,
            played: None,
            failed: None,
            repeat: None,
            invited: false,
        }
    }

    /// Runs the commands of the command line, then those of `reader`; detaches at the end. Returns the
    /// first failure, which at a terminal is nobody's business.
    pub(crate) fn run(mut self, sources: &[Source], reader: Option<&Reader>) -> Option<Code> {
        let mut flow = Flow::Next;
        for source in sources {
            if flow == Flow::Quit {
                break;
            }
            let result = match source {
                Source::Command(line) => self.execute(line),
                Source::File(path) => self.execute_file(path),
            };
            flow = self.settle(result);
        }
        // Requests that are played once wait for all breakpoints of a script, to its first `continue`.
        let script = self.plays && self.mode == Mode::Batch && reader.is_some();
        if flow == Flow::Next && !script {
            self.invite();
        }
        if let Some(reader) = reader {
            while flow == Flow::Next {
                flow = self.read_and_execute(reader);
            }
        }
        if script && self.gone.is_none() {
            self.invite();
        }
        if self.gone.is_none() && matches!(flow, Flow::Next | Flow::Quit) {
            let failed = self.failed;
            self.detach();
            return failed;
        }
        self.failed
    }

    /// Says once which requests can stop.
    pub(crate) fn invite(&mut self) {
        if !std::mem::replace(&mut self.invited, true) {
            crate::subcommands::attach::invite(&self.session, &mut self.console);
            if let Some(start) = self.on_invite.take()
                && let Err(error) = start(&self.session, &mut self.console)
            {
                self.console.complain(&crate::failure::explain(&error));
            }
        }
    }

    /// Whether all requests have been played, and what was told of those that stopped has come.
    pub(crate) fn is_played(&self) -> bool {
        self.touched.is_empty() && self.played.as_ref().is_some_and(|played| played.load(Ordering::Acquire))
    }

    /// The stop that is looked at.
    pub(crate) fn selected(&self) -> Result<&Selected, Failure> {
        let Some(selected) = &self.selected else {
            fail!(
                "nothing is stopped: `continue` waits for the next stop, `transactions` lists what is there"
            )
        };
        Ok(selected)
    }

    /// Runs one line.
    pub(crate) fn execute(&mut self, line: &str) -> Result<Flow, Failure> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(Flow::Next);
        }
        self.drain()?;
        // The deadline counts from here, also when what the command shows was read before. A lost
        // connection shows in the command itself.
        if self.selected.is_some() {
            drop(self.session.activity());
        }
        let (command, arguments) = commands::parse(line)?;
        self.repeat = command.repeats.then(|| line.to_owned());
        (command.run)(self, arguments)
    }

    /// Runs the lines of a file, up to the first that fails.
    pub(crate) fn execute_file(&mut self, path: &Path) -> Result<Flow, Failure> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read commands from {}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            match self.execute(line) {
                Ok(Flow::Next) => {}
                Err(Failure::Command(error)) => {
                    let place = format!("{}:{}", path.display(), index + 1);
                    return Err(Failure::Command(error.context(place)));
                }
                other => return other,
            }
        }
        Ok(Flow::Next)
    }

    fn read_and_execute(&mut self, reader: &Reader) -> Flow {
        let result = match self.read_line(reader) {
            Ok(None) => return Flow::Quit,
            // As gdb does: an empty line steps once more.
            Ok(Some(line)) if line.trim().is_empty() && self.mode == Mode::Terminal => {
                match self.repeat.clone() {
                    Some(line) => self.execute(&line),
                    None => Ok(Flow::Next),
                }
            }
            Ok(Some(line)) => self.execute(&line),
            Err(failure) => Err(failure),
        };
        self.settle(result)
    }

    /// Says what went wrong and keeps the first failure for the exit code.
    fn settle(&mut self, result: Result<Flow, Failure>) -> Flow {
        let failure = match result {
            Ok(flow) => return flow,
            Err(failure) => failure,
        };
        self.console.complain(&failure.to_string());
        if self.mode != Mode::Terminal || matches!(failure, Failure::Gone(_)) {
            self.failed.get_or_insert(failure.code());
        }
        if self.gone.is_some() || matches!(failure, Failure::Gone(_)) { Flow::Detached } else { Flow::Next }
    }

    /// Waits for a line; serves the line editor and the proxy meanwhile.
    fn read_line(&mut self, reader: &Reader) -> Result<Option<String>, Failure> {
        match self.mode {
            Mode::Batch => self.drain()?,
            Mode::Terminal | Mode::Pipe => self.show_news()?,
        }
        self.ask(reader);
        loop {
            let Ok(input) = self.inputs.recv() else { return Ok(None) };
            match input {
                Input::Line(line) => {
                    self.console.end_prompt();
                    return Ok(Some(line));
                }
                Input::End => {
                    self.console.end_prompt();
                    if self.mode == Mode::Pipe {
                        self.console.say("");
                    }
                    return Ok(None);
                }
                Input::Cancelled => {
                    self.console.end_prompt();
                    self.interrupt_from_prompt();
                    self.ask(reader);
                }
                Input::Interrupt if self.mode == Mode::Batch => fail!("interrupted"),
                Input::Interrupt => self.interrupt_from_prompt(),
                Input::Wake if self.mode == Mode::Batch => self.drain()?,
                Input::Wake => {
                    self.show_news()?;
                    if self.mode == Mode::Pipe {
                        self.console.prompt();
                    }
                }
                // Only a stop has a deadline; a lost connection shows at the next command.
                Input::Typing if self.selected.is_some() => drop(self.session.activity()),
                Input::Typing => {}
                Input::Complete { line, position, answer } => {
                    let _ = answer.send(commands::complete(self, &line, position));
                }
            }
        }
    }

    fn ask(&mut self, reader: &Reader) {
        match self.mode {
            Mode::Terminal => self.console.editor_prompts(),
            Mode::Pipe => self.console.prompt(),
            Mode::Batch => {}
        }
        reader.read();
    }

    /// Ctrl-C with no command under way.
    fn interrupt_from_prompt(&mut self) {
        if let Err(error) = self.session.interrupt(None) {
            self.console.say(&format!("{error} (`quit` leaves)"));
        }
    }

    /// Ends the session; says what went on.
    fn detach(self) {
        let mut console = self.console;
        match self.session.detach() {
            Ok(detached) if detached.released > 0 => {
                let goes = if detached.released == 1 { "goes" } else { "go" };
                let callbacks = crate::subcommands::ps::count(detached.released.into(), "stopped callback");
                console.say(&format!("Detached; {callbacks} {goes} on"));
            }
            Ok(_) => console.say("Detached"),
            Err(error) => console.complain(&error.to_string()),
        }
    }
}
