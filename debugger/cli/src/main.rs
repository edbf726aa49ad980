//! The `wasmdbg` command: lists proxies and debugs their filters.
//!
//! Parses, connects and shows. Breakpoints, steps, frames and values are the session engine's; what
//! travels to the proxy is the control protocol's.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod debugger;
mod failure;
mod prompt;
mod show;
mod subcommands;
mod terminal;

use std::process::ExitCode;

use crate::args::Action;
use crate::failure::{Code, explain};
use crate::subcommands::{attach, connect, dap, gdb_server, lldb, ps, run};
use crate::terminal::console::Console;

fn main() -> ExitCode {
    let mut console = Console::new();
    let code = match args::parse(std::env::args_os().skip(1)) {
        Ok(Action::Help) => {
            console.say(args::USAGE.trim_end());
            None
        }
        Ok(Action::Version) => {
            console.say(&connect::client_name());
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
        Ok(Action::Lldb(options)) => lldb::run(options, &mut console).err().map(|error| {
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
