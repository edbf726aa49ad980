//! Where commands come from: the line editor of a terminal or lines of a pipe, each on a thread of its
//! own, and Ctrl-C. Everything becomes an [`Input`] in one channel, which the debugger's loop takes.
//!
//! A reader reads one line when it is told to and not before: what a command prints comes before the
//! next prompt, and a pipe's lines are not swallowed by a session that has ended.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};

use crate::terminal::console::PROMPT;

/// Something for the debugger's loop.
pub(crate) enum Input {
    /// A line was read.
    Line(String),
    /// There are no more lines.
    End,
    /// Ctrl-C at the prompt: the line is dropped.
    Cancelled,
    /// Ctrl-C while a command runs, or SIGINT.
    Interrupt,
    /// The proxy has said something.
    Wake,
    /// A key was pressed at the prompt; at most once a second.
    Typing,
    /// The user wants to know how the word before `position` could go on.
    Complete {
        /// The line so far.
        line: String,
        /// The cursor, in bytes.
        position: usize,
        /// Where the word begins, and its completions.
        answer: Sender<(usize, Vec<String>)>,
    },
}

/// How often typing counts.
const TYPING_EVERY: Duration = Duration::from_secs(1);

/// A thread that reads lines.
pub(crate) struct Reader {
    go: Sender<()>,
}

impl Reader {
    /// Asks for one line; [`Input::Line`], [`Input::End`] or [`Input::Cancelled`] follows.
    pub(crate) fn read(&self) {
        // A thread that is gone has sent its end.
        let _ = self.go.send(());
    }

    /// Reads standard input, which is not a terminal.
    pub(crate) fn pipe(inputs: Sender<Input>) -> Result<Self> {
        Self::start(move |go| {
            let mut lines = std::io::stdin().lock().lines();
            for () in go {
                let input = match lines.next() {
                    Some(Ok(line)) => Input::Line(line),
                    Some(Err(_)) | None => Input::End,
                };
                if inputs.send(input).is_err() {
                    break;
                }
            }
        })
    }

    /// Edits lines on the terminal. The printer puts other lines above the prompt.
    pub(crate) fn terminal(
        inputs: Sender<Input>,
        colours: bool,
    ) -> Result<(Self, Option<Box<dyn ExternalPrinter + Send>>)> {
        let (printer, printers) = mpsc::channel();
        let reader = Self::start(move |go| {
            if let Err(error) = edit(&go, &inputs, &printer, colours) {
                crate::terminal::console::log(&format!("error: the terminal cannot be read: {error}"));
            }
            let _ = inputs.send(Input::End);
        })?;
        // An editor that cannot start has dropped its end.
        let printer = printers.recv().ok().flatten();
        Ok((reader, printer))
    }

    fn start(read: impl FnOnce(Receiver<()>) + Send + 'static) -> Result<Self> {
        let (go, gone) = mpsc::channel();
        std::thread::Builder::new()
            .name("wasmdbg-input".into())
            .spawn(move || read(gone))
            .context("cannot start a thread")?;
        Ok(Self { go })
    }
}

type Printer = Option<Box<dyn ExternalPrinter + Send>>;

fn edit(
    go: &Receiver<()>,
    inputs: &Sender<Input>,
    printer: &Sender<Printer>,
    colours: bool,
) -> rustyline::Result<()> {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
    let mut editor = Editor::<Prompt, DefaultHistory>::with_config(config)?;
    editor.set_helper(Some(Prompt { inputs: inputs.clone(), typed: Cell::new(None), colours }));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    let external = editor.create_external_printer().ok();
    let _ = printer.send(external.map(|printer| Box::new(printer) as Box<dyn ExternalPrinter + Send>));
    for () in go {
        let input = match editor.readline(PROMPT) {
            Ok(line) => {
                if let Some(path) = &history {
                    let _ = editor.append_history(path);
                }
                Input::Line(line)
            }
            Err(ReadlineError::Interrupted) => Input::Cancelled,
            Err(ReadlineError::Eof) => Input::End,
            Err(error) => return Err(error),
        };
        if inputs.send(input).is_err() {
            break;
        }
    }
    Ok(())
}

/// `$XDG_STATE_HOME/wasmdbg/history`, its folder made; without a home there is no history.
fn history_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    let folder = state.join("wasmdbg");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Sends [`Input::Interrupt`] for each SIGINT. Must be called before any other thread is started: the
/// signal is blocked from here on, in this thread and those it starts, and taken by a thread that waits
/// for it.
pub(crate) fn watch_interrupts(inputs: Sender<Input>) -> Result<()> {
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGINT);
    interrupts.thread_block().context("cannot block SIGINT")?;
    let wait = move || {
        while interrupts.wait().is_ok() {
            if inputs.send(Input::Interrupt).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("wasmdbg-sigint".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// The line editor's questions, handed on to the debugger's loop.
struct Prompt {
    inputs: Sender<Input>,
    typed: Cell<Option<Instant>>,
    colours: bool,
}

impl Helper for Prompt {}
impl Validator for Prompt {}

impl Hinter for Prompt {
    type Hint = String;

    /// Called for each change of the line: no hint, but a sign of life.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        let now = Instant::now();
        let recently = self.typed.get().is_some_and(|last| now.duration_since(last) < TYPING_EVERY);
        if !line.is_empty() && !recently {
            self.typed.set(Some(now));
            let _ = self.inputs.send(Input::Typing);
        }
        None
    }
}

impl Highlighter for Prompt {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colours { Cow::Owned(format!("\x1b[1m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }
}

impl Completer for Prompt {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let (answer, answers) = mpsc::channel();
        let _ = self.inputs.send(Input::Complete { line: line.to_owned(), position, answer });
        Ok(answers.recv().unwrap_or((position, Vec::new())))
    }
}
