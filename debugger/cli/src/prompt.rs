//! Lines of a user, a pipe or a file into commands that are run, one after the other. Owns the exit code and
//! what an empty line repeats.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::args::Source;
use crate::commands::{self, Flow};
use crate::debugger::{Debugger, Mode};
use crate::failure::{Code, Failure, fail};
use crate::terminal::input::{Input, Reader};

/// Runs the commands of the command line, then those of `reader`; detaches at the end. Returns the first
/// failure, which at a terminal is nobody's business.
pub(crate) fn run(debugger: Debugger, sources: &[Source], reader: Option<&Reader>) -> Option<Code> {
    Prompt { debugger, failed: None, repeat: None }.run(sources, reader)
}

struct Prompt {
    debugger: Debugger,
    failed: Option<Code>,
    /// What an empty line runs again.
    repeat: Option<String>,
}

impl Prompt {
    fn run(mut self, sources: &[Source], reader: Option<&Reader>) -> Option<Code> {
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
        let script = self.debugger.plays() && self.mode() == Mode::Batch && reader.is_some();
        if flow == Flow::Next && !script {
            self.debugger.open();
        }
        if let Some(reader) = reader {
            while flow == Flow::Next {
                flow = self.read_and_execute(reader);
            }
        }
        if script && !self.debugger.is_gone() {
            self.debugger.open();
        }
        if !self.debugger.is_gone() && matches!(flow, Flow::Next | Flow::Quit) {
            let failed = self.failed;
            self.debugger.detach();
            return failed;
        }
        self.failed
    }

    fn mode(&self) -> Mode {
        self.debugger.user.mode
    }

    /// Runs one line.
    fn execute(&mut self, line: &str) -> Result<Flow, Failure> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(Flow::Next);
        }
        self.debugger.drain()?;
        // The deadline counts from here, also when what the command shows was read before. A lost
        // connection shows in the command itself.
        if self.debugger.selection.current().is_some() {
            drop(self.debugger.session.activity());
        }
        let (command, arguments) = commands::parse(line)?;
        self.repeat = command.repeats.then(|| line.to_owned());
        (command.run)(&mut self.debugger, arguments)
    }

    /// Runs the lines of a file, up to the first that fails.
    fn execute_file(&mut self, path: &Path) -> Result<Flow, Failure> {
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
            Ok(Some(line)) if line.trim().is_empty() && self.mode() == Mode::Terminal => {
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
        self.debugger.console.complain(&failure.to_string());
        if self.mode() != Mode::Terminal || matches!(failure, Failure::Gone(_)) {
            self.failed.get_or_insert(failure.code());
        }
        if self.debugger.is_gone() || matches!(failure, Failure::Gone(_)) {
            Flow::Detached
        } else {
            Flow::Next
        }
    }

    /// Waits for a line; serves the line editor and the proxy meanwhile.
    fn read_line(&mut self, reader: &Reader) -> Result<Option<String>, Failure> {
        match self.mode() {
            Mode::Batch => self.debugger.drain()?,
            Mode::Terminal | Mode::Pipe => self.debugger.show_news()?,
        }
        self.ask(reader);
        loop {
            let Ok(input) = self.debugger.user.inputs.recv() else { return Ok(None) };
            match input {
                Input::Line(line) => {
                    self.debugger.console.end_prompt();
                    return Ok(Some(line));
                }
                Input::End => {
                    self.debugger.console.end_prompt();
                    if self.mode() == Mode::Pipe {
                        self.debugger.console.say("");
                    }
                    return Ok(None);
                }
                Input::Cancelled => {
                    self.debugger.console.end_prompt();
                    self.interrupt_from_prompt();
                    self.ask(reader);
                }
                Input::Interrupt if self.mode() == Mode::Batch => fail!("interrupted"),
                Input::Interrupt => self.interrupt_from_prompt(),
                Input::Wake if self.mode() == Mode::Batch => self.debugger.drain()?,
                Input::Wake => {
                    self.debugger.show_news()?;
                    if self.mode() == Mode::Pipe {
                        self.debugger.console.prompt();
                    }
                }
                // Only a stop has a deadline; a lost connection shows at the next command.
                Input::Typing if self.debugger.selection.current().is_some() => {
                    drop(self.debugger.session.activity());
                }
                Input::Typing => {}
                Input::Complete { line, position, answer } => {
                    let _ = answer.send(commands::complete(&self.debugger, &line, position));
                }
            }
        }
    }

    fn ask(&mut self, reader: &Reader) {
        match self.mode() {
            Mode::Terminal => self.debugger.console.editor_prompts(),
            Mode::Pipe => self.debugger.console.prompt(),
            Mode::Batch => {}
        }
        reader.read();
    }

    /// Ctrl-C with no command under way.
    fn interrupt_from_prompt(&mut self) {
        if let Err(error) = self.debugger.session.interrupt(None) {
            self.debugger.console.say(&format!("{error} (`quit` leaves)"));
        }
    }
}
