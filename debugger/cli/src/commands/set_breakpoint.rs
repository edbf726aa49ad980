//! `break` and `tbreak`: a breakpoint at a line, a function or a pc.

use wasmdbg_control::ModulePc;
use wasmdbg_session::{BreakpointOptions, BreakpointSpec, Session};

use super::command::{Command, Flow, Words};
use crate::debugger::Selection;
use crate::failure::{Failure, fail};
use crate::show::breakpoints::describe;
use crate::terminal::console::Console;

const PLACES: &str = "\
PLACE is FILE:LINE, FILE:LINE:COLUMN, a LINE of the selected frame's file, a FUNCTION (judge, Filter::judge,
proxy_on_request_headers), or *PC, an offset in the .wasm file. Without PLACE: where the selected frame goes on.
A place that no module has gives a pending breakpoint. All inlined and generic copies of a line stop.
With `if EXPRESSION` it stops only where that holds: break judge if token > 100.";

pub(crate) const BREAK: Command = Command {
    name: "break",
    aliases: &["b", "br"],
    usage: "[PLACE] [if EXPRESSION]",
    summary: "set a breakpoint",
    details: PLACES,
    words: Words::Place,
    repeats: false,
    run: |debugger, arguments| {
        set(&mut debugger.session, &debugger.selection, &mut debugger.console, arguments, false)
    },
};

pub(crate) const TBREAK: Command = Command {
    name: "tbreak",
    aliases: &["tb"],
    usage: "[PLACE] [if EXPRESSION]",
    summary: "set a breakpoint that goes with its first hit",
    details: PLACES,
    words: Words::Place,
    repeats: false,
    run: |debugger, arguments| {
        set(&mut debugger.session, &debugger.selection, &mut debugger.console, arguments, true)
    },
};

fn set(
    session: &mut Session,
    selection: &Selection,
    console: &mut Console,
    arguments: &str,
    temporary: bool,
) -> Result<Flow, Failure> {
    let (place, condition) = split_condition(arguments)?;
    let spec = parse(selection, place)?;
    let options = BreakpointOptions {
        temporary,
        condition: condition.map(str::to_owned),
        ..BreakpointOptions::default()
    };
    let breakpoint = session.set_breakpoint(spec, &options)?;
    let text = describe(&breakpoint, console);
    console.say(&text);
    for note in &breakpoint.notes {
        console.note(note);
    }
    Ok(Flow::Next)
}

/// The place, and what stands behind `if`.
fn split_condition(text: &str) -> Result<(&str, Option<&str>), Failure> {
    let (place, condition) = match text.strip_prefix("if ") {
        Some(condition) => ("", condition),
        None => match text.split_once(" if ") {
            Some(parts) => parts,
            None if text == "if" || text.ends_with(" if") => fail!("`if` wants an expression"),
            None => return Ok((text, None)),
        },
    };
    Ok((place.trim(), Some(condition.trim())))
}

fn parse(selection: &Selection, text: &str) -> Result<BreakpointSpec, Failure> {
    if text.is_empty() {
        return Ok(BreakpointSpec::Pc(selection.get()?.frame()?.pc));
    }
    if let Some(pc) = text.strip_prefix('*') {
        return Ok(BreakpointSpec::Pc(parse_pc(pc.trim())?));
    }
    if let Ok(line) = text.parse() {
        let file = selection.file()?;
        return Ok(BreakpointSpec::Line { file, line, column: None });
    }
    match parse_line(text) {
        Some(spec) => Ok(spec),
        None if text.contains(char::is_whitespace) && !text.contains(['<', '(']) => {
            fail!("{text:?} is no place: give FILE:LINE, a function or *PC")
        }
        None => Ok(BreakpointSpec::Function(text.to_owned())),
    }
}

/// `FILE:LINE` or `FILE:LINE:COLUMN`; a function's `::` is no line.
fn parse_line(text: &str) -> Option<BreakpointSpec> {
    let (rest, last) = text.rsplit_once(':')?;
    let last = last.parse().ok().filter(|&number| number > 0)?;
    if let Some((file, line)) = rest.rsplit_once(':')
        && let Ok(line) = line.parse()
        && !file.is_empty()
    {
        return Some(BreakpointSpec::Line { file: file.to_owned(), line, column: Some(last) });
    }
    (!rest.is_empty()).then(|| BreakpointSpec::Line { file: rest.to_owned(), line: last, column: None })
}

fn parse_pc(text: &str) -> Result<ModulePc, Failure> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(pc) => Ok(ModulePc(pc)),
        Err(_) => fail!("{text:?} is no pc: give an offset in the .wasm file, as in *0x4ba"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_functions_are_told_apart() {
        let line = |file: &str, line, column| Some(BreakpointSpec::Line { file: file.into(), line, column });
        assert_eq!(parse_line("lib.rs:31"), line("lib.rs", 31, None));
        assert_eq!(parse_line("src/lib.rs:31:5"), line("src/lib.rs", 31, Some(5)));
        assert_eq!(parse_line("rust_token::judge"), None);
        assert_eq!(parse_line("lib.rs:0"), None);
        assert_eq!(parse_line(":31"), None);
    }

    #[test]
    fn a_condition_stands_behind_if() {
        assert_eq!(split_condition("lib.rs:31 if a > 1").unwrap(), ("lib.rs:31", Some("a > 1")));
        assert_eq!(split_condition("if a").unwrap(), ("", Some("a")));
        assert_eq!(split_condition("notify").unwrap(), ("notify", None));
        assert!(split_condition("judge if").is_err());
    }

    #[test]
    fn a_pc_is_decimal_or_hexadecimal() {
        assert_eq!(
            (parse_pc("0x4ba").unwrap(), parse_pc("1210").unwrap()),
            (ModulePc(0x4ba), ModulePc(1210))
        );
        assert!(parse_pc("judge").unwrap_err().to_string().contains("as in *0x4ba"));
    }
}
