//! `list`: source lines.

use wasmdbg_session::Session;

use super::command::{Command, Flow, Words};
use crate::debugger::{Debugger, Selection};
use crate::failure::{Failure, fail};

/// Lines around the present one.
const AROUND: u32 = 5;

pub(crate) const LIST: Command = Command {
    name: "list",
    aliases: &["l"],
    usage: "[LINE|FIRST,LAST|FILE:LINE|FUNCTION|-]",
    summary: "show source lines: around the selected frame, then the following; - the ones before",
    details: "Sources are looked for at the path in the debug info, below this folder, and by --source-map FROM=TO.",
    words: Words::Place,
    repeats: true,
    run: list,
};

fn list(debugger: &mut Debugger, arguments: &str) -> Result<Flow, Failure> {
    let (file, first, last) = range(&debugger.selection, &debugger.session, arguments)?;
    let source = debugger.session.sources().lines(&file, first, last)?;
    debugger.show_lines(&file, &source);
    Ok(Flow::Next)
}

fn range(selection: &Selection, session: &Session, text: &str) -> Result<(String, u32, u32), Failure> {
    let around = |file: String, line: u32| {
        let first = line.saturating_sub(AROUND).max(1);
        (file, first, first + 2 * AROUND - 1)
    };
    match (text, selection.listed()) {
        ("", Some(listed)) => {
            return Ok((listed.file.clone(), listed.last + 1, listed.last + 2 * AROUND));
        }
        ("-", Some(listed)) if listed.first > 1 => {
            let first = listed.first.saturating_sub(2 * AROUND).max(1);
            return Ok((listed.file.clone(), first, listed.first - 1));
        }
        ("-", Some(listed)) => fail!("line 1 of {} has been shown", listed.file),
        ("" | "-", None) => {
            let frame = selection.get()?.frame()?;
            let Some(position) = frame.position else {
                fail!("{} has no line information: compile it with -g", frame.function);
            };
            return Ok(around(position.file, position.line));
        }
        _ => {}
    }
    if let Some((first, last)) = text.split_once(',') {
        return match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok((selection.file()?, first, last)),
            _ => fail!("{text:?} is no range of lines: give FIRST,LAST"),
        };
    }
    if let Ok(line) = text.parse() {
        return Ok(around(selection.file()?, line));
    }
    if let Some((file, line)) = text.rsplit_once(':')
        && let Ok(line) = line.parse()
    {
        return Ok(around(session.source_file(file)?, line));
    }
    let position = session.function_position(text)?;
    Ok(around(position.file, position.line))
}
