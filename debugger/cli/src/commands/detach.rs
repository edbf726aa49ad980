//! `detach` and `quit`: the end of the session; what it held goes on.

use super::command::{Command, Flow, Words, nothing};

pub(crate) const DETACH: Command = Command {
    name: "detach",
    aliases: &["det"],
    usage: "",
    summary: "let everything go on and leave",
    details: "",
    words: Words::None,
    repeats: false,
    run: |_, arguments| {
        nothing(&DETACH, arguments)?;
        Ok(Flow::Quit)
    },
};

pub(crate) const QUIT: Command = Command {
    name: "quit",
    aliases: &["q", "exit"],
    usage: "",
    summary: "as detach",
    details: "",
    words: Words::None,
    repeats: false,
    run: |_, arguments| {
        nothing(&QUIT, arguments)?;
        Ok(Flow::Quit)
    },
};
