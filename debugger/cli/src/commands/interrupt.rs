//! `interrupt`: stops a callback that runs, an endless loop included.

use super::command::{Command, Flow, Words, nothing};
use crate::debugger::Until;

pub(crate) const INTERRUPT: Command = Command {
    name: "interrupt",
    aliases: &[],
    usage: "",
    summary: "stop the callbacks that run now (as Ctrl-C does)",
    details: "A callback runs for microseconds unless it loops: usually there is nothing to interrupt.",
    words: Words::None,
    repeats: false,
    run: |debugger, arguments| {
        nothing(&INTERRUPT, arguments)?;
        debugger.session.interrupt(None)?;
        debugger.wait(Until::Interrupt, debugger.user.timeout)?;
        Ok(Flow::Next)
    },
};
