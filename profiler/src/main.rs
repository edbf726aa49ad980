//! The `wasmprof` command: parses, runs, says what went wrong.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasmprof: {error:#}");
            ExitCode::FAILURE
        }
    }
}
