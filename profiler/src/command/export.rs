//! `wasmprof export`: a recording in another form.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::profile::{Folding, Profile};

use super::input;
use super::output::{Format, refuse_input};

const HELP: &str = "\
usage: wasmprof export [--format collapsed|svg|json] [--lines innermost|all|none] [--each-thread]
                       [-o FILE] RECORDING|perf.data [jit-PID.dump | perf-PID.map …]

Without -o to standard output, collapsed unless --format says otherwise; with -o the form goes by the file's name
(.svg, .folded, .json) unless --format says otherwise. Of perf.data: see wasmprof flamegraph --help.
";

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    let (mut format, mut output, mut inputs) = (None, None::<PathBuf>, Vec::<PathBuf>::new());
    let mut folding = Folding { line_totals: true, ..Folding::default() };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("format") => format = Some(parser.value()?.string()?.parse::<Format>()?),
            Long("lines") => folding.lines = input::lines(&parser.value()?.string()?)?,
            Long("each-thread") => folding.each_thread = true,
            Short('o') | Long("output") => output = Some(parser.value()?.into()),
            Value(value) => inputs.push(value.into()),
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    output.as_ref().map_or(Ok(()), |output| refuse_input(output, &inputs))?;
    let profile = Profile::fold(&input::open(inputs, "export")?, folding);
    match output {
        Some(output) => format.map_or_else(|| Format::of(&output), Ok)?.write_file(&profile, &output),
        None => format.unwrap_or(Format::Collapsed).write(&profile, std::io::stdout().lock()),
    }
}
