//! `wasmprof flamegraph`: a flame graph of a recording, or of perf.data and what names its code.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use wasmdbg_profiler::code::timeline::Timeline;
use wasmdbg_profiler::profile::{Lines, Profile};
use wasmdbg_profiler::{descriptions, import};

use super::output::Format;
use super::record;

const HELP: &str = "\
usage: wasmprof flamegraph [-o FILE] [--lines innermost|all|none]
                            RECORDING|perf.data [jit-PID.dump | perf-PID.map …]

The output's form goes by its name: .svg (flamegraph.svg), .folded, .json. Jitdumps that perf saw and the maps
of its processes in /tmp are found without being named. perf record wants -g for stacks, -k mono for
jitdumps of programs that compile while they run.
";

pub(super) fn run(arguments: Vec<OsString>) -> Result<()> {
    let (mut lines, mut output, mut inputs) =
        (Lines::default(), PathBuf::from("flamegraph.svg"), Vec::<PathBuf>::new());
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("lines") => lines = record::lines(&parser.value()?.string()?)?,
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
    let described =
        |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "map" || extension == "dump");
    let (described, data): (Vec<_>, Vec<_>) = inputs.iter().partition(described);
    let data = match data.as_slice() {
        [data] => *data,
        [] => bail!("which recording or perf.data? see wasmprof flamegraph --help"),
        [_, other, ..] => bail!(
            "one recording or perf.data at a time: {} ends neither with .dump nor with .map",
            other.display()
        ),
    };
    let start = std::fs::File::open(data)
        .and_then(|mut file| {
            let mut start = [0; 8];
            std::io::Read::read(&mut file, &mut start).map(|_| start)
        })
        .with_context(|| format!("cannot read {}", data.display()))?;
    let recording = if &start == b"PERFILE2" {
        let described: Vec<PathBuf> = described.into_iter().cloned().collect();
        let mut recording = import::perf_data(data, &described)?;
        import::describe(&mut recording, data);
        recording
    } else {
        let mut recording = record::open(data)?;
        for path in described {
            let mut timeline = Timeline::default();
            descriptions::read_file(path, &mut timeline)?;
            recording.describe(&timeline);
        }
        recording
    };
    let profile = Profile::new(&recording, lines);
    // Both at once would be the most memory that it needs.
    drop(recording);
    say!("{} samples, {}", profile.samples, profile.amount(profile.total));
    record::print_coverage(&profile);
    format.write_file(&profile, &output)?;
    say!("{}: {}", format.what(), output.display());
    Ok(())
}
