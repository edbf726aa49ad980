//! The `wasmdbg` command: lists proxies and debugs their filters.
//!
//! Parses, connects and shows. Breakpoints, steps, frames and values are the session engine's; what
//! travels to the proxy is the control protocol's.
#![forbid(unsafe_code)]

mod args;
mod attach;
mod commands;
mod console;
mod dap;
mod debugger;
mod events;
mod failure;
mod gdb_server;
mod input;
mod native;
mod ps;
mod rule;
mod run;
mod show;
mod target;
mod waiting;

use std::process::ExitCode;

use crate::args::Action;
use crate::console::Console;
use crate::failure::{Code, explain};

fn main() -> ExitCode {
    let mut console = Console::new();
    let code = match args::parse(std::env::args_os().skip(1)) {
        Ok(Action::Help) => {
            console.say(args::USAGE.trim_end());
            None
        }
        Ok(Action::Version) => {
            console.say(&target::client_name());
            None
        }
        Ok(Action::Ps { json, pid }) => ps::run(json, pid, &mut console).err().map(|error| {
            console.complain(&explain(&error));
            Code::Command
        }),
        Ok(Action::Dap { listen }) => dap::run(listen, &mut console).err().map(|error| {
            console.complain(&explain(&error));
            Code::Command
        }),
        Ok(Action::GdbServer(options)) => gdb_server::run(*options, &mut console).err().map(|error| {
            console.complain(&explain(&error));
            Code::Attach
        }),
        Ok(Action::Lldb(options)) => native::run(options, &mut console).err().map(|error| {
            console.complain(&explain(&error));
            Code::Attach
        }),
        Ok(Action::Run(options)) => run::run(*options, console),
        Ok(Action::Attach(options)) => attach::run(*options, console),
        Err(error) => {
            console.complain(&explain(&error));
            console.complain_usage();
            Some(Code::Usage)
        }
    };
    ExitCode::from(code.map_or(0, |code| code as u8))
}
