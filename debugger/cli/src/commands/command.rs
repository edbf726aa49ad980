//! What a command is.

use crate::debugger::Debugger;
use crate::failure::{Failure, fail};

/// What comes after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next command.
    Next,
    /// The end, with a detach.
    Quit,
    /// The end; the session is over already.
    Detached,
}

/// What a command's words can be, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Nothing that could be guessed.
    None,
    /// A place in the source: a file or a function.
    Place,
    /// A variable.
    Variable,
    /// A breakpoint's number.
    Breakpoint,
    /// A command.
    Command,
    /// A subject of `info`.
    Subject,
}

/// A command.
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// gdb's abbreviations that are no unique beginning of the name, and other names.
    pub(crate) aliases: &'static [&'static str],
    /// Its arguments, for a person.
    pub(crate) usage: &'static str,
    /// A line about it.
    pub(crate) summary: &'static str,
    /// Further lines; can be empty.
    pub(crate) details: &'static str,
    /// What can follow it.
    pub(crate) words: Words,
    /// An empty line runs it again.
    pub(crate) repeats: bool,
    /// Runs it with its arguments, trimmed.
    pub(crate) run: fn(&mut Debugger, &str) -> Result<Flow, Failure>,
}

/// No argument, or what is wrong.
pub(super) fn nothing(command: &Command, arguments: &str) -> Result<(), Failure> {
    if !arguments.is_empty() {
        fail!("`{}` takes no argument, not {arguments:?}", command.name);
    }
    Ok(())
}

/// A count from 1, or 1.
pub(super) fn repetitions(arguments: &str) -> Result<u32, Failure> {
    match arguments {
        "" => Ok(1),
        _ => match arguments.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => fail!("{arguments:?} is no number of times: give one from 1"),
        },
    }
}
