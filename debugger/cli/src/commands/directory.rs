//! `directory`: one more place to look for sources.

use std::path::Path;

use super::command::{Command, Flow, Words};
use crate::failure::fail;

pub(crate) const DIRECTORY: Command = Command {
    name: "directory",
    aliases: &["dir"],
    usage: "FOLDER",
    summary: "look for source files below this folder too",
    details: "The file's path in the debug info is tried there whole, then without its first parts.",
    words: Words::None,
    repeats: false,
    run: |debugger, arguments| {
        if !Path::new(arguments).is_dir() {
            fail!("{arguments:?} is no folder: give the one that holds the filter's sources");
        }
        debugger.session.sources_mut().add_directory(arguments);
        Ok(Flow::Next)
    },
};
