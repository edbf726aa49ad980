//! `delete`, `enable`, `disable`: breakpoints by number.

use wasmdbg_session::{Error, Session};

use super::command::{Command, Flow, Words};
use crate::failure::{Failure, fail};

pub(crate) const DELETE: Command = Command {
    name: "delete",
    aliases: &["d"],
    usage: "[NUMBER…]",
    summary: "delete breakpoints; without a number all of them",
    details: "",
    words: Words::Breakpoint,
    repeats: false,
    run: |debugger, arguments| for_each(&mut debugger.session, arguments, Session::delete_breakpoint),
};

pub(crate) const ENABLE: Command = Command {
    name: "enable",
    aliases: &[],
    usage: "[NUMBER…]",
    summary: "plant disabled breakpoints again; without a number all of them",
    details: "",
    words: Words::Breakpoint,
    repeats: false,
    run: |debugger, arguments| {
        for_each(&mut debugger.session, arguments, |session, number| {
            session.enable_breakpoint(number).map(drop)
        })
    },
};

pub(crate) const DISABLE: Command = Command {
    name: "disable",
    aliases: &["dis"],
    usage: "[NUMBER…]",
    summary: "let breakpoints stop nothing, but keep them; without a number all of them",
    details: "",
    words: Words::Breakpoint,
    repeats: false,
    run: |debugger, arguments| {
        for_each(&mut debugger.session, arguments, |session, number| {
            session.disable_breakpoint(number).map(drop)
        })
    },
};

fn for_each(
    session: &mut Session,
    arguments: &str,
    act: fn(&mut Session, u32) -> Result<(), Error>,
) -> Result<Flow, Failure> {
    // `delete breakpoints 1` is gdb's long form.
    let arguments = arguments.strip_prefix("breakpoints").unwrap_or(arguments);
    let numbers = parse(arguments)?;
    let numbers = if numbers.is_empty() {
        session.breakpoints().iter().map(|breakpoint| breakpoint.number).collect()
    } else {
        numbers
    };
    for number in numbers {
        act(session, number)?;
    }
    Ok(Flow::Next)
}

/// Numbers and ranges: `1 3-5`.
fn parse(arguments: &str) -> Result<Vec<u32>, Failure> {
    let mut numbers = Vec::new();
    for word in arguments.split([' ', ',']).filter(|word| !word.is_empty()) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last - first < 10_000 => numbers.extend(first..=last),
            _ => fail!("{word:?} is no breakpoint's number: `info breakpoints` lists them"),
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_alone_and_in_ranges() {
        assert_eq!(parse("1 3-5, 7").unwrap(), [1, 3, 4, 5, 7]);
        assert!(parse("").unwrap().is_empty());
        for wrong in ["x", "5-3", "-1", "0-4000000000"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
