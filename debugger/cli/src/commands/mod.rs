//! The commands of the prompt: one table that finds, lists, explains and completes them. Each command is
//! a file with its parsing and its run, over the parts of the debugger that it needs.

mod breakpoints;
mod command;
mod detach;
mod directory;
mod frames;
mod info;
mod interrupt;
mod list;
mod memory;
mod print;
mod resume;
mod set_breakpoint;
mod step;
mod transactions;
mod variables;

use std::fmt::Write as _;

pub(crate) use self::command::Flow;
use self::command::{Command, Words};
use crate::debugger::Debugger;
use crate::failure::{Failure, fail};
use crate::terminal::console::Console;

/// All commands, in the order in which help lists them.
const TABLE: &[Command] = &[
    set_breakpoint::BREAK,
    set_breakpoint::TBREAK,
    breakpoints::DELETE,
    breakpoints::ENABLE,
    breakpoints::DISABLE,
    resume::CONTINUE,
    step::NEXT,
    step::STEP,
    step::FINISH,
    step::UNTIL,
    step::STEPI,
    step::NEXTI,
    interrupt::INTERRUPT,
    frames::BACKTRACE,
    frames::FRAME,
    frames::UP,
    frames::DOWN,
    variables::LOCALS,
    print::PRINT,
    memory::EXAMINE,
    list::LIST,
    directory::DIRECTORY,
    transactions::TRANSACTIONS,
    info::INFO,
    detach::DETACH,
    detach::QUIT,
    HELP,
];

/// The command that `word` names: its name, an alias, or a beginning that no other command has.
fn find(word: &str) -> Result<&'static Command, Failure> {
    if let Some(command) =
        TABLE.iter().find(|command| command.name == word || command.aliases.contains(&word))
    {
        return Ok(command);
    }
    let mut candidates: Vec<_> = TABLE.iter().filter(|command| command.name.starts_with(word)).collect();
    match candidates.len() {
        1 => Ok(candidates.remove(0)),
        0 => fail!("there is no command {word:?}; `help` lists them"),
        _ => {
            let names: Vec<_> = candidates.iter().map(|command| command.name).collect();
            fail!("{word:?} is ambiguous: {}", names.join(", "))
        }
    }
}

/// Splits a line into its command and its arguments: the word ends where its letters do, so that
/// `x/4xb ptr` and `break*0x4ba` are understood.
pub(crate) fn parse(line: &str) -> Result<(&'static Command, &str), Failure> {
    let end = line.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(line.len());
    if end == 0 {
        fail!("{line:?} begins with no command; `help` lists them");
    }
    let (word, arguments) = line.split_at(end);
    if arguments.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        fail!("there is no command {line:?}; `help` lists them");
    }
    Ok((find(word)?, arguments.trim()))
}

/// How the word before `position` could go on: where it begins, and its completions.
pub(crate) fn complete(debugger: &Debugger, line: &str, position: usize) -> (usize, Vec<String>) {
    const LIMIT: usize = 200;
    let line = line.get(..position).unwrap_or(line);
    let start = line.trim_start();
    let begin = position - start.len();
    let Some(word_end) = start.find(|c: char| !c.is_ascii_alphabetic()) else {
        return (begin, names(start));
    };
    let Ok(command) = find(&start[..word_end]) else { return (position, Vec::new()) };
    let is_word: fn(char) -> bool = match command.words {
        Words::Place => |c| !c.is_whitespace() && c != '*',
        _ => |c| c.is_alphanumeric() || c == '_',
    };
    let word_start = line
        .rfind(|c: char| !is_word(c))
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = &line[word_start..];
    let found = match command.words {
        Words::None => Vec::new(),
        Words::Place => {
            let mut found = debugger.session.complete_file(word, LIMIT);
            found.iter_mut().for_each(|file| file.push(':'));
            // All functions of the standard library are no help.
            if !word.is_empty() {
                found.extend(debugger.session.complete_function(word, LIMIT));
            }
            found
        }
        Words::Variable => variables::names(&debugger.selection, word),
        Words::Breakpoint => {
            let numbers = debugger.session.breakpoints().into_iter().map(|known| known.number.to_string());
            numbers.filter(|number| number.starts_with(word)).collect()
        }
        Words::Command => names(word),
        Words::Subject => info::subjects(word),
    };
    (word_start, found)
}

fn names(prefix: &str) -> Vec<String> {
    TABLE
        .iter()
        .filter(|command| command.name.starts_with(prefix))
        .map(|command| command.name.to_owned())
        .collect()
}

const HELP: Command = Command {
    name: "help",
    aliases: &["h"],
    usage: "[COMMAND]",
    summary: "list the commands, or explain one",
    details: "Any unique beginning of a name will do. At a prompt an empty line repeats a step.",
    words: Words::Command,
    repeats: false,
    run: |debugger, arguments| help(&mut debugger.console, arguments),
};

fn help(console: &mut Console, arguments: &str) -> Result<Flow, Failure> {
    let text = if arguments.is_empty() { overview() } else { explain(find(arguments)?) };
    console.say(text.trim_end());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gdbs_abbreviations_are_understood() {
        let cases = [
            ("b", "break"),
            ("br", "break"),
            ("tb", "tbreak"),
            ("d", "delete"),
            ("en", "enable"),
            ("dis", "disable"),
            ("dir", "directory"),
            ("disa", "disable"),
            ("c", "continue"),
            ("n", "next"),
            ("s", "step"),
            ("fin", "finish"),
            ("u", "until"),
            ("si", "stepi"),
            ("bt", "bt"),
            ("where", "bt"),
            ("f", "frame"),
            ("up", "up"),
            ("down", "down"),
            ("p", "print"),
            ("l", "list"),
            ("i", "info"),
            ("x", "x"),
            ("q", "quit"),
            ("h", "help"),
            ("det", "detach"),
            ("advance", "until"),
            ("backtrace", "bt"),
            ("inspect", "print"),
            ("exit", "quit"),
        ];
        for (word, name) in cases {
            assert_eq!(find(word).unwrap().name, name, "{word}");
        }
        assert!(find("de").map(|command| command.name).unwrap_err().to_string().contains("delete, detach"));
        assert!(find("frobnicate").map(|command| command.name).is_err());
    }

    #[test]
    fn a_command_ends_where_its_letters_do() {
        let parsed = |line| parse(line).map(|(command, rest)| (command.name, rest)).unwrap();
        assert_eq!(parsed("x/4xb  ptr"), ("x", "/4xb  ptr"));
        assert_eq!(parsed("b*0x4ba"), ("break", "*0x4ba"));
        assert_eq!(parsed("p &a"), ("print", "&a"));
        assert_eq!(parsed("print"), ("print", ""));
        assert!(parse("print_all").is_err());
        assert!(parse("12").is_err());
    }

    #[test]
    fn names_are_unique_and_explained() {
        let mut names: Vec<_> =
            TABLE.iter().flat_map(|command| std::iter::once(&command.name).chain(command.aliases)).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(TABLE.iter().all(|command| !command.summary.is_empty()));
    }
}
