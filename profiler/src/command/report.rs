//! `wasmprof report`: the top of a recording as a table.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::output::{self, By};
use wasmdbg_profiler::profile::{Folding, Profile};

use super::input;
use super::output::print_coverage;

const HELP: &str = "\
usage: wasmprof report [--by function|line|filter|callback|thread] [-n ROWS]
                       RECORDING|perf.data [jit-PID.dump | perf-PID.map …]

self: its own code was running (of a filter or a callback: code of the module; a thread has all); total: it was
anywhere in the stack, so that what it calls in the host counts. 20 rows unless -n says otherwise. Of perf.data: see wasmprof flamegraph --help.
";

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    let (mut by, mut count, mut inputs) = (By::Function, 20, Vec::<PathBuf>::new());
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("by") => by = parser.value()?.string()?.parse()?,
            Short('n') => count = input::number(&mut parser, "-n")?,
            Value(value) => inputs.push(value.into()),
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let folding = Folding { each_thread: true, line_totals: true, ..Folding::default() };
    let profile = Profile::fold(&input::open(inputs, "report")?, folding);
    say!("{}: {} samples, {}", profile.title, profile.samples, profile.amount(profile.total));
    if let Some(summary) = &profile.summary {
        say!("{} lost, {} unresolved", summary.lost, summary.unresolved);
    }
    print_coverage(&profile);
    output::table(&profile, by, count, std::io::stdout().lock())?;
    Ok(())
}
