//! `help`: the table, or one command.

use std::fmt::Write as _;

use super::{Command, Flow, TABLE, Words, find};
use crate::debugger::Debugger;
use crate::failure::Failure;

pub(crate) const HELP: Command = Command {
    name: "help",
    aliases: &["h"],
    usage: "[COMMAND]",
    summary: "list the commands, or explain one",
    details: "Any unique beginning of a name will do. At a prompt an empty line repeats a step.",
    words: Words::Command,
    repeats: false,
    run: help,
};

fn help(debugger: &mut Debugger, arguments: &str) -> Result<Flow, Failure> {
    let text = if arguments.is_empty() { overview() } else { explain(find(arguments)?) };
    debugger.console.say(text.trim_end());
    Ok(Flow::Next)
}

fn overview() -> String {
    let mut text = String::new();
    for command in TABLE {
        let _ = writeln!(text, "{:<14}{}", command.name, command.summary);
    }
    text.push_str("`help COMMAND` says more");
    text
}

fn explain(command: &Command) -> String {
    let mut text = format!("{} {}\n  {}\n", command.name, command.usage, command.summary);
    if !command.aliases.is_empty() {
        let _ = writeln!(text, "  also: {}", command.aliases.join(", "));
    }
    if !command.details.is_empty() {
        let _ = writeln!(text, "{}", command.details);
    }
    text
}
