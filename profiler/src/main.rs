//! The `wasmprof` command: parses, runs, says what went wrong.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

/// The processor whose registers, unwinding and stubs of linkers are known here.
const PROCESSOR: &str = "x86_64";

fn main() -> ExitCode {
    if std::env::consts::ARCH != PROCESSOR {
        eprintln!("wasmprof: stacks are read on {PROCESSOR} only, and this is {}", std::env::consts::ARCH);
        return ExitCode::FAILURE;
    }
    match command::run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        // `wasmprof report … | head` is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasmprof: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, but for those that it tells itself.
fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}
