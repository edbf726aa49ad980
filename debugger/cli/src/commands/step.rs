//! `next`, `step`, `finish`, `until`, `stepi`, `nexti`: lets the selected stop go a little way.

use wasmdbg_session::Step;

use super::command::{Command, Flow, Words, nothing, repetitions};
use crate::debugger::Debugger;
use crate::debugger::Until;
use crate::failure::{Failure, fail};

pub(crate) const NEXT: Command = Command {
    name: "next",
    aliases: &["n"],
    usage: "[COUNT]",
    summary: "go to the next line, over calls",
    details: "At the end of a function it goes on in the caller; when the callback ends there is nothing to stop at.",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| repeat(debugger, arguments, Step::Over),
};

pub(crate) const STEP: Command = Command {
    name: "step",
    aliases: &["s"],
    usage: "[COUNT]",
    summary: "go to the next line, into calls (inlined ones too)",
    details: "",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| repeat(debugger, arguments, Step::Into),
};

pub(crate) const STEPI: Command = Command {
    name: "stepi",
    aliases: &["si"],
    usage: "[COUNT]",
    summary: "go to the next Wasm instruction, into calls",
    details: "",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| repeat(debugger, arguments, Step::Instruction),
};

pub(crate) const NEXTI: Command = Command {
    name: "nexti",
    aliases: &["ni"],
    usage: "[COUNT]",
    summary: "go to the next Wasm instruction, over calls",
    details: "",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| repeat(debugger, arguments, Step::InstructionOver),
};

pub(crate) const FINISH: Command = Command {
    name: "finish",
    aliases: &["fin"],
    usage: "",
    summary: "go on until the selected frame has returned",
    details: "",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| {
        nothing(&FINISH, arguments)?;
        let frame = debugger.selection.get()?.frame;
        go(debugger, Step::Out { frame })?;
        Ok(Flow::Next)
    },
};

pub(crate) const UNTIL: Command = Command {
    name: "until",
    aliases: &["u", "advance"],
    usage: "[LINE]",
    summary: "go on to a later line of the selected frame: out of a loop, or to LINE",
    details: "It also stops when the frame has returned.",
    words: Words::None,
    repeats: true,
    run: |debugger, arguments| {
        let frame = debugger.selection.get()?.frame;
        let line = match arguments {
            "" => None,
            _ => match arguments.parse() {
                Ok(line) => Some(line),
                Err(_) => fail!("{arguments:?} is no line: give a line of the selected frame's file"),
            },
        };
        go(debugger, Step::Until { frame, line })?;
        Ok(Flow::Next)
    },
};

fn repeat(debugger: &mut Debugger, arguments: &str, step: Step) -> Result<Flow, Failure> {
    let count = repetitions(arguments)?;
    debugger.selection.get()?;
    for _ in 0..count {
        go(debugger, step)?;
        // The callback has ended, or a breakpoint has another claim on the user.
        let stepped =
            debugger.selection.current().is_some_and(|selected| selected.stop.breakpoints().is_empty());
        if !stepped {
            break;
        }
    }
    Ok(Flow::Next)
}

fn go(debugger: &mut Debugger, step: Step) -> Result<(), Failure> {
    let slot = debugger.selection.get()?.stop.info().slot;
    debugger.let_go(step)?;
    debugger.wait(Until::Step(slot), debugger.user.timeout)
}
