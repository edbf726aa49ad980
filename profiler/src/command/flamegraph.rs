//! `wasmprof flamegraph`: a flame graph of a recording, or of perf.data and what names its code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::profile::{Folding, Profile};

use super::input;
use super::output::{Format, print_coverage, refuse_input};

const HELP: &str = "\
usage: wasmprof flamegraph [-o FILE] [--lines innermost|all|none] [--each-thread]
                            RECORDING|perf.data [jit-PID.dump | perf-PID.map …]

The output's form goes by its name: .svg (flamegraph.svg), .folded, .json. Jitdumps that perf saw and the maps
of its processes in /tmp are found without being named. perf record wants -g for stacks, -k mono for
jitdumps of programs that compile while they run.
";

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    let (mut folding, mut output, mut inputs) =
        (Folding::default(), PathBuf::from("flamegraph.svg"), Vec::<PathBuf>::new());
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("lines") => folding.lines = input::lines(&parser.value()?.string()?)?,
            Long("each-thread") => folding.each_thread = true,
            Short('o') | Long("output") => output = parser.value()?.into(),
            Value(value) => inputs.push(value.into()),
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let format = Format::of(&output)?;
    refuse_input(&output, &inputs)?;
    let recording = input::open(inputs, "flamegraph")?;
    let profile = Profile::fold(&recording, folding);
    // Both at once would be the most memory that it needs.
    drop(recording);
    if output == Path::new("-") {
        return format.write_file(&profile, &output);
    }
    say!("{} samples, {}", profile.samples, profile.amount(profile.total));
    print_coverage(&profile);
    format.write_file(&profile, &output)?;
    say!("{}: {}", format.what(), output.display());
    Ok(())
}
